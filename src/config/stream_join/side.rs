//! `[pipeline.left]` and `[pipeline.right]`: the two topics of a join.

use crate::config::columns::{FIELD, PATH};
use crate::config::section::Section;
use crate::config::time_unit::TIME_UNITS;
use crate::config::topics::TOPIC;
use crate::decode::Path;
use crate::decode::time::TimeUnit;

/// One side of a join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinSide {
    /// The topic.
    pub topic: String,
    /// The field that both sides have in common; absent or null matches nothing.
    pub key_field: String,
    /// The field that holds the event time.
    pub time_field: String,
    /// What a number as event time is, by this side or else by the pipeline; none: milliseconds, and what
    /// looks like seconds is refused.
    pub time_unit: Option<TimeUnit>,
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
    pub(super) fn read_left(mut section: Section<'_>, unit: Option<TimeUnit>) -> JoinSide {
        let side = JoinSide::read(&mut section, "timestamp", unit);
        section.finish();
        side
    }

    pub(super) fn read_right(
        mut section: Section<'_>,
        unit: Option<TimeUnit>,
    ) -> (JoinSide, Vec<RightField>) {
        let side = JoinSide::read(&mut section, "updated_at", unit);
        let fields = read_fields(&mut section);
        section.finish();
        (side, fields)
    }

    fn read(section: &mut Section<'_>, time_field: &str, unit: Option<TimeUnit>) -> JoinSide {
        JoinSide {
            topic: section.take_required("topic", TOPIC),
            key_field: section.take_or("key_field", FIELD, "user_id".to_owned()),
            time_field: section.take_or("time_field", FIELD, time_field.to_owned()),
            time_unit: section.take("time_unit", TIME_UNITS).or(unit),
        }
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
