//! Profiles the lane has seen lately, encoded as the columns they become.

use std::hash::BuildHasher as _;
use std::sync::atomic::Ordering;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::memory::CacheShare;

/// A profile in the cache; good until the next [`ProfileCache::trim`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlotId(u32);

/// Exactly one cache line: to look a profile up and to copy it costs one wait for memory.
#[derive(Debug)]
#[repr(align(64))]
struct Slot {
    text: Text,
    expires_ms: u64,
    key_bytes: u32,
    used_since_trim: bool,
}

const _: () = assert!(size_of::<Option<Slot>>() == 64);

/// Key and columns, one behind the other.
#[derive(Debug)]
enum Text {
    Short { len: u8, bytes: [u8; SHORT_BYTES] },
    Long(Box<[u8]>),
}

/// What a slot has room for.
const SHORT_BYTES: usize = 46;

impl Text {
    fn new(key: &[u8], columns: &[u8]) -> Self {
        let len = key.len() + columns.len();
        if len > SHORT_BYTES {
            return Text::Long([key, columns].concat().into());
        }
        let mut bytes = [0; SHORT_BYTES];
        bytes[..key.len()].copy_from_slice(key);
        bytes[key.len()..len].copy_from_slice(columns);
        let len = u8::try_from(len).expect("a short text");
        Text::Short { len, bytes }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Text::Short { len, bytes } => &bytes[..usize::from(*len)],
            Text::Long(bytes) => bytes,
        }
    }
}

impl Slot {
    fn key(&self) -> &[u8] {
        &self.text.bytes()[..self.key_bytes as usize]
    }

    fn columns(&self) -> &[u8] {
        &self.text.bytes()[self.key_bytes as usize..]
    }

    fn bytes(&self) -> usize {
        let elsewhere = match &self.text {
            Text::Short { .. } => 0,
            Text::Long(bytes) => bytes.len(),
        };
        elsewhere + size_of::<Self>() + size_of::<u32>() * 2
    }
}

/// Bounded in bytes and in time. Only [`ProfileCache::trim`] throws out, so that a chunk may hold
/// slots while it waits for others.
#[derive(Debug)]
pub(crate) struct ProfileCache {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: FixedState,
    bytes: usize,
    bytes_max: CacheShare,
    ttl_ms: u64,
    hand: usize,
}

impl ProfileCache {
    /// `ttl_ms` of 0 remembers nothing beyond the chunk. `seed` spreads the keys.
    pub(crate) fn new(bytes_max: CacheShare, ttl_ms: u64, seed: u64) -> Self {
        ProfileCache {
            slots: vec![],
            free: vec![],
            index: HashTable::new(),
            hasher: FixedState::with_seed(seed),
            bytes: 0,
            bytes_max,
            ttl_ms,
            hand: 0,
        }
    }

    /// The profile of `key`, unless it is unknown or too old. `now_ms` is of a monotonic clock.
    pub(crate) fn find(&mut self, key: &[u8], now_ms: u64) -> Option<SlotId> {
        let id = self.position(key)?;
        let slot = self.slots[id as usize]
            .as_mut()
            .expect("the index names full slots");
        if slot.expires_ms <= now_ms {
            return None;
        }
        slot.used_since_trim = true;
        Some(SlotId(id))
    }

    /// Remembers what a look-up found, which may be the defaults.
    pub(crate) fn insert(&mut self, key: &[u8], columns: &[u8], now_ms: u64) -> SlotId {
        let expires_ms = now_ms + self.ttl_ms;
        if let Some(id) = self.position(key) {
            let slot = self.slots[id as usize]
                .as_mut()
                .expect("the index names full slots");
            self.bytes -= slot.bytes();
            slot.text = Text::new(key, columns);
            slot.expires_ms = expires_ms;
            self.bytes += slot.bytes();
            return SlotId(id);
        }
        let slot = Slot {
            text: Text::new(key, columns),
            key_bytes: u32::try_from(key.len()).expect("a key is part of a record below 4 GiB"),
            expires_ms,
            used_since_trim: true,
        };
        self.bytes += slot.bytes();
        let hash = self.hasher.hash_one(key);
        let id = match self.free.pop() {
            Some(id) => {
                self.slots[id as usize] = Some(slot);
                id
            }
            None => {
                self.slots.push(Some(slot));
                u32::try_from(self.slots.len() - 1).expect("memory ends long before 2^32 slots")
            }
        };
        let slots = &self.slots;
        let hasher = &self.hasher;
        self.index.insert_unique(hash, id, |other| {
            let slot = slots[*other as usize]
                .as_ref()
                .expect("the index names full slots");
            hasher.hash_one(slot.key())
        });
        SlotId(id)
    }

