//! What is read of both sides, and that a joined record is the event's own members and those added.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::keys::Form;
use super::plan::JoinPlan;
use super::reading::{LeftReader, Right, RightReader};
use super::rendering::{kafka_key, left_payload};
use crate::config::{Config, Kind};
use crate::decode::Reason;
use crate::sink::Stage;
use crate::source::MadeRecord;

/// 2025-11-21T10:01:40Z.
const T: i64 = 1_763_719_300_000;
const T_TEXT: &str = "2025-11-21T10:01:40.000Z";

fn plan_with(more: &str) -> Arc<JoinPlan> {
    let text = format!(
        "[[pipeline]]\nname = \"enriched\"\nkind = \"stream_join\"\ngroup_id = \"g\"\n\
         left.topic = \"l\"\nright.topic = \"r\"\noutput.topic = \"o\"\n{more}"
    );
    let loaded = Config::parse(&text, "config.toml", Path::new("/"), []);
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    match &loaded.config.pipelines[0].kind {
        Kind::StreamJoin(config) => Arc::new(JoinPlan::new(config).expect("paths are right")),
        other => panic!("not a join: {other:?}"),
    }
}

/// Two fields, one of them nested.
fn plan() -> Arc<JoinPlan> {
    plan_with("[pipeline.right.fields]\nuser_email = \"$.email\"\ncity = \"$.address.city\"\n")
}

fn made(value: Option<&[u8]>) -> MadeRecord<'_> {
    MadeRecord::new(Some(b"kafka key"), value, T, 7)
}

/// An owned [`Left`].
type Event = (i64, Option<String>, String);

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("texts are UTF-8")
}

fn event(reader: &mut LeftReader, value: &[u8]) -> Result<Event, (Stage, Reason)> {
    let made = made(Some(value));
    let left = reader.read(made.record());
    let left = left.map_err(|refusal| (refusal.stage, refusal.reject.reason))?;
    Ok((left.time_ms, left.key.map(text), text(left.own)))
}

