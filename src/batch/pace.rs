//! How often batches are sealed by time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Shared by the lanes of one table: with many busy partitions the interval stretches, so that
/// batches sealed by time stay below the allowed number of inserts a second.
#[derive(Debug)]
pub(crate) struct Pace {
    flush_interval: Duration,
    inserts_per_second_max: f64,
    busy_partitions: AtomicUsize,
}

impl Pace {
    /// `inserts_per_second_max` must be above 0.
    pub(crate) fn new(flush_interval: Duration, inserts_per_second_max: f64) -> Self {
        assert!(
            inserts_per_second_max > 0.0,
            "the configuration refuses other values"
        );
        Pace {
            flush_interval,
            inserts_per_second_max,
            busy_partitions: AtomicUsize::new(0),
        }
    }

    /// A lane's number of partitions with an open batch changed.
    pub(crate) fn busy_changed(&self, before: usize, after: usize) {
        self.busy_partitions.fetch_add(after, Ordering::Relaxed);
        self.busy_partitions.fetch_sub(before, Ordering::Relaxed);
    }

    /// The interval in force.
    pub(crate) fn interval(&self) -> Duration {
        let busy = self.busy_partitions.load(Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "a count of partitions")]
        let needed = Duration::from_secs_f64(busy as f64 / self.inserts_per_second_max);
        self.flush_interval.max(needed)
    }

    /// Whether it is longer than the operator asked for.
    pub(crate) fn is_stretched(&self) -> bool {
        self.interval() > self.flush_interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_stretches_with_the_busy_partitions_and_relaxes_again() {
        let pace = Pace::new(Duration::from_secs(5), 2.0);
        pace.busy_changed(0, 4);
        assert_eq!(pace.interval(), Duration::from_secs(5));
        pace.busy_changed(4, 24);
        assert_eq!(pace.interval(), Duration::from_secs(12));
        assert!(pace.is_stretched());
        pace.busy_changed(24, 0);
        assert!(!pace.is_stretched());
    }
}
