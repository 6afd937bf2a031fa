//! What is read of both topics' records and what joined ones are made of, worked out once.

use std::sync::Arc;

use crate::config::{JoinSide, KeyFormat, StreamJoin};
use crate::decode::json::Plan as Paths;
use crate::decode::time::{TextRules, TimeRules, TimeUnit};
use crate::decode::{Path, PathError};

/// See the module. Shared by the lanes.
#[derive(Debug)]
pub(crate) struct JoinPlan {
    pub(super) left: SidePlan,
    pub(super) right: SidePlan,
    pub(super) timestamp_ahead_max_ms: i64,
    /// The names of the members that are added; slots of the left side from [`SidePlan::REST`] on.
    pub(super) added: Vec<String>,
    /// What of the right record is added; slots of the right side from [`SidePlan::REST`] on.
    pub(super) right_fields: Vec<Member>,
    pub(super) right_time: Member,
    pub(super) join_time: Member,
    /// The members that stand in for those of a right record where there is none.
    pub(super) unmatched: Vec<u8>,
}

/// What is read of one side's records.
#[derive(Debug)]
pub(super) struct SidePlan {
    pub(super) paths: Arc<Paths>,
    pub(super) key_field: String,
    pub(super) key_format: KeyFormat,
    /// None: it is the record's Kafka timestamp.
    pub(super) time_field: Option<String>,
    time_unit: Option<TimeUnit>,
    text_times: Option<Arc<TextRules>>,
}

/// A member that is added.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    /// `"name":`
    pub(super) json: Vec<u8>,
}

impl SidePlan {
    /// Slot of the event time.
    pub(super) const TIME: usize = 0;
    /// Slot of the key.
    pub(super) const KEY: usize = 1;
    /// Slot of the first of the others.
    pub(super) const REST: usize = 2;

    fn new(side: &JoinSide, rest: impl Iterator<Item = Path>) -> Result<SidePlan, PathError> {
        // The key's slot, too, where no field has the time.
        let time = side.time_field.field().unwrap_or(&side.key_field);
        let time = match time.starts_with('$') {
            true => Path::parse(time)?,
            false => Path::field(time),
        };
        let own = [time, Path::field(&side.key_field)];
        let paths: Vec<Path> = own.into_iter().chain(rest).collect();
        Ok(SidePlan {
            paths: Arc::new(Paths::new(&paths)),
            key_field: side.key_field.clone(),
            key_format: side.key_format(),
            time_field: side.time_field.field().map(str::to_owned),
            time_unit: side.time_unit,
            text_times: side.text_times.clone(),
        })
    }

    /// How the event time is read.
    pub(super) fn time_rules(&self) -> TimeRules<'_> {
        TimeRules {
            unit: self.time_unit,
            unit_of_day: None,
            texts: self.text_times.as_deref(),
        }
    }
}

impl Member {
    fn new(name: &str) -> Member {
        let quoted = serde_json::Value::from(name).to_string();
        Member {
            name: name.to_owned(),
            json: format!("{quoted}:").into_bytes(),
        }
    }
}

impl JoinPlan {
    /// The plan of a configuration.
    ///
    /// # Errors
    /// A path that is none; the configuration has none of those.
    pub(crate) fn new(config: &StreamJoin) -> Result<JoinPlan, PathError> {
        let added: Vec<String> = config
            .added_members()
            .map(|(_, name)| name.to_owned())
            .collect();
        let paths = config.right_fields.iter().map(|f| Path::parse(&f.path));
        let paths = paths.collect::<Result<Vec<_>, _>>()?;
        let right_fields = config.right_fields.iter();
        let right_fields: Vec<_> = right_fields.map(|f| Member::new(&f.name)).collect();
        let right_time = Member::new(&config.output.right_time_field);
        let mut unmatched = vec![];
        for member in &right_fields {
            unmatched.extend_from_slice(&member.json);
            unmatched.extend_from_slice(b"null,");
        }
        unmatched.extend_from_slice(&right_time.json);
        unmatched.extend_from_slice(b"null");
        let ahead_max = config.timestamp_ahead_max.as_millis();
        Ok(JoinPlan {
            left: SidePlan::new(&config.left, added.iter().map(|name| Path::field(name)))?,
            right: SidePlan::new(&config.right, paths.into_iter())?,
            timestamp_ahead_max_ms: i64::try_from(ahead_max).unwrap_or(i64::MAX),
            added,
            right_fields,
            right_time,
            join_time: Member::new(&config.output.join_time_field),
            unmatched,
        })
    }
}
