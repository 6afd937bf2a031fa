//! Lists of partitions as librdkafka takes them: assigned, asked about, committed.

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka_sys as sys;

use super::context::Context;
use crate::TopicPartition;

/// A commit of one partition.
#[derive(Debug, Clone)]
pub struct PartitionCommit {
    pub partition: TopicPartition,
    pub position: i64,
    pub leader_epoch: i32,
    pub metadata: String,
}

/// Unassigns those of `partitions` that are assigned: the client refuses a list with any other one.
pub(crate) fn unassign_held(
    base: &BaseConsumer<Context>,
    partitions: &TopicPartitionList,
) -> KafkaResult<()> {
    let assigned = base.assignment()?;
    let mut held = TopicPartitionList::new();
    for element in partitions.elements() {
        let (topic, partition) = (element.topic(), element.partition());
        if assigned.find_partition(topic, partition).is_some() {
            held.add_partition(topic, partition);
        }
    }
    base.incremental_unassign(&held)
}

pub(crate) fn list(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for p in partitions {
        list.add_partition(&p.topic, p.partition);
    }
    list
}

/// Commits as the client takes them.
///
/// # Errors
/// An offset below zero.
pub(crate) fn commit_list(commits: &[PartitionCommit]) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(commits.len());
    for commit in commits {
        let TopicPartition { topic, partition } = &commit.partition;
        let mut element = list.add_partition(topic, *partition);
        element.set_offset(Offset::Offset(commit.position))?;
        element.set_metadata(&commit.metadata);
    }
    set_leader_epochs(&list, commits);
    Ok(list)
}

/// A commit that names the leader's epoch is refused when the log was truncated behind it.
fn set_leader_epochs(list: &TopicPartitionList, commits: &[PartitionCommit]) {
    // SAFETY: the list is alive and its elements stand in the order in which they were added.
    unsafe {
        let raw = list.ptr();
        for (index, commit) in commits.iter().enumerate() {
            debug_assert!(index < usize::try_from((*raw).cnt).unwrap_or(0));
            sys::rd_kafka_topic_partition_set_leader_epoch(
                (*raw).elems.add(index),
                commit.leader_epoch,
            );
        }
    }
}
