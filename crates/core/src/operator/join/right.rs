//! Versions of the right side's keys, as long as an event may need them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use hashbrown::HashTable;

use super::gone::GoneKeys;
use super::queue::Event;
use super::{Outcome, Rules};

/// What an allocation takes beside its content, about.
const ALLOCATION_BYTES: usize = 16;

/// How far the right watermark must be past a tombstone before it is dropped: a table takes records in
/// whatever order they come, and Kafka too shows a tombstone to readers for `delete.retention.ms`, 24 h by
/// default, and no longer.
const TOMBSTONE_KEPT_MS: i64 = 86_400_000;

/// What one right record says of its key from its time on.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) time_ms: i64,
    pub(super) offset: i64,
    /// None: the key has no profile from here on.
    pub(super) payload: Option<Arc<[u8]>>,
    /// An older one came after it, which would come to life without it.
    is_followed: bool,
}

/// What is known of an event's match.
#[derive(Debug)]
pub(super) enum Known<'v> {
    /// The best so far.
    Match {
        time_ms: i64,
        payload: &'v Arc<[u8]>,
    },
    /// The key had a profile, which ended before the event.
    Ended,
    Nothing,
}

impl Version {
    pub(super) fn new(offset: i64, time_ms: i64, payload: Option<&[u8]>) -> Version {
        Version {
            time_ms,
            offset,
            payload: payload.map(Arc::from),
            is_followed: false,
        }
    }

    /// Whether an event of this time that had no answer has one by this.
    #[inline]
    pub(super) fn answers(&self, rules: &Rules, event_ms: i64) -> bool {
        if self.time_ms <= event_ms {
            return self.time_ms >= rules.oldest_ms(event_ms);
        }
        self.payload.is_some() && self.time_ms <= rules.youngest_ms(event_ms)
    }

    /// Of an event that it lies around; `None`: its profile ended.
    #[inline]
    fn as_match(&self) -> Option<Known<'_>> {
        Some(Known::Match {
            time_ms: self.time_ms,
            payload: self.payload.as_ref()?,
        })
    }

    #[inline]
    fn at(&self) -> (i64, i64) {
        (self.time_ms, self.offset)
    }

    pub(super) fn bytes(&self) -> usize {
        let payload = self.payload.as_ref();
        let payload = payload.map_or(0, |payload| payload.len() + 2 * ALLOCATION_BYTES);
        payload + size_of::<Version>() + size_of::<Place>()
    }
}

#[derive(Debug)]
struct Profile {
    key: Box<[u8]>,
    hash: u64,
    /// In the order of time and offset.
    versions: VecDeque<Version>,
}

impl Profile {
    fn bytes(&self) -> usize {
        self.key.len() + size_of::<Profile>() + 2 * ALLOCATION_BYTES
    }
}

/// Where a version is found.
#[derive(Debug, Clone, Copy)]
struct Place {
    time_ms: i64,
    offset: i64,
    hash: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Versions {
    profiles: HashTable<Profile>,
    /// All versions in the order of offsets; some may have been dropped.
    order: VecDeque<Place>,
    /// Where `before` is unlimited: when a key's older versions are superseded, and its hash; the earliest
    /// first.
    superseding: BinaryHeap<Reverse<(i64, u64)>>,
    gone: GoneKeys,
    count: usize,
    /// Of profiles and versions.
    held_bytes: usize,
}

impl Versions {
    pub(super) fn insert(&mut self, key: &[u8], hash: u64, version: Version, rules: &Rules) {
        let place = Place {
            time_ms: version.time_ms,
            offset: version.offset,
            hash,
        };
        self.order.push_back(place);
        self.count += 1;
        self.held_bytes += version.bytes();
        let held_bytes = &mut self.held_bytes;
        let is_it = |profile: &Profile| *profile.key == *key;
        let entry = self.profiles.entry(hash, is_it, |profile| profile.hash);
        let mut entry = entry.or_insert_with(|| {
            let profile = Profile {
                key: key.into(),
                hash,
                versions: VecDeque::with_capacity(1),
            };
            *held_bytes += profile.bytes();
            profile
        });
        let versions = &mut entry.get_mut().versions;
        let index = versions.partition_point(|v| v.at() < version.at());
        let is_tombstone = version.payload.is_none();
        versions.insert(index, version);
        if rules.before_ms.is_some() {
            return;
        }
        for younger in versions.range_mut(index + 1..) {
            younger.is_followed = true;
        }
        if versions.len() > 1 {
            let superseding = versions.get(index + 1).unwrap_or(&versions[index]);
            self.superseding.push(Reverse((superseding.time_ms, hash)));
        }
        if is_tombstone {
            let dropped_ms = place.time_ms.saturating_add(TOMBSTONE_KEPT_MS);
            self.superseding.push(Reverse((dropped_ms, hash)));
        }
        self.compact();
    }

    /// The entries of dropped versions behind one that stays are not to pile up.
    fn compact(&mut self) {
        if self.order.len() > 2 * self.count + 1024 {
            let profiles = &self.profiles;
            self.order.retain(|place| is_held(profiles, place));
        }
    }