#[test]
fn a_side_has_the_time_of_its_records_or_of_what_is_declared_of_its_texts() {
    let time = |more: &str, value: &str| {
        let mut reader = LeftReader::new(plan_with(more));
        event(&mut reader, value.as_bytes()).map(|(time_ms, ..)| time_ms)
    };
    assert_eq!(
        time("left.time_field = { from = \"timestamp\" }\n", "{}"),
        Ok(T)
    );
    let nested = "left.time_field = \"$.meta.at\"\n";
    let value = format!(r#"{{"meta":{{"at":"{T_TEXT}"}}}}"#);
    assert_eq!(time(nested, &value), Ok(T));
    let declared = "time_zone = \"Europe/Berlin\"\nleft.time_format = \"%d.%m.%Y %H:%M:%S\"\n";
    let value = r#"{"timestamp":"21.11.2025 11:01:40"}"#;
    assert_eq!(time(declared, value), Ok(T));
    assert!(time("", value).is_err());
}

fn own(value: &str) -> String {
    let (_, _, own) = event(&mut LeftReader::new(plan()), value.as_bytes()).expect(value);
    own
}

/// Key and members of a right record.
fn profile(value: &str) -> Result<(Option<String>, String), (Stage, Reason)> {
    let mut reader = RightReader::new(plan());
    let made = made(Some(value.as_bytes()));
    match reader.read(made.record()) {
        Ok(Right::Record { key, members, .. }) => Ok((key.map(text), text(members))),
        Ok(other) => panic!("{other:?}"),
        Err(refusal) => Err((refusal.stage, refusal.reject.reason)),
    }
}

#[test]
fn an_events_own_members_stay_byte_for_byte_without_what_stands_around_them() {
    let event =
        r#"{"timestamp":1763719300000,"user_id":"u","price":1.50, "x" : [1.0,1.00] ,"x":1e2}"#;
    let inner = event.trim_matches(['{', '}']);
    assert_eq!(own(event), inner);
    assert_eq!(own(&format!("\u{feff} \t\r\n{event}\n ")), inner);
    let spaced = "{ \n\"timestamp\" : \"2025-11-21 10:01:40\"\t}";
    assert_eq!(own(spaced), "\"timestamp\" : \"2025-11-21 10:01:40\"");
}

#[test]
fn the_key_is_the_text_of_a_scalar() {
    let mut reader = LeftReader::new(plan());
    for (json, key) in [
        ("\"a\\u00e9\\n\"", Some("aé\n")),
        ("42", Some("42")),
        ("1.50", Some("1.50")),
        ("true", Some("true")),
        ("\"\"", Some("")),
        ("null", None),
    ] {
        let value = format!("{{\"user_id\":{json},\"timestamp\":{T}}}");
        let (time_ms, found, _) = event(&mut reader, value.as_bytes()).expect(json);
        assert_eq!((time_ms, found.as_deref()), (T, key), "{json}");
    }
    let value = format!("{{\"timestamp\":{T}}}");
    assert_eq!(
        event(&mut reader, value.as_bytes()).expect("no key").1,
        None
    );
}

/// What neither side takes, TIME standing for the name of the time field.
fn refused() -> Vec<(Vec<u8>, Reason)> {
    let deep = format!(
        "{{\"TIME\":{T},\"a\":{}{}}}",
        "[".repeat(256),
        "]".repeat(256)
    );
    let late = T + 3_600_001;
    let texts = [
        (String::new(), Reason::InvalidJson),
        (format!("{{\"TIME\":{T}"), Reason::InvalidJson),
        (format!("{{\"TIME\":{T}}}x"), Reason::InvalidJson),
        (deep, Reason::TooDeep),
        ("[1]".to_owned(), Reason::NotAnObject),
        ("{}".to_owned(), Reason::MissingField),
        ("{\"TIME\":null}".to_owned(), Reason::MissingField),
        ("{\"TIME\":\"now\"}".to_owned(), Reason::InvalidValue),
        ("{\"TIME\":1.5}".to_owned(), Reason::InvalidValue),
        ("{\"TIME\":-2208988800001}".to_owned(), Reason::OutOfRange),
        (
            "{\"TIME\":\"2300-01-01T00:00:00\"}".to_owned(),
            Reason::OutOfRange,
        ),
        (format!("{{\"TIME\":{late}}}"), Reason::TooFarAhead),
        (
            format!("{{\"TIME\":{T},\"user_id\":{{}}}}"),
            Reason::InvalidValue,
        ),
        (
            format!("{{\"TIME\":{T},\"user_id\":[1]}}"),
            Reason::InvalidValue,
        ),
        (
            format!("{{\"TIME\":{T},\"user_id\":\"\\ud800\"}}"),
            Reason::InvalidValue,
        ),
    ];
    let mut cases: Vec<_> = texts
        .into_iter()
        .map(|(t, r)| (t.into_bytes(), r))
        .collect();
    cases.push((b"{\"a\":\"\xff\"}".to_vec(), Reason::InvalidJson));
    cases
}

fn stage(reason: Reason) -> Stage {
    match reason {
        Reason::InvalidJson | Reason::TooDeep | Reason::NotAnObject | Reason::NullValue => {
            Stage::Decode
        }
        _ => Stage::Operate,
    }
}

#[test]
fn what_cannot_be_joined_has_its_reason_on_either_side() {
    let (mut left, mut right) = (LeftReader::new(plan()), RightReader::new(plan()));
    for (value, reason) in refused() {
        let named = |name: &[u8]| match value.windows(4).position(|part| part == b"TIME") {
            Some(at) => [&value[..at], name, &value[at + 4..]].concat(),
            None => value.clone(),
        };
        let (shown, expected) = (value.escape_ascii(), Some((stage(reason), reason)));
        let found = event(&mut left, &named(b"timestamp")).err();
        assert_eq!(found, expected, "left {shown}");
        let profile = named(b"updated_at");
        let record = made(Some(&profile));
        let refusal = right.read(record.record()).err();
        let found = refusal.map(|refusal| (refusal.stage, refusal.reject.reason));
        assert_eq!(found, expected, "right {shown}");
    }
    let nothing = made(None);
    let refusal = left.read(nothing.record()).expect_err("no value");
    assert_eq!(refusal.reject.reason, Reason::NullValue);
    let limit = format!("{{\"timestamp\":{}}}", T + 3_600_000);
    assert!(
        event(&mut left, limit.as_bytes()).is_ok(),
        "just not too far"
    );
}

#[test]
fn fields_of_the_right_side_become_texts_and_nulls() {
    let of = |email: &str, address: &str| {
        let value = format!(
            "{{\"user_id\":1,\"updated_at\":\"2025-11-21T11:01:40.0009+01:00\",\"email\":{email},\
             \"address\":{address}}}"
        );
        profile(&value)
    };
    let members = |email: &str, city: &str| {
        let times = format!("\"profile_updated_at\":\"{T_TEXT}\"");
        let text = format!("\"user_email\":{email},\"city\":{city},{times}");
        Ok((Some("1".to_owned()), text))
    };
    for (email, address, expected) in [
        (
            "\"a@b\"",
            "{\"city\":\"Bergen\"}",
            members("\"a@b\"", "\"Bergen\""),
        ),
        ("null", "{}", members("null", "null")),
        (
            "{ \"a\":[1.0] }",
            "{\"city\":[]}",
            members("{ \"a\":[1.0] }", "[]"),
        ),
        ("1.50", "[]", members("\"1.50\"", "null")),
        ("false", "{\"city\":null}", members("\"false\"", "null")),
        (
            "\"\\\"\\\\\\u0000\\u00e9\\ud83d\\ude00\"",
            "7",
            members("\"\\\"\\\\\\u0000\\u00e9\\ud83d\\ude00\"", "null"),
        ),
    ] {
        assert_eq!(of(email, address), expected, "{email} {address}");
    }
    let refused = Err((Stage::Operate, Reason::InvalidValue));
    assert_eq!(of("\"\\udc00\"", "{}"), refused);
}

#[test]
fn a_right_record_without_value_ends_its_key_at_its_kafka_timestamp() {
    let mut reader = RightReader::new(plan());
    let nothing = made(None);
    let expected = Right::Tombstone {
        time_ms: T,
        key: Some(b"kafka key"),
        form: Some(Form::Text),
    };
    assert_eq!(reader.read(nothing.record()).expect("taken"), expected);
    for key in [
        "7",
        "\"7\"",
        "\"\\u0037\"",
        "{\"user_id\":7}",
        "{ \"a\":{}, \"user_id\" : \"7\"}",
        "{\"schema\":{},\"payload\":{\"user_id\":7}}",
    ] {
        let tombstone = MadeRecord::new(Some(key.as_bytes()), None, T, 7);
        match reader.read(tombstone.record()).expect("taken") {
            Right::Tombstone { key: text, .. } => assert_eq!(text, Some(&b"7"[..]), "{key}"),
            other => panic!("{other:?}"),
        }
    }
    let null = made(Some(b"null"));
    let refusal = reader
        .read(null.record())
        .expect_err("JSON's null is no object");
    assert_eq!(refusal.reject.reason, Reason::NotAnObject);
}

fn rendered(plan: &JoinPlan, key: Option<&[u8]>, own: &str, right: Option<&str>) -> String {
    let (mut payload, mut out) = (vec![], vec![]);
    left_payload(key, own.as_bytes(), None, &mut payload);
    assert_eq!(kafka_key(&payload), key);
    plan.render(
        &payload,
        right.map(str::as_bytes),
        &plan.ending(T),
        &mut out,
    );
    text(&out)
}

#[test]
fn a_joined_record_is_one_object() {
    let plan = plan();
    let joined = format!("\"join_timestamp\":\"{T_TEXT}\"");
    let none = "\"user_email\":null,\"city\":null,\"profile_updated_at\":null";
    for key in [None, Some(&b""[..]), Some(b"k\0\xff")] {
        assert_eq!(
            rendered(&plan, key, "", None),
            format!("{{{none},{joined}}}")
        );
        assert_eq!(
            rendered(&plan, key, "\"a\":1.00", Some("\"p\":2")),
            format!("{{\"a\":1.00,\"p\":2,{joined}}}")
        );
    }
    let times = [
        (-1, "1969-12-31T23:59:59.999Z"),
        (0, "1970-01-01T00:00:00.000Z"),
    ];
    for (epoch_ms, expected) in times {
        let mut out = vec![];
        super::rendering::append_time(epoch_ms, &mut out);
        assert_eq!(text(&out), format!("\"{expected}\""));
    }
}

#[test]
fn an_events_own_member_of_an_added_name_gives_way() {
    for (event, expected) in [
        (
            r#"{"city":{"a":[1,"}"]},"timestamp":1,"b":2}"#,
            r#""timestamp":1,"b":2"#,
        ),
        (
            r#"{"timestamp":1, "b" : "x," , "city" : "," }"#,
            r#""timestamp":1,"b" : "x,""#,
        ),
        (
            r#"{"timestamp":1,"c\u0069ty":1,"city":2,"\ud800":3}"#,
            r#""timestamp":1,"\ud800":3"#,
        ),
        (
            r#"{"join_timestamp":null,"timestamp":1}"#,
            r#""timestamp":1"#,
        ),
        (r#"{"City":1,"timestamp":1}"#, r#""City":1,"timestamp":1"#),
        (
            r#"{"a":{"city":1},"timestamp":1}"#,
            r#""a":{"city":1},"timestamp":1"#,
        ),
    ] {
        assert_eq!(own(event), expected, "{event}");
    }
    let shared = plan_with("[pipeline.right.fields]\ntimestamp = \"$.t\"\nuser_id = \"$.u\"\n");
    let mut reader = LeftReader::new(shared);
    let value = format!("{{\"user_id\":5,\"a\":1,\"timestamp\":{T}}}");
    let read = event(&mut reader, value.as_bytes()).expect("read all the same");
    assert_eq!(read, (T, Some("5".to_owned()), "\"a\":1".to_owned()));
}

#[test]
fn an_event_without_match_keeps_its_own_members_of_added_names() {
    let plan = plan();
    let mut reader = LeftReader::new(plan.clone());
    let value =
        format!("{{\"city\":{{\"a\":1}},\"timestamp\":{T},\"join_timestamp\":1,\"city\":\"B\"}}");
    let record = made(Some(value.as_bytes()));
    let left = reader.read(record.record()).expect("an event");
    for key in [None, Some(&b"k"[..])] {
        let mut payload = vec![];
        left_payload(key, left.own, left.unmatched, &mut payload);
        assert_eq!(kafka_key(&payload), key);
        let mut out = vec![];
        plan.render(&payload, None, &plan.ending(T), &mut out);
        let joined: Value = serde_json::from_slice(&out).expect("JSON");
        let expected = json!({
            "timestamp": T, "city": "B", "user_email": null, "profile_updated_at": null,
            "join_timestamp": T_TEXT,
        });
        assert_eq!(joined, expected);
        out.clear();
        plan.render(&payload, Some(b"\"city\":\"C\""), &plan.ending(T), &mut out);
        let expected =
            format!("{{\"timestamp\":{T},\"city\":\"C\",\"join_timestamp\":\"{T_TEXT}\"}}");
        assert_eq!(text(&out), expected);
    }
}

#[test]
fn names_with_quotes_are_written_as_json() {
    let plan = plan_with(
        "output.join_time_field = \"at \\\"it\\\"\"\n[pipeline.right.fields]\n\"é\\\"\" = \"$.x\"\n",
    );
    let joined: Value = serde_json::from_str(&rendered(&plan, None, "", None)).expect("JSON");
    assert_eq!(
        joined,
        json!({"é\"": null, "profile_updated_at": null, "at \"it\"": T_TEXT})
    );
}

#[test]
fn warm_readers_and_rendering_keep_their_buffers() {
    let plan = plan();
    let (mut left, mut right) = (
        LeftReader::new(plan.clone()),
        RightReader::new(plan.clone()),
    );
    let event = format!("{{\"user_id\":\"\\u0031\",\"city\":\"x\",\"timestamp\":{T},\"b\":[1,2]}}");
    let value = format!("{{\"user_id\":\"\\u0031\",\"updated_at\":{T},\"email\":\"a\\n\"}}");
    let mut sizes = vec![];
    for _ in 0..3 {
        let record = made(Some(event.as_bytes()));
        left.read(record.record()).expect("an event");
        let record = made(Some(value.as_bytes()));
        right.read(record.record()).expect("a profile");
        sizes.push((left.memory_bytes(), right.memory_bytes()));
    }
    assert!(sizes[0].0 > 0 && sizes[0].1 > 0);
    assert!(sizes.iter().all(|size| *size == sizes[0]), "{sizes:?}");
}

/// Any JSON, with names among which are the added ones.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC*".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            any_members(inner).prop_map(Value::Object),
        ]
    })
}

