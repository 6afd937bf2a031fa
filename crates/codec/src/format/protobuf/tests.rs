use prost_reflect::DescriptorPool;

use super::*;
use crate::decode::Path;
use crate::table::{Column, DefaultKind};

const SOURCE: &str = r#"
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/duration.proto";
import "item.proto";
message Other { message Inner { string a = 1; } int32 x = 1; }
message Order {
  int64 id = 1;
  optional int32 maybe = 2;
  string user_name = 3;
  State state = 4;
  repeated sint32 counts = 5;
  map<string, double> prices = 6;
  google.protobuf.Timestamp at = 7;
  google.protobuf.Int64Value wrapped = 8;
  google.protobuf.Struct free = 9;
  google.protobuf.Duration took = 10;
  items.Item item = 11;
  repeated items.Item items = 12;
  bytes raw = 13;
  double ratio = 14;
  oneof pick { string left = 15; uint64 right = 16; }
  bool flag = 17;
  fixed32 f = 18;
  Order parent = 19;
}
enum State { NEW = 0; PAID = 1; }
"#;
const ITEM: &str =
    "syntax = \"proto3\"; package items; message Item { string sku = 1; uint32 n = 2; }";

fn schema() -> Arc<ProtobufSchema> {
    let imports = [("item.proto".to_owned(), ITEM.to_owned())];
    Arc::new(ProtobufSchema::from_source(SOURCE, &imports).unwrap())
}

fn source(slot: usize, name: &str, type_name: &str) -> ColumnSource {
    let column = Column {
        name: name.to_owned(),
        column_type: ColumnType::parse(type_name).unwrap(),
        default_kind: DefaultKind::None,
    };
    let steps = Path::parse(name).unwrap().steps().to_vec();
    let source = ColumnSource::new(column, slot, false, None, RawMode::Off).unwrap();
    source.with_steps(&steps).unwrap()
}

/// The row of a record with this id and indexes before it.
fn row_of(columns: &[(&str, &str)], value: &[u8]) -> Result<Vec<u8>, String> {
    row_by(&schema(), columns, value)
}

fn row_by(
    schema: &Arc<ProtobufSchema>,
    columns: &[(&str, &str)],
    value: &[u8],
) -> Result<Vec<u8>, String> {
    let sources: Vec<ColumnSource> = columns
        .iter()
        .enumerate()
        .map(|(slot, (path, type_name))| source(slot, path, type_name))
        .collect();
    let wishes = sources.iter().map(|source| Wish {
        path: Path::parse(&source.column().name).unwrap(),
        column: Some(source.clone()),
        is_asked_for: false,
    });
    let plan = ProtobufPlan::new(&Protobuf::default(), wishes.collect()).unwrap();
    let mut reader = ProtobufReader::new(Arc::new(plan));
    let key = match reader.read(Some(value)) {
        Err(Unread::NeedsSchema(key)) => key,
        Err(Unread::Refused(reject)) => return Err(reject.to_string()),
        other => panic!("{other:?}"),
    };
    reader.add_schema(key, schema.clone());
    let values = reader.read(Some(value)).map_err(|unread| match unread {
        Unread::Refused(reject) => reject.to_string(),
        Unread::Misfit(_, error) => error.to_string(),
        other => format!("{other:?}"),
    })?;
    let mut row = vec![];
    for source in &sources {
        values
            .append(source, &mut row, false)
            .map_err(|reject| reject.to_string())?;
    }
    Ok(row)
}

/// `Order` is the second message of its file.
fn framed(body: &[u8]) -> Vec<u8> {
    [b"\0\0\0\0\x07\x02\x02", body].concat()
}

const FULL: &[u8] = b"\x08\x96\x01\x10\x00\x1a\x02\xc3\xa9\x20\x01\x2a\x03\x01\x02\x03\
    \x32\x0c\x0a\x01k\x11\0\0\0\0\0\0\xf8\x3f\x3a\x0b\x08\xa0\xf0\x80\xc9\x06\x10\x80\xc2\xd7\x2f\
    \x42\x02\x08\x05\x4a\x0d\x0a\x0b\x0a\x01a\x12\x06\x1a\x04q\"\\z\x52\x05\x08\x01\x10\x80\x01\
    \x5a\x03\x0a\x01s\x62\x05\x0a\x01t\x10\x02\x62\0\x6a\x02\xff\0\x71\0\0\0\0\0\0\xe0\x3f\
    \x80\x01\x09\x88\x01\x01\x95\x01\x05\0\0\0\x5a\x02\x10\x04";

