//! What holds for every field and every column; the statements meet the engine in
//! `tests/replica_tables`.

use proptest::prelude::*;

use super::*;
use crate::debezium::{FieldType, Form};
use crate::decode::json::Raw;
use crate::table::ColumnType;

/// Names that schema blocks have, and one they do not.
const NAMES: [&str; 24] = [
    "io.debezium.time.Date",
    "io.debezium.time.Time",
    "io.debezium.time.MicroTime",
    "io.debezium.time.NanoTime",
    "io.debezium.time.Timestamp",
    "io.debezium.time.MicroTimestamp",
    "io.debezium.time.NanoTimestamp",
    "io.debezium.time.ZonedTimestamp",
    "io.debezium.time.ZonedTime",
    "io.debezium.time.IsoTime",
    "io.debezium.time.MicroDuration",
    "io.debezium.time.Interval",
    "io.debezium.time.Year",
    "io.debezium.data.Bits",
    "io.debezium.data.Json",
    "io.debezium.data.Uuid",
    "io.debezium.data.Enum",
    "io.debezium.data.VariableScaleDecimal",
    "io.debezium.data.geometry.Point",
    "io.debezium.data.geometry.Geometry",
    "io.debezium.data.DoubleVector",
    "org.apache.kafka.connect.data.Date",
    "bytes",
    "com.example.Unknown",
];

const COLUMNS: [&str; 27] = [
    "String",
    "FixedString(4)",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "UInt8",
    "UInt64",
    "Float32",
    "Float64",
    "Bool",
    "Decimal(3, 0)",
    "Decimal(10, 2)",
    "Decimal(38, 9)",
    "Decimal(76, 76)",
    "Date",
    "Date32",
    "DateTime",
    "DateTime64(3)",
    "DateTime64(6, 'UTC')",
    "DateTime64(9)",
    "Time",
    "Time64(3)",
    "UUID",
    "Enum8('a' = 1)",
    "IPv4",
    "Array(Int32)",
];

fn decimal_field(precision: Option<u32>, scale: i32) -> FieldType {
    let name = "org.apache.kafka.connect.data.Decimal";
    FieldType {
        precision,
        scale: Some(scale),
        ..FieldType::declared(Form::Bytes, Some(name))
    }
}

fn any_field() -> impl Strategy<Value = FieldType> {
    let form = prop::sample::select(vec![
        Form::Int8,
        Form::Int16,
        Form::Int32,
        Form::Int64,
        Form::Float,
        Form::Double,
        Form::Boolean,
        Form::String,
        Form::Bytes,
        Form::Map,
        Form::Struct,
    ]);
    let plain = form.prop_map(|form| FieldType::declared(form, None));
    let named = prop::sample::select(NAMES.to_vec()).prop_map(|name| {
        FieldType::named(name).unwrap_or_else(|| FieldType::declared(Form::String, Some(name)))
    });
    let decimal = (prop::option::of(any::<u32>()), any::<i32>());
    let small = (prop::option::of(0..90_u32), -90..90_i32);
    let decimals =
        prop_oneof![small, decimal].prop_map(|(precision, scale)| decimal_field(precision, scale));
    let one = prop_oneof![plain, named, decimals];
    let array = one.clone().prop_map(|items| FieldType {
        items: Some(Box::new(items)),
        ..FieldType::declared(Form::Array, None)
    });
    let field = prop_oneof![4 => one, 1 => array];
    (field, any::<bool>(), prop::option::of(0..80_u32)).prop_map(|(field, optional, length)| {
        FieldType {
            optional,
            length,
            ..field
        }
    })
}

fn any_column() -> impl Strategy<Value = ColumnType> {
    let plain = prop::sample::select(COLUMNS.to_vec())
        .prop_map(|name| ColumnType::parse(name).expect("a type"));
    let decimal = (1..=76_u8)
        .prop_flat_map(|precision| (Just(precision), 0..=precision))
        .prop_map(|(precision, scale)| ColumnType::Decimal { precision, scale });
    let one = prop_oneof![2 => plain, 1 => decimal];
    (one, 0..4).prop_map(|(column, wrapping)| match (wrapping, column) {
        (_, ColumnType::Array(inner)) => ColumnType::Array(inner),
        (0, column) => ColumnType::Nullable(Box::new(column)),
        (1, column) => ColumnType::LowCardinality(Box::new(column)),
        (_, column) => column,
    })
}

