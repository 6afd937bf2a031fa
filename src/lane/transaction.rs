//! Rows of many records that go to a topic together with the offsets of both their topics: one Kafka
//! transaction at a time, in which the group's offsets move.
//!
//! What a transaction holds is taken from the operator together with the points up to which it is the
//! result of everything. If it fails, or a member of the group's next generation has our partitions, none
//! of it is seen, and the partitions are read anew from what is committed.

use std::time::{Duration, Instant};

use super::commit::Entry;
use super::operator::{Emit, Operator};
use super::tasks::Answers;
use super::writes::write_marker;
use super::{Lane, Message};
use crate::batch::{Messages, OpenBatch};
use crate::clock::wall_ms;
use crate::crash::crash_point;
use crate::halt::Halt;
use crate::memory::{MemoryHold, MemoryPart};
use crate::progress::OwnershipId;
use crate::sink::{
    Backoff, Transaction, TransactionEnd, TransactionNews, TransactionSettings, Transactions,
};

/// How often offsets alone are worth a transaction.
const OFFSETS_INTERVAL: Duration = Duration::from_secs(1);
/// How often one is begun although it is not due, to have memory back.
const TIGHT_INTERVAL: Duration = Duration::from_millis(200);
/// How long the state must have filled the memory since the last transaction before it is too large.
const FULL_FOR: Duration = Duration::from_secs(1);
/// The same while others have something on its way.
const OTHERS_FULL_FOR: Duration = Duration::from_secs(30);
/// Bytes of one transaction, about. The client holds as much again while they are on their way.
const BYTES_MAX: usize = 8 << 20;
/// One message of so many tells how fresh they are.
const FRESHNESS_EVERY: usize = 32;

/// What the lane knows of its transactions.
#[derive(Debug)]
pub(super) struct Transacting {
    worker: Transactions,
    in_flight: Option<InFlight>,
    /// Memory of the last one, for the next.
    spare: Messages,
    /// When rows were last asked for.
    asked_at: Instant,
    sent_at: Instant,
    not_before: Instant,
    backoff: Backoff,
    /// There was no room for all rows that were due.
    has_more: bool,
    /// Since when the operator's state alone fills the memory.
    full_since: Option<Instant>,
    /// Everything that can be sent was, and nothing will be added: the lane ends.
    is_complete: bool,
}

/// The transaction on its way.
#[derive(Debug)]
struct InFlight {
    entries: Vec<Entry>,
    /// Where it has not begun.
    held: Option<Held>,
    _hold: MemoryHold,
}

/// A transaction that waits until its topics are known to have been the same after its records were read.
#[derive(Debug)]
struct Held {
    transaction: Transaction,
    /// When the last of the records had been read.
    read_at: Instant,
    /// Whose records they are.
    ownerships: Vec<OwnershipId>,
}

impl<O: Operator> Lane<O> {
    /// The thread of the lane's transactions, where the operator wants them.
    pub(super) fn start_transactions(
        &mut self,
        settings: Option<TransactionSettings>,
    ) -> Result<(), Halt> {
        let Some(settings) = settings else {
            return Ok(());
        };
        let messages = Answers(self.messages.0.clone());
        let worker = Transactions::start(settings, move |news| {
            let _ = messages.0.send(Message::Transaction(news));
        })?;
        let now = Instant::now();
        self.transacting = Some(Transacting {
            worker,
            in_flight: None,
            spare: Messages::default(),
            asked_at: now,
            sent_at: now,
            not_before: now,
            backoff: Backoff::new(),
            has_more: false,
            full_since: None,
            is_complete: false,
        });
        Ok(())
    }

