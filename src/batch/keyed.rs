//! Rows of a table in which versions decide: of each key the last one is kept, and a row whose source
//! left values out takes them from the row before it.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::row_binary::{Walker, is_default};
use crate::table::ColumnType;

/// Superseded rows are thrown out once they take so much, and more than the rows that count.
const DEAD_BYTES_MIN: usize = 1 << 20;

/// An encoded row: the key's columns, `_version`, `_deleted`, then every other column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyedRow<'r> {
    pub(crate) bytes: &'r [u8],
    pub(crate) key_len: usize,
    /// `None` for a row that has all its values.
    pub(crate) gaps: Option<&'r Gaps>,
}

/// Bytes of `_version` and `_deleted`.
pub(crate) const VERSION_LEN: usize = 9;

/// Values that a record left out, because they did not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gaps {
    /// The columns, by their number behind `_deleted`, ascending. They hold their types' defaults so far.
    pub(crate) columns: Vec<u16>,
    /// Whose row has them.
    pub(crate) source: GapSource,
    /// Whether the row means nothing without them. A deleted row can do without.
    pub(crate) needed: bool,
    /// The row's key was changed to this one: whoever gets the new row may ask for the values.
    pub(crate) moved: Option<Moved>,
}

/// Where values that were left out are to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GapSource {
    /// The newest row of this key that was written before this batch: its own key, or one of the same
    /// partition.
    Key(Box<[u8]>),
    /// The row of the old key, which may lie in another partition and be written later.
    Moved(Moved),
    /// Nowhere: the row before it does not have them.
    None,
}

/// A change of a row's key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Moved {
    pub(crate) old: Box<[u8]>,
    pub(crate) new: Box<[u8]>,
    /// The position in the source's log, the same in all records of one change.
    pub(crate) lsn: Option<u64>,
}

/// A row with gaps that could not be closed within its batch.
#[derive(Debug, Clone)]
pub(crate) struct GappedRow {
    pub(crate) offset: i64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) key_len: usize,
    pub(crate) gaps: Gaps,
}

#[derive(Debug)]
struct Slot {
    offset: i64,
    start: usize,
    end: usize,
    key_len: usize,
    hash: u64,
    /// A later row of the key has taken its place.
    is_dead: bool,
    gaps: Option<Box<Gaps>>,
}

impl Slot {
    /// Whether it may become a dead letter and the row before it does not: then the row stays as it was
    /// before.
    fn may_fail_where_succeeds(&self, before: &Slot) -> bool {
        let needs = |slot: &Slot| {
            let gaps = slot.gaps.as_ref()?;
            (gaps.needed && !gaps.columns.is_empty()).then(|| gaps.source.clone())
        };
        let needed = needs(self);
        needed.is_some() && needed != needs(before)
    }
}

/// The newest slot of a key.
#[derive(Debug, Clone, Copy)]
struct Newest {
    head: Head,
    slot: u32,
}

/// The beginning of a key and its length: of most keys it is all there is, and comparing it saves a look at
/// the row, which lies anywhere in megabytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    bytes: [u8; Head::BYTES],
    key_len: u32,
}

impl Head {
    const BYTES: usize = 8;

    #[inline]
    fn of(key: &[u8]) -> Head {
        let mut bytes = [0; Head::BYTES];
        match key.first_chunk() {
            Some(first) => bytes = *first,
            None => bytes[..key.len()].copy_from_slice(key),
        }
        // Longer ones are compared as a whole.
        let key_len = u32::try_from(key.len()).unwrap_or(u32::MAX);
        Head { bytes, key_len }
    }

    fn is_whole(self) -> bool {
        self.key_len as usize <= Head::BYTES
    }
}

/// Rows since the last cut.
#[derive(Debug)]
pub(crate) struct KeyedRows {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    /// The newest slot of each key.
    newest: HashTable<Newest>,
    hashes: RandomState,
    dead_bytes: usize,
    dead: usize,
}

impl KeyedRows {
    pub(crate) fn new() -> Self {
        KeyedRows {
            bytes: vec![],
            slots: vec![],
            newest: HashTable::new(),
            hashes: RandomState::default(),
            dead_bytes: 0,
            dead: 0,
        }
    }

