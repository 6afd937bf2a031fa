//! Keys of records and of headers.

use super::*;

fn reader(modes: Option<Modes>) -> KeyReader {
    let columns = Columns::new()
        .with("region", ColumnType::String)
        .with("day", ColumnType::Date32);
    KeyReader::new(columns, modes)
}

fn encode(reader: &mut KeyReader, key: &str) -> Result<Vec<u8>, Failure> {
    let mut out = vec![0xaa];
    let encoded = reader.encode(Some(key.as_bytes()), &mut out);
    assert_eq!(out.remove(0), 0xaa);
    if encoded.is_err() {
        assert_eq!(out, b"", "nothing is left of a refused key");
    }
    encoded.map(|()| out)
}

const KEY: &[u8] = b"\x02eu\x01\0\0\0";
const BARE: &str = r#"{"region":"eu","day":1}"#;
const IN_BLOCK: &str = r#"{"schema":{"type":"struct","fields":[{"type":"string","field":"region"},{"type":"int32","name":"io.debezium.time.Date","field":"day"}]},"payload":{"day":1,"region":"eu"}}"#;

#[test]
fn a_key_has_the_same_bytes_with_and_without_a_schema_block() {
    let mut reader = reader(Some(Modes::default()));
    for key in [
        BARE,
        IN_BLOCK,
        IN_BLOCK,
        BARE,
        r#"{"schema":null,"payload":{"region":"eu","day":1}}"#,
    ] {
        assert_eq!(encode(&mut reader, key).as_deref(), Ok(KEY), "{key}");
    }
}

