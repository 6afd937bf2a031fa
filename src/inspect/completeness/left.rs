//! A group without members, after a process has halted: does anybody go on? Pure.

use std::time::{Duration, Instant};

/// A process that starts again is back in its group by then.
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// A group that had no members each time it was asked, and whose commits did not move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Left {
    since: Instant,
    committed: Vec<Option<i64>>,
}

impl Left {
    /// It has no members now either.
    pub(super) fn next(before: Option<Left>, committed: Vec<Option<i64>>, now: Instant) -> Left {
        let before = before.filter(|before| before.committed == committed);
        before.unwrap_or(Left {
            since: now,
            committed,
        })
    }

    /// Whether it has been so for long enough.
    pub(super) fn is_believed(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= BACK_WITHIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_left_once_it_stays_empty_and_nothing_moves() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let first = Left::next(None, vec![Some(5), None], at(0));
        assert!(!first.is_believed(at(9)));
        let same = Left::next(Some(first.clone()), vec![Some(5), None], at(9));
        assert!(same.is_believed(at(10)));
        let moved = Left::next(Some(first), vec![Some(6), None], at(9));
        assert!(!moved.is_believed(at(10)) && moved.is_believed(at(19)));
    }
}
