//! Reads ranges of a topic, one after the other, as a member of no group.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaResult, RDKafkaErrorCode};

use super::Failure;
use super::cluster::reader_config;
use crate::config::{Kafka, Pipeline, Service};
use crate::progress::Range;
use crate::source::{Consumer, Record, TopicPartition};

/// How long nothing may come before the cluster counts as away.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const POLL_WAIT: Duration = Duration::from_millis(100);
const ENDS_TIMEOUT: Duration = Duration::from_secs(10);
const RECORDS_MAX: usize = 1_000;

/// Reads records that are committed, as the daemon would.
#[derive(Debug)]
pub(crate) struct LogReader {
    consumer: Consumer,
    kafka: Kafka,
    /// The partition that is assigned.
    assigned: Option<TopicPartition>,
    /// What the next message of the client is, where that is known.
    next: Option<i64>,
}

/// What one message of the client means for a range that is read.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Record,
    /// Nothing of the range is behind it.
    End,
    /// Of another assignment, or of no importance.
    Nothing,
    /// The log was cut meanwhile.
    Cut,
}

/// How reading a range ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// With its last record.
    Whole,
    /// Whoever took the records has enough.
    Enough,
    /// Retention has deleted these offsets meanwhile; what lies before them was read.
    Cut(Range),
}

impl Read {
    /// The part of the range `..to` that is not in the log any more.
    pub(crate) fn gone_below(self, to: i64) -> u64 {
        match self {
            Read::Cut(gone) => (gone.to.min(to) - gone.from).max(0).unsigned_abs(),
            _ => 0,
        }
    }
}

/// The note where an audit has passed by what retention deleted.
pub(super) const CUT_MEANWHILE: &str =
    "retention deleted records while they were read: what was made of them is not checked";

impl LogReader {
    /// Connects; nothing is read yet.
    ///
    /// # Errors
    /// Properties that librdkafka refuses.
    pub(crate) fn new(service: &Service, pipeline: &Pipeline) -> Result<Self, Failure> {
        let config = reader_config(service, pipeline);
        let consumer = Consumer::new(&config).map_err(|error| Failure::client(&error))?;
        Ok(LogReader {
            consumer,
            kafka: pipeline.kafka.clone(),
            assigned: None,
            next: None,
        })
    }

    /// Hands each record of `range` to `each`, in order, until it breaks, or the log is cut meanwhile. Offsets that
    /// hold no record (control records, compacted or aborted ones) are left out.
    ///
    /// # Errors
    /// The cluster is away or refuses, or what `each` returned.
    pub(crate) fn read_or_cut(
        &mut self,
        partition: &TopicPartition,
        range: Range,
        mut each: impl FnMut(Record<'_>) -> Result<ControlFlow<()>, Failure>,
    ) -> Result<Read, Failure> {
        if range.from >= range.to {
            return Ok(Read::Whole);
        }
        let what = format!("{partition}:{}", range.from);
        self.begin(partition, range.from)
            .map_err(|error| Failure::kafka(&self.kafka, &what, &error))?;
        let mut next = range.from;
        let questions = self.consumer.questions();
        let mut heard = Instant::now();
        let mut last_error = "no broker answered".to_owned();
        loop {
            self.consumer.events();
            if !self.consumer.wait(POLL_WAIT) {
                if heard.elapsed() > SILENCE_MAX {
                    return Err(Failure::unreached(&self.kafka, &what, &last_error));
                }
                continue;
            }
            // No more than the range has: what is behind it is left to the next one.
            let rest = usize::try_from(range.to - next).unwrap_or(usize::MAX);
            let chunk = self.consumer.take(rest.min(RECORDS_MAX));
            for index in 0..chunk.count() {
                let record = chunk.get(index);
                if record.partition() != partition.partition || record.topic() != &*partition.topic
                {
                    continue;
                }
                match judge(record.error(), record.offset(), next, range.to) {
                    Seen::Record => {
                        if each(record)?.is_break() {
                            return Ok(Read::Enough);
                        }
                        next = record.offset() + 1;
                        heard = Instant::now();
                        if next >= range.to {
                            if index + 1 == chunk.count() {
                                self.next = Some(next);
                            }
                            return Ok(Read::Whole);
                        }
                    }
                    Seen::End => return Ok(Read::Whole),
                    Seen::Nothing => {
                        if let Some(code) = record.error() {
                            last_error = code.to_string();
                        }
                    }
                    Seen::Cut => {
                        let ends = questions.watermarks(partition, ENDS_TIMEOUT);
                        let (low, _) =
                            ends.map_err(|error| Failure::kafka(&self.kafka, &what, &error))?;
                        if low > next {
                            // The client has stopped to fetch it.
                            self.assigned = None;
                            let to = low.min(range.to);
                            return Ok(Read::Cut(Range { from: next, to }));
                        }
                        // Of an earlier assignment.
                        "the broker does not have the offset".clone_into(&mut last_error);
                    }
                }
            }
        }
    }
}

impl LogReader {
    /// Has the client read from `offset` on. Where it is there already, what it has fetched is kept.
    fn begin(&mut self, partition: &TopicPartition, offset: i64) -> KafkaResult<()> {
        let is_there = self.next.take() == Some(offset);
        if self.assigned.as_ref() != Some(partition) {
            self.assigned = None;
            self.consumer.assign(&[(partition.clone(), offset)])?;
            self.assigned = Some(partition.clone());
        } else if !is_there {
            // Another assignment of the same partition would let messages of this one through.
            self.consumer.seek(partition, offset)?;
        }
        Ok(())
    }
}

fn judge(error: Option<RDKafkaErrorCode>, offset: i64, next: i64, to: i64) -> Seen {
    match error {
        None if offset < next => Seen::Nothing,
        None if offset >= to => Seen::End,
        None => Seen::Record,
        // What was queued under an earlier assignment tells of an earlier end.
        Some(RDKafkaErrorCode::PartitionEOF) if offset >= to => Seen::End,
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => Seen::Cut,
        Some(_) => Seen::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_counted_as_far_as_it_was_asked_for() {
        let cut = Read::Cut(Range { from: 5, to: 9 });
        let counts = [3, 7, 9, 20].map(|to| cut.gone_below(to));
        assert_eq!(counts, [0, 2, 4, 4]);
        assert_eq!(Read::Whole.gone_below(20), 0);
    }

    #[test]
    fn a_range_ends_with_its_last_record_or_where_the_log_does() {
        let eof = Some(RDKafkaErrorCode::PartitionEOF);
        assert_eq!(judge(None, 5, 5, 10), Seen::Record);
        assert_eq!(judge(None, 9, 7, 10), Seen::Record);
        assert_eq!(judge(None, 10, 7, 10), Seen::End);
        assert_eq!(judge(None, 4, 5, 10), Seen::Nothing);
        assert_eq!(judge(eof, 10, 7, 10), Seen::End);
        assert_eq!(judge(eof, 9, 7, 10), Seen::Nothing);
        assert_eq!(
            judge(Some(RDKafkaErrorCode::AutoOffsetReset), 3, 3, 10),
            Seen::Cut
        );
        assert_eq!(
            judge(Some(RDKafkaErrorCode::BrokerTransportFailure), 3, 3, 10),
            Seen::Nothing
        );
    }
}
