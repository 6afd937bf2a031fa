//! Values with a schema block: every type into every kind of column that takes it.

use super::*;

#[test]
fn decimals_keep_every_digit_or_are_refused() {
    let field = |scale: &str| {
        format!(
            r#"{},"parameters":{{"scale":"{scale}"}}"#,
            named("bytes", "org.apache.kafka.connect.data.Decimal")
        )
    };
    check_columns(
        &field("2"),
        "Decimal(10, 2)",
        &[
            (r#""AJY=""#, Ok("1.50")),
            (r#""/w==""#, Ok("-0.01")),
            (r#""AA==""#, Ok("0")),
            (r#""""#, Ok("0")),
            ("1.5", Ok("1.5")),
            (r#""AlQL4/8=""#, Ok("99999999.99")),
            (r#""AlQL5AA=""#, Err(Reason::OutOfRange)),
            (r#""*""#, Err(Reason::InvalidValue)),
        ],
    );
    check_columns(&field("2"), "Decimal(76, 10)", &[(r#""AJY=""#, Ok("1.5"))]);
    check_columns(
        &field("4"),
        "Decimal(10, 2)",
        &[
            (r#""Opg=""#, Ok("1.5")),
            (r#""Opk=""#, Err(Reason::OutOfRange)),
        ],
    );
    check_columns(&field("-2"), "Decimal(10, 2)", &[(r#""AQ==""#, Ok("100"))]);
    check_columns(&field("0"), "Int64", &[(r#""/w==""#, Ok("-1"))]);
    check_texts(
        &field("2"),
        &[
            (r#""AJY=""#, "1.50"),
            (r#""/w==""#, "-0.01"),
            (r#""AA==""#, "0.00"),
        ],
    );
    check_texts(&field("-2"), &[(r#""AQ==""#, "100"), (r#""AA==""#, "0")]);
    assert_eq!(text(&field("99999"), r#""AQ==""#), Err(Reason::OutOfRange));
    assert_eq!(
        typed(&field("2"), "Float64", r#""AQ==""#),
        Err(Reason::InvalidValue)
    );
    let scaleless = named("bytes", "org.apache.kafka.connect.data.Decimal");
    assert_eq!(text(&scaleless, r#""AQ==""#), Ok("\x01".to_owned()));

    let variable = named("struct", "io.debezium.data.VariableScaleDecimal");
    check_texts(
        &variable,
        &[
            (r#"{"scale":18,"value":"AQ=="}"#, "0.000000000000000001"),
            (r#"{"value":"+Q==","scale":0}"#, "-7"),
            // 10^80 + 1 and its negative: larger than any Decimal.
            (
                r#"{"scale":1,"value":"A1+d6j4fa9/vcM3ReyXvpBjKY6InZM7BAAAAAAAAAAAAAQ=="}"#,
                "10000000000000000000000000000000000000000000000000000000000000000000000000000000.1",
            ),
            (
                r#"{"scale":0,"value":"/KBiFcHglCAQjzIuhNoQW+c1nF3YmzE+/////////////w=="}"#,
                "-100000000000000000000000000000000000000000000000000000000000000000000000000000001",
            ),
            // -2^256: its magnitude has one bit more than its bytes.
            (
                r#"{"scale":0,"value":"/wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#,
                "-115792089237316195423570985008687907853269984665640564039457584007913129639936",
            ),
        ],
    );
    assert_eq!(text(&variable, r#"{"scale":1}"#), Err(Reason::InvalidValue));
    check_columns(
        &variable,
        "Decimal(10, 2)",
        &[
            (r#"{"scale":3,"value":"Bdw="}"#, Ok("1.5")),
            (r#"{"scale":3,"value":"AQ=="}"#, Err(Reason::OutOfRange)),
        ],
    );
}

#[test]
fn decimals_in_other_modes_are_digits() {
    let string = r#""type":"string""#;
    check_columns(
        string,
        "Decimal(20, 4)",
        &[
            (r#""12.3000""#, Ok("12.3")),
            (r#""NAN""#, NOT),
            (r#""NEGATIVE_INFINITY""#, NOT),
        ],
    );
    check_texts(string, &[(r#""NAN""#, "NAN")]);
    let double = r#""type":"double""#;
    check_columns(
        double,
        "Decimal(20, 4)",
        &[
            ("12.3", Ok("12.3")),
            ("1.0E16", Err(Reason::OutOfRange)),
            (r#""NaN""#, NOT),
        ],
    );
}

#[test]
fn floats_have_words_for_what_is_no_number() {
    for (word, value) in [
        ("NaN", f64::NAN),
        ("Infinity", f64::INFINITY),
        ("-Infinity", f64::NEG_INFINITY),
    ] {
        let json = format!("{word:?}");
        let double = typed(r#""type":"double""#, "Float64", &json)
            .unwrap()
            .unwrap();
        assert_eq!(double, value.to_le_bytes());
        let single = typed(r#""type":"float""#, "Float32", &json)
            .unwrap()
            .unwrap();
        assert_eq!(single, (value as f32).to_le_bytes());
        assert_eq!(text(r#""type":"double""#, &json).as_deref(), Ok(word));
    }
    check_columns(
        r#""type":"float""#,
        "Float32",
        &[("1.4E-45", Ok("1.4E-45"))],
    );
}

#[test]
fn bits_are_their_number() {
    let field = format!(
        r#"{},"parameters":{{"length":"16"}}"#,
        named("bytes", "io.debezium.data.Bits")
    );
    check_columns(
        &field,
        "UInt64",
        &[
            (r#""pQ==""#, Ok("165")),
            (r#""AQI=""#, Ok("513")),
            (r#""""#, Ok("0")),
            (r#""//////////8=""#, Ok("18446744073709551615")),
            (r#""AAAAAAAAAAAB""#, Err(Reason::OutOfRange)),
        ],
    );
    check_texts(
        &field,
        &[
            (r#""pQ==""#, "165"),
            (r#""AAAAAAAAAAAB""#, "18446744073709551616"),
        ],
    );
}

#[test]
fn bytes_are_the_bytes_themselves() {
    let bytes = r#""type":"bytes""#;
    assert_eq!(
        typed(bytes, "String", r#""AP8Q""#),
        Ok(Some(b"\x03\0\xff\x10".to_vec()))
    );
    assert_eq!(
        typed(bytes, "FixedString(4)", r#""AP8Q""#),
        Ok(Some(b"\0\xff\x10\0".to_vec()))
    );
    assert_eq!(
        typed(bytes, "FixedString(2)", r#""AP8Q""#),
        Err(Reason::OutOfRange)
    );
    assert_eq!(
        typed(bytes, "String", r#""AP8""#),
        Err(Reason::InvalidValue)
    );
    assert_eq!(
        typed(bytes, "Nullable(String)", r#""""#),
        Ok(Some(b"\0\0".to_vec()))
    );
}

#[test]
fn arrays_become_json_or_arrays() {
    let items = |items: &str| format!(r#""type":"array","items":{{{items}}}"#);
    check_texts(
        &items(r#""type":"int32""#),
        &[("[1, null ,3]", "[1,null,3]"), ("[]", "[]")],
    );
    check_texts(
        &items(r#""type":"double""#),
        &[(r#"[1.5,"NaN"]"#, r#"[1.5,"NaN"]"#)],
    );
    check_texts(&items(r#""type":"boolean""#), &[("[true]", "[true]")]);
    check_texts(
        &items(r#""type":"string""#),
        &[(r#"["a\"b",null]"#, r#"["a\"b",null]"#)],
    );
    let decimal = r#""type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}"#;
    check_texts(&items(decimal), &[(r#"["bg==",null]"#, r#"["1.10",null]"#)]);
    let time = named("int64", "io.debezium.time.MicroTimestamp");
    check_texts(
        &items(&time),
        &[("[1767323045000006]", r#"["2026-01-02 03:04:05.000006"]"#)],
    );
    check_columns(
        &items(r#""type":"int32""#),
        "Array(Nullable(Int32))",
        &[("[1,null]", Ok("[1,null]"))],
    );
    check_columns(
        &items(decimal),
        "Array(Decimal(10, 2))",
        &[(r#"["bg=="]"#, Ok("[1.1]"))],
    );
    let field = items(r#""type":"int32""#);
    assert_eq!(
        typed(&field, "Array(Int32)", "[null]"),
        Err(Reason::MissingField)
    );
    assert_eq!(typed(&field, "String", "1"), Err(Reason::InvalidValue));
    check_texts(&items(&named("int32", "x.y")), &[("[1]", "[1]")]);
}

#[test]
fn texts_objects_and_points_have_their_column() {
    check_columns(
        &named("string", "io.debezium.data.Uuid"),
        "UUID",
        &[(
            r#""7652dbcf-0000-4000-8000-9963ca0171fa""#,
            Ok(r#""7652dbcf-0000-4000-8000-9963ca0171fa""#),
        )],
    );
    check_columns(
        &named("string", "io.debezium.data.Enum"),
        "Enum8('a' = 1)",
        &[
            (r#""a""#, Ok(r#""a""#)),
            (r#""b""#, Err(Reason::OutOfRange)),
        ],
    );
    for name in ["Json", "Xml", "Enum", "EnumSet", "Ltree", "TsVector"] {
        let field = named("string", &format!("io.debezium.data.{name}"));
        check_texts(&field, &[(r#""{\"a\": 1}""#, r#"{"a": 1}"#)]);
    }
    let point = named("struct", "io.debezium.data.geometry.Point");
    check_texts(
        &point,
        &[(
            r#"{"x":1.5,"y":-2.5,"wkb":"AQ==","srid":null}"#,
            "(1.5,-2.5)",
        )],
    );
    let geometry = named("struct", "io.debezium.data.geometry.Geometry");
    check_texts(
        &geometry,
        &[(
            r#"{"wkb": "AQ==", "srid": 1}"#,
            r#"{"wkb":"AQ==","srid":1}"#,
        )],
    );
    check_texts(
        r#""type":"map""#,
        &[(r#"{"a": "1", "b": null}"#, r#"{"a":"1","b":null}"#)],
    );
    check_texts(
        &named("int64", "io.debezium.time.MicroDuration"),
        &[("5400000000", "5400000000")],
    );
    check_columns(
        &named("int64", "io.debezium.time.MicroDuration"),
        "Int64",
        &[("-5", Ok("-5"))],
    );
    check_texts(
        &named("string", "io.debezium.time.Interval"),
        &[(r#""P1Y""#, "P1Y")],
    );
    check_columns(
        &named("int32", "io.debezium.time.Year"),
        "UInt16",
        &[("2026", Ok("2026"))],
    );
}

const UNSIGNED: &str =
    r#""type":"int64","parameters":{"__debezium.source.column.type":"BIGINT UNSIGNED"}"#;

#[test]
fn only_integers_of_64_bits_may_have_lost_that_they_have_no_sign() {
    for (form, expected) in [
        ("int64", Ok(Some(vec![0xff; 8]))),
        ("int32", Err(Reason::OutOfRange)),
        ("int16", Err(Reason::OutOfRange)),
    ] {
        let mut reader = RowReader::new(Columns::new().with("v", ColumnType::UInt64), None);
        let value = format!(
            r#"{{"schema":{{"type":"struct","fields":[{{"type":"struct","fields":[{{"type":"{form}","field":"v"}}],"field":"after"}},{{"type":"string","field":"op"}}]}},"payload":{{"after":{{"v":-1}},"source":{{"connector":"mysql"}},"op":"c"}}}}"#
        );
        assert_eq!(only_value(&mut reader, &value), expected, "{form}");
    }
}

#[test]
fn what_has_nothing_in_common_is_refused() {
    for (field, type_name, json) in [
        (r#""type":"int64""#, "DateTime64(3)", "1"),
        (r#""type":"int32""#, "Date32", "1"),
        (r#""type":"bytes""#, "UInt64", r#""AQ==""#),
        // Digits would be lost, if not in this value.
        (r#""type":"double""#, "Float32", "1.5"),
        (r#""type":"int64""#, "Float64", "1"),
        (r#""type":"int32""#, "Float32", "1"),
        (r#""type":"map""#, "Int32", "{}"),
        (r#""type":"array","items":{"type":"int32"}"#, "Int32", "[]"),
        (
            r#""type":"string","name":"io.debezium.data.Json""#,
            "Array(String)",
            "\"[]\"",
        ),
        (
            r#""type":"int32","name":"io.debezium.time.Date""#,
            "DateTime64(3)",
            "1",
        ),
        (
            r#""type":"int64","name":"io.debezium.time.Timestamp""#,
            "Date32",
            "1",
        ),
        (
            r#""type":"int64","name":"io.debezium.time.MicroDuration""#,
            "DateTime64(6)",
            "5400000000",
        ),
        (
            r#""type":"int64","name":"io.debezium.time.MicroDuration""#,
            "Time64(6)",
            "5400000000",
        ),
        (
            r#""type":"int32","name":"io.debezium.time.Year""#,
            "DateTime",
            "2026",
        ),
        (UNSIGNED, "DateTime64(3)", "1763719200000"),
        (UNSIGNED, "Float64", "9007199254740993"),
    ] {
        assert_eq!(
            typed(field, type_name, json),
            Err(Reason::InvalidValue),
            "{field} {type_name}"
        );
    }
}

#[test]
fn null_is_null_or_refused_and_never_a_default() {
    let field = r#""type":"int32""#;
    assert_eq!(typed(field, "Nullable(Int32)", "null"), Ok(Some(vec![1])));
    assert_eq!(typed(field, "Int32", "null"), Err(Reason::MissingField));
    assert_eq!(
        typed(field, "LowCardinality(Nullable(String))", "null"),
        Ok(Some(vec![1]))
    );
    assert_eq!(
        typed(field, "LowCardinality(Nullable(String))", "7"),
        Ok(Some(b"\0\x017".to_vec()))
    );
}
