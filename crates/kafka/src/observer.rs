//! A client that joins no group and is asked where partitions stand.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::lists::list;
use crate::TopicPartition;

/// Bytes of one fetch: one record is wanted.
const FETCH_BYTES: &str = "65536";
/// Reports that are taken from the queue before a question.
const QUEUED_MAX: usize = 10_000;

/// See the module. Its `group.id` says whose committed offsets it is asked for.
pub struct Observer(BaseConsumer);

impl Observer {
    /// A client that connects when it is first asked.
    ///
    /// # Errors
    /// A configuration that librdkafka refuses.
    pub fn new(config: &ClientConfig, group_id: &str) -> KafkaResult<Self> {
        let mut config = config.clone();
        config
            .set("group.id", group_id)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("queued.min.messages", "1")
            .set("fetch.message.max.bytes", FETCH_BYTES);
        config.create().map(Observer)
    }

    /// Of each partition the offset one past the last record that readers of committed messages get; `Err` for
    /// one that the broker says nothing of. One request to each broker.
    ///
    /// # Errors
    /// No broker answers within `timeout`.
    pub fn ends(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> KafkaResult<Vec<KafkaResult<i64>>> {
        self.offsets(partitions, Offset::End, timeout)
    }

    /// Of each partition the offset of its first record; as [`Observer::ends`].
    ///
    /// # Errors
    /// No broker answers within `timeout`.
    pub fn begins(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> KafkaResult<Vec<KafkaResult<i64>>> {
        self.offsets(partitions, Offset::Beginning, timeout)
    }

    fn offsets(
        &self,
        partitions: &[TopicPartition],
        place: Offset,
        timeout: Duration,
    ) -> KafkaResult<Vec<KafkaResult<i64>>> {
        self.drain();
        let mut places = list(partitions);
        // In place of a time.
        places.set_all_offsets(place)?;
        let answer = self.0.offsets_for_times(places, timeout)?;
        let read = |p: &TopicPartition| {
            let element = answer
                .find_partition(&p.topic, p.partition)
                .ok_or(KafkaError::NoMessageReceived)?;
            element.error()?;
            match element.offset() {
                Offset::Offset(offset) => Ok(offset),
                _ => Err(KafkaError::NoMessageReceived),
            }
        };
        Ok(partitions.iter().map(read).collect())
    }

    /// What the group has committed of each partition; `None` where it has committed nothing.
    ///
    /// # Errors
    /// The coordinator does not answer within `timeout`.
    pub fn committed(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> KafkaResult<Vec<Option<i64>>> {
        self.drain();
        let answer = self.0.committed_offsets(list(partitions), timeout)?;
        let read = |p: &TopicPartition| {
            let element = answer.find_partition(&p.topic, p.partition)?;
            match (element.error(), element.offset()) {
                (Ok(()), Offset::Offset(offset)) => Some(offset),
                _ => None,
            }
        };
        Ok(partitions.iter().map(read).collect())
    }

    /// Every partition of a topic; none of one that is not there.
    ///
    /// # Errors
    /// No broker answers within `timeout`.
    pub fn partitions_of(
        &self,
        topic: &str,
        timeout: Duration,
    ) -> KafkaResult<Vec<TopicPartition>> {
        self.drain();
        let answer = self.0.fetch_metadata(Some(topic), timeout)?;
        let topics = answer.topics().iter().filter(|t| t.name() == topic);
        let partitions = topics.flat_map(|t| t.partitions());
        let place = |id| TopicPartition {
            topic: topic.into(),
            partition: id,
        };
        Ok(partitions.map(|p| place(p.id())).collect())
    }

    /// Kafka timestamp, in milliseconds, of the first record at or behind `offset`; `None` where there is none
    /// yet.
    ///
    /// # Errors
    /// It did not arrive within `timeout`, or cannot be read.
    pub fn timestamp_at(
        &self,
        partition: &TopicPartition,
        offset: i64,
        timeout: Duration,
    ) -> KafkaResult<Option<i64>> {
        let mut assigned = TopicPartitionList::new();
        let (topic, number) = (&partition.topic, partition.partition);
        assigned.add_partition_offset(topic, number, Offset::Offset(offset))?;
        self.0.assign(&assigned)?;
        let answered = self.first_timestamp(timeout);
        self.0.unassign()?;
        answered
    }

    /// Nothing is assigned between two questions, so what waits are reports of trouble with brokers: of a
    /// client that nobody polls they pile up for as long as an outage lasts.
    fn drain(&self) {
        for _ in 0..QUEUED_MAX {
            if self.0.poll(Duration::ZERO).is_none() {
                return;
            }
        }
    }

    fn first_timestamp(&self, timeout: Duration) -> KafkaResult<Option<i64>> {
        let deadline = Instant::now() + timeout;
        while Instant::now() < deadline {
            match self.0.poll(Duration::from_millis(50)) {
                Some(Ok(message)) => return Ok(message.timestamp().to_millis()),
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(None),
                // Trouble with a broker; the record may still come.
                Some(Err(KafkaError::MessageConsumption(code))) if is_passing(code) => {}
                Some(Err(error)) => return Err(error),
                None => {}
            }
        }
        Err(KafkaError::NoMessageReceived)
    }
}

fn is_passing(code: rdkafka::error::RDKafkaErrorCode) -> bool {
    use rdkafka::error::RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve
    )
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Observer").finish()
    }
}
