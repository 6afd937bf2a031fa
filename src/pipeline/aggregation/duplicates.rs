//! Duplicates before windows.
//!
//! Nothing is stored: the next owner reads the records again that tell which ones of open windows are duplicates. Those
//! lie within a short time of each other, so a partition is committed that much further back than its windows need.

use std::cell::RefCell;

use crate::operator::window::Place;
use crate::operator::{DedupKey, DedupRules, NeededRecords, SeenKeys};
use crate::pipeline::quality::DedupPlan;
use crate::progress::{CommitPoint, Frontier, WindowFrontier};

/// What is known of the records of one partition.
#[derive(Debug)]
pub(super) struct Duplicates {
    seen: SeenKeys,
    /// A commit point says what is not needed any more.
    needed: RefCell<NeededRecords>,
    within_ms: i64,
}

impl Duplicates {
    pub(super) fn new(plan: &DedupPlan) -> Self {
        Duplicates::of(plan.rules, NeededRecords::new(plan.rules.within_ms))
    }

    fn of(rules: DedupRules, needed: NeededRecords) -> Self {
        Duplicates {
            seen: SeenKeys::new(rules),
            needed: RefCell::new(needed),
            within_ms: rules.within_ms,
        }
    }

    /// The partition is read from a commit before which this was the largest event time.
    pub(super) fn begin(&mut self, largest_ms: Option<i64>) {
        largest_ms
            .into_iter()
            .for_each(|time_ms| self.seen.note_time(time_ms));
    }

    /// A record was read; true if it is a duplicate. `largest_ms`: the largest event time before it.
    pub(super) fn note(
        &mut self,
        key: Option<DedupKey>,
        place: Place,
        largest_ms: Option<i64>,
    ) -> bool {
        let Place {
            time_ms, offset, ..
        } = place;
        self.begin(largest_ms);
        self.needed.get_mut().note(offset, time_ms, largest_ms);
        let Some(key) = key else {
            return false;
        };
        let is_duplicate = self.seen.is_duplicate(key, time_ms);
        self.seen.note(key, time_ms);
        is_duplicate
    }

    /// Records of this time and older are in no open window.
    pub(super) fn forget(&mut self, over_through_ms: Option<i64>) {
        if let Some(over_ms) = over_through_ms {
            self.needed
                .get_mut()
                .forget(over_ms.saturating_sub(self.within_ms));
        }
    }

    /// Where the partition may be committed: before everything that a record of an open window may be a duplicate of. Of
    /// one that is not waited for any more (`is_retired`) that is nothing once all of it is done with: its last records
    /// would be needed for ever, and the topic deletes them.
    pub(super) fn commit_point(
        &self,
        point: CommitPoint,
        over_through_ms: Option<i64>,
        is_retired: bool,
    ) -> CommitPoint {
        if is_retired && self.needed.borrow_mut().end(point.position) {
            return point;
        }
        let over_ms = over_through_ms.unwrap_or(i64::MIN);
        let needed = self
            .needed
            .borrow()
            .first_after(over_ms.saturating_sub(self.within_ms));
        match (needed, point.frontier) {
            (Some((position, largest_ms)), Frontier::Windows(frontier))
                if position < point.position =>
            {
                CommitPoint {
                    position,
                    frontier: Frontier::Windows(WindowFrontier {
                        largest_ms,
                        ..frontier
                    }),
                    ..point
                }
            }
            _ => point,
        }
    }

    /// What it takes of the process's memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.seen.memory_bytes() + self.needed.borrow().memory_bytes()
    }
}

#[cfg(test)]
mod tests;
