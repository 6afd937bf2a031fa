//! The part of the board that belongs to one sink.

use std::sync::{Arc, Mutex};

use super::lock;
use super::status::SinkStatus;
use crate::observe::clock::Clock;

/// What is shown of one sink.
#[derive(Debug)]
pub struct SinkBoard {
    sink: String,
    clock: Arc<dyn Clock>,
    answered: Mutex<Option<u64>>,
}

impl SinkBoard {
    pub(super) fn new(sink: &str, clock: Arc<dyn Clock>) -> Self {
        Self {
            sink: sink.to_owned(),
            clock,
            answered: Mutex::default(),
        }
    }

    /// The sink has acknowledged something: an insert, a produce, or the probe that is sent while
    /// there is nothing to write. An error is no answer.
    pub fn answered(&self) {
        *lock(&self.answered) = Some(self.clock.monotonic_ms());
    }

    pub(super) fn status(&self, now_ms: u64) -> SinkStatus {
        SinkStatus {
            sink: self.sink.clone(),
            answered_ms_ago: self.answered_ms_ago(now_ms),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.sink
    }

    pub(super) fn answered_ms_ago(&self, now_ms: u64) -> Option<u64> {
        lock(&self.answered).map(|answered_ms| now_ms.saturating_sub(answered_ms))
    }
}
