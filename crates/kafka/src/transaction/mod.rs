//! Messages and the offsets behind them, in one Kafka transaction: a reader of committed messages sees each
//! of them once, whatever happens to the producer in between.
//!
//! Every call blocks. A transaction that fails is aborted and not tried again.

mod client;
mod error;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::Producer as _;

use self::client::{Client, until_done};
use self::error::failed;
pub use self::error::{MissingRight, TransactionError};
use crate::lists::{PartitionCommit, commit_list};
use crate::member::GroupMember;
use crate::messages::Messages;
use crate::placement::Partitioner;

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
pub struct TransactionSettings {
    pub config: ClientConfig,
    pub topic: String,
    pub partitioner: Partitioner,
}

impl TransactionSettings {
    /// Those of one lane: each has a name of its own.
    pub fn of_lane(&self, lane: u16) -> Self {
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
pub struct Transaction {
    pub messages: Messages,
    pub offsets: Vec<PartitionCommit>,
    /// As what the offsets are committed: the group fences a member that it has moved on without.
    pub member: Arc<GroupMember>,
}

/// What a transaction has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStep {
    /// Its messages are handed over.
    Produced,
    /// The group has taken its offsets.
    HasOffsets,
    /// It is committed.
    Committed,
}

/// The transactional producer of one lane. It connects with the first call that needs it.
pub struct TransactionalProducer {
    settings: TransactionSettings,
    client: Option<Client>,
    is_given_up: Arc<AtomicBool>,
}

impl std::fmt::Debug for TransactionalProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransactionalProducer")
            .field("topic", &self.settings.topic)
            .finish_non_exhaustive()
    }
}

impl TransactionalProducer {
    /// A call that waits returns soon after `is_given_up` was set.
    pub fn new(settings: TransactionSettings, is_given_up: Arc<AtomicBool>) -> Self {
        TransactionalProducer {
            settings,
            client: None,
            is_given_up,
        }
    }

    /// Asks whether the topic is there.
    pub fn topic_answers(&mut self) -> bool {
        let topic = self.settings.topic.clone();
        let Ok(client) = self.client() else {
            return false;
        };
        let metadata = client.producer.client();
        metadata.fetch_metadata(Some(&topic), CALL_TIMEOUT).is_ok()
    }

    /// Runs one transaction to its end; `at` is called at each step. For tests `is_broken` sends the messages
    /// outside of it.
    ///
    /// # Errors
    /// It was aborted, or how it ended is not known: what the group has committed then tells.
    pub fn transact(
        &mut self,
        transaction: &Transaction,
        is_broken: bool,
        at: impl Fn(TransactionStep),
    ) -> Result<(), TransactionError> {
        let Err(mut error) = self.try_transact(transaction, is_broken, at) else {
            return Ok(());
        };
        let client = self.client.as_ref();
        error.undelivered = client.and_then(|client| client.producer.context().take());
        let is_aborted = error.wants_abort() && self.abort();
        if !is_aborted {
            // Its successor has the same name: what is left of the transaction ends with its arrival.
            self.client = None;
        }
        Err(error)
    }

    fn try_transact(
        &mut self,
        transaction: &Transaction,
        is_broken: bool,
        at: impl Fn(TransactionStep),
    ) -> Result<(), TransactionError> {
        let settings = self.settings.clone();
        let is_given_up = self.is_given_up.clone();
        let client = self.client()?;
        let producer = client.producer.clone();
        let _ = producer.context().take();
        let begun = producer.begin_transaction();
        begun.map_err(failed("the transaction cannot begin"))?;
        if is_broken {
            client::produce_without(&settings, &transaction.messages)?;
        } else {
            // SAFETY: `transact` returns after a flush, or after it has aborted or dropped the client.
            unsafe { client.produce(&transaction.messages, &is_given_up)? };
        }
        at(TransactionStep::Produced);
        let offsets = commit_list(&transaction.offsets).map_err(failed("the offsets"))?;
        let member = transaction.member.metadata();
        until_done(&is_given_up, PATIENCE, "the offsets are not taken", || {
            producer.send_offsets_to_transaction(&offsets, member, CALL_TIMEOUT)
        })?;
        at(TransactionStep::HasOffsets);
        client.flush(&is_given_up)?;
        until_done(
            &is_given_up,
            PATIENCE,
            "the transaction is not committed",
            || producer.commit_transaction(CALL_TIMEOUT),
        )?;
        at(TransactionStep::Committed);
        Ok(())
    }

    /// The client, made and initialised if it is not there, however long the cluster is away.
    fn client(&mut self) -> Result<&mut Client, TransactionError> {
        while self.client.is_none() {
            match Client::open(&self.settings, &self.is_given_up) {
                Ok(client) => self.client = Some(client),
                Err(error) if error.is_late() && !self.is_given_up.load(Ordering::Acquire) => {
                    tracing::warn!(%error, "another client tries");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(self.client.as_mut().expect("just made"))
    }

    /// True when nothing of the transaction is left.
    fn abort(&self) -> bool {
        let Some(client) = &self.client else {
            return false;
        };
        let aborted = until_done(
            &self.is_given_up,
            PATIENCE,
            "the transaction is not aborted",
            || {
                // The call waits until the reports of what it takes back are served, and serves none itself.
                client.producer.poll(Duration::ZERO);
                client.producer.abort_transaction(ABORT_TIMEOUT)
            },
        );
        aborted
            .inspect_err(|error| tracing::debug!(%error, "not aborted"))
            .is_ok()
    }
}