    /// Takes the rows that are due, and the offsets they stand for, and sends them.
    pub(super) fn transact(&mut self, now: Instant) -> Result<(), Halt> {
        if self.transacting.is_none() {
            return Ok(());
        }
        self.send_held_transaction(now);
        // What waits to be joined grows with every chunk.
        self.count_memory();
        let is_full = self.shared.memory.is_full_of_state();
        let transacting = self.transacting.as_mut().expect("just seen");
        transacting.full_since = is_full.then(|| transacting.full_since.unwrap_or(now));
        let is_ready = transacting.in_flight.is_none() && now >= transacting.not_before;
        let Some(member) = self.member.clone().filter(|_| is_ready) else {
            return Ok(());
        };
        let is_last = self.stop.is_draining() || self.has_read_all();
        let transacting = self.transacting.as_mut().expect("just seen");
        let is_due = transacting.has_more
            || now >= transacting.asked_at + self.pipeline.batch.flush_interval;
        let is_tight = self.shared.memory.is_tight()
            && (is_full || now >= transacting.asked_at + TIGHT_INTERVAL);
        let may = !self.owned.is_empty()
            && self.revoking.is_none()
            && !self.topic_watch.may_have_changed();
        if !may || !is_due && !is_last && !is_tight {
            return Ok(());
        }
        transacting.asked_at = now;
        let mut messages = std::mem::take(&mut transacting.spare);
        let had_all = self.take_rows(now, is_last, &mut messages)?;
        let transacting = self.transacting.as_mut().expect("just seen");
        transacting.has_more = !had_all;
        let is_worth_it = is_last || now >= transacting.sent_at + OFFSETS_INTERVAL;
        let entries = if messages.is_empty() && !is_worth_it {
            vec![]
        } else {
            self.points_with_news(now)?
        };
        let transacting = self.transacting.as_mut().expect("just seen");
        if messages.is_empty() && entries.is_empty() {
            transacting.spare = messages;
            transacting.is_complete = is_last && had_all;
            return Ok(());
        }
        crash_point!("before_transaction");
        let bytes = messages.memory_bytes();
        let offsets = entries.iter().map(|e| e.commit.clone()).collect();
        transacting.is_complete = false;
        transacting.sent_at = now;
        let ownerships = self.owned.iter().map(|own| own.ledger.ownership());
        let held = Held {
            transaction: Transaction {
                messages,
                offsets,
                member,
            },
            read_at: Instant::now(),
            ownerships: ownerships.collect(),
        };
        transacting.in_flight = Some(InFlight {
            entries,
            held: Some(held),
            _hold: MemoryHold::new(&self.shared.memory, MemoryPart::InFlight, bytes),
        });
        self.send_held_transaction(now);
        Ok(())
    }

    /// Begins the transaction whose records are known to be of the topics that their partitions began with.
    /// One whose partitions have gone, or are read again, is dropped: its rows are made anew.
    fn send_held_transaction(&mut self, now: Instant) {
        let Some(transacting) = &mut self.transacting else {
            return;
        };
        let held = transacting.in_flight.as_mut().and_then(|f| f.held.take());
        let Some(held) = held else {
            return;
        };
        let is_ours = |id| self.owned.iter().any(|own| own.ledger.ownership() == id);
        let topics = self.owned.iter().map(|own| &*own.partition.topic);
        if !held.ownerships.iter().copied().all(is_ours) {
            transacting.in_flight = None;
        } else if self.topic_watch.covers_all(topics, held.read_at, now) {
            transacting.worker.run(held.transaction);
        } else if let Some(in_flight) = &mut transacting.in_flight {
            in_flight.held = Some(held);
        }
    }

    /// True when there are no more of them.
    fn take_rows(
        &mut self,
        now: Instant,
        is_last: bool,
        messages: &mut Messages,
    ) -> Result<bool, Halt> {
        let asks_for_all = is_last && !self.stop.is_draining() && self.shared.closes_windows;
        self.tell_silence(now);
        let limits = &self.pipeline.batch;
        let Some(operator) = self.operator.emission() else {
            return Ok(true);
        };
        operator.emit(Emit {
            batch: &mut OpenBatch::new(),
            messages,
            all: asks_for_all,
            rows_max: limits.rows_max,
            bytes_max: limits.bytes_max.min(BYTES_MAX),
        })
    }

    /// What there is to commit, as of the rows just taken.
    fn points_with_news(&mut self, now: Instant) -> Result<Vec<Entry>, Halt> {
        let mut entries = vec![];
        for own in &mut self.owned {
            let settled = own.ledger.position();
            let operator = self.operator.emission();
            own.point = operator.map(|operator| operator.commit_point(&own.state, settled));
            if own.has_news() || own.is_long_committed(now) {
                entries.push(Entry::of(own)?);
            }
        }
        Ok(entries)
    }

    /// What the thread of the transactions has to say.
    pub(super) fn transaction_news(&mut self, news: TransactionNews) -> Result<(), Halt> {
        let (transaction, end) = match news {
            TransactionNews::Answered => {
                self.sink.answered();
                return Ok(());
            }
            TransactionNews::Ended(transaction, end) => (transaction, end),
        };
        let now = Instant::now();
        let Some(transacting) = &mut self.transacting else {
            return Ok(());
        };
        let entries = transacting.in_flight.take().map(|flight| flight.entries);
        transacting.full_since = None;
        match end {
            TransactionEnd::Committed => {
                transacting.backoff = Backoff::new();
                self.note_written(&transaction.messages);
                self.transaction_committed(&entries.unwrap_or_default(), now)?;
            }
            TransactionEnd::GivenUp(why) => {
                let wait = transacting.backoff.next_wait();
                transacting.not_before = now + wait;
                self.metrics.commit("error");
                self.metrics.retry("output", "transaction");
                self.shared.board.error(&format!("kafka: {why}"));
                self.transaction_given_up(&why, now);
            }
            TransactionEnd::Halted(halt) => return Err(halt),
        }
        let mut messages = transaction.messages;
        messages.clear();
        if let Some(transacting) = &mut self.transacting
            && messages.memory_bytes() <= 2 * BYTES_MAX
        {
            transacting.spare = messages;
        }
        Ok(())
    }