    /// The best match of an event by what is known.
    #[inline]
    pub(super) fn best(&self, event: &Event<'_>, rules: &Rules) -> Known<'_> {
        let Some(profile) = self.profile(event) else {
            return Known::Nothing;
        };
        let versions = &profile.versions;
        let younger = versions.partition_point(|v| v.time_ms <= event.time_ms);
        let before = younger.checked_sub(1).map(|index| &versions[index]);
        let before = before.filter(|v| v.time_ms >= rules.oldest_ms(event.time_ms));
        if let Some(found) = before.and_then(Version::as_match) {
            return found;
        }
        let to_ms = rules.youngest_ms(event.time_ms);
        let after = versions.range(younger..);
        let mut after = after
            .take_while(|v| v.time_ms <= to_ms)
            .filter(|v| v.payload.is_some());
        if let Some(oldest) = after.next() {
            let same_time = after.take_while(|v| v.time_ms == oldest.time_ms);
            let newest = same_time.last().unwrap_or(oldest);
            if let Some(found) = newest.as_match() {
                return found;
            }
        }
        before.map_or(Known::Nothing, |_| Known::Ended)
    }

    #[inline]
    fn profile(&self, event: &Event<'_>) -> Option<&Profile> {
        let key = event.key?;
        self.profiles
            .find(event.hash, |profile| *profile.key == *key)
    }

    /// Why an event has no match: whether its key has a version, or had one.
    #[inline]
    pub(super) fn without_match(&self, event: &Event<'_>) -> Outcome {
        let has_key = event.key.is_some();
        if has_key && (self.profile(event).is_some() || self.gone.contains(event.hash)) {
            Outcome::OutsideWindow
        } else {
            Outcome::NoProfile
        }
    }

    /// Drops what no event at or after `bound_ms` needs; no right record before `watermark_ms` takes part.
    pub(super) fn prune(&mut self, bound_ms: i64, watermark_ms: Option<i64>, rules: &Rules) {
        if rules.before_ms.is_some() {
            return self.expire(rules.oldest_ms(bound_ms));
        }
        while let Some(Reverse((time_ms, hash))) = self.superseding.peek().copied()
            && time_ms <= bound_ms
            && Some(time_ms) <= watermark_ms
        {
            self.superseding.pop();
            self.drop_superseded(hash, bound_ms, watermark_ms, rules);
        }
        let profiles = &self.profiles;
        while self
            .order
            .pop_front_if(|place| !is_held(profiles, place))
            .is_some()
        {}
    }

    /// Drops versions that are older than this.
    fn expire(&mut self, from_ms: i64) {
        while let Some(place) = self.order.pop_front_if(|place| place.time_ms < from_ms) {
            let Ok(mut entry) = self
                .profiles
                .find_entry(place.hash, |profile| profile.index(&place).is_some())
            else {
                continue;
            };
            let profile = entry.get_mut();
            let version = profile
                .index(&place)
                .and_then(|i| profile.versions.remove(i));
            self.count -= 1;
            self.held_bytes -= version.map_or(0, |version| version.bytes());
            if profile.versions.is_empty() {
                self.held_bytes -= profile.bytes();
                self.gone.insert(place.hash);
                entry.remove();
            }
        }
    }

    fn drop_superseded(
        &mut self,
        hash: u64,
        bound_ms: i64,
        watermark_ms: Option<i64>,
        rules: &Rules,
    ) {
        let is_it = |profile: &Profile| profile.hash == hash;
        let Ok(mut entry) = self.profiles.find_entry(hash, is_it) else {
            return;
        };
        let profile = entry.get_mut();
        let mut dropped = profile
            .versions
            .partition_point(|v| v.time_ms <= bound_ms)
            .saturating_sub(1);
        let newest = &profile.versions[dropped];
        // A tombstone is as good as no version, unless an older one can still come, or comes again when
        // the records are read again from behind the tombstone. Eager joins need it to know again which
        // events it decided.
        let dropped_ms = newest.time_ms.saturating_add(TOMBSTONE_KEPT_MS);
        let can_go = newest.payload.is_none() && newest.time_ms <= bound_ms && !newest.is_followed;
        if can_go && Some(dropped_ms) <= watermark_ms && !rules.is_eager {
            dropped += 1;
        }
        self.count -= dropped;
        let bytes: usize = profile.versions.drain(..dropped).map(|v| v.bytes()).sum();
        self.held_bytes -= bytes;
        if profile.versions.is_empty() {
            self.held_bytes -= profile.bytes();
            self.gone.insert(hash);
            entry.remove();
        }
    }

    /// The first in the order of offsets, as of the last [`Versions::prune`].
    pub(super) fn lowest_offset(&self) -> Option<i64> {
        Some(self.order.front()?.offset)
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let dropped = self.order.len().saturating_sub(self.count) * size_of::<Place>();
        let superseding = self.superseding.len() * size_of::<(i64, u64)>();
        self.held_bytes + dropped + superseding + self.gone.memory_bytes()
    }
}

impl Profile {
    fn index(&self, place: &Place) -> Option<usize> {
        let at = (place.time_ms, place.offset);
        self.versions.binary_search_by_key(&at, Version::at).ok()
    }
}

fn is_held(profiles: &HashTable<Profile>, place: &Place) -> bool {
    let is_it = |profile: &Profile| profile.index(place).is_some();
    profiles.find(place.hash, is_it).is_some()
}
