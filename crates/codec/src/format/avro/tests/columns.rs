use super::*;

/// Bytes of a `long`.
fn long(value: i64) -> Vec<u8> {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = vec![];
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes
}

fn text(content: &[u8]) -> Vec<u8> {
    [&long(content.len() as i64)[..], content].concat()
}

/// What a text column shows of a value, or what the record is refused for.
fn shown(type_json: &str, value: &[u8]) -> Result<String, String> {
    let row = row_of(&of_field(type_json), &[("$.f", "String")], value)?;
    let prefix = if row.len() > 128 { 2 } else { 1 };
    Ok(String::from_utf8_lossy(&row[prefix..]).into_owned())
}

#[test]
fn a_text_column_takes_every_type_as_people_write_it() {
    let logical = |base: &str, name: &str| format!(r#"{{"type":"{base}","logicalType":"{name}"}}"#);
    let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":3}"#;
    let uuid = r#"{"type":"fixed","size":16,"name":"U","logicalType":"uuid"}"#;
    let duration = r#"{"type":"fixed","size":12,"name":"D","logicalType":"duration"}"#;
    let record = r#"{"type":"record","name":"S","fields":[{"name":"x","type":"int"},
        {"name":"y","type":["null","string"]},{"name":"z","type":{"type":"array","items":"bytes"}}]}"#;
    let parts =
        |months: u32, days: u32, millis: u32| [months, days, millis].map(u32::to_le_bytes).concat();
    for (type_json, value, expected) in [
        ("\"boolean\"", vec![1], "true"),
        ("\"int\"", long(-3), "-3"),
        ("\"long\"", long(i64::MIN), "-9223372036854775808"),
        ("\"long\"", long(i64::MAX), "9223372036854775807"),
        ("\"float\"", 0.1f32.to_le_bytes().to_vec(), "0.1"),
        ("\"double\"", 1e300f64.to_le_bytes().to_vec(), "1e300"),
        ("\"double\"", f64::NAN.to_le_bytes().to_vec(), "NaN"),
        ("\"string\"", text("é\"\n".as_bytes()), "é\"\n"),
        ("\"bytes\"", text(b"\x00a"), "\0a"),
        (&logical("int", "date"), long(-1), "1969-12-31"),
        (&logical("int", "date"), long(19_782), "2024-02-29"),
        (
            &logical("int", "time-millis"),
            long(3_723_004),
            "01:02:03.004",
        ),
        (&logical("long", "time-micros"), long(1), "00:00:00.000001"),
        (
            &logical("long", "timestamp-millis"),
            long(1_763_719_200_123),
            "2025-11-21T10:00:00.123Z",
        ),
        (
            &logical("long", "timestamp-micros"),
            long(-1),
            "1969-12-31T23:59:59.999999Z",
        ),
        (
            &logical("long", "timestamp-nanos"),
            long(1),
            "1970-01-01T00:00:00.000000001Z",
        ),
        (
            &logical("long", "local-timestamp-millis"),
            long(0),
            "1970-01-01T00:00:00.000",
        ),
        (decimal, text(&(-1i32).to_be_bytes()), "-0.001"),
        (decimal, text(&[0x00, 0xff]), "0.255"),
        (decimal, text(&[0x04, 0xd2]), "1.234"),
        (decimal, text(&[]), "0.000"),
        (
            uuid,
            (0..16).collect(),
            "00010203-0405-0607-0809-0a0b0c0d0e0f",
        ),
        (duration, parts(1, 2, 3_004), "P1M2DT3.004S"),
        (duration, parts(0, 0, 0), "PT0S"),
        (duration, parts(14, 0, 0), "P14M"),
        (
            r#"{"type":"enum","name":"E","symbols":["on","off"]}"#,
            long(1),
            "off",
        ),
        (
            r#"{"type":"map","values":"long"}"#,
            [long(1), text(b"a\"b"), long(5), long(0)].concat(),
            r#"{"a\"b":5}"#,
        ),
        (
            record,
            [
                long(7),
                long(1),
                text(b"q\\"),
                long(-2),
                long(9),
                text(b"ab"),
                text(b""),
                long(0),
            ]
            .concat(),
            r#"{"x":7,"y":"q\\","z":["YWI=",""]}"#,
        ),
        (
            r#"["null","long","string"]"#,
            [long(2), text(b"x")].concat(),
            "x",
        ),
        (
            r#"["null","long","string"]"#,
            [long(1), long(4)].concat(),
            "4",
        ),
        (r#"["null","long","string"]"#, long(0), ""),
    ] {
        assert_eq!(
            shown(type_json, &value).as_deref(),
            Ok(expected),
            "{type_json} {value:?}"
        );
    }
}

