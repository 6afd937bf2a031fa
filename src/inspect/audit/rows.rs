//! What each offset of an append table's log has become: pure.

use std::collections::HashMap;

use super::report::{Counts, Wrong};
use crate::sink::RowCounts;

/// Up to when records may be duplicates of those that the log does not have any more, by Kafka's time.
#[derive(Debug)]
pub(super) struct Unknown {
    within_ms: i64,
    /// Records lie before the next one that are gone.
    is_cut: bool,
    until_ms: i64,
}

impl Unknown {
    /// `within_ms`: how near duplicates lie, and how late their records come.
    pub(super) fn new(within_ms: i64, is_cut: bool) -> Self {
        Unknown {
            within_ms,
            is_cut,
            until_ms: i64::MIN,
        }
    }

    pub(super) fn cut(&mut self) {
        self.is_cut = true;
    }

    /// Whether the next record is one of them.
    pub(super) fn has(&mut self, time_ms: i64) -> bool {
        if std::mem::take(&mut self.is_cut) {
            let until_ms = time_ms.saturating_add(self.within_ms);
            self.until_ms = self.until_ms.max(until_ms);
        }
        time_ms < self.until_ms
    }
}

/// What is known of offsets `[from, to)` before their records are read.
#[derive(Debug)]
pub(super) struct Block<'l> {
    from: i64,
    to: i64,
    /// Offsets of rows, ascending; of two rows of one record twice.
    rows: Vec<i64>,
    /// Offsets of dead letters, ascending.
    letters: &'l [i64],
    /// Where the two lists are read on.
    next_row: usize,
    next_letter: usize,
    /// The first offset that is not accounted for.
    next: i64,
    counts: Counts,
    wrong: Vec<(Wrong, i64)>,
    /// What has neither row nor letter may have been a letter that is gone.
    are_letters_cut: bool,
    excused: u64,
    /// Whether the next record may be a duplicate of one that is gone.
    may_repeat: bool,
    repeats: u64,
}

impl<'l> Block<'l> {
    pub(super) fn new(from: i64, to: i64, rows: Vec<i64>, letters: &'l [i64]) -> Self {
        Block {
            from,
            to,
            rows,
            letters: &letters[letters.partition_point(|offset| *offset < from)..],
            next_row: 0,
            next_letter: 0,
            next: from,
            counts: Counts::default(),
            wrong: vec![],
            are_letters_cut: false,
            excused: 0,
            may_repeat: false,
            repeats: 0,
        }
    }

    /// Whether letters are gone from their topic: nobody knows of a record without rows whether it was one.
    pub(super) fn excuses(&mut self, are_letters_cut: bool) {
        self.are_letters_cut = are_letters_cut;
    }

    /// Whether the next record may be a duplicate of one that the log does not have any more.
    pub(super) fn may_repeat(&mut self, may_repeat: bool) {
        self.may_repeat = may_repeat;
    }

    /// Records that would be lost if the log had its beginning.
    pub(super) fn repeats(&self) -> u64 {
        self.repeats
    }

    /// Records that would be lost if no letter were gone.
    pub(super) fn excused(&self) -> u64 {
        self.excused
    }

    /// Accounts for a record; offsets ascend. `drops` says whether a rule of the configuration drops it, and
    /// is asked where neither row nor dead letter is there.
    pub(super) fn record(&mut self, offset: i64, drops: impl FnOnce() -> bool) {
        if offset < self.next || offset >= self.to {
            return;
        }
        self.without_records(offset);
        self.next = offset + 1;
        self.counts.records += 1;
        let rows = self.rows_at(offset);
        let is_letter = self.has_letter(offset);
        if rows == 0 && !is_letter {
            if drops() {
                self.counts.dropped += 1;
            } else if self.are_letters_cut {
                self.counts.not_checkable += 1;
                self.excused += 1;
            } else if self.may_repeat {
                self.counts.not_checkable += 1;
                self.repeats += 1;
            } else {
                self.counts.lost += 1;
                self.wrong.push((Wrong::Lost, offset));
            }
            return;
        }
        self.found(offset, rows, is_letter);
    }

    /// Accounts for a record whose rows are not those that it makes.
    pub(super) fn other_rows(&mut self, offset: i64, rows: OtherRows) {
        if offset < self.next || offset >= self.to {
            return;
        }
        self.without_records(offset);
        self.next = offset + 1;
        self.counts.records += 1;
        self.rows_at(offset);
        self.has_letter(offset);
        let (count, wrong) = match rows {
            OtherRows::Missing => (&mut self.counts.lost, Some(Wrong::Lost)),
            OtherRows::TooMany => (&mut self.counts.doubled, Some(Wrong::Doubled)),
            OtherRows::Unknown => (&mut self.counts.not_checkable, None),
        };
        *count += 1;
        self.wrong.extend(wrong.map(|wrong| (wrong, offset)));
    }

