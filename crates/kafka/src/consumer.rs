//! One Kafka consumer, polled by one lane.

use std::ffi::CString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{IsError as _, KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka_sys as sys;

use super::context::{Context, Event};
use super::lists::{PartitionCommit, commit_list, list, unassign_held};
use super::member::GroupMember;
use super::questions::Questions;
use super::record::Chunk;
use super::reply::ReplyQueue;
use super::topics::{TopicAnswers, TopicQuestion};
use crate::TopicPartition;

/// Bytes of one chunk, about. Its rows are encoded beside it, so this much is held twice.
const CHUNK_BYTES_MAX: usize = 4 << 20;

/// How long questions of other threads may take when the client is closed.
const QUESTIONS_TIMEOUT: Duration = Duration::from_secs(10);

/// Of the client's news, lines of its log among them, that are taken in one turn.
const EVENTS_MAX: usize = 1_000;

/// See the module. Field order is drop order: the queues go before the client.
pub struct Consumer {
    /// The assignor gives and takes everything at once.
    is_eager: bool,
    config: ClientConfig,
    topics: TopicQuestion,
    /// Messages of all assigned partitions are forwarded to it.
    queue: ReplyQueue,
    base: Arc<BaseConsumer<Context>>,
    messages: Vec<*mut sys::rd_kafka_message_t>,
    /// Of the records of the last chunk, on average.
    record_bytes: usize,
}

// SAFETY: messages belong to nobody's thread in particular, and the rest is Send.
unsafe impl Send for Consumer {}

impl Consumer {
    /// A consumer that is not subscribed yet; connecting happens behind it.
    ///
    /// # Errors
    /// A configuration that librdkafka refuses.
    pub fn new(config: &ClientConfig) -> KafkaResult<Self> {
        let is_eager = config.get("partition.assignment.strategy") == Some("range");
        let base = BaseConsumer::from_config_and_context(config, Context::new(is_eager))?;
        let queue = ReplyQueue::new(base.client());
        Ok(Consumer {
            is_eager,
            config: config.clone(),
            topics: TopicQuestion::new(base.client()),
            queue,
            base: Arc::new(base),
            messages: vec![],
            record_bytes: 0,
        })
    }

    /// Another client of the same configuration, subscribed to these topics.
    ///
    /// # Errors
    /// As of [`Consumer::new`] and [`Consumer::subscribe`].
    pub fn renewed(&self, topics: &[String]) -> KafkaResult<Self> {
        let renewed = Consumer::new(&self.config)?;
        renewed.subscribe(topics)?;
        Ok(renewed)
    }

    /// How long the group may take to give an assignment, waiting for slow members and for dead ones.
    pub fn rebalance_max(&self) -> Duration {
        let ms = |name, default| {
            let value = self.config.get(name).and_then(|value| value.parse().ok());
            Duration::from_millis(value.unwrap_or(default))
        };
        ms("max.poll.interval.ms", 300_000) + ms("session.timeout.ms", 45_000)
    }

    /// For questions that are asked from another thread.
    pub fn questions(&self) -> Questions {
        Questions::new(self.base.clone())
    }

    /// Names, or patterns that begin with `^`.
    pub fn subscribe(&self, topics: &[String]) -> KafkaResult<()> {
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        self.base.subscribe(&topics)
    }

    /// Leaves the group: the revocation arrives as an event.
    pub fn unsubscribe(&self) {
        self.base.unsubscribe();
    }

    /// Takes what happened since the last call. Must be called well within `max.poll.interval.ms`.
    pub fn events(&self) -> Vec<Event> {
        // Rebalances and commits end up in the context; a message here can only be an error. One call ends
        // with the first line of the client's log: what lies behind must not wait for the next turn each.
        for _ in 0..EVENTS_MAX {
            while let Some(message) = self.base.poll(Duration::ZERO) {
                let code = message.err().and_then(|error| error.rdkafka_error_code());
                if let Some(code @ RDKafkaErrorCode::GroupAuthorizationFailed) = code {
                    self.base.context().refused(code);
                }
            }
            // SAFETY: the client is alive, and the reference to its queue is given back.
            let waiting = unsafe {
                let queue = sys::rd_kafka_queue_get_consumer(self.base.client().native_ptr());
                let waiting = sys::rd_kafka_queue_length(queue);
                sys::rd_kafka_queue_destroy(queue);
                waiting
            };
            if waiting == 0 {
                break;
            }
        }
        self.base.context().take()
    }

    /// Waits at most `wait` for a message; false when none has come.
    pub fn wait(&mut self, wait: Duration) -> bool {
        if self.messages.is_empty() {
            self.consume(i32::try_from(wait.as_millis()).unwrap_or(i32::MAX), 1);
        }
        !self.messages.is_empty()
    }

    /// Takes what is there, up to `max` messages, fewer where they are large.
    pub fn take(&mut self, max: usize) -> Chunk<'_> {
        self.take_bytes(max, CHUNK_BYTES_MAX)
    }

    /// The same, of about `bytes_max` at most.
    pub fn take_bytes(&mut self, max: usize, bytes_max: usize) -> Chunk<'_> {
        // The client counts messages only. Those of a topic are much alike: the one that was waited
        // for and those of the last chunk tell how many make a chunk.
        let expected_bytes = self.mean_bytes().max(self.record_bytes).max(1);
        let fitting = (bytes_max.min(CHUNK_BYTES_MAX) / expected_bytes).clamp(1, max);
        self.consume(0, fitting.saturating_sub(self.messages.len()));
        self.record_bytes = self.mean_bytes();
        Chunk::new(&mut self.messages)
    }

    /// What waits to be taken, by the size of what was taken last.
    pub fn queued_bytes(&self) -> usize {
        // SAFETY: the queue is alive.
        let length = unsafe { sys::rd_kafka_queue_length(self.queue.as_ptr()) };
        length * self.record_bytes
    }

    fn mean_bytes(&self) -> usize {
        // SAFETY: the pointers came from rd_kafka_consume_batch_queue and are destroyed by the
        // chunk that takes them, which leaves the list empty.
        let bytes = self.messages.iter().map(|m| unsafe { (**m).len });
        bytes.sum::<usize>() / self.messages.len().max(1)
    }

    fn consume(&mut self, wait_ms: i32, max: usize) {
        self.messages.reserve(max);
        let held = self.messages.len();
        // SAFETY: the spare capacity holds `max` pointers; the call writes at most that many and
        // returns how many, −1 for an error.
        let taken = unsafe {
            sys::rd_kafka_consume_batch_queue(
                self.queue.as_ptr(),
                wait_ms,
                self.messages.as_mut_ptr().add(held),
                max,
            )
        };
        let taken = usize::try_from(taken).unwrap_or(0);
        // SAFETY: the first `taken` of the spare pointers were written.
        unsafe { self.messages.set_len(held + taken) }
    }

    /// Begins to read each partition at its offset.
    ///
    /// # Errors
    /// When the group has moved on meanwhile; the next rebalance event settles it.
    pub fn assign(&self, partitions: &[(TopicPartition, i64)]) -> KafkaResult<()> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (partition, position) in partitions {
            self.forward(partition);
            let offset = Offset::Offset(*position);
            list.add_partition_offset(&partition.topic, partition.partition, offset)?;
        }
        if self.is_eager {
            return self.base.assign(&list);
        }
        self.base.incremental_assign(&list)
    }

    /// Whether [`Consumer::assign`] replaces what was assigned before.
    pub fn is_eager(&self) -> bool {
        self.is_eager
    }

    /// Whether the group has given our partitions to others, which is about to be reported.
    pub fn has_lost_assignment(&self) -> bool {
        self.base.assignment_lost()
    }

    /// Gives partitions back, those that were never assigned among them.
    ///
    /// # Errors
    /// As [`Consumer::assign`].
    pub fn unassign(&self, partitions: &[TopicPartition]) -> KafkaResult<()> {
        if self.is_eager {
            return self.base.unassign();
        }
        unassign_held(&self.base, &list(partitions))
    }

    /// Reads `partition` again from `position`.
    ///
    /// # Errors
    /// When the partition is not assigned any more or the broker does not answer in time.
    pub fn seek(&self, partition: &TopicPartition, position: i64) -> KafkaResult<()> {
        fail::fail_point!("seek_fails", |_| Err(KafkaError::Seek("for a test".into())));
        let mut target = list(std::slice::from_ref(partition));
        target.set_all_offsets(Offset::Offset(position))?;
        let done = self.base.seek_partitions(target, Duration::from_secs(10))?;
        done.elements().iter().try_for_each(|e| e.error())
    }

    /// Takes a partition anew that refuses a seek: after an offset out of range the client stops
    /// fetching it, and then nothing else makes it begin again.
    ///
    /// # Errors
    /// As [`Consumer::assign`]; where the assignor replaces whole assignments, always.
    pub fn assign_anew(&self, partition: &TopicPartition, position: i64) -> KafkaResult<()> {
        if self.is_eager {
            return Err(KafkaError::Seek("not one partition alone".into()));
        }
        self.unassign(std::slice::from_ref(partition))?;
        self.assign(&[(partition.clone(), position)])
    }

    /// Says where the partitions that stay are to be read on when a rebalance ends. To be called
    /// before [`Consumer::assign`] or [`Consumer::unassign`] lets the client fetch again.
    ///
    /// The client pauses every partition during a rebalance and resumes after the position that it
    /// last handed out. For chunks it counts a message of partition EOF, or of an error, as a record
    /// (`rd_kafka_q_serve_rkmessages`; librdkafka issue 4844), so a partition that was read to its end
    /// would lose the next one. The operations of a partition are done in order: this one comes before the resumption.
    pub fn keep_positions(&self, positions: &[(TopicPartition, i64)]) -> KafkaResult<()> {
        if positions.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, position) in positions {
            let offset = Offset::Offset(*position);
            list.add_partition_offset(&partition.topic, partition.partition, offset)?;
        }
        // Without a timeout the call only queues.
        self.base.seek_partitions(list, Duration::ZERO).map(drop)
    }

    /// Stops fetching a partition.
    pub fn stop_fetching(&self, partition: &TopicPartition) -> KafkaResult<()> {
        self.base.pause(&list(std::slice::from_ref(partition)))
    }

    /// Fetches a partition again that was stopped, from `position`. Resuming by itself would start after
    /// the position that the client last handed out, which a partition-EOF message moves one too far.
    pub fn fetch_again(&self, partition: &TopicPartition, position: i64) -> KafkaResult<()> {
        self.base.resume(&list(std::slice::from_ref(partition)))?;
        self.keep_positions(&[(partition.clone(), position)])
    }

    /// As what the group knows us now; `None` while it does not.
    pub fn member(&self) -> Option<GroupMember> {
        GroupMember::of(&self.base)
    }

    /// How many partitions the client believes it has.
    pub fn assigned_count(&self) -> usize {
        self.base.assignment().map_or(0, |list| list.count())
    }

    /// Sends a commit; its outcome arrives as [`Event::Committed`].
    ///
    /// # Errors
    /// When the request cannot even be queued.
    pub fn commit(&self, commits: &[PartitionCommit]) -> KafkaResult<()> {
        let list = commit_list(commits)?;
        // Not the client's plain asynchronous commit: that one tells nobody how it ended.
        // SAFETY: client, list and queue are alive; the call copies the list, and the reference to
        // the queue is given back.
        let code = unsafe {
            let client = self.base.client().native_ptr();
            let queue = sys::rd_kafka_queue_get_consumer(client);
            let code =
                sys::rd_kafka_commit_queue(client, list.ptr(), queue, None, std::ptr::null_mut());
            sys::rd_kafka_queue_destroy(queue);
            code
        };
        if code.is_error() {
            Err(KafkaError::ConsumerCommit(code.into()))
        } else {
            Ok(())
        }
    }

    /// Whether the group's coordinator answers within `timeout`, whatever it says.
    pub fn coordinator_answers(&self, timeout: Duration) -> bool {
        let any = TopicPartition {
            topic: "streamweir".into(),
            partition: 0,
        };
        let is_away = |code| {
            matches!(
                code,
                RDKafkaErrorCode::OperationTimedOut
                    | RDKafkaErrorCode::TimedOutQueue
                    | RDKafkaErrorCode::RequestTimedOut
                    | RDKafkaErrorCode::WaitingForCoordinator
                    | RDKafkaErrorCode::BrokerTransportFailure
                    | RDKafkaErrorCode::AllBrokersDown
                    | RDKafkaErrorCode::CoordinatorNotAvailable
                    | RDKafkaErrorCode::CoordinatorLoadInProgress
            )
        };
        match self.base.committed_offsets(list(&[any]), timeout) {
            Ok(_) => true,
            Err(error) => !error.rdkafka_error_code().is_some_and(is_away),
        }
    }

    /// The end of the partition as the last fetch told it; `None` before the first.
    pub fn known_end(&self, partition: &TopicPartition) -> Option<i64> {
        let topic = CString::new(&*partition.topic).ok()?;
        let (mut low, mut high) = (-1, -1);
        // SAFETY: the client is alive, the name is a C string, the out-parameters are ours.
        unsafe {
            sys::rd_kafka_get_watermark_offsets(
                self.base.client().native_ptr(),
                topic.as_ptr(),
                partition.partition,
                &mut low,
                &mut high,
            );
        }
        (high >= 0).then_some(high)
    }

    /// Asks for the ids of topics without waiting: see [`Consumer::topic_answers`].
    ///
    /// # Errors
    /// A name that is no topic's.
    pub fn ask_about_topics(&self, topics: &[&str], timeout: Duration) -> Result<(), String> {
        self.topics.ask(self.base.client(), topics, timeout)
    }

    /// What came of the oldest question about topics, as soon as that is known.
    pub fn topic_answers(&self) -> Option<TopicAnswers> {
        self.topics.answer(Duration::ZERO)
    }

    fn forward(&self, partition: &TopicPartition) {
        let topic = CString::new(&*partition.topic).expect("Kafka's topic names hold no NUL");
        // SAFETY: client and lane queue are alive; the reference to the partition's queue that
        // the first call returns is given back by the last.
        unsafe {
            let queue = sys::rd_kafka_queue_get_partition(
                self.base.client().native_ptr(),
                topic.as_ptr(),
                partition.partition,
            );
            if !queue.is_null() {
                sys::rd_kafka_queue_forward(queue, self.queue.as_ptr());
                sys::rd_kafka_queue_destroy(queue);
            }
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // The client's own drop closes the consumer and waits for the last revocation. It is to happen
        // here: whoever still asks something has an answer within its timeout.
        self.base.context().close();
        let deadline = Instant::now() + QUESTIONS_TIMEOUT;
        while Arc::strong_count(&self.base) > 1 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").finish_non_exhaustive()
    }
}
