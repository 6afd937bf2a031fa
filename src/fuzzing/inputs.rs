//! What else comes from outside: each by its own first byte.

use std::sync::LazyLock;

use clickhouse::error::Error;
use regex::Regex;

use super::row_binary::Reader;
use super::{reading, record};
use crate::lookup::Found;
use crate::progress::Metadata;
use crate::sink::InsertError;
use crate::table::ColumnType;

/// A declared length beyond this only costs memory.
const ZERO_BYTES_MAX: usize = 1 << 20;

/// The first byte says what the others are: `m` a commit's metadata, `t` a type name, `j` a profile
/// as JSON, `h` one as the fields of a hash, a line each, `s` a snapshot's state, `e` an
/// answer of ClickHouse.
///
/// # Panics
/// When what was understood is not what was said.
pub fn inputs(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(rest);
    match kind {
        b'm' => metadata(&text),
        b't' => type_name(&text),
        b'j' => record::profile(&Found::Json(rest.to_vec())),
        b'h' => {
            let line = |line: &[u8]| (line != b"-").then(|| line.to_vec());
            record::profile(&Found::Fields(
                rest.split(|b| *b == b'\n').map(line).collect(),
            ));
        }
        b's' => record::snapshot(rest),
        b'e' => answer(&text),
        _ => {}
    }
}

/// `position, metadata`.
fn metadata(text: &str) {
    let (position, text) = text.split_once(',').unwrap_or(("0", text));
    let position = position.parse().unwrap_or(0);
    let Ok(Some(read)) = Metadata::decode(text, position) else {
        return;
    };
    assert!(
        read.range_ends.is_sorted_by(|a, b| a < b),
        "ranges are not empty: {:?}",
        read.range_ends
    );
    assert!(
        read.range_ends
            .first()
            .is_none_or(|first| *first > position)
    );
    let is_word =
        (1..=256).contains(&read.table.len()) && read.table.chars().all(|c| c.is_ascii_graphic());
    if let Ok(written) = read.encode(position)
        && is_word
    {
        assert_eq!(Metadata::decode(&written, position), Ok(Some(read)));
    }
}

fn type_name(text: &str) {
    let Ok(column_type) = ColumnType::parse(text) else {
        return;
    };
    let spelled = column_type.to_string();
    assert_eq!(
        ColumnType::parse(&spelled).as_ref(),
        Ok(&column_type),
        "{spelled}"
    );
    if matches!(&column_type, ColumnType::FixedString(len) if *len as usize > ZERO_BYTES_MAX) {
        return;
    }
    let mut bytes = vec![];
    column_type.encode_null_or_zero(&mut bytes);
    let mut reader = Reader(&bytes);
    assert_eq!(
        reader.cell(&column_type),
        Some(reading::zero(&column_type)),
        "{spelled}"
    );
    assert!(reader.is_at_end(), "{spelled}");
}

fn answer(text: &str) {
    static CODE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new("Code: ([0-9]*)").expect("an expression"));
    let error = InsertError::from(Error::BadResponse(text.to_owned()));
    let code = CODE
        .captures(&error.message)
        .and_then(|found| found[1].parse().ok());
    let is_whole = text.len() < 300;
    assert!(
        error.code == code || !is_whole,
        "{:?} in {text:?}",
        error.code
    );
    assert!(error.message.chars().count() <= 600);
}
