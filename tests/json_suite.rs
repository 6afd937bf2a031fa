//! The JSON Parsing Test Suite (nst/JSONTestSuite), every file in three places of a record.
//!
//! The files lie in `tests/material/json`: `y_*` must be accepted, `n_*`
//! refused; of `i_*`, which a parser may treat either way, this file says what we do.

use std::fs;
use std::path::PathBuf;

use streamweir::decode::json::{Plan, Scanner};
use streamweir::decode::{Path, Reason, text};

/// `i_*` files that are not UTF-8.
const NOT_UTF8: [&str; 13] = [
    "i_string_UTF-16LE_with_BOM",
    "i_string_UTF-8_invalid_sequence",
    "i_string_UTF8_surrogate_U+D800",
    "i_string_invalid_utf-8",
    "i_string_iso_latin_1",
    "i_string_lone_utf8_continuation_byte",
    "i_string_not_in_unicode_range",
    "i_string_overlong_sequence_2_bytes",
    "i_string_overlong_sequence_6_bytes",
    "i_string_overlong_sequence_6_bytes_null",
    "i_string_truncated-utf-8",
    "i_string_utf16BE_no_BOM",
    "i_string_utf16LE_no_BOM",
];

struct Case {
    name: String,
    content: Vec<u8>,
}

fn suite() -> Vec<Case> {
    let directory =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/material/json/test_parsing");
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| {
        panic!(
            "the JSON Parsing Test Suite belongs in {}: {error}",
            directory.display()
        )
    });
    let mut cases: Vec<Case> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            Case {
                name,
                content: fs::read(path).unwrap(),
            }
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

/// The text of `$.properties` when the record is an object.
fn scan(record: &[u8]) -> Result<Option<String>, Reason> {
    let mut scanner = Scanner::new(Plan::new(&[Path::field("properties")]));
    let fields = scanner.scan(Some(record)).map_err(|reject| reject.reason)?;
    let mut json = Vec::new();
    text::append_json(fields.get(0), &mut json);
    Ok(Some(String::from_utf8(json).unwrap()).filter(|json| !json.is_empty()))
}

/// What becomes of the file as a record, and whether it may stand as a value inside one.
fn expected(case: &Case) -> (Result<(), Reason>, Result<(), Reason>) {
    let as_record = if case.content.trim_ascii_start().starts_with(b"{") {
        Ok(())
    } else {
        Err(Reason::NotAnObject)
    };
    let refused = (Err(Reason::InvalidJson), Err(Reason::InvalidJson));
    match case.name.as_str() {
        "n_structure_100000_opening_arrays" | "n_structure_open_array_object" => {
            (Err(Reason::TooDeep), Err(Reason::TooDeep))
        }
        "i_structure_500_nested_arrays" => (Err(Reason::TooDeep), Err(Reason::TooDeep)),
        // A byte order mark may lead a record; inside one it is no white space.
        "i_structure_UTF-8_BOM_empty_object" => (Ok(()), Err(Reason::InvalidJson)),
        name if name.starts_with("n_") || NOT_UTF8.contains(&name) => refused,
        _ => (as_record, Ok(())),
    }
}

#[test]
fn the_suite_is_whole() {
    let cases = suite();
    let count = |prefix: &str| {
        cases
            .iter()
            .filter(|case| case.name.starts_with(prefix))
            .count()
    };
    assert_eq!((count("y_"), count("n_"), count("i_")), (95, 188, 35));
}

#[test]
fn every_file_as_a_record_is_accepted_or_refused_for_the_right_reason() {
    for case in suite() {
        let found = scan(&case.content).map(drop);
        assert_eq!(found, expected(&case).0, "{}", case.name);
    }
}

#[test]
fn every_file_as_a_mapped_value_is_kept_byte_for_byte_or_refused() {
    for case in suite() {
        let record = [b"{\"properties\":", &case.content[..], b"}"].concat();
        let trimmed = case.content.trim_ascii();
        let text = || Some(String::from_utf8(trimmed.to_vec()).unwrap());
        assert_eq!(
            scan(&record),
            expected(&case).1.map(|()| text()),
            "{}",
            case.name
        );
    }
}

#[test]
fn every_file_as_an_unmapped_value_is_checked_all_the_same() {
    for case in suite() {
        let record = [b"{\"other\":", &case.content[..], b",\"properties\":1}"].concat();
        let accepted = || Some("1".to_owned());
        assert_eq!(
            scan(&record),
            expected(&case).1.map(|()| accepted()),
            "{}",
            case.name
        );
    }
}
