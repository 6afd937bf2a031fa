//! Messages and the offsets behind them, in one Kafka transaction: a reader that wants committed messages
//! alone sees each of them once, whatever happens to us in between.
//!
//! The calls of the client block, so each lane's producer has a thread of its own. A transaction that fails
//! is aborted and not tried again: the lane reads everything anew from what the group has committed.

use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};
use rdkafka_sys as sys;

use crate::batch::Messages;
use crate::config::Partitioner;
use crate::crash::{Guarantee, crash_point, is_broken};
use crate::halt::Halt;
use crate::sink::Backoff;
use crate::source::placement::partition_of;
use crate::source::{GroupMember, PartitionCommit, commit_list};

/// How long one call may take before whether to go on is asked again.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages that are handed to the client in one call.
const AT_ONCE: usize = 1_000;
/// Messages that the client holds and the broker has not acknowledged, about.
const BYTES_ON_THEIR_WAY_MAX: usize = 16 << 20;

/// Where a lane's transactions go, and under which name.
#[derive(Debug, Clone)]
pub(crate) struct TransactionSettings {
    pub(crate) config: ClientConfig,
    pub(crate) topic: String,
    pub(crate) partitioner: Partitioner,
}

impl TransactionSettings {
    /// Those of one lane: each has a name of its own.
    pub(crate) fn of_lane(&self, lane: u16) -> Self {
        let mut settings = self.clone();
        let name = self.config.get("transactional.id").unwrap_or_default();
        settings
            .config
            .set("transactional.id", format!("{name}-{lane}"));
        settings
    }
}

/// What becomes visible at once.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) messages: Messages,
    pub(crate) offsets: Vec<PartitionCommit>,
    /// As what the offsets are committed: the group fences a member that it has moved on without.
    pub(crate) member: Arc<GroupMember>,
}

/// How a transaction ended.
#[derive(Debug)]
pub(crate) enum TransactionEnd {
    /// Messages and offsets are there.
    Committed,
    /// Neither is, or nobody can tell; what the group has committed is the truth.
    GivenUp(String),
    /// Only an operator can go on.
    Halted(Halt),
}

/// What the thread has to say.
#[derive(Debug)]
pub(crate) enum TransactionNews {
    /// The transaction comes back for its memory.
    Ended(Transaction, TransactionEnd),
    /// The topic is there.
    Answered,
}

#[derive(Debug)]
enum Job {
    Run(Transaction),
    Check,
}

/// A lane's transactional producer, on its thread.
#[derive(Debug)]
pub(crate) struct Transactions {
    jobs: Option<Sender<Job>>,
    is_given_up: Arc<AtomicBool>,
}

impl Transactions {
    /// Starts the thread, which connects by itself. `tell` is called from there.
    ///
    /// # Errors
    /// No thread could be started.
    pub(crate) fn start(
        settings: TransactionSettings,
        tell: impl Fn(TransactionNews) + Send + 'static,
    ) -> Result<Self, Halt> {
        let (jobs, received) = channel();
        let is_given_up = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            settings,
            client: None,
            is_given_up: is_given_up.clone(),
        };
        std::thread::Builder::new()
            .name("transactions".to_owned())
            .spawn(move || worker.run(&received, tell))
            .map_err(|e| Halt::new("threads", format!("no thread for transactions: {e}")))?;
        Ok(Transactions {
            jobs: Some(jobs),
            is_given_up,
        })
    }

    /// Hands over a transaction; how it ended is told.
    pub(crate) fn run(&self, transaction: Transaction) {
        self.send(Job::Run(transaction));
    }

    /// Asks whether the topic is there.
    pub(crate) fn check(&self) {
        self.send(Job::Check);
    }

    fn send(&self, job: Job) {
        let jobs = self.jobs.as_ref().expect("taken in drop alone");
        // A thread that has panicked tells nothing more, and the lane's next turn finds it out.
        let _ = jobs.send(job);
    }
}

impl Drop for Transactions {
    fn drop(&mut self) {
        self.is_given_up.store(true, Ordering::Release);
        self.jobs = None;
    }
}

struct Worker {
    settings: TransactionSettings,
    client: Option<Client>,
    is_given_up: Arc<AtomicBool>,
}

/// A client whose transactions are initialised.
struct Client {
    topic: Topic,
    partitions: Option<usize>,
    producer: Arc<BaseProducer<Deliveries>>,
}

