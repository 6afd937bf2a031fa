//! Protobuf, with `prost-reflect` as the second reading.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage as _, Value,
};
use serde_json::Value as Json;

use super::text_and_record;
use crate::decode::Reason;
use crate::format::{AsJson, Format, Protobuf, ProtobufSchema, Purpose, Unread, protobuf_pool};
use crate::table::ColumnType;

/// Every type, by itself, repeated, in a map and in a `oneof`, and a message inside of itself.
pub(crate) const SOURCE: &str = r#"
syntax = "proto3";
package fuzz;
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/struct.proto";
message All {
  double a = 1; float b = 2; int32 c = 3; int64 d = 4; uint32 e = 5; uint64 f = 6; sint32 g = 7;
  sint64 h = 8; fixed32 i = 9; fixed64 j = 10; sfixed32 k = 11; sfixed64 l = 12; bool m = 13;
  string n = 14; bytes o = 15; State p = 16;
  optional int32 q = 17; optional string r = 18; optional State s = 19;
  repeated sint64 t = 20; repeated string u = 21; repeated bool v = 22; repeated fixed32 w = 23;
  repeated double x = 24; repeated State y = 25; repeated bytes z = 26;
  map<string, int32> aa = 27; map<int64, string> ab = 28; map<bool, All> ac = 29;
  All ad = 30; repeated All ae = 31;
  oneof one { int32 af = 32; string ag = 33; All ah = 34; double ai = 35; }
  google.protobuf.Timestamp aj = 36; google.protobuf.Duration ak = 37;
  google.protobuf.Int64Value al = 38; google.protobuf.StringValue am = 39;
  google.protobuf.Struct an = 40; google.protobuf.Value ao = 41; google.protobuf.ListValue ap = 42;
  repeated google.protobuf.BytesValue aq = 43; map<string, google.protobuf.Value> ar = 44;
}
enum State { NEW = 0; PAID = 1; GONE = -1; }
"#;

/// See [`crate::fuzzing`].
///
/// # Panics
/// When the two readings differ.
pub fn protobuf(data: &[u8]) {
    static OURS: LazyLock<(Arc<ProtobufSchema>, MessageDescriptor)> =
        LazyLock::new(|| of_source(SOURCE).expect("a source"));
    match data.split_first() {
        Some((b'0'..=b'9', record)) => compare(&OURS.0, &OURS.1, record),
        Some((b's', rest)) => {
            let source = text_and_record(rest);
            let read = source.and_then(|(text, record)| Some((of_source(text)?, record)));
            if let Some(((schema, message), record)) = read {
                check_columns(&schema);
                compare(&schema, &message, record);
            }
        }
        Some((b'd', [high, low, rest @ ..])) => {
            let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
            let (descriptors, record) = rest.split_at(len);
            if let Some((schema, message)) = of_descriptors(descriptors) {
                check_columns(&schema);
                compare(&schema, &message, record);
            }
        }
        _ => {}
    }
}

fn of_source(text: &str) -> Option<(Arc<ProtobufSchema>, MessageDescriptor)> {
    let schema = ProtobufSchema::from_source(text, &[]).ok()?;
    let name = schema.message_name(&[0])?.to_owned();
    let pool = protobuf_pool(text, &[]).expect("it was compiled before");
    let message = pool.get_message_by_name(&name).expect("a message of it");
    Some((Arc::new(schema), message))
}

fn of_descriptors(bytes: &[u8]) -> Option<(Arc<ProtobufSchema>, MessageDescriptor)> {
    // Ours first: it says so where the decoder panics, which would end a fuzz target.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let ours = ProtobufSchema::from_descriptors(bytes, "");
    std::panic::set_hook(hook);
    if ours.is_err_and(|error| error.to_string().contains("descriptor set")) {
        return None;
    }
    let pool = DescriptorPool::decode(bytes).ok()?;
    let message = pool.all_messages().next()?;
    let schema = ProtobufSchema::from_descriptors(bytes, message.full_name());
    Some((Arc::new(schema.expect("it has the message")), message))
}

fn check_columns(schema: &ProtobufSchema) {
    for column in schema.columns(&[0]).into_iter().flatten() {
        ColumnType::parse(&column.type_name).expect("a type that is written");
    }
}

