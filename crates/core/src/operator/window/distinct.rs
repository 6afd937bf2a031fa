//! A set of texts that is only ever counted. Exact: the texts themselves are kept.

use std::hash::{BuildHasher, Hasher as _};

use foldhash::fast::{FixedState, RandomState};
use hashbrown::HashTable;

/// A set larger than this is spread over [`SHARDS`] tables, so that none of them has to be copied whole
/// while it grows.
const SHARD_ABOVE: usize = 1 << 15;
const SHARDS: usize = 64;

type Text = Box<[u8]>;

/// See the module. Texts that are numbers without sign and leading zeros are kept as numbers.
#[derive(Debug, Clone, Default)]
pub struct Distinct {
    integers: Vec<HashTable<u64>>,
    texts: Vec<HashTable<Text>>,
    len: u64,
}

impl Distinct {
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The values that are numbers, in no order.
    pub(super) fn integers(&self) -> impl Iterator<Item = u64> {
        self.integers.iter().flatten().copied()
    }

    /// The others.
    pub(super) fn texts(&self) -> impl Iterator<Item = &[u8]> {
        self.texts.iter().flatten().map(|text| &**text)
    }

    /// Returns how many bytes more it takes. `seed` is the same in every call.
    pub(super) fn insert_integer(&mut self, number: u64, seed: u64) -> usize {
        let hash = |number: &u64| hash_integer(*number, seed);
        let (is_new, grown) = insert(&mut self.integers, number, |held| *held == number, hash);
        self.len += u64::from(is_new);
        grown
    }

    /// Takes in what another set holds; as [`Distinct::insert_integer`].
    pub(super) fn merge(&mut self, other: Distinct, seed: u64) -> usize {
        let integers = other.integers.into_iter().flatten();
        let mut grown = 0;
        for number in integers {
            grown += self.insert_integer(number, seed);
        }
        for text in other.texts.into_iter().flatten() {
            grown += self.insert_text(&text, seed);
        }
        grown
    }

    /// As [`Distinct::insert_integer`].
    pub(super) fn insert_text(&mut self, text: &[u8], seed: u64) -> usize {
        let hash = |text: &Text| hash_text(text, seed);
        let text_hash = hash_text(text, seed);
        let shard = shard_of(text_hash, self.texts.len());
        let is_it = |held: &Text| **held == *text;
        if self
            .texts
            .get(shard)
            .is_some_and(|table| table.find(text_hash, is_it).is_some())
        {
            return 0;
        }
        let (_, grown) = insert(&mut self.texts, text.into(), is_it, hash);
        self.len += 1;
        // An allocation of its own, rounded up by the allocator.
        grown + text.len() + 16
    }
}

fn hash_integer(number: u64, seed: u64) -> u64 {
    let mut hasher = FixedState::with_seed(seed).build_hasher();
    hasher.write_u64(number);
    hasher.finish()
}

fn hash_text(text: &[u8], seed: u64) -> u64 {
    let mut hasher = FixedState::with_seed(seed).build_hasher();
    hasher.write(text);
    hasher.finish()
}

fn shard_of(hash: u64, shards: usize) -> usize {
    // The low bits choose the place within a table, the highest its tag.
    if shards > 1 {
        (hash >> 40) as usize % shards
    } else {
        0
    }
}

/// Whether the value is new, and how many bytes the tables have grown.
fn insert<T>(
    shards: &mut Vec<HashTable<T>>,
    value: T,
    is_it: impl Fn(&T) -> bool,
    hash: impl Fn(&T) -> u64,
) -> (bool, usize) {
    let mut grown = 0;
    if shards.is_empty() {
        shards.push(HashTable::new());
    } else if shards.len() == 1 && shards[0].len() >= SHARD_ABOVE {
        grown += spread(shards, &hash);
    }
    let value_hash = hash(&value);
    let shard = shard_of(value_hash, shards.len());
    let table = &mut shards[shard];
    let before = table.capacity();
    let entry = table.entry(value_hash, is_it, &hash);
    let hashbrown::hash_table::Entry::Vacant(vacant) = entry else {
        return (false, grown);
    };
    vacant.insert(value);
    (true, grown + table_bytes::<T>(table.capacity() - before))
}

/// Each entry has a byte beside it, and an eighth of the places stays free.
fn table_bytes<T>(capacity: usize) -> usize {
    capacity * (size_of::<T>() + 1) * 8 / 7
}

fn spread<T>(shards: &mut Vec<HashTable<T>>, hash: &impl Fn(&T) -> u64) -> usize {
    let all = shards.pop().expect("there is one");
    let before = all.capacity();
    shards.resize_with(SHARDS, HashTable::new);
    for value in all {
        let value_hash = hash(&value);
        shards[shard_of(value_hash, SHARDS)].insert_unique(value_hash, value, hash);
    }
    let after: usize = shards.iter().map(HashTable::capacity).sum();
    table_bytes::<T>(after.saturating_sub(before))
}

/// A seed that nobody can guess, so that nobody can send texts that meet.
pub(super) fn random_seed() -> u64 {
    RandomState::default().hash_one(0u64)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn counts(numbers: impl Iterator<Item = u64>, texts: &[String]) -> (u64, u64) {
        let mut distinct = Distinct::default();
        let mut plain = HashSet::new();
        for number in numbers {
            distinct.insert_integer(number, 7);
            plain.insert(number.to_string());
        }
        for text in texts {
            distinct.insert_text(text.as_bytes(), 7);
            plain.insert(text.clone());
        }
        (distinct.len(), plain.len() as u64)
    }

    proptest! {
        #[test]
        fn it_counts_as_a_plain_set_does(
            numbers in prop::collection::vec(0u64..100, 0..200),
            texts in prop::collection::vec("[ab]{0,4}", 0..50),
        ) {
            let (counted, plain) = counts(numbers.into_iter(), &texts);
            prop_assert_eq!(counted, plain);
        }
    }

    #[test]
    fn a_large_set_is_spread_and_counts_on() {
        let twice = (0..200_000u64).chain(100_000..300_000);
        let texts: Vec<String> = (0..50_000).map(|n| format!("t{}", n % 40_000)).collect();
        assert_eq!(counts(twice, &texts), (340_000, 340_000));
    }
}
