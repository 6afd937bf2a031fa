//! How fast the lanes of one pipeline may read, together. An operator may change it while they do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use streamweir_core::rate::TokenBucket;

use crate::config::ReadLimits;

/// A pipeline counts as limited for so long after a lane was last held back.
const HELD_FOR: Duration = Duration::from_secs(3);

/// Shared by the lanes of a pipeline.
#[derive(Debug)]
pub(crate) struct Limits {
    /// Saves the lanes the lock where nothing is limited.
    has_any: AtomicBool,
    buckets: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    limits: ReadLimits,
    records: Option<TokenBucket>,
    bytes: Option<TokenBucket>,
    held_at: Option<Instant>,
}

/// What one poll may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) records: usize,
    /// A guide: at least one record is taken, whatever its size, and paid for afterwards.
    pub(crate) bytes: usize,
}

impl Allowance {
    const ALL: Allowance = Allowance {
        records: usize::MAX,
        bytes: usize::MAX,
    };
}

impl Limits {
    pub(crate) fn new(limits: ReadLimits) -> Self {
        let own = Limits {
            has_any: AtomicBool::new(false),
            buckets: Mutex::default(),
        };
        own.set(limits, Instant::now());
        own
    }

    /// Limits from now on. What was read too fast under a limit that stays is still paid for.
    pub(crate) fn set(&self, limits: ReadLimits, now: Instant) {
        let mut buckets = self.lock();
        let bucket = |old: &mut Option<TokenBucket>, was, is: Option<u64>| {
            if was != is || old.is_none() {
                *old = is.map(|per_second| TokenBucket::new(per_second, now));
            }
        };
        let was = buckets.limits;
        bucket(
            &mut buckets.records,
            was.records_per_second_max,
            limits.records_per_second_max,
        );
        bucket(
            &mut buckets.bytes,
            was.bytes_per_second_max,
            limits.bytes_per_second_max,
        );
        buckets.limits = limits;
        let has_any = limits != ReadLimits::default();
        self.has_any.store(has_any, Ordering::Release);
    }

    pub(crate) fn get(&self) -> ReadLimits {
        self.lock().limits
    }

    /// What may be taken now; none: nothing, for a moment.
    pub(crate) fn allowance(&self, now: Instant) -> Option<Allowance> {
        if !self.has_any.load(Ordering::Acquire) {
            return Some(Allowance::ALL);
        }
        let mut buckets = self.lock();
        let available = |bucket: &mut Option<TokenBucket>| {
            let bucket = bucket.as_mut();
            let tokens = bucket.map_or(u64::MAX, |bucket| bucket.available(now));
            usize::try_from(tokens).unwrap_or(usize::MAX)
        };
        let records = available(&mut buckets.records);
        let bytes = available(&mut buckets.bytes);
        if records == 0 || bytes == 0 {
            buckets.held_at = Some(now);
            return None;
        }
        Some(Allowance { records, bytes })
    }

    /// So much was read.
    pub(crate) fn note(&self, records: u64, bytes: u64) {
        if !self.has_any.load(Ordering::Acquire) {
            return;
        }
        let mut buckets = self.lock();
        if let Some(bucket) = &mut buckets.records {
            bucket.spend(records);
        }
        if let Some(bucket) = &mut buckets.bytes {
            bucket.spend(bytes);
        }
    }

    /// Whether a lane was held back just now.
    pub(crate) fn is_holding(&self, now: Instant) -> bool {
        let held_at = self.lock().held_at;
        self.has_any.load(Ordering::Acquire) && held_at.is_some_and(|at| now < at + HELD_FOR)
    }

    fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(records: Option<u64>, bytes: Option<u64>) -> ReadLimits {
        ReadLimits {
            records_per_second_max: records,
            bytes_per_second_max: bytes,
        }
    }

    #[test]
    fn lanes_share_a_limit_and_none_is_no_limit() {
        let limits = Limits::new(ReadLimits::default());
        let now = Instant::now();
        assert_eq!(limits.allowance(now), Some(Allowance::ALL));
        limits.note(1 << 40, 1 << 40);
        assert_eq!(limits.allowance(now), Some(Allowance::ALL));
        limits.set(of(Some(100), None), now);
        let full = now + Duration::from_secs(1);
        let records = |allowance: Option<Allowance>| allowance.map(|allowance| allowance.records);
        assert_eq!(records(limits.allowance(full)), Some(20));
        assert!(!limits.is_holding(full));
        // Two lanes took what each was allowed.
        limits.note(20, 0);
        limits.note(20, 0);
        assert_eq!(limits.allowance(full + Duration::from_millis(200)), None);
        assert!(limits.is_holding(full + Duration::from_secs(1)));
        assert!(!limits.is_holding(full + Duration::from_secs(5)));
        assert_eq!(
            records(limits.allowance(full + Duration::from_millis(250))),
            Some(5)
        );
    }

    #[test]
    fn a_limit_that_is_changed_or_taken_away_counts_at_once() {
        let now = Instant::now();
        let limits = Limits::new(of(Some(1), Some(1024)));
        limits.note(3_600, 0);
        assert_eq!(limits.allowance(now), None);
        limits.set(of(Some(1), None), now);
        assert_eq!(limits.allowance(now), None, "the debt stays with its limit");
        limits.set(of(Some(1_000), None), now);
        assert!(limits.allowance(now + Duration::from_millis(10)).is_some());
        limits.set(ReadLimits::default(), now);
        assert_eq!(limits.allowance(now), Some(Allowance::ALL));
        assert_eq!(limits.get(), ReadLimits::default());
    }

    #[test]
    fn either_limit_holds() {
        let limits = Limits::new(of(Some(1_000_000), Some(1024)));
        let later = Instant::now() + Duration::from_secs(2);
        let allowed = limits.allowance(later).unwrap();
        assert_eq!((allowed.records, allowed.bytes), (200_000, 204));
        limits.note(1, 10 << 10);
        assert_eq!(limits.allowance(later + Duration::from_secs(9)), None);
        assert!(limits.allowance(later + Duration::from_secs(11)).is_some());
    }
}
