//! `format`: how the bytes of a record are read.

use std::collections::BTreeMap;

use super::columns::{COLUMN, ColumnMapping};
use super::section::Section;
use super::value::{Boolean, Choice, List, Text};
use crate::decode::Path;
use crate::format::{Csv, Format};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Json,
    String,
    Csv,
}

const DELIMITER: Text = Text {
    allowed: "one character of ASCII that is no letter, digit, quote or line break, such as \";\" or \"\\t\"",
    check: |text| match text.as_bytes() {
        [byte] => byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\"\r\n".contains(byte),
        _ => false,
    },
};

/// Reads `format` and the format's own keys.
pub(super) fn read(section: &mut Section<'_>) -> Format {
    let formats = Choice(&[
        ("json", Name::Json),
        ("string", Name::String),
        ("csv", Name::Csv),
    ]);
    let name = section.take_or("format", formats, Name::Json);
    let has_csv = section.has("csv");
    let csv = (has_csv || name == Name::Csv).then(|| read_csv(section.section("csv")));
    if has_csv && name != Name::Csv {
        section.problem("csv", "must not be set without format = \"csv\"");
    }
    match (name, csv) {
        (Name::Csv, Some(csv)) => Format::Csv(csv),
        (Name::String, _) => Format::String,
        (_, _) => Format::Json,
    }
}

fn read_csv(mut section: Section<'_>) -> Csv {
    let names = List {
        of: COLUMN,
        may_be_empty: false,
    };
    let columns = section.take("columns", names);
    let delimiter = section.take_or("delimiter", DELIMITER, ",".to_owned());
    let csv = Csv {
        delimiter: delimiter.bytes().next().unwrap_or(b','),
        header: section.take_or("header", Boolean, false),
        columns,
    };
    let mut names = csv.columns.iter().flatten().collect::<Vec<_>>();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        section.problem(
            "columns",
            format!("must name each field once, has {:?} twice", pair[0]),
        );
    }
    section.finish();
    csv
}

/// What the columns and the deciding fields of a pipeline ask for must be in a record of the format.
/// `fields`: each with the key that names it.
pub(super) fn check(
    format: &Format,
    columns: &BTreeMap<String, ColumnMapping>,
    fields: &[(String, &str)],
    section: &Section<'_>,
) {
    match format {
        Format::Json => {}
        Format::String => check_string(columns, fields, section),
        Format::Csv(csv) => check_csv(csv, columns, fields, section),
    }
}

fn check_string(
    columns: &BTreeMap<String, ColumnMapping>,
    fields: &[(String, &str)],
    section: &Section<'_>,
) {
    for (column, mapping) in columns.iter().filter(|(_, m)| m.from.is_none()) {
        if mapping.path.as_deref().is_some_and(|path| path != "$") {
            let message = "must be \"$\", the whole value: format = \"string\" knows no members";
            section.problem(&format!("columns.{column}.path"), message);
        }
    }
    let takes_whole = |mapping: &ColumnMapping| mapping.path.as_deref() == Some("$");
    let takes_value = |mapping: &ColumnMapping| mapping.from.is_some();
    if !columns.values().any(|m| takes_whole(m) || takes_value(m)) {
        let message = "\"string\" needs a column that takes the whole value: message = \"$\" in \
                       [pipeline.columns]";
        section.problem("format", message);
    }
    for (key, field) in fields {
        if !columns.get(*field).is_some_and(takes_whole) {
            let message = format!(
                "must be a column that [pipeline.columns] maps to \"$\", found {field:?}: \
                 format = \"string\" knows no members"
            );
            section.problem(key, message);
        }
    }
}

/// A line has fields by name and nothing below them.
fn check_csv(
    csv: &Csv,
    columns: &BTreeMap<String, ColumnMapping>,
    fields: &[(String, &str)],
    section: &Section<'_>,
) {
    let has = |name: &str| {
        let names = csv.columns.as_ref();
        names.is_none_or(|names| names.iter().any(|known| known == name))
    };
    let is_field = |path: &Path| {
        let mut steps = path.names();
        steps.next().is_some_and(has) && steps.next().is_none() && path.steps().is_empty()
    };
    let paths = columns
        .iter()
        .filter(|(_, m)| m.from.is_none())
        .filter_map(|(c, m)| Some((c, m.path.as_deref()?)));
    for (column, path) in paths {
        if !Path::parse(path).is_ok_and(|path| is_field(&path)) {
            let key = format!("columns.{column}.path");
            let message = format!("must be \"$.name\" with a name of csv.columns, found {path:?}");
            section.problem(&key, message);
        }
    }
    for (key, field) in fields {
        let is_mapped = columns
            .get(*field)
            .is_some_and(|mapping| mapping.path.is_some());
        let is_there = match field.strip_prefix("$.") {
            Some(name) => has(name),
            None => has(field) || is_mapped,
        };
        if !is_there {
            let message = format!("must be a field of csv.columns, found {field:?}");
            section.problem(key, message);
        }
    }
}
