//! Why a partition is not read for a while.

use std::time::Instant;

use tokio::task::AbortHandle;

use super::super::operator::BlockingTask;
use crate::halt::Halt;

/// What a partition waits for.
#[derive(Debug)]
pub(in super::super) enum Parked {
    /// Since this turn, for this task.
    New(BlockingTask),
    /// What was read before the record may have to be written first.
    Settling(BlockingTask),
    /// A task is at it.
    UnderWay {
        what: String,
        since: Instant,
        _task: Task,
    },
    /// It failed for good. The pipeline halts as soon as the others have read what there is for them, or
    /// after a while.
    Sick { halt: Halt, since: Instant },
    /// The server is behind.
    Full,
    /// The slowest partition is behind, and memory is tight.
    Ahead,
}

impl Parked {
    pub(in super::super) fn is_new(&self) -> bool {
        matches!(self, Parked::New(_))
    }
}

/// A task that ends with whoever waits for it.
#[derive(Debug)]
pub(in super::super) struct Task(AbortHandle);

impl Task {
    pub(in super::super) fn new(task: AbortHandle) -> Self {
        Task(task)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
