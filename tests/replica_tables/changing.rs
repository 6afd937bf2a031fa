//! Columns that are added and widened, and the view over them.

use streamweir::replica::{
    ColumnMemo, Fit, OwnNames, ReplicaTable, added_column_type, default_expression, fit,
};
use streamweir::table::ColumnType;

use super::{
    DECIMAL_14_4, DECIMAL_60_10, Found, MICRO_TIMESTAMP, column_type, database, field_type, fields,
    names, query,
};

/// Columns, values of each as literals, the field that comes next, and what the column becomes.
const WIDENINGS: &[(&str, &[&str], &str, &str)] = &[
    ("Int8", &["-128", "127"], r#""type":"int16""#, "Int16"),
    ("Int16", &["-32768", "32767"], r#""type":"int32""#, "Int32"),
    (
        "Int32",
        &["-2147483648", "2147483647", "0"],
        r#""type":"int64""#,
        "Int64",
    ),
    (
        "Int32",
        &["-2147483648", "2147483647"],
        r#""type":"int32","optional":true"#,
        "Nullable(Int32)",
    ),
    (
        "Nullable(Int32)",
        &["NULL", "-1"],
        r#""type":"int64","optional":true"#,
        "Nullable(Int64)",
    ),
    (
        "Nullable(Int32)",
        &["NULL", "-1"],
        r#""type":"int64""#,
        "Nullable(Int64)",
    ),
    (
        "Decimal(10, 2)",
        &["'-99999999.99'", "'0.01'", "'99999999.99'"],
        DECIMAL_14_4,
        "Decimal(14, 4)",
    ),
    (
        "Decimal(10, 2)",
        &["'-99999999.99'", "'0.01'"],
        DECIMAL_6_4,
        "Decimal(12, 4)",
    ),
    (
        "Decimal(38, 2)",
        &["'-999999999999999999999999999999999999.99'"],
        DECIMAL_60_10,
        "Decimal(60, 10)",
    ),
    (
        "Decimal(3, 0)",
        &["'-999'", "'999'"],
        r#""type":"int64""#,
        "Decimal(19, 0)",
    ),
    (
        "DateTime64(3)",
        &[
            "'1900-01-01 00:00:00.001'",
            "'2299-12-31 23:59:59.999'",
            "'1969-12-31 23:59:59.999'",
        ],
        MICRO_TIMESTAMP,
        "DateTime64(6)",
    ),
    (
        "DateTime64(3, 'UTC')",
        &["'1900-01-01 00:00:00.001'", "'2299-12-31 23:59:59.999'"],
        MICRO_TIMESTAMP,
        "DateTime64(6, 'UTC')",
    ),
    (
        "Time64(3)",
        &["'00:00:00.001'", "'24:00:00'", "'-838:59:59.999'"],
        r#""type":"int64","name":"io.debezium.time.MicroTime""#,
        "Time64(6)",
    ),
    (
        "String",
        &["'a'", "''"],
        r#""type":"string","optional":true"#,
        "Nullable(String)",
    ),
    (
        "LowCardinality(String)",
        &["'a'", "''"],
        r#""type":"string","optional":true"#,
        "LowCardinality(Nullable(String))",
    ),
    (
        "Bool",
        &["true", "false"],
        r#""type":"boolean","optional":true"#,
        "Nullable(Bool)",
    ),
    (
        "UUID",
        &["'61f0c404-5cb3-11e7-907b-a6006ad3dba0'"],
        r#""type":"string","name":"io.debezium.data.Uuid","optional":true"#,
        "Nullable(UUID)",
    ),
    (
        "Date32",
        &["'1900-01-01'", "'2299-12-31'"],
        r#""type":"int32","name":"io.debezium.time.Date","optional":true"#,
        "Nullable(Date32)",
    ),
];

const DECIMAL_6_4: &str = r#""type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"4","connect.decimal.precision":"6"}"#;

#[test]
fn a_widened_column_keeps_every_value_it_had() {
    let database = database("widened");
    let key = names(&["id"]);
    for (number, (old, values, schema, new)) in WIDENINGS.iter().enumerate() {
        let table = format!("t{number}");
        let columns = vec![
            ("id".to_owned(), ColumnType::Int32),
            ("v".to_owned(), column_type(old)),
        ];
        let replica = ReplicaTable::new(&database, &table, columns, &key, &OwnNames::default())
            .expect("a table");
        query(&replica.create());
        for (id, value) in values.iter().enumerate() {
            query(&format!(
                "INSERT INTO {database}.{table} VALUES ({id}, {value}, 1, 0)"
            ));
        }
        let texts = || {
            query(&format!(
                "SELECT toString(v) FROM {database}.{table} FINAL ORDER BY id"
            ))
        };
        let before = texts();
        let field = field_type(schema);
        let Fit::Widen(wider) = fit(&field, &column_type(old), false) else {
            panic!(
                "{old} is widened for {schema}: {:?}",
                fit(&field, &column_type(old), false)
            )
        };
        assert_eq!(wider.to_string(), *new);
        assert_eq!(fit(&field, &wider, false), Fit::Fits, "{old} {schema}");
        query(&replica.modify_column("v", &wider));
        let as_before = query(&format!(
            "SELECT toString(CAST(v, '{}')) FROM {database}.{table} FINAL ORDER BY id",
            old.replace('\'', "\\'")
        ));
        assert_eq!(as_before, before, "{old} {new}");
        for (before, after) in before.lines().zip(texts().lines()) {
            let digits = |text: &str| match text.split_once('.') {
                Some(_) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                None => text.to_owned(),
            };
            assert_eq!(digits(after), digits(before), "{old} {new}");
        }
        assert!(Found::new(&database, &table).check(&["id"]).is_ok());
    }
}

#[test]
fn the_view_has_the_rows_that_are_there_and_new_columns_once_it_is_made_anew() {
    let database = database("view");
    let columns = vec![
        ("id".to_owned(), ColumnType::Int32),
        ("n".to_owned(), ColumnType::Int32),
    ];
    let replica = ReplicaTable::new(
        &database,
        "odd `t",
        columns,
        &names(&["id"]),
        &OwnNames::default(),
    )
    .expect("a table");
    query(&replica.create());
    query(&replica.create_view());
    query(&replica.create_view());
    let table = format!("{database}.`odd \\`t`");
    let view = format!("{database}.`{}`", replica.view().replace('`', "\\`"));
    query(&format!(
        "INSERT INTO {table} VALUES (1, 1, 1, 0), (1, 2, 2, 0), (2, 3, 1, 0), (2, 0, 2, 1)"
    ));
    let rows = || {
        query(&format!(
            "SELECT * FROM {view} ORDER BY id FORMAT JSONEachRow"
        ))
    };
    assert_eq!(rows(), r#"{"id":1,"n":2}"#);
    let as_select = || {
        query(&format!(
            "SELECT as_select FROM system.tables WHERE database = '{database}' AND engine = 'View' FORMAT RawBLOB"
        ))
    };
    assert!(replica.is_own_view(&as_select()), "{}", as_select());

    query(&replica.add_column(
        "t",
        &column_type("Nullable(Time64(6))"),
        None,
        ColumnMemo::default(),
    ));
    query(&replica.add_column(
        "t",
        &column_type("Nullable(Time64(6))"),
        None,
        ColumnMemo::default(),
    ));
    query(&replica.modify_column("n", &ColumnType::Int64));
    query(&format!(
        "INSERT INTO {table} (id, n, t, _version) VALUES (3, 5000000000, '01:02:03', 1)"
    ));
    query(&replica.replace_view());
    let expected =
        "{\"id\":1,\"n\":2,\"t\":null}\n{\"id\":3,\"n\":5000000000,\"t\":\"01:02:03.000000\"}";
    assert_eq!(rows(), expected);
    assert!(replica.is_own_view(&as_select()));
    query(&format!(
        "CREATE OR REPLACE VIEW {view} AS SELECT id FROM {table} FINAL"
    ));
    assert!(!replica.is_own_view(&as_select()));
}

#[test]
fn a_view_of_before_is_told_from_one_of_the_table_as_it_is() {
    let database = database("stale");
    let columns = vec![
        ("id".to_owned(), ColumnType::Int32),
        ("n".to_owned(), ColumnType::Int32),
    ];
    let replica = ReplicaTable::new(
        &database,
        "t",
        columns,
        &names(&["id"]),
        &OwnNames::default(),
    )
    .expect("a table");
    query(&replica.create());
    query(&format!(
        "ALTER TABLE {database}.t ADD COLUMN m Int32 MATERIALIZED n + 1, ADD COLUMN d Int32 DEFAULT n"
    ));
    query(&replica.create_view());
    let is_shown = || {
        let view = Found::new(&database, &replica.view());
        Found::new(&database, "t")
            .existing()
            .is_shown_by(&view.existing(), &OwnNames::default())
    };
    let n = || query(&format!("SELECT n FROM {database}.t_current"));
    assert!(is_shown());
    for (change, stale, renewed) in [
        (
            replica.modify_column("n", &ColumnType::Int64),
            "705032704",
            "5000000000",
        ),
        (
            replica.add_column(
                "v",
                &column_type("Nullable(String)"),
                None,
                ColumnMemo::default(),
            ),
            "5000000000",
            "5000000000",
        ),
    ] {
        query(&change);
        query(&format!(
            "INSERT INTO {database}.t (id, n, _version) VALUES (1, 5000000000, 1)"
        ));
        assert!(!is_shown(), "{change}");
        assert_eq!(n(), stale, "the server says nothing");
        query(&replica.replace_view());
        assert!(is_shown(), "{change}");
        assert_eq!(n(), renewed);
    }
}

/// Defaults as schema blocks have them, and what the rows of before show then.
const DEFAULTS: &[(&str, &str)] = &[
    (r#""type":"int32","default":-5"#, "-5"),
    (
        r#""type":"string","default":"it's \\ \"x\"""#,
        r#"it's \ "x""#,
    ),
    (r#""type":"boolean","default":true"#, "true"),
    (r#""type":"double","default":1.5"#, "1.5"),
    (
        r#""type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2","connect.decimal.precision":"10"},"default":"fQ==""#,
        "1.25",
    ),
    (
        r#""type":"int32","name":"io.debezium.time.Date","default":20000"#,
        "2024-10-04",
    ),
    (
        r#""type":"string","name":"io.debezium.data.Uuid","default":"61f0c404-5cb3-11e7-907b-a6006ad3dba0""#,
        "61f0c404-5cb3-11e7-907b-a6006ad3dba0",
    ),
    (
        r#""type":"int64","name":"io.debezium.time.MicroTimestamp","default":0"#,
        "NULL",
    ),
    (
        r#""type":"int32","name":"io.debezium.time.Date","default":0"#,
        "NULL",
    ),
    (
        r#""type":"string","name":"io.debezium.data.Uuid","default":"00000000-0000-0000-0000-000000000000""#,
        "NULL",
    ),
    (r#""type":"int32","default":0"#, "0"),
    (r#""type":"string","optional":true,"default":"x""#, "x"),
    (r#""type":"int32""#, "NULL"),
];

#[test]
fn rows_of_before_have_an_added_columns_default_or_null() {
    let database = database("added");
    let columns = vec![("id".to_owned(), ColumnType::Int32)];
    let replica = ReplicaTable::new(
        &database,
        "t",
        columns,
        &names(&["id"]),
        &OwnNames::default(),
    )
    .expect("a table");
    query(&replica.create());
    query(&format!("INSERT INTO {database}.t VALUES (1, 1, 0)"));
    for (number, (schema, shown)) in DEFAULTS.iter().enumerate() {
        let block = format!(r#"{{"type":"struct","fields":[{{"field":"v{number}",{schema}}}]}}"#);
        let field = &fields(&block)[0];
        let default = default_expression(field);
        let column_type = added_column_type(&field.field_type, default.is_some());
        query(&replica.add_column(
            &field.name,
            &column_type,
            default.as_deref(),
            ColumnMemo::default(),
        ));
        let found = query(&format!(
            "SELECT ifNull(toString(v{number}), 'NULL') FROM {database}.t FORMAT RawBLOB"
        ));
        assert_eq!(found, *shown, "{schema}");
    }
    assert!(Found::new(&database, "t").check(&["id"]).is_ok());
}
