//! Creating, changing and deleting topics.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use futures_executor::block_on;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::MetadataTopic;
use rdkafka::{Offset, TopicPartitionList};

use super::{REQUEST_TIMEOUT, client};
use crate::wait;

/// Creates a topic with these topic settings and waits until it can be written.
///
/// # Errors
/// When it exists already, among others.
pub fn create(
    bootstrap: &str,
    name: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) -> Result<()> {
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let topic = settings
        .iter()
        .fold(topic, |topic, (key, value)| topic.set(key, value));
    let results = block_on(admin(bootstrap)?.create_topics([&topic], &options()))?;
    only(results).with_context(|| format!("cannot create topic {name}"))?;
    wait_for_partitions(bootstrap, name, partitions)
}

/// Changes settings of a topic; those that are not named fall back to the broker's.
pub fn set(bootstrap: &str, name: &str, settings: &[(&str, &str)]) -> Result<()> {
    let altered = AlterConfig::new(ResourceSpecifier::Topic(name));
    let altered = settings
        .iter()
        .fold(altered, |altered, (key, value)| altered.set(key, value));
    let results = block_on(admin(bootstrap)?.alter_configs([&altered], &options()))?;
    for result in results {
        result.map_err(|(_, code)| anyhow!("cannot change topic {name}: {code}"))?;
    }
    Ok(())
}

/// Creates many topics at once, each with so many partitions and without a limit in time, and waits until
/// the last one can be written.
pub fn create_all(bootstrap: &str, names: &[String], partitions: i32) -> Result<()> {
    let topic = |name| {
        NewTopic::new(name, partitions, TopicReplication::Fixed(1)).set("retention.ms", "-1")
    };
    let topics: Vec<NewTopic<'_>> = names.iter().map(|name| topic(name.as_str())).collect();
    for result in block_on(admin(bootstrap)?.create_topics(&topics, &options()))? {
        result.map_err(|(name, code)| anyhow!("cannot create topic {name}: {code}"))?;
    }
    for name in names {
        wait_for_partitions(bootstrap, name, partitions)?;
    }
    Ok(())
}

/// Raises the number of partitions and waits until all can be written.
pub fn add_partitions(bootstrap: &str, name: &str, partitions: i32) -> Result<()> {
    let wanted = NewPartitions::new(name, usize::try_from(partitions)?);
    let results = block_on(admin(bootstrap)?.create_partitions([&wanted], &options()))?;
    only(results).with_context(|| format!("cannot add partitions to topic {name}"))?;
    wait_for_partitions(bootstrap, name, partitions)
}

/// Deletes a topic and waits until it is gone, so that the name can be used again. A topic that
/// does not exist is fine.
pub fn delete(bootstrap: &str, name: &str) -> Result<()> {
    let results = block_on(admin(bootstrap)?.delete_topics(&[name], &options()))?;
    match results.into_iter().next() {
        Some(Ok(_)) | Some(Err((_, RDKafkaErrorCode::UnknownTopicOrPartition))) => {}
        other => bail!("cannot delete topic {name}: {other:?}"),
    }
    wait::until(&format!("topic {name} is gone"), REQUEST_TIMEOUT, || {
        let left = partition_count(bootstrap, name).ok()?;
        (left == 0).then_some(())
    })
}

/// Deletes a consumer group without members. One that does not exist is fine.
pub fn delete_group(bootstrap: &str, group: &str) -> Result<()> {
    let results = block_on(admin(bootstrap)?.delete_groups(&[group], &options()))?;
    match results.into_iter().next() {
        Some(Ok(_)) | Some(Err((_, RDKafkaErrorCode::GroupIdNotFound))) => Ok(()),
        other => bail!("cannot delete group {group}: {other:?}"),
    }
}

/// Deletes a partition's records below `offset`, as retention would.
pub fn delete_records_before(
    bootstrap: &str,
    name: &str,
    partition: i32,
    offset: i64,
) -> Result<()> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(name, partition, Offset::Offset(offset))?;
    let deleted = block_on(admin(bootstrap)?.delete_records(&list, &options()))?;
    deleted
        .elements()
        .iter()
        .try_for_each(|element| element.error())?;
    Ok(())
}

/// The number of partitions, 0 when there is no such topic. A partition without a leader is waited for: a broker
/// that stood still for a moment is none, until it has registered again.
///
/// # Errors
/// When a partition gets no leader, or the broker does not answer.
pub fn partition_count(bootstrap: &str, name: &str) -> Result<i32> {
    let consumer: BaseConsumer = client(bootstrap).create()?;
    let what = format!("every partition of topic {name} has a leader");
    wait::until(&what, REQUEST_TIMEOUT, || {
        let metadata = consumer.fetch_metadata(Some(name), REQUEST_TIMEOUT).ok()?;
        led_partitions(metadata.topics().first()?)
    })
}

/// How many partitions there are: none of a topic that is not there, `None` while one has no leader.
fn led_partitions(topic: &MetadataTopic) -> Option<i32> {
    use rdkafka::types::RDKafkaRespErr as Code;
    match topic.error() {
        Some(Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => Some(0),
        Some(_) => None,
        None => {
            let partitions = topic.partitions();
            let is_led = partitions.iter().all(|partition| partition.leader() >= 0);
            is_led.then(|| i32::try_from(partitions.len()).ok())?
        }
    }
}

/// The topic's settings that are its own, not the broker's.
pub fn own_settings(bootstrap: &str, name: &str) -> Result<BTreeMap<String, String>> {
    use rdkafka::admin::ConfigSource;
    let topic = ResourceSpecifier::Topic(name);
    let answers = block_on(admin(bootstrap)?.describe_configs([&topic], &options()))?;
    let mut settings = BTreeMap::new();
    for answer in answers {
        let answer = answer.map_err(|code| anyhow!("cannot describe topic {name}: {code}"))?;
        let own = answer.entries.into_iter();
        let own = own.filter(|entry| entry.source == ConfigSource::DynamicTopic);
        settings.extend(own.filter_map(|entry| Some((entry.name, entry.value?))));
    }
    Ok(settings)
}

fn wait_for_partitions(bootstrap: &str, name: &str, partitions: i32) -> Result<()> {
    let consumer: BaseConsumer = client(bootstrap).create()?;
    wait::until(
        &format!("topic {name} has leaders"),
        REQUEST_TIMEOUT,
        || {
            let metadata = consumer.fetch_metadata(Some(name), REQUEST_TIMEOUT).ok()?;
            let topic = metadata.topics().first()?;
            let led = topic
                .partitions()
                .iter()
                .filter(|p| p.leader() >= 0 && p.error().is_none());
            (led.count() == usize::try_from(partitions).ok()?).then_some(())
        },
    )
}

fn admin(bootstrap: &str) -> Result<AdminClient<DefaultClientContext>> {
    Ok(client(bootstrap).create()?)
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .operation_timeout(Some(REQUEST_TIMEOUT))
        .request_timeout(Some(REQUEST_TIMEOUT))
}

fn only<T>(results: Vec<Result<T, (String, RDKafkaErrorCode)>>) -> Result<T> {
    let first = results
        .into_iter()
        .next()
        .context("the broker gave no result")?;
    first.map_err(|(_, code)| anyhow!("{code}"))
}
