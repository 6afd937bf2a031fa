//! Keys that a partition has shown, so that a record that comes again is known.
//!
//! A record is a duplicate when an earlier one of its partition, by offset, had its key and an event time
//! less than `within` away. The times of one key that are so near each other that each makes the next one a
//! duplicate are kept as one span: every time between them is a duplicate too.
//!
//! A key is forgotten once the partition's largest event time is `within` and the watermark's delay past it.
//! That is judged when a key is looked at, so the answer depends on the records alone and not on when memory
//! is given back.

mod needed;
mod saved;

pub use self::needed::NeededRecords;

use std::collections::HashMap;

use hashbrown::HashTable;
use sha2::{Digest as _, Sha256};

/// Each grows alone, and is swept alone: neither takes long, or twice the memory of all.
const SHARDS: usize = 64;
/// Records after which one shard is swept, whoever else sweeps.
const NOTED_BETWEEN_SWEEPS: u32 = 1 << 16;

/// When keys are equal, and how long they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DedupRules {
    /// Milliseconds: records this far apart are no duplicates.
    pub within_ms: i64,
    /// Milliseconds that the watermark stays behind the largest event time.
    pub delay_ms: i64,
}

/// A key, hashed: 128 bits, so that two of ten million are never taken for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DedupKey(u128);

/// The keys of one partition.
#[derive(Debug)]
pub struct SeenKeys {
    rules: DedupRules,
    largest_ms: Option<i64>,
    shards: Vec<HashTable<Entry>>,
    /// Spans of keys that have several, but for the newest: records out of order.
    older: HashMap<DedupKey, Vec<Span>>,
    /// The shard that is swept next.
    swept: usize,
    /// How many records were noted.
    noted: u32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    key: DedupKey,
    span: Span,
}

/// Event times, from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    first_ms: i64,
    last_ms: i64,
}

impl DedupKey {
    /// Of the parts of a key, each with a byte that tells its type: `1` and `"1"` differ.
    pub fn of<'p>(parts: impl IntoIterator<Item = (u8, &'p [u8])>) -> Self {
        let mut digest = Sha256::new();
        for (kind, part) in parts {
            digest.update([kind]);
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        let digest: [u8; 32] = digest.finalize().into();
        let (half, _) = digest
            .split_first_chunk()
            .expect("32 bytes are 16 and more");
        DedupKey(u128::from_le_bytes(*half))
    }

    fn shard(self) -> usize {
        (self.0 >> 64) as usize % SHARDS
    }

    fn hash(self) -> u64 {
        self.0 as u64
    }
}

impl Span {
    fn of(time_ms: i64) -> Self {
        Span {
            first_ms: time_ms,
            last_ms: time_ms,
        }
    }

    fn makes_duplicate(self, time_ms: i64, within_ms: i64) -> bool {
        time_ms > self.first_ms.saturating_sub(within_ms)
            && time_ms < self.last_ms.saturating_add(within_ms)
    }

    fn extend(&mut self, time_ms: i64) {
        self.first_ms = self.first_ms.min(time_ms);
        self.last_ms = self.last_ms.max(time_ms);
    }
}

impl SeenKeys {
    /// Nothing was seen.
    #[must_use]
    pub fn new(rules: DedupRules) -> Self {
        SeenKeys {
            rules,
            largest_ms: None,
            shards: (0..SHARDS).map(|_| HashTable::new()).collect(),
            older: HashMap::new(),
            swept: 0,
            noted: 0,
        }
    }

    /// Whether a record of this key and time is a duplicate of one that was noted.
    #[must_use]
    pub fn is_duplicate(&self, key: DedupKey, time_ms: i64) -> bool {
        let within_ms = self.rules.within_ms;
        let is_it =
            |span: &Span| !self.is_forgotten(*span) && span.makes_duplicate(time_ms, within_ms);
        let shard = &self.shards[key.shard()];
        let entry = shard.find(key.hash(), |entry| entry.key == key);
        let Some(entry) = entry else {
            return false;
        };
        is_it(&entry.span)
            || self
                .older
                .get(&key)
                .is_some_and(|spans| spans.iter().any(is_it))
    }

