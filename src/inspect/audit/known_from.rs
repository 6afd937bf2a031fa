//! From which event time on a join can be computed again, where its logs do not begin at their first records
//! any more.
//!
//! The largest event time of the first records that are left, as no record comes further behind it than
//! `watermark_delay` and takes part.

use std::time::Duration;

use super::scope::Scope;
use crate::config::StreamJoin;

/// What is known of the two sides of a pair of partitions, the left one first.
#[derive(Debug)]
pub(super) struct KnownFrom {
    /// What lies how far behind a record of a side.
    reach: [Option<Duration>; 2],
    from: [Begin; 2],
}

/// Of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// Nothing is gone.
    First,
    /// How far in time what is gone reaches is not known yet.
    Untold,
    /// Nothing that is gone takes part in events after this time.
    After(i64),
}

impl KnownFrom {
    pub(super) fn new(join: &StreamJoin, scopes: [&Scope; 2]) -> Self {
        let reach = join.before.map(|before| before + join.watermark_delay);
        KnownFrom {
            reach: [Some(Duration::ZERO), reach],
            from: scopes.map(|scope| match scope.from {
                0 => Begin::First,
                _ => Begin::Untold,
            }),
        }
    }

    /// Whether the next records of this side tell how far in time what is gone reaches.
    pub(super) fn is_untold(&self, side: usize) -> bool {
        self.from[side] == Begin::Untold
    }

    /// Whether times are asked for.
    pub(super) fn wants_times(&self) -> bool {
        self.from != [Begin::First; 2]
    }

    /// The largest event time of a side so far.
    pub(super) fn tell(&mut self, side: usize, largest_ms: Option<i64>) {
        if let (true, Some(largest_ms)) = (self.is_untold(side), largest_ms) {
            let reach = self.reach[side].map(|reach| i64::try_from(reach.as_millis()));
            self.from[side] = Begin::After(match reach {
                Some(Ok(reach)) => largest_ms.saturating_add(reach),
                // The match may lie as long ago as it likes.
                _ => i64::MAX,
            });
        }
    }

    /// Records of a side are gone that were to be read.
    pub(super) fn cut(&mut self, side: usize) {
        self.from[side] = Begin::Untold;
    }

    /// Whether nothing that is gone can have taken part in an event of this time.
    pub(super) fn has_all_of(&self, time_ms: Option<i64>) -> bool {
        self.from.iter().all(|begin| match begin {
            Begin::First => true,
            Begin::Untold => false,
            Begin::After(from) => time_ms.is_some_and(|time| time > *from),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(before: Option<Duration>, from: [Begin; 2]) -> KnownFrom {
        let reach = before.map(|before| before + Duration::from_millis(30));
        KnownFrom {
            reach: [Some(Duration::ZERO), reach],
            from,
        }
    }

    #[test]
    fn events_are_checked_from_where_nothing_that_is_gone_takes_part() {
        let before = Some(Duration::from_millis(300));
        let whole = known(before, [Begin::First; 2]);
        assert!(whole.has_all_of(None) && !whole.wants_times());
        let mut cut = known(before, [Begin::First, Begin::Untold]);
        assert!(cut.wants_times() && !cut.has_all_of(Some(i64::MAX)));
        cut.tell(1, None);
        assert!(cut.is_untold(1));
        cut.tell(1, Some(1_000));
        // Only the first records tell it.
        cut.tell(1, Some(5_000));
        assert_eq!(
            [1_330, 1_331].map(|t| cut.has_all_of(Some(t))),
            [false, true]
        );
        assert!(!cut.has_all_of(None));
        cut.cut(0);
        assert!(!cut.has_all_of(Some(2_000)));
        cut.tell(0, Some(1_500));
        assert_eq!(
            [1_500, 1_501].map(|t| cut.has_all_of(Some(t))),
            [false, true]
        );
        let mut table = known(None, [Begin::First, Begin::Untold]);
        table.tell(1, Some(1_000));
        assert!(!table.has_all_of(Some(i64::MAX)));
    }
}
