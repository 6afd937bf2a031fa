//! The offsets of which a pipeline has dead letters, by partition.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::scope::Scope;
use crate::config::{Config, Pipeline};
use crate::inspect::Failure;
use crate::inspect::dead_letters::{Selection, scan_letters};
use crate::source::TopicPartition;

/// Ascending offsets of each partition.
#[derive(Debug, Default)]
pub(super) struct LetterOffsets(BTreeMap<TopicPartition, Vec<i64>>);

impl LetterOffsets {
    /// Reads the dead-letter topic once, and keeps what lies in the scopes.
    ///
    /// # Errors
    /// Kafka does not answer, or more letters than fit into a quarter of `service.memory_max`.
    pub(super) fn read(
        config: &Config,
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
            let span = spans.get(&letter.partition);
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
        Ok(LetterOffsets(offsets))
    }

    pub(super) fn of(&self, partition: &TopicPartition) -> &[i64] {
        self.0.get(partition).map_or(&[], |offsets| offsets)
    }
}
