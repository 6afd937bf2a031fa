//! The newest keys of a topic and where they lie, read outside of any consumer group.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use streamweir_kafka::{Found, FoundRecord, KafkaError, Reader};

use crate::config::Kafka;
use crate::source::admin_client;

/// Records read of one partition.
const RECORDS_PER_PARTITION_MAX: i64 = 200;
/// Partitions read of one topic.
const PARTITIONS_MAX: i32 = 64;
/// Longer keys are passed over, so that a sample stays small.
const KEY_BYTES_MAX: usize = 1024;
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// Where the newest record of a key lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp_ms: i64,
}

/// Keys of one topic.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) topic: String,
    /// Of the topic, read or not.
    pub(super) partitions: i32,
    pub(super) keys: HashMap<Vec<u8>, Place>,
    /// Records that were read, with and without key.
    pub(super) records: usize,
    pub(super) without_key: usize,
}

impl Sample {
    pub(super) fn new(topic: &str, partitions: i32) -> Self {
        Sample {
            topic: topic.to_owned(),
            partitions,
            keys: HashMap::new(),
            records: 0,
            without_key: 0,
        }
    }

    /// Takes in one record; the newest of each key stays.
    pub(super) fn add(&mut self, key: Option<&[u8]>, place: Place) {
        self.records += 1;
        match key {
            None => self.without_key += 1,
            Some(key) if key.len() > KEY_BYTES_MAX => {}
            Some(key) => {
                let age = |place: &Place| (place.timestamp_ms, place.offset);
                match self.keys.get_mut(key) {
                    Some(known) if age(known) < age(&place) => *known = place,
                    Some(_) => {}
                    None => drop(self.keys.insert(key.to_vec(), place)),
                }
            }
        }
    }
}

/// A client of its own; nothing is ever committed by it.
pub(super) fn reader(kafka: &Kafka) -> Result<Reader, KafkaError> {
    let mut config = admin_client(kafka, "key-sample");
    config
        // The client's interface needs a group; it is never joined.
        .set("group.id", "streamweir-key-sample")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        // A record that is deleted meanwhile: on with what is left.
        .set("auto.offset.reset", "earliest")
        .set("queued.max.messages.kbytes", "4096")
        .set("fetch.max.bytes", "1048576")
        .set("message.max.bytes", "1048576")
        .set("max.partition.fetch.bytes", "262144");
    Reader::new(&config)
}

/// Reads the newest records of the topic until all partitions are done or the time is over: then what has
/// been read so far is the sample.
///
/// # Errors
/// No broker answers.
pub(super) fn sample(
    reader: &Reader,
    topic: &str,
    partitions: i32,
    deadline: Instant,
) -> Result<Sample, KafkaError> {
    let mut sample = Sample::new(topic, partitions);
    let (starts, ends) = newest(reader, topic, partitions, deadline)?;
    if ends.is_empty() {
        return Ok(sample);
    }
    reader.assign(topic, &starts)?;
    let mut open: HashSet<i32> = ends.keys().copied().collect();
    let mut last_error = None;
    while !open.is_empty() && Instant::now() < deadline {
        match reader.poll(POLL_TIMEOUT) {
            Some(Found::Record(record)) => {
                let partition = record.partition();
                if open.contains(&partition) && record.offset() < ends[&partition] {
                    sample.add(record.key(), place(&record));
                }
                if record.offset() + 1 >= ends[&partition] {
                    open.remove(&partition);
                }
            }
            Some(Found::End(partition)) => drop(open.remove(&partition)),
            Some(Found::Gone(error) | Found::Trouble(error)) => last_error = Some(error),
            None => {}
        }
    }
    reader.unassign()?;
    match last_error {
        Some(error) if sample.records == 0 && !open.is_empty() => Err(error),
        None if sample.records == 0 && !open.is_empty() => Err(KafkaError::NoMessageReceived),
        _ => Ok(sample),
    }
}

/// Partitions and where to begin in them.
type Starts = Vec<(i32, i64)>;
/// One past the last record of each partition.
type Ends = HashMap<i32, i64>;

/// Where to read from, and the end of each partition that holds something.
fn newest(
    reader: &Reader,
    topic: &str,
    partitions: i32,
    deadline: Instant,
) -> Result<(Starts, Ends), KafkaError> {
    let mut starts = vec![];
    let mut ends = HashMap::new();
    for partition in 0..partitions.min(PARTITIONS_MAX) {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = left.max(Duration::from_millis(100));
        let (low, high) = reader.watermarks(topic, partition, timeout)?;
        if high > low {
            let start = (high - RECORDS_PER_PARTITION_MAX).max(low);
            starts.push((partition, start));
            ends.insert(partition, high);
        }
    }
    Ok((starts, ends))
}

fn place(record: &FoundRecord<'_>) -> Place {
    Place {
        partition: record.partition(),
        offset: record.offset(),
        timestamp_ms: record.timestamp_ms().unwrap_or(0),
    }
}