/// Texts of values at the ends of what types hold, and near them.
const VALUES: [&str; 20] = [
    "null",
    "0",
    "-1",
    "127",
    "-128",
    "32767",
    "-32768",
    "2147483647",
    "-2147483648",
    "9223372036854775807",
    "-9223372036854775808",
    "0.5",
    "99999999.99",
    "-0.000000001",
    "true",
    "\"a\"",
    "\"1900-01-01 00:00:00.001\"",
    "\"2299-12-31 23:59:59.999999\"",
    "\"-999:59:59.999\"",
    "\"61f0c404-5cb3-11e7-907b-a6006ad3dba0\"",
];

fn holds(column: &ColumnType, value: &str) -> bool {
    let raw = Raw::parse(value).expect("JSON");
    if raw.is_missing() {
        return column.is_nullable();
    }
    column.encode(raw, &mut vec![]).is_ok()
}

proptest! {
    #[test]
    fn a_widened_column_takes_the_field_and_all_it_held_before(
        field in any_field(),
        column in any_column(),
        is_key in any::<bool>(),
    ) {
        match fit(&field, &column, is_key) {
            Fit::Widen(wider) => {
                prop_assert!(!is_key, "{:?} {}", field, column);
                prop_assert_ne!(&wider, &column);
                prop_assert_eq!(fit(&field, &wider, false), Fit::Fits, "{:?} {}", field, wider);
                prop_assert!(wider.is_nullable() || !field.optional);
                for value in VALUES {
                    prop_assert!(holds(&wider, value) || !holds(&column, value), "{} {} {}", column, wider, value);
                }
            }
            Fit::Never(why) => prop_assert!(!why.is_empty()),
            Fit::Fits => {}
        }
    }

    #[test]
    fn a_field_fits_the_column_that_is_made_for_it(field in any_field(), is_key in any::<bool>()) {
        let column = column_type_for(&field, is_key);
        prop_assert_eq!(fit(&field, &column, is_key), Fit::Fits, "{:?} {}", field, column);
        prop_assert_eq!(column.is_nullable(), field.optional && !is_key);
        let spelled = ColumnType::parse(&column.to_string());
        prop_assert_eq!(spelled, Ok(column));
    }

    #[test]
    fn a_decimal_keeps_the_digits_of_both_sides_of_the_point(
        (precision, scale) in (1..=76_u8).prop_flat_map(|p| (Just(p), 0..=p)),
        field_precision in 1..=80_u32,
        field_scale in -5..=40_i32,
    ) {
        let column = ColumnType::Decimal { precision, scale };
        let field = FieldType { optional: false, ..decimal_field(Some(field_precision), field_scale) };
        let whole = i64::from(precision - scale).max(i64::from(field_precision) - i64::from(field_scale));
        let fraction = i64::from(scale).max(i64::from(field_scale));
        let expected = if whole + fraction > 76 {
            None
        } else {
            Some(ColumnType::Decimal { precision: (whole + fraction) as u8, scale: fraction as u8 })
        };
        match fit(&field, &column, false) {
            Fit::Fits => prop_assert_eq!(expected, Some(column)),
            Fit::Widen(wider) => prop_assert_eq!(expected, Some(wider)),
            Fit::Never(_) => prop_assert_eq!(expected, None),
        }
    }

    #[test]
    fn no_text_of_the_server_makes_the_check_panic(
        engine in "[ -~]{0,60}",
        sorting in "[a-z`'(), %0-9]{0,40}",
        partition in "[a-z`'(), %0-9]{0,40}",
    ) {
        let engine_full = format!("ReplacingMergeTree({engine}");
        let table = ExistingTable { engine_full: &engine_full, sorting_key: &sorting, partition_key: &partition, ..a_table() };
        let _ = check_table(&table, &["id".to_owned()], &OwnNames::default());
    }
}

fn a_table() -> ExistingTable<'static> {
    let column = |(name, type_name)| ExistingColumn {
        name,
        type_name,
        default_kind: "",
    };
    let columns = [
        ("id", "Int64"),
        ("odd `name", "String"),
        ("_version", "UInt64"),
        ("_deleted", "UInt8"),
    ];
    ExistingTable {
        name: "shop.orders",
        engine: "ReplacingMergeTree",
        engine_full: "ReplacingMergeTree(_version, _deleted) ORDER BY id SETTINGS index_granularity = 8192",
        sorting_key: "id",
        partition_key: "",
        columns: columns.map(column).to_vec(),
    }
}

