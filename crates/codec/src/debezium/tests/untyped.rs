//! Values without a schema block: the column's type and the declared modes decide.

use super::*;

fn modes(decimal: DecimalMode, time: TimeMode) -> Modes {
    Modes {
        decimal,
        time,
        ..Modes::default()
    }
}

fn time(mode: TimeMode) -> Modes {
    modes(DecimalMode::Precise, mode)
}

fn check(modes: Modes, type_name: &str, cases: &[(&str, Result<&str, Reason>)]) {
    for (json, expected) in cases {
        let found = untyped(type_name, json, modes).map(|value| value.expect("a value"));
        let expected = expected.map(|expected| plain(type_name, expected));
        assert_eq!(found, expected, "{json} into {type_name}, {modes:?}");
    }
}

#[test]
fn the_precision_of_the_column_tells_milliseconds_from_microseconds() {
    let noon_ms = Ok("\"2026-03-04 05:06:07.123\"");
    for (mode, type_name, json) in [
        (TimeMode::Adaptive, "DateTime64(3)", "1772600767123"),
        (TimeMode::Adaptive, "DateTime64(6)", "1772600767123000"),
        (
            TimeMode::AdaptiveTimeMicroseconds,
            "DateTime64(3)",
            "1772600767123",
        ),
        (
            TimeMode::AdaptiveTimeMicroseconds,
            "DateTime64(4)",
            "1772600767123000",
        ),
        (TimeMode::Connect, "DateTime64(6)", "1772600767123"),
        (TimeMode::Microseconds, "DateTime64(3)", "1772600767123000"),
        (
            TimeMode::Nanoseconds,
            "DateTime64(3)",
            "1772600767123000000",
        ),
        (
            TimeMode::IsoString,
            "DateTime64(3)",
            "\"2026-03-04T05:06:07.123Z\"",
        ),
        (
            TimeMode::Adaptive,
            "Nullable(DateTime64(3, 'UTC'))",
            "\"2026-03-04T05:06:07.123Z\"",
        ),
    ] {
        check(time(mode), type_name, &[(json, noon_ms)]);
    }
    let second = Ok("\"00:00:01\"");
    for (mode, type_name, json) in [
        (TimeMode::Adaptive, "Time64(3)", "1000"),
        (TimeMode::Adaptive, "Time64(6)", "1000000"),
        (TimeMode::AdaptiveTimeMicroseconds, "Time64(3)", "1000000"),
        (TimeMode::Connect, "Time64(6)", "1000"),
        (TimeMode::Nanoseconds, "Time64(6)", "1000000000"),
        (TimeMode::IsoString, "Time64(6)", "\"00:00:01Z\""),
    ] {
        check(time(mode), type_name, &[(json, second)]);
    }
    check(
        time(TimeMode::Adaptive),
        "Date32",
        &[("20512", Ok("\"2026-02-28\""))],
    );
    check(
        time(TimeMode::IsoString),
        "Date32",
        &[("\"2026-02-28Z\"", Ok("\"2026-02-28\""))],
    );
    check(
        time(TimeMode::IsoString),
        "DateTime64(3)",
        &[("1", Err(Reason::InvalidValue))],
    );
}

