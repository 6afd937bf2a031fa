//! Sessions of one partition: what each event's row says about the session it belongs to.
//!
//! Contract §6.1: sessions are judged in offset order; intervals are closed (a gap of exactly the
//! timeout still extends, a watermark of exactly `last + timeout` keeps the session).

mod saved;

use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher};
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

pub use self::saved::Unreadable;

/// When a session ends. All in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct SessionRules {
    pub timeout_ms: i64,
    pub duration_max_ms: i64,
}

impl SessionRules {
    pub fn new(timeout: Duration, duration_max: Duration) -> Self {
        let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        SessionRules {
            timeout_ms: ms(timeout),
            duration_max_ms: ms(duration_max),
        }
    }
}

/// The session columns of one row; the row counts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionRow {
    pub event_count: u64,
    pub distinct_count: u64,
    /// Whole seconds from first to last event, rounded down.
    pub duration_seconds: u64,
}

#[derive(Debug)]
struct Session {
    first_ms: i64,
    last_ms: i64,
    event_count: u64,
    distinct: Distinct,
}

/// Which session an event belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionKey(u128);

/// The hash of a key that is a hash already.
#[derive(Debug, Default)]
struct KeyIsHash(u64);

impl Hasher for KeyIsHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = (key >> 64) as u64;
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("keys are u128");
    }
}

/// The known sessions of one partition, keyed by a 128-bit hash of the session id.
///
/// Hashes instead of texts keep the map free of pointers; two of the ids alive at one time meet
/// with a probability below 10⁻²⁰. They are seeded at random, so nobody can aim for it.
#[derive(Debug)]
pub struct Sessions {
    rules: SessionRules,
    /// Of the hashers: a snapshot's hashes mean nothing without it.
    seed: u64,
    hashers: [FixedState; 2],
    known: HashMap<u128, Session, BuildHasherDefault<KeyIsHash>>,
    /// Bytes behind the distinct sets.
    distinct_bytes: usize,
    swept_at_ms: Option<i64>,
}

impl Sessions {
    pub fn new(rules: SessionRules, seed: u64) -> Self {
        Sessions {
            rules,
            seed,
            hashers: [FixedState::with_seed(seed), FixedState::with_seed(!seed)],
            known: HashMap::default(),
            distinct_bytes: 0,
            swept_at_ms: None,
        }
    }

    /// The key of the session `id`.
    pub fn key(&self, id: &[u8]) -> SessionKey {
        let [high, low] = &self.hashers;
        SessionKey(u128::from(high.hash_one(id)) << 64 | u128::from(low.hash_one(id)))
    }

    /// What stands for a value that is to be counted once (the page of a page view).
    pub fn distinct(&self, value: &[u8]) -> u64 {
        self.hashers[0].hash_one(value)
    }

    /// Prepares for the events of a chunk; costs one look at each session. The looks depend on
    /// nothing, so the processor waits for the memory of several of them at once, where judging
    /// would wait for each: with 100,000 sessions none is in its caches.
    pub fn expect(&mut self, keys: impl Iterator<Item = SessionKey>) {
        let unknown = keys.filter(|key| !self.known.contains_key(&key.0)).count();
        self.known.reserve(unknown);
    }

    /// Judges one event at `time_ms` of the session `key`. `watermark_ms` is the partition's before
    /// this event; `distinct` what is to be counted once.
    pub fn judge(
        &mut self,
        SessionKey(key): SessionKey,
        time_ms: i64,
        watermark_ms: Option<i64>,
        distinct: Option<u64>,
    ) -> SessionRow {
        let SessionRules {
            timeout_ms,
            duration_max_ms,
        } = self.rules;
        let known = self.known.get_mut(&key);
        let alive = known.filter(|s| !is_gone(s.last_ms, timeout_ms, watermark_ms));
        if let Some(session) = alive {
            let span_ms = time_ms.max(session.last_ms) - time_ms.min(session.first_ms);
            let too_long = span_ms > duration_max_ms;
            let before = session.first_ms.saturating_sub(timeout_ms);
            if time_ms < session.first_ms && (too_long || time_ms < before) {
                return Sessions::alone(distinct.is_some());
            }
            if !too_long && time_ms <= session.last_ms.saturating_add(timeout_ms) {
                session.first_ms = session.first_ms.min(time_ms);
                session.last_ms = session.last_ms.max(time_ms);
                session.event_count += 1;
                self.distinct_bytes += distinct.map_or(0, |hash| session.distinct.insert(hash));
                return session.row();
            }
        }
        self.start(key, time_ms, distinct)
    }

