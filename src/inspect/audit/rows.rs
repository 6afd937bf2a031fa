//! What each offset of an append table's log has become: pure.

use std::collections::HashMap;

use super::report::{Counts, Wrong};
use crate::batch::ROW_ID_INDEX_BITS;

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
        }
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
            } else {
                self.counts.lost += 1;
                self.wrong.push((Wrong::Lost, offset));
            }
            return;
        }
        self.found(offset, rows, is_letter);
    }

    /// Accounts for a record of whose rows some are missing.
    pub(super) fn incomplete(&mut self, offset: i64) {
        if offset < self.next || offset >= self.to {
            return;
        }
        self.without_records(offset);
        self.next = offset + 1;
        self.counts.records += 1;
        self.rows_at(offset);
        self.has_letter(offset);
        self.counts.lost += 1;
        self.wrong.push((Wrong::Lost, offset));
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

/// What a range has of records that make several rows: `ids` are its rows by their numbers, ascending.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SeveralRows {
    /// Of each record with rows its offset, and twice where a row is there twice.
    pub(super) offsets: Vec<i64>,
    /// How many different rows each has.
    pub(super) counts: HashMap<i64, usize>,
}

impl SeveralRows {
    pub(super) fn new(ids: &[i64], from: i64) -> Self {
        let mut several = SeveralRows::default();
        let offset = |id: &i64| from + (id >> ROW_ID_INDEX_BITS);
        for rows in ids.chunk_by(|a, b| offset(a) == offset(b)) {
            let offset = offset(&rows[0]);
            let different = rows.chunk_by(|a, b| a == b).count();
            several.offsets.push(offset);
            if different < rows.len() {
                several.offsets.push(offset);
            }
            several.counts.insert(offset, different);
        }
        several
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        let id = |offset: i64, index: i64| (offset - 10) << ROW_ID_INDEX_BITS | index;
        let ids = [
            id(10, 0),
            id(10, 1),
            id(12, 0),
            id(12, 0),
            id(12, 1),
            id(13, 1),
        ];
        let several = SeveralRows::new(&ids, 10);
        assert_eq!(several.offsets, [10, 12, 12, 13]);
        assert_eq!(several.counts, HashMap::from([(10, 2), (12, 2), (13, 1)]));
        let mut block = Block::new(10, 14, several.offsets, &[]);
        block.record(10, || false);
        block.record(11, || true);
        block.record(12, || false);
        block.incomplete(13);
        let (counts, wrong) = block.done();
        assert_eq!(
            (counts.rows, counts.lost, counts.doubled, counts.dropped),
            (1, 1, 1, 1)
        );
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
