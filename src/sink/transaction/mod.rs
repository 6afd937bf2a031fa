//! Messages and the offsets behind them, in one Kafka transaction: a reader that wants committed messages
//! alone sees each of them once, whatever happens to us in between.
//!
//! The calls of the client block, so each lane's producer has a thread of its own. A transaction that fails
//! is aborted and not tried again: the lane reads everything anew from what the group has committed.

mod client;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::Producer as _;

use self::client::{Client, Failed, failed, until_done};
use crate::batch::Messages;
use crate::config::Partitioner;
use crate::crash::{Guarantee, crash_point, is_broken};
use crate::halt::Halt;
use crate::source::{GroupMember, PartitionCommit, commit_list};

/// How long one call may take before whether to go on is asked again.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long transactions may take to begin before another client tries,
const OPEN_PATIENCE: Duration = Duration::from_secs(20);
/// and each step of one, before it is given up. The broker waits ten for its end.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same of one attempt to abort, between which delivery reports are served.
const ABORT_TIMEOUT: Duration = Duration::from_millis(200);

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
            client::produce_without(&settings, &transaction.messages)?;
        } else {
            client.produce(&transaction.messages, settings.partitioner, &is_given_up)?;
        }
        crash_point!("in_transaction");
        let offsets = commit_list(&transaction.offsets).map_err(failed("the offsets"))?;
        let member = transaction.member.metadata();
        until_done(&is_given_up, PATIENCE, "the offsets are not taken", || {
            producer.send_offsets_to_transaction(&offsets, member, CALL_TIMEOUT)
        })?;
        crash_point!("before_transaction_commit");
        client.flush(&is_given_up)?;
        until_done(
            &is_given_up,
            PATIENCE,
            "the transaction is not committed",
            || producer.commit_transaction(CALL_TIMEOUT),
        )?;
        crash_point!("after_transaction_commit");
        Ok(())
    }

    /// The client, made and initialised if it is not there, however long the cluster is away.
    fn client(&mut self) -> Result<&mut Client, Failed> {
        while self.client.is_none() {
            match Client::open(&self.settings, &self.is_given_up) {
                Ok(client) => self.client = Some(client),
                Err(failed) if failed.is_late() && !self.is_given_up.load(Ordering::Acquire) => {
                    tracing::warn!(%failed, "another client tries");
                }
                Err(failed) => return Err(failed),
            }
        }
        Ok(self.client.as_mut().expect("just made"))
    }

    /// True when nothing of the transaction is left.
    fn abort(&self) -> bool {
        let Some(client) = &self.client else {
            return false;
        };
        until_done(
            &self.is_given_up,
            PATIENCE,
            "the transaction is not aborted",
            || {
                // The call waits until the reports of what it takes back are served, and serves none itself.
                client.producer.poll(Duration::ZERO);
                client.producer.abort_transaction(ABORT_TIMEOUT)
            },
        )
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
                "the joined record of the event{place}, or the batch in which it is the largest, is \
                 larger than topic {topic} takes: raise its max.message.bytes above batch.size of \
                 kafka.properties (1000000 by default), then start again"
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