    fn transaction_committed(&mut self, entries: &[Entry], now: Instant) -> Result<(), Halt> {
        self.metrics.commit("ok");
        self.sink.answered();
        if !self.metadata_is_kept && !entries.is_empty() {
            // What a transaction has committed stands; whether the text beside it does is seen soon enough.
            self.read_back(entries, now)?;
        }
        let group_id = self.pipeline.group_id.clone();
        for entry in entries {
            let marker = self.marker(&entry.commit.partition);
            let Some(own) = self.owned_by(entry.ownership) else {
                continue;
            };
            if own.committed.is_none() {
                write_marker(&marker, &entry.commit.metadata, &group_id, None);
            }
            own.committed(entry.commit.position, entry.cut_number, entry.counter, now);
            own.committed_point = entry.point;
        }
        Ok(())
    }

    /// The rows were taken from the operator and are nowhere: it begins anew.
    fn transaction_given_up(&mut self, why: &str, now: Instant) {
        let Some(own) = self.owned.first() else {
            tracing::info!(
                pipeline = self.pipeline.name,
                why,
                "a transaction was given up"
            );
            return;
        };
        let id = own.ledger.ownership();
        self.rewind(id, &format!("a transaction was given up: {why}"), now);
    }

    fn note_written(&self, messages: &Messages) {
        self.metrics.rows_written.increment(messages.len() as u64);
        let now_ms = wall_ms();
        for message in messages.range(0..messages.len()).step_by(FRESHNESS_EVERY) {
            let age_ms = (now_ms - message.source.timestamp_ms).max(0);
            self.metrics.freshness.record(age_ms as f64 / 1000.0);
        }
    }

    /// Whether a transaction is on its way.
    pub(super) fn is_transacting(&self) -> bool {
        let transacting = self.transacting.as_ref();
        transacting.is_some_and(|transacting| transacting.in_flight.is_some())
    }

    /// Since when a transaction waits for the ids of its topics.
    pub(super) fn transaction_held_since(&self) -> Option<Instant> {
        let in_flight = self.transacting.as_ref()?.in_flight.as_ref()?;
        Some(in_flight.held.as_ref()?.read_at)
    }

    /// Whether everything that can be sent before the end is committed.
    pub(super) fn has_transacted_all(&self) -> bool {
        let is_complete = |t: &Transacting| t.is_complete && t.in_flight.is_none();
        self.owned.is_empty() || self.transacting.as_ref().is_none_or(is_complete)
    }

    /// Whether what fills the memory may be decided soon, by this lane or another: what is decided is
    /// let go when the transaction before it has ended and it is asked for.
    pub(super) fn may_give_state_back(&self) -> bool {
        let Some(transacting) = &self.transacting else {
            return false;
        };
        let patience = if self.shared.memory.has_in_flight() {
            OTHERS_FULL_FOR
        } else {
            FULL_FOR
        };
        let is_full_for = transacting.full_since.map(|since| since.elapsed());
        transacting.has_more
            || transacting.in_flight.is_some()
            || is_full_for.is_none_or(|it| it < patience)
    }

    /// When rows are asked for next; `None` where nobody will.
    pub(super) fn transaction_due(&self) -> Option<Instant> {
        let may = !self.owned.is_empty() && self.member.is_some() && self.revoking.is_none();
        let transacting = self.transacting.as_ref().filter(|_| may)?;
        let due = transacting.asked_at + self.pipeline.batch.flush_interval;
        Some(due.max(transacting.not_before))
    }

    /// Waits for the transaction on its way, until then at most: what becomes of it stands in the group.
    pub(super) fn end_transaction(&mut self, deadline: Instant) {
        if let Some(transacting) = &mut self.transacting {
            transacting
                .in_flight
                .take_if(|in_flight| in_flight.held.is_some());
        }
        while self.is_transacting() && Instant::now() < deadline {
            if let Ok(Message::Transaction(TransactionNews::Ended(..))) =
                self.messages.1.recv_timeout(Duration::from_millis(5))
                && let Some(transacting) = &mut self.transacting
            {
                transacting.in_flight = None;
            }
        }
        self.transacting = None;
    }

    /// Asks whether the topic is there; false where there are no transactions.
    pub(super) fn check_output_topic(&self) -> bool {
        let Some(transacting) = &self.transacting else {
            return false;
        };
        if transacting.in_flight.is_none() {
            transacting.worker.check();
        }
        true
    }
}