#[test]
fn a_message_is_the_json_that_its_schema_says() {
    let row = row_of(&[("$", "String")], &framed(FULL)).unwrap();
    let start = row.iter().position(|byte| *byte == b'{').unwrap();
    let json: serde_json::Value = serde_json::from_slice(&row[start..]).unwrap();
    let expected = serde_json::json!({
        "id": 150, "maybe": 0, "user_name": "é", "state": "PAID", "counts": [-1, 1, -2],
        "prices": {"k": 1.5}, "at": "2025-11-21T10:00:00.1Z", "wrapped": 5, "free": {"a": "q\"\\z"},
        "took": "PT1.000000128S", "item": {"sku": "s", "n": 4},
        "items": [{"sku": "t", "n": 2}, {"sku": "", "n": 0}], "raw": "/wA=", "ratio": 0.5,
        "right": 9, "flag": true, "f": 5,
    });
    assert_eq!(json, expected);
    let row = row_of(&[("$", "String")], &framed(b"")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&row[1..]).unwrap();
    let expected = serde_json::json!({
        "id": 0, "user_name": "", "state": "NEW", "counts": [], "prices": {}, "items": [],
        "raw": "", "ratio": 0.0, "flag": false, "f": 0,
    });
    assert_eq!(json, expected);
}

#[test]
fn columns_take_fields_by_either_name_and_absent_is_not_default_where_the_schema_can_tell() {
    let columns = [
        ("$.id", "UInt64"),
        ("$.maybe", "Nullable(Int32)"),
        ("$.userName", "String"),
        ("$.state", "LowCardinality(String)"),
        ("$.counts", "Array(Int8)"),
        ("$.at", "DateTime64(3)"),
        ("$.wrapped", "Nullable(UInt8)"),
        ("$.item.sku", "String"),
        ("$.items[0].n", "UInt8"),
        ("$.raw", "String"),
        ("$.ratio", "Float64"),
        ("$.right", "Nullable(UInt8)"),
        ("$.parent.id", "Nullable(UInt8)"),
        ("$.flag", "UInt8"),
    ];
    let time = 1_763_719_200_100i64.to_le_bytes();
    let half = 0.5f64.to_le_bytes();
    let expected = [
        &150u64.to_le_bytes()[..],
        b"\0\0\0\0\0\x02\xc3\xa9\x04PAID\x03\xff\x01\xfe",
        &time,
        b"\0\x05\x01s\x02\x02\xff\0",
        &half,
        b"\0\x09\x01\x01",
    ]
    .concat();
    assert_eq!(row_of(&columns, &framed(FULL)), Ok(expected));
    let empty = [
        &[0; 8][..],
        b"\x01\0\x03NEW\0",
        &[0; 8],
        b"\x01\0\0\0",
        &[0; 8],
        b"\x01\x01\0",
    ]
    .concat();
    assert_eq!(row_of(&columns, &framed(b"")), Ok(empty));
    let nested = [
        ("$.parent.id", "UInt8"),
        ("$.parent.parent.maybe", "Nullable(UInt8)"),
    ];
    let parents = framed(b"\x9a\x01\x09\x08\x07\x9a\x01\x04\x10\x03\x08\x02");
    assert_eq!(row_of(&nested, &parents), Ok(vec![7, 0, 3]));
}

#[test]
fn what_is_no_message_is_refused_with_the_field_and_the_byte() {
    for (record, expected) in [
        (
            framed(b"\x1a\x05ab"),
            "byte 2: 5 bytes are announced, and 2 are left",
        ),
        (
            framed(b"\x1a\x01\xff"),
            "field user_name, byte 2: a string that is not UTF-8",
        ),
        (
            framed(b"\x5a\x03\x0a\x01\xff"),
            "field item.sku, byte 4: a string that is not UTF-8",
        ),
        (framed(b"\x08"), "byte 1: no varint"),
        (
            framed(b"\x0a\x01a"),
            "field id, byte 2: wire type 2 is none of the field's type",
        ),
        (framed(b"\x00\x00"), "byte 0: no number of a field: 0"),
        (framed(b"\x0f\x00"), "byte 0: no wire type: 7"),
        (
            b"\0\0\0\0\x07\x02\x08".to_vec(),
            "schema 7 has no message at [4]",
        ),
        (b"\0\0\0\0\x07\x05".to_vec(), "byte 0: -3 message indexes"),
        (b"{\"id\":1}".to_vec(), "the record begins with {"),
        (
            framed(&[b"\x9a\x01\x80\x80\x80\x80\x7f"[..].to_vec(), vec![0; 9]].concat()),
            "byte 7: ",
        ),
    ] {
        let error = row_of(&[("$.id", "Int64")], &record).unwrap_err();
        assert!(
            error.starts_with(&format!("invalid_protobuf: {expected}")),
            "{error}"
        );
    }
    let mut deep = vec![];
    for _ in 0..300 {
        let mut len = deep.len();
        let mut field = vec![0x9a, 0x01];
        while len >= 0x80 {
            field.push(len as u8 | 0x80);
            len >>= 7;
        }
        field.push(len as u8);
        deep = [field, deep].concat();
    }
    for columns in [
        &[("$.id", "Int64")],
        &[("$", "String")],
        &[("$.parent", "String")],
    ] {
        let error = row_of(columns, &framed(&deep)).unwrap_err();
        assert!(error.starts_with("too_deep: "), "{error}");
    }
    let error = row_of(&[("$.items", "Int64")], &framed(b"")).unwrap_err();
    assert!(
        error.contains("column $.items Int64 cannot hold the field items"),
        "{error}"
    );
}

