//! Every type that schema blocks name: the column that is made for it, and what a value becomes there and in
//! a text column.

use super::*;
use crate::replica::column_type_for;

/// A type's members in a block, its column, a value, the value as that column has it, and as text.
type Case<'c> = (&'c str, &'c str, &'c str, &'c str, &'c str);

/// The column that is made of a field.
fn made(field: &str) -> String {
    let block = format!(r#"{{"type":"struct","fields":[{{{field},"field":"v"}}]}}"#);
    let schema = Schema::parse(Raw::parse(&block).unwrap()).unwrap();
    column_type_for(&schema.fields()[0].field_type, false).to_string()
}

fn check_all(cases: &[Case<'_>]) {
    for (field, column, json, shown, as_text) in cases {
        assert_eq!(made(field), *column, "{field}");
        let found = typed(field, column, json).map(|value| value.expect("a value"));
        assert_eq!(found, Ok(plain(column, shown)), "{field} {json}");
        assert_eq!(text(field, json).as_deref(), Ok(*as_text), "{field} {json}");
    }
}

#[test]
#[rustfmt::skip]
fn times_of_every_type_have_a_column() {
    let name = |form: &str, name: &str| named(form, &format!("io.debezium.time.{name}"));
    let connect = |form: &str, name: &str| named(form, &format!("org.apache.kafka.connect.data.{name}"));
    let (day, clock, moment) = ("\"2026-02-28\"", "\"00:00:01.5\"", "\"2026-03-04 05:06:07.123\"");
    let moment_text = "2026-03-04 05:06:07.123";
    check_all(&[
        (&name("int32", "Date"), "Date32", "20512", day, "2026-02-28"),
        (&connect("int32", "Date"), "Date32", "20512", day, "2026-02-28"),
        (&name("string", "IsoDate"), "Date32", "\"2026-02-28Z\"", day, "2026-02-28"),
        (&name("int32", "Time"), "Time64(3)", "1500", clock, "00:00:01.5"),
        (&connect("int32", "Time"), "Time64(3)", "1500", clock, "00:00:01.5"),
        (&name("int64", "MicroTime"), "Time64(6)", "1500000", clock, "00:00:01.5"),
        (&name("int64", "NanoTime"), "Time64(9)", "1500000000", clock, "00:00:01.5"),
        (&name("string", "IsoTime"), "Time64(6)", "\"00:00:01.5Z\"", clock, "00:00:01.5"),
        (&name("string", "ZonedTime"), "String", "\"10:00:00Z\"", "\"10:00:00Z\"", "10:00:00Z"),
        (&name("int64", "Timestamp"), "DateTime64(3, 'UTC')", "1772600767123", moment, moment_text),
        (&connect("int64", "Timestamp"), "DateTime64(3, 'UTC')", "1772600767123", moment, moment_text),
        (&name("int64", "MicroTimestamp"), "DateTime64(6, 'UTC')", "1772600767123000", moment, moment_text),
        (&name("int64", "NanoTimestamp"), "DateTime64(9, 'UTC')", "1772600767123000000", moment, moment_text),
        (&name("string", "ZonedTimestamp"), "DateTime64(6, 'UTC')", "\"2026-03-04T08:06:07.123+03:00\"", moment, moment_text),
        (&name("string", "IsoTimestamp"), "DateTime64(6, 'UTC')", "\"2026-03-04T05:06:07.123Z\"", moment, moment_text),
        (&name("int32", "Year"), "Int32", "1901", "1901", "1901"),
        (&name("int64", "MicroDuration"), "String", "1000001", "1000001", "1000001"),
        (&name("int64", "NanoDuration"), "String", "-5", "-5", "-5"),
        (&name("string", "Interval"), "String", "\"P1Y\"", "\"P1Y\"", "P1Y"),
        (&name("struct", "StructuredDate"), "String", r#"{"year": 2026, "month": 2}"#, r#""{\"year\":2026,\"month\":2}""#, r#"{"year":2026,"month":2}"#),
        (&name("string", "SomethingNew"), "String", "\"a\"", "\"a\"", "a"),
        (&name("struct", "Timestamp"), "String", r#"{"s":1}"#, r#""{\"s\":1}""#, r#"{"s":1}"#),
    ]);
}

#[test]
#[rustfmt::skip]
fn data_of_every_type_has_a_column() {
    let name = |form: &str, name: &str| named(form, &format!("io.debezium.data.{name}"));
    let with = |field: String, parameters: &str| format!(r#"{field},"parameters":{{{parameters}}}"#);
    let decimal = named("bytes", "org.apache.kafka.connect.data.Decimal");
    let uuid = "\"61f0c404-5cb3-11e7-907b-a6006ad3dba0\"";
    check_all(&[
        (&with(decimal.clone(), r#""scale":"2","connect.decimal.precision":"10""#), "Decimal(10, 2)", "\"AJY=\"", "1.5", "1.50"),
        (&with(decimal.clone(), r#""scale":"2""#), "Decimal(38, 2)", "\"AJY=\"", "1.5", "1.50"),
        (&with(decimal.clone(), r#""scale":"2","connect.decimal.precision":"80""#), "String", "\"AJY=\"", "\"1.50\"", "1.50"),
        (&decimal, "String", "\"AQ==\"", "\"\\u0001\"", "\u{1}"),
        (&with(named("string", "org.apache.kafka.connect.data.Decimal"), r#""scale":"2""#), "String", "\"1.5\"", "\"1.5\"", "1.5"),
        (&name("struct", "VariableScaleDecimal"), "String", r#"{"scale":1,"value":"EA=="}"#, "\"1.6\"", "1.6"),
        (&with(name("bytes", "Bits"), r#""length":"9""#), "UInt64", "\"AQE=\"", "257", "257"),
        (&name("bytes", "Bits"), "String", "\"AQE=\"", "\"257\"", "257"),
        (&name("string", "Json"), "String", r#""{\"a\": 1}""#, r#""{\"a\": 1}""#, r#"{"a": 1}"#),
        (&name("string", "Xml"), "String", "\"<a/>\"", "\"<a/>\"", "<a/>"),
        (&name("string", "Uuid"), "UUID", uuid, uuid, uuid.trim_matches('"')),
        (&with(name("string", "Enum"), r#""allowed":"a,b""#), "String", "\"a\"", "\"a\"", "a"),
        (&name("string", "EnumSet"), "String", "\"a,b\"", "\"a,b\"", "a,b"),
        (&name("string", "Ltree"), "String", "\"a.b\"", "\"a.b\"", "a.b"),
        (&name("string", "Tsvector"), "String", "\"'dog':1\"", "\"'dog':1\"", "'dog':1"),
        (&name("string", "TsVector"), "String", "\"'dog':1\"", "\"'dog':1\"", "'dog':1"),
        (&name("struct", "geometry.Point"), "String", r#"{"x":1.5,"y":-2.0,"wkb":"AQ==","srid":null}"#, "\"(1.5,-2.0)\"", "(1.5,-2.0)"),
        (&name("struct", "geometry.Geometry"), "String", r#"{"wkb": "AQ=="}"#, r#""{\"wkb\":\"AQ==\"}""#, r#"{"wkb":"AQ=="}"#),
        (&name("struct", "geometry.Geography"), "String", r#"{"wkb": "AQ=="}"#, r#""{\"wkb\":\"AQ==\"}""#, r#"{"wkb":"AQ=="}"#),
        (&name("struct", "geometry.Circle"), "String", r#"{"radius": 3.0}"#, r#""{\"radius\":3.0}""#, r#"{"radius":3.0}"#),
        (&format!(r#"{},"items":{{"type":"float"}}"#, name("array", "FloatVector")), "String", "[1.0, 2.5]", "\"[1.0,2.5]\"", "[1.0,2.5]"),
        (&format!(r#"{},"items":{{"type":"double"}}"#, name("array", "DoubleVector")), "String", "[1.0, 2.5]", "\"[1.0,2.5]\"", "[1.0,2.5]"),
        (&name("struct", "SparseDoubleVector"), "String", r#"{"dimensions": 2}"#, r#""{\"dimensions\":2}""#, r#"{"dimensions":2}"#),
        (&format!(r#"{},"items":{{"type":"double"}}"#, name("array", "NewVector")), "String", "[1.0]", "\"[1.0]\"", "[1.0]"),
        (&named("string", "com.example.Secret"), "String", "\"2026-03-01 04:05:06\"", "\"2026-03-01 04:05:06\"", "2026-03-01 04:05:06"),
        (&named("int64", "com.example.Secret"), "Int64", "7", "7", "7"),
        (&named("boolean", "com.example.Secret"), "Bool", "true", "true", "true"),
    ]);
}

#[test]
#[rustfmt::skip]
fn arrays_have_texts_in_the_form_of_their_elements() {
    let items = |item: &str| format!(r#""type":"array","items":{{{item}}}"#);
    let time = |form: &str, name: &str| items(&named(form, &format!("io.debezium.time.{name}")));
    for (field, json, expected) in [
        (time("int32", "Date"), "[20512, null]", r#"["2026-02-28",null]"#),
        (time("int64", "MicroTimestamp"), "[1772600767123000]", r#"["2026-03-04 05:06:07.123"]"#),
        (time("string", "ZonedTimestamp"), r#"["2026-03-04T08:06:07+03:00"]"#, r#"["2026-03-04 05:06:07"]"#),
        (items(&named("string", "io.debezium.data.Tsvector")), r#"["a"]"#, r#"["a"]"#),
        (items(&named("string", "com.example.Secret")), r#"["a"]"#, r#"["a"]"#),
        (items(&named("struct", "com.example.Secret")), r#"[{"a": 1}]"#, r#"[{"a":1}]"#),
        (items(r#""type":"array","items":{"type":"int32"}"#), "[[1, 2], [3]]", "[[1,2],[3]]"),
        (items(&format!(r#"{},"parameters":{{"scale":"3"}}"#, named("bytes", "org.apache.kafka.connect.data.Decimal"))), "[1.5, 0E-10]", r#"["1.500","0.000"]"#),
    ] {
        assert_eq!(made(&field), "String", "{field}");
        assert_eq!(text(&field, json).as_deref(), Ok(expected), "{field} {json}");
    }
}

#[test]
fn numbers_that_stand_for_decimals_become_plain_digits() {
    let field = |scale: &str| {
        let name = named("bytes", "org.apache.kafka.connect.data.Decimal");
        format!(r#"{name},"parameters":{{"scale":"{scale}","connect.decimal.precision":"90"}}"#)
    };
    for (scale, json, expected) in [
        ("10", "0E-10", "0.0000000000"),
        ("10", "0", "0.0000000000"),
        ("10", "-0.0", "0.0000000000"),
        ("10", "10.0000000000", "10.0000000000"),
        ("10", "1E+1", "10.0000000000"),
        ("2", "-1.5e-1", "-0.15"),
        ("2", "1.50000", "1.50"),
        ("2", "0.001", "0.001"),
        ("0", "12.000", "12"),
        ("0", "1E3", "1000"),
        ("-2", "1E2", "100"),
        (
            "1",
            "123456789012345678901234567890.1",
            "123456789012345678901234567890.1",
        ),
    ] {
        assert_eq!(text(&field(scale), json).as_deref(), Ok(expected), "{json}");
    }
    let endless = text(&field("2"), "1e999999999");
    assert_eq!(endless, Err(Reason::OutOfRange));
    assert_eq!(text(&field("2"), "1e99999999999"), Err(Reason::OutOfRange));
}

#[test]
fn unsigned_integers_of_64_bits_are_what_the_block_says() {
    let source = r#""parameters":{"__debezium.source.column.type":"bigint unsigned zerofill"}"#;
    let field = format!(r#""type":"int64",{source}"#);
    check_all(&[
        (
            &field,
            "UInt64",
            "-1",
            "18446744073709551615",
            "18446744073709551615",
        ),
        (
            &field,
            "UInt64",
            "-9223372036854775808",
            "9223372036854775808",
            "9223372036854775808",
        ),
        (&field, "UInt64", "5", "5", "5"),
    ]);
    check_columns(
        &field,
        "Decimal(20, 0)",
        &[("-1", Ok("18446744073709551615"))],
    );
    check_columns(
        &field,
        "Int64",
        &[("-1", Err(Reason::OutOfRange)), ("1", Ok("1"))],
    );
    let decimal = named("bytes", "org.apache.kafka.connect.data.Decimal");
    let parameters = r#""scale":"0","__debezium.source.column.type":"BIGINT UNSIGNED""#;
    let precise = format!(r#"{decimal},"parameters":{{{parameters}}}"#);
    let largest = "\"AP//////////\"";
    assert_eq!(made(&precise), "UInt64");
    check_columns(&precise, "UInt64", &[(largest, Ok("18446744073709551615"))]);
    for other in ["BIGINT", "INT UNSIGNED", "bigserial"] {
        let parameters = format!(r#""__debezium.source.column.type":"{other}""#);
        let field = format!(r#""type":"int64","parameters":{{{parameters}}}"#);
        assert_eq!(made(&field), "Int64", "{other}");
    }
}

#[test]
fn unsigned_integers_without_a_block_are_as_declared() {
    let mode = |unsigned| Modes {
        unsigned,
        ..Modes::default()
    };
    let read = |json, mode| untyped("UInt64", json, mode).map(|value| value.expect("a value"));
    let largest = Ok(vec![0xff; 8]);
    assert_eq!(read("-1", mode(Some(UnsignedMode::Long))), largest);
    assert_eq!(read("-1", mode(None)), Err(Reason::OutOfRange));
    let precise = mode(Some(UnsignedMode::Precise));
    assert_eq!(read("\"AP//////////\"", precise), largest);
    assert_eq!(read("18446744073709551615", precise), largest);
    assert_eq!(read("-1", precise), Err(Reason::OutOfRange));
}

#[test]
fn what_a_column_does_not_hold_becomes_what_is_chosen() {
    let date = named("int32", "io.debezium.time.Date");
    let micros = named("int64", "io.debezium.time.MicroTimestamp");
    let time = named("int64", "io.debezium.time.MicroTime");
    let read = |field: &str, type_name: &str, json: &str, chosen| {
        let columns = Columns::new().with("v", column_type(type_name));
        let mut reader = RowReader::new(columns.with_out_of_range(chosen), None);
        let value = format!(
            r#"{{"schema":{{"type":"struct","fields":[{{"type":"struct","fields":[{{{field},"field":"v"}}],"field":"after"}},{{"type":"string","field":"op"}}]}},"payload":{{"after":{{"v":{json}}},"source":{{}},"op":"c"}}}}"#
        );
        only_value(&mut reader, &value).map(|value| value.expect("a value"))
    };
    let late = "\"2299-12-31 23:59:59.999999\"";
    for (field, type_name, json, clamped) in [
        (&date, "Date32", "2932896", Ok("\"2299-12-31\"")),
        (
            &date,
            "Nullable(Date32)",
            "2146033979",
            Ok("\"2299-12-31\""),
        ),
        (&date, "Date32", "-2147472691", Ok("\"1900-01-01\"")),
        (&date, "Date32", "-800000", Ok("\"1900-01-01\"")),
        (&date, "Date", "65536", Ok("\"2149-06-06\"")),
        (&date, "Date", "-1", Ok("\"1970-01-01\"")),
        (&date, "Date32", "5", Ok("\"1970-01-06\"")),
        (&micros, "DateTime64(6)", "253402300799000000", Ok(late)),
        (&micros, "DateTime64(6)", "9223372036854775807", Ok(late)),
        (
            &micros,
            "DateTime64(3)",
            "253402300799000000",
            Ok("\"2299-12-31 23:59:59.999\""),
        ),
        (
            &micros,
            "DateTime64(9)",
            "253402300799000000",
            Ok("\"2262-04-11 23:47:16.854775807\""),
        ),
        (
            &micros,
            "DateTime",
            "253402300799000000",
            Ok("\"2106-02-07 06:28:15\""),
        ),
        (
            &micros,
            "DateTime64(6)",
            "-62135596801000000",
            Ok("\"1900-01-01 00:00:00\""),
        ),
        (&micros, "DateTime64(3)", "1", Err(Reason::OutOfRange)),
        (
            &time,
            "Time64(6)",
            "9999999999999",
            Ok("\"999:59:59.999999\""),
        ),
        (&date, "Date32", "\"x\"", Err(Reason::InvalidValue)),
    ] {
        let expected = clamped.map(|text| plain(type_name, text));
        let found = read(field, type_name, json, OutOfRange::Clamp);
        assert_eq!(found, expected, "{json} into {type_name}");
        if expected.is_ok() && json != "5" {
            let letter = read(field, type_name, json, OutOfRange::DeadLetter);
            assert!(letter.is_err(), "{json} into {type_name}");
            let null = read(field, type_name, json, OutOfRange::Null);
            let has_null = type_name.starts_with("Nullable");
            let expected = if has_null {
                Ok(vec![1])
            } else {
                Err(Reason::MissingField)
            };
            assert_eq!(null, expected, "{json} into {type_name}");
        }
    }
    // The column can have more digits, and the time is no other then.
    let zoned = named("string", "io.debezium.time.ZonedTimestamp");
    let digits = r#""2026-01-02T03:04:05.123456Z""#;
    for chosen in [OutOfRange::Null, OutOfRange::Clamp] {
        let found = read(&zoned, "Nullable(DateTime64(3))", digits, chosen);
        assert_eq!(found, Err(Reason::OutOfRange), "{chosen:?}");
    }
    let far = r#""9999-12-31T23:59:59.123456Z""#;
    let null = read(&zoned, "Nullable(DateTime64(3))", far, OutOfRange::Null);
    assert_eq!(null, Ok(vec![1]));
    let number = r#""type":"int64""#;
    let null = read(number, "Nullable(Int8)", "1000", OutOfRange::Null);
    assert_eq!(null, Ok(vec![1]));
    let clamped = read(number, "Int8", "1000", OutOfRange::Clamp);
    assert_eq!(clamped, Err(Reason::OutOfRange));
}

#[test]
fn a_type_that_is_not_known_is_read_by_its_form() {
    let own = |form: &str| named(form, "com.example.Own");
    check_texts(&own("string"), &[(r#""x""#, "x"), (r#""""#, "")]);
    check_texts(&own("bytes"), &[(r#""AQI=""#, "\u{1}\u{2}")]);
    let object = [(
        r#"{"a": 1, "b":[null, {"c":"d"}]}"#,
        r#"{"a":1,"b":[null,{"c":"d"}]}"#,
    )];
    check_texts(&own("struct"), &object);
    // Keys that are no texts come as pairs.
    let pairs = [(r#"[[1, "a"], [2, null]]"#, r#"[[1,"a"],[2,null]]"#)];
    check_texts(&own("map"), &[&object[..], &pairs].concat());
    for (form, json) in [
        ("int8", "-7"),
        ("int16", "7"),
        ("int32", "7"),
        ("int64", "-9223372036854775808"),
        ("boolean", "true"),
        ("float", "1.5"),
        ("double", "1e300"),
    ] {
        let field = own(form);
        check_columns(&field, &made(&field), &[(json, Ok(json))]);
    }
    // A name of ours in a form that it does not have.
    let date = named("struct", "io.debezium.time.Date");
    check_texts(&date, &object);
    // Parameters mean what the type says, if anything.
    let odd = r#""parameters":{"scale":"auto","length":"max","allowed":{"a":1},"__debezium.source.column.type":[1]}"#;
    let field = format!("{},{odd}", own("int32"));
    check_columns(&field, &made(&field), &[("7", Ok("7"))]);
    let decimal = named("bytes", "org.apache.kafka.connect.data.Decimal");
    check_texts(&format!("{decimal},{odd}"), &[(r#""QQ==""#, "A")]);
    // Elements of which nothing is said that is known.
    let list = [(r#"[1, {"a": null}]"#, r#"[1,{"a":null}]"#)];
    let mut deep = r#""type":"string""#.to_owned();
    for _ in 0..12 {
        deep = format!(r#""type":"array","items":{{{deep}}}"#);
    }
    for field in [
        r#""type":"array""#,
        r#""type":"array","items":{"type":"tuple"}"#,
        r#""type":"array","items":null"#,
    ] {
        check_texts(field, &list);
        assert_eq!(made(field), "String");
    }
    assert_eq!(made(&deep), "String");
    assert!(text(&deep, r#"[[[[[[[[[[[["a"]]]]]]]]]]]]"#).is_ok());
}
