//! `[pipeline.columns]`: where a column's value comes from, where it is not `$.<column>`.

use std::collections::BTreeMap;

use super::clickhouse::is_identifier;
use super::record_field::{From, RecordField};
use super::section::Section;
use super::time_unit::TIME_UNITS;
use super::transform::{self, Transform};
use super::tree::Value;
use super::value::{Boolean, Choice, Scalar, Text};
use crate::debezium::OutOfRange;
use crate::decode::Path;
use crate::decode::time::TimeUnit;
use crate::steps::{Mask, OnError};

pub(super) const OUT_OF_RANGE: Choice<OutOfRange> = Choice(&[
    ("dead_letter", OutOfRange::DeadLetter),
    ("null", OutOfRange::Null),
    ("clamp", OutOfRange::Clamp),
]);

/// One entry of `[pipeline.columns]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnMapping {
    /// `$.a.b`, `$` for the whole record; none: `$.<column>`.
    pub path: Option<String>,
    /// What Kafka says of the record, in place of a value in it.
    pub from: Option<RecordField>,
    /// The text of the value for a field that is absent or null; none: the type's zero.
    pub default: Option<String>,
    /// Whether a record without the field is a dead letter.
    pub required: bool,
    /// Whether the field's JSON text is kept as received.
    pub raw: RawMode,
    /// What a number in a column of times is; none: as the pipeline's `time_unit` says.
    pub unit: Option<TimeUnit>,
    /// What is done to the value, or what it is made of; none: the field as it is.
    pub transform: Option<Transform>,
    /// What the column holds, such as `pii`: for its comment in DDL.
    pub classification: Option<String>,
    /// Of replicas: what becomes of a value that the column does not hold.
    pub on_out_of_range: Option<OutOfRange>,
}

impl ColumnMapping {
    /// What the column's comment says: what it holds, and which key hides it.
    #[must_use]
    pub fn comment(&self) -> Option<String> {
        let classification = self.classification.as_ref();
        let classification = classification.map(|word| format!("classification: {word}"));
        let mask = self
            .transform
            .as_ref()
            .and_then(|transform| transform.making.mask.as_ref());
        let masked = match mask {
            Some(Mask::Hmac(key)) => Some(format!("masked: hmac, key {}", key.id())),
            Some(Mask::Redact) => Some("masked: redact".to_owned()),
            Some(Mask::Null) => Some("masked: null".to_owned()),
            Some(Mask::KeepLast(_)) => Some("masked: keep_last".to_owned()),
            None => None,
        };
        let parts: Vec<String> = classification.into_iter().chain(masked).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// Which fields a column takes as JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RawMode {
    /// None: the value is converted to the column's type.
    #[default]
    No,
    /// Objects; other values are dead letters.
    Object,
    /// Every value.
    Any,
}

pub(super) const PATH: Text = Text {
    allowed: "a path such as \"$.page.url\": '$' and then '.name' steps, no array steps",
    check: is_path,
};

/// A path of a column: any that the decoder reads.
pub(super) const COLUMN_PATH: Text = Text {
    allowed: "a path such as \"$.page.url\": '$' and then steps '.name', '.\"quoted.name\"', '[0]' or '[*]'; \
              \"$\" is the whole record",
    check: |text| text.len() <= 1024 && Path::parse(text).is_ok(),
};

/// `$`, then steps `.name` whose names are not empty and have no dots and brackets.
fn is_path(text: &str) -> bool {
    let Some(steps) = text.strip_prefix("$.") else {
        return false;
    };
    text.len() <= 1024
        && steps
            .split('.')
            .all(|name| !name.is_empty() && !name.contains(['[', ']']))
}

/// The name of a column, as a value.
pub(super) const COLUMN: Text = Text {
    allowed: "the name of a column, 1 to 200 bytes without backticks, backslashes and control \
              characters",
    check: is_identifier,
};

/// The name of a field of the record, as a value.
pub(super) const FIELD: Text = Text {
    allowed: "the name of a field, 1 to 200 bytes, without \"$.\" (a path goes into \
              [pipeline.columns])",
    check: |text| is_identifier(text) && !text.starts_with('$'),
};

const CLASSIFICATION: Text = Text {
    allowed: "a word such as \"pii\", 1 to 64 characters of a-z, A-Z, 0-9, '_' and '-'",
    check: |text| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        (1..=64).contains(&text.len()) && text.bytes().all(legal)
    },
};

/// Columns the daemon fills with the record's origin.
pub(super) const PROVENANCE: [&str; 3] = ["_topic", "_partition", "_offset"];