#[test]
fn columns_take_the_types_that_fit_them_and_no_value_that_does_not() {
    let logical = |base: &str, name: &str| format!(r#"{{"type":"{base}","logicalType":"{name}"}}"#);
    let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#;
    let duration = r#"{"type":"fixed","size":12,"name":"D","logicalType":"duration"}"#;
    let micros = logical("long", "timestamp-micros");
    let local = logical("long", "local-timestamp-micros");
    let time = 1_763_719_200_123_456i64;
    let le = |value: i64, len: usize| value.to_le_bytes()[..len].to_vec();
    let seconds = [0u32, 1, 1_000].map(u32::to_le_bytes).concat();
    for (type_json, value, column, expected) in [
        ("\"long\"", long(-5), "Int8", Ok(le(-5, 1))),
        ("\"long\"", long(5), "Nullable(UInt16)", Ok(vec![0, 5, 0])),
        (
            "\"int\"",
            long(5),
            "LowCardinality(Nullable(Int32))",
            Ok(vec![0, 5, 0, 0, 0]),
        ),
        ("\"long\"", long(-5), "UInt64", Err("out_of_range: $.f: ")),
        ("\"long\"", long(300), "UInt8", Err("out_of_range: $.f: ")),
        (
            "\"int\"",
            long(2),
            "Float64",
            Ok(2f64.to_le_bytes().to_vec()),
        ),
        ("\"int\"", long(2), "Decimal(9, 1)", Ok(le(20, 4))),
        (
            "\"float\"",
            0.1f32.to_le_bytes().to_vec(),
            "Float64",
            Ok(f64::from(0.1f32).to_le_bytes().to_vec()),
        ),
        (
            "\"double\"",
            f64::NAN.to_le_bytes().to_vec(),
            "Float64",
            Ok(f64::NAN.to_le_bytes().to_vec()),
        ),
        (
            "\"double\"",
            0.1f64.to_le_bytes().to_vec(),
            "Decimal(9, 1)",
            Ok(le(1, 4)),
        ),
        ("\"boolean\"", vec![1], "Bool", Ok(vec![1])),
        ("\"string\"", text(b"42"), "UInt8", Ok(vec![42])),
        (
            "\"string\"",
            text(b"x"),
            "FixedString(2)",
            Ok(b"x\0".to_vec()),
        ),
        (
            "\"bytes\"",
            text(b"\xff\0"),
            "Nullable(String)",
            Ok(b"\0\x02\xff\0".to_vec()),
        ),
        (
            "\"bytes\"",
            text(b"abc"),
            "FixedString(2)",
            Err("out_of_range: $.f: longer than"),
        ),
        (&micros, long(time), "DateTime64(3)", Ok(le(time / 1000, 8))),
        (&micros, long(time), "DateTime64(9)", Ok(le(time * 1000, 8))),
        (&micros, long(time), "DateTime", Ok(le(1_763_719_200, 4))),
        (&micros, long(time), "Date", Ok(le(20_413, 2))),
        (
            &micros,
            long(time),
            "Nullable(Int64)",
            Ok([vec![0], le(time, 8)].concat()),
        ),
        (
            &micros,
            long(i64::MAX),
            "DateTime64(3)",
            Err("out_of_range: $.f: "),
        ),
        (&local, long(time), "DateTime64(6)", Ok(le(time, 8))),
        (
            &logical("int", "date"),
            long(20_413),
            "Date",
            Ok(le(20_413, 2)),
        ),
        (
            &logical("int", "date"),
            long(-1),
            "Date",
            Err("out_of_range: $.f: Date"),
        ),
        (&logical("int", "date"), long(-1), "Date32", Ok(le(-1, 4))),
        (
            &logical("int", "date"),
            long(1),
            "DateTime64(0)",
            Ok(le(86_400, 8)),
        ),
        (
            "\"long\"",
            long(1_763_719_200_123),
            "DateTime64(3)",
            Ok(le(1_763_719_200_123, 8)),
        ),
        (
            "\"long\"",
            long(1_763_719_200),
            "DateTime64(3)",
            Err("implausible_time: $.f: "),
        ),
        (
            decimal,
            text(&[0x04, 0xd2]),
            "Decimal(9, 2)",
            Ok(le(1234, 4)),
        ),
        (
            decimal,
            text(&[0x04, 0xd2]),
            "Decimal(18, 4)",
            Ok(le(123_400, 8)),
        ),
        (
            decimal,
            text(&[0x04, 0xd2]),
            "Decimal(9, 1)",
            Err("out_of_range: $.f: too many digits"),
        ),
        (
            decimal,
            text(&[0x04, 0xec]),
            "Decimal(9, 1)",
            Ok(le(126, 4)),
        ),
        (
            decimal,
            text(&[0x7f; 40]),
            "Decimal(76, 2)",
            Err("out_of_range: $.f: "),
        ),
        (duration, seconds.clone(), "UInt32", Ok(le(86_401, 4))),
        (
            duration,
            seconds.clone(),
            "Float64",
            Ok(86_401f64.to_le_bytes().to_vec()),
        ),
        (
            duration,
            [1u32, 0, 0].map(u32::to_le_bytes).concat(),
            "UInt32",
            Err("invalid_value: "),
        ),
        (
            r#"{"type":"array","items":"long"}"#,
            [long(2), long(1), long(2), long(0)].concat(),
            "Array(UInt8)",
            Ok(vec![2, 1, 2]),
        ),
        (
            r#"["null","long"]"#,
            long(0),
            "Nullable(Int64)",
            Ok(vec![1]),
        ),
        (r#"["null","long"]"#, long(0), "Int8", Ok(vec![0])),
        (
            r#"["null","long"]"#,
            [long(1), long(3)].concat(),
            "Int8",
            Ok(vec![3]),
        ),
        (
            &format!(r#"{{"type":"array","items":{micros}}}"#),
            [long(1), long(time), long(0)].concat(),
            "Array(DateTime64(6, 'UTC'))",
            Ok([vec![1], le(time, 8)].concat()),
        ),
        (
            &format!(r#"{{"type":"map","values":{micros}}}"#),
            [long(1), text(b"k"), long(time), long(0)].concat(),
            "Map(String, DateTime)",
            Ok([b"\x01\x01k".to_vec(), le(time / 1_000_000, 4)].concat()),
        ),
        (
            &format!(
                r#"{{"type":"record","name":"S","fields":[{{"name":"at","type":{micros}}},
                    {{"name":"n","type":"int"}}]}}"#
            ),
            [long(time), long(5)].concat(),
            "Tuple(at DateTime('UTC'), n UInt8)",
            Ok([le(time / 1_000_000, 4), vec![5]].concat()),
        ),
        (
            r#"{"type":"array","items":"long"}"#,
            vec![0],
            "DateTime",
            Err("column $.f DateTime cannot hold"),
        ),
        (
            duration,
            seconds.clone(),
            "Time",
            Err("column $.f Time cannot hold"),
        ),
        (
            r#"["null","long",{"type":"map","values":"long"}]"#,
            [long(1), long(3)].concat(),
            "Nullable(Int8)",
            Ok(vec![0, 3]),
        ),
        (
            r#"["null","long",{"type":"map","values":"long"}]"#,
            [long(2), long(0)].concat(),
            "Nullable(Int8)",
            Err("invalid_value: field f, byte 1: column $.f Nullable(Int8) cannot hold"),
        ),
        (
            r#"["null",{"type":"map","values":"long"},"bytes"]"#,
            long(0),
            "Nullable(Int8)",
            Err("column $.f Nullable(Int8) cannot hold"),
        ),
        (
            "\"boolean\"",
            vec![1],
            "Date",
            Err("column $.f Date cannot hold"),
        ),
        (
            "\"bytes\"",
            text(b"1"),
            "Int64",
            Err("column $.f Int64 cannot hold"),
        ),
        (
            r#"{"type":"map","values":"long"}"#,
            vec![0],
            "Float32",
            Err("column $.f Float32 cannot hold"),
        ),
        (
            &micros,
            long(time),
            "UUID",
            Err("column $.f UUID cannot hold"),
        ),
        (
            "\"string\"",
            text(b"x"),
            "Array(String)",
            Err("column $.f Array(String) cannot hold"),
        ),
        (
            r#"{"type":"enum","name":"E","symbols":["on"]}"#,
            long(0),
            "Enum8('off' = 1)",
            Err("column $.f Enum8"),
        ),
        (
            r#"{"type":"enum","name":"E","symbols":["on","off"]}"#,
            long(1),
            "Enum8('off' = 1)",
            Ok(vec![1]),
        ),
        (
            r#"{"type":"enum","name":"E","symbols":["on","off"]}"#,
            long(0),
            "Enum8('off' = 1)",
            Err("out_of_range: $.f: no such name"),
        ),
    ] {
        let row = row_of(&of_field(type_json), &[("$.f", column)], &value);
        match (row, expected) {
            (Ok(row), Ok(expected)) => assert_eq!(row, expected, "{type_json} {column}"),
            (Err(error), Err(start)) => {
                assert!(error.starts_with(start), "{type_json} {column}: {error}")
            }
            (row, _) => panic!("{type_json} {column}: {row:?}"),
        }
    }
}

#[test]
fn paths_lead_through_records_unions_and_maps_and_the_whole_record_is_json() {
    let schema = r#"{"type":"record","name":"R","fields":[
        {"name":"page","type":["null",{"type":"record","name":"P","fields":[{"name":"url","type":"string"}]}]},
        {"name":"tags","type":{"type":"map","values":"string"}},
        {"name":"items","type":{"type":"array","items":"long"}}]}"#;
    let columns = [
        ("$.page.url", "String"),
        ("$.tags.b", "String"),
        ("$.tags.none", "Nullable(String)"),
        ("$.items[1]", "UInt8"),
        ("$", "String"),
    ];
    let record = [
        long(1),
        text(b"/u"),
        long(2),
        text(b"a"),
        text(b"1"),
        text(b"b"),
        text(b"2"),
        long(0),
        long(2),
        long(8),
        long(9),
        long(0),
    ]
    .concat();
    let json = r#"{"page":{"url":"/u"},"tags":{"a":"1","b":"2"},"items":[8,9]}"#;
    let expected = [
        &b"\x02/u\x012\x01\x09"[..],
        &[json.len() as u8],
        json.as_bytes(),
    ]
    .concat();
    assert_eq!(row_of(schema, &columns, &record), Ok(expected));
    let absent = row_of(schema, &columns[..1], b"\0\0\0");
    assert_eq!(absent, Ok(vec![0]));
}
