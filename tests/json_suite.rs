//! The JSON Parsing Test Suite in three places of a record, through the scanner alone;
//! `tests/hostile` sends the same files through the lane.

use crate::hostile::suite::{File, Place, files};
use streamweir::decode::json::{Plan, Scanner};
use streamweir::decode::{Path, Reason, text};

/// The text of `$.properties` when the record is an object.
fn scan(record: &[u8]) -> Result<Option<String>, Reason> {
    let mut scanner = Scanner::new(Plan::new(&[Path::field("properties")]));
    let fields = scanner.scan(Some(record)).map_err(|reject| reject.reason)?;
    let mut json = Vec::new();
    text::append_json(fields.get(0), &mut json);
    Ok(Some(String::from_utf8(json).unwrap()).filter(|json| !json.is_empty()))
}

/// Whether there is a value in this place, and why not.
fn expected(file: &File, place: Place) -> Result<(), Reason> {
    let named = |name| {
        Reason::ALL
            .into_iter()
            .find(|reason| reason.as_str() == name)
    };
    match file.fault(place) {
        Some(name) => Err(named(name).expect("a reason of the closed list")),
        None if place == Place::Record && !file.is_object() => Err(Reason::NotAnObject),
        None => Ok(()),
    }
}

#[test]
fn the_suite_is_whole() {
    let files = files();
    let count = |prefix: &str| {
        files
            .iter()
            .filter(|file| file.name.starts_with(prefix))
            .count()
    };
    assert_eq!((count("y_"), count("n_"), count("i_")), (95, 188, 35));
}

#[test]
fn every_file_as_a_record_is_accepted_or_refused_for_the_right_reason() {
    for file in files() {
        let found = scan(&file.content).map(drop);
        assert_eq!(found, expected(&file, Place::Record), "{}", file.name);
    }
}

#[test]
fn every_file_as_a_mapped_value_is_kept_byte_for_byte_or_refused() {
    for file in files() {
        let record = [b"{\"properties\":", &file.content[..], b"}"].concat();
        let trimmed = file.value();
        let text = || Some(String::from_utf8(trimmed.to_vec()).unwrap());
        assert_eq!(
            scan(&record),
            expected(&file, Place::Member).map(|()| text()),
            "{}",
            file.name
        );
    }
}

#[test]
fn every_file_as_an_unmapped_value_is_checked_all_the_same() {
    for file in files() {
        let record = [b"{\"other\":", &file.content[..], b",\"properties\":1}"].concat();
        let accepted = || Some("1".to_owned());
        assert_eq!(
            scan(&record),
            expected(&file, Place::Member).map(|()| accepted()),
            "{}",
            file.name
        );
    }
}
