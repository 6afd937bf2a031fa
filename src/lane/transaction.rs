//! Rows of many records that go to a topic together with the offsets of both their topics: one Kafka
//! transaction at a time, in which the group's offsets move.
//!
//! What a transaction holds is taken from the operator together with the points up to which it is the
//! result of everything. If it fails, or a member of the group's next generation has our partitions, none
//! of it is seen, and the partitions are read anew from what is committed.

mod standing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::commit::Entry;
use super::committing::write_marker;
use super::operator::{Emit, Operator};
use super::tasks::Answers;
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
use crate::source::GroupMember;

/// How often offsets alone are worth a transaction.
const OFFSETS_INTERVAL: Duration = Duration::from_secs(1);
/// How often one is begun although it is not due, to have memory back.
const TIGHT_INTERVAL: Duration = Duration::from_millis(200);
/// Bytes of one transaction, about. The client holds as much again while it is in flight.
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

/// The transaction in flight.
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
        let messages = Answers(self.inbox.messages.0.clone());
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
        let is_full = self.context.shared.memory.is_full_of_state();
        let transacting = self.transacting.as_mut().expect("just seen");
        transacting.full_since = is_full.then(|| transacting.full_since.unwrap_or(now));
        let is_ready = transacting.in_flight.is_none() && now >= transacting.not_before;
        let Some(member) = self.group.member.clone().filter(|_| is_ready) else {
            return Ok(());
        };
        let is_last = self.context.stop.is_draining() || self.has_read_all();
        let transacting = self.transacting.as_mut().expect("just seen");
        let is_due = transacting.has_more
            || now >= transacting.asked_at + self.context.pipeline.batch.flush_interval;
        let is_tight = self.context.shared.memory.is_tight()
            && (is_full || now >= transacting.asked_at + TIGHT_INTERVAL);
        let may = !self.owned.is_empty()
            && self.group.revoking.is_none()
            && !self.topic_watch.may_have_changed(now);
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
        transacting.is_complete = false;
        transacting.sent_at = now;
        self.hold_transaction(messages, entries, member);
        self.send_held_transaction(now);
        Ok(())
    }

    /// Makes a transaction of rows and offsets, which waits for [`Lane::send_held_transaction`].
    fn hold_transaction(
        &mut self,
        messages: Messages,
        entries: Vec<Entry>,
        member: Arc<GroupMember>,
    ) {
        let Some(transacting) = &mut self.transacting else {
            return;
        };
        let bytes = messages.memory_bytes();
        let offsets = entries.iter().map(|e| e.commit.clone()).collect();
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
            _hold: MemoryHold::new(&self.context.shared.memory, MemoryPart::InFlight, bytes),
        });
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
        let asks_for_all =
            is_last && !self.context.stop.is_draining() && self.context.shared.closes_windows;
        self.tell_silence(now);
        let limits = &self.context.pipeline.batch;
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
            own.commits.point = operator.map(|operator| operator.commit_point(&own.state, settled));
            if own.has_news() || own.commits.is_long_ago(now) {
                entries.push(Entry::of(own)?);
            }
        }
        Ok(entries)
    }

    /// What the thread of the transactions has to say.
    pub(super) fn transaction_news(&mut self, news: TransactionNews) -> Result<(), Halt> {
        let (transaction, end) = match news {
            TransactionNews::Answered => {
                self.context.sink.answered();
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
                self.context.metrics.commit("error");
                self.context.metrics.retry("output", "transaction");
                self.context.shared.board.error(&format!("kafka: {why}"));
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
        self.context.metrics.commit("ok");
        self.context.sink.answered();
        if !self.committer.metadata_is_kept && !entries.is_empty() {
            // What a transaction has committed stands; whether the text beside it does is seen soon enough.
            self.read_back(entries, now)?;
        }
        let group_id = self.context.pipeline.group_id.clone();
        for entry in entries {
            let marker = self.marker(&entry.commit.partition);
            let Some(own) = self.owned_by(entry.ownership) else {
                continue;
            };
            if own.commits.position.is_none() {
                write_marker(&marker, &entry.commit.metadata, &group_id, None);
            }
            let of_rows_ms = entry.point.and_then(|point| point.complete_ms);
            let position = entry.commit.position;
            own.committed(position, entry.seal_number, entry.counter, of_rows_ms, now);
            own.commits.last_point = entry.point;
        }
        Ok(())
    }

    /// The rows were taken from the operator and are nowhere: it begins anew.
    fn transaction_given_up(&mut self, why: &str, now: Instant) {
        let Some(own) = self.owned.first() else {
            tracing::info!(
                pipeline = self.context.pipeline.name,
                why,
                "a transaction was given up"
            );
            return;
        };
        let id = own.ledger.ownership();
        self.rewind(id, &format!("a transaction was given up: {why}"), now);
    }

    fn note_written(&self, messages: &Messages) {
        self.context
            .metrics
            .rows_written
            .increment(messages.len() as u64);
        let now_ms = wall_ms();
        for message in messages.range(0..messages.len()).step_by(FRESHNESS_EVERY) {
            let age_ms = (now_ms - message.source.timestamp_ms).max(0);
            self.context
                .metrics
                .freshness
                .record(age_ms as f64 / 1000.0);
        }
    }
}
