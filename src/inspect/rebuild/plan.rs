//! Where a rebuild begins and ends, kept in the comment of its shadow table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::source::TopicPartition;

const BEGINNING: &str = "streamweir rebuild ";

/// What a shadow is filled with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Whose records they are.
    pub(super) pipeline: String,
    /// The consumer group that reads them.
    pub(super) group: String,
    /// Tells this rebuild from earlier ones into a table of the same name.
    pub(super) id: String,
    /// `--from`, where it is a time, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) since_ms: Option<i64>,
    /// For each partition of each topic the first offset, and the first one that is left out.
    partitions: BTreeMap<String, BTreeMap<i32, (i64, i64)>>,
    /// The comment that the table has without a plan.
    #[serde(default)]
    pub(super) comment: String,
    /// The names of both tables: a table that was made after one of them has its comment too.
    pub(super) tables: [String; 2],
}

impl Plan {
    pub(super) fn new(pipeline: &str, group: &str, id: &str, since_ms: Option<i64>) -> Plan {
        Plan {
            pipeline: pipeline.to_owned(),
            group: group.to_owned(),
            id: id.to_owned(),
            since_ms,
            partitions: BTreeMap::new(),
            comment: String::new(),
            tables: Default::default(),
        }
    }

    pub(super) fn set(&mut self, partition: &TopicPartition, from: i64, to: i64) {
        let topic = self
            .partitions
            .entry(partition.topic.to_string())
            .or_default();
        topic.insert(partition.partition, (from, to));
    }

    /// Takes the partitions of the plan of another table of the same rebuild in.
    pub(super) fn add(&mut self, other: Plan) {
        self.partitions.extend(other.partitions);
    }

    pub(super) fn ranges(&self) -> impl Iterator<Item = (TopicPartition, (i64, i64))> {
        self.partitions.iter().flat_map(|(topic, partitions)| {
            let topic: std::sync::Arc<str> = topic.as_str().into();
            partitions.iter().map(move |(&partition, &range)| {
                let topic = topic.clone();
                (TopicPartition { topic, partition }, range)
            })
        })
    }

    /// As the comment of a table.
    pub(super) fn encode(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        format!("{BEGINNING}{text}")
    }

    /// The plan that the comment of this table is; `None`: it is none.
    pub(super) fn decode(table: &str, comment: &str) -> Option<Plan> {
        let plan: Plan = serde_json::from_str(comment.strip_prefix(BEGINNING)?).ok()?;
        plan.tables.iter().any(|name| name == table).then_some(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_from_the_comment_that_it_was_written_to() {
        let partition = |topic: &str, partition| TopicPartition {
            topic: topic.into(),
            partition,
        };
        let mut plan = Plan::new("p", "g-rebuild-1f", "1f", Some(5));
        plan.comment = "what 'it' was\n".to_owned();
        plan.tables = ["t", "t_rebuild"].map(str::to_owned);
        plan.set(&partition("a", 0), 3, 10);
        plan.set(&partition("a", 12), 0, 7);
        for table in ["t", "t_rebuild"] {
            assert_eq!(Plan::decode(table, &plan.encode()), Some(plan.clone()));
        }
        assert_eq!(Plan::decode("copy", &plan.encode()), None);
        let mut other = Plan::new("p", "g-rebuild-1f", "1f", None);
        other.set(&partition("b", 0), 1, 2);
        plan.add(other);
        let ranges: Vec<_> = plan.ranges().collect();
        let expected = [
            (partition("a", 0), (3, 10)),
            (partition("a", 12), (0, 7)),
            (partition("b", 0), (1, 2)),
        ];
        assert_eq!(ranges, expected);
        for comment in ["", "orders", "streamweir rebuild ", "streamweir rebuild {}"] {
            assert_eq!(Plan::decode("t", comment), None, "{comment}");
        }
    }
}
