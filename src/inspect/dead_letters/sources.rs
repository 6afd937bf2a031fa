//! What the topics of letters say today of what can be replayed.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::letter::Letter;
use crate::config::{Kind, Pipeline, Service, Truncate};
use crate::inspect::Failure;
use crate::inspect::cluster::Cluster;
use crate::inspect::log::{LogReader, Read};
use crate::pipeline::{Replayed, Replayer};
use crate::progress::Range;
use crate::source::TopicPartition;

/// Why a letter is passed by.
pub(super) const TRUNCATED: &str = "the source emptied its table after this change";
/// Of a letter of which nobody knows whether it may be replayed.
const UNKNOWN: &str = "truncate";

/// The logs of pipelines whose letters are replayed.
#[derive(Debug, Default)]
pub(super) struct Sources {
    logs: HashMap<String, Log>,
}

#[derive(Debug)]
struct Log {
    cluster: Cluster,
    reader: LogReader,
    partitions: HashMap<TopicPartition, Emptied>,
}

/// When the source emptied its table, as far as a partition was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Emptied {
    read: Range,
    last: Option<i64>,
    /// The last record that could not be told.
    untold: Option<i64>,
}

impl Emptied {
    /// What is to be read before it is known whether the table was emptied after `offset`.
    fn unread(self, offset: i64, end: i64) -> [Range; 2] {
        let before = Range {
            from: offset + 1,
            to: self.read.from,
        };
        let behind = Range {
            from: self.read.to.max(offset + 1),
            to: end,
        };
        match self.last {
            Some(last) if last > offset => [Range { from: 0, to: 0 }; 2],
            _ => [before, behind],
        }
    }
}

impl Sources {
    /// Whether the letter's topic is another one now.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub(super) fn is_of_before(
        &mut self,
        service: &Service,
        pipeline: &Arc<Pipeline>,
        letter: &Letter,
    ) -> Result<bool, Failure> {
        if letter.is_of_before || letter.topic_id.is_some() {
            return Ok(letter.is_of_before);
        }
        // Letters of earlier versions name no id: the record itself tells, where it is still there.
        let log = self.log(service, pipeline)?;
        let Some(partitions) = log.cluster.partitions_of(&letter.partition.topic)? else {
            return Ok(false);
        };
        if !partitions.contains(&letter.partition) {
            return Ok(true);
        }
        let (low, high) = log.cluster.log_range(&letter.partition)?;
        if letter.offset < low || letter.offset >= high {
            return Ok(letter.offset >= high);
        }
        let range = Range {
            from: letter.offset,
            to: letter.offset + 1,
        };
        let mut differs = false;
        let read = log.reader.read_or_cut(&letter.partition, range, |record| {
            let is_whole = letter.payload.is_none();
            differs = record.key() != letter.key.as_deref()
                || (is_whole && record.value() != letter.value.as_deref());
            Ok(ControlFlow::Break(()))
        });
        read?;
        Ok(differs)
    }

    /// What a change is if the source emptied its table after it, or may have; `None`: it did not.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub(super) fn emptied(
        &mut self,
        service: &Service,
        pipeline: &Arc<Pipeline>,
        letter: &Letter,
        replayer: &mut Replayer,
    ) -> Result<Option<Replayed>, Failure> {
        let truncate = match &pipeline.kind {
            Kind::Cdc(config) => config.truncate,
            _ => Truncate::Ignore,
        };
        if truncate == Truncate::Ignore {
            return Ok(None);
        }
        let Log {
            cluster,
            reader,
            partitions,
        } = self.log(service, pipeline)?;
        let partition = &letter.partition;
        let (low, high) = cluster.log_range(partition)?;
        let start = Range {
            from: letter.offset + 1,
            to: letter.offset + 1,
        };
        let known = partitions.entry(partition.clone()).or_insert(Emptied {
            read: start,
            last: None,
            untold: None,
        });
        let mut is_cut = false;
        for range in known.unread(letter.offset, high) {
            if range.from >= range.to {
                continue;
            }
            is_cut |= low > range.from;
            let rest = Range {
                from: range.from.max(low),
                to: range.to,
            };
            let read = reader.read_or_cut(partition, rest, |record| {
                match replayer.truncates(partition, record) {
                    Some(true) => known.last = known.last.max(Some(record.offset())),
                    Some(false) => {}
                    None => known.untold = known.untold.max(Some(record.offset())),
                }
                Ok(ControlFlow::Continue(()))
            })?;
            is_cut |= matches!(read, Read::Cut(_));
            // What is gone is asked for again, and found to be gone.
            known.read.from = known.read.from.min(rest.from);
            known.read.to = known.read.to.max(rest.to);
        }
        Ok(match known.last {
            Some(last) if last > letter.offset => Some(Replayed::Dropped(TRUNCATED)),
            _ if truncate == Truncate::Apply && known.untold > Some(letter.offset) => {
                Some(Replayed::Refused {
                    reason: UNKNOWN.to_owned(),
                    detail: format!(
                        "{partition}:{}: the schema of this record is not known (schema_registry.url), so \
                         whether the source emptied its table after this change cannot be known",
                        known.untold.unwrap_or_default()
                    ),
                })
            }
            _ if is_cut && truncate == Truncate::Apply => Some(Replayed::Refused {
                reason: UNKNOWN.to_owned(),
                detail: format!(
                    "the log begins at {low}: whether the source emptied its table after this change cannot \
                     be known"
                ),
            }),
            _ => None,
        })
    }

    fn log(&mut self, service: &Service, pipeline: &Arc<Pipeline>) -> Result<&mut Log, Failure> {
        let name = &pipeline.name;
        if !self.logs.contains_key(name) {
            let log = Log {
                cluster: Cluster::connect(service, pipeline)?,
                reader: LogReader::new(service, pipeline)?,
                partitions: HashMap::new(),
            };
            self.logs.insert(name.clone(), log);
        }
        let log = self.logs.get_mut(name);
        Ok(log.expect("just inserted where it was missing"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_a_log_is_read_once() {
        let known = |from, to, last| Emptied {
            untold: None,
            read: Range { from, to },
            last,
        };
        let unread = |known: Emptied, offset, end| {
            let parts = known.unread(offset, end);
            let parts = parts.into_iter().filter(|range| range.from < range.to);
            parts
                .map(|range| (range.from, range.to))
                .collect::<Vec<_>>()
        };
        assert_eq!(unread(known(6, 6, None), 5, 20), [(6, 20)]);
        assert_eq!(unread(known(6, 20, None), 5, 20), []);
        assert_eq!(unread(known(6, 20, None), 9, 25), [(20, 25)]);
        assert_eq!(unread(known(6, 20, None), 2, 25), [(3, 6), (20, 25)]);
        assert_eq!(unread(known(6, 20, None), 30, 40), [(31, 40)]);
        // One that is known is enough.
        assert_eq!(unread(known(6, 20, Some(15)), 2, 25), []);
        assert_eq!(unread(known(6, 20, Some(15)), 15, 25), [(20, 25)]);
    }
}
