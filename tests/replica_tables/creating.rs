//! Tables made of schema blocks.

use streamweir::debezium::Field;
use streamweir::replica::{
    Fit, MOVED_ROWS, OwnNames, ReplicaTable, column_type_for, create_moved_rows, fit,
};

use super::{Found, column_type, database, fields, names, query};

/// A field of every type that Connect and Debezium have: name, schema, the column it becomes.
const EVERY_TYPE: &[(&str, &str, &str)] = &[
    ("i8", r#""type":"int8""#, "Int8"),
    ("i16", r#""type":"int16""#, "Int16"),
    ("i32", r#""type":"int32""#, "Int32"),
    ("i64", r#""type":"int64""#, "Int64"),
    ("f32", r#""type":"float""#, "Float32"),
    ("f64", r#""type":"double""#, "Float64"),
    ("flag", r#""type":"boolean""#, "Bool"),
    ("text", r#""type":"string""#, "String"),
    ("raw", r#""type":"bytes""#, "String"),
    (
        "list",
        r#""type":"array","items":{"type":"int32"}"#,
        "String",
    ),
    ("map", r#""type":"map""#, "String"),
    ("object", r#""type":"struct""#, "String"),
    (
        "day",
        r#""type":"int32","name":"io.debezium.time.Date""#,
        "Date32",
    ),
    (
        "iso_day",
        r#""type":"string","name":"io.debezium.time.IsoDate""#,
        "Date32",
    ),
    (
        "connect_day",
        r#""type":"int32","name":"org.apache.kafka.connect.data.Date""#,
        "Date32",
    ),
    (
        "time_ms",
        r#""type":"int32","name":"io.debezium.time.Time""#,
        "Time64(3)",
    ),
    (
        "connect_time",
        r#""type":"int32","name":"org.apache.kafka.connect.data.Time""#,
        "Time64(3)",
    ),
    (
        "time_us",
        r#""type":"int64","name":"io.debezium.time.MicroTime""#,
        "Time64(6)",
    ),
    (
        "time_ns",
        r#""type":"int64","name":"io.debezium.time.NanoTime""#,
        "Time64(9)",
    ),
    (
        "iso_time",
        r#""type":"string","name":"io.debezium.time.IsoTime""#,
        "Time64(6)",
    ),
    (
        "zoned_time",
        r#""type":"string","name":"io.debezium.time.ZonedTime""#,
        "String",
    ),
    (
        "ts_ms",
        r#""type":"int64","name":"io.debezium.time.Timestamp""#,
        "DateTime64(3, 'UTC')",
    ),
    (
        "connect_ts",
        r#""type":"int64","name":"org.apache.kafka.connect.data.Timestamp""#,
        "DateTime64(3, 'UTC')",
    ),
    (
        "ts_us",
        r#""type":"int64","name":"io.debezium.time.MicroTimestamp""#,
        "DateTime64(6, 'UTC')",
    ),
    (
        "ts_ns",
        r#""type":"int64","name":"io.debezium.time.NanoTimestamp""#,
        "DateTime64(9, 'UTC')",
    ),
    (
        "iso_ts",
        r#""type":"string","name":"io.debezium.time.IsoTimestamp""#,
        "DateTime64(6, 'UTC')",
    ),
    (
        "zoned_ts",
        r#""type":"string","name":"io.debezium.time.ZonedTimestamp""#,
        "DateTime64(6, 'UTC')",
    ),
    (
        "year",
        r#""type":"int32","name":"io.debezium.time.Year""#,
        "Int32",
    ),
    (
        "us",
        r#""type":"int64","name":"io.debezium.time.MicroDuration""#,
        "String",
    ),
    (
        "interval",
        r#""type":"string","name":"io.debezium.time.Interval""#,
        "String",
    ),
    (
        "money",
        r#""type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}"#,
        "Decimal(38, 2)",
    ),
    (
        "price",
        r#""type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2","connect.decimal.precision":"10"}"#,
        "Decimal(10, 2)",
    ),
    (
        "widest",
        r#""type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"0","connect.decimal.precision":"76"}"#,
        "Decimal(76, 0)",
    ),
    (
        "too_wide",
        r#""type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"0","connect.decimal.precision":"77"}"#,
        "String",
    ),
    (
        "thousands",
        r#""type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"-3","connect.decimal.precision":"5"}"#,
        "Decimal(8, 0)",
    ),
    (
        "tiny",
        r#""type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"5","connect.decimal.precision":"3"}"#,
        "Decimal(5, 5)",
    ),
    (
        "numeric",
        r#""type":"struct","name":"io.debezium.data.VariableScaleDecimal""#,
        "String",
    ),
    (
        "bits",
        r#""type":"bytes","name":"io.debezium.data.Bits","parameters":{"length":"64"}"#,
        "UInt64",
    ),
    (
        "more_bits",
        r#""type":"bytes","name":"io.debezium.data.Bits","parameters":{"length":"65"}"#,
        "String",
    ),
    (
        "json",
        r#""type":"string","name":"io.debezium.data.Json""#,
        "String",
    ),
    (
        "xml",
        r#""type":"string","name":"io.debezium.data.Xml""#,
        "String",
    ),
    (
        "uuid",
        r#""type":"string","name":"io.debezium.data.Uuid""#,
        "UUID",
    ),
    (
        "mood",
        r#""type":"string","name":"io.debezium.data.Enum","parameters":{"allowed":"a,b"}"#,
        "String",
    ),
    (
        "moods",
        r#""type":"string","name":"io.debezium.data.EnumSet","parameters":{"allowed":"a,b"}"#,
        "String",
    ),
    (
        "tree",
        r#""type":"string","name":"io.debezium.data.Ltree""#,
        "String",
    ),
    (
        "words",
        r#""type":"string","name":"io.debezium.data.TsVector""#,
        "String",
    ),
    (
        "point",
        r#""type":"struct","name":"io.debezium.data.geometry.Point""#,
        "String",
    ),
    (
        "shape",
        r#""type":"struct","name":"io.debezium.data.geometry.Geometry""#,
        "String",
    ),
    (
        "vector",
        r#""type":"array","name":"io.debezium.data.DoubleVector","items":{"type":"double"}"#,
        "String",
    ),
    ("odd `na\\\\me", r#""type":"string""#, "String"),
];

/// A block with every type twice: required, and optional under the name with `_n`.
fn every_field() -> Vec<Field> {
    let each = EVERY_TYPE.iter().map(|(name, schema, _)| {
        format!(r#"{{"field":"{name}","optional":false,{schema}}},{{"field":"{name}_n","optional":true,{schema}}}"#)
    });
    let each: Vec<String> = each.collect();
    fields(&format!(
        r#"{{"type":"struct","fields":[{}]}}"#,
        each.join(",")
    ))
}

#[test]
fn a_table_of_every_type_is_created_as_the_schema_block_says_and_is_a_replica() {
    let database = database("every_type");
    let key = names(&["i64", "uuid"]);
    let replica = ReplicaTable::of_fields(
        &database,
        "every",
        &every_field(),
        &key,
        &[],
        &OwnNames::default(),
    );
    let replica = replica.unwrap_or_else(|error| panic!("{error}"));
    query(&replica.create());
    query(&replica.create());
    query(&replica.create_view());
    let found = Found::new(&database, "every");
    let mut expected = vec![];
    for (name, _, type_name) in EVERY_TYPE {
        let name = name.replace("\\\\", "\\");
        expected.push((name.clone(), (*type_name).to_owned()));
        expected.push((format!("{name}_n"), format!("Nullable({type_name})")));
    }
    expected.push(("_version".to_owned(), "UInt64".to_owned()));
    expected.push(("_deleted".to_owned(), "UInt8".to_owned()));
    let columns = found.columns.iter();
    let columns: Vec<_> = columns.map(|(a, b, _)| (a.clone(), b.clone())).collect();
    assert_eq!(columns, expected);
    let checked = found
        .check(&["i64", "uuid"])
        .unwrap_or_else(|error| panic!("{error}"));
    let read: Vec<_> = checked
        .columns
        .iter()
        .map(|c| (c.name.clone(), c.column_type.clone()))
        .collect();
    assert_eq!(read, replica.columns());
    for field in every_field() {
        let column = column_type_for(&field.field_type, false);
        assert_eq!(
            fit(&field.field_type, &column, false),
            Fit::Fits,
            "{}",
            field.name
        );
        let text = column_type("Nullable(String)");
        assert_eq!(
            fit(&field.field_type, &text, false),
            Fit::Fits,
            "{}",
            field.name
        );
    }
}

#[test]
fn a_key_is_not_nullable_whatever_its_field_says() {
    let database = database("keys");
    let block = r#"{"type":"struct","fields":[{"field":"id","type":"int64","optional":true},{"field":"day","type":"int32","name":"io.debezium.time.Date","optional":true}]}"#;
    let key = names(&["day", "id"]);
    let declared = [("_lsn".to_owned(), column_type("UInt64"))];
    let replica = ReplicaTable::of_fields(
        &database,
        "t",
        &fields(block),
        &key,
        &declared,
        &OwnNames::default(),
    );
    query(&replica.expect("a table").create());
    let found = Found::new(&database, "t");
    let columns: Vec<_> = found
        .columns
        .iter()
        .map(|(a, b, _)| format!("{a} {b}"))
        .collect();
    assert_eq!(
        columns,
        [
            "id Int64",
            "day Date32",
            "_lsn UInt64",
            "_version UInt64",
            "_deleted UInt8"
        ]
    );
    // The order of the sorting key is the operator's: it decides what is read fast.
    for key in [["day", "id"], ["id", "day"]] {
        assert!(found.check(&key).is_ok());
    }
}

#[test]
fn what_makes_no_table_is_said_with_the_table() {
    let block = |name: &str, schema: &str| {
        fields(&format!(
            r#"{{"type":"struct","fields":[{{"field":"id","type":"int32"}},{{"field":"{name}",{schema}}}]}}"#
        ))
    };
    let plain = r#""type":"int32","optional":true"#;
    for (fields, key, declared, says) in [
        (
            block("_deleted", plain),
            &["id"][..],
            None,
            "its source has a column _deleted",
        ),
        (
            block("a", plain),
            &[],
            None,
            "name the columns that tell rows apart as key",
        ),
        (
            block("a", plain),
            &["b"],
            Some(("c", "Int32")),
            "it has no column b for the key",
        ),
        (
            block("id", plain),
            &["id"],
            None,
            "it would have two columns id",
        ),
    ] {
        let declared: Vec<_> = declared
            .iter()
            .map(|(a, b)| ((*a).to_owned(), column_type(b)))
            .collect();
        let made = ReplicaTable::of_fields(
            "shop",
            "orders",
            &fields,
            &names(key),
            &declared,
            &OwnNames::default(),
        );
        let error = made.expect_err(says).to_string();
        assert!(
            error.starts_with("table shop.orders cannot be created: ") && error.contains(says),
            "{error}"
        );
    }
}

#[test]
fn the_shipped_tables_are_replicas_with_the_columns_of_their_source() {
    let database = database("shipped");
    let sql = include_str!("../../sql/replica.sql");
    let lines = sql
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"));
    let sql: String = lines.map(|line| format!("{line}\n")).collect();
    for statement in sql
        .split(';')
        .filter(|statement| !statement.trim().is_empty())
    {
        let names = [
            "orders_current",
            "order_items_current",
            "orders",
            "order_items",
            "streamweir_moved_rows",
        ];
        let place = |word: &str| format!("{database}.{word}");
        let words = statement
            .split_inclusive([' ', '\n'])
            .map(|word| match word.trim() {
                name if names.contains(&name) => word.replace(name, &place(name)),
                _ => word.to_owned(),
            });
        query(&words.collect::<String>());
    }
    // Beside them the table that the daemon makes itself.
    let own = self::database("own");
    query(&create_moved_rows(&own));
    let made = |database: &str| {
        let place = format!("FROM system.tables WHERE database = '{database}' AND name");
        query(&format!("SELECT engine_full {place} = '{MOVED_ROWS}'"))
            + &query(&format!(
                "SELECT name, type, default_expression FROM system.columns WHERE database = \
                 '{database}' AND table = '{MOVED_ROWS}' ORDER BY position"
            ))
    };
    assert_eq!(made(&database), made(&own));
    for (table, key, columns) in [
        (
            "orders",
            "order_id",
            "order_id Int64, user_id Int64, order_date DateTime64(6, 'UTC'), status String, total_amount Decimal(10, 2), currency Nullable(String), payment_method Nullable(String), shipping_address Nullable(String), created_at DateTime64(6, 'UTC'), updated_at DateTime64(6, 'UTC')",
        ),
        (
            "order_items",
            "item_id",
            "item_id Int64, order_id Int64, product_id Int64, quantity Int32, unit_price Decimal(10, 2), discount Nullable(Decimal(10, 2)), created_at DateTime64(6, 'UTC'), updated_at DateTime64(6, 'UTC')",
        ),
    ] {
        let replica = Found::new(&database, table)
            .check(&[key])
            .unwrap_or_else(|error| panic!("{error}"));
        let found: Vec<_> = replica
            .columns
            .iter()
            .map(|c| format!("{} {}", c.name, c.column_type))
            .collect();
        assert_eq!(found.join(", "), columns);
        assert_eq!(
            query(&format!("SELECT count() FROM {database}.{table}_current")),
            "0"
        );
    }
}