    /// Adds a row in the place of its key's last one. `others` are the types behind `_deleted`.
    pub(crate) fn push(&mut self, offset: i64, row: KeyedRow<'_>, others: &[ColumnType]) {
        let key = &row.bytes[..row.key_len];
        let hash = self.hashes.hash_one(key);
        let last = self.find(key, hash);
        let start = self.bytes.len();
        let gaps = match row.gaps {
            None => {
                self.bytes.extend_from_slice(row.bytes);
                None
            }
            Some(gaps) => self.push_closing(row, gaps, last, others),
        };
        let slot = Slot {
            offset,
            start,
            end: self.bytes.len(),
            key_len: row.key_len,
            hash,
            is_dead: false,
            gaps: gaps.map(Box::new),
        };
        self.supersede(last, &slot);
        self.slots.push(slot);
        self.follow(last, self.slots.len() - 1);
        if self.dead_bytes > DEAD_BYTES_MIN && self.dead_bytes > self.bytes.len() / 2 {
            self.compact();
        }
    }

    /// Appends a row with what the row that it follows has of the missing values. Returns what is still
    /// missing.
    fn push_closing(
        &mut self,
        row: KeyedRow<'_>,
        gaps: &Gaps,
        last: Option<usize>,
        others: &[ColumnType],
    ) -> Option<Gaps> {
        let source = match &gaps.source {
            GapSource::Key(key) if **key == row.bytes[..row.key_len] => last,
            GapSource::Key(old) | GapSource::Moved(Moved { old, .. }) => {
                self.find(old, self.hashes.hash_one(&**old))
            }
            GapSource::None => None,
        };
        let Some(source) = source else {
            self.bytes.extend_from_slice(row.bytes);
            return Some(gaps.clone());
        };
        let Slot {
            start,
            end,
            key_len,
            gaps: before,
            ..
        } = &self.slots[source];
        let head_len = row.key_len + VERSION_LEN;
        let known = self.bytes[start + key_len + VERSION_LEN..*end].to_vec();
        let unknown = before.as_ref().map_or(&[][..], |gaps| &gaps.columns);
        let mut columns = vec![];
        let mut is_anywhere = true;
        self.bytes.extend_from_slice(&row.bytes[..head_len]);
        let closed = splice(
            &row.bytes[head_len..],
            &known,
            others,
            &mut self.bytes,
            |index, value| {
                if !gaps.columns.contains(&index) {
                    return false;
                }
                let is_gap = unknown.contains(&index);
                let is_nothing = !is_gap && is_default(value, &others[usize::from(index)]);
                if is_gap || is_nothing && gaps.needed {
                    columns.push(index);
                    is_anywhere &= is_gap;
                }
                !is_gap
            },
        );
        debug_assert!(closed, "rows of one table have the same columns");
        // What the row before lacks, it lacks for the same reason.
        let source = match (&before, is_anywhere) {
            _ if columns.is_empty() => GapSource::None,
            (Some(before), true) => before.source.clone(),
            _ => GapSource::None,
        };
        let inherited = before.as_ref().and_then(|before| before.moved.clone());
        // The tombstone behind a delete speaks of the same change of the key.
        let moved = gaps.moved.clone().map(|moved| Moved {
            lsn: moved.lsn.or(inherited.and_then(|before| before.lsn)),
            ..moved
        });
        (!columns.is_empty() || moved.is_some()).then_some(Gaps {
            columns,
            source,
            needed: gaps.needed,
            moved,
        })
    }

    fn find(&self, key: &[u8], hash: u64) -> Option<usize> {
        let found = self.newest.find(hash, |newest| self.is_of(newest, key));
        found.map(|newest| newest.slot as usize)
    }

    #[inline]
    fn is_of(&self, newest: &Newest, key: &[u8]) -> bool {
        let head = Head::of(key);
        newest.head == head && (head.is_whole() || self.key(newest.slot as usize) == key)
    }

