//! Reading single records again, by their offsets, outside the consumer group.

use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{TopicPartition, admin_client};
use crate::config::Pipeline;

const LOOK_BACK_TIMEOUT: Duration = Duration::from_secs(30);

/// A record taken out of its chunk.
#[derive(Debug)]
pub(crate) struct OwnedRecord {
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

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
        let mut reader = Reader::at(pipeline, partition, start, LOOK_BACK_TIMEOUT)?;
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
struct Reader<'a> {
    consumer: BaseConsumer,
    partition: &'a TopicPartition,
    start: i64,
    deadline: Instant,
}

impl<'a> Reader<'a> {
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
        let consumer = consumer(pipeline).map_err(fail)?;
        assign(&consumer, partition, start).map_err(fail)?;
        Ok(Reader {
            consumer,
            partition,
            start,
            deadline: Instant::now() + timeout,
        })
    }

    /// The next record; `None` at the end of the log.
    fn next(&mut self) -> Result<Option<OwnedRecord>, FetchError> {
        let mut last_error = "no broker answered".to_owned();
        while Instant::now() < self.deadline {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => return Ok(Some(owned(&message))),
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(None),
                Some(Err(error)) => last_error = error.to_string(),
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
pub(super) fn consumer(pipeline: &Pipeline) -> Result<BaseConsumer, KafkaError> {
    let mut config = admin_client(&pipeline.kafka, &pipeline.name);
    // A group is needed by the client's interface; nothing is ever committed to it.
    config.set("group.id", format!("{}-single-record", pipeline.group_id));
    config
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error");
    config.create()
}

pub(super) fn assign(
    consumer: &BaseConsumer,
    partition: &TopicPartition,
    offset: i64,
) -> Result<(), KafkaError> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(
        &partition.topic,
        partition.partition,
        Offset::Offset(offset),
    )?;
    consumer.assign(&list)
}

pub(super) fn owned(message: &BorrowedMessage<'_>) -> OwnedRecord {
    let header =
        |h: rdkafka::message::Header<'_, &[u8]>| (h.key.to_owned(), h.value.map(<[u8]>::to_vec));
    let headers = message
        .headers()
        .map(|headers| headers.iter().map(header).collect());
    OwnedRecord {
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
    }
}
