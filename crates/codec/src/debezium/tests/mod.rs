//! The decoder on hand-written records, and on random values that come back.

mod keys;
mod properties;
mod records;
mod times;
mod typed;
mod types;
mod untyped;

use super::*;
use crate::decode::Reason;
use crate::decode::json::Raw;
use crate::table::ColumnType;

const TOPIC: &str = "shop.public.t";

fn column_type(name: &str) -> ColumnType {
    ColumnType::parse(name).unwrap()
}

/// One value of a record without a schema block; None where it is unavailable.
fn untyped(type_name: &str, json: &str, modes: Modes) -> Result<Option<Vec<u8>>, Reason> {
    let columns = Columns::new().with("v", column_type(type_name));
    let mut reader = RowReader::new(columns, Some(modes));
    let value = format!(r#"{{"before":null,"after":{{"v":{json}}},"source":{{}},"op":"c"}}"#);
    only_value(&mut reader, &value)
}

/// One value of a record whose schema block has `field`, the members of the field's type.
fn typed(field: &str, type_name: &str, json: &str) -> Result<Option<Vec<u8>>, Reason> {
    let columns = Columns::new().with("v", column_type(type_name));
    let mut reader = RowReader::new(columns, None);
    let value = format!(
        r#"{{"schema":{{"type":"struct","fields":[{{"type":"struct","fields":[{{{field},"field":"v"}}],"field":"after"}},{{"type":"string","field":"op"}}]}},"payload":{{"after":{{"v":{json}}},"source":{{}},"op":"c"}}}}"#
    );
    only_value(&mut reader, &value)
}

fn only_value(reader: &mut RowReader, value: &str) -> Result<Option<Vec<u8>>, Reason> {
    let row = match reader.read(TOPIC, None, Some(value.as_bytes())) {
        Ok(Change::Row(row)) => row,
        Ok(other) => panic!("{other:?}"),
        Err(Failure::Rejected(reject)) => return Err(reject.reason),
        Err(undeclared) => panic!("{undeclared}"),
    };
    let mut out = b"before".to_vec();
    let outcome = row.encode(0, &mut out);
    let value = out.split_off(6);
    match outcome {
        Ok(Outcome::Written) => Ok(Some(value)),
        Ok(outcome) => {
            assert_eq!((outcome, value), (Outcome::Unavailable, vec![]));
            Ok(None)
        }
        Err(reject) => {
            assert_eq!(value, b"", "nothing is left of a refused value");
            assert!(reject.detail.starts_with("v: "), "{reject}");
            Err(reject.reason)
        }
    }
}

/// What a String column has of these bytes.
fn as_text(cell: Result<Option<Vec<u8>>, Reason>) -> Result<String, Reason> {
    let cell = cell?.expect("a value");
    assert_eq!(usize::from(cell[0]), cell.len() - 1, "a short text");
    Ok(String::from_utf8(cell[1..].to_vec()).unwrap())
}

/// What another column has where it takes the same value in a text.
fn plain(type_name: &str, json: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let raw = Raw::parse(json).unwrap();
    column_type(type_name).encode(raw, &mut out).unwrap();
    out
}

const NOT: Result<&str, Reason> = Err(Reason::NotRepresentable);

fn named(form: &str, name: &str) -> String {
    format!(r#""type":"{form}","name":"{name}""#)
}

/// Into a String column.
fn text(field: &str, json: &str) -> Result<String, Reason> {
    as_text(typed(field, "String", json))
}

fn check_texts(field: &str, cases: &[(&str, &str)]) {
    for (json, expected) in cases {
        assert_eq!(
            text(field, json).as_deref(),
            Ok(*expected),
            "{field} {json}"
        );
    }
}

fn check_columns(field: &str, type_name: &str, cases: &[(&str, Result<&str, Reason>)]) {
    for (json, expected) in cases {
        let found = typed(field, type_name, json).map(|value| value.expect("a value"));
        let expected = expected.map(|expected| plain(type_name, expected));
        assert_eq!(found, expected, "{field} {json} into {type_name}");
    }
}
