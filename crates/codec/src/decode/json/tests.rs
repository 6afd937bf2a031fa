//! The scanner against serde_json on arbitrary texts, and against tables of cases decided by hand.

use std::collections::HashMap;

use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::*;
use crate::decode::text::{append_json, to_text};
use crate::decode::{Path, Reason};

const PATHS: [&str; 5] = ["$.a", "$.page", "$.page.a", "$.page.url", "$.a"];

fn scanner(paths: &[&str]) -> Scanner {
    let paths: Vec<Path> = paths
        .iter()
        .map(|path| Path::parse(path).unwrap())
        .collect();
    Scanner::new(Plan::new(&paths))
}

fn json_text(raw: Raw<'_>) -> Option<String> {
    let mut text = Vec::new();
    append_json(raw, &mut text);
    (raw.kind() != Kind::Absent).then(|| String::from_utf8(text).unwrap())
}

/// JSON texts of the values in [`PATHS`], or why there are none.
fn scan(scanner: &mut Scanner, record: &[u8]) -> Result<Vec<Option<String>>, Reason> {
    let fields = scanner.scan(Some(record)).map_err(|reject| reject.reason)?;
    Ok((0..fields.len())
        .map(|slot| json_text(fields.get(slot)))
        .collect())
}

/// What [`scan`] must say, by serde_json, which takes lone surrogates where it ignores values.
fn reference(record: &[u8]) -> Result<Vec<Option<String>>, Reason> {
    let text = str::from_utf8(record).map_err(|_| Reason::InvalidJson)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_json::from_str::<IgnoredAny>(text).map_err(|_| Reason::InvalidJson)?;
    type Object<'a> = HashMap<String, &'a RawValue>;
    let object: Object<'_> = serde_json::from_str(text).map_err(|_| Reason::NotAnObject)?;
    let page: Object<'_> = object
        .get("page")
        .and_then(|page| serde_json::from_str(page.get()).ok())
        .unwrap_or_default();
    let found = [
        object.get("a"),
        object.get("page"),
        page.get("a"),
        page.get("url"),
        object.get("a"),
    ];
    Ok(found
        .map(|value| value.map(|value| value.get().to_owned()))
        .to_vec())
}

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![6 => Just(""), 2 => Just(" "), 1 => Just("\t\r\n "), 1 => Just("  ")]
}

fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z ]{0,20}",
        1 => "[é京😀\u{7f}]{1,3}",
        1 => prop::sample::select(vec!["\\n", "\\\"", "\\\\", "\\/", "\\b\\f\\r\\t"]).prop_map(String::from),
        1 => "\\\\u[0-9a-fA-F]{4}",
        1 => "\\\\ud[89ab][0-9a-f]{2}\\\\ud[c-f][0-9a-f]{2}",
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        string(),
        "-?(0|[1-9][0-9]{0,8})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?",
        prop::sample::select(vec!["true", "false", "null", "{}", "[]", "{ }", "[\n]"])
            .prop_map(String::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        let padded =
            (space(), inner.clone(), space()).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
        let array =
            prop::collection::vec(padded, 1..5).prop_map(|all| format!("[{}]", all.join(",")));
        prop_oneof![array, object_of(inner)]
    })
}

fn object_of(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let names = vec![
        "a",
        "\\u0061",
        "b",
        "page",
        "url",
        "p\\u0061ge",
        "",
        "é",
        "a_name_longer_than_a_guess_may_be",
        "A",
    ];
    let member = (
        space(),
        prop::sample::select(names),
        space(),
        space(),
        value,
        space(),
    )
        .prop_map(|(a, name, b, c, value, d)| format!("{a}\"{name}\"{b}:{c}{value}{d}"));
    prop::collection::vec(member, 0..7).prop_map(|members| format!("{{{}}}", members.join(",")))
}

fn record() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![8 => object_of(value()).boxed(), 1 => value().boxed()];
    (
        prop_oneof![9 => Just(""), 1 => Just("\u{feff}")],
        space(),
        value,
        space(),
    )
        .prop_map(|(mark, a, value, b)| format!("{mark}{a}{value}{b}").into_bytes())
}

