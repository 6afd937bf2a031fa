//! The profiles of a chunk: their keys are collected, looked for in the cache and then in Redis.

use std::collections::HashMap;
use std::ops::Range;

use super::profile::{ProfileEncoder, ProfilePlan};
use crate::lookup::{ProfileCache, SlotId};

/// Where the profile of a row is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Profile {
    /// No key, or no lookup at all.
    Defaults,
    /// Not looked for yet: the key lies here among those of the chunk.
    Key {
        start: usize,
        end: usize,
    },
    Cached(SlotId),
    /// Index into what is asked for.
    Wanted(usize),
}

/// The profile columns of the chunk's rows.
pub(super) struct Profiles {
    pub(super) cache: ProfileCache,
    pub(super) encoder: ProfileEncoder,
    /// Keys of the chunk's rows, one behind the other.
    pub(super) keys: Vec<u8>,
    pub(super) wanted: Vec<Vec<u8>>,
    pub(super) wanted_index: HashMap<Vec<u8>, usize>,
    pub(super) asked: bool,
    /// What became of each wanted key; `None`: nobody answered.
    pub(super) resolved: Vec<Option<SlotId>>,
    pub(super) cache_hits: u64,
}

impl Profiles {
    pub(super) fn new(plan: &ProfilePlan, cache: ProfileCache) -> Self {
        Profiles {
            cache,
            encoder: plan.encoder(),
            keys: vec![],
            wanted: vec![],
            wanted_index: HashMap::new(),
            asked: false,
            resolved: vec![],
            cache_hits: 0,
        }
    }

    /// Keeps a key until the chunk is complete.
    pub(super) fn note(&mut self, key: &[u8]) -> Profile {
        let start = self.keys.len();
        self.keys.extend_from_slice(key);
        Profile::Key {
            start,
            end: self.keys.len(),
        }
    }

    /// The profile in the cache, or a key to ask Redis for, each key once.
    pub(super) fn find(&mut self, key: Range<usize>, now_ms: u64) -> Profile {
        let key = &self.keys[key];
        if let Some(slot) = self.cache.find(key, now_ms) {
            self.cache_hits += 1;
            return Profile::Cached(slot);
        }
        if let Some(index) = self.wanted_index.get(key) {
            return Profile::Wanted(*index);
        }
        let index = self.wanted.len();
        self.wanted.push(key.to_vec());
        self.wanted_index.insert(key.to_vec(), index);
        Profile::Wanted(index)
    }

    /// The encoded columns of a row's profile.
    pub(super) fn columns<'p>(&'p self, plan: &'p ProfilePlan, profile: Profile) -> &'p [u8] {
        let slot = match profile {
            // Records are only dropped, never batched, before their keys are looked for.
            Profile::Key { .. } => unreachable!("a row is made before its profile was looked for"),
            Profile::Defaults => None,
            Profile::Cached(slot) => Some(slot),
            Profile::Wanted(index) => self.resolved[index],
        };
        slot.map_or(plan.defaults(), |slot| self.cache.columns(slot))
    }
}
