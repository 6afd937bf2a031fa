//! `[pipeline.privacy]`: fields whose values are shown nowhere.

use super::aggregation::{Aggregation, Function, Input};
use super::columns::COLUMN_PATH;
use super::pipeline::Kind;
use super::section::Section;
use super::value::{List, Text};
use crate::decode::Path;
use crate::steps::PrivateFields;

/// Most private fields of a pipeline.
const FIELDS_MAX: usize = 100;

const FIELDS: List<Text> = List {
    of: COLUMN_PATH,
    may_be_empty: true,
};

/// The fields whose values stand in the rows of windows.
fn shown_paths(aggregation: &Aggregation) -> impl Iterator<Item = &str> {
    let groups = aggregation
        .group
        .iter()
        .filter(|group| group.from.is_none());
    let shown = aggregation.metrics.iter().filter(|metric| {
        matches!(
            metric.function,
            Function::Min | Function::Max | Function::Last
        )
    });
    let inputs = shown.filter_map(|metric| match &metric.input {
        Some(Input::Path(path)) => Some(path.as_str()),
        _ => None,
    });
    groups.map(|group| group.path.as_str()).chain(inputs)
}

/// Reads `[pipeline.privacy]`; nothing is private where it is not there.
pub(super) fn read(mut section: Section<'_>, kind: Option<&Kind>) -> PrivateFields {
    let paths = section.take_or("fields", FIELDS, vec![]);
    let is_known = matches!(
        kind,
        None | Some(Kind::Enrichment(_) | Kind::Raw(_) | Kind::Aggregation(_))
    );
    if !is_known && !paths.is_empty() {
        let message =
            "must not be set for this kind: only enrichment, raw and aggregation hide fields";
        section.problem("fields", message);
    }
    if paths.len() > FIELDS_MAX {
        let message = format!("must have at most {FIELDS_MAX} fields, has {}", paths.len());
        section.problem("fields", message);
    }
    let is_whole = |path: &&String| Path::parse(path).is_ok_and(|path| path.is_whole());
    if paths.iter().any(|path| is_whole(&path)) {
        let message = "must be fields of the record, found \"$\", the record itself: leave it out with \
                       dead_letter.payload = \"omit\"";
        section.problem("fields", message);
    }
    let fields = PrivateFields::new(paths.iter().map(String::as_str)).unwrap_or_default();
    if let Some(Kind::Aggregation(aggregation)) = kind {
        for path in shown_paths(aggregation) {
            if fields.touch(path) {
                let message = format!(
                    "must not have what rows are made of: {path} goes into the table as it is"
                );
                section.problem("fields", message);
            }
        }
    }
    section.finish();
    fields
}
