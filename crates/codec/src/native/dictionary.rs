//! The dictionary of a LowCardinality column in one chunk.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Bits of the number that says how a dictionary's indexes stand: their width (0 to 3) and that the keys
/// stand before them.
const HAS_ADDITIONAL_KEYS: u64 = 1 << 9;

/// Different values, and which of them each value is.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    keys: Vec<u8>,
    /// Where each key ends.
    ends: Vec<u32>,
    by_key: HashTable<(u32, u64)>,
    hashes: RandomState,
    indexes: Vec<u32>,
}

impl Dictionary {
    /// Adds a value, as it stands in a stream of its type.
    #[inline]
    pub(super) fn push(&mut self, value: &[u8]) {
        let hash = self.hashes.hash_one(value);
        let (keys, ends) = (&self.keys, &self.ends);
        let is_same = |&(index, _): &(u32, u64)| key(keys, ends, index) == value;
        let index = match self.by_key.find(hash, is_same) {
            Some(&(index, _)) => index,
            None => {
                let index = self.push_key(value);
                self.by_key
                    .insert_unique(hash, (index, hash), |&(_, hash)| hash);
                index
            }
        };
        self.indexes.push(index);
    }

    /// Adds NULL, whose key is the first of all.
    pub(super) fn push_null(&mut self) {
        self.indexes.push(0);
    }

    /// The key of NULL, by which no value is found.
    pub(super) fn begin_with_null(&mut self, stand_in: &[u8]) {
        self.push_key(stand_in);
    }

    fn push_key(&mut self, value: &[u8]) -> u32 {
        let number = |n: usize| u32::try_from(n).expect("a chunk stays far below 4 GiB");
        self.keys.extend_from_slice(value);
        self.ends.push(number(self.keys.len()));
        number(self.ends.len() - 1)
    }

    /// Appends keys and indexes as the server reads them, nothing where there are no values, and forgets
    /// them.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.indexes.is_empty() {
            let (kind, width) = match self.ends.len() {
                ..=0x100 => (0u64, 1),
                0x101..=0x1_0000 => (1, 2),
                _ => (2, 4),
            };
            let counts = [kind | HAS_ADDITIONAL_KEYS, self.ends.len() as u64];
            for count in counts {
                out.extend_from_slice(&count.to_le_bytes());
            }
            out.extend_from_slice(&self.keys);
            out.extend_from_slice(&(self.indexes.len() as u64).to_le_bytes());
            match width {
                1 => out.extend(self.indexes.iter().map(|index| *index as u8)),
                _ => {
                    out.reserve(width * self.indexes.len());
                    for index in &self.indexes {
                        out.extend_from_slice(&index.to_le_bytes()[..width]);
                    }
                }
            }
        }
        self.keys.clear();
        self.ends.clear();
        self.by_key.clear();
        self.indexes.clear();
    }
}

fn key<'k>(keys: &'k [u8], ends: &[u32], index: u32) -> &'k [u8] {
    let index = index as usize;
    let start = index.checked_sub(1).map_or(0, |before| ends[before]);
    &keys[start as usize..ends[index] as usize]
}
