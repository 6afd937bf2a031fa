//! `[pipeline.left]` and `[pipeline.right]`: the two topics of a join.

use std::sync::Arc;

use crate::config::columns::{FIELD, PATH};
use crate::config::format::{Formats, KeyFormat};
use crate::config::section::Section;
use crate::config::time_field::TimeField;
use crate::config::time_unit::{TIME_UNITS, TextTimes};
use crate::config::topics::TOPIC;
use crate::decode::Path;
use crate::decode::time::{TextRules, TimeUnit};

/// One side of a join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinSide {
    /// The topic.
    pub topic: String,
    /// The field that both sides have in common; absent or null matches nothing.
    pub key_field: String,
    /// The field that holds the event time.
    pub time_field: TimeField,
    /// What a number as event time is, by this side or else by the pipeline; none: milliseconds, and what
    /// looks like seconds is refused.
    pub time_unit: Option<TimeUnit>,
    /// How a text as event time is read, by this side or else by the pipeline.
    pub text_times: Option<Arc<TextRules>>,
    /// How its records are read, by this side or else by the pipeline.
    pub formats: Formats,
}

impl JoinSide {
    /// What the records' Kafka keys are.
    #[must_use]
    pub fn key_format(&self) -> KeyFormat {
        self.formats.key_format.unwrap_or_default()
    }
}

/// What stands at the pipeline and may be overridden at either side.
#[derive(Debug, Clone)]
pub(super) struct SideDefaults {
    pub(super) time_unit: Option<TimeUnit>,
    pub(super) text_times: TextTimes,
    pub(super) formats: Formats,
}

/// One entry of `[pipeline.right.fields]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RightField {
    /// The member of the joined record.
    pub name: String,
    /// Where its value is in the right record.
    pub path: String,
}

/// What is taken of a user's profile, where nothing else is said.
const DEFAULT_FIELDS: [(&str, &str); 4] = [
    ("user_email", "$.email"),
    ("user_name", "$.name"),
    ("user_segment", "$.segment"),
    ("user_country", "$.country"),
];

impl JoinSide {
    pub(super) fn read_left(mut section: Section<'_>, defaults: &SideDefaults) -> JoinSide {
        let side = JoinSide::read(&mut section, "timestamp", defaults);
        section.finish();
        side
    }

    pub(super) fn read_right(
        mut section: Section<'_>,
        defaults: &SideDefaults,
    ) -> (JoinSide, Vec<RightField>) {
        let side = JoinSide::read(&mut section, "updated_at", defaults);
        let fields = read_fields(&mut section);
        section.finish();
        (side, fields)
    }

    fn read(section: &mut Section<'_>, time_field: &str, defaults: &SideDefaults) -> JoinSide {
        JoinSide {
            topic: section.take_required("topic", TOPIC),
            key_field: section.take_or("key_field", FIELD, "user_id".to_owned()),
            time_field: TimeField::read_some(section, time_field),
            time_unit: section.take("time_unit", TIME_UNITS).or(defaults.time_unit),
            text_times: TextTimes::read(section).or(&defaults.text_times).rules(),
            formats: declared(Formats::read_over(section, &defaults.formats)),
        }
    }
}

/// Of keys something is always declared: JSON, unless it is something else.
fn declared(formats: Formats) -> Formats {
    Formats {
        key_format: Some(formats.key_format.unwrap_or_default()),
        ..formats
    }
}

fn read_fields(section: &mut Section<'_>) -> Vec<RightField> {
    let was_there = section.has("fields");
    let mut table = section.section("fields");
    if !was_there {
        let fields = DEFAULT_FIELDS.map(|(name, path)| {
            table.record(name, path.to_owned());
            RightField {
                name: name.to_owned(),
                path: path.to_owned(),
            }
        });
        return fields.into();
    }
    let mut names = table.keys();
    names.sort_by_key(|name| table.line_of(name));
    let mut fields = vec![];
    for name in names {
        if !(FIELD.check)(&name) {
            let message = "must be the name of a member, 1 to 200 bytes without backticks, \
                           backslashes and control characters, not beginning with '$'";
            table.problem(&name, message);
        }
        if let Some(path) = table.take(&name, PATH) {
            if let Err(error) = Path::parse(&path) {
                table.problem(&name, error.to_string());
            }
            fields.push(RightField { name, path });
        }
    }
    table.finish();
    fields
}