    /// Every record was read.
    pub(super) fn done(mut self) -> (Counts, Vec<(Wrong, i64)>) {
        self.without_records(self.to);
        debug_assert!(self.from <= self.next);
        (self.counts, self.wrong)
    }

    /// Offsets up to `to` hold no record any more, or never did.
    fn without_records(&mut self, to: i64) {
        while self.next < to {
            // Most such offsets have nothing at all: they are passed over together.
            let row = self.rows.get(self.next_row).copied().unwrap_or(to);
            let letter = self.letters.get(self.next_letter).copied().unwrap_or(to);
            let at = row.min(letter).min(to);
            if at > self.next {
                self.counts.control += (at - self.next).unsigned_abs();
                self.next = at;
                continue;
            }
            let offset = self.next;
            self.next += 1;
            let rows = self.rows_at(offset);
            let is_letter = self.has_letter(offset);
            self.found(offset, rows, is_letter);
        }
    }

    fn found(&mut self, offset: i64, rows: usize, is_letter: bool) {
        match (rows, is_letter) {
            (0, _) => self.counts.dead_letters += 1,
            (1, _) => {
                self.counts.rows += 1;
                self.counts.dead_letters_replayed += u64::from(is_letter);
            }
            _ => {
                self.counts.doubled += 1;
                self.wrong.push((Wrong::Doubled, offset));
            }
        }
    }

    fn rows_at(&mut self, offset: i64) -> usize {
        let rest = &self.rows[self.next_row..];
        let before = rest.iter().take_while(|row| **row < offset).count();
        let rows = rest[before..]
            .iter()
            .take_while(|row| **row == offset)
            .count();
        self.next_row += before + rows;
        rows
    }

    fn has_letter(&mut self, offset: i64) -> bool {
        let rest = &self.letters[self.next_letter..];
        let before = rest.iter().take_while(|letter| **letter < offset).count();
        self.next_letter += before;
        let is_it = rest.get(before) == Some(&offset);
        self.next_letter += usize::from(is_it);
        is_it
    }
}

/// How the rows of a record differ from those that it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OtherRows {
    Missing,
    TooMany,
    /// By the rules of today it makes none.
    Unknown,
}

impl OtherRows {
    /// `made`: how many the record makes.
    pub(super) fn of(found: &RowCounts, made: usize) -> Option<OtherRows> {
        match found.different {
            // One of them is there twice, whatever the rules say.
            different if found.rows > different => Some(OtherRows::TooMany),
            _ if made == 0 => Some(OtherRows::Unknown),
            different if different > made => Some(OtherRows::TooMany),
            different if different < made => Some(OtherRows::Missing),
            _ => None,
        }
    }
}

/// What a range has of records that make several rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SeveralRows {
    /// Of each record with rows its offset, and twice where a row is there twice.
    pub(super) offsets: Vec<i64>,
    counts: HashMap<i64, RowCounts>,
}

impl SeveralRows {
    /// `counts` in the order of their offsets.
    pub(super) fn new(counts: &[RowCounts]) -> Self {
        let mut several = SeveralRows::default();
        for found in counts {
            let times = 1 + usize::from(found.rows > found.different);
            several
                .offsets
                .extend(std::iter::repeat_n(found.offset, times));
            several.counts.insert(found.offset, *found);
        }
        several
    }