    /// The encoded columns of a profile.
    pub(crate) fn columns(&self, id: SlotId) -> &[u8] {
        self.slots[id.0 as usize]
            .as_ref()
            .expect("slots stay until the next trim")
            .columns()
    }

    /// Throws out old and unused profiles until the bound holds. Ends the life of every [`SlotId`].
    pub(crate) fn trim(&mut self, now_ms: u64) {
        let mut spared = 0;
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        while self.bytes > bytes_max && !self.index.is_empty() {
            self.hand = (self.hand + 1) % self.slots.len();
            let Some(slot) = &mut self.slots[self.hand] else {
                continue;
            };
            // A second chance for what was used since the hand last came by.
            let in_use = slot.used_since_trim && slot.expires_ms > now_ms;
            if in_use && spared < self.index.len() {
                slot.used_since_trim = false;
                spared += 1;
                continue;
            }
            self.remove(self.hand);
        }
    }

    /// What the cache takes of the process's memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes
    }

    fn position(&self, key: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        let is_key = |id: &u32| {
            self.slots[*id as usize]
                .as_ref()
                .is_some_and(|slot| slot.key() == key)
        };
        self.index.find(hash, is_key).copied()
    }

    fn remove(&mut self, at: usize) {
        let slot = self.slots[at].take().expect("only full slots are removed");
        self.bytes -= slot.bytes();
        let id = u32::try_from(at).expect("slots are numbered by u32");
        let hash = self.hasher.hash_one(slot.key());
        let entry = self.index.find_entry(hash, |other| *other == id);
        entry.expect("every full slot is in the index").remove();
        self.free.push(id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn share(bytes_max: usize) -> CacheShare {
        Arc::new(bytes_max.into())
    }

    #[test]
    fn a_profile_is_found_until_its_time_is_over() {
        let mut cache = ProfileCache::new(share(1 << 20), 60_000, 1);
        let id = cache.insert(b"7", b"columns", 1_000);
        assert_eq!(cache.columns(id), b"columns");
        assert_eq!(cache.find(b"7", 60_999), Some(id));
        assert_eq!(cache.find(b"7", 61_000), None);
        assert_eq!(cache.find(b"8", 1_000), None);
        assert_eq!(cache.insert(b"7", b"new", 61_000), id);
        assert_eq!(cache.columns(id), b"new");
    }

    #[test]
    fn the_bound_holds_after_a_trim_and_used_profiles_outlive_unused_ones() {
        let bytes_max = share(20_000);
        let mut cache = ProfileCache::new(bytes_max.clone(), 60_000, 1);
        for n in 0..1000u32 {
            cache.insert(&n.to_le_bytes(), &[0; 20], 0);
            if n % 50 == 0 {
                cache
                    .find(&0u32.to_le_bytes(), 0)
                    .expect("the hot profile stays");
                cache.trim(0);
                assert!(cache.memory_bytes() <= 20_000);
            }
        }
        cache.trim(0);
        assert!(cache.memory_bytes() <= 20_000);
        bytes_max.store(10_000, Ordering::Relaxed);
        cache.trim(0);
        assert!(
            cache.memory_bytes() <= 10_000,
            "the share has become smaller"
        );
        assert!(cache.find(&999u32.to_le_bytes(), 0).is_some());
        let kept = (0..1000u32)
            .filter(|n| cache.find(&n.to_le_bytes(), 0).is_some())
            .count();
        assert_eq!(kept, cache.index.len());
    }

    #[test]
    fn profiles_of_every_length_come_back_and_are_counted() {
        let mut cache = ProfileCache::new(share(1 << 20), 60_000, 1);
        let text = |len: u8| (0..len).collect::<Vec<u8>>();
        for len in 0..100 {
            let id = cache.insert(&text(len), &text(99 - len), 0);
            assert_eq!(cache.columns(id), text(99 - len));
            let short = cache.insert(&[b"short", &text(len)[..]].concat(), &text(len / 2), 0);
            assert_eq!(cache.columns(short), text(len / 2));
        }
        for len in 0..100 {
            let id = cache.find(&text(len), 0).expect("it was inserted");
            assert_eq!(cache.columns(id), text(99 - len));
        }
        let elsewhere = cache.memory_bytes() - cache.index.len() * (64 + 8);
        assert!(elsewhere >= 100 * 99, "{elsewhere}");
    }

    #[test]
    fn a_cache_too_small_for_one_profile_empties_itself() {
        let mut cache = ProfileCache::new(share(1), 60_000, 1);
        let id = cache.insert(b"7", b"columns", 0);
        assert_eq!(cache.columns(id), b"columns");
        cache.trim(0);
        assert_eq!(cache.memory_bytes(), 0);
    }
}
