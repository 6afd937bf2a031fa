//! Questions to the brokers, which may be asked from any thread while the lane polls.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{IsError as _, KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use rdkafka::topic_partition_list::Offset;
use rdkafka_sys as sys;

use super::context::Context;
use super::lists::{PartitionCommit, commit_list, list};
use super::reply::ReplyQueue;
use super::rights::{GroupMemberDescription, members_of};
use super::topics::{TopicDescription, describe_topic};
use crate::TopicPartition;

/// What the broker has committed for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offsets {
    /// `None`: nothing was ever committed, or it expired.
    pub position: Option<i64>,
    pub metadata: String,
    /// Where the very first start is to begin, and the id of the topic then, if nothing else was
    /// committed.
    pub start: Option<(i64, String)>,
}

/// See the module. The client is that of a [`super::Consumer`], which waits for the answers when it ends.
#[derive(Clone)]
pub struct Questions(Arc<BaseConsumer<Context>>);

impl Questions {
    pub(crate) fn new(base: Arc<BaseConsumer<Context>>) -> Self {
        Questions(base)
    }

    /// Commits and waits for the answer, `timeout` at most. What the group gave to others may be
    /// among it.
    ///
    /// # Errors
    /// No answer in time, after which the commit may stand all the same, or a refusal.
    pub fn commit_and_wait(
        &self,
        commits: &[PartitionCommit],
        timeout: Duration,
    ) -> KafkaResult<()> {
        let list = commit_list(commits)?;
        let queue = ReplyQueue::new(self.0.client());
        // SAFETY: client, list and queue are alive, and the call copies the list.
        let mut code = unsafe {
            let client = self.0.client().native_ptr();
            let (list, queue) = (list.ptr(), queue.as_ptr());
            sys::rd_kafka_commit_queue(client, list, queue, None, std::ptr::null_mut())
        };
        if !code.is_error() {
            // SAFETY: the event is that of the commit, alive until the call ends.
            let answer = queue.next(timeout, |event| unsafe { first_error(event) });
            code = answer.unwrap_or(sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__TIMED_OUT);
        }
        if code.is_error() {
            Err(KafkaError::ConsumerCommit(code.into()))
        } else {
            Ok(())
        }
    }

    /// Reads the group's committed offsets from the broker.
    ///
    /// # Errors
    /// When the coordinator does not answer within `timeout`, or refuses one partition.
    pub fn committed(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> KafkaResult<Vec<Offsets>> {
        self.committed_each(partitions, timeout)?
            .into_iter()
            .collect()
    }

    /// The same, with an answer for each partition.
    ///
    /// # Errors
    /// When the coordinator does not answer within `timeout`.
    pub fn committed_each(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> KafkaResult<Vec<KafkaResult<Offsets>>> {
        let answer = self.0.committed_offsets(list(partitions), timeout)?;
        let read = |p: &TopicPartition| {
            let element = answer
                .find_partition(&p.topic, p.partition)
                .ok_or(KafkaError::NoMessageReceived)?;
            element.error()?;
            let position = match element.offset() {
                Offset::Offset(position) => Some(position),
                _ => None,
            };
            Ok(Offsets {
                position,
                metadata: element.metadata().to_owned(),
                start: None,
            })
        };
        Ok(partitions.iter().map(read).collect())
    }

    /// First offset still in the log, and the last stable offset.
    pub fn watermarks(
        &self,
        partition: &TopicPartition,
        timeout: Duration,
    ) -> KafkaResult<(i64, i64)> {
        self.0
            .fetch_watermarks(&partition.topic, partition.partition, timeout)
    }

    /// For each partition the first offset whose timestamp is at or after `time_ms`; `None` when
    /// there is no such record.
    pub fn offsets_at(
        &self,
        partitions: &[TopicPartition],
        time_ms: i64,
        timeout: Duration,
    ) -> KafkaResult<Vec<Option<i64>>> {
        let mut times = list(partitions);
        times.set_all_offsets(Offset::Offset(time_ms))?;
        let answer = self.0.offsets_for_times(times, timeout)?;
        let read = |p: &TopicPartition| {
            let element = answer
                .find_partition(&p.topic, p.partition)
                .ok_or(KafkaError::NoMessageReceived)?;
            element.error()?;
            Ok(match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            })
        };
        partitions.iter().map(read).collect()
    }

    /// The partitions of `topic`; `None` when the topic does not exist.
    ///
    /// # Errors
    /// When no broker answers within `timeout`, this user may not describe the topic, or it has no leader now.
    pub fn partitions_of(
        &self,
        topic: &str,
        timeout: Duration,
    ) -> KafkaResult<Option<Vec<TopicPartition>>> {
        let metadata = self.0.fetch_metadata(Some(topic), timeout)?;
        let found = metadata.topics().iter().find(|t| t.name() == topic);
        refuse_unreadable(found)?;
        let name: Arc<str> = topic.into();
        Ok(found.filter(|t| !t.partitions().is_empty()).map(|t| {
            let of = |id: i32| TopicPartition {
                topic: name.clone(),
                partition: id,
            };
            t.partitions().iter().map(|p| of(p.id())).collect()
        }))
    }

    /// Every topic of the cluster.
    pub fn topic_names(&self, timeout: Duration) -> KafkaResult<Vec<String>> {
        let metadata = self.0.fetch_metadata(None, timeout)?;
        Ok(metadata
            .topics()
            .iter()
            .map(|t| t.name().to_owned())
            .collect())
    }

    /// The members of a consumer group, which is not joined; none when no such group exists.
    ///
    /// # Errors
    /// A text that says what the coordinator or the client answered.
    pub fn members_of(
        &self,
        group: &str,
        timeout: Duration,
    ) -> Result<Vec<GroupMemberDescription>, String> {
        members_of(self.0.client(), group, timeout)
    }

    /// What the cluster says of a topic.
    ///
    /// # Errors
    /// A text that says what the broker or the client answered.
    pub fn topic(&self, topic: &str, timeout: Duration) -> Result<TopicDescription, String> {
        describe_topic(self.0.client(), topic, timeout)
    }
}

impl std::fmt::Debug for Questions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Questions").finish()
    }
}

/// What went wrong with a commit or one of its partitions.
///
/// # Safety
/// `event` must be a live event of an offset commit.
unsafe fn first_error(event: *mut sys::rd_kafka_event_t) -> sys::rd_kafka_resp_err_t {
    // SAFETY: per the contract of this function.
    unsafe {
        let whole = sys::rd_kafka_event_error(event);
        let list = sys::rd_kafka_event_topic_partition_list(event);
        if whole.is_error() || list.is_null() {
            return whole;
        }
        let count = usize::try_from((*list).cnt).unwrap_or(0);
        let code = |index| (*(*list).elems.add(index)).err;
        (0..count)
            .map(code)
            .find(|code| code.is_error())
            .unwrap_or(whole)
    }
}

/// A topic of which the broker says something else than that it is there or is not: it may not be described, or
/// has no leader now.
pub(crate) fn refuse_unreadable(topic: Option<&MetadataTopic>) -> KafkaResult<()> {
    match topic
        .and_then(MetadataTopic::error)
        .map(RDKafkaErrorCode::from)
    {
        None
        | Some(
            RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition,
        ) => Ok(()),
        Some(code) => Err(KafkaError::MetadataFetch(code)),
    }
}
