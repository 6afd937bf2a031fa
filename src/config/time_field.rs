//! `time_field`: where the event time is.

use super::columns::FIELD;
use super::section::Section;
use super::tree::Value;
use super::value::{Choice, Kind, Text, text_of};
use crate::decode::Path;

/// Where the event time is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeField {
    /// Records have no event time, and the pipeline no watermark.
    Nowhere,
    /// The record's Kafka timestamp.
    KafkaTimestamp,
    /// A field of the record, by its name or by a path such as `$.meta.at`.
    Field(String),
}

impl TimeField {
    /// The field of the record.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            TimeField::Field(field) => Some(field),
            TimeField::Nowhere | TimeField::KafkaTimestamp => None,
        }
    }

    /// The same, of a kind that needs an event time.
    pub(super) fn read_some(section: &mut Section<'_>, default: &str) -> TimeField {
        let default = TimeField::Field(default.to_owned());
        let read = TimeField::read(section, default.clone());
        if read == TimeField::Nowhere {
            section.problem("time_field", "must not be \"\": records need an event time");
            return default;
        }
        read
    }

    /// As rules have known it since before it could be anything but a field.
    pub(crate) fn rule(&self) -> String {
        match self {
            TimeField::Field(field) => format!("{field:?}"),
            other => format!("{other:?}"),
        }
    }

    /// Reads `time_field`; `default` where it is not written.
    pub(super) fn read(section: &mut Section<'_>, default: TimeField) -> TimeField {
        if !matches!(section.peek("time_field"), Some(Value::Table(_))) {
            return section.take_or("time_field", FieldOrNothing, default);
        }
        let Some(mut entry) = section.section_if_present("time_field") else {
            return default;
        };
        if entry.has("from") {
            entry.take("from", Choice(&[("timestamp", ())]));
        } else {
            entry.problem("from", "is required: must be \"timestamp\"");
        }
        entry.finish();
        TimeField::KafkaTimestamp
    }
}

/// A path to a member, without array steps.
pub(super) fn is_plain_path(text: &str) -> bool {
    let path = Path::parse(text).ok();
    text.len() <= 1024 && path.is_some_and(|path| !path.is_whole() && path.steps().is_empty())
}

struct FieldOrNothing;

impl Kind for FieldOrNothing {
    type Out = TimeField;

    fn allowed(&self) -> String {
        "the name of a field, a path such as \"$.meta.at\", \"\" for none, or { from = \"timestamp\" \
         } for the record's Kafka timestamp"
            .to_owned()
    }

    fn read(&self, value: &Value) -> Option<TimeField> {
        let is = |kind: &Text, text: &str| (kind.check)(text);
        match text_of(value)? {
            "" => Some(TimeField::Nowhere),
            text if is(&FIELD, text) || (is_plain_path(text)) => {
                Some(TimeField::Field(text.to_owned()))
            }
            _ => None,
        }
    }

    fn canonical(&self, out: &TimeField) -> String {
        out.field().unwrap_or_default().to_owned()
    }
}
