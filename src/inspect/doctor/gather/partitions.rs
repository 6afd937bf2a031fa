//! Where partitions begin and end, what the group has committed, and how fast both move.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::super::facts::{KafkaFacts, PartitionFacts};
use super::kafka::Client;
use super::records;
use crate::config::Pipeline;
use crate::progress::Metadata;

const TIMEOUT: Duration = Duration::from_secs(5);
/// Partitions that are looked at, of all topics together.
const PARTITIONS_MAX: usize = 256;
/// Partitions whose first unread record is looked at.
const UNREAD_MAX: usize = 16;
/// How long one record is waited for.
const FIRST_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the group is watched where it lags.
const WATCH: Duration = Duration::from_millis(1500);

pub(super) fn gather(
    client: &Client,
    _pipeline: &Pipeline,
    facts: &mut KafkaFacts,
    deadline: Instant,
) {
    let mut partitions = vec![];
    for topic in &facts.sources {
        let known = facts.topics.get(topic).filter(|t| t.exists());
        let count = known.map_or(0, |t| t.rights.partitions);
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        partitions.extend((0..count).map(|partition| (topic.clone(), partition)));
    }
    let count = partitions.len();
    partitions.truncate(PARTITIONS_MAX);
    for (topic, partition) in partitions {
        if Instant::now() >= deadline {
            break;
        }
        let Ok((low, high)) = client.fetch_watermarks(&topic, partition, TIMEOUT) else {
            continue;
        };
        facts.partitions.push(PartitionFacts {
            topic,
            partition,
            low,
            high,
            committed: None,
            metadata: None,
            first_unread_ms: None,
            records_last_hour: None,
            progress: None,
        });
    }
    facts.partitions_unseen = count - facts.partitions.len();
    let before = Instant::now();
    facts.offsets_error = committed(client, &mut facts.partitions).err();
    if facts.partitions.iter().all(|p| p.lag() <= 0) {
        return;
    }
    rates(client, &mut facts.partitions);
    unread(client, &mut facts.partitions, deadline);
    watch(client, &mut facts.partitions, before);
}

/// What the group has committed.
fn committed(client: &Client, partitions: &mut [PartitionFacts]) -> Result<(), String> {
    let mut list = TopicPartitionList::new();
    for own in partitions.iter() {
        list.add_partition(&own.topic, own.partition);
    }
    if partitions.is_empty() {
        return Ok(());
    }
    let answer = client.committed_offsets(list, TIMEOUT);
    let answer = answer.map_err(|error| error.to_string())?;
    for own in partitions {
        let Some(element) = answer.find_partition(&own.topic, own.partition) else {
            continue;
        };
        element.error().map_err(|error| error.to_string())?;
        if let Offset::Offset(offset) = element.offset() {
            own.committed = Some(offset);
            own.metadata = Metadata::decode(element.metadata(), offset).unwrap_or(None);
        }
    }
    Ok(())
}

/// How many records came within the last hour.
fn rates(client: &Client, partitions: &mut [PartitionFacts]) {
    let hour_ago = super::now_ms() - 3_600_000;
    let mut list = TopicPartitionList::new();
    for own in partitions.iter().filter(|own| own.lag() > 0) {
        let added = list.add_partition_offset(&own.topic, own.partition, Offset::Offset(hour_ago));
        if added.is_err() {
            return;
        }
    }
    let Ok(answer) = client.offsets_for_times(list, TIMEOUT) else {
        return;
    };
    for own in partitions.iter_mut().filter(|own| own.lag() > 0) {
        let element = answer.find_partition(&own.topic, own.partition);
        own.records_last_hour = element.map(|element| match element.offset() {
            Offset::Offset(offset) => own.high - offset,
            _ => 0,
        });
    }
}

/// When the first records came that were not read.
fn unread(client: &Client, partitions: &mut [PartitionFacts], deadline: Instant) {
    let behind = partitions.iter_mut().filter(|own| own.unread() > 0);
    for own in behind.take(UNREAD_MAX) {
        let start = own.read_to().unwrap_or(own.low).max(own.low);
        let until = deadline.min(Instant::now() + FIRST_TIMEOUT);
        let first = records::first(client, &own.topic, own.partition, start, until);
        own.first_unread_ms = first
            .ok()
            .flatten()
            .map(|record| record.timestamp_ms)
            .filter(|ms| *ms >= 0);
    }
    let _ = client.unassign();
}

/// Whether the group moves.
fn watch(client: &Client, partitions: &mut [PartitionFacts], since: Instant) {
    if let Some(rest) = WATCH.checked_sub(since.elapsed()) {
        std::thread::sleep(rest);
    }
    let mut later = partitions.to_vec();
    if committed(client, &mut later).is_err() {
        return;
    }
    let seconds = since.elapsed().as_secs_f64();
    for (own, later) in partitions.iter_mut().zip(later) {
        if let (Some(before), Some(now)) = (own.committed, later.committed) {
            own.progress = Some((now - before, seconds));
        }
    }
}