    fn key(&self, slot: usize) -> &[u8] {
        let slot = &self.slots[slot];
        &self.bytes[slot.start..slot.start + slot.key_len]
    }

    fn supersede(&mut self, last: Option<usize>, by: &Slot) {
        let Some(last) = last else { return };
        let slot = &mut self.slots[last];
        // What a row was before its key was changed is still wanted under its new key.
        let has_moved = |slot: &Slot| slot.gaps.as_ref().is_some_and(|gaps| gaps.moved.is_some());
        if has_moved(slot) && !has_moved(by) || by.may_fail_where_succeeds(slot) {
            return;
        }
        slot.is_dead = true;
        self.dead += 1;
        self.dead_bytes += slot.end - slot.start;
    }

    /// The slot is its key's newest, `last` was until now.
    fn follow(&mut self, last: Option<usize>, slot: usize) {
        let hash = self.slots[slot].hash;
        let number = u32::try_from(slot).expect("memory ends long before that many rows");
        if let Some(last) = last {
            // The table knows the key by its last slot: no need to compare keys once more.
            let newest = self
                .newest
                .find_mut(hash, |newest| newest.slot as usize == last);
            newest.expect("the slot was found by its key").slot = number;
            return;
        }
        let newest = Newest {
            head: Head::of(self.key(slot)),
            slot: number,
        };
        let slots = &self.slots;
        let hash_of = |other: &Newest| slots[other.slot as usize].hash;
        self.newest.insert_unique(hash, newest, hash_of);
    }

    /// Throws superseded rows out. Rows lie in the order of their slots, so each moves towards the beginning.
    fn compact(&mut self) {
        let (bytes, mut end) = (&mut self.bytes, 0);
        self.slots.retain_mut(|slot| {
            if !slot.is_dead {
                bytes.copy_within(slot.start..slot.end, end);
                (slot.start, slot.end) = (end, end + slot.end - slot.start);
                end = slot.end;
            }
            !slot.is_dead
        });
        bytes.truncate(end);
        (self.dead, self.dead_bytes) = (0, 0);
        self.newest.clear();
        for slot in 0..self.slots.len() {
            let last = self.find(self.key(slot), self.slots[slot].hash);
            self.follow(last, slot);
        }
    }

    /// Rows that count.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.dead
    }

    /// Bytes of the rows that count.
    pub(crate) fn live_bytes(&self) -> usize {
        self.bytes.len() - self.dead_bytes
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
            + self.slots.capacity() * size_of::<Slot>()
            + self.newest.capacity() * (size_of::<Newest>() + 1)
    }

    /// Takes the rows: those that have all their values go to `whole`, in the order of their offsets.
    pub(crate) fn drain(&mut self, mut whole: impl FnMut(i64, &[u8])) -> Vec<GappedRow> {
        let mut gapped = vec![];
        let all = std::mem::replace(self, KeyedRows::new());
        for slot in all.slots.into_iter().filter(|slot| !slot.is_dead) {
            let row = &all.bytes[slot.start..slot.end];
            match slot.gaps {
                None => whole(slot.offset, row),
                Some(gaps) => gapped.push(GappedRow {
                    offset: slot.offset,
                    bytes: row.to_vec(),
                    key_len: slot.key_len,
                    gaps: *gaps,
                }),
            }
        }
        gapped
    }
}