/// The message as JSON.
pub(crate) fn read(
    schema: &Arc<ProtobufSchema>,
    record: &[u8],
) -> Result<String, (Reason, String)> {
    let format = Format::Protobuf(Protobuf {
        schema: Some(schema.clone()),
        framed: false,
    });
    let reader = AsJson::new(&format, Purpose::Fields).expect("a schema that was read");
    let mut reader = reader.expect("it is no JSON");
    match reader.read(record, None) {
        Ok(json) => Ok(String::from_utf8(json.to_vec()).expect("JSON is UTF-8")),
        Err(Unread::Refused(reject)) => Err((reject.reason, reject.detail.into_owned())),
        Err(other) => panic!("{other:?}"),
    }
}

/// Both readings take the record and say the same of it, or neither does.
pub(crate) fn compare(schema: &Arc<ProtobufSchema>, message: &MessageDescriptor, record: &[u8]) {
    if any_field(message, record, &|field, wire_type, _| {
        field.is_map() && wire_type != DELIMITED
    }) {
        // Theirs takes an entry of a map for bytes whatever it says it is, and goes on from there.
        let _ = read(schema, record);
        return;
    }
    let ours = read(schema, record);
    if message.full_name() == "fuzz.All" {
        let format = Format::Protobuf(Protobuf {
            schema: Some(schema.clone()),
            framed: false,
        });
        let names: Vec<String> = message.fields().map(|f| f.name().to_owned()).collect();
        super::fields_agree(&format, &names, record, &ours, true);
    }
    let theirs = DynamicMessage::decode(message.clone(), record);
    match (ours, theirs) {
        (Ok(json), Ok(value)) => {
            let read: Json = serde_json::from_str(&json).expect("JSON");
            assert_eq!(read, json_of(&value), "{json}");
        }
        (Ok(json), Err(error)) => {
            // Theirs counts messages that it passes over too, and reads values that later ones replace.
            let error = error.to_string();
            let is_replaced = |field: &FieldDescriptor, _, is_again| {
                is_again && !field.is_list() && !field.is_map()
            };
            assert!(
                error.contains("recursion limit") || any_field(message, record, &is_replaced),
                "{json} is refused: {error}"
            );
        }
        (Err((reason, detail)), Ok(value)) => {
            // What one of the two does not read, and texts of moments that there are none of.
            let is_limit = matches!(reason, Reason::TooDeep | Reason::TooLarge);
            let is_known = ["group", "timestamp: ", "duration: "];
            let is_known = is_known.iter().any(|word| detail.contains(word));
            assert!(is_limit || is_known, "{value} is refused: {detail}");
        }
        (Err(_), Err(_)) => {}
    }
}

/// Whether there is a field of which this holds, by its descriptor, its wire type and whether it, or
/// another member of its `oneof`, stands before it, up to what is malformed.
fn any_field(
    message: &MessageDescriptor,
    record: &[u8],
    holds: &dyn Fn(&FieldDescriptor, u64, bool) -> bool,
) -> bool {
    let mut rest = record;
    let mut groups = 0u32;
    let mut known = HashSet::new();
    while let Some(tag) = take_varint(&mut rest) {
        let wire_type = tag & 7;
        let field = u32::try_from(tag >> 3).ok();
        let field = field.and_then(|number| message.get_field(number));
        let field = field.filter(|_| groups == 0 && wire_type != END_GROUP);
        if let Some(field) = &field {
            let first = field.containing_oneof().and_then(|of| of.fields().next());
            let is_new = known.insert(first.map_or(field.number(), |first| first.number()));
            if holds(field, wire_type, !is_new) {
                return true;
            }
        }
        match wire_type {
            START_GROUP => groups += 1,
            END_GROUP if groups == 0 => return false,
            END_GROUP => groups -= 1,
            _ => {}
        }
        let Some(value) = take_value(wire_type, &mut rest) else {
            return false;
        };
        if let (DELIMITED, Some(Kind::Message(inner))) = (wire_type, field.map(|f| f.kind()))
            && any_field(&inner, value, holds)
        {
            return true;
        }
    }
    false
}

const DELIMITED: u64 = 2;
const START_GROUP: u64 = 3;
const END_GROUP: u64 = 4;

