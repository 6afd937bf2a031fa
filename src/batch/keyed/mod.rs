//! Rows of a table in which versions decide: of each key the last one is kept, and a row whose source
//! left values out takes them from the row before it.

mod gaps;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::row_binary::is_default;
use gaps::splice;
pub(crate) use gaps::{GapSource, GappedRow, Gaps, Moved};

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
    fn moved(&self) -> Option<&Moved> {
        self.gaps.as_ref()?.moved.as_ref()
    }

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

/// Rows since the last cut.
#[derive(Debug)]
pub(crate) struct KeyedRows {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    /// The newest slot of each key.
    newest: HashTable<usize>,
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
        self.enter(self.slots.len() - 1);
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
            // Between two leaves the key has had a row that is not known.
            GapSource::Key(_) if last.is_some_and(|last| self.has_left_before(last, gaps)) => {
                self.bytes.extend_from_slice(row.bytes);
                return Some(Gaps {
                    source: GapSource::None,
                    ..gaps.clone()
                });
            }
            GapSource::Key(key) if **key == row.bytes[..row.key_len] => last,
            // The batch may have another life of the old key: what left it in this very change is known
            // where it is written down.
            GapSource::Moved(moved) if moved.lsn.is_some() => None,
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
        let inherited = before.as_ref().and_then(|before| before.moved.as_ref());
        let inherited = inherited.map(|before| (before.new.clone(), before.lsn));
        // The tombstone behind a delete speaks of the same change of the key.
        let moved = gaps.moved.clone().map(|moved| {
            let same = inherited.filter(|(new, _)| *new == moved.new);
            let lsn = moved.lsn.or(same.and_then(|(_, lsn)| lsn));
            Moved { lsn, ..moved }
        });
        (!columns.is_empty() || moved.is_some()).then_some(Gaps {
            columns,
            source,
            needed: gaps.needed,
            moved,
        })
    }

    /// Whether the row before is a deleted one, and the key was left in another change then.
    fn has_left_before(&self, last: usize, gaps: &Gaps) -> bool {
        let slot = &self.slots[last];
        let before = slot.gaps.as_ref().and_then(|gaps| gaps.moved.as_ref());
        let is_deleted = self.bytes[slot.start + slot.key_len + VERSION_LEN - 1] != 0;
        let moved = gaps.moved.as_ref().filter(|moved| moved.lsn.is_some());
        is_deleted && moved.is_some_and(|moved| before.is_none_or(|before| before.lsn != moved.lsn))
    }

    fn find(&self, key: &[u8], hash: u64) -> Option<usize> {
        let is_it = |slot: &usize| {
            let slot = &self.slots[*slot];
            self.bytes[slot.start..slot.start + slot.key_len] == *key
        };
        self.newest.find(hash, is_it).copied()
    }

    fn supersede(&mut self, last: Option<usize>, by: &Slot) {
        let Some(last) = last else { return };
        let slot = &mut self.slots[last];
        // What a row was before its key was changed is still wanted under its new key.
        if slot.moved().is_some() && slot.moved() != by.moved() || by.may_fail_where_succeeds(slot)
        {
            return;
        }
        slot.is_dead = true;
        self.dead += 1;
        self.dead_bytes += slot.end - slot.start;
    }

    fn enter(&mut self, index: usize) {
        let (slots, bytes) = (&self.slots, &self.bytes);
        let hash = slots[index].hash;
        let key = |slot: &Slot| slot.start..slot.start + slot.key_len;
        let is_it = |other: &usize| bytes[key(&slots[*other])] == bytes[key(&slots[index])];
        let entry = self.newest.entry(hash, is_it, |other| slots[*other].hash);
        match entry {
            hashbrown::hash_table::Entry::Occupied(mut entry) => *entry.get_mut() = index,
            hashbrown::hash_table::Entry::Vacant(entry) => {
                entry.insert(index);
            }
        }
    }

    fn compact(&mut self) {
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.dead_bytes);
        self.slots.retain_mut(|slot| {
            if !slot.is_dead {
                let start = bytes.len();
                bytes.extend_from_slice(&self.bytes[slot.start..slot.end]);
                (slot.start, slot.end) = (start, bytes.len());
            }
            !slot.is_dead
        });
        self.bytes = bytes;
        (self.dead, self.dead_bytes) = (0, 0);
        self.newest.clear();
        for index in 0..self.slots.len() {
            self.enter(index);
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
            + self.newest.capacity() * (size_of::<usize>() + 1)
    }

    /// Takes the rows: those that have all their values go to `whole`, in the order of their offsets. A
    /// row whose key was left before it within the batch is not among them: it must not be written before
    /// the row that has left.
    pub(crate) fn drain(&mut self, mut whole: impl FnMut(i64, &[u8])) -> Vec<GappedRow> {
        let mut gapped = vec![];
        let mut left = HashSet::new();
        let all = std::mem::replace(self, KeyedRows::new());
        for slot in all.slots.into_iter().filter(|slot| !slot.is_dead) {
            let row = &all.bytes[slot.start..slot.end];
            let key = &row[..slot.key_len];
            if slot.moved().is_some() {
                left.insert(key);
            }
            let gaps = match slot.gaps {
                Some(gaps) => *gaps,
                None if left.contains(key) => Gaps::none(),
                None => {
                    whole(slot.offset, row);
                    continue;
                }
            };
            gapped.push(GappedRow {
                offset: slot.offset,
                bytes: row.to_vec(),
                key_len: slot.key_len,
                gaps,
            });
        }
        gapped
    }
}