    pub(super) fn of(&self, offset: i64) -> Option<&RowCounts> {
        self.counts.get(&offset)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_may_be_a_duplicate_of_a_record_that_is_gone_is_not_lost() {
        // By Kafka's times: the log begins at 100, and is cut again before 500.
        let mut unknown = Unknown::new(50, true);
        let mut block = Block::new(10, 16, vec![11], &[]);
        for (offset, time_ms, is_dropped) in [
            (10, 100, false),
            (11, 120, false),
            (12, 149, true),
            (13, 150, false),
        ] {
            block.may_repeat(unknown.has(time_ms));
            block.record(offset, || is_dropped);
        }
        unknown.cut();
        for (offset, time_ms) in [(14, 500), (15, 550)] {
            block.may_repeat(unknown.has(time_ms));
            block.record(offset, || false);
        }
        assert_eq!(block.repeats(), 2);
        let (counts, wrong) = block.done();
        assert_eq!(wrong, [(Wrong::Lost, 13), (Wrong::Lost, 15)]);
        assert_eq!(
            (counts.not_checkable, counts.dropped, counts.rows),
            (2, 1, 1)
        );
        let mut whole = Unknown::new(50, false);
        assert!(!whole.has(100) && !whole.has(50));
    }

    #[test]
    fn every_offset_is_exactly_one_thing() {
        // 10 row, 11 lost, 12 twice, 13 letter, 14 letter and row, 15 no record, 16 dropped, 17 row of a
        // record that was compacted.
        let rows = vec![10, 12, 12, 14, 17];
        let letters = [3, 13, 14, 40];
        let mut block = Block::new(10, 18, rows, &letters);
        for offset in [10, 11, 12, 13, 14, 16] {
            block.record(offset, || offset == 16);
        }
        let (counts, wrong) = block.done();
        let expected = Counts {
            records: 6,
            rows: 3,
            dead_letters: 1,
            dead_letters_replayed: 1,
            dropped: 1,
            control: 1,
            lost: 1,
            doubled: 1,
            ..Counts::default()
        };
        assert_eq!(counts, expected);
        assert_eq!(wrong, [(Wrong::Lost, 11), (Wrong::Doubled, 12)]);
    }

    #[test]
    fn a_record_of_several_rows_is_there_once_or_incomplete_or_twice() {
        let found = |offset, rows, different| RowCounts {
            offset,
            rows,
            different,
        };
        let counts = [
            found(10, 2, 2),
            found(12, 3, 2),
            found(13, 1, 1),
            found(14, 3, 3),
        ];
        let several = SeveralRows::new(&counts);
        assert_eq!(several.offsets, [10, 12, 12, 13, 14]);
        for (offset, made, expected) in [
            (10, 2, None),
            (10, 3, Some(OtherRows::Missing)),
            (10, 1, Some(OtherRows::TooMany)),
            (10, 0, Some(OtherRows::Unknown)),
            (12, 2, Some(OtherRows::TooMany)),
            (12, 3, Some(OtherRows::TooMany)),
            (12, 0, Some(OtherRows::TooMany)),
        ] {
            let found = several.of(offset).expect("it has rows");
            assert_eq!(OtherRows::of(found, made), expected, "{found:?} {made}");
        }
        let mut block = Block::new(10, 15, several.offsets, &[]);
        // What has rows was no letter, so its rows are missing whatever has become of the letters.
        block.excuses(true);
        block.record(10, || false);
        block.record(11, || false);
        block.other_rows(12, OtherRows::TooMany);
        block.other_rows(13, OtherRows::Missing);
        block.other_rows(14, OtherRows::Unknown);
        assert_eq!(block.excused(), 1);
        let (counts, wrong) = block.done();
        let seen = (
            counts.rows,
            counts.lost,
            counts.doubled,
            counts.not_checkable,
        );
        assert_eq!(seen, (1, 1, 1, 2));
        assert_eq!(wrong, [(Wrong::Doubled, 12), (Wrong::Lost, 13)]);
    }

    proptest! {
        #[test]
        fn counts_are_those_of_a_look_at_each_offset(
            states in prop::collection::vec((any::<bool>(), 0usize..3, any::<bool>(), any::<bool>()), 0..60),
            from in 0i64..5,
        ) {
            let at = |index: usize| from + i64::try_from(index).unwrap();
            let (mut rows, mut letters) = (vec![], vec![]);
            let mut expected = Counts::default();
            for (index, &(is_record, count, is_letter, drops)) in states.iter().enumerate() {
                rows.extend(std::iter::repeat_n(at(index), count));
                letters.extend(is_letter.then_some(at(index)));
                expected.records += u64::from(is_record);
                match (count, is_letter) {
                    (0, true) => expected.dead_letters += 1,
                    (0, false) if !is_record => expected.control += 1,
                    (0, false) if drops => expected.dropped += 1,
                    (0, false) => expected.lost += 1,
                    (1, _) => {
                        expected.rows += 1;
                        expected.dead_letters_replayed += u64::from(is_letter);
                    }
                    _ => expected.doubled += 1,
                }
            }
            let mut block = Block::new(from, at(states.len()), rows, &letters);
            for (index, &(is_record, _, _, drops)) in states.iter().enumerate() {
                if is_record {
                    block.record(at(index), || drops);
                }
            }
            prop_assert_eq!(block.done().0, expected);
        }
    }
}
