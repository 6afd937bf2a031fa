//! Shapes, bytes, names, numbers, keys and headers of our own.

use sandbox::topic::Record;

use crate::hostile::case::{Case, Expected, check, dead, event, row};
use crate::support::EVENT_TIME_MS;

#[test]
fn odd_shapes_bytes_and_numbers() {
    let mut cases = shapes();
    cases.extend(bytes());
    cases.extend(numbers());
    check("own", &cases);
}

#[test]
fn a_byte_that_is_no_utf8_anywhere_in_an_event() {
    let event = event("e", r#","referrer":"é","properties":{"a":[1,true]}"#).into_bytes();
    let spoiled = |at: usize, bytes: &[u8]| [&event[..at], bytes, &event[at..]].concat();
    let mut cases = vec![];
    for at in 0..=event.len() {
        cases.push(Case::new(
            format!("ff at {at}"),
            spoiled(at, b"\xff"),
            dead("invalid_json"),
        ));
        let surrogate = spoiled(at, b"\xed\xa0\x80");
        cases.push(Case::new(
            format!("a surrogate's bytes at {at}"),
            surrogate,
            dead("invalid_json"),
        ));
    }
    check("utf8", &cases);
}

#[test]
fn keys_headers_and_records_without_a_value() {
    let mut cases = vec![];
    let plain = || Case::new("", event("plain", ""), row("event_id", "plain"));
    let garbage: Vec<u8> = (0..=255).collect();
    for (name, key) in [
        ("no key", None),
        ("an empty key", Some(vec![])),
        ("a key of every byte", Some(garbage.clone())),
    ] {
        let mut accepted = plain();
        accepted.record.key.clone_from(&key);
        accepted.name = format!("{name}, accepted");
        let mut refused = Case::new(format!("{name}, refused"), "x", dead("invalid_json"));
        refused.record.key.clone_from(&key);
        let mut tombstone = Case::new(format!("{name}, no value"), "", dead("null_value"));
        tombstone.record.key = key;
        tombstone.record.value = None;
        cases.extend([accepted, refused, tombstone]);
    }
    let odd: [(&str, Option<&[u8]>); 5] = [
        ("null", None),
        ("empty", Some(b"")),
        ("binary", Some(&garbage)),
        ("streamweir-reason", Some(b"none of yours")),
        ("", Some(b"a header without a name")),
    ];
    for (name, value) in odd {
        let with_header = |mut case: Case, what: &str| {
            case.record.headers = vec![(name.to_owned(), value.map(<[u8]>::to_vec)); 2];
            case.name = format!("header {name:?}, {what}");
            case
        };
        cases.push(with_header(plain(), "accepted"));
        if name != "streamweir-reason" {
            cases.push(with_header(
                Case::new("", "{", dead("invalid_json")),
                "refused",
            ));
        }
    }
    let many = (0..500).fold(Record::new("["), |record, n| {
        record.header(&format!("h{n}"), vec![0xff; 100])
    });
    let mut case = Case::new("500 headers", "[", dead("invalid_json"));
    case.record = many.timestamp_ms(EVENT_TIME_MS);
    cases.push(case);
    check("keys", &cases);
}

fn shapes() -> Vec<Case> {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let objects = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let with = |members: String| event("shape", &members);
    let mut cases = vec![
        Case::new(
            "100,000 arrays",
            with(format!(",\"other\":{}", nested(100_000))),
            dead("too_deep"),
        ),
        Case::new(
            "100,000 objects",
            with(format!(",\"properties\":{}", objects(100_000))),
            dead("too_deep"),
        ),
        Case::new(
            "100,000 arrays without end",
            "[".repeat(100_000),
            dead("too_deep"),
        ),
        Case::new(
            "257 levels",
            with(format!(",\"other\":{}", nested(256))),
            dead("too_deep"),
        ),
        Case::new(
            "256 levels",
            with(format!(",\"properties\":{}", objects(255))),
            row("properties", objects(255)),
        ),
        Case::new(
            "an array as a text",
            with(r#","referrer":["a"]"#.into()),
            dead("invalid_value"),
        ),
        Case::new(
            "an object as a text",
            with(r#","city":{"a":1}"#.into()),
            dead("invalid_value"),
        ),
        Case::new(
            "an array as a number",
            with(r#","user_id":[1]"#.into()),
            dead("invalid_value"),
        ),
        Case::new(
            "an array as a time",
            event("t", "").replace(&EVENT_TIME_MS.to_string(), "[1]"),
            dead("invalid_value"),
        ),
        Case::new(
            "an array as properties",
            with(r#","properties":[]"#.into()),
            dead("invalid_value"),
        ),
        Case::new(
            "two events",
            [event("a", ""), event("b", "")].concat(),
            dead("invalid_json"),
        ),
        Case::new("nothing", "", dead("invalid_json")),
        Case::new("white space", " \t\r\n", dead("invalid_json")),
        Case::new("an empty object", "{}", dead("missing_field")),
        Case::new(
            "an array of events",
            format!("[{}]", event("a", "")),
            dead("not_an_object"),
        ),
    ];
    let unknown: String = (0..10_000)
        .map(|n| format!(",\"unknown {n}\":{{\"{n}\":[]}}"))
        .collect();
    cases.push(Case::new(
        "10,000 unknown fields",
        with(unknown),
        row("event_id", "shape"),
    ));
    let again: String = (0..10_000).map(|n| format!(",\"referrer\":{n}")).collect();
    cases.push(Case::new(
        "10,000 times one name",
        with(again),
        row("referrer", "9999"),
    ));
    let doubles = [
        (
            "the last of two names",
            r#","city":[],"city":"b""#,
            row("city", "b"),
        ),
        (
            "an escaped name is the same",
            r#","city":"a","c\u0069ty":"b""#,
            row("city", "b"),
        ),
        ("null last", r#","city":"a","city":null"#, row("city", "")),
        (
            "a wrong value last",
            r#","city":"a","city":{}"#,
            dead("invalid_value"),
        ),
        (
            "a required field is null last",
            r#","event_type":null"#,
            dead("missing_field"),
        ),
        (
            "properties twice",
            r#","properties":1,"properties":{"a":1,"a":2}"#,
            row("properties", r#"{"a":1,"a":2}"#),
        ),
    ];
    cases.extend(
        doubles
            .map(|(name, members, expected)| Case::new(name, event("double", members), expected)),
    );
    cases
}

fn bytes() -> Vec<Case> {
    let marked = |marks: usize| ["\u{feff}".repeat(marks), event("marked", "")].concat();
    let cases: Vec<(&str, Vec<u8>, Expected)> = vec![
        (
            "one byte order mark",
            marked(1).into(),
            row("event_id", "marked"),
        ),
        (
            "two byte order marks",
            marked(2).into(),
            dead("invalid_json"),
        ),
        (
            "a byte order mark alone",
            "\u{feff}".into(),
            dead("invalid_json"),
        ),
        (
            "a byte order mark behind",
            [event("a", ""), "\u{feff}".into()].concat().into(),
            dead("invalid_json"),
        ),
        (
            "an escaped zero byte",
            event("a\\u0000b", "").into(),
            row("event_id", "a\0b"),
        ),
        (
            "a zero byte in a text",
            event("a\0b", "").into(),
            dead("invalid_json"),
        ),
        (
            "a zero byte before",
            format!("\0{}", event("a", "")).into(),
            dead("invalid_json"),
        ),
        (
            "a zero byte behind",
            format!("{}\0", event("a", "")).into(),
            dead("invalid_json"),
        ),
        (
            "a million zero bytes",
            vec![0; 1_000_000],
            dead("invalid_json"),
        ),
        (
            "a delete character",
            event("\u{7f}", "").into(),
            row("event_id", "\u{7f}"),
        ),
        (
            "the last character",
            event("\u{10ffff}", "").into(),
            row("event_id", "\u{10ffff}"),
        ),
        (
            "the same escaped",
            event("\\udbff\\uDFFF", "").into(),
            row("event_id", "\u{10ffff}"),
        ),
        (
            "a lone surrogate in a text",
            event("\\ud800", "").into(),
            dead("invalid_value"),
        ),
        (
            "a lone low one",
            event("\\udc00x", "").into(),
            dead("invalid_value"),
        ),
        (
            "two high ones",
            event("\\ud800\\ud800", "").into(),
            dead("invalid_value"),
        ),
        (
            "one in a field nobody takes",
            event("a", r#","x\ud800":"\udc00""#).into(),
            row("event_id", "a"),
        ),
        (
            "one inside properties",
            event("a", r#","properties":{"\ud800":"\udfff"}"#).into(),
            row("properties", r#"{"\ud800":"\udfff"}"#),
        ),
        (
            "UTF-16",
            event("a", "")
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect(),
            dead("invalid_json"),
        ),
        (
            "what looks like a statement",
            event("'); DROP TABLE clickstream_events; --", "").into(),
            row("event_id", "'); DROP TABLE clickstream_events; --"),
        ),
        (
            "tabs and line ends",
            event("\\t\\n\\r\\\\N", "").into(),
            row("event_id", "\t\n\r\\N"),
        ),
    ];
    cases
        .into_iter()
        .map(|(name, value, expected)| Case::new(name, value, expected))
        .collect()
}

fn numbers() -> Vec<Case> {
    let user_ids = [
        (
            "18446744073709551615",
            row("user_id", "18446744073709551615"),
        ),
        ("18446744073709551616", dead("out_of_range")),
        (
            "\"18446744073709551615\"",
            row("user_id", "18446744073709551615"),
        ),
        (
            "\"00000000000000000000000000000000000000001\"",
            row("user_id", "1"),
        ),
        ("9223372036854775808", row("user_id", "9223372036854775808")),
        (
            "340282366920938463463374607431768211456",
            dead("out_of_range"),
        ),
        ("-1", dead("out_of_range")),
        ("-9223372036854775809", dead("out_of_range")),
        ("-0", row("user_id", "0")),
        ("1e3", dead("invalid_value")),
        ("1e999999999999", dead("invalid_value")),
        ("1.0", dead("invalid_value")),
        ("0.1e1", dead("invalid_value")),
        ("\"0x10\"", dead("invalid_value")),
        ("\" 1\"", dead("invalid_value")),
        ("\"+1\"", dead("invalid_value")),
        ("\"١\"", dead("invalid_value")),
        ("\"\"", dead("invalid_value")),
        ("true", dead("invalid_value")),
        ("01", dead("invalid_json")),
        ("+1", dead("invalid_json")),
        ("1_000", dead("invalid_json")),
        ("NaN", dead("invalid_json")),
        ("-Infinity", dead("invalid_json")),
        (".5", dead("invalid_json")),
    ];
    let case = |(number, expected): (&str, Expected)| {
        Case::new(
            format!("user_id {number}"),
            event("n", &format!(",\"user_id\":{number}")),
            expected,
        )
    };
    let texts = [
        "1e999999999",
        "-1.7976931348623159e308",
        "4e-400",
        "1.500",
        "-0",
    ];
    let text = |number: &str| {
        Case::new(
            format!("referrer {number}"),
            event("n", &format!(",\"referrer\":{number}")),
            row("referrer", number),
        )
    };
    user_ids
        .into_iter()
        .map(case)
        .chain(texts.map(text))
        .collect()
}
