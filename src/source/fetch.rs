//! Reading one record again, by its offset, outside the consumer group.

use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Headers as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{TopicPartition, admin_client};
use crate::config::Pipeline;

const FETCH_TIMEOUT: Duration = Duration::from_secs(120);

/// A record taken out of its chunk.
#[derive(Debug)]
pub(crate) struct OwnedRecord {
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// The record could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{place}: the record could not be read again: {error}")]
pub(crate) struct FetchError {
    place: String,
    error: String,
}

/// Blocks until the record at `offset` has arrived, two minutes at most.
///
/// # Errors
/// When it is not in the log any more, or no broker answers in time.
pub(crate) fn fetch_record(
    pipeline: &Pipeline,
    partition: &TopicPartition,
    offset: i64,
) -> Result<OwnedRecord, FetchError> {
    let fail = |error: String| FetchError {
        place: format!("{partition}:{offset}"),
        error,
    };
    let mut config = admin_client(&pipeline.kafka, &pipeline.name);
    // A group is needed by the client's interface; nothing is ever committed to it.
    config.set("group.id", format!("{}-single-record", pipeline.group_id));
    config
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error");
    let consumer: BaseConsumer = config.create().map_err(|e| fail(e.to_string()))?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(
        &partition.topic,
        partition.partition,
        Offset::Offset(offset),
    )
    .and_then(|()| consumer.assign(&list))
    .map_err(|e| fail(e.to_string()))?;
    let deadline = Instant::now() + FETCH_TIMEOUT;
    let mut last_error = "no broker answered".to_owned();
    while Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) if message.offset() == offset => {
                let headers = message.headers().map(|headers| {
                    let owned = |h: rdkafka::message::Header<'_, &[u8]>| {
                        (h.key.to_owned(), h.value.map(<[u8]>::to_vec))
                    };
                    headers.iter().map(owned).collect()
                });
                return Ok(OwnedRecord {
                    timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
                    key: message.key().map(<[u8]>::to_vec),
                    value: message.payload().map(<[u8]>::to_vec),
                    headers: headers.unwrap_or_default(),
                });
            }
            Some(Ok(_)) => return Err(fail("it is not in the log any more".to_owned())),
            Some(Err(error)) => last_error = error.to_string(),
            None => {}
        }
    }
    Err(fail(last_error))
}
