//! `[pipeline.output]` of a join: where joined records go.

use crate::config::columns::FIELD;
use crate::config::section::Section;
use crate::config::topics::TOPIC;
use crate::config::value::Choice;

pub use streamweir_kafka::Partitioner;

/// Where joined records go, and what the daemon's own members are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinOutput {
    /// The topic.
    pub topic: String,
    /// What puts them into its partitions by their keys.
    pub partitioner: Partitioner,
    /// The member with the event time of the right record.
    pub right_time_field: String,
    /// The member with the time of joining.
    pub join_time_field: String,
}

pub(in crate::config) const PARTITIONERS: Choice<Partitioner> = Choice(&[
    ("consistent", Partitioner::Consistent),
    ("murmur2", Partitioner::Murmur2),
    ("key_modulo", Partitioner::KeyModulo),
]);

impl JoinOutput {
    pub(super) fn read(mut section: Section<'_>) -> JoinOutput {
        let output = JoinOutput {
            topic: section.take_required("topic", TOPIC),
            partitioner: section.take_or("partitioner", PARTITIONERS, Partitioner::Consistent),
            right_time_field: section.take_or(
                "right_time_field",
                FIELD,
                "profile_updated_at".to_owned(),
            ),
            join_time_field: section.take_or("join_time_field", FIELD, "join_timestamp".to_owned()),
        };
        section.finish();
        output
    }
}
