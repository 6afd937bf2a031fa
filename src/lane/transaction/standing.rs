//! How the lane's transactions stand.

use std::time::{Duration, Instant};

use super::super::operator::Operator;
use super::super::{Lane, Message};
use super::Transacting;
use crate::sink::TransactionNews;

/// How long the state must have filled the memory since the last transaction before it is too large.
const FULL_FOR: Duration = Duration::from_secs(1);
/// The same while others have something in flight.
const OTHERS_FULL_FOR: Duration = Duration::from_secs(30);

impl<O: Operator> Lane<O> {
    /// Whether a transaction is in flight.
    pub(in super::super) fn is_transacting(&self) -> bool {
        let transacting = self.transacting.as_ref();
        transacting.is_some_and(|transacting| transacting.in_flight.is_some())
    }

    /// Since when a transaction waits for the ids of its topics.
    pub(in super::super) fn transaction_held_since(&self) -> Option<Instant> {
        let in_flight = self.transacting.as_ref()?.in_flight.as_ref()?;
        Some(in_flight.held.as_ref()?.read_at)
    }

    /// Whether everything that can be sent before the end is committed.
    pub(in super::super) fn has_transacted_all(&self) -> bool {
        let is_complete = |t: &Transacting| t.is_complete && t.in_flight.is_none();
        self.owned.is_empty() || self.transacting.as_ref().is_none_or(is_complete)
    }

    /// Whether what fills the memory may be decided soon, by this lane or another: what is decided is
    /// let go when the transaction before it has ended and it is asked for.
    pub(in super::super) fn may_give_state_back(&self) -> bool {
        let Some(transacting) = &self.transacting else {
            return false;
        };
        let patience = if self.context.shared.memory.has_in_flight() {
            OTHERS_FULL_FOR
        } else {
            FULL_FOR
        };
        let is_full_for = transacting.full_since.map(|since| since.elapsed());
        transacting.has_more
            || transacting.in_flight.is_some()
            || is_full_for.is_none_or(|it| it < patience)
    }

    /// When the operator is asked for rows next; `None` if it will not be.
    pub(in super::super) fn transaction_due(&self) -> Option<Instant> {
        let may =
            !self.owned.is_empty() && self.group.member.is_some() && self.group.revoking.is_none();
        let transacting = self.transacting.as_ref().filter(|_| may)?;
        let due = transacting.asked_at + self.context.pipeline.batch.flush_interval;
        Some(due.max(transacting.not_before))
    }

    /// Waits for the transaction in flight until `deadline`. The group's offsets say what became of it.
    pub(in super::super) fn end_transaction(&mut self, deadline: Instant) {
        if let Some(transacting) = &mut self.transacting {
            transacting
                .in_flight
                .take_if(|in_flight| in_flight.held.is_some());
        }
        while self.is_transacting() && Instant::now() < deadline {
            if let Ok(Message::Transaction(TransactionNews::Ended(..))) =
                self.inbox.messages.1.recv_timeout(Duration::from_millis(5))
                && let Some(transacting) = &mut self.transacting
            {
                transacting.in_flight = None;
            }
        }
        self.transacting = None;
    }

    /// Asks whether the topic is there; false where there are no transactions.
    pub(in super::super) fn check_output_topic(&self) -> bool {
        let Some(transacting) = &self.transacting else {
            return false;
        };
        if transacting.in_flight.is_none() {
            transacting.worker.check();
        }
        true
    }
}
