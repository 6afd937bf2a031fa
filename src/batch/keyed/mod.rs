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
            (gaps.needed && gaps.columns.len() > gaps.kept.len()).then(|| gaps.source.clone())
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
        let is_gone = self.bytes[start + key_len + VERSION_LEN - 1] != 0;
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
                let is_kept = gaps.kept.contains(&index);
                if is_kept && is_gone && !is_gap {
                    return false;
                }
                let is_nothing =
                    !is_gap && !is_kept && is_default(value, &others[usize::from(index)]);
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
        let kept = gaps.kept.iter().copied();
        let kept = kept.filter(|column| columns.contains(column)).collect();
        (!columns.is_empty() || moved.is_some()).then_some(Gaps {
            columns,
            kept,
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
        if slot.moved().is_some() && slot.moved() != by.moved() || by.may_fail_where_succeeds(slot)
        {
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
