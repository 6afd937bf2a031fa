//! The generator's events in Avro and in Protobuf.

use anyhow::{Context, Result};
use serde_json::Value;

/// Texts are texts, times are times, `properties` is a record.
pub(super) const AVRO_SCHEMA: &str = r#"{
  "type": "record", "name": "Event", "fields": [
    {"name": "event_id", "type": "string"},
    {"name": "event_type", "type": "string"},
    {"name": "user_id", "type": "long"},
    {"name": "session_id", "type": "string"},
    {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "page_url", "type": "string"},
    {"name": "referrer", "type": "string"},
    {"name": "user_agent", "type": "string"},
    {"name": "ip_address", "type": "string"},
    {"name": "country", "type": "string"},
    {"name": "city", "type": "string"},
    {"name": "properties", "type": {"type": "record", "name": "Properties", "fields": [
      {"name": "button_id", "type": "string"},
      {"name": "position", "type": "int"},
      {"name": "ab", "type": "string"}
    ]}}
  ]
}"#;

pub(super) const PROTOBUF_SCHEMA: &str = r#"syntax = "proto3";
package bench;
import "google/protobuf/timestamp.proto";
message Event {
  string event_id = 1;
  string event_type = 2;
  uint64 user_id = 3;
  string session_id = 4;
  google.protobuf.Timestamp timestamp = 5;
  string page_url = 6;
  string referrer = 7;
  string user_agent = 8;
  string ip_address = 9;
  string country = 10;
  string city = 11;
  Properties properties = 12;
}
message Properties {
  string button_id = 1;
  int32 position = 2;
  string ab = 3;
}
"#;

/// A zero byte and the schema's id.
const FRAME: [u8; 5] = [0, 0, 0, 0, 1];
/// The first message of the schema.
const FIRST_MESSAGE: u8 = 0;

/// The event by [`AVRO_SCHEMA`], behind a frame.
pub(super) fn avro(event: &Value) -> Result<Vec<u8>> {
    let mut out = FRAME.to_vec();
    let zigzag =
        |out: &mut Vec<u8>, number: i64| varint(out, ((number << 1) ^ (number >> 63)) as u64);
    let string = |out: &mut Vec<u8>, text: &str| {
        zigzag(out, text.len() as i64);
        out.extend_from_slice(text.as_bytes());
    };
    for name in ["event_id", "event_type"] {
        string(&mut out, text(event, name)?);
    }
    zigzag(&mut out, number(event, "user_id")?);
    string(&mut out, text(event, "session_id")?);
    zigzag(&mut out, time(event)?.as_millisecond());
    for name in TEXTS {
        string(&mut out, text(event, name)?);
    }
    let properties = &event["properties"];
    string(&mut out, text(properties, "button_id")?);
    zigzag(&mut out, number(properties, "position")?);
    string(&mut out, text(properties, "ab")?);
    Ok(out)
}

/// The event by [`PROTOBUF_SCHEMA`], behind a frame and the index of its message.
pub(super) fn protobuf(event: &Value) -> Result<Vec<u8>> {
    let mut out = FRAME.to_vec();
    out.push(FIRST_MESSAGE);
    bytes(&mut out, 1, text(event, "event_id")?.as_bytes());
    bytes(&mut out, 2, text(event, "event_type")?.as_bytes());
    scalar(&mut out, 3, number(event, "user_id")?);
    bytes(&mut out, 4, text(event, "session_id")?.as_bytes());
    let (at, mut inner) = (time(event)?, vec![]);
    scalar(&mut inner, 1, at.as_second());
    scalar(&mut inner, 2, at.subsec_nanosecond().into());
    bytes(&mut out, 5, &inner);
    for (tag, name) in (6..).zip(TEXTS) {
        bytes(&mut out, tag, text(event, name)?.as_bytes());
    }
    let properties = &event["properties"];
    inner.clear();
    bytes(&mut inner, 1, text(properties, "button_id")?.as_bytes());
    scalar(&mut inner, 2, number(properties, "position")?);
    bytes(&mut inner, 3, text(properties, "ab")?.as_bytes());
    bytes(&mut out, 12, &inner);
    Ok(out)
}

/// The texts between the time and the properties, in the order of both schemas.
const TEXTS: [&str; 6] = [
    "page_url",
    "referrer",
    "user_agent",
    "ip_address",
    "country",
    "city",
];

fn text<'e>(event: &'e Value, name: &str) -> Result<&'e str> {
    event[name]
        .as_str()
        .with_context(|| format!("the text {name}"))
}

fn number(event: &Value, name: &str) -> Result<i64> {
    event[name]
        .as_i64()
        .with_context(|| format!("the number {name}"))
}

fn time(event: &Value) -> Result<jiff::Timestamp> {
    Ok(text(event, "timestamp")?.parse()?)
}

/// A field with a length; an empty one is left out, as proto3 has it.
fn bytes(out: &mut Vec<u8>, tag: u64, value: &[u8]) {
    if !value.is_empty() {
        varint(out, tag << 3 | 2);
        varint(out, value.len() as u64);
        out.extend_from_slice(value);
    }
}

fn scalar(out: &mut Vec<u8>, tag: u64, value: i64) {
    if value != 0 {
        varint(out, tag << 3);
        varint(out, value as u64);
    }
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
