//! What of one partition is durable: the contiguous settled prefix, and the ranges after it.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;

use super::{Claim, OwnershipId, Range, Settlement};

/// A range was given up unsettled: the partition must be read again from [`Ledger::position`].
#[derive(Debug, PartialEq, Eq)]
pub struct Abandoned(pub Range);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    to: i64,
    settled: bool,
}

/// The ranges of one ownership. They are contiguous: each begins where the one before it ended.
#[derive(Debug)]
pub struct Ledger {
    ownership: OwnershipId,
    position: i64,
    open: VecDeque<Entry>,
    lane: Sender<Settlement>,
}

impl Ledger {
    /// Starts at the committed position, never at the first record seen. `lane` gets the settlements.
    #[must_use]
    pub fn new(ownership: OwnershipId, position: i64, lane: Sender<Settlement>) -> Self {
        Ledger {
            ownership,
            position,
            open: VecDeque::new(),
            lane,
        }
    }

    /// Seals the range from where the last one ended to `to`; gaps in the log belong to it.
    ///
    /// # Panics
    /// When `to` does not lie after the last seal: ranges only move forward.
    pub fn seal(&mut self, to: i64) -> Claim {
        let range = Range {
            from: self.next(),
            to,
        };
        assert!(to > range.from, "a range ends after it begins: {range}");
        self.open.push_back(Entry { to, settled: false });
        self.claim(range)
    }

    /// Moves past offsets that hold nothing to write (markers of transactions, skipped records),
    /// allowed only while no range is open.
    pub fn pass(&mut self, to: i64) {
        assert!(
            self.open.is_empty(),
            "offsets are passed only behind the last range"
        );
        self.position = self.position.max(to);
    }

    /// Replaces one unsettled range by two that meet at `at`. The caller holds the claim of the
    /// old range and must have forgotten it (see [`Claim`]); fresh claims are returned.
    ///
    /// # Panics
    /// When the range is not open or `at` does not lie inside it.
    pub fn split(&mut self, range: Range, at: i64) -> (Claim, Claim) {
        assert!(
            range.from < at && at < range.to,
            "{at} does not lie inside {range}"
        );
        let index = self.index_of(range).expect("only an open range is split");
        self.open.insert(
            index,
            Entry {
                to: at,
                settled: false,
            },
        );
        let first = self.claim(Range {
            from: range.from,
            to: at,
        });
        (
            first,
            self.claim(Range {
                from: at,
                to: range.to,
            }),
        )
    }

    /// Applies one settlement; those of another ownership, or of a range that was split, do nothing.
    ///
    /// # Errors
    /// [`Abandoned`] when the claim was dropped unsettled.
    pub fn apply(&mut self, settlement: &Settlement) -> Result<(), Abandoned> {
        if settlement.ownership != self.ownership {
            return Ok(());
        }
        let Some(index) = self.index_of(settlement.range) else {
            return Ok(());
        };
        if !settlement.durable {
            return Err(Abandoned(settlement.range));
        }
        self.open[index].settled = true;
        while self.open.front().is_some_and(|entry| entry.settled) {
            self.position = self.open.pop_front().expect("a front was just seen").to;
        }
        Ok(())
    }

    /// Next offset to consume: every record before it is written, dead-lettered or dropped by rule.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Where the next range will begin.
    #[must_use]
    pub fn next(&self) -> i64 {
        self.open.back().map_or(self.position, |entry| entry.to)
    }

