//! What the table of a topic says, where versions decide, against what the group has committed.

use super::Facts;
use crate::halt::Halt;
use crate::progress::{Layout, Metadata};

/// What is known of the table of a topic where versions decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct ReplicaFacts {
    /// It is not there, or has no row.
    pub(in super::super) is_empty: bool,
    /// On the very first start: its newest version.
    pub(in super::super) newest_version: Option<u64>,
    /// The same, if the topic has no record as new.
    pub(in super::super) newer_version: Option<u64>,
    /// Somebody of the group has committed a partition of the topic.
    pub(in super::super) topic_is_committed: bool,
    /// It may be empty where the group has read the topic already.
    pub(in super::super) accepts_empty: bool,
    /// Other topics are written to it too.
    pub(in super::super) is_shared: bool,
    /// The record where one of the topic's partitions goes on is to be passed by: a truncation that an
    /// operator has carried out.
    pub(in super::super) was_emptied_by_hand: bool,
}

/// A table without rows where records that made rows were read is not the one that they were written to:
/// they would be missing from it for good.
pub(super) fn check_not_behind(
    facts: &Facts<'_>,
    position: i64,
    metadata: Option<&Metadata>,
) -> Result<(), Halt> {
    let Some(replica) = facts.replica.filter(|replica| replica.is_empty) else {
        return Ok(());
    };
    let (low, _) = facts.log;
    let made_rows = match metadata {
        Some(metadata) => !metadata.made_no_rows && position > 0,
        // A reset: what is before it was left out on purpose only if there is nothing.
        None => position > low,
    };
    if !made_rows || replica.accepts_empty || replica.was_emptied_by_hand {
        return Ok(());
    }
    let Facts {
        partition,
        group_id,
        table,
        ..
    } = facts;
    let topic = &partition.topic;
    let advice = format!(
        "{partition}: table {table} is not there or has no row, and group {group_id} has committed offset \
         {position}: rows of the records before it would never come. Reset the offsets of group_id \
         {group_id} for topic {topic} to its beginning (the log begins at {low} now), or, where it no longer \
         has every row, set [pipeline.tables.{topic:?}] accept_empty = true and have the connector take a \
         new snapshot; where the table is to be as empty as it is, accept_empty = true alone"
    );
    Err(Halt::new("table_behind", advice))
}

/// Rows of another topic, whose offsets say nothing of this one's order.
pub(super) fn check_no_rows_before(facts: &Facts<'_>) -> Result<(), Halt> {
    let (Some(replica), Some(layout)) = (facts.replica, facts.layout) else {
        return Ok(());
    };
    let hides = |version: u64| version > 0 && Layout::epoch_and_offset(version).0 >= layout.epoch;
    let is_hidden = replica.newest_version.is_some_and(hides);
    if !is_hidden || replica.topic_is_committed || replica.is_shared {
        return Ok(());
    }
    let Facts {
        partition,
        group_id,
        table,
        ..
    } = facts;
    let topic = &partition.topic;
    let advice = format!(
        "{partition}: group {group_id} has committed no offset of topic {topic}, but table {table} has rows: \
         those of another topic (a renamed prefix, another connector) would hide newer ones of this. Add \
         {{ since = \"<before its first record, after the last of the other>\", epoch = {} }} to \
         pipeline.version_epochs; or write to an empty table, [pipeline.tables.{topic:?}] table = \"…\"; or, \
         where several topics fill it and no two of their rows have one key, set \
         [pipeline.tables.{topic:?}] shared = true. If all rows are of this topic and only the group is new, \
         set its offsets yourself (`streamweir offsets reset --pipeline NAME --topic {topic} --to \
         earliest`): every record has the version that it had",
        u32::from(layout.epoch) + 1
    );
    Err(Halt::new("table_has_rows", advice))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{facts, partition};
    use super::super::{Start, decide};
    use super::*;
    use crate::progress::Epoch;

    pub(in super::super) const REPLICA: ReplicaFacts = ReplicaFacts {
        is_empty: false,
        newest_version: None,
        newer_version: None,
        topic_is_committed: false,
        accepts_empty: false,
        is_shared: false,
        was_emptied_by_hand: false,
    };

    #[test]
    fn a_table_without_rows_under_a_committed_offset_halts_until_told_otherwise() {
        let p = partition();
        let commit = |made_no_rows| {
            let metadata = Metadata {
                topic_id: "idA".into(),
                epoch: Epoch(5),
                counter: 9,
                table: "db.t".into(),
                range_ends: vec![],
                is_set_back: false,
                layout: Some(Layout {
                    partitions: 4,
                    epoch: 0,
                }),
                made_no_rows,
                frontier: None,
                watermark_ms: None,
                insert_span_ms: None,
            };
            metadata.encode(50).unwrap()
        };
        let (with_rows, without) = (commit(false), commit(true));
        let empty = ReplicaFacts {
            is_empty: true,
            topic_is_committed: true,
            ..REPLICA
        };
        let decided = |metadata: &str, position: i64, replica: ReplicaFacts| {
            let facts = Facts {
                committed: Some(position),
                metadata,
                replica: Some(replica),
                ..facts(&p)
            };
            decide(&facts).map_err(|halt| {
                let named = halt.advice.contains("db.t") && halt.advice.contains("accept_empty");
                assert!(named, "{}", halt.advice);
                halt.reason
            })
        };
        let halts = Err("table_behind");
        let position = |start: Result<Start, _>| start.map(|start| start.position);
        assert_eq!(position(decided(&with_rows, 50, empty)), halts);
        // The group was set back, to the beginning of the log or not.
        assert_eq!(position(decided("", 50, empty)), halts);
        assert_eq!(position(decided("", 10, empty)), Ok(10));
        // Where the log has lost them, too.
        assert_eq!(position(decided(&with_rows, 10, empty)), halts);
        for replica in [
            ReplicaFacts {
                accepts_empty: true,
                ..empty
            },
            ReplicaFacts {
                was_emptied_by_hand: true,
                ..empty
            },
            REPLICA,
        ] {
            assert_eq!(position(decided(&with_rows, 50, replica)), Ok(50));
        }
        // Nothing but tombstones and dead letters so far.
        assert_eq!(position(decided(&without, 50, empty)), Ok(50));
    }

    #[test]
    fn a_topic_that_nobody_committed_halts_before_rows_that_would_hide_its_own() {
        let p = partition();
        let layout = |epoch| Layout {
            partitions: 4,
            epoch,
        };
        let decided = |epoch, replica: ReplicaFacts| {
            let facts = Facts {
                layout: Some(layout(epoch)),
                replica: Some(replica),
                ..facts(&p)
            };
            decide(&facts).map(|start| start.position).map_err(|halt| {
                let words = ["shared = true", "version_epochs", "db.t"];
                assert!(
                    words.iter().all(|w| halt.advice.contains(w)),
                    "{}",
                    halt.advice
                );
                halt.reason
            })
        };
        let rows = ReplicaFacts {
            newest_version: Some(layout(1).version(40)),
            ..REPLICA
        };
        assert_eq!(decided(1, rows), Err("table_has_rows"));
        assert_eq!(decided(2, rows), Ok(10));
        for replica in [
            ReplicaFacts {
                topic_is_committed: true,
                ..rows
            },
            ReplicaFacts {
                is_shared: true,
                newer_version: rows.newest_version,
                ..rows
            },
            // Loaded by hand, under no version.
            ReplicaFacts {
                newest_version: Some(0),
                ..rows
            },
            REPLICA,
        ] {
            assert_eq!(decided(1, replica), Ok(10), "{replica:?}");
        }
    }
}
