//! Values as RowBinary, byte for byte.

use super::*;
use crate::decode::Reason;

fn encode(type_name: &str, json: &str) -> Result<Vec<u8>, Reason> {
    let mut out = vec![0xaa];
    let column_type = ColumnType::parse(type_name).unwrap();
    column_type
        .encode(Raw::parse(json).unwrap(), &mut out)
        .map_err(|reject| reject.reason)?;
    assert_eq!(out.remove(0), 0xaa, "what was there before stays");
    Ok(out)
}

fn zero(type_name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    ColumnType::parse(type_name)
        .unwrap()
        .encode_null_or_zero(&mut out);
    out
}

fn default(type_name: &str, text: &str) -> Result<Vec<u8>, Reason> {
    let mut out = Vec::new();
    let column_type = ColumnType::parse(type_name).unwrap();
    column_type
        .encode_text_default(text, &mut out)
        .map_err(|reject| reject.reason)?;
    Ok(out)
}

#[test]
fn every_type_has_its_bytes() {
    let cases: [(&str, &str, &[u8]); 55] = [
        ("String", r#""ab""#, b"\x02ab"),
        ("String", r#""""#, b"\0"),
        ("String", r#""a\u0000\n""#, b"\x03a\0\n"),
        ("String", "1.50", b"\x041.50"),
        ("String", "true", b"\x04true"),
        ("LowCardinality(String)", r#""é""#, "\x02é".as_bytes()),
        ("Nullable(String)", r#""a""#, b"\0\x01a"),
        ("LowCardinality(Nullable(String))", r#""a""#, b"\0\x01a"),
        ("FixedString(4)", r#""ab""#, b"ab\0\0"),
        ("FixedString(4)", r#""a\tcd""#, b"a\tcd"),
        ("UInt8", "255", b"\xff"),
        ("UInt16", "\"258\"", b"\x02\x01"),
        ("UInt32", "67305985", b"\x01\x02\x03\x04"),
        ("UInt64", "18446744073709551615", &[0xff; 8]),
        ("UInt8", "true", b"\x01"),
        ("Nullable(Int64)", "false", b"\0\0\0\0\0\0\0\0\0"),
        ("Array(Int16)", "[true,false]", b"\x02\x01\0\0\0"),
        ("DateTime", "1763719200", b"\x20\x38\x20\x69"),
        ("DateTime", "1763719200999", b"\x20\x38\x20\x69"),
        ("Int8", "-1", b"\xff"),
        ("Int16", "-2", b"\xfe\xff"),
        ("Int32", "-128", b"\x80\xff\xff\xff"),
        ("Int64", "-9223372036854775808", b"\0\0\0\0\0\0\0\x80"),
        ("Nullable(UInt16)", "1", b"\0\x01\0"),
        ("LowCardinality(UInt64)", "1", b"\x01\0\0\0\0\0\0\0"),
        ("Float32", "1.5", b"\0\0\xc0\x3f"),
        ("Float64", "\"-2\"", b"\0\0\0\0\0\0\0\xc0"),
        ("Bool", "true", b"\x01"),
        ("Bool", "0", b"\0"),
        ("Decimal(9, 2)", "-1.5", b"\x6a\xff\xff\xff"),
        ("Decimal(18, 2)", "1e3", b"\xa0\x86\x01\0\0\0\0\0"),
        ("Decimal(38, 0)", "-1", &[0xff; 16]),
        ("Decimal(76, 0)", "-1", &[0xff; 32]),
        ("Date", r#""1970-01-02""#, b"\x01\0"),
        ("Date32", r#""1969-12-31""#, b"\xff\xff\xff\xff"),
        ("DateTime", r#""1970-01-01T00:01:00.9Z""#, b"\x3c\0\0\0"),
        (
            "DateTime('Asia/Tokyo')",
            r#""1970-01-01 00:01:00""#,
            b"\x3c\0\0\0",
        ),
        (
            "DateTime64(3, 'UTC')",
            r#""1970-01-01T00:00:00.2569Z""#,
            b"\0\x01\0\0\0\0\0\0",
        ),
        ("DateTime64(6)", "-1", b"\x18\xfc\xff\xff\xff\xff\xff\xff"),
        ("Nullable(DateTime64(0))", "1999", b"\0\x01\0\0\0\0\0\0\0"),
        ("Time", r#""-00:01:00.9""#, b"\xc4\xff\xff\xff"),
        ("Time64(3)", r#""00:00:00.2569""#, b"\0\x01\0\0\0\0\0\0"),
        (
            "Nullable(Time64(6))",
            r#""24:00:00""#,
            b"\0\0\x60\xd7\x1d\x14\0\0\0",
        ),
        (
            "UUID",
            r#""00112233-4455-6677-8899-AABBCCDDEEFF""#,
            b"\x77\x66\x55\x44\x33\x22\x11\x00\xff\xee\xdd\xcc\xbb\xaa\x99\x88",
        ),
        ("Enum8('a' = -1, 'b' = 2)", r#""a""#, b"\xff"),
        ("Enum8('a' = -1, 'b' = 2)", "2", b"\x02"),
        ("Enum16('a' = 258)", r#""\u0061""#, b"\x02\x01"),
        ("IPv4", r#""1.2.3.4""#, b"\x04\x03\x02\x01"),
        (
            "IPv6",
            r#""102:304::1""#,
            b"\x01\x02\x03\x04\0\0\0\0\0\0\0\0\0\0\0\x01",
        ),
        (
            "IPv6",
            r#""1.2.3.4""#,
            b"\0\0\0\0\0\0\0\0\0\0\xff\xff\x01\x02\x03\x04",
        ),
        ("Array(UInt8)", "[ 1 , 2 ]", b"\x02\x01\x02"),
        ("Array(String)", "[]", b"\0"),
        (
            "Array(Nullable(String))",
            r#"["a",null,"\n"]"#,
            b"\x03\0\x01a\x01\0\x01\n",
        ),
        (
            "Array(LowCardinality(Nullable(String)))",
            "[null]",
            b"\x01\x01",
        ),
        (
            "Array(Array(UInt8))",
            "[[],[1],[2,3]]",
            b"\x03\0\x01\x01\x02\x02\x03",
        ),
    ];
    for (type_name, json, expected) in cases {
        assert_eq!(
            encode(type_name, json).as_deref(),
            Ok(expected),
            "{type_name} {json}"
        );
    }
}

#[test]
fn lengths_grow_with_the_text_escaped_or_not() {
    for len in [0, 1, 63, 64, 65, 127, 128, 129, 16383, 16384, 100_000] {
        let plain = "x".repeat(len);
        let expected = encode("String", &format!("\"{plain}\"")).unwrap();
        let escaped = encode("String", &format!("\"{}\"", "\\u0078".repeat(len)));
        assert_eq!(escaped.as_deref(), Ok(&expected[..]), "{len}");
        let prefix = expected.len() - len;
        assert_eq!(
            prefix,
            1 + usize::from(len >= 128) + usize::from(len >= 16384),
            "{len}"
        );
        let decoded = (0..prefix)
            .map(|i| usize::from(expected[i] & 0x7f) << (7 * i))
            .sum::<usize>();
        assert_eq!((decoded, &expected[prefix..]), (len, plain.as_bytes()));
    }
}

#[test]
fn a_value_is_cut_out_of_a_record_whatever_follows_it() {
    use crate::decode::Path;
    use crate::decode::json::{Plan, Scanner};
    let mut scanner = Scanner::new(Plan::new(&[Path::field("a")]));
    for (len, tail) in (0..140).flat_map(|len| (0..70).map(move |tail| (len, tail))) {
        let record = format!("{{\"a\":\"{}\"{}}}", "x".repeat(len), " ".repeat(tail));
        let fields = scanner.scan(Some(record.as_bytes())).unwrap();
        let mut out = vec![7];
        ColumnType::String.encode(fields.get(0), &mut out).unwrap();
        let mut expected = vec![7];
        append_length(len, &mut expected);
        expected.resize(expected.len() + len, b'x');
        assert_eq!(out, expected);
    }
}

#[test]
fn values_a_type_cannot_take_are_told_apart() {
    let invalid = [
        ("String", "{}"),
        ("String", "[\"a\"]"),
        ("String", r#""\ud800""#),
        ("FixedString(1)", "[]"),
        ("UInt64", "1.0"),
        ("Int8", "\"\""),
        ("Float64", "\"x\""),
        ("Bool", "\"yes\""),
        ("Decimal(9, 2)", "\"1,5\""),
        ("Date", "0"),
        ("Date32", "\"yesterday\""),
        ("DateTime", "\"1970-01-01\""),
        ("DateTime64(3)", "true"),
        ("UUID", "\"1\""),
        ("Enum8('a' = 1)", "true"),
        ("Enum8('a' = 1)", "1.0"),
        ("IPv4", "\"::1\""),
        ("IPv6", "1"),
        ("Array(UInt8)", "1"),
        ("Array(UInt8)", "{}"),
        ("Array(UInt8)", "[null]"),
        ("Array(UInt8)", "[\"x\"]"),
    ];
    for (type_name, json) in invalid {
        assert_eq!(
            encode(type_name, json),
            Err(Reason::InvalidValue),
            "{type_name} {json}"
        );
    }
    let out_of_range = [
        ("FixedString(1)", "\"ab\""),
        ("FixedString(1)", "\"é\""),
        ("UInt8", "256"),
        ("UInt16", "-1"),
        ("UInt32", "4294967296"),
        ("Int8", "128"),
        ("Int16", "-32769"),
        ("Int32", "2147483648"),
        ("Int64", "9223372036854775808"),
        ("Float32", "1e39"),
        ("Bool", "2"),
        ("Decimal(9, 2)", "0.001"),
        ("Date", "\"1969-12-31\""),
        ("DateTime", "-1"),
        ("DateTime64(9)", "\"2299-01-01T00:00:00Z\""),
        ("Enum8('a' = 1)", "\"b\""),
        ("Enum8('a' = 1)", "2"),
        ("Enum8('a' = 1)", "257"),
        ("Enum16('a' = 1)", "65537"),
        ("Array(UInt8)", "[1,256]"),
    ];
    for (type_name, json) in out_of_range {
        assert_eq!(
            encode(type_name, json),
            Err(Reason::OutOfRange),
            "{type_name} {json}"
        );
    }
}

#[test]
fn a_missing_value_is_null_or_what_the_server_would_store() {
    let cases: [(&str, &[u8]); 18] = [
        ("String", b"\0"),
        ("LowCardinality(String)", b"\0"),
        ("Nullable(String)", b"\x01"),
        ("LowCardinality(Nullable(String))", b"\x01"),
        ("FixedString(3)", &[0; 3]),
        ("UInt8", &[0]),
        ("Int16", &[0; 2]),
        ("UInt32", &[0; 4]),
        ("Float64", &[0; 8]),
        ("Bool", &[0]),
        ("Decimal(38, 9)", &[0; 16]),
        ("Date", &[0; 2]),
        ("Date32", b"\x21\x9c\xff\xff"),
        ("DateTime64(3)", &[0; 8]),
        ("UUID", &[0; 16]),
        ("Enum8('b' = 2, 'a' = -1)", b"\xff"),
        ("Enum16('b' = 258)", b"\x02\x01"),
        ("Array(Nullable(String))", b"\0"),
    ];
    for (type_name, expected) in cases {
        assert_eq!(zero(type_name), expected, "{type_name}");
    }
}

#[test]
fn defaults_are_texts_or_else_json() {
    assert_eq!(default("String", "unknown").unwrap(), b"\x07unknown");
    assert_eq!(default("String", "{}").unwrap(), b"\x02{}");
    assert_eq!(default("String", "a\"\\n").unwrap(), b"\x04a\"\\n");
    assert_eq!(default("Date", "1970-01-02").unwrap(), b"\x01\0");
    assert_eq!(default("Nullable(UInt8)", "7").unwrap(), b"\0\x07");
    assert_eq!(default("Bool", "1").unwrap(), b"\x01");
    assert_eq!(default("Bool", "false").unwrap(), b"\0");
    assert_eq!(default("Nullable(Bool)", "1").unwrap(), b"\0\x01");
    assert_eq!(default("Array(String)", "[\"a\"]").unwrap(), b"\x01\x01a");
    assert_eq!(
        default("DateTime64(3)", "256").unwrap(),
        b"\0\x01\0\0\0\0\0\0"
    );
    assert_eq!(default("UInt8", "null"), Err(Reason::InvalidValue));
    assert_eq!(default("UInt8", "256"), Err(Reason::OutOfRange));
    assert_eq!(default("Date", "yesterday"), Err(Reason::InvalidValue));
}

#[test]
fn what_the_daemon_computes_is_held_to_the_column_too() {
    let integer = |type_name: &str, value| {
        let mut out = Vec::new();
        let encoded = ColumnType::parse(type_name)
            .unwrap()
            .encode_integer(value, &mut out);
        encoded.map(|()| out).map_err(|reject| reject.reason)
    };
    assert_eq!(integer("UInt32", 258), Ok(vec![2, 1, 0, 0]));
    assert_eq!(integer("Nullable(Int16)", -2), Ok(vec![0, 0xfe, 0xff]));
    assert_eq!(integer("UInt64", i128::from(u64::MAX)), Ok(vec![0xff; 8]));
    assert_eq!(integer("UInt32", 1 << 32), Err(Reason::OutOfRange));
    assert_eq!(integer("UInt8", -1), Err(Reason::OutOfRange));
    assert_eq!(integer("String", 1), Err(Reason::InvalidValue));

    let mut out = Vec::new();
    let datetime = ColumnType::parse("DateTime64(6)").unwrap();
    datetime.encode_time_ms(-1, &mut out).unwrap();
    assert_eq!(out, (-1000i64).to_le_bytes());
    assert!(ColumnType::Date.encode_time_ms(0, &mut out).is_err());
    let amount = decimal(Raw::string("1.5")).unwrap();
    let mut out = Vec::new();
    ColumnType::parse("Nullable(Decimal(9, 2))")
        .unwrap()
        .encode_decimal(amount, &mut out)
        .unwrap();
    assert_eq!(out, [0, 150, 0, 0, 0]);
    assert!(
        ColumnType::Float64
            .encode_decimal(amount, &mut out)
            .is_err()
    );
}
