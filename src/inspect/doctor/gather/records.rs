//! Reading records outside of the group: the newest of each topic, and single ones.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::super::facts::{PartitionFacts, SampledRecord};
use super::kafka::Client;
use crate::inspect::failure::is_refusal;

const POLL: Duration = Duration::from_millis(100);
/// How long the newest records of one topic are waited for where there may be more topics.
const SAMPLE_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of records that are kept, of all topics together.
const BYTES_MAX: usize = 16 << 20;

/// The first record at or after `start`; `None` where the log ends before one. The client stays there.
///
/// # Errors
/// It is refused, or nothing came until then.
pub(crate) fn first(
    client: &Client,
    topic: &str,
    partition: i32,
    start: i64,
    until: Instant,
) -> Result<Option<SampledRecord>, String> {
    let mut list = TopicPartitionList::new();
    // Else messages of an earlier assignment of the same partition come through.
    let _ = client.unassign();
    list.add_partition_offset(topic, partition, Offset::Offset(start))
        .and_then(|()| client.assign(&list))
        .map_err(|error| error.to_string())?;
    next(client, topic, partition, until)
}

/// The record behind the last one that [`first`] or this has read.
///
/// # Errors
/// As above.
pub(crate) fn next(
    client: &Client,
    topic: &str,
    partition: i32,
    until: Instant,
) -> Result<Option<SampledRecord>, String> {
    let mut last_error = "no broker answered in time".to_owned();
    while Instant::now() < until {
        match client.poll(POLL) {
            Some(Ok(message)) if message.topic() == topic && message.partition() == partition => {
                return Ok(Some(owned(&message)));
            }
            Some(Err(KafkaError::PartitionEOF(of))) if of == partition => return Ok(None),
            Some(Err(error)) if is_refusal(&error) => return Err(error.to_string()),
            Some(Err(error)) => last_error = error.to_string(),
            Some(Ok(_)) | None => {}
        }
    }
    Err(last_error)
}

/// The last `count` records of each topic, in the order of their offsets.
pub(super) fn newest(
    client: &Client,
    partitions: &[PartitionFacts],
    count: usize,
    deadline: Instant,
) -> Vec<SampledRecord> {
    let mut topics: BTreeMap<&str, Vec<&PartitionFacts>> = BTreeMap::new();
    for own in partitions {
        topics.entry(&own.topic).or_default().push(own);
    }
    let (mut records, mut bytes) = (vec![], 0);
    for (topic, partitions) in topics {
        let lengths: Vec<i64> = partitions.iter().map(|p| p.high - p.low).collect();
        let shares = shares(&lengths, i64::try_from(count).unwrap_or(i64::MAX));
        let parts = partitions
            .iter()
            .zip(shares)
            .filter(|(_, share)| *share > 0);
        let ranges: HashMap<i32, (i64, i64)> = parts
            .map(|(own, share)| (own.partition, (own.high - share, own.high)))
            .collect();
        let until = deadline.min(Instant::now() + SAMPLE_TIMEOUT);
        read(client, topic, ranges, until, &mut bytes, &mut records);
    }
    records.sort_by(|a: &SampledRecord, b| {
        (&a.topic, a.partition, a.offset).cmp(&(&b.topic, b.partition, b.offset))
    });
    records
}

/// The last `count` records of one topic, and whether they were read to the end (or there was no room for
/// more); `ends`: each partition with the beginning and the end of its log.
pub(crate) fn newest_of(
    client: &Client,
    topic: &str,
    ends: &[(i32, i64, i64)],
    count: usize,
    deadline: Instant,
) -> (Vec<SampledRecord>, bool) {
    let lengths: Vec<i64> = ends.iter().map(|(_, low, high)| high - low).collect();
    let shares = shares(&lengths, i64::try_from(count).unwrap_or(i64::MAX));
    let parts = ends.iter().zip(shares).filter(|(_, share)| *share > 0);
    let ranges = parts
        .map(|((partition, _, high), share)| (*partition, (high - share, *high)))
        .collect();
    let (mut records, mut bytes) = (vec![], 0);
    let is_whole = read(client, topic, ranges, deadline, &mut bytes, &mut records);
    records.sort_by_key(|record| (record.partition, record.offset));
    (records, is_whole)
}

/// Whether nothing of the ranges was left when the time was over.
fn read(
    client: &Client,
    topic: &str,
    mut ranges: HashMap<i32, (i64, i64)>,
    until: Instant,
    bytes: &mut usize,
    records: &mut Vec<SampledRecord>,
) -> bool {
    let mut list = TopicPartitionList::new();
    for (partition, (from, _)) in &ranges {
        let added = list.add_partition_offset(topic, *partition, Offset::Offset(*from));
        if added.is_err() {
            return false;
        }
    }
    if ranges.is_empty() {
        return true;
    }
    if client.assign(&list).is_err() {
        return false;
    }
    while !ranges.is_empty() && Instant::now() < until && *bytes < BYTES_MAX {
        match client.poll(POLL) {
            // What another assignment left in the queue is passed over.
            Some(Ok(message)) if message.topic() != topic => {}
            Some(Ok(message)) => {
                let (partition, offset) = (message.partition(), message.offset());
                let Some(&(from, to)) = ranges.get(&partition) else {
                    continue;
                };
                if (from..to).contains(&offset) {
                    let record = owned(&message);
                    *bytes += record.bytes();
                    records.push(record);
                }
                if offset + 1 >= to {
                    ranges.remove(&partition);
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(ranges.remove(&partition)),
            Some(Err(_)) | None => {}
        }
    }
    let _ = client.unassign();
    ranges.is_empty() || *bytes >= BYTES_MAX
}

/// Shares `count` among partitions of these lengths as evenly as they allow.
fn shares(lengths: &[i64], count: i64) -> Vec<i64> {
    let mut shares = vec![0; lengths.len()];
    let mut left = count;
    loop {
        let open: Vec<usize> = (0..lengths.len())
            .filter(|&index| shares[index] < lengths[index])
            .collect();
        if open.is_empty() || left <= 0 {
            return shares;
        }
        let open_count = i64::try_from(open.len()).unwrap_or(i64::MAX);
        let each = (left / open_count).max(1);
        for index in open {
            let take = each.min(lengths[index] - shares[index]).min(left);
            shares[index] += take;
            left -= take;
        }
    }
}

fn owned(message: &BorrowedMessage<'_>) -> SampledRecord {
    SampledRecord {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: streamweir_kafka::headers(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_over_partitions_as_far_as_they_reach() {
        assert_eq!(shares(&[1000, 1000], 100), [50, 50]);
        assert_eq!(shares(&[3, 0, 1000], 100), [3, 0, 97]);
        assert_eq!(shares(&[1, 1, 1, 1], 2), [1, 1, 0, 0]);
        assert_eq!(shares(&[5, 5], 100), [5, 5]);
        assert_eq!(shares(&[], 100), [0; 0]);
        assert_eq!(shares(&[7], 0), [0]);
    }
}
