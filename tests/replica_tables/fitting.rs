//! Which columns take which fields.

use streamweir::debezium::{FieldType, Form};
use streamweir::replica::{Fit, fit};
use streamweir::table::ColumnType;

use super::{DECIMAL_14_4, DECIMAL_60_10, MICRO_TIMESTAMP, column_type, field_type};

/// A source that no longer sends what the column holds, or sends what it never held.
#[test]
fn a_change_that_would_lose_or_guess_is_never_made() {
    for (schema, column, key, says) in [
        (r#""type":"string""#, "Int64", false, "string"),
        (r#""type":"int64""#, "Bool", false, "int64"),
        (r#""type":"boolean""#, "Float64", false, "boolean"),
        (r#""type":"double""#, "Float32", false, "Double"),
        (r#""type":"int64""#, "Float64", false, "Int64"),
        (r#""type":"int64""#, "DateTime64(3)", false, "Int64"),
        (MICRO_TIMESTAMP, "Date32", false, "MicroTimestamp"),
        (DECIMAL_60_10, "Decimal(76, 30)", false, "(60, 10)"),
        (DECIMAL_14_4, "Int64", false, "(14, 4)"),
        (DECIMAL_14_4, "Float64", false, "Decimal"),
        (
            r#""type":"struct","name":"com.example.New""#,
            "Int64",
            false,
            "com.example.New cannot be read into Int64",
        ),
        (
            r#""type":"int64","name":"io.debezium.time.NanoTimestamp""#,
            "DateTime64(6)",
            false,
            "NanoTimestamp",
        ),
        (
            r#""type":"int64""#,
            "Int32",
            true,
            "the server alters no column of a key",
        ),
        (
            r#""type":"array","items":{"type":"int64"}"#,
            "Array(Int32)",
            false,
            "array",
        ),
        (r#""type":"map""#, "Int64", false, "Map"),
    ] {
        match fit(&field_type(schema), &column_type(column), key) {
            Fit::Never(why) => assert!(why.contains(says), "{schema} {column}: {why}"),
            other => panic!("{schema} {column}: {other:?}"),
        }
    }
}

#[test]
fn a_column_of_an_operators_choice_stays_as_it_is() {
    for (schema, column) in [
        (r#""type":"int64""#, "UInt32"),
        (r#""type":"int64""#, "Decimal(20, 0)"),
        (r#""type":"int32""#, "Int64"),
        (r#""type":"int16""#, "Bool"),
        (r#""type":"int32","name":"io.debezium.time.Year""#, "UInt16"),
        (r#""type":"int32","name":"io.debezium.time.Date""#, "Date"),
        (
            r#""type":"int64","name":"io.debezium.time.Timestamp""#,
            "DateTime",
        ),
        (
            r#""type":"int64","name":"io.debezium.time.Timestamp""#,
            "DateTime64(9)",
        ),
        (MICRO_TIMESTAMP, "Int64"),
        (
            r#""type":"string","name":"io.debezium.time.ZonedTimestamp""#,
            "DateTime64(3, 'UTC')",
        ),
        (r#""type":"string""#, "LowCardinality(String)"),
        (r#""type":"string""#, "Decimal(38, 9)"),
        (r#""type":"string""#, "IPv6"),
        (
            r#""type":"string","name":"io.debezium.data.Enum""#,
            "Enum8('a' = 1)",
        ),
        (
            r#""type":"array","optional":true,"items":{"type":"int32","optional":true}"#,
            "Array(Nullable(Int64))",
        ),
        (
            r#""type":"struct","name":"io.debezium.data.VariableScaleDecimal""#,
            "Decimal(38, 9)",
        ),
        (DECIMAL_14_4, "Decimal(76, 20)"),
        (
            r#""type":"bytes","name":"io.debezium.data.Bits","parameters":{"length":"8"}"#,
            "UInt8",
        ),
    ] {
        let fit = fit(&field_type(schema), &column_type(column), false);
        assert_eq!(fit, Fit::Fits, "{schema} {column}");
    }
    let plain = FieldType::declared(Form::Int32, None);
    assert_eq!(
        fit(&plain, &ColumnType::Int32, true),
        Fit::Fits,
        "a key is never null"
    );
}