#[test]
fn tables_of_clusters_are_replicas_too() {
    let id = ["id".to_owned()];
    for (engine, arguments) in [
        ("ReplacingMergeTree", "_version, _deleted"),
        (
            "ReplicatedReplacingMergeTree",
            "'/clickhouse/(a, b)/{shard}', '{replica}', `_version`, _deleted",
        ),
        (
            "SharedReplacingMergeTree",
            "'/clickhouse/tables/{uuid}/{shard}', '{replica}', _version, _deleted",
        ),
    ] {
        let engine_full = format!("{engine}({arguments}) ORDER BY id");
        let table = ExistingTable {
            engine,
            engine_full: &engine_full,
            ..a_table()
        };
        let replica = check_table(&table, &id, &OwnNames::default())
            .unwrap_or_else(|error| panic!("{error}"));
        let names: Vec<&str> = replica.columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["id", "odd `name"]);
    }
    for (engine, engine_full) in [
        ("Distributed", "Distributed('c', 'd', 't')"),
        (
            "ReplicatedMergeTree",
            "ReplicatedMergeTree('/p', 'r') ORDER BY id",
        ),
        (
            "ReplicatedReplacingMergeTree",
            "ReplicatedReplacingMergeTree ORDER BY (_version, _deleted)",
        ),
        (
            "ReplicatedReplacingMergeTree",
            "ReplicatedReplacingMergeTree('/p', 'r', _version) ORDER BY id",
        ),
    ] {
        let table = ExistingTable {
            engine,
            engine_full,
            ..a_table()
        };
        assert!(
            check_table(&table, &id, &OwnNames::default()).is_err(),
            "{engine_full}"
        );
    }
}

#[test]
fn odd_names_are_compared_as_they_are_called() {
    let key = ["odd `name".to_owned(), "id".to_owned()];
    let table = ExistingTable {
        sorting_key: r"id, `odd \`name`",
        partition_key: r"(id % 4, cityHash64(`odd \`name`))",
        ..a_table()
    };
    assert!(check_table(&table, &key, &OwnNames::default()).is_ok());
    let error = check_table(&table, &key[1..], &OwnNames::default())
        .expect_err("another key")
        .to_string();
    assert!(error.contains("sorted by"), "{error}");
    let moved = ExistingTable {
        sorting_key: "id",
        ..table
    };
    let error = check_table(&moved, &key[1..], &OwnNames::default())
        .expect_err("rows move")
        .to_string();
    assert!(error.contains("an update of odd `name would"), "{error}");
    let nothing = check_table(&a_table(), &[], &OwnNames::default())
        .expect_err("no key")
        .to_string();
    assert!(nothing.contains("key = [...]"), "{nothing}");
}

#[test]
fn a_truth_value_fits_an_integer_that_somebody_chose() {
    let field = FieldType {
        optional: false,
        ..FieldType::declared(Form::Boolean, None)
    };
    let fit = |column: &str| fit(&field, &ColumnType::parse(column).expect("a type"), false);
    for column in ["Bool", "UInt8", "Int8", "Nullable(UInt8)", "Int64"] {
        assert_eq!(fit(column), Fit::Fits, "{column}");
    }
    for column in ["Float64", "Decimal(3, 0)", "DateTime"] {
        assert!(matches!(fit(column), Fit::Never(_)), "{column}");
    }
}

#[test]
fn a_new_column_without_a_schema_block_goes_by_its_first_value() {
    for (value, column) in [
        ("0", "Nullable(Int64)"),
        ("-9223372036854775808", "Nullable(Int64)"),
        ("9223372036854775808", "Nullable(String)"),
        ("1.0", "Nullable(String)"),
        ("1e3", "Nullable(String)"),
        ("true", "Nullable(Bool)"),
        ("false", "Nullable(Bool)"),
        ("null", "Nullable(String)"),
        ("\"1\"", "Nullable(String)"),
        ("{}", "Nullable(String)"),
        ("[1]", "Nullable(String)"),
    ] {
        let raw = Raw::parse(value).expect("JSON");
        assert_eq!(column_type_of_value(raw).to_string(), column, "{value}");
    }
}