#[test]
fn a_block_that_repeats_hides_nothing_behind_it() {
    let (block, _) = IN_BLOCK.split_once("\"payload\"").expect("a payload");
    let key = r#""payload":{"day":1,"region":"eu"}"#;
    for (rest, is_key) in [
        (format!("{key}}}"), true),
        (format!(r#" "more":1 , {key} }}"#), true),
        (
            format!(r#"{key},"payload":{{"day":1,"region":"eu"}}}}"#),
            true,
        ),
        (key.to_owned(), false),
        (format!("{key}}}}}"), false),
        (format!(r#"{key},"schema":{{"type":"struct"}}}}"#), false),
        (r#""payload":null}"#.to_owned(), false),
        (r#""payload":{"day":1}}"#.to_owned(), false),
    ] {
        let mut reader = reader(Some(Modes::default()));
        let value = format!("{block}{rest}");
        let first = encode(&mut reader, &value);
        assert_eq!(first.as_deref().ok(), is_key.then_some(KEY), "{value}");
        assert_eq!(encode(&mut reader, IN_BLOCK).as_deref(), Ok(KEY));
        assert_eq!(
            encode(&mut reader, &value),
            first,
            "{value} behind a known block"
        );
    }
}

#[test]
fn what_is_no_key_is_refused() {
    let mut reader = reader(Some(Modes::default()));
    let mut reason = |key: &str| match encode(&mut reader, key) {
        Err(Failure::Rejected(reject)) => reject.reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(r#"{"region":"eu","day":"x"}"#), Reason::InvalidValue);
    assert_eq!(reason(r#"{"region":"eu","#), Reason::InvalidJson);
    assert_eq!(reason(""), Reason::InvalidJson);
    let none = reader.encode(None, &mut Vec::new());
    assert!(
        matches!(none, Err(Failure::Rejected(reject)) if reject.reason == Reason::MissingField)
    );
}

#[test]
fn a_key_of_other_members_is_not_read_as_the_table_s() {
    let in_block = |fields: &str, payload: &str| {
        format!(r#"{{"schema":{{"type":"struct","fields":[{fields}]}},"payload":{payload}}}"#)
    };
    let region = r#"{"type":"string","field":"region"}"#;
    let day = r#"{"type":"int32","name":"io.debezium.time.Date","field":"day"}"#;
    let more = r#"{"type":"string","field":"shard"}"#;
    let three = format!("{region},{day},{more}");
    // With the members that the table's key has, and whether others are accepted beside them.
    for (key, at_least) in [
        (r#"{"region":"eu","day":1,"shard":"a"}"#.to_owned(), true),
        (r#"{"region":"eu","day":1,"schema":"a"}"#.to_owned(), true),
        (r#"{"region":"eu","day":1,"payload":2}"#.to_owned(), true),
        (
            in_block(&three, r#"{"region":"eu","day":1,"shard":"a"}"#),
            true,
        ),
        (r#"{"region":"eu"}"#.to_owned(), false),
        (r#"{}"#.to_owned(), false),
        (in_block(region, r#"{"region":"eu"}"#), false),
        (
            r#"{"schema":{"type":"string"},"payload":"eu"}"#.to_owned(),
            false,
        ),
        (r#""eu""#.to_owned(), false),
        ("7".to_owned(), false),
        ("[1]".to_owned(), false),
        ("user-7".to_owned(), false),
        ("61f0c404-5cb3-11e7-907b-a6006ad3dba0".to_owned(), false),
    ] {
        let mut exact = reader(Some(Modes::default()));
        let mut wide = reader(Some(Modes::default())).with_members(Members::AtLeast);
        // Behind a known block too.
        for _ in 0..2 {
            assert_eq!(encode(&mut exact, &key), Err(Failure::OtherKey), "{key}");
            let expected = if at_least {
                Ok(KEY)
            } else {
                Err(&Failure::OtherKey)
            };
            let found = encode(&mut wide, &key);
            assert_eq!(found.as_deref(), expected, "{key}");
        }
        assert_eq!(encode(&mut exact, IN_BLOCK).as_deref(), Ok(KEY));
        assert_eq!(encode(&mut exact, BARE).as_deref(), Ok(KEY));
    }
    let mut reader = reader(Some(Modes::default()));
    let framed = reader.encode(Some(b"\0\0\0\0\x01{\"region\":\"eu\"}"), &mut vec![]);
    assert_eq!(framed, Err(Failure::Framed("key")));
}

#[test]
fn bytes_of_any_converter_are_a_key_without_members_where_columns_are_named() {
    let mut reader = reader(Some(Modes::default())).with_members(Members::AtLeast);
    let keys: [&[u8]; 6] = [
        b"\0\0\0\0\0\0\0\x07",
        b"\0\0\0\0\x01{\"region\":\"eu\"}",
        b"\xff\xfe",
        b"\x01\x02\x03\x04\x05\x06\x07\x08\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a",
        b"",
        b"\"AQI=\"",
    ];
    for key in keys {
        let encoded = reader.encode(Some(key), &mut vec![]);
        assert_eq!(encoded, Err(Failure::OtherKey), "{key:?}");
    }
    let with_bom = format!("\u{feff}{BARE}");
    assert_eq!(encode(&mut reader, &with_bom).as_deref(), Ok(KEY));
}

#[test]
fn null_in_a_key_names_its_column() {
    for key in [
        r#"{"region":"eu","day":null}"#.to_owned(),
        IN_BLOCK.replace(r#""day":1"#, r#""day":null"#),
    ] {
        let failure = encode(&mut reader(Some(Modes::default())), &key);
        assert_eq!(failure, Err(Failure::NullInKey("day".to_owned())), "{key}");
    }
}

#[test]
fn a_key_tells_whether_it_has_members_beside_the_table_s() {
    let mut reader = reader(Some(Modes::default())).with_members(Members::AtLeast);
    for (key, had_others) in [
        (r#"{"region":"eu","day":1,"shard":"a"}"#, true),
        (BARE, false),
        (r#"{"region":"eu","day":1,"schema":"a"}"#, true),
        (IN_BLOCK, false),
        (IN_BLOCK, false),
        ("7", false),
    ] {
        let _ = encode(&mut reader, key);
        assert_eq!(reader.had_others(), had_others, "{key}");
    }
}

#[test]
fn a_header_beside_a_key_of_the_row_has_the_types_of_the_row() {
    let columns = Columns::new().with("id", ColumnType::String);
    let mut reader = KeyReader::new(columns, None);
    let block = r#"{"type":"struct","fields":[{"type":"bytes","field":"id"}]}"#;
    let block = Schema::parse(Raw::parse(block).expect("JSON")).expect("a block");
    let mut out = vec![];
    let header = Some(r#"{"id":"AQI="}"#.as_bytes());
    assert!(reader.encode_header(header, Some(&block), &mut out));
    assert_eq!(out, b"\x02\x01\x02");
    let other = Some(r#"{"other":"AQI="}"#.as_bytes());
    assert!(!reader.encode_header(other, Some(&block), &mut out));
    assert_eq!(out.len(), 3);
}

#[test]
fn without_declared_modes_only_keys_in_schema_blocks_are_read() {
    let mut reader = reader(None);
    assert_eq!(encode(&mut reader, BARE), Err(Failure::UndeclaredModes));
    assert_eq!(encode(&mut reader, IN_BLOCK).as_deref(), Ok(KEY));
}

#[test]
fn a_header_that_does_not_parse_is_no_key() {
    let mut reader = reader(Some(Modes::default()));
    let mut header = |header: Option<&str>| {
        let mut out = Vec::new();
        let is_key = reader.encode_header(header.map(str::as_bytes), None, &mut out);
        is_key.then_some(out)
    };
    assert_eq!(header(Some(BARE)).as_deref(), Some(KEY));
    assert_eq!(header(Some(IN_BLOCK)).as_deref(), Some(KEY));
    assert_eq!(header(Some(r#"{"region":"eu","day":2026-01-01}"#)), None);
    assert_eq!(header(None), None);
}

#[test]
fn a_header_has_no_schema_block_and_the_types_of_the_key_beside_it() {
    let mut reader = reader(None);
    let mut out = Vec::new();
    assert!(!reader.encode_header(Some(BARE.as_bytes()), None, &mut out));
    assert_eq!(encode(&mut reader, IN_BLOCK).as_deref(), Ok(KEY));
    assert!(reader.encode_header(Some(BARE.as_bytes()), None, &mut out));
    assert_eq!(out, KEY);
    assert_eq!(encode(&mut reader, BARE), Err(Failure::UndeclaredModes));
}

#[test]
fn a_key_of_64_bits_without_sign_may_arrive_with_one() {
    let columns = Columns::new().with("id", ColumnType::UInt64);
    let mut reader = KeyReader::new(columns, Some(Modes::default()));
    assert_eq!(encode(&mut reader, r#"{"id":-1}"#), Ok(vec![0xff; 8]));
}

#[test]
fn a_key_is_a_value_even_where_it_looks_like_the_placeholder() {
    let columns = Columns::new().with("id", ColumnType::String);
    let mut reader = KeyReader::new(columns, Some(Modes::default()));
    let key = format!(r#"{{"id":"{UNAVAILABLE_VALUE}"}}"#);
    assert_eq!(encode(&mut reader, &key).map(|key| key.len()), Ok(29));
}
