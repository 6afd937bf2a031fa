//! The offsets of which a pipeline has dead letters, by partition.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::scope::Scope;
use crate::config::{Config, Pipeline};
use crate::inspect::Failure;
use crate::inspect::cluster::Cluster;
use crate::inspect::dead_letters::{Selection, letter_ranges, scan_letters};
use crate::source::TopicPartition;

/// The note where nobody knows whether a record is lost or was a dead letter.
pub(super) const LETTERS_CUT: &str = "the dead-letter topic does not begin at its first record any more: what is \
     missing may have been a dead letter that retention deleted";

/// Ascending offsets of each partition.
#[derive(Debug, Default)]
pub(super) struct LetterOffsets {
    offsets: BTreeMap<TopicPartition, Vec<i64>>,
    is_cut: bool,
}

impl LetterOffsets {
    /// Reads the dead-letter topic once, and keeps what lies in the scopes.
    ///
    /// # Errors
    /// Kafka does not answer, or more letters than fit into a quarter of `service.memory_max`.
    pub(super) fn read(
        config: &Config,
        cluster: &Cluster,
        pipeline: &Pipeline,
        scopes: &[Scope],
    ) -> Result<Self, Failure> {
        let selection = Selection {
            pipelines: [pipeline.name.clone()].into(),
            ..Selection::default()
        };
        let spans: BTreeMap<&TopicPartition, (i64, i64)> = scopes
            .iter()
            .map(|s| (&s.partition, (s.from, s.log.1)))
            .collect();
        let max = config.service.memory_max_bytes / 4 / 8;
        let mut kept = 0;
        let mut offsets: BTreeMap<TopicPartition, Vec<i64>> = BTreeMap::new();
        scan_letters(config, &selection, |letter, _| {
            let span = spans
                .get(&letter.partition)
                .filter(|_| !letter.is_of_before);
            if span.is_some_and(|(from, to)| (*from..*to).contains(&letter.offset)) {
                offsets
                    .entry(letter.partition)
                    .or_default()
                    .push(letter.offset);
                kept += 1;
            }
            if kept > max {
                return Err(Failure::Refused(format!(
                    "more than {max} dead letters do not fit into service.memory_max: audit one topic \
                     (--topic), or parts of it (--from, --to)"
                )));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for list in offsets.values_mut() {
            list.sort_unstable();
            list.dedup();
        }
        // Behind the reading: what is gone by then may have been passed by.
        let ranges = letter_ranges(cluster, &pipeline.dead_letter.topic)?;
        Ok(LetterOffsets {
            offsets,
            is_cut: ranges.iter().any(|(_, range)| range.from > 0),
        })
    }

    /// Whether letters are gone from their topic.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    pub(super) fn of(&self, partition: &TopicPartition) -> &[i64] {
        self.offsets.get(partition).map_or(&[], |offsets| offsets)
    }
}