fn any_members(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    let name = prop_oneof![
        4 => any::<String>(),
        1 => prop::sample::select(vec![
            "user_email", "city", "profile_updated_at", "join_timestamp", "email", "address",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec((name, value), 0..8).prop_map(|members| members.into_iter().collect())
}

/// What a joined record has of a right value: scalars as text.
fn as_member(value: Option<&Value>) -> Value {
    match value {
        None | Some(Value::Null) => Value::Null,
        Some(Value::String(text)) => text.as_str().into(),
        // Read back, as the whole left record is.
        Some(container @ (Value::Object(_) | Value::Array(_))) => {
            serde_json::from_str(&container.to_string()).expect("JSON")
        }
        Some(scalar) => scalar.to_string().into(),
    }
}

proptest! {
    #[test]
    fn whatever_the_records_the_joined_one_is_their_members(
        mut left in any_members(any_json()),
        mut right in any_members(any_json()),
        key in any::<Option<Vec<u8>>>(),
        is_pretty in any::<bool>(),
        is_matched in any::<bool>(),
    ) {
        left.insert("timestamp".to_owned(), T.into());
        left.remove("user_id");
        right.insert("updated_at".to_owned(), T_TEXT.into());
        right.remove("user_id");
        let print = if is_pretty { serde_json::to_vec_pretty } else { serde_json::to_vec };
        let (left_json, right_json) = (print(&left).unwrap(), print(&right).unwrap());
        // Read back, because the comparison's own reader does not keep every float's last digit.
        left = serde_json::from_slice(&left_json).unwrap();

        let plan = plan();
        let mut reader = RightReader::new(plan.clone());
        let record = made(Some(&right_json));
        let city = right.get("address").and_then(|a| a.as_object()).and_then(|a| a.get("city"));
        let texts = (as_member(right.get("email")), as_member(city));
        let members = match reader.read(record.record()) {
            Ok(Right::Record { members, .. }) => members.to_vec(),
            other => panic!("{other:?} of {right:?}"),
        };

        let mut reader = LeftReader::new(plan.clone());
        let record = made(Some(&left_json));
        let event = reader.read(record.record()).expect("an event");
        let (mut payload, mut out) = (vec![], b"before".to_vec());
        left_payload(key.as_deref(), event.own, event.unmatched, &mut payload);
        prop_assert_eq!(kafka_key(&payload), key.as_deref());
        plan.render(&payload, is_matched.then_some(&members), &plan.ending(T), &mut out);

        let joined: Map<String, Value> = serde_json::from_slice(&out[6..]).expect("JSON");
        let mut expected = left;
        let (email, city) = texts;
        let added = [
            ("user_email", email),
            ("city", city),
            ("profile_updated_at", T_TEXT.into()),
        ];
        for (name, value) in added {
            let own = expected.entry(name).or_insert(Value::Null);
            if is_matched {
                *own = value;
            }
        }
        expected.insert("join_timestamp".to_owned(), T_TEXT.into());
        prop_assert_eq!(joined, expected);
    }
}
