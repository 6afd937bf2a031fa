//! What librdkafka has to say, queued for the lane's loop.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use super::lists::unassign_held;
use crate::TopicPartition;

/// Something that happened between two polls.
#[derive(Debug)]
pub enum Event {
    /// Partitions were given to us; nothing is read before [`super::Consumer::assign`].
    Assigned(Vec<TopicPartition>),
    /// Partitions must be given back by [`super::Consumer::unassign`].
    Revoked {
        partitions: Vec<TopicPartition>,
        /// They are somebody else's already: nothing may be committed for them.
        lost: bool,
    },
    /// The broker answered the commit in flight.
    Committed(CommitResult),
    /// The client reports trouble; librdkafka keeps trying unless `fatal`.
    Error {
        code: Option<RDKafkaErrorCode>,
        text: String,
        fatal: bool,
    },
}

/// The outcome of one commit.
#[derive(Debug)]
pub struct CommitResult {
    /// What went wrong with the request as a whole.
    pub error: Option<RDKafkaErrorCode>,
    /// What went wrong with single partitions.
    pub partitions: Vec<PartitionError>,
}

impl CommitResult {
    /// What went wrong with a partition.
    pub fn code_of(&self, partition: &TopicPartition) -> Option<RDKafkaErrorCode> {
        let own = self.partitions.iter().find(|p| p.partition == *partition);
        own.map(|p| p.code).or(self.error)
    }
}

/// One partition of a commit that the broker refused.
#[derive(Debug)]
pub struct PartitionError {
    pub partition: TopicPartition,
    pub code: RDKafkaErrorCode,
}

#[derive(Debug, Default)]
pub struct Context {
    /// See [`super::Consumer`].
    is_eager: bool,
    // Only the lane's thread polls, so the lock is never contended; the trait wants `Sync`.
    events: Mutex<VecDeque<Event>>,
    closing: AtomicBool,
}

impl Context {
    pub(crate) fn new(is_eager: bool) -> Self {
        Context {
            is_eager,
            ..Context::default()
        }
    }

    pub(crate) fn take(&self) -> Vec<Event> {
        let mut events = self.events.lock().expect("no holder of this lock panics");
        std::mem::take(&mut *events).into()
    }

    /// From now on a revocation is answered at once: nobody polls for events any more.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// The group refuses this user: librdkafka says so in place of a message.
    pub(crate) fn refused(&self, code: RDKafkaErrorCode) {
        self.push(Event::Error {
            code: Some(code),
            text: code.to_string(),
            fatal: false,
        });
    }

    fn push(&self, event: Event) {
        self.events
            .lock()
            .expect("no holder of this lock panics")
            .push_back(event);
    }
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        // Reported again by the poll itself, with the partition.
        if code == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        let fatal = code == Some(RDKafkaErrorCode::Fatal);
        self.push(Event::Error {
            code,
            text: reason.to_owned(),
            fatal,
        });
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let assigned = kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Acquire) {
            if !assigned {
                let _ = if self.is_eager {
                    consumer.unassign()
                } else {
                    unassign_held(consumer, partitions)
                };
            }
            return;
        }
        let partitions = list_to_vec(partitions);
        self.push(if assigned {
            Event::Assigned(partitions)
        } else {
            Event::Revoked {
                partitions,
                lost: consumer.assignment_lost(),
            }
        });
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        let failed = offsets.elements().into_iter().filter_map(|element| {
            let code = element.error().err()?.rdkafka_error_code()?;
            let partition = TopicPartition {
                topic: element.topic().into(),
                partition: element.partition(),
            };
            Some(PartitionError { partition, code })
        });
        self.push(Event::Committed(CommitResult {
            error: result.err().and_then(|e| e.rdkafka_error_code()),
            partitions: failed.collect(),
        }));
    }
}

pub(crate) fn list_to_vec(list: &TopicPartitionList) -> Vec<TopicPartition> {
    let elements = list.elements();
    elements
        .iter()
        .map(|e| TopicPartition {
            topic: e.topic().into(),
            partition: e.partition(),
        })
        .collect()
}
