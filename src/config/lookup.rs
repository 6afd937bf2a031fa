//! `[pipeline.lookup]`: columns filled from a profile.

use std::collections::BTreeMap;
use std::time::Duration;

use super::clickhouse::is_identifier;
use super::columns::{COLUMN, FIELD, PATH, PROVENANCE};
use super::quantity::Span;
use super::section::Section;
use super::tree::Value;
use super::value::{Choice, Scalar, Text};

/// `[pipeline.lookup]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// What the key in Redis begins with; the field's value follows.
    pub key_prefix: String,
    /// The field whose value the key ends with.
    pub key_field: String,
    /// How a profile is stored.
    pub encoding: Encoding,
    /// How long a profile found (or not) is believed, up to 24 h; zero: not at all.
    pub cache_ttl: Duration,
    /// What to do while Redis does not answer.
    pub on_unavailable: OnUnavailable,
    /// The columns a profile fills, at least one.
    pub columns: BTreeMap<String, LookupColumn>,
}

/// How a profile is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// A string that holds a JSON object.
    Json,
    /// A hash, of whose fields the paths name one each.
    Hash,
}

/// What to do while Redis does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnavailable {
    /// Wait for it.
    Wait,
    /// Write the columns' defaults.
    UseDefaults,
}

/// One entry of `[pipeline.lookup.columns]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupColumn {
    /// `$.a.b` within the profile; of a hash `$.field`.
    pub path: String,
    /// The text of the value for what is missing; none: the type's zero.
    pub default: Option<String>,
}

const KEY_PREFIX: Text = Text {
    allowed: "a text of at most 512 bytes",
    check: |text| text.len() <= 512,
};

impl Lookup {
    pub(super) fn read(mut section: Section<'_>) -> Lookup {
        section.take_or("kind", Choice(&[("redis", ())]), ());
        let encodings = Choice(&[("json", Encoding::Json), ("hash", Encoding::Hash)]);
        let unavailable = Choice(&[
            ("wait", OnUnavailable::Wait),
            ("use_defaults", OnUnavailable::UseDefaults),
        ]);
        let minute = Duration::from_secs(60);
        let encoding = section.take_or("encoding", encodings, Encoding::Json);
        let lookup = Lookup {
            key_prefix: section.take_or("key_prefix", KEY_PREFIX, "user:profile:".to_owned()),
            key_field: section.take_or("key_field", FIELD, "user_id".to_owned()),
            encoding,
            cache_ttl: section.take_or("cache_ttl", Span::secs(0, 86_400), minute),
            on_unavailable: section.take_or("on_unavailable", unavailable, OnUnavailable::Wait),
            columns: read_columns(section.section("columns"), encoding),
        };
        if lookup.columns.is_empty() {
            section.problem(
                "columns",
                "must name at least one column: the lookup would fill nothing (or remove \
                 [pipeline.lookup])",
            );
        }
        section.finish();
        lookup
    }
}

fn read_columns(mut section: Section<'_>, encoding: Encoding) -> BTreeMap<String, LookupColumn> {
    let mut columns = BTreeMap::new();
    for column in section.keys() {
        let entry = read_column(&mut section, &column, encoding);
        if !is_identifier(&column) {
            section.problem(&column, format!("must be {}", COLUMN.allowed));
        }
        if PROVENANCE.contains(&column.as_str()) {
            section.problem(
                &column,
                "must not be mapped: the daemon fills it with the record's origin",
            );
        }
        columns.insert(column, entry);
    }
    section.finish();
    columns
}

/// A path, or a table of path and default. One that is wrong is a problem and a column all the same.
fn read_column(section: &mut Section<'_>, column: &str, encoding: Encoding) -> LookupColumn {
    let own_path = || format!("$.{column}");
    let column_of = |path| LookupColumn {
        path,
        default: None,
    };
    if let Some(Value::Text(_)) = section.peek(column) {
        let path = section.take(column, PATH).unwrap_or_else(own_path);
        // Recorded as the long form is: one meaning, one effective configuration.
        section.forget(column);
        section.record(&format!("{column}.path"), path.clone());
        if let Some(problem) = too_deep(&path, encoding) {
            section.problem(column, problem);
        }
        return column_of(path);
    }
    let Some(mut entry) = section.section_if_present(column) else {
        return column_of(own_path());
    };
    let path = entry.take_or("path", PATH, own_path());
    if let Some(problem) = too_deep(&path, encoding) {
        entry.problem("path", problem);
    }
    let default = entry.take("default", Scalar);
    entry.finish();
    LookupColumn { path, default }
}

fn too_deep(path: &str, encoding: Encoding) -> Option<String> {
    let is_too_deep = encoding == Encoding::Hash && path.matches('.').count() > 1;
    is_too_deep.then(|| {
        format!("must have one step with encoding = \"hash\", such as \"$.email\", found {path:?}")
    })
}
