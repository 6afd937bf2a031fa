//! What becomes of single records: rows, dead letters, or nothing yet.

use std::sync::Arc;

use super::BlockingTask;
use crate::batch::OpenBatch;
use crate::decode::Reject;
use crate::halt::Halt;
use crate::lookup::Found;
use crate::sink::{Stage, Target};

/// Why a record becomes a dead letter, and in which stage that was found out.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) stage: Stage,
    pub(crate) reject: Reject,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// The record made this many rows of the chunk. A record that only goes into the state makes none.
    Rows(usize),
    /// The record makes no row, by a rule. The reason is a metric label.
    Dropped(&'static str),
}

/// Why a record makes no row, or none yet.
#[derive(Debug)]
pub(crate) enum NotAccepted {
    /// It can never be written.
    Refused(Refusal),
    /// A task has to be done first. Then the record is judged again.
    Later(BlockingTask),
    /// The pipeline cannot go on without its operator.
    Halted(Halt),
}

impl From<Halt> for NotAccepted {
    fn from(halt: Halt) -> Self {
        NotAccepted::Halted(halt)
    }
}

impl From<Refusal> for NotAccepted {
    fn from(refusal: Refusal) -> Self {
        NotAccepted::Refused(refusal)
    }
}

/// The rows of the chunk, each made of one record.
pub(crate) trait RecordRows {
    /// The table that a row goes to.
    fn target(&self, row: usize) -> &Arc<Target>;

    /// Puts a row into its partition's batch.
    fn push(&self, row: usize, offset: i64, batch: &mut OpenBatch);

    /// The columns of a table have changed: what is known of it is out of date.
    fn altered(&mut self, table: &str);
}

/// For kinds that make no row of a single record. There is no value of this type.
#[derive(Debug)]
pub(crate) enum NoRows {}

impl RecordRows for NoRows {
    fn target(&self, _row: usize) -> &Arc<Target> {
        match *self {}
    }

    fn push(&self, _row: usize, _offset: i64, _batch: &mut OpenBatch) {
        match *self {}
    }

    fn altered(&mut self, _table: &str) {
        match *self {}
    }
}

/// Rows are appended to one table: a row that is sent twice is there twice. So a range is named in a commit
/// before it is written. Where versions count, a range may be written again.
pub(crate) trait Appends {
    /// The table that records are judged for. Records that make no row because a value does not fit may
    /// make one once the table is altered.
    fn target(&self) -> &Arc<Target>;

    /// Whether the table's rows say which record each came from.
    fn is_traceable(&self) -> bool;
}

/// Values that rows of the chunk need, looked up by key.
pub(crate) trait Lookups {
    /// Keys that the chunk's rows need and that were not asked for yet; empty when the chunk is complete.
    /// The answer is [`Lookups::apply_lookup`] or [`Lookups::apply_defaults`], before rows are taken. Called
    /// for every chunk before its first row is taken.
    fn lookup_keys(&mut self, now_ms: u64) -> Vec<Vec<u8>>;

    /// Takes the answers to [`Lookups::lookup_keys`], in the order of the keys.
    fn apply_lookup(&mut self, found: Vec<Found>, now_ms: u64);

    /// There will be no answer: the rows take their defaults.
    fn apply_defaults(&mut self);
}