#[test]
fn days_and_times_may_be_the_messages_of_connects_converter_for_protobuf() {
    let invalid = Err(Reason::InvalidValue);
    check(
        time(TimeMode::Connect),
        "Date32",
        &[
            (r#"{"year":2026,"month":2,"day":28}"#, Ok("\"2026-02-28\"")),
            (r#"{"year":2026,"month":2,"day":29}"#, invalid),
            (r#"{"year":0,"month":2,"day":28}"#, invalid),
            (r#"{"year":2026,"month":2,"day":0}"#, invalid),
            (r#"{"year":2026,"month":2}"#, invalid),
            (r#"{"year":2026,"month":2,"day":"28"}"#, invalid),
            (r#"{"year":2026,"month":2,"day":28,"era":1}"#, invalid),
            ("{}", invalid),
        ],
    );
    check(
        time(TimeMode::Connect),
        "Time64(3)",
        &[
            (
                r#"{"hours":7,"minutes":5,"seconds":1,"nanos":250000000}"#,
                Ok("\"07:05:01.25\""),
            ),
            (
                r#"{"hours":7,"minutes":5,"seconds":1,"nanos":1}"#,
                Err(Reason::OutOfRange),
            ),
            (r#"{"hours":24,"minutes":0,"seconds":1,"nanos":0}"#, invalid),
            (r#"{"hours":7,"minutes":60,"seconds":0,"nanos":0}"#, invalid),
            (r#"{"hours":7}"#, invalid),
        ],
    );
}

#[test]
fn the_columns_scale_tells_what_a_decimals_bytes_are() {
    let column = "Decimal(10, 2)";
    let one_and_a_half = Ok("1.5");
    check(
        modes(DecimalMode::Precise, TimeMode::Adaptive),
        column,
        &[
            (r#""AJY=""#, one_and_a_half),
            (r#"{"scale":1,"value":"Dw=="}"#, one_and_a_half),
            // As the message that Connect's converter for Protobuf writes.
            (
                r#"{"value":"AJY=","precision":10,"scale":2}"#,
                one_and_a_half,
            ),
            (
                r#"{"value":"AJY=","scale":2,"unit":"EUR"}"#,
                Err(Reason::InvalidValue),
            ),
            ("1.5", one_and_a_half),
            ("{}", Err(Reason::InvalidValue)),
        ],
    );
    check(
        modes(DecimalMode::String, TimeMode::Adaptive),
        column,
        &[
            ("\"1.50\"", one_and_a_half),
            ("\"POSITIVE_INFINITY\"", Err(Reason::NotRepresentable)),
            ("\"AJY=\"", Err(Reason::InvalidValue)),
        ],
    );
    check(
        modes(DecimalMode::Double, TimeMode::Adaptive),
        column,
        &[
            ("1.5", one_and_a_half),
            ("1.555", Err(Reason::OutOfRange)),
            ("\"NaN\"", Err(Reason::NotRepresentable)),
        ],
    );
}

#[test]
fn a_text_column_takes_what_comes() {
    for (json, expected) in [
        ("\"AJY=\"", "AJY="),
        ("20512", "20512"),
        ("\"NAN\"", "NAN"),
        (r#"{"scale":2,"value":"AJY="}"#, "1.50"),
        (r#"{"value":"AJY=","precision":0,"scale":2}"#, "1.50"),
        (
            r#"{"x":1.0E300,"y":"NaN","wkb":"AQ==","srid":null}"#,
            "(1.0E300,NaN)",
        ),
        (r#"{"a": null}"#, r#"{"a":null}"#),
        (r#"[ "a b" ]"#, r#"["a b"]"#),
        ("true", "true"),
    ] {
        let found = as_text(untyped("String", json, Modes::default()));
        assert_eq!(found.as_deref(), Ok(expected), "{json}");
    }
}

#[test]
fn a_declared_type_reads_as_if_there_were_a_schema_block() {
    let date = FieldType::declared(Form::Int32, Some("io.debezium.time.Date"));
    let columns = Columns::new().with_declared("v", ColumnType::String, date);
    let mut reader = RowReader::new(columns, Some(Modes::default()));
    let value = r#"{"before":null,"after":{"v":-735160},"source":{},"op":"c"}"#;
    assert_eq!(
        as_text(only_value(&mut reader, value)).as_deref(),
        Ok("-0043-03-15")
    );
}

#[test]
fn a_type_named_for_a_text_column_reads_as_if_there_were_a_schema_block() {
    for (name, json, text) in [
        (
            "org.apache.kafka.connect.data.Decimal(4)",
            r#""fQ==""#,
            "0.0125",
        ),
        (
            "org.apache.kafka.connect.data.Decimal(-2)",
            r#""fQ==""#,
            "12500",
        ),
        (
            "io.debezium.time.MicroTimestamp",
            "1",
            "1970-01-01 00:00:00.000001",
        ),
        ("io.debezium.time.Timestamp", "1", "1970-01-01 00:00:00.001"),
        ("io.debezium.time.MicroTime", "86400000000", "24:00:00"),
        ("io.debezium.data.Bits", r#""pQ==""#, "165"),
        ("io.debezium.data.DoubleVector", "[ 1.5, 2 ]", "[1.5,2]"),
        ("bytes", r#""aGk=""#, "hi"),
    ] {
        let field_type = FieldType::named(name).expect(name);
        let columns = Columns::new().with_declared("v", ColumnType::String, field_type);
        let mut reader = RowReader::new(columns, Some(Modes::default()));
        let value = format!(r#"{{"before":null,"after":{{"v":{json}}},"source":{{}},"op":"c"}}"#);
        let found = as_text(only_value(&mut reader, &value));
        assert_eq!(found.as_deref(), Ok(text), "{name}");
    }
    for name in [
        "",
        "array",
        "int64(2)",
        "io.debezium.time.Date(2)",
        "io.debezium.time.Nonsense",
        "org.apache.kafka.connect.data.Decimal",
        "org.apache.kafka.connect.data.Decimal()",
        "org.apache.kafka.connect.data.Decimal(2",
    ] {
        assert_eq!(FieldType::named(name), None, "{name}");
    }
}

#[test]
fn a_placeholder_is_no_value() {
    let custom = |binary| Modes {
        binary,
        ..Modes::default()
    };
    for (type_name, json) in [
        ("String", r#""__debezium_unavailable_value""#),
        (
            "Nullable(String)",
            r#""X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==""#,
        ),
        ("String", r#"["__debezium_unavailable_value"]"#),
        ("Decimal(10, 2)", r#""__debezium_unavailable_value""#),
        ("Array(String)", r#"["__debezium_unavailable_value"]"#),
    ] {
        assert_eq!(
            untyped(type_name, json, custom(BinaryMode::Bytes)),
            Ok(None),
            "{json}"
        );
    }
    let hex = r#""5f5f646562657a69756d5f756e617661696c61626c655f76616c7565""#;
    assert_eq!(untyped("String", hex, custom(BinaryMode::Hex)), Ok(None));
    let columns = Columns::new().with("v", ColumnType::String);
    let mut reader = RowReader::new(columns, Some(Modes::default())).with_placeholder("?");
    let value = r#"{"before":null,"after":{"v":"?"},"source":{},"op":"u"}"#;
    assert_eq!(only_value(&mut reader, value), Ok(None));
}

#[test]
fn only_connectors_that_write_unsigned_numbers_as_signed_are_read_so() {
    let value = |source: &str| {
        format!(r#"{{"before":null,"after":{{"v":-1}},"source":{{{source}}},"op":"c"}}"#)
    };
    let mut reader = RowReader::new(
        Columns::new().with("v", ColumnType::UInt64),
        Some(Modes::default()),
    );
    for connector in ["mysql", "mariadb"] {
        let value = value(&format!(r#""connector":"{connector}""#));
        assert_eq!(only_value(&mut reader, &value), Ok(Some(vec![0xff; 8])));
    }
    for source in ["", r#""connector":"postgresql""#] {
        assert_eq!(
            only_value(&mut reader, &value(source)),
            Err(Reason::OutOfRange)
        );
    }
    let flat = r#"{"v":-1,"__op":"c","__source_connector":"mysql"}"#;
    assert_eq!(only_value(&mut reader, flat), Ok(Some(vec![0xff; 8])));
}

#[test]
fn modes_have_debeziums_own_names() {
    for (name, mode) in [
        ("precise", DecimalMode::Precise),
        ("string", DecimalMode::String),
        ("double", DecimalMode::Double),
    ] {
        assert_eq!(DecimalMode::parse(name), Some(mode));
    }
    for (name, mode) in [
        ("adaptive", TimeMode::Adaptive),
        (
            "adaptive_time_microseconds",
            TimeMode::AdaptiveTimeMicroseconds,
        ),
        ("microseconds", TimeMode::Microseconds),
        ("nanoseconds", TimeMode::Nanoseconds),
        ("connect", TimeMode::Connect),
        ("isostring", TimeMode::IsoString),
    ] {
        assert_eq!(TimeMode::parse(name), Some(mode));
    }
    for (name, mode) in [
        ("bytes", BinaryMode::Bytes),
        ("base64", BinaryMode::Base64),
        ("base64-url-safe", BinaryMode::Base64UrlSafe),
        ("hex", BinaryMode::Hex),
    ] {
        assert_eq!(BinaryMode::parse(name), Some(mode));
    }
    let other = "Precise";
    assert_eq!(
        (
            DecimalMode::parse(other),
            TimeMode::parse(other),
            BinaryMode::parse(other)
        ),
        (None, None, None)
    );
}
