//! Clocks, read at the edge and passed in as values.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since the machine started, suspension and SIGSTOP included: a lease judged by it ends
/// while its holder sleeps, and no change of the wall clock moves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BootTime(Duration);

impl BootTime {
    pub(crate) fn now() -> Self {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the pointer is to a live timespec; the clock exists on every Linux since 2.6.39.
        let code = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
        assert_eq!(code, 0, "CLOCK_BOOTTIME exists");
        let seconds = u64::try_from(time.tv_sec).expect("time since boot is positive");
        let nanos = u32::try_from(time.tv_nsec).expect("below one second");
        BootTime(Duration::new(seconds, nanos))
    }

    pub(crate) fn after(self, wait: Duration) -> Self {
        BootTime(self.0 + wait)
    }

    /// Zero if it is not later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Wall-clock milliseconds since the epoch: for what operators read, never for a decision about
/// a record.
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