    /// The end of every range past the position, in order: what a commit must name.
    pub fn range_ends(&self) -> impl Iterator<Item = i64> + '_ {
        self.open.iter().map(|entry| entry.to)
    }

    /// How many ranges are open.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// The holding this ledger belongs to.
    #[must_use]
    pub fn ownership(&self) -> OwnershipId {
        self.ownership
    }

    fn claim(&self, range: Range) -> Claim {
        Claim::new(self.ownership, range, self.lane.clone())
    }

    fn index_of(&self, range: Range) -> Option<usize> {
        let index = self.open.partition_point(|entry| entry.to < range.to);
        let from = if index == 0 {
            self.position
        } else {
            self.open[index - 1].to
        };
        let entry = self.open.get(index)?;
        // The front may begin before the range when the position was passed over a gap.
        (entry.to == range.to && from == range.from && !entry.settled).then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Receipt;
    use super::*;
    use proptest::prelude::*;
    use std::sync::mpsc::{Receiver, channel};

    fn ledger(position: i64) -> (Ledger, Receiver<Settlement>) {
        let (lane, settled) = channel();
        (Ledger::new(OwnershipId(1), position, lane), settled)
    }

    fn drain(ledger: &mut Ledger, settled: &Receiver<Settlement>) -> Result<(), Abandoned> {
        settled.try_iter().try_for_each(|s| ledger.apply(&s))
    }

    proptest! {
        #[test]
        fn the_position_never_passes_an_unsettled_range_in_any_settle_order(
            steps in prop::collection::vec((any::<bool>(), 1i64..8, any::<prop::sample::Index>()), 1..80)
        ) {
            let (mut ledger, settled) = ledger(0);
            let mut open: Vec<Claim> = vec![];
            for (cut, length, pick) in steps {
                if cut || open.is_empty() {
                    let to = ledger.next() + length;
                    open.push(ledger.seal(to));
                } else {
                    open.swap_remove(pick.index(open.len())).settle(&Receipt::acknowledged());
                }
                drain(&mut ledger, &settled).unwrap();
                let oldest = open.iter().map(|c| c.range().from).min();
                prop_assert_eq!(ledger.position(), oldest.unwrap_or(ledger.next()));
            }
            for claim in open { claim.settle(&Receipt::acknowledged()); }
            drain(&mut ledger, &settled).unwrap();
            prop_assert_eq!(ledger.position(), ledger.next());
            prop_assert_eq!(ledger.open_count(), 0);
        }
    }

    #[test]
    fn every_part_of_a_claim_must_settle() {
        let (mut ledger, settled) = ledger(5);
        let rows = ledger.seal(9);
        let dead_letter = rows.split();
        rows.settle(&Receipt::acknowledged());
        drain(&mut ledger, &settled).unwrap();
        assert_eq!(ledger.position(), 5);
        dead_letter.settle(&Receipt::acknowledged());
        drain(&mut ledger, &settled).unwrap();
        assert_eq!(ledger.position(), 9);
    }

    #[test]
    fn a_forgotten_part_abandons_the_range() {
        let (mut ledger, settled) = ledger(0);
        let rows = ledger.seal(3);
        drop(rows.split());
        rows.settle(&Receipt::acknowledged());
        assert_eq!(
            drain(&mut ledger, &settled),
            Err(Abandoned(Range { from: 0, to: 3 }))
        );
        assert_eq!(ledger.position(), 0);
    }

    #[test]
    fn settlements_of_an_ended_ownership_are_ignored() {
        let (lane, settled) = channel();
        let zombie = Ledger::new(OwnershipId(1), 0, lane.clone()).seal(50);
        let mut ledger = Ledger::new(OwnershipId(2), 0, lane);
        let fresh = ledger.seal(50);
        zombie.settle(&Receipt::acknowledged());
        drain(&mut ledger, &settled).unwrap();
        assert_eq!(ledger.position(), 0);
        fresh.settle(&Receipt::acknowledged());
        drain(&mut ledger, &settled).unwrap();
        assert_eq!(ledger.position(), 50);
    }

    #[test]
    fn a_split_range_settles_in_two_and_its_old_claim_means_nothing() {
        let (mut ledger, settled) = ledger(0);
        let whole = ledger.seal(10);
        let after = ledger.seal(12);
        let (first, second) = ledger.split(Range { from: 0, to: 10 }, 4);
        drop(whole);
        assert_eq!(ledger.range_ends().collect::<Vec<_>>(), [4, 10, 12]);
        second.settle(&Receipt::acknowledged());
        after.settle(&Receipt::acknowledged());
        drain(&mut ledger, &settled).unwrap();
        assert_eq!(ledger.position(), 0);
        first.settle(&Receipt::acknowledged());
        drain(&mut ledger, &settled).unwrap();
        assert_eq!(ledger.position(), 12);
    }

    #[test]
    fn passing_a_gap_moves_the_position_and_the_next_range() {
        let (mut ledger, settled) = ledger(7);
        ledger.pass(9);
        let claim = ledger.seal(12);
        assert_eq!(claim.range(), Range { from: 9, to: 12 });
        claim.settle(&Receipt::acknowledged());
        drain(&mut ledger, &settled).unwrap();
        assert_eq!(ledger.position(), 12);
    }
}