    /// The row of an event that belongs to no session: one of its own, which nothing remembers.
    pub fn alone(has_distinct: bool) -> SessionRow {
        let distinct_count = u64::from(has_distinct);
        SessionRow {
            event_count: 1,
            distinct_count,
            duration_seconds: 0,
        }
    }

    /// Forgets sessions that no event can reach any more. Costs one pass over the map, so it is
    /// done once for every quarter of the timeout that the watermark moves.
    pub fn sweep(&mut self, watermark_ms: i64) {
        let timeout_ms = self.rules.timeout_ms;
        let due = self
            .swept_at_ms
            .is_none_or(|at| watermark_ms - at > timeout_ms / 4);
        if !due {
            return;
        }
        self.swept_at_ms = Some(watermark_ms);
        let freed = &mut self.distinct_bytes;
        self.known.retain(|_, session| {
            let gone = is_gone(session.last_ms, timeout_ms, Some(watermark_ms));
            if gone {
                *freed -= session.distinct.heap_bytes();
            }
            !gone
        });
        if self.known.capacity() > 4 * self.known.len() + 1024 {
            self.known.shrink_to_fit();
        }
    }

    /// What the state takes of the process's memory.
    pub fn memory_bytes(&self) -> usize {
        self.known.allocation_size() + self.distinct_bytes
    }

    fn start(&mut self, key: u128, time_ms: i64, distinct: Option<u64>) -> SessionRow {
        let mut session = Session {
            first_ms: time_ms,
            last_ms: time_ms,
            event_count: 1,
            distinct: Distinct::Few {
                count: 0,
                hashes: [0; FEW],
            },
        };
        self.distinct_bytes += distinct.map_or(0, |hash| session.distinct.insert(hash));
        let row = session.row();
        if let Some(old) = self.known.insert(key, session) {
            self.distinct_bytes -= old.distinct.heap_bytes();
        }
        row
    }
}

fn is_gone(last_ms: i64, timeout_ms: i64, watermark_ms: Option<i64>) -> bool {
    watermark_ms.is_some_and(|watermark| last_ms.saturating_add(timeout_ms) < watermark)
}

impl Session {
    fn row(&self) -> SessionRow {
        let duration_ms = u64::try_from(self.last_ms - self.first_ms).unwrap_or(0);
        SessionRow {
            event_count: self.event_count,
            distinct_count: self.distinct.len(),
            duration_seconds: duration_ms / 1000,
        }
    }
}

const FEW: usize = 2;

/// Hashes of distinct values: most sessions see few, so those need no allocation.
#[derive(Debug)]
enum Distinct {
    Few { count: u8, hashes: [u64; FEW] },
    Some(Vec<u64>),
    Many(hashbrown::HashSet<u64, foldhash::fast::RandomState>),
}

/// Above this a set beats a scan.
const SCANNED_MAX: usize = 64;

impl Distinct {
    /// Returns by how many bytes the memory behind it grew.
    fn insert(&mut self, hash: u64) -> usize {
        let before = self.heap_bytes();
        match self {
            Distinct::Few { count, hashes } => {
                let used = usize::from(*count);
                if hashes[..used].contains(&hash) {
                    return 0;
                }
                if used < FEW {
                    hashes[used] = hash;
                    *count += 1;
                } else {
                    let mut more = Vec::with_capacity(2 * FEW);
                    more.extend_from_slice(hashes);
                    more.push(hash);
                    *self = Distinct::Some(more);
                }
            }
            Distinct::Some(hashes) if hashes.contains(&hash) => return 0,
            Distinct::Some(hashes) if hashes.len() < SCANNED_MAX => hashes.push(hash),
            Distinct::Some(hashes) => {
                *self = Distinct::Many(hashes.iter().copied().chain([hash]).collect());
            }
            Distinct::Many(hashes) => {
                hashes.insert(hash);
            }
        }
        self.heap_bytes().saturating_sub(before)
    }

    fn len(&self) -> u64 {
        match self {
            Distinct::Few { count, .. } => u64::from(*count),
            Distinct::Some(hashes) => hashes.len() as u64,
            Distinct::Many(hashes) => hashes.len() as u64,
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Distinct::Few { .. } => 0,
            Distinct::Some(hashes) => hashes.capacity() * size_of::<u64>(),
            Distinct::Many(hashes) => hashes.allocation_size(),
        }
    }
}

#[cfg(test)]
mod tests;
