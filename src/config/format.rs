//! `format`: how the bytes of a record are read.

use std::collections::BTreeMap;

use super::columns::ColumnMapping;
use super::section::Section;
use super::value::Choice;
use crate::format::Format;

/// Reads `format` and the format's own keys.
pub(super) fn read(section: &mut Section<'_>) -> Format {
    let formats = Choice(&[("json", Name::Json), ("string", Name::String)]);
    match section.take_or("format", formats, Name::Json) {
        Name::Json => Format::Json,
        Name::String => Format::String,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Json,
    String,
}

/// What the columns and the deciding fields of a pipeline ask for must be in a record of the format.
/// `fields`: each with the key that names it.
pub(super) fn check(
    format: &Format,
    columns: &BTreeMap<String, ColumnMapping>,
    fields: &[(String, &str)],
    section: &Section<'_>,
) {
    if *format != Format::String {
        return;
    }
    for (column, mapping) in columns {
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