/// The column the daemon fills with the number of an element, where `explode` is set.
pub(super) const INDEX: &str = "_index";

/// Reads `[pipeline.columns]`.
pub(super) fn read(mut section: Section<'_>) -> BTreeMap<String, ColumnMapping> {
    let mut columns = BTreeMap::new();
    for column in section.keys() {
        let mapping = read_mapping(&mut section, &column);
        if !is_identifier(&column) {
            section.problem(&column, format!("must be {}", COLUMN.allowed));
        }
        if PROVENANCE.contains(&column.as_str()) {
            section.problem(
                &column,
                "must not be mapped: the daemon fills it with the record's origin",
            );
        }
        columns.insert(column, mapping);
    }
    section.finish();
    columns
}

fn read_mapping(section: &mut Section<'_>, column: &str) -> ColumnMapping {
    match section.peek(column) {
        Some(Value::Text(_)) => {
            let path = section.take(column, COLUMN_PATH);
            // Recorded as the long form is: one meaning, one effective configuration.
            section.forget(column);
            section.record(&format!("{column}.path"), path.clone().unwrap_or_default());
            section.record(&format!("{column}.required"), "false".to_owned());
            return ColumnMapping {
                path,
                ..ColumnMapping::default()
            };
        }
        Some(Value::Table(_)) => {}
        other => {
            let found = other.map_or("nothing".to_owned(), Value::to_string);
            let allowed = COLUMN_PATH.allowed;
            section.take_node(column);
            let message = format!(
                "must be {allowed}, or a table {{ path, from, default, required, raw, unit, apply, … }}, found {found}"
            );
            section.problem(column, message);
            return ColumnMapping::default();
        }
    }
    let Some(mut entry) = section.section_if_present(column) else {
        return ColumnMapping::default();
    };
    let raw_modes = Choice(&[("object", RawMode::Object), ("any", RawMode::Any)]);
    let path = entry.take("path", COLUMN_PATH);
    let transform = transform::read(&mut entry, column, path.as_deref());
    let mapping = ColumnMapping {
        path,
        transform,
        classification: entry.take("classification", CLASSIFICATION),
        from: entry.take("from", From),
        default: entry.take("default", Scalar),
        required: entry.take_or("required", Boolean, false),
        raw: entry.take("raw", raw_modes).unwrap_or(RawMode::No),
        unit: entry.take("unit", TIME_UNITS),
        on_out_of_range: entry.take("on_out_of_range", OUT_OF_RANGE),
    };
    if mapping.required && mapping.default.is_some() {
        entry.problem(
            "default",
            "cannot be set together with required = true: keep one of them",
        );
    }
    check_transform(&entry, &mapping);
    if mapping.from.is_some() {
        let is_key = mapping.from == Some(RecordField::Key);
        for (key, is_set) in [
            ("path", mapping.path.is_some() && !is_key),
            ("raw", mapping.raw != RawMode::No),
        ] {
            if is_set {
                let message = "cannot be set together with from: the column takes no value of the \
                               record (from = \"key\" may have a path into the key)";
                entry.problem(key, message);
            }
        }
    }
    if let Some(default) = &mapping.default {
        check_raw_default(&entry, mapping.raw, default);
    }
    entry.finish();
    mapping
}

/// A value that is made is neither raw nor a part of Kafka's record, and has one thing to do when it fails.
fn check_transform(entry: &Section<'_>, mapping: &ColumnMapping) {
    let Some(transform) = &mapping.transform else {
        return;
    };
    for (key, is_set) in [
        ("raw", mapping.raw != RawMode::No),
        ("from", mapping.from.is_some()),
    ] {
        if is_set {
            let message = "cannot be set together with apply, mask, or a value that is computed: these take \
                           fields of the record";
            entry.problem(key, message);
        }
    }
    if mapping.required && transform.making.on_error == OnError::Default {
        let message = "\"default\" cannot be set together with required = true: keep one of them";
        entry.problem("on_error", message);
    }
}

/// The default of a raw column is written as it is, so it must be what the column promises.
fn check_raw_default(entry: &Section<'_>, raw: RawMode, default: &str) {
    let json = serde_json::from_str::<serde_json::Value>(default);
    match raw {
        RawMode::Object if !json.as_ref().is_ok_and(serde_json::Value::is_object) => {
            entry.problem(
                "default",
                format!("must be the text of a JSON object, found {default:?}"),
            );
        }
        RawMode::Any if json.is_err() => {
            entry.problem("default", format!("must be a JSON text, found {default:?}"));
        }
        _ => {}
    }
}