/// A handle of librdkafka's, so that a message does not name its topic.
struct Topic {
    handle: NonNull<sys::rd_kafka_topic_t>,
    _client: Arc<BaseProducer<Deliveries>>,
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: made by rd_kafka_topic_new, destroyed once, before the client it holds.
        unsafe { sys::rd_kafka_topic_destroy(self.handle.as_ptr()) }
    }
}

// SAFETY: librdkafka's handles may be used from any thread.
unsafe impl Send for Topic {}

/// The first message that was not delivered, by its number, and why.
#[derive(Debug, Default)]
struct Deliveries(Mutex<Option<(usize, RDKafkaErrorCode)>>);

impl Deliveries {
    fn take(&self) -> Option<(usize, RDKafkaErrorCode)> {
        self.0.lock().expect("no holder of this lock panics").take()
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let Err((error, _)) = result else { return };
        let code = error.rdkafka_error_code();
        let mut first = self.0.lock().expect("no holder of this lock panics");
        first.get_or_insert((number, code.unwrap_or(RDKafkaErrorCode::Unknown)));
    }
}

/// Why a transaction did not come about.
#[derive(Debug)]
struct Failed {
    what: &'static str,
    error: KafkaError,
}

impl Failed {
    fn code(&self) -> RDKafkaErrorCode {
        let code = self.error.rdkafka_error_code();
        code.unwrap_or(RDKafkaErrorCode::Unknown)
    }

    /// Whether the client can go on once the transaction is aborted.
    fn wants_abort(&self) -> bool {
        matches!(&self.error, KafkaError::Transaction(e) if e.txn_requires_abort())
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.error {
            KafkaError::Transaction(error) => write!(f, "{}: {}", self.what, error.string()),
            error => write!(f, "{}: {error}", self.what),
        }
    }
}

