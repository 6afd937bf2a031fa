//! The public JSON suite, every file in three places of a record.

use serde_json::value::RawValue;

use crate::hostile::case::{Case, Expected, check, dead, event, row};
use crate::hostile::suite::{File, Place, files};

#[test]
fn every_file_of_the_json_suite_as_a_record() {
    let case = |file: &File| {
        let expected = match file.fault(Place::Record) {
            Some(reason) => dead(reason),
            None if file.is_object() => dead("missing_field"),
            None => dead("not_an_object"),
        };
        Case::new(&file.name, file.content.clone(), expected)
    };
    let cases: Vec<Case> = files().iter().map(case).collect();
    assert_eq!(cases.len(), 318);
    check("suite-record", &cases);
}

#[test]
fn every_file_of_the_json_suite_as_properties() {
    let case = |file: &File| {
        let expected = match (file.fault(Place::Member), file.value()) {
            (Some(reason), _) => dead(reason),
            (None, value) if value.starts_with(b"{") => row("properties", value),
            (None, b"null") => row("properties", "{}"),
            (None, _) => dead("invalid_value"),
        };
        member("properties", &file.name, &file.content, expected)
    };
    let cases: Vec<Case> = files().iter().map(case).collect();
    check("suite-properties", &cases);
}

#[test]
fn every_file_of_the_json_suite_as_a_text() {
    let case = |file: &File| {
        // Most files are an array of the one value that they are about.
        let content = single(&file.content).map_or(&file.content[..], str::as_bytes);
        let expected = match file.fault(Place::Member) {
            Some(reason) => dead(reason),
            None => as_text(
                std::str::from_utf8(content)
                    .expect("JSON is UTF-8")
                    .trim_ascii(),
            ),
        };
        member("referrer", &file.name, content, expected)
    };
    let cases: Vec<Case> = files().iter().map(case).collect();
    let rows = cases
        .iter()
        .filter(|case| matches!(case.expected, Expected::Row(_)))
        .count();
    assert!(rows > 60, "{rows} files hold a text");
    check("suite-text", &cases);
}

fn member(column: &str, name: &str, value: &[u8], expected: Expected) -> Case {
    let event = event(name, "");
    let open = event.strip_suffix('}').expect("an object");
    let record = [format!("{open},\"{column}\":").as_bytes(), value, b"}"].concat();
    Case::new(name, record, expected)
}

/// The only element of an array.
fn single(content: &[u8]) -> Option<&str> {
    match &serde_json::from_slice::<Vec<&RawValue>>(content).ok()?[..] {
        [only] => Some(only.get()),
        _ => None,
    }
}

/// What a text column makes of a value, as another parser reads it.
fn as_text(json: &str) -> Expected {
    match json.as_bytes().first() {
        Some(b'"') => match serde_json::from_str::<String>(json) {
            Ok(text) => row("referrer", text),
            // Valid, and no text all the same: a lone surrogate.
            Err(_) => dead("invalid_value"),
        },
        Some(b'{' | b'[') => dead("invalid_value"),
        _ if json == "null" => row("referrer", ""),
        _ => row("referrer", json),
    }
}
