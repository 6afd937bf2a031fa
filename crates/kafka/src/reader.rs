//! Reading records by their offsets, outside of any consumer group.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::questions::refuse_unreadable;
use crate::record::headers;

/// A record taken out of its client.
#[derive(Debug)]
pub struct OwnedRecord {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A client that reads what it is told to. Nothing is ever committed by it.
pub struct Reader(BaseConsumer);

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

/// What one poll has found.
#[derive(Debug)]
pub enum Found<'r> {
    Record(FoundRecord<'r>),
    /// The end of the partition of this number.
    End(i32),
    /// The offset is not in the log, or the topic is gone.
    Gone(KafkaError),
    /// The client reports trouble and tries again.
    Trouble(KafkaError),
}

/// One record, in the client's memory.
pub struct FoundRecord<'r>(BorrowedMessage<'r>);

impl std::fmt::Debug for FoundRecord<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FoundRecord")
            .field("offset", &self.offset())
            .finish_non_exhaustive()
    }
}

impl FoundRecord<'_> {
    pub fn topic(&self) -> &str {
        self.0.topic()
    }

    pub fn partition(&self) -> i32 {
        self.0.partition()
    }

    pub fn offset(&self) -> i64 {
        self.0.offset()
    }

    pub fn key(&self) -> Option<&[u8]> {
        self.0.key()
    }

    /// Milliseconds since the epoch; `None` where the broker has none.
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.0.timestamp().to_millis()
    }

    pub fn to_owned(&self) -> OwnedRecord {
        OwnedRecord {
            offset: self.offset(),
            timestamp_ms: self.timestamp_ms().unwrap_or(-1),
            key: self.key().map(<[u8]>::to_vec),
            value: self.0.payload().map(<[u8]>::to_vec),
            headers: headers(&self.0),
        }
    }
}

impl Reader {
    /// `config` must report the ends of partitions (`enable.partition.eof`) and name a group, which is never
    /// joined: the client's interface needs one.
    ///
    /// # Errors
    /// A configuration that librdkafka refuses.
    pub fn new(config: &ClientConfig) -> KafkaResult<Self> {
        config.create().map(Reader)
    }

    /// Reads these partitions from these offsets on, and no others.
    ///
    /// # Errors
    /// An offset below zero.
    pub fn assign(&self, topic: &str, partitions: &[(i32, i64)]) -> KafkaResult<()> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (partition, offset) in partitions {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        self.0.assign(&list)
    }

    /// Reads nothing more.
    ///
    /// # Errors
    /// The client has failed.
    pub fn unassign(&self) -> KafkaResult<()> {
        self.0.unassign()
    }

    /// What comes next; `None` when nothing has come within `wait`.
    pub fn poll(&self, wait: Duration) -> Option<Found<'_>> {
        Some(match self.0.poll(wait)? {
            Ok(message) => Found::Record(FoundRecord(message)),
            Err(KafkaError::PartitionEOF(partition)) => Found::End(partition),
            Err(error) if is_gone(&error) => Found::Gone(error),
            Err(error) => Found::Trouble(error),
        })
    }

    /// First offset still in the log, and the last stable offset.
    ///
    /// # Errors
    /// No broker answers within `timeout`.
    pub fn watermarks(
        &self,
        topic: &str,
        partition: i32,
        timeout: Duration,
    ) -> KafkaResult<(i64, i64)> {
        self.0.fetch_watermarks(topic, partition, timeout)
    }

    /// The number of partitions; `None` when there is no such topic.
    ///
    /// # Errors
    /// No broker answers within `timeout`, this user may not describe the topic, or it has no leader now.
    pub fn partition_count(&self, topic: &str, timeout: Duration) -> KafkaResult<Option<i32>> {
        let metadata = self.0.fetch_metadata(Some(topic), timeout)?;
        let found = metadata.topics().iter().find(|t| t.name() == topic);
        refuse_unreadable(found)?;
        let count = found.map_or(0, |t| t.partitions().len());
        Ok(i32::try_from(count).ok().filter(|count| *count > 0))
    }
}

/// The log has been cut, or the topic is gone.
fn is_gone(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
        )
    )
}