impl Worker {
    fn run(mut self, jobs: &Receiver<Job>, tell: impl Fn(TransactionNews)) {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Run(transaction) => {
                    let end = self.transact(&transaction);
                    tell(TransactionNews::Ended(transaction, end));
                }
                Job::Check => {
                    if self.is_there() {
                        tell(TransactionNews::Answered);
                    }
                }
            }
        }
    }

    fn is_there(&mut self) -> bool {
        let topic = self.settings.topic.clone();
        let Ok(client) = self.client() else {
            return false;
        };
        let metadata = client.producer.client();
        metadata.fetch_metadata(Some(&topic), CALL_TIMEOUT).is_ok()
    }

    fn transact(&mut self, transaction: &Transaction) -> TransactionEnd {
        let failed = match self.try_transact(transaction) {
            Ok(()) => return TransactionEnd::Committed,
            Err(failed) => failed,
        };
        let undelivered = self.client.as_ref();
        let undelivered = undelivered.and_then(|client| client.producer.context().take());
        let is_aborted = failed.wants_abort() && self.abort();
        if !is_aborted {
            // Its successor has the same name: what is left of the transaction ends with its arrival.
            self.client = None;
        }
        if let Some(halt) = self.hopeless(&failed, undelivered, transaction) {
            return TransactionEnd::Halted(halt);
        }
        TransactionEnd::GivenUp(match undelivered {
            Some((_, code)) => format!("{failed} ({code})"),
            None => failed.to_string(),
        })
    }

    fn try_transact(&mut self, transaction: &Transaction) -> Result<(), Failed> {
        let settings = self.settings.clone();
        let is_given_up = self.is_given_up.clone();
        let client = self.client()?;
        let producer = client.producer.clone();
        let _ = producer.context().take();
        let begun = producer.begin_transaction();
        begun.map_err(failed("the transaction cannot begin"))?;
        if is_broken(Guarantee::Transaction) {
            produce_without(&settings, &transaction.messages)?;
        } else {
            client.produce(&transaction.messages, settings.partitioner, &is_given_up)?;
        }
        crash_point!("in_transaction");
        let offsets = commit_list(&transaction.offsets).map_err(failed("the offsets"))?;
        let member = transaction.member.metadata();
        until_done(&is_given_up, "the offsets are not taken", || {
            producer.send_offsets_to_transaction(&offsets, member, CALL_TIMEOUT)
        })?;
        crash_point!("before_transaction_commit");
        until_done(&is_given_up, "the transaction is not committed", || {
            producer.commit_transaction(CALL_TIMEOUT)
        })?;
        crash_point!("after_transaction_commit");
        Ok(())
    }

    /// The client, made and initialised if it is not there.
    fn client(&mut self) -> Result<&mut Client, Failed> {
        if self.client.is_none() {
            let TransactionSettings { config, topic, .. } = &self.settings;
            let producer = BaseProducer::from_config_and_context(config, Deliveries::default());
            let producer = Arc::new(producer.map_err(failed("kafka.properties"))?);
            // Also ends what a predecessor of this name has left open.
            until_done(&self.is_given_up, "transactions cannot begin", || {
                producer.init_transactions(CALL_TIMEOUT)
            })?;
            let partitions = match self.settings.partitioner {
                Partitioner::KeyModulo => Some(partitions(&producer, topic)?),
                _ => None,
            };
            let topic = open_topic(&producer, topic);
            self.client = Some(Client {
                topic,
                partitions,
                producer,
            });
        }
        Ok(self.client.as_mut().expect("just made"))
    }

    /// True when nothing of the transaction is left.
    fn abort(&self) -> bool {
        let Some(client) = &self.client else {
            return false;
        };
        until_done(&self.is_given_up, "the transaction is not aborted", || {
            client.producer.abort_transaction(CALL_TIMEOUT)
        })
        .inspect_err(|error| tracing::debug!(%error, "not aborted"))
        .is_ok()
    }

    /// What no repetition mends.
    fn hopeless(
        &self,
        failed: &Failed,
        undelivered: Option<(usize, RDKafkaErrorCode)>,
        transaction: &Transaction,
    ) -> Option<Halt> {
        let topic = &self.settings.topic;
        if let Some((number, code)) = undelivered
            && matches!(
                code,
                RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize
            )
        {
            let source = transaction.messages.source(number);
            let place = source.map_or(String::new(), |source| {
                format!(
                    " of partition {}, offset {}",
                    source.partition, source.offset
                )
            });
            let advice = format!(
                "the joined record of the event{place} is larger than topic {topic} takes: raise its \
                 max.message.bytes, then start again"
            );
            return Some(Halt::new("output", advice));
        }
        let code = undelivered.map_or(failed.code(), |(_, code)| code);
        let right = match code {
            RDKafkaErrorCode::TransactionalIdAuthorizationFailed => {
                "WRITE and DESCRIBE on transactional ids that begin with its group_id"
            }
            RDKafkaErrorCode::TopicAuthorizationFailed => "WRITE on the topic",
            RDKafkaErrorCode::GroupAuthorizationFailed => "READ on the group",
            RDKafkaErrorCode::ClusterAuthorizationFailed => "IDEMPOTENT_WRITE on the cluster",
            _ => return None,
        };
        let advice = format!("topic {topic}: {failed}: grant this user {right}");
        Some(Halt::new("authentication", advice))
    }
}

fn failed(what: &'static str) -> impl Fn(KafkaError) -> Failed {
    move |error| Failed { what, error }
}

/// Repeats a call that may be repeated until it has an answer.
fn until_done(
    is_given_up: &AtomicBool,
    what: &'static str,
    call: impl Fn() -> Result<(), KafkaError>,
) -> Result<(), Failed> {
    let mut backoff = Backoff::new();
    loop {
        let Err(error) = call() else { return Ok(()) };
        let is_retriable = match &error {
            KafkaError::Transaction(error) => error.is_retriable(),
            // Messages that are still on their way.
            KafkaError::Flush(_) => true,
            _ => false,
        };
        if !is_retriable || is_given_up.load(Ordering::Acquire) {
            return Err(Failed { what, error });
        }
        tracing::debug!(%error, what, "trying again");
        std::thread::sleep(backoff.next_wait());
    }
}

fn partitions(producer: &BaseProducer<Deliveries>, topic: &str) -> Result<usize, Failed> {
    let metadata = producer.client().fetch_metadata(Some(topic), CALL_TIMEOUT);
    let metadata = metadata.map_err(failed("the topic's partitions"))?;
    let found = metadata.topics().iter().find(|t| t.name() == topic);
    Ok(found.map_or(0, |topic| topic.partitions().len()).max(1))
}