#[test]
fn descriptors_are_read_by_the_name_of_a_message_and_sources_must_compile() {
    let error = ProtobufSchema::from_source("message {", &[]).unwrap_err();
    assert!(
        error.to_string().starts_with("no schema of Protobuf: "),
        "{error}"
    );
    let mut pool = DescriptorPool::global();
    pool = match pool.get_message_by_name("google.protobuf.Timestamp") {
        Some(_) => pool,
        None => panic!("the global pool has the well-known types"),
    };
    let bytes = pool.encode_to_vec();
    let schema = ProtobufSchema::from_descriptors(&bytes, "google.protobuf.FieldMask").unwrap();
    assert_eq!(
        schema.message(schema.root(&[0]).unwrap()).fields[0].name,
        "paths"
    );
    let error = ProtobufSchema::from_descriptors(&bytes, "shop.Order").unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("no message shop.Order; it has "),
        "{error}"
    );
    assert!(ProtobufSchema::from_descriptors(b"\xff", "a").is_err());
}

#[test]
fn without_a_registry_a_frame_is_passed_over_only_where_it_is_declared() {
    let read = |framed: bool, record: &[u8]| {
        let protobuf = Protobuf {
            schema: Some(schema()),
            framed,
        };
        let plan = ProtobufPlan::new(&protobuf, vec![]).unwrap();
        match ProtobufReader::new(Arc::new(plan)).read(Some(record)) {
            Ok(_) => Ok(()),
            Err(Unread::Refused(reject)) => Err(reject.to_string()),
            Err(other) => Err(format!("{other:?}")),
        }
    };
    assert_eq!(read(false, b"\x08\x07"), Ok(()));
    assert_eq!(read(true, b"\0\0\0\0\x01\0\x08\x07"), Ok(()));
    let error = read(false, b"\0\0\0\0\x01\0\x08\x07").unwrap_err();
    assert!(
        error.contains("schema 1: set protobuf.framed = true"),
        "{error}"
    );
    assert!(
        read(true, b"\x08\x07")
            .unwrap_err()
            .starts_with("invalid_protobuf: ")
    );
}

