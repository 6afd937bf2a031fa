//! What tasks tell the lane.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::{begin, keeping, lookups, parking, refused};
use crate::progress::{OwnershipId, Settlement};
use crate::sink::{Outcome, TransactionNews};

/// What a task tells the lane.
#[derive(Debug)]
pub(super) enum Message {
    Write {
        ownership: OwnershipId,
        outcome: Outcome,
    },
    Profiles(lookups::Answer),
    /// The record that the server refused, read again to be dead-lettered.
    Original(Box<refused::Original>),
    Kept(keeping::Kept),
    BlockingTask(parking::Done),
    Transaction(TransactionNews),
    Begin(Box<begin::News>),
    Panicked,
}

/// The lane's ends of the channels, and the numbers by which it tells ownerships apart.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) settlements: (Sender<Settlement>, Receiver<Settlement>),
    pub(super) messages: (Sender<Message>, Receiver<Message>),
    last_ownership: u64,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Inbox {
            settlements: channel(),
            messages: channel(),
            last_ownership: 0,
        }
    }

    /// A number that no ownership of the lane has had.
    pub(super) fn next_ownership(&mut self) -> OwnershipId {
        self.last_ownership += 1;
        OwnershipId(self.last_ownership)
    }
}
