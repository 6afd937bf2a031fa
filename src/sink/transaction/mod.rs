//! Messages and the offsets behind them, in one Kafka transaction: a reader that wants committed messages
//! alone sees each of them once, whatever happens to us in between.
//!
//! The calls of the client block, so each lane's producer has a thread of its own. A transaction that fails
//! is aborted and not tried again: the lane reads everything anew from what the group has committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use streamweir_kafka::{
    MissingRight, Transaction, TransactionError, TransactionSettings, TransactionStep,
    TransactionalProducer,
};

use crate::crash::{Guarantee, crash_point, is_broken};
use crate::halt::Halt;

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
            topic: settings.topic.clone(),
            producer: TransactionalProducer::new(settings, is_given_up.clone()),
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
    topic: String,
    producer: TransactionalProducer,
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
                    if self.producer.topic_answers() {
                        tell(TransactionNews::Answered);
                    }
                }
            }
        }
    }

    fn transact(&mut self, transaction: &Transaction) -> TransactionEnd {
        let is_broken = is_broken(Guarantee::Transaction);
        let at = |step| match step {
            TransactionStep::Produced => {
                crash_point!("in_transaction");
            }
            TransactionStep::HasOffsets => {
                crash_point!("before_transaction_commit");
            }
            TransactionStep::Committed => {
                crash_point!("after_transaction_commit");
            }
        };
        let Err(error) = self.producer.transact(transaction, is_broken, at) else {
            return TransactionEnd::Committed;
        };
        if let Some(halt) = self.hopeless(&error, transaction) {
            return TransactionEnd::Halted(halt);
        }
        TransactionEnd::GivenUp(match error.undelivered() {
            Some(code) => format!("{error} ({code})"),
            None => error.to_string(),
        })
    }

    /// What no repetition mends.
    fn hopeless(&self, error: &TransactionError, transaction: &Transaction) -> Option<Halt> {
        let topic = &self.topic;
        if let Some(number) = error.too_large() {
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
        let right = match error.missing_right()? {
            MissingRight::TransactionalId => {
                "WRITE and DESCRIBE on transactional ids that begin with its group_id"
            }
            MissingRight::Topic => &format!("WRITE on topic {topic}"),
            MissingRight::Group => "READ on the group",
            MissingRight::Cluster => "IDEMPOTENT_WRITE on the cluster",
        };
        let advice = format!("topic {topic}: {error}: this user lacks the right {right}: grant it");
        Some(Halt::new("authentication", advice))
    }
}