#[test]
fn of_a_oneof_the_last_member_counts_however_often_it_comes() {
    let text = "syntax = \"proto3\"; message M { oneof o { S a = 1; S b = 2; } repeated int32 n = 3; } \
                message S { int32 x = 1; int32 y = 2; }";
    let schema = Arc::new(ProtobufSchema::from_source(text, &[]).unwrap());
    let columns = [
        ("$.a", "Nullable(String)"),
        ("$.b", "Nullable(String)"),
        ("$.n", "Array(Int8)"),
    ];
    let sources: Vec<ColumnSource> = columns
        .iter()
        .enumerate()
        .map(|(slot, (path, type_name))| source(slot, path, type_name))
        .collect();
    let wishes = sources.iter().map(|source| Wish {
        path: Path::parse(&source.column().name).unwrap(),
        column: Some(source.clone()),
        is_asked_for: false,
    });
    let protobuf = Protobuf {
        schema: Some(schema),
        framed: false,
    };
    let plan = ProtobufPlan::new(&protobuf, wishes.collect()).unwrap();
    let mut reader = ProtobufReader::new(Arc::new(plan));
    let mut of = |record: &[u8]| {
        let values = reader.read(Some(record)).unwrap();
        let texts = (0..3).map(|slot| values.get(slot).as_received().to_owned());
        texts.collect::<Vec<String>>()
    };
    let parts = b"\x0a\x02\x08\x01\x18\x07\x0a\x02\x10\x02";
    let both = r#"{"x":1,"y":2}"#;
    assert_eq!(of(parts), [both, "", "[7]"]);
    let then_other = [&parts[..], b"\x12\x02\x08\x03"].concat();
    assert_eq!(of(&then_other), ["", r#"{"x":3,"y":0}"#, "[7]"]);
    let and_back = [&then_other[..], b"\x18\x08\x0a\x02\x10\x05"].concat();
    assert_eq!(of(&and_back), [r#"{"x":0,"y":5}"#, "", "[7,8]"]);
    // A record of one megabyte takes no longer than others of its size.
    let many = [b"\x0a\0".repeat(250_000), b"\x12\0\x0a\0".repeat(125_000)].concat();
    assert_eq!(of(&many)[0], r#"{"x":0,"y":0}"#);
}

#[test]
fn bytes_that_decide_something_are_bytes_in_their_column_too() {
    let column = source(0, "$.raw", "String");
    let wish = Wish {
        path: Path::parse("$.raw").unwrap(),
        column: Some(column.clone()),
        is_asked_for: true,
    };
    let message = "syntax = \"proto3\"; message M { bytes raw = 1; }";
    let protobuf = Protobuf {
        schema: Some(Arc::new(ProtobufSchema::from_source(message, &[]).unwrap())),
        framed: false,
    };
    let plan = ProtobufPlan::new(&protobuf, vec![wish]).unwrap();
    let mut reader = ProtobufReader::new(Arc::new(plan));
    for (record, bytes, text) in [
        (&b"\x0a\x02\xff\0"[..], &b"\x02\xff\0"[..], "/wA="),
        (b"", b"\0", ""),
    ] {
        let values = reader.read(Some(record)).unwrap();
        let mut row = vec![];
        values.append(&column, &mut row, false).unwrap();
        assert_eq!((&row[..], values.get(0).as_received()), (bytes, text));
    }
}

#[test]
fn dates_and_times_of_day_are_texts_as_columns_read_them() {
    let text = "syntax = \"proto3\"; import \"google/type/date.proto\"; import \"google/type/timeofday.proto\"; \
                message M { google.type.Date day = 1; google.type.TimeOfDay clock = 2; }";
    let schema = Arc::new(ProtobufSchema::from_source(text, &[]).unwrap());
    let columns = [
        ("$.day", "Nullable(Date32)"),
        ("$.clock", "Nullable(Time64(3))"),
        ("$", "String"),
    ];
    let read = |body: &[u8]| row_by(&schema, &columns, &[b"\0\0\0\0\x07\0", body].concat());
    // 2025-11-21, 08:05:00.5
    let full =
        b"\x0a\x07\x08\xe9\x0f\x10\x0b\x18\x15\x12\x0a\x08\x08\x10\x05\x20\x80\xca\xb5\xee\x01";
    let row = read(full).unwrap();
    let days = 20_413_i32.to_le_bytes();
    let ticks = (((8 * 60 + 5) * 60) * 1_000 + 500_i64).to_le_bytes();
    let json = br#"{"day":"2025-11-21","clock":"08:05:00.5"}"#;
    let expected = [&[0][..], &days, &[0], &ticks, &[json.len() as u8], json].concat();
    assert_eq!(row, expected);
    assert_eq!(read(b"").unwrap(), b"\x01\x01\x02{}");
    // A year alone is no day of a column.
    let error = read(b"\x0a\x03\x08\xe9\x0f").unwrap_err();
    assert!(error.starts_with("invalid_value: "), "{error}");
    let error = read(b"\x12\x02\x08\x64").unwrap_err();
    assert!(error.starts_with("invalid_protobuf: "), "{error}");
}

#[test]
fn what_does_not_count_in_a_message_inside_is_validated_too() {
    let text = "syntax = \"proto3\"; message M { Inner inner = 1; } \
                message Inner { string a = 1; map<string, string> b = 2; int32 c = 3; }";
    let schema = Arc::new(ProtobufSchema::from_source(text, &[]).unwrap());
    let read = |inner: &[u8]| {
        let body = [b"\0\0\0\0\x07\0\x0a", &[inner.len() as u8][..], inner].concat();
        row_by(&schema, &[("$.inner", "String")], &body)
    };
    assert_eq!(
        read(b"\x0a\x01x\x18\x07").unwrap()[1..],
        *br#"{"a":"x","b":{},"c":7}"#
    );
    // Fields in another order than their numbers', and one that comes twice.
    assert_eq!(
        read(b"\x18\x07\x0a\x01y\x0a\x01x").unwrap()[1..],
        *br#"{"a":"x","b":{},"c":7}"#
    );
    for hostile in [
        &b"\x0a\x01\xff\x0a\x01x"[..],
        b"\x12\x06\x0a\x01\xff\x0a\x01x",
        b"\x0a\x01x\x18",
    ] {
        let error = read(hostile).unwrap_err();
        assert!(
            error.starts_with("invalid_protobuf: field inner"),
            "{error}"
        );
    }
}
