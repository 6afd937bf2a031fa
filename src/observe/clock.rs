//! Time as a value that is passed in, so that tests need not wait for it.

use std::fmt::Debug;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where the board takes its time from.
pub trait Clock: Debug + Send + Sync {
    /// Milliseconds since a fixed moment of this process; never falls.
    fn monotonic_ms(&self) -> u64;

    /// Milliseconds since 1970-01-01 UTC; may step when the machine's clock is set.
    fn unix_ms(&self) -> i64;
}

/// The machine's clocks. Every value of this type counts from the same moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn monotonic_ms(&self) -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_millis() as u64
    }

    fn unix_ms(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_millis() as i64,
            Err(before) => -(before.duration().as_millis() as i64),
        }
    }
}

/// A clock that stands until it is moved.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct ManualClock {
    elapsed_ms: std::sync::atomic::AtomicU64,
}

#[cfg(test)]
impl ManualClock {
    /// 2026-11-21T00:00:00Z, the wall time at which a manual clock starts.
    pub(crate) const START_UNIX_MS: i64 = 1_795_219_200_000;

    pub(crate) fn advance_ms(&self, by_ms: u64) {
        self.elapsed_ms
            .fetch_add(by_ms, std::sync::atomic::Ordering::Relaxed);
    }
}

#[cfg(test)]
impl Clock for ManualClock {
    fn monotonic_ms(&self) -> u64 {
        self.elapsed_ms.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn unix_ms(&self) -> i64 {
        Self::START_UNIX_MS + self.monotonic_ms() as i64
    }
}
