//! The dead letters of one pipeline, as they are shown.

use std::collections::{BTreeMap, VecDeque};

use super::status::DeadLetterStatus;

/// How many are shown.
const LETTERS_MAX: usize = 20;

/// How many there were of each reason, and the last ones.
#[derive(Debug, Default)]
pub(super) struct Letters {
    by_reason: BTreeMap<&'static str, u64>,
    last: VecDeque<DeadLetterStatus>,
}

impl Letters {
    pub(super) fn add(&mut self, letter: DeadLetterStatus) {
        *self.by_reason.entry(letter.reason).or_default() += 1;
        self.last.truncate(LETTERS_MAX - 1);
        self.last.push_front(letter);
    }

    /// By reason, and the last ones, newest first.
    pub(super) fn status(&self) -> (BTreeMap<&'static str, u64>, Vec<DeadLetterStatus>) {
        (self.by_reason.clone(), self.last.iter().cloned().collect())
    }
}
