//! What lanes of an aggregation are given besides the plan.

use std::sync::Arc;
use std::time::Duration;

use super::places::Places;
use super::plan::ms;
use crate::config::{
    Aggregation, GroupField, LateRecords, Partitioner, Pipeline, RecordField, StartOffset,
    TopicSelector,
};
use crate::decode::Path;
use crate::pipeline::quality::Tally;

/// What an operator is given besides its plan.
#[derive(Debug, Clone)]
pub(in crate::pipeline) struct Settings {
    pub(super) is_partitioned: bool,
    pub(super) late_records: LateRecords,
    pub(super) idle_timeout: Duration,
    pub(super) idle_retention: Duration,
    pub(super) timestamp_ahead_max_ms: i64,
    pub(super) has_topic: bool,
    pub(super) has_table: bool,
    /// For people.
    pub(super) table: String,
    pub(super) topic: String,
    pub(super) group_id: String,
    /// Reading begins at the end of the log, the very first time.
    pub(super) begins_at_end: bool,
    /// Windows of which the log has only a part are not written.
    pub(super) leaves_out_cut: bool,
    /// What put keys into partitions.
    pub(super) keys_placed_by: Option<Partitioner>,
    /// Shared by the lanes, of which there are so many.
    pub(super) places: Arc<Places>,
    pub(super) lanes: usize,
    /// Where keys are more than a text: the member that is one.
    pub(super) key_field: Option<String>,
    /// What rules say of all records together.
    pub(super) tally: Option<Arc<Tally>>,
}

impl Settings {
    /// `table`: what the rows go to, for people and commits; `has_table`: whether it is one.
    pub(in crate::pipeline) fn new(
        config: &Aggregation,
        pipeline: &Pipeline,
        table: String,
        has_table: bool,
        places: Arc<Places>,
    ) -> Self {
        let topic = pipeline.topics.first().map(TopicSelector::as_str);
        Settings {
            is_partitioned: config.partitioned_by.is_some(),
            late_records: config.late_records,
            idle_timeout: config.idle_timeout,
            idle_retention: config.idle_retention,
            timestamp_ahead_max_ms: ms(config.timestamp_ahead_max),
            has_topic: config.output_topic.is_some(),
            has_table,
            table,
            topic: topic.unwrap_or_default().to_owned(),
            group_id: pipeline.group_id.clone(),
            begins_at_end: pipeline.start_offset == StartOffset::Latest,
            leaves_out_cut: false,
            keys_placed_by: config.keys_placed_by,
            places,
            lanes: usize::from(pipeline.consumers),
            key_field: key_field(config),
            tally: None,
        }
    }

    /// The same, for a table in which every window is whole.
    pub(in crate::pipeline) fn leaving_out_cut(self, leaves_out_cut: bool) -> Self {
        Settings {
            leaves_out_cut,
            ..self
        }
    }

    /// The same, with what the lanes count together.
    pub(in crate::pipeline) fn with_tally(self, tally: Option<Arc<Tally>>) -> Self {
        Settings { tally, ..self }
    }
}

/// The member of a key that is the group's field of that key, or is told by the key alone.
fn key_field(config: &Aggregation) -> Option<String> {
    config
        .formats
        .key_format
        .filter(|format| format.has_members())?;
    let is_it = |field: &&GroupField| match &config.partitioned_by {
        Some(name) => field.name == *name,
        None => field.from == Some(RecordField::Key),
    };
    let field = config.group.iter().find(is_it)?;
    let of_path = Path::parse(&field.path).ok();
    let last = of_path.and_then(|path| path.names().last().map(str::to_owned));
    Some(
        last.filter(|_| field.from.is_none())
            .unwrap_or_else(|| field.name.clone()),
    )
}