    /// A record of this key and time was read, a duplicate or not. It is an earlier record to those that follow.
    pub fn note(&mut self, key: DedupKey, time_ms: i64) {
        self.noted = self.noted.wrapping_add(1);
        if self.noted.is_multiple_of(NOTED_BETWEEN_SWEEPS) {
            self.sweep();
        }
        let forgotten_ms = self.forgotten_ms();
        let is_forgotten = |span: &Span| forgotten_ms.is_some_and(|past| span.last_ms <= past);
        let within_ms = self.rules.within_ms;
        let shard = &mut self.shards[key.shard()];
        let Some(entry) = shard.find_mut(key.hash(), |entry| entry.key == key) else {
            if shard.len() == shard.capacity() {
                make_room(shard, is_forgotten);
            }
            let span = Span::of(time_ms);
            let entry = Entry { key, span };
            shard.insert_unique(key.hash(), entry, |entry| entry.key.hash());
            return;
        };
        if is_forgotten(&entry.span) {
            entry.span = Span::of(time_ms);
        } else if entry.span.makes_duplicate(time_ms, within_ms) {
            entry.span.extend(time_ms);
        } else {
            let older = self.older.entry(key).or_default();
            older.retain(|span| !is_forgotten(span));
            let near = older
                .iter_mut()
                .find(|span| span.makes_duplicate(time_ms, within_ms));
            match near {
                Some(span) => span.extend(time_ms),
                None if time_ms > entry.span.last_ms => {
                    older.push(std::mem::replace(&mut entry.span, Span::of(time_ms)));
                }
                None => older.push(Span::of(time_ms)),
            }
        }
    }

    /// A record of this event time was read, with a key or without.
    pub fn note_time(&mut self, time_ms: i64) {
        self.largest_ms = Some(self.largest_ms.map_or(time_ms, |known| known.max(time_ms)));
    }

    /// Keys whose last time is not after this are forgotten.
    fn forgotten_ms(&self) -> Option<i64> {
        let DedupRules {
            within_ms,
            delay_ms,
        } = self.rules;
        self.largest_ms
            .map(|largest| largest.saturating_sub(within_ms).saturating_sub(delay_ms))
    }

    fn is_forgotten(&self, span: Span) -> bool {
        self.forgotten_ms().is_some_and(|past| span.last_ms <= past)
    }

    /// Gives back the memory of keys that are forgotten, in one shard each time.
    pub fn sweep(&mut self) {
        let Some(past) = self.forgotten_ms() else {
            return;
        };
        let shard = &mut self.shards[self.swept];
        let before = shard.len();
        shard.retain(|entry| entry.span.last_ms > past);
        if shard.len() < before / 2 {
            shard.shrink_to(shard.len() * 2, |entry| entry.key.hash());
        }
        self.swept = (self.swept + 1) % SHARDS;
        self.older.retain(|_, spans| {
            spans.retain(|span| span.last_ms > past);
            !spans.is_empty()
        });
    }

    /// Keys that are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(HashTable::len).sum()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shards.iter().all(HashTable::is_empty)
    }

    /// What they take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let shards = self.shards.iter().map(HashTable::allocation_size);
        let older = self.older.len() * (size_of::<(DedupKey, Vec<Span>)>() + 4 * size_of::<Span>());
        shards.sum::<usize>() + older
    }
}

/// Forgets what may be forgotten, and where that is little makes room for as much again: the next time comes only
/// after many more keys.
fn make_room(shard: &mut HashTable<Entry>, is_forgotten: impl Fn(&Span) -> bool) {
    let room = shard.capacity();
    shard.retain(|entry| !is_forgotten(&entry.span));
    if shard.len() > room / 4 * 3 {
        shard.reserve(room + 1 - shard.len(), |entry| entry.key.hash());
    }
}

#[cfg(test)]
mod tests;