/// Appends the values of `row`, except those for which `takes` says true of the value that `other` has:
/// of them the other's. False, with nothing appended, when either is no row of these types.
pub(crate) fn splice(
    row: &[u8],
    other: &[u8],
    types: &[ColumnType],
    out: &mut Vec<u8>,
    mut takes: impl FnMut(u16, &[u8]) -> bool,
) -> bool {
    let start = out.len();
    let (mut row, mut other) = (Walker(row), Walker(other));
    for (index, column_type) in (0..).zip(types) {
        let (Some(own), Some(others)) = (row.value(column_type), other.value(column_type)) else {
            out.truncate(start);
            return false;
        };
        let value = if takes(index, others) { others } else { own };
        out.extend_from_slice(value);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Key UInt8, then two Nullable(String).
    fn types() -> Vec<ColumnType> {
        vec![ColumnType::parse("Nullable(String)").unwrap(); 2]
    }

    fn bytes(key: u8, version: u64, deleted: bool, values: [Option<&str>; 2]) -> Vec<u8> {
        let mut row = vec![key];
        row.extend(version.to_le_bytes());
        row.push(u8::from(deleted));
        for value in values {
            match value {
                None => row.push(1),
                Some(text) => {
                    row.extend([0, u8::try_from(text.len()).unwrap()]);
                    row.extend(text.as_bytes());
                }
            }
        }
        row
    }

    fn push(rows: &mut KeyedRows, row: &[u8], gaps: Option<&Gaps>) {
        let version = u64::from_le_bytes(row[1..9].try_into().unwrap());
        let offset = i64::try_from(version).unwrap();
        let key_len = 1;
        rows.push(
            offset,
            KeyedRow {
                bytes: row,
                key_len,
                gaps,
            },
            &types(),
        );
    }

    fn own(key: u8, columns: Vec<u16>) -> Gaps {
        Gaps {
            columns,
            source: GapSource::Key([key].into()),
            needed: true,
            moved: None,
        }
    }

    fn moved(old: u8, new: u8) -> Moved {
        Moved {
            old: [old].into(),
            new: [new].into(),
            lsn: Some(7),
        }
    }

    fn drain(rows: &mut KeyedRows) -> (Vec<Vec<u8>>, Vec<GappedRow>) {
        let mut whole = vec![];
        let gapped = rows.drain(|_, row| whole.push(row.to_vec()));
        (whole, gapped)
    }

    #[test]
    fn the_last_row_of_a_key_counts() {
        let mut rows = KeyedRows::new();
        for (key, version) in [(1, 1), (2, 2), (1, 3), (3, 4), (2, 5)] {
            push(
                &mut rows,
                &bytes(key, version, false, [Some("a"), None]),
                None,
            );
        }
        assert_eq!(rows.len(), 3);
        let (whole, gapped) = drain(&mut rows);
        let expected = [(1, 3), (3, 4), (2, 5)];
        assert_eq!(
            whole,
            expected.map(|(k, v)| bytes(k, v, false, [Some("a"), None]))
        );
        assert!(gapped.is_empty() && rows.len() == 0);
    }

    #[test]
    fn superseded_rows_give_their_room_back() {
        let mut rows = KeyedRows::new();
        let big = "x".repeat(100);
        for version in 0..100_000 {
            push(
                &mut rows,
                &bytes(version as u8 % 7, version, false, [Some(&big), None]),
                None,
            );
        }
        assert_eq!(rows.len(), 7);
        assert!(rows.memory_bytes() < 8 << 20);
        let (whole, _) = drain(&mut rows);
        let versions: Vec<_> = whole
            .iter()
            .map(|row| u64::from_le_bytes(row[1..9].try_into().unwrap()))
            .collect();
        assert_eq!(versions, (99_993..100_000).collect::<Vec<_>>());
    }

    #[test]
    fn keys_of_any_length_are_told_apart_by_all_of_their_bytes() {
        let keys = ["", "a", "a\0", "12345678", "12345678a", "12345678b"];
        let mut rows = KeyedRows::new();
        let mut version = 0;
        for _ in 0..3 {
            for key in keys {
                version += 1;
                let mut row = key.as_bytes().to_vec();
                row.extend(bytes(0, version, false, [None, None]).split_off(1));
                let (offset, key_len) = (i64::try_from(version).unwrap(), key.len());
                let (bytes, gaps) = (&*row, None);
                let keyed = KeyedRow {
                    bytes,
                    key_len,
                    gaps,
                };
                rows.push(offset, keyed, &types());
            }
        }
        let mut offsets = vec![];
        let gapped = rows.drain(|offset, _| offsets.push(offset));
        assert_eq!(offsets, (13..=18).collect::<Vec<_>>());
        assert!(gapped.is_empty());
    }

    #[test]
    fn a_value_left_out_comes_from_the_row_before() {
        let mut rows = KeyedRows::new();
        push(
            &mut rows,
            &bytes(1, 1, false, [Some("big"), Some("a")]),
            None,
        );
        push(
            &mut rows,
            &bytes(1, 2, false, [None, Some("b")]),
            Some(&own(1, vec![0])),
        );
        let (whole, gapped) = drain(&mut rows);
        assert_eq!(whole, [bytes(1, 2, false, [Some("big"), Some("b")])]);
        assert!(gapped.is_empty());
    }

    #[test]
    fn what_the_row_before_lacks_too_is_looked_for_where_it_would_look() {
        let mut rows = KeyedRows::new();
        push(
            &mut rows,
            &bytes(1, 1, false, [None, Some("a")]),
            Some(&own(1, vec![0])),
        );
        push(
            &mut rows,
            &bytes(1, 2, false, [None, None]),
            Some(&own(1, vec![0, 1])),
        );
        let (whole, gapped) = drain(&mut rows);
        assert!(whole.is_empty());
        assert_eq!(gapped[0].bytes, bytes(1, 2, false, [None, Some("a")]));
        assert_eq!(gapped[0].gaps, own(1, vec![0]));
    }

    #[test]
    fn a_deleted_row_has_no_values_to_give() {
        let mut rows = KeyedRows::new();
        push(&mut rows, &bytes(1, 1, true, [None, None]), None);
        push(
            &mut rows,
            &bytes(1, 2, false, [None, Some("b")]),
            Some(&own(1, vec![0])),
        );
        let (_, gapped) = drain(&mut rows);
        assert_eq!(
            (&*gapped[0].gaps.columns, &gapped[0].gaps.source),
            (&[0][..], &GapSource::None)
        );
    }

    #[test]
    fn a_row_that_may_become_a_dead_letter_leaves_the_one_before_it_in_place() {
        let mut rows = KeyedRows::new();
        let gone = bytes(1, 1, true, [None, None]);
        push(&mut rows, &gone, None);
        for version in [2, 3] {
            let row = bytes(1, version, false, [None, Some("b")]);
            push(&mut rows, &row, Some(&own(1, vec![0])));
        }
        assert_eq!(rows.len(), 2);
        let (whole, gapped) = drain(&mut rows);
        assert_eq!(whole, [gone]);
        assert_eq!((gapped.len(), gapped[0].offset), (1, 3));
    }

    #[test]
    fn a_row_under_its_new_key_takes_the_values_it_had_under_the_old() {
        let mut rows = KeyedRows::new();
        push(
            &mut rows,
            &bytes(1, 1, false, [Some("big"), Some("a")]),
            None,
        );
        let leaves = Gaps {
            needed: false,
            moved: Some(moved(1, 2)),
            ..own(1, vec![0, 1])
        };
        push(&mut rows, &bytes(1, 2, true, [None, None]), Some(&leaves));
        let tombstone = Gaps {
            moved: Some(Moved {
                lsn: None,
                ..moved(1, 2)
            }),
            ..leaves
        };
        push(
            &mut rows,
            &bytes(1, 3, true, [None, None]),
            Some(&tombstone),
        );
        let comes = Gaps {
            source: GapSource::Moved(moved(1, 2)),
            ..own(1, vec![0])
        };
        push(
            &mut rows,
            &bytes(2, 4, false, [None, Some("a")]),
            Some(&comes),
        );
        // The old key lives again before anybody asked.
        push(&mut rows, &bytes(1, 5, false, [Some("new"), None]), None);
        let (whole, gapped) = drain(&mut rows);
        assert_eq!(
            whole,
            [
                bytes(2, 4, false, [Some("big"), Some("a")]),
                bytes(1, 5, false, [Some("new"), None])
            ]
        );
        assert_eq!(
            gapped.len(),
            1,
            "the tombstone has taken the place of the delete"
        );
        assert_eq!(gapped[0].bytes, bytes(1, 3, true, [Some("big"), Some("a")]));
        assert_eq!(gapped[0].gaps.moved, Some(moved(1, 2)));
        assert!(gapped[0].gaps.columns.is_empty());
    }
}