fn take_value<'a>(wire_type: u64, rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    match wire_type {
        0 => take_varint(rest).map(|_| &[][..]),
        1 => rest.split_off(..8),
        DELIMITED => {
            let len = usize::try_from(take_varint(rest)?).ok()?;
            // What is cut off may be read by the other reading as far as it goes.
            rest.split_off(..len.min(rest.len()))
        }
        START_GROUP | END_GROUP => Some(&[]),
        5 => rest.split_off(..4),
        _ => None,
    }
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for nth in 0..10 {
        let byte = *rest.split_off_first()?;
        number |= u64::from(byte & 0x7f) << (7 * nth);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// A message as the reader has to show it.
pub(crate) fn json_of(message: &DynamicMessage) -> Json {
    let descriptor = message.descriptor();
    let field = |number| message.get_field_by_number(number).map(|v| v.into_owned());
    let integer = |number| match field(number) {
        Some(Value::I64(n)) => n,
        Some(Value::I32(n)) => n.into(),
        _ => 0,
    };
    match descriptor.full_name().strip_prefix("google.protobuf.") {
        // Their texts are tried with values that people can check; here it is which moment that counts.
        Some("Timestamp" | "Duration") => {
            let is_time = descriptor.full_name().ends_with("Timestamp");
            Json::from(moment(is_time, integer(1), integer(2) as i32))
        }
        Some("Struct" | "ListValue") => of_field(message, 1),
        Some("Value") => {
            let set = message.fields().next().map(|(field, _)| field.number());
            set.filter(|number| *number != 1)
                .map_or(Json::Null, |number| of_field(message, number))
        }
        Some(name) if name.ends_with("Value") => of_field(message, 1),
        _ => {
            let fields = descriptor.fields();
            let shown = fields.filter(|f| !f.supports_presence() || message.has_field(f));
            let member = |f: FieldDescriptor| {
                let value = message.get_field(&f);
                (f.name().to_owned(), json_of_value(&value, &f.kind()))
            };
            Json::Object(shown.map(member).collect())
        }
    }
}

fn moment(is_time: bool, seconds: i64, nanos: i32) -> String {
    let mut fraction = match nanos {
        0 => String::new(),
        nanos => format!(".{:09}", nanos.unsigned_abs()),
    };
    fraction.truncate(fraction.trim_end_matches('0').len());
    if !is_time {
        let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
        return format!("{sign}PT{}{fraction}S", seconds.unsigned_abs());
    }
    // Days from civil, by Howard Hinnant's algorithm, in numbers that hold every second of 64 bits.
    let days = i128::from(seconds).div_euclid(86_400) + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era =
        (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096).div_euclid(365);
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, is_next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = year_of_era + era * 400 + is_next;
    let of_day = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        _ => format!("{year:+05}"),
    };
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

fn of_field(message: &DynamicMessage, number: u32) -> Json {
    let field = message.descriptor().get_field(number).expect("a field");
    json_of_value(&message.get_field(&field), &field.kind())
}

fn json_of_value(value: &Value, kind: &Kind) -> Json {
    let float = |wide: f64, shown: String| match wide.is_finite() {
        true => serde_json::from_str(&shown).expect("a number"),
        false if wide.is_nan() => Json::from("NaN"),
        false => Json::from(if wide > 0.0 { "Infinity" } else { "-Infinity" }),
    };
    match value {
        Value::Bool(b) => Json::from(*b),
        Value::I32(n) => Json::from(*n),
        Value::I64(n) => Json::from(*n),
        Value::U32(n) => Json::from(*n),
        Value::U64(n) => Json::from(*n),
        Value::F32(n) => float((*n).into(), format!("{n:?}")),
        Value::F64(n) => float(*n, format!("{n:?}")),
        Value::String(text) => Json::from(text.as_str()),
        Value::Bytes(bytes) => Json::from(base64::engine::general_purpose::STANDARD.encode(bytes)),
        Value::EnumNumber(number) => match kind {
            Kind::Enum(of) => match of.values().find(|value| value.number() == *number) {
                Some(value) => Json::from(value.name()),
                None => Json::from(*number),
            },
            _ => Json::from(*number),
        },
        Value::Message(message) => json_of(message),
        Value::List(items) => {
            Json::Array(items.iter().map(|item| json_of_value(item, kind)).collect())
        }
        Value::Map(map) => {
            let of_value = match kind {
                Kind::Message(entry) => entry.map_entry_value_field().kind(),
                kind => kind.clone(),
            };
            let member = |(key, value): (&MapKey, &Value)| {
                let key = match key {
                    MapKey::Bool(key) => key.to_string(),
                    MapKey::I32(key) => key.to_string(),
                    MapKey::I64(key) => key.to_string(),
                    MapKey::U32(key) => key.to_string(),
                    MapKey::U64(key) => key.to_string(),
                    MapKey::String(key) => key.clone(),
                };
                (key, json_of_value(value, &of_value))
            };
            Json::Object(map.iter().map(member).collect())
        }
    }
}
