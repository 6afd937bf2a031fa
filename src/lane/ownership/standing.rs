//! Since when a partition has not moved.

use std::time::{Duration, Instant};

/// A partition that has not moved for this time is reported, if no reason was reported yet.
pub(in super::super) const STILL_MAX: Duration = Duration::from_secs(30);

/// Since when a partition stands where it does.
#[derive(Debug)]
pub(in super::super) struct Standing {
    written_to: i64,
    written_at: Instant,
    committed: Option<i64>,
    committed_at: Instant,
}

impl Standing {
    pub(in super::super) fn new(written_to: i64, now: Instant) -> Self {
        Standing {
            written_to,
            written_at: now,
            committed: None,
            committed_at: now,
        }
    }

    /// Takes where it stands; `is_open`: a range is not written yet, `has_news`: something is not committed.
    /// Since when that is so.
    pub(in super::super) fn note(
        &mut self,
        (written_to, is_open): (i64, bool),
        (committed, has_news): (Option<i64>, bool),
        now: Instant,
    ) -> (Option<Instant>, Option<Instant>) {
        if written_to != self.written_to || !is_open {
            (self.written_to, self.written_at) = (written_to, now);
        }
        if committed != self.committed || !has_news {
            (self.committed, self.committed_at) = (committed, now);
        }
        let still = |since: Instant| (now >= since + STILL_MAX).then_some(since);
        let written = still(self.written_at);
        // What is not written cannot be committed.
        let committed = still(self.committed_at).filter(|_| !is_open);
        (written, committed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_moved_for_half_a_minute_is_said_and_what_moves_or_has_nothing_to_do_is_not() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut standing = Standing::new(5, start);
        let mut note = |written, committed, s| {
            let (unwritten, uncommitted) = standing.note(written, committed, at(s));
            (unwritten.is_some(), uncommitted.is_some())
        };
        // Idle.
        assert_eq!(note((5, false), (Some(5), false), 100), (false, false));
        // A range is open.
        assert_eq!(note((5, true), (Some(5), true), 101), (false, false));
        assert_eq!(note((5, true), (Some(5), true), 129), (false, false));
        assert_eq!(note((5, true), (Some(5), true), 130), (true, false));
        // It is written, and then not committed.
        assert_eq!(note((9, false), (Some(5), true), 131), (false, true));
        assert_eq!(note((9, false), (Some(9), false), 132), (false, false));
        // Others are written behind it, and nothing stands still.
        assert_eq!(note((9, true), (Some(9), true), 140), (false, false));
        assert_eq!(note((12, true), (Some(9), true), 169), (false, false));
        assert_eq!(note((12, true), (Some(12), true), 198), (false, false));
        assert_eq!(note((12, true), (Some(12), true), 199), (true, false));
    }
}
