//! Generated schemas and values, written by `apache-avro` and read by both.

use super::*;
use crate::fuzzing::avro::{json_of, without_times};

/// A type as JSON, and values of it. `names` keeps named types apart.
fn type_and_value(depth: u32) -> BoxedStrategy<(String, Value)> {
    let long = |logical: &'static str, of: fn(i64) -> Value| {
        let json = format!(r#"{{"type":"long","logicalType":"{logical}"}}"#);
        any::<i64>().prop_map(move |n| (json.clone(), of(n)))
    };
    let leaf = prop_oneof![
        Just(("\"null\"".to_owned(), Value::Null)),
        any::<bool>().prop_map(|b| ("\"boolean\"".to_owned(), Value::Boolean(b))),
        any::<i32>().prop_map(|n| ("\"int\"".to_owned(), Value::Int(n))),
        any::<i64>().prop_map(|n| ("\"long\"".to_owned(), Value::Long(n))),
        any::<f32>().prop_map(|n| ("\"float\"".to_owned(), Value::Float(n))),
        any::<f64>().prop_map(|n| ("\"double\"".to_owned(), Value::Double(n))),
        ".{0,8}".prop_map(|s| ("\"string\"".to_owned(), Value::String(s))),
        prop::collection::vec(any::<u8>(), 0..8)
            .prop_map(|b| ("\"bytes\"".to_owned(), Value::Bytes(b))),
        long("timestamp-millis", Value::TimestampMillis),
        long("timestamp-micros", Value::TimestampMicros),
        long("local-timestamp-nanos", Value::LocalTimestampNanos),
        long("time-micros", Value::TimeMicros),
        any::<i32>().prop_map(|n| (
            r#"{"type":"int","logicalType":"date"}"#.to_owned(),
            Value::Date(n)
        )),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let inner = move || type_and_value(depth - 1);
    prop_oneof![
        4 => leaf,
        1 => inner().prop_map(|(json, value)| {
            (format!(r#"{{"type":"array","items":{json}}}"#), Value::Array(vec![value.clone(), value]))
        }),
        1 => (inner(), ".{0,4}").prop_map(|((json, value), name)| {
            let map = [(name, value)].into_iter().collect();
            (format!(r#"{{"type":"map","values":{json}}}"#), Value::Map(map))
        }),
        1 => (inner(), any::<bool>())
            .prop_filter("no union in a union", |((json, _), _)| !json.starts_with('[') && json != "\"null\"")
            .prop_map(|((json, value), is_null)| {
                let union = match is_null {
                    true => Value::Union(0, Box::new(Value::Null)),
                    false => Value::Union(1, Box::new(value)),
                };
                (format!(r#"["null",{json}]"#), union)
            }),
        1 => (prop::collection::vec(inner(), 0..4), any::<u64>()).prop_map(|(fields, name)| record(&fields, name)),
    ]
    .boxed()
}

fn record(fields: &[(String, Value)], name: u64) -> (String, Value) {
    let of =
        |(n, (json, _)): (usize, &(String, Value))| format!(r#"{{"name":"f{n}","type":{json}}}"#);
    let json: Vec<String> = fields.iter().enumerate().map(of).collect();
    let value = fields
        .iter()
        .enumerate()
        .map(|(n, (_, value))| (format!("f{n}"), value.clone()));
    (
        format!(
            r#"{{"type":"record","name":"R{name}","fields":[{}]}}"#,
            json.join(",")
        ),
        Value::Record(value.collect()),
    )
}

fn whole(schema: &str, record: &[u8]) -> Result<String, String> {
    let row = row_of(schema, &[("$", "String")], record)?;
    let prefix = row.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    Ok(String::from_utf8(row[prefix..].to_vec()).unwrap())
}

fn written(schema: &Parsed, value: Value) -> Vec<u8> {
    apache_avro::writer::datum::GenericDatumWriter::builder(schema)
        .build()
        .unwrap()
        .write_value_to_vec(value)
        .unwrap()
}

proptest! {
    #[test]
    fn a_generated_record_reads_as_apache_avro_wrote_it(
        fields in prop::collection::vec(type_and_value(3), 0..5),
    ) {
        let (schema, value) = record(&fields, 0);
        let parsed = Parsed::parse_str(&schema);
        // Two generated records may have one name.
        prop_assume!(parsed.is_ok());
        let parsed = parsed.unwrap();
        let bytes = written(&parsed, value.clone());
        let json: serde_json::Value = serde_json::from_str(&whole(&schema, &bytes).unwrap()).unwrap();
        prop_assert_eq!(without_times(json, &value), json_of(&value));
        // The walk that keeps nothing ends at the same byte.
        prop_assert_eq!(row_of(&schema, &[], &bytes), Ok(vec![]));
        let longer = [&bytes[..], b"\0"].concat();
        prop_assert!(row_of(&schema, &[], &longer).is_err());
    }

    #[test]
    fn bytes_are_refused_or_read_as_apache_avro_reads_them(
        fields in prop::collection::vec(type_and_value(2), 0..4),
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let (schema, _) = record(&fields, 0);
        let parsed = Parsed::parse_str(&schema);
        prop_assume!(parsed.is_ok());
        let parsed = parsed.unwrap();
        let ours = whole(&schema, &bytes);
        prop_assert_eq!(ours.is_ok(), row_of(&schema, &[], &bytes).is_ok());
        if let Ok(json) = ours {
            let reader = apache_avro::reader::datum::GenericDatumReader::builder(&parsed).build().unwrap();
            let mut rest = &bytes[..];
            let value = reader.read_value(&mut rest).unwrap();
            prop_assert!(rest.is_empty());
            let json: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(without_times(json, &value), json_of(&value));
        }
    }
}
