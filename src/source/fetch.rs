//! Reading single records again, by their offsets, outside the consumer group.

use std::time::{Duration, Instant};

use streamweir_kafka::{Found, KafkaError, OwnedRecord, Reader};

use super::{TopicPartition, admin_client};
use crate::config::Pipeline;

const LOOK_BACK_TIMEOUT: Duration = Duration::from_secs(30);

/// The record could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{place}: the record could not be read again: {error}")]
pub(crate) struct FetchError {
    pub(super) place: String,
    pub(super) error: String,
}

/// The last record below `offset`; `None` when the log, which starts at `log_start`, has none.
/// Blocks for half a minute at most.
///
/// # Errors
/// No broker answers in time.
pub(crate) fn record_before(
    pipeline: &Pipeline,
    partition: &TopicPartition,
    offset: i64,
    log_start: i64,
) -> Result<Option<OwnedRecord>, FetchError> {
    // Transaction markers and compaction leave gaps: look further back each time.
    let mut step = 1;
    let mut start = offset;
    while start > log_start {
        start = (offset - step).max(log_start);
        let reader = Following::at(pipeline, partition, start, LOOK_BACK_TIMEOUT)?;
        let mut last = None;
        while let Some(record) = reader.next()?.filter(|record| record.offset < offset) {
            last = Some(record);
        }
        if last.is_some() {
            return Ok(last);
        }
        step *= 32;
    }
    Ok(None)
}

/// One partition from one offset on, outside the group.
struct Following<'a> {
    reader: Reader,
    partition: &'a TopicPartition,
    start: i64,
    deadline: Instant,
}

impl<'a> Following<'a> {
    fn at(
        pipeline: &Pipeline,
        partition: &'a TopicPartition,
        start: i64,
        timeout: Duration,
    ) -> Result<Self, FetchError> {
        let fail = |error: KafkaError| FetchError {
            place: format!("{partition}:{start}"),
            error: error.to_string(),
        };
        let reader = reader(pipeline).map_err(fail)?;
        let assigned = reader.assign(&partition.topic, &[(partition.partition, start)]);
        assigned.map_err(fail)?;
        Ok(Following {
            reader,
            partition,
            start,
            deadline: Instant::now() + timeout,
        })
    }

    /// The next record; `None` at the end of the log.
    fn next(&self) -> Result<Option<OwnedRecord>, FetchError> {
        let mut last_error = "no broker answered".to_owned();
        while Instant::now() < self.deadline {
            match self.reader.poll(Duration::from_millis(100)) {
                Some(Found::Record(record)) => return Ok(Some(record.to_owned())),
                Some(Found::End(_)) => return Ok(None),
                Some(Found::Gone(error) | Found::Trouble(error)) => last_error = error.to_string(),
                None => {}
            }
        }
        Err(self.fail(last_error))
    }

    fn fail(&self, error: String) -> FetchError {
        FetchError {
            place: format!("{}:{}", self.partition, self.start),
            error,
        }
    }
}

/// A client outside the group that reads what it is told to.
pub(super) fn reader(pipeline: &Pipeline) -> Result<Reader, KafkaError> {
    let mut config = admin_client(&pipeline.kafka, &pipeline.name);
    // A group is needed by the client's interface; nothing is ever committed to it.
    config.set("group.id", format!("{}-single-record", pipeline.group_id));
    config
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error");
    Reader::new(&config)
}
