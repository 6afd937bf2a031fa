//! Reading a topic and a consumer group's offsets back.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::{REQUEST_TIMEOUT, client, partition_count};

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// `None` is no key, which differs from an empty one.
    pub key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// In order; names may repeat.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Milliseconds since 1970, -1 when it has none.
    pub timestamp_ms: i64,
}

impl Received {
    /// The value of the first header of this name, as text.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(n, _)| n == name)?;
        value
            .as_deref()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    fn from_message(message: &BorrowedMessage<'_>) -> Self {
        let headers = message
            .headers()
            .into_iter()
            .flat_map(|headers| headers.iter());
        Self {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        }
    }
}

/// What a consumer group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub offset: i64,
    /// The text kept with it.
    pub metadata: String,
}

/// The log's end of every partition: the offset of the next record.
pub fn end_offsets(bootstrap: &str, topic: &str) -> Result<BTreeMap<i32, i64>> {
    let consumer: BaseConsumer = client(bootstrap).create()?;
    let mut ends = BTreeMap::new();
    for partition in 0..partition_count(bootstrap, topic)? {
        ends.insert(partition, end_of(&consumer, topic, partition)?);
    }
    Ok(ends)
}

fn end_of(consumer: &BaseConsumer, topic: &str, partition: i32) -> Result<i64> {
    let (_, end) = patiently(|| consumer.fetch_watermarks(topic, partition, REQUEST_TIMEOUT))?;
    Ok(end)
}

/// How long a broker that has just begun, or stood still for a moment, may take to answer for a group or a
/// partition.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again where that may bring another answer.
fn patiently<T>(mut ask: impl FnMut() -> Result<T, KafkaError>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Err(error) if is_transient(&error) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(100));
            }
            answer => return Ok(answer?),
        }
    }
}

fn is_transient(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::NotCoordinator
                | Code::CoordinatorNotAvailable
                | Code::CoordinatorLoadInProgress
                | Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::BrokerNotAvailable
                | Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::OperationTimedOut
                | Code::RequestTimedOut
        )
    )
}

/// What the group has committed for the topic; partitions without a commit are left out, and so is what a
/// transaction that is open will commit.
pub fn committed(bootstrap: &str, group: &str, topic: &str) -> Result<BTreeMap<i32, Committed>> {
    let mut config = reader_config(bootstrap, group);
    // A reader of committed records would wait for the end of the transaction.
    let consumer: BaseConsumer = config.set("isolation.level", "read_uncommitted").create()?;
    let asked = all_partitions(bootstrap, topic)?;
    // A broker that has just begun makes the group's coordinator with the first question.
    let answer = patiently(|| consumer.committed_offsets(asked.clone(), REQUEST_TIMEOUT))?;
    let mut found = BTreeMap::new();
    for element in answer.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            let metadata = element.metadata().to_owned();
            found.insert(element.partition(), Committed { offset, metadata });
        }
    }
    Ok(found)
}

/// Commits for a group that has no members.
pub fn commit(
    bootstrap: &str,
    group: &str,
    topic: &str,
    partition: i32,
    committed: &Committed,
) -> Result<()> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(committed.offset))?;
    if let Some(mut element) = list.find_partition(topic, partition) {
        element.set_metadata(&committed.metadata);
    }
    let committer = reader(bootstrap, group)?;
    patiently(|| committer.commit(&list, CommitMode::Sync))
}

/// Every committed record from the first to the last stable offset, in order of partition and
/// offset.
pub fn read_all(bootstrap: &str, topic: &str) -> Result<Vec<Received>> {
    let mut records = Vec::new();
    read_each(bootstrap, topic, &BTreeMap::new(), |record| {
        records.push(record);
    })?;
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}

/// Hands over every committed record from these offsets on, in partitions without one from the first,
/// up to the last stable offset. Those of one partition come in their order.
pub fn read_each(
    bootstrap: &str,
    topic: &str,
    from: &BTreeMap<i32, i64>,
    take: impl FnMut(Received),
) -> Result<()> {
    let consumer: BaseConsumer = reader_config(bootstrap, "sandbox-reader").create()?;
    read_each_with(&consumer, bootstrap, topic, from, take)
}

/// Every record of the log, those of aborted and of open transactions among them, in order of partition
/// and offset.
pub fn read_uncommitted(bootstrap: &str, topic: &str) -> Result<Vec<Received>> {
    let mut config = reader_config(bootstrap, "sandbox-reader");
    let consumer: BaseConsumer = config.set("isolation.level", "read_uncommitted").create()?;
    let mut records = Vec::new();
    let take = |record| records.push(record);
    read_each_with(&consumer, bootstrap, topic, &BTreeMap::new(), take)?;
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}

/// Whether no transaction is open on any partition: all that was written is committed or aborted.
pub fn is_stable(bootstrap: &str, topic: &str) -> Result<bool> {
    let ends = |isolation: &str| -> Result<Vec<i64>> {
        let mut config = reader_config(bootstrap, "sandbox-reader");
        let consumer: BaseConsumer = config.set("isolation.level", isolation).create()?;
        let partitions = 0..partition_count(bootstrap, topic)?;
        let ends = partitions.map(|partition| end_of(&consumer, topic, partition));
        ends.collect()
    };
    Ok(ends("read_committed")? == ends("read_uncommitted")?)
}

fn read_each_with(
    consumer: &BaseConsumer,
    bootstrap: &str,
    topic: &str,
    from: &BTreeMap<i32, i64>,
    mut take: impl FnMut(Received),
) -> Result<()> {
    let mut partitions = all_partitions(bootstrap, topic)?;
    partitions.set_all_offsets(Offset::Beginning)?;
    for (partition, offset) in from {
        partitions.set_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    consumer.assign(&partitions)?;

    let mut unread: HashSet<i32> = partitions
        .elements()
        .iter()
        .map(|e| e.partition())
        .collect();
    let mut deadline = Instant::now() + REQUEST_TIMEOUT;
    while !unread.is_empty() {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                take(Received::from_message(&message));
                deadline = Instant::now() + REQUEST_TIMEOUT;
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unread.remove(&partition);
            }
            // What the client goes on after by itself, within the deadline.
            Some(Err(error)) if is_transient(&error) && Instant::now() < deadline => {}
            Some(Err(error)) => return Err(error.into()),
            None if Instant::now() > deadline => bail!("{topic}: no end of {unread:?} in sight"),
            None => {}
        }
    }
    Ok(())
}

fn reader(bootstrap: &str, group: &str) -> Result<BaseConsumer> {
    Ok(reader_config(bootstrap, group).create()?)
}

fn reader_config(bootstrap: &str, group: &str) -> ClientConfig {
    let mut config = client(bootstrap);
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "50")
        .set("auto.offset.reset", "error");
    config
}

fn all_partitions(bootstrap: &str, topic: &str) -> Result<TopicPartitionList> {
    let count = partition_count(bootstrap, topic)?;
    if count == 0 {
        bail!("there is no topic {topic}");
    }
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, count - 1);
    Ok(list)
}
