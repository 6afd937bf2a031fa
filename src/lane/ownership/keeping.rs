//! When a partition's state is saved.

use std::time::{Duration, Instant};

/// A store that failed is tried again after this, or after the interval if that is shorter.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// What is known of an ownership's snapshots.
#[derive(Debug)]
pub(in super::super) struct Keeping {
    /// The label of the newest one.
    newest: Option<i64>,
    /// The label of the one that is being written.
    writing: Option<i64>,
    /// The last label that could not be written.
    failed: Option<i64>,
    due_at: Instant,
    /// How many checkpoints that an operator asked for have been taken note of.
    asked: u64,
}

impl Keeping {
    /// Whether a snapshot is being written.
    pub(in super::super) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// A snapshot labelled `offset` is being written.
    pub(in super::super) fn began(&mut self, offset: i64) {
        self.writing = Some(offset);
    }

    /// `restored_from`: the label of the snapshot the state came from. Without one the state
    /// exists nowhere else yet.
    pub(in super::super) fn new(restored_from: Option<i64>, interval: Duration) -> Self {
        let wait = if restored_from.is_some() {
            interval
        } else {
            Duration::ZERO
        };
        Keeping {
            newest: restored_from,
            writing: None,
            failed: None,
            due_at: Instant::now() + wait,
            asked: 0,
        }
    }

    /// An operator has asked for so many checkpoints: the next snapshot does not wait for its interval.
    pub(in crate::lane) fn note_asked(&mut self, asked: u64, now: Instant) {
        if asked > self.asked {
            (self.asked, self.due_at) = (asked, now);
        }
    }

    /// Whether a snapshot labelled `seen_to` is worth taking. While nobody could start from the
    /// newest one yet, another would only take room.
    pub(in super::super) fn is_due(&self, seen_to: i64, committed: i64, now: Instant) -> bool {
        now >= self.due_at
            && self.writing.is_none()
            && self.newest != Some(seen_to)
            && self.newest.is_none_or(|newest| newest <= committed)
    }

    /// Whether leaving has to wait for a snapshot labelled `offset`.
    pub(in super::super) fn waits_for(&self, offset: i64) -> bool {
        self.newest != Some(offset) && self.failed != Some(offset)
    }

    pub(in super::super) fn wrote(
        &mut self,
        offset: i64,
        is_kept: bool,
        interval: Duration,
        now: Instant,
    ) {
        self.writing = None;
        if is_kept {
            self.newest = Some(offset);
            self.due_at = now + interval;
        } else {
            self.failed = Some(offset);
            self.due_at = now + interval.min(AGAIN_AFTER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(60);

    #[test]
    fn a_state_that_exists_nowhere_else_is_kept_at_once_and_then_every_interval() {
        let mut keeping = Keeping::new(None, INTERVAL);
        let now = Instant::now();
        assert!(keeping.is_due(100, -1, now));
        keeping.wrote(100, true, INTERVAL, now);
        assert!(!keeping.is_due(200, 200, now));
        assert!(keeping.is_due(200, 200, now + INTERVAL));
        assert!(!keeping.is_due(100, 200, now + INTERVAL), "nothing new");
        assert!(!Keeping::new(Some(100), INTERVAL).is_due(200, 200, now));
    }

    #[test]
    fn a_snapshot_that_is_asked_for_is_due_at_once_and_once() {
        let mut keeping = Keeping::new(Some(100), INTERVAL);
        let now = Instant::now();
        keeping.note_asked(0, now);
        assert!(!keeping.is_due(200, 200, now));
        keeping.note_asked(1, now);
        assert!(keeping.is_due(200, 200, now));
        keeping.wrote(200, true, INTERVAL, now);
        keeping.note_asked(1, now);
        assert!(!keeping.is_due(300, 300, now));
    }

    #[test]
    fn no_further_snapshot_is_taken_until_the_commit_has_passed_the_newest() {
        let mut keeping = Keeping::new(None, INTERVAL);
        let now = Instant::now();
        keeping.wrote(100, true, INTERVAL, now);
        assert!(!keeping.is_due(200, 99, now + INTERVAL));
        assert!(keeping.is_due(200, 100, now + INTERVAL));
    }

    #[test]
    fn a_store_that_fails_is_tried_again_and_holds_nobody_up() {
        let mut keeping = Keeping::new(None, INTERVAL);
        let now = Instant::now();
        assert!(keeping.waits_for(100));
        keeping.wrote(100, false, INTERVAL, now);
        assert!(!keeping.waits_for(100));
        assert!(!keeping.is_due(100, 100, now));
        assert!(keeping.is_due(100, 100, now + AGAIN_AFTER));
    }
}
