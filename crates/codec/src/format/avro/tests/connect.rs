//! Schemas as Connect's converters write them, and the blocks that come of them.

use super::*;
use crate::format::{AsJson, Format, Purpose};

fn of_schema(schema: &str) -> Option<AsJson> {
    let avro = Avro {
        schema: Some(Arc::new(Schema::parse(schema).unwrap())),
        framed: false,
    };
    AsJson::new(&Format::Avro(avro), Purpose::Change).unwrap()
}

fn block(schema: &str) -> serde_json::Value {
    let block = Schema::parse(schema).unwrap().connect_block().unwrap();
    serde_json::from_str(&block).unwrap()
}

/// The block of a field of this type, without what every field has.
fn field(type_json: &str) -> serde_json::Value {
    let mut block = block(&of_field(type_json));
    let mut field = block["fields"][0].take();
    let members = field.as_object_mut().unwrap();
    assert_eq!(members.remove("field"), Some("f".into()));
    field
}

#[test]
fn a_type_has_the_name_the_parameters_and_the_default_that_connect_gave_it() {
    for (type_json, expected) in [
        (
            r#"{"type":"int","connect.type":"int16"}"#,
            r#"{"type":"int16","optional":false}"#,
        ),
        (
            r#"["null",{"type":"long","connect.version":1,"connect.name":"io.debezium.time.MicroTimestamp"}]"#,
            r#"{"type":"int64","name":"io.debezium.time.MicroTimestamp","optional":true}"#,
        ),
        (
            r#"[{"type":"string","connect.parameters":{"allowed":"a,b"},"connect.default":"a",
                "connect.name":"io.debezium.data.Enum"},"null"]"#,
            r#"{"type":"string","name":"io.debezium.data.Enum","parameters":{"allowed":"a,b"},
                "default":"a","optional":true}"#,
        ),
        (
            r#"{"type":"bytes","scale":2,"precision":10,"connect.parameters":{"scale":"2"},
                "connect.default":"\u0000\u0096","logicalType":"decimal",
                "connect.name":"org.apache.kafka.connect.data.Decimal"}"#,
            r#"{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal",
                "parameters":{"scale":"2"},"default":"AJY=","optional":false}"#,
        ),
        // Without Connect: Avro's own logical types.
        (
            r#"{"type":"bytes","logicalType":"decimal","scale":2,"precision":9}"#,
            r#"{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal",
                "parameters":{"scale":"2","connect.decimal.precision":"9"},"optional":false}"#,
        ),
        (
            r#"{"type":"int","logicalType":"date"}"#,
            r#"{"type":"int32","name":"io.debezium.time.Date","optional":false}"#,
        ),
        (
            r#"{"type":"string","logicalType":"uuid"}"#,
            r#"{"type":"string","name":"io.debezium.data.Uuid","optional":false}"#,
        ),
        (
            r#"{"type":"array","items":["null","int"]}"#,
            r#"{"type":"array","items":{"type":"int32","optional":true},"optional":false}"#,
        ),
        (
            r#"["null","int","string"]"#,
            r#"{"type":"struct","optional":true}"#,
        ),
    ] {
        let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
        assert_eq!(field(type_json), expected, "{type_json}");
    }
}

#[test]
fn a_type_that_is_named_again_is_written_out_again_but_not_for_ever() {
    let schema = r#"{"type":"record","name":"Envelope","namespace":"s.t","fields":[
        {"name":"before","type":["null",{"type":"record","name":"Value","connect.name":"s.t.V","fields":[
            {"name":"at","type":{"type":"long","connect.name":"io.debezium.time.Timestamp"}}]}]},
        {"name":"after","type":["null","Value"]}]}"#;
    let block = block(schema);
    assert_eq!(block["name"], "s.t.Envelope");
    let (before, after) = (&block["fields"][0], &block["fields"][1]);
    assert_eq!(before["fields"], after["fields"]);
    assert_eq!(after["name"], "s.t.V");
    let list = r#"{"type":"record","name":"L","fields":[
        {"name":"one","type":["null","L"]},{"name":"two","type":["null","L"]}]}"#;
    let text = Schema::parse(list).unwrap().connect_block().unwrap();
    assert!(text.len() < 1 << 20, "{}", text.len());
}

#[test]
fn types_are_named_after_topics_whatever_those_are_called() {
    let schema = r#"{"type":"record","name":"Envelope","namespace":"my-shop.public.a","fields":[
        {"name":"before","type":["null",{"type":"record","name":"Value","fields":[
            {"name":"id","type":"int"}]}]},
        {"name":"after","type":["null","my-shop.public.a.Value"]}]}"#;
    let block = block(schema);
    assert_eq!(block["name"], "my-shop.public.a.Envelope");
    assert_eq!(block["fields"][0]["fields"], block["fields"][1]["fields"]);
    for name in ["my-shop", "a.7", "a."] {
        let schema = format!(r#"{{"type":"record","name":"{name}","fields":[]}}"#);
        assert!(Schema::parse(&schema).is_err(), "{name}");
    }
}

#[test]
fn a_record_is_what_connects_json_converter_would_have_written() {
    let schema = r#"{"type":"record","name":"R","fields":[
        {"name":"d","type":{"type":"int","logicalType":"date"}},
        {"name":"t","type":{"type":"long","logicalType":"timestamp-millis"}},
        {"name":"n","type":{"type":"bytes","logicalType":"decimal","scale":2,"precision":9}},
        {"name":"s","type":["null","string"]},{"name":"f","type":"double"}]}"#;
    let mut reader = of_schema(schema).unwrap();
    let mut record = b"\x02\x04\x04\x00\x96\x02\x02\"".to_vec();
    record.extend(f64::NAN.to_le_bytes());
    let json = reader.read(&record, None).unwrap();
    let json: serde_json::Value = serde_json::from_slice(json).unwrap();
    let payload = serde_json::json!({"d": 1, "t": 2, "n": "AJY=", "s": "\"", "f": "NaN"});
    assert_eq!(json["payload"], payload);
    assert_eq!(json["schema"]["type"], "struct");
    record.pop();
    let refused = reader.read(&record, None).unwrap_err();
    assert!(matches!(refused, Unread::Refused(reject) if reject.reason == Reason::InvalidAvro));
}