fn open_topic(producer: &Arc<BaseProducer<Deliveries>>, topic: &str) -> Topic {
    let name = CString::new(topic).expect("Kafka's topic names hold no NUL");
    // SAFETY: the client is alive and the name a C string; without a configuration of its own the
    // topic takes the client's.
    let handle = unsafe {
        sys::rd_kafka_topic_new(
            producer.client().native_ptr(),
            name.as_ptr(),
            std::ptr::null_mut(),
        )
    };
    Topic {
        handle: NonNull::new(handle).expect("a topic of a live client is not null"),
        _client: producer.clone(),
    }
}

impl Client {
    /// Hands all messages to the client, so many at once that they stay in order: its own queue, once
    /// full, refuses single ones.
    fn produce(
        &self,
        messages: &Messages,
        partitioner: Partitioner,
        is_given_up: &AtomicBool,
    ) -> Result<(), Failed> {
        let what = "a message is not taken";
        let mean_bytes = messages.bytes() / messages.len().max(1);
        let on_their_way_max = (BYTES_ON_THEIR_WAY_MAX / mean_bytes.max(1)).clamp(1, 50_000);
        let mut sent = 0;
        while sent < messages.len() {
            let to = (sent + on_their_way_max.min(AT_ONCE)).min(messages.len());
            if let Err((number, code)) = self.produce_some(messages, partitioner, sent..to) {
                self.producer.context().note(number, code);
                let error = KafkaError::MessageProduction(code);
                return Err(Failed { what, error });
            }
            sent = to;
            while usize::try_from(self.producer.in_flight_count()).unwrap_or(0) > on_their_way_max {
                if is_given_up.load(Ordering::Acquire) {
                    let error = KafkaError::Canceled;
                    return Err(Failed { what, error });
                }
                self.producer.poll(Duration::from_millis(2));
            }
        }
        Ok(())
    }

    /// The number of the first message that the client did not take, and why.
    fn produce_some(
        &self,
        messages: &Messages,
        partitioner: Partitioner,
        numbers: std::ops::Range<usize>,
    ) -> Result<(), (usize, RDKafkaErrorCode)> {
        let first = numbers.start;
        let raw = |(number, message): (usize, crate::batch::Message<'_>)| {
            let placed = |count| partition_of(partitioner, message.key, count);
            let partition = self.partitions.and_then(placed);
            // SAFETY: all zeros is a message of librdkafka's without anything.
            let mut raw: sys::rd_kafka_message_t = unsafe { std::mem::zeroed() };
            raw.partition = partition.unwrap_or(-1);
            raw.payload = message.value.as_ptr().cast_mut().cast();
            raw.len = message.value.len();
            if let Some(key) = message.key {
                raw.key = key.as_ptr().cast_mut().cast();
                raw.key_len = key.len();
            }
            raw._private = (first + number) as *mut std::ffi::c_void;
            raw
        };
        let mut raw: Vec<_> = messages.range(numbers).enumerate().map(raw).collect();
        let flags = sys::RD_KAFKA_MSG_F_COPY | sys::RD_KAFKA_MSG_F_PARTITION;
        // SAFETY: topic and client are alive; keys and values live as long as `messages`, and the call
        // copies them. `raw` holds as many messages as it is told.
        unsafe {
            sys::rd_kafka_produce_batch(
                self.topic.handle.as_ptr(),
                -1,
                flags,
                raw.as_mut_ptr(),
                i32::try_from(raw.len()).expect("a thousand at most"),
            );
        }
        let refused = raw.iter().position(|message| {
            message.err != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        });
        match refused {
            None => Ok(()),
            Some(at) => Err((first + at, raw[at].err.into())),
        }
    }
}

impl Deliveries {
    fn note(&self, number: usize, code: RDKafkaErrorCode) {
        let mut first = self.0.lock().expect("no holder of this lock panics");
        first.get_or_insert((number, code));
    }
}

/// What would be without transactions: `make soak` shows that it is noticed.
fn produce_without(settings: &TransactionSettings, messages: &Messages) -> Result<(), Failed> {
    let mut config = settings.config.clone();
    config.remove("transactional.id");
    config.remove("transaction.timeout.ms");
    let producer = BaseProducer::from_config_and_context(&config, Deliveries::default());
    let producer = Arc::new(producer.map_err(failed("kafka.properties"))?);
    let client = Client {
        topic: open_topic(&producer, &settings.topic),
        partitions: None,
        producer: producer.clone(),
    };
    client.produce(messages, Partitioner::Consistent, &AtomicBool::new(false))?;
    producer
        .flush(CALL_TIMEOUT)
        .map_err(failed("messages are on their way"))
}
