//! What a kind remembers of a partition.

use std::time::Duration;

use super::NotAccepted;
use crate::operator::Unreadable;
use crate::source::{Record, TopicPartition};

/// What a snapshot of a partition's state depends on, and how far back the state reaches.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotSpec {
    /// The rules by which state comes about. A snapshot made under other rules is not used.
    pub(crate) fingerprint: String,
    /// Records older than this leave no trace in the state.
    pub(crate) horizon: Duration,
}

/// State that is saved, so that the next owner of a partition goes on with it.
pub(crate) trait Snapshots<P> {
    /// Appends the state as bytes.
    fn save(&self, state: &P, out: Vec<u8>) -> Vec<u8>;

    /// The state that [`Snapshots::save`] wrote under the same rules.
    ///
    /// # Errors
    /// The bytes are not such a state.
    fn restore(&mut self, partition: &TopicPartition, saved: &[u8]) -> Result<P, Unreadable>;

    /// As [`super::Operator::accept`] for a record whose row was made before: only its effect on the state
    /// counts.
    ///
    /// # Errors
    /// The record cannot be read, or not yet. It has left no trace in the state.
    fn replay(&mut self, state: &mut P, record: Record<'_>) -> Result<(), NotAccepted>;

    /// Drops state that no record can reach any more. Called about once a second.
    fn sweep(&self, state: &mut P);
}

/// State that follows event time.
pub(crate) trait TimedState<P> {
    /// The watermark: event time up to which the partition is believed complete.
    fn watermark_ms(&self, state: &P) -> Option<i64>;

    /// How much of the process's memory the partition's state takes.
    fn state_bytes(&self, state: &P) -> usize;
}
