//! Avro, with `apache-avro` as the second reading.

use std::sync::{Arc, LazyLock, Once};

use apache_avro::Schema as Parsed;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use base64::Engine as _;
use serde_json::Value as Json;

use super::text_and_record;
use crate::decode::Reason;
use crate::format::{AsJson, Avro, AvroSchema, Format, Purpose, Unread};
use crate::table::ColumnType;

/// Every type that both readings have words for, by itself, inside of others, and inside of itself.
const SCHEMAS: [&str; 5] = [
    r#"{"type":"record","name":"Flat","fields":[{"name":"a","type":"long"},{"name":"b","type":"int"},
        {"name":"c","type":"boolean"},{"name":"d","type":"double"},{"name":"e","type":"float"},
        {"name":"f","type":"string"},{"name":"g","type":"bytes"},{"name":"h","type":"null"}]}"#,
    r#"{"type":"record","name":"Nested","fields":[{"name":"a","type":{"type":"array","items":"int"}},
        {"name":"b","type":{"type":"map","values":["null","string"]}},
        {"name":"c","type":["null","int",{"type":"array","items":"null"},{"type":"record","name":"In",
            "fields":[{"name":"x","type":{"type":"array","items":{"type":"map","values":"long"}}}]}]},
        {"name":"d","type":{"type":"enum","name":"E","symbols":["A","B","C"]}},
        {"name":"e","type":{"type":"fixed","name":"F","size":3}}]}"#,
    r#"{"type":"record","name":"List","fields":[{"name":"v","type":"int"},
        {"name":"next","type":["null","List"]},{"name":"all","type":{"type":"array","items":"List"}}]}"#,
    r#"{"type":"record","name":"Times","fields":[
        {"name":"a","type":{"type":"long","logicalType":"timestamp-millis"}},
        {"name":"b","type":{"type":"long","logicalType":"local-timestamp-nanos"}},
        {"name":"c","type":{"type":"int","logicalType":"date"}},
        {"name":"d","type":{"type":"long","logicalType":"time-micros"}},
        {"name":"e","type":["null",{"type":"long","logicalType":"timestamp-micros"}]}]}"#,
    r#"{"type":"record","name":"Empty","fields":[{"name":"a","type":{"type":"array","items":
        {"type":"record","name":"No","fields":[]}}},{"name":"b","type":{"type":"map","values":"null"}}]}"#,
];

/// What the second reading may take at once.
const ALLOCATION_BYTES_MAX: usize = 1 << 22;
/// Their values have no form that both readings share, or are judged by what stands in them.
const UNCOMPARED: [&str; 3] = ["uuid", "decimal", "duration"];

/// See [`crate::fuzzing`].
///
/// # Panics
/// When the two readings differ.
pub fn avro(data: &[u8]) {
    static OURS: LazyLock<Vec<(Arc<AvroSchema>, Parsed)>> = LazyLock::new(|| {
        let read = |text: &&str| {
            let ours = AvroSchema::parse(text).expect("a schema");
            (Arc::new(ours), Parsed::parse_str(text).expect("a schema"))
        };
        SCHEMAS.iter().map(read).collect()
    });
    static LIMIT: Once = Once::new();
    LIMIT.call_once(|| {
        apache_avro::util::max_allocation_bytes(ALLOCATION_BYTES_MAX);
    });
    match data.split_first() {
        Some((digit @ b'0'..=b'9', record)) => {
            let (schema, parsed) = &OURS[usize::from(digit - b'0') % SCHEMAS.len()];
            compare(schema, parsed, record);
        }
        Some((b's', rest)) => {
            let Some((text, record)) = text_and_record(rest) else {
                return;
            };
            let Ok(schema) = AvroSchema::parse(text) else {
                return;
            };
            let columns = schema.columns().expect("a record has columns");
            for column in columns {
                ColumnType::parse(&column.type_name).expect("a type that is written");
            }
            let schema = Arc::new(schema);
            let parsed = Parsed::parse_str(text).expect("ours are parsed by it");
            // What Connect would say of it, if it can be said.
            let change = read(&schema, Purpose::Change, record);
            if !UNCOMPARED.iter().any(|word| text.contains(word)) {
                compare(&schema, &parsed, record);
                let as_fields = read(&schema, Purpose::Fields, record);
                assert!(change.is_err() || as_fields.is_ok(), "{change:?}");
            }
        }
        _ => {}
    }
}

/// The record as JSON; `Err` with [`Reason::TooLarge`] where the schema cannot be used.
fn read(
    schema: &Arc<AvroSchema>,
    purpose: Purpose,
    record: &[u8],
) -> Result<String, (Reason, String)> {
    let format = Format::Avro(Avro {
        schema: Some(schema.clone()),
        framed: false,
    });
    let Ok(Some(mut reader)) = AsJson::new(&format, purpose) else {
        return Err((Reason::TooLarge, String::new()));
    };
    match reader.read(record, None) {
        Ok(json) => Ok(String::from_utf8(json.to_vec()).expect("JSON is UTF-8")),
        Err(Unread::Refused(reject)) => Err((reject.reason, reject.detail.into_owned())),
        Err(other) => panic!("{other:?}"),
    }
}