/// A few bytes replaced, inserted or removed.
fn damaged_record() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        prop::sample::select(b"{}[]\",:\\u019.eE+-tfn/ \n".to_vec()),
        prop::sample::select(vec![
            0, 0x1f, 0x7f, 0x80, 0xc0, 0xed, 0xa0, 0xef, 0xbb, 0xbf, 0xff
        ]),
    ];
    let damage = prop::collection::vec((any::<prop::sample::Index>(), 0..3, byte), 0..4);
    (record(), damage).prop_map(|(mut record, damage)| {
        for (place, kind, byte) in damage {
            let at = place.index(record.len() + 1);
            match kind {
                0 => record.insert(at, byte),
                1 if at < record.len() => record[at] = byte,
                _ if at < record.len() => drop(record.remove(at)),
                _ => {}
            }
        }
        record
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn serde_json_and_the_scanner_accept_the_same_records(records in prop::collection::vec(damaged_record(), 1..5)) {
        // One scanner for all, so that its guesses come from other records.
        let mut scanner = scanner(&PATHS);
        for record in &records {
            prop_assert_eq!(scan(&mut scanner, record), reference(record), "{}", String::from_utf8_lossy(record));
        }
    }

    #[test]
    fn serde_json_and_we_read_the_same_text(string in string()) {
        let expected: Option<String> = serde_json::from_str(&string).ok();
        let raw = Raw::parse(&string).unwrap();
        prop_assert_eq!(to_text(raw).ok().map(String::from), expected);
    }

    #[test]
    fn a_text_survives_being_written_and_read(text in any::<String>()) {
        let mut json = Vec::new();
        append_json(Raw::string(&text), &mut json);
        let json = String::from_utf8(json).unwrap();
        prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), &*text);
        prop_assert_eq!(to_text(Raw::parse(&json).unwrap()).unwrap(), text);
    }

    #[test]
    fn containers_come_apart_as_serde_json_takes_them_apart(value in value()) {
        let raw = Raw::parse(&value).unwrap();
        if let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(&value) {
            let expected: Vec<&str> = elements.iter().map(|element| element.get()).collect();
            let found: Vec<String> = raw.elements().filter_map(json_text).collect();
            prop_assert_eq!(found, expected);
        } else if let Ok(members) = serde_json::from_str::<HashMap<String, &RawValue>>(&value) {
            let expected = members.into_iter().map(|(name, value)| (name, value.get().to_owned()));
            let found = raw.members().map(|(name, value)| (name.into_owned(), json_text(value).unwrap()));
            prop_assert_eq!(found.collect::<HashMap<_, _>>(), expected.collect());
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = scan(&mut scanner(&PATHS), &bytes);
    }
}