fn compare(schema: &Arc<AvroSchema>, parsed: &Parsed, record: &[u8]) {
    let ours = read(schema, Purpose::Fields, record);
    let format = Format::Avro(Avro {
        schema: Some(schema.clone()),
        framed: false,
    });
    let names = parsed_names(parsed);
    super::fields_agree(&format, &names, record, &ours, false);
    if let Err((reason, _)) = &ours
        && *reason != Reason::InvalidAvro
    {
        // Limits of ours.
        return;
    }
    let reader = GenericDatumReader::builder(parsed)
        .build()
        .expect("a schema");
    let mut rest = record;
    let theirs = reader.read_value(&mut rest);
    match (ours, theirs) {
        (Ok(json), Ok(value)) => {
            assert!(rest.is_empty(), "{} bytes are left", rest.len());
            let json: Json = serde_json::from_str(&json).expect("JSON");
            assert_eq!(without_times(json, &value), json_of(&value));
        }
        (Ok(json), Err(error)) => {
            let error = error.to_string();
            assert!(error.contains("llocat"), "{json} is refused: {error}");
        }
        (Err((_, detail)), Ok(value)) => {
            // Theirs passes over the sizes of blocks, whatever they are, takes the branch of a union behind the
            // end for null, drops what a number has beyond 64 bits, and reads any number of values without
            // bytes.
            let known = [
                "a block of negative size",
                "the record ends in a number",
                "a number of more than 64 bits",
                "more values than so many bytes can hold",
            ];
            let is_known = !rest.is_empty() || known.iter().any(|part| detail.contains(part));
            assert!(is_known, "{value:?} is refused: {detail}");
        }
        (Err(_), Err(_)) => {}
    }
}

fn parsed_names(parsed: &Parsed) -> Vec<String> {
    match parsed {
        Parsed::Record(record) => record.fields.iter().map(|f| f.name.clone()).collect(),
        _ => vec![],
    }
}

/// A value as the reader has to show it.
pub(crate) fn json_of(value: &Value) -> serde_json::Value {
    let float = |wide: f64, shown: String| match wide.is_finite() {
        true => serde_json::from_str(&shown).unwrap(),
        false if wide.is_nan() => Json::from("NaN"),
        false => Json::from(if wide > 0.0 { "Infinity" } else { "-Infinity" }),
    };
    match value {
        Value::Null => Json::Null,
        Value::Boolean(b) => Json::from(*b),
        Value::Int(n) => Json::from(*n),
        Value::Long(n) => Json::from(*n),
        Value::Float(n) => float((*n).into(), format!("{n:?}")),
        Value::Double(n) => float(*n, format!("{n:?}")),
        Value::String(s) | Value::Enum(_, s) => Json::from(s.as_str()),
        Value::Bytes(b) | Value::Fixed(_, b) => {
            Json::from(base64::engine::general_purpose::STANDARD.encode(b))
        }
        Value::Array(items) => Json::Array(items.iter().map(json_of).collect()),
        Value::Map(map) => Json::Object(map.iter().map(|(k, v)| (k.clone(), json_of(v))).collect()),
        Value::Union(_, value) => json_of(value),
        Value::Record(fields) => Json::Object(
            fields
                .iter()
                .map(|(k, v)| (k.clone(), json_of(v)))
                .collect(),
        ),
        // Their texts are tried with values that people can check.
        _ => Json::from("time"),
    }
}

/// Texts of times in both as one word.
pub(crate) fn without_times(json: serde_json::Value, value: &Value) -> serde_json::Value {
    match (json, value) {
        (json, Value::Union(_, value)) => without_times(json, value),
        (Json::Array(items), Value::Array(values)) => Json::Array(
            items
                .into_iter()
                .zip(values)
                .map(|(j, v)| without_times(j, v))
                .collect(),
        ),
        (Json::Object(members), Value::Map(map)) => Json::Object(
            members
                .into_iter()
                .map(|(k, j)| {
                    let v = &map[&k];
                    (k, without_times(j, v))
                })
                .collect(),
        ),
        (Json::Object(members), Value::Record(fields)) => {
            let value = |name: &String| &fields.iter().find(|(known, _)| known == name).unwrap().1;
            Json::Object(
                members
                    .into_iter()
                    .map(|(k, j)| {
                        let v = value(&k);
                        (k, without_times(j, v))
                    })
                    .collect(),
            )
        }
        (
            Json::String(_),
            Value::TimestampMillis(_)
            | Value::TimestampMicros(_)
            | Value::TimestampNanos(_)
            | Value::LocalTimestampMillis(_)
            | Value::LocalTimestampMicros(_)
            | Value::TimeMillis(_)
            | Value::LocalTimestampNanos(_)
            | Value::TimeMicros(_)
            | Value::Date(_),
        ) => Json::from("time"),
        (json, _) => json,
    }
}