#[test]
fn members_that_no_path_leads_to_are_noticed_where_they_are_watched() {
    let paths = [
        Path::parse("$.a").unwrap(),
        Path::parse("$.page.a").unwrap(),
    ];
    let noticed = |watched: Option<Path>, record: &str| {
        let mut scanner = Scanner::new(Plan::new(&paths).watching(watched.as_ref()));
        // What an earlier record had does not count.
        scanner.scan(Some(br#"{"b":1,"page":{"b":1}}"#)).unwrap();
        scanner.scan(Some(record.as_bytes())).unwrap().has_others()
    };
    let page = || Some(Path::field("page"));
    assert!(noticed(None, r#"{"a":1,"b":2}"#) && noticed(None, r#"{"\u0062":2}"#));
    assert!(!noticed(None, r#"{"a":1,"page":{"b":1}}"#));
    assert!(noticed(page(), r#"{"page":{"a":1,"b":1}}"#));
    assert!(!noticed(page(), r#"{"page":{"a":1},"b":1}"#) && !noticed(page(), r#"{"page":1}"#));
    let mut nobody_asks = scanner(&PATHS);
    assert!(!nobody_asks.scan(Some(br#"{"b":1}"#)).unwrap().has_others());
}

#[test]
fn the_rest_of_a_record_is_read_like_the_whole() {
    let mut scanner = scanner(&["$.a", "$.page.url"]);
    let rest = br#" "page":{"url":"x"},"a":1} "#;
    let scanned = scanner.read_rest(rest).unwrap();
    let fields = scanner.fields(scanned);
    assert_eq!(fields.get(0).as_received(), "1");
    assert_eq!(fields.get(1).as_received(), "x");
    for (rest, reason) in [
        (&b"\"a\":1"[..], Reason::InvalidJson),
        (b"\"a\":1}}", Reason::InvalidJson),
        (b"}", Reason::InvalidJson),
        (b"", Reason::InvalidJson),
        (b"\"a\":\"\xff\"}", Reason::InvalidJson),
    ] {
        assert_eq!(scanner.read_rest(rest).unwrap_err().reason, reason);
    }
    let whole = br#" {"a": 1} "#;
    let scanned = scanner.read(Some(whole)).unwrap();
    assert_eq!(scanner.fields(scanned).whole().as_received(), r#"{"a": 1}"#);
}

#[test]
#[should_panic(expected = "not the record read last")]
fn fields_of_a_record_before_the_last_are_refused() {
    let mut scanner = scanner(&["$.a"]);
    let first = scanner.read(Some(b"{\"a\":\"a long text\"}")).unwrap();
    scanner.read(Some(b"{}")).unwrap();
    let _ = scanner.fields(first);
}

#[test]
fn of_duplicate_names_the_last_wins_with_all_that_lies_in_it() {
    let mut scanner = scanner(&["$.a", "$.page", "$.page.url", "$.page.x.y"]);
    let cases = [
        (r#"{"a":1,"a":"x"}"#, [Some("\"x\""), None, None, None]),
        (r#"{"a":1,"a":null}"#, [Some("null"), None, None, None]),
        (
            r#"{"a":{"b":[1]},"\u0061":2}"#,
            [Some("2"), None, None, None],
        ),
        (r#"{"A":1,"a ":2}"#, [None; 4]),
        (
            r#"{"page":{"url":1,"x":{"y":2}}}"#,
            [None, Some(r#"{"url":1,"x":{"y":2}}"#), Some("1"), Some("2")],
        ),
        (
            r#"{"page":{"url":1,"x":{"y":2},"x":3}}"#,
            [
                None,
                Some(r#"{"url":1,"x":{"y":2},"x":3}"#),
                Some("1"),
                None,
            ],
        ),
        (
            r#"{"page":{"url":1},"page":{"x":{"y":2}}}"#,
            [None, Some(r#"{"x":{"y":2}}"#), None, Some("2")],
        ),
        (
            r#"{"page":{"url":1},"page":[{"url":2}]}"#,
            [None, Some(r#"[{"url":2}]"#), None, None],
        ),
        (
            r#"{"page":{"url":1},"page":null}"#,
            [None, Some("null"), None, None],
        ),
        (
            r#"{"page":{},"url":1,"x":{"y":2}}"#,
            [None, Some("{}"), None, None],
        ),
    ];
    for (record, expected) in cases {
        let found = scan(&mut scanner, record.as_bytes()).unwrap();
        assert_eq!(
            found,
            expected.map(|value| value.map(String::from)),
            "{record}"
        );
    }
}

#[test]
fn values_keep_the_text_they_came_with() {
    let values = [
        r#"{"i":123456789012345678901234567890,"f":0.1000000000000000055511151231257827,"e":1E+2,"z":-0.0,"t":1.10}"#,
        "{ \"a\" : [ 1 ,\t2 ] }",
        r#"{"a":{"b":[{"c":null},[],{}]},"d":"\u00e9\/"}"#,
        r#"{"a":1,"a":2}"#,
        "{ }",
        r#"{"a":"\ud800"}"#,
        r#""\ud800\" \\""#,
        "1e999",
    ];
    let mut scanner = scanner(&["$.properties"]);
    for value in values {
        let record = format!(" {{ \"x\":0 ,\r\n\"properties\" : {value}\t}}\n");
        assert_eq!(
            scan(&mut scanner, record.as_bytes()).unwrap(),
            [Some(value.to_owned())]
        );
    }
}

#[test]
fn lone_surrogates_are_no_text_but_disturb_nobody_else() {
    let mut scanner = scanner(&["$.a", "$.b"]);
    let record = br#"{"\ud800":1,"a\udc00":2,"x":"\ud800","b":"\ud83d\ude00","a":"\udc00"}"#;
    let fields = scanner.scan(Some(record)).unwrap();
    assert_eq!(
        to_text(fields.get(0)).unwrap_err().reason,
        Reason::InvalidValue
    );
    assert_eq!(to_text(fields.get(1)).unwrap(), "😀");
    for text in [
        r#""\ud800\ud800""#,
        r#""\ud800x""#,
        r#""\ud800\n""#,
        r#""\ude00\ud83d""#,
        r#""\ud83d\u0061""#,
    ] {
        assert!(to_text(Raw::parse(text).unwrap()).is_err(), "{text}");
    }
    let escapes = Raw::parse(r#""\"\\\/\b\f\n\r\t\u0000\u00e9""#).unwrap();
    assert_eq!(to_text(escapes).unwrap(), "\"\\/\u{8}\u{c}\n\r\t\0é");
}

#[test]
fn records_that_are_no_json_say_where() {
    let cases: [(&[u8], &str); 30] = [
        (b"", "value expected at byte 0"),
        (b" \n", "value expected at byte 2"),
        (b"{", "member name expected at byte 1"),
        (b"{\"a\":1", "comma or end expected at byte 6"),
        (b"{\"a\":\"x", "string without end at byte 7"),
        (b"{\"a", "string without end at byte 3"),
        (b"{\"a\" 1}", "colon expected at byte 5"),
        (b"{\"a\":1}x", "end of the record expected at byte 7"),
        (
            b"{\"a\":1}{\"a\":1}",
            "end of the record expected at byte 7",
        ),
        (b"{\"a\":1,}", "member name expected at byte 7"),
        (b"{\"b\":[1,]}", "value expected at byte 8"),
        (b"{\"b\":[1}}", "comma or end expected at byte 7"),
        (b"{\"b\":{\"a\":1]}", "comma or end expected at byte 11"),
        (b"{\"b\":{,}}", "member name expected at byte 6"),
        (b"{'a':1}", "member name expected at byte 1"),
        (b"{\"a\":\"x\ny\"}", "unescaped control character at byte 7"),
        (b"{\"a\":\"x\0y\"}", "unescaped control character at byte 7"),
        (b"{\"a\":\"\\x41\"}", "no such escape at byte 6"),
        (b"{\"a\":\"\\u12g4\"}", "four hex digits expected at byte 8"),
        (b"{\"a\":\"\\u12", "four hex digits expected at byte 8"),
        (b"{\"a\":01}", "comma or end expected at byte 6"),
        (b"{\"a\":1.}", "digit expected at byte 7"),
        (b"{\"a\":-}", "digit expected at byte 6"),
        (b"{\"a\":1e+}", "digit expected at byte 8"),
        (b"{\"a\":+1}", "value expected at byte 5"),
        (b"{\"a\":NaN}", "value expected at byte 5"),
        (b"{\"a\":nul}", "value expected at byte 5"),
        (b"{\"a\":\"\xff\"}", "not UTF-8 at byte 6"),
        (b"{\"b\":\"\xed\xa0\x80\"}", "not UTF-8 at byte 6"),
        (b"\xef\xbb\xbf{\"a\":tru}", "value expected at byte 8"),
    ];
    for (record, detail) in cases {
        let reject = scanner(&["$.a"]).scan(Some(record)).unwrap_err();
        assert_eq!(
            (reject.reason, &*reject.detail),
            (Reason::InvalidJson, detail)
        );
    }
    let twice_marked = "\u{feff}\u{feff}{}".as_bytes();
    assert_eq!(
        scan(&mut scanner(&[]), twice_marked),
        Err(Reason::InvalidJson)
    );
    assert_eq!(scan(&mut scanner(&[]), b"{}\x0c"), Err(Reason::InvalidJson));
    assert_eq!(
        scan(&mut scanner(&[]), b"{}\xc2\xa0"),
        Err(Reason::InvalidJson)
    );
}

#[test]
fn records_without_an_object_are_told_apart() {
    let mut scanner = scanner(&["$.a"]);
    assert_eq!(scanner.scan(None).unwrap_err().reason, Reason::NullValue);
    for record in ["[{\"a\":1}]", "\"x\"", "42", "null", " true ", "[]"] {
        assert_eq!(
            scan(&mut scanner, record.as_bytes()),
            Err(Reason::NotAnObject),
            "{record}"
        );
    }
    assert_eq!(scan(&mut scanner, b"[1,]"), Err(Reason::InvalidJson));
    assert_eq!(scan(&mut scanner, b"{}"), Ok(vec![None]));
}

#[test]
fn exactly_256_levels_are_allowed_wherever_they_are() {
    let arrays = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let objects = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    for name in ["a", "unknown"] {
        let record = |value: String| format!("{{\"{name}\":{value}}}").into_bytes();
        for value in [arrays(255), objects(255)] {
            assert!(scan(&mut scanner(&["$.a", "$.a.a.a"]), &record(value)).is_ok());
        }
        for value in [
            arrays(256),
            objects(256),
            arrays(100_000),
            objects(100_000),
            "[".repeat(257),
        ] {
            let found = scan(&mut scanner(&["$.a", "$.a.a.a"]), &record(value));
            assert_eq!(found, Err(Reason::TooDeep));
        }
    }
    assert_eq!(
        scan(&mut scanner(&[]), arrays(256).as_bytes()),
        Err(Reason::NotAnObject)
    );
    assert_eq!(
        scan(&mut scanner(&[]), arrays(257).as_bytes()),
        Err(Reason::TooDeep)
    );
    assert_eq!(
        scan(&mut scanner(&[]), "[".repeat(10_000_000).as_bytes()),
        Err(Reason::TooDeep)
    );
    assert_eq!(
        scan(&mut scanner(&[]), "[".repeat(256).as_bytes()),
        Err(Reason::InvalidJson)
    );
    let wide = format!("{{\"a\":[{}1]}}", "[[]],{\"b\":[]},".repeat(1000));
    assert!(scan(&mut scanner(&["$.a"]), wide.as_bytes()).is_ok());
}

#[test]
fn guesses_are_never_trusted_over_the_bytes() {
    let mut scanner = scanner(&["$.a", "$.ab", "$.b", "$.quo\u{e9}te"]);
    let records = [
        (r#"{"a":1,"x":0,"ab":2,"b":3}"#, ["1", "2", "3"]),
        (r#"{"a":1,"x":0,"ab":2,"b":3}"#, ["1", "2", "3"]),
        (r#"{"ab":2,"b":3,"x":0,"a":1}"#, ["1", "2", "3"]),
        (r#"{"a":1,"ab":2,"b":3}"#, ["1", "2", "3"]),
        (
            r#"{"a":1,"x":0,"xx":0,"ab":2,"b":3,"x":9}"#,
            ["1", "2", "3"],
        ),
        (r#"{"\u0061":1,"x":0,"a\u0062":2,"b" : 3}"#, ["1", "2", "3"]),
        (r#"{"a":1,"a\"":0,"ab":2,"a\"":0,"b":3}"#, ["1", "2", "3"]),
    ];
    for (record, expected) in records {
        let found = scan(&mut scanner, record.as_bytes()).unwrap();
        assert_eq!(
            found[..3],
            expected.map(|value| Some(value.to_owned())),
            "{record}"
        );
    }
}

#[test]
fn wanted_names_with_quotes_and_backslashes_are_found_escaped_only() {
    let mut scanner = Scanner::new(Plan::new(&[Path::field("q\""), Path::field("b\\")]));
    for _ in 0..2 {
        let found = scan(&mut scanner, br#"{"q\"":1,"b\\":2}"#);
        assert_eq!(found, Ok(vec![Some("1".to_owned()), Some("2".to_owned())]));
        assert_eq!(
            scan(&mut scanner, br#"{"q"":1,"b\\":2}"#),
            Err(Reason::InvalidJson)
        );
        assert_eq!(
            scan(&mut scanner, br#"{"q\"":1,"b\":2}"#),
            Err(Reason::InvalidJson)
        );
    }
}

#[test]
fn a_flood_of_new_names_neither_grows_nor_confuses_the_scanner() {
    let mut scanner = scanner(&["$.a", "$.page.url"]);
    for i in 0..3000 {
        let record =
            format!(r#"{{"n{i}":1,"a":{i},"m{i}":[],"page":{{"k{i}":0,"url":{i},"l{i}":0}}}}"#);
        let expected = vec![Some(i.to_string()), Some(i.to_string())];
        assert_eq!(scan(&mut scanner, record.as_bytes()), Ok(expected));
    }
    assert_eq!(scanner.unknown_names().len(), 100);
}

#[test]
fn unknown_names_are_those_no_path_begins_with_each_once() {
    let mut scanner = scanner(&["$.a", "$.page.url"]);
    let long = "é".repeat(200);
    let record =
        format!(r#"{{"a":1,"page":{{"inner":1}},"x":{{"y":1}},"q\"":1,"{long}":1,"":1,"x":2}}"#);
    for _ in 0..3 {
        scan(&mut scanner, record.as_bytes()).unwrap();
    }
    let names: Vec<&str> = scanner.unknown_names().collect();
    assert_eq!(names, ["x", "q\"", &long[..256], ""]);
}
