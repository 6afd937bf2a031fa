//! How often batches are sealed by time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Shared by the partitions of one table: with many busy partitions the interval stretches, so that
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

    /// The interval in force.
    pub(crate) fn interval(&self) -> Duration {
        let busy = self.busy_partitions.load(Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "a count of partitions")]
        let needed = Duration::from_secs_f64(busy as f64 / self.inserts_per_second_max);
        self.flush_interval.max(needed)
    }
}

/// The paces of a pipeline's tables.
#[derive(Debug)]
pub(crate) struct Paces {
    flush_interval: Duration,
    inserts_per_second_max: f64,
    by_table: Mutex<HashMap<String, Arc<Pace>>>,
}

impl Paces {
    /// As [`Pace::new`], for every table.
    pub(crate) fn new(flush_interval: Duration, inserts_per_second_max: f64) -> Self {
        Paces {
            flush_interval,
            inserts_per_second_max,
            by_table: Mutex::default(),
        }
    }

    /// The pace of the table of this name.
    pub(crate) fn of(&self, table: &str) -> Arc<Pace> {
        let mut by_table = self.by_table.lock().expect("no holder of this lock panics");
        let made = || Arc::new(Pace::new(self.flush_interval, self.inserts_per_second_max));
        let pace = by_table.entry(table.to_owned()).or_insert_with(made);
        pace.clone()
    }

    /// The longest interval in force, and whether it is longer than the operator asked for.
    pub(crate) fn slowest(&self) -> (Duration, bool) {
        let by_table = self.by_table.lock().expect("no holder of this lock panics");
        let slowest = by_table.values().map(|pace| pace.interval()).max();
        let interval = slowest.unwrap_or(self.flush_interval);
        (interval, interval > self.flush_interval)
    }
}

/// One partition's part in the pace of its table.
#[derive(Debug)]
pub(crate) struct PartitionPace {
    pace: Arc<Pace>,
    is_busy: bool,
}

impl PartitionPace {
    pub(crate) fn new(pace: Arc<Pace>) -> Self {
        PartitionPace {
            pace,
            is_busy: false,
        }
    }

    /// The partition has an open batch, or has none any more.
    pub(crate) fn set_busy(&mut self, is_busy: bool) {
        match (self.is_busy, is_busy) {
            (false, true) => self.pace.busy_partitions.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.pace.busy_partitions.fetch_sub(1, Ordering::Relaxed),
            _ => return,
        };
        self.is_busy = is_busy;
    }

    /// The interval in force for its table.
    pub(crate) fn interval(&self) -> Duration {
        self.pace.interval()
    }
}

impl Drop for PartitionPace {
    fn drop(&mut self) {
        self.set_busy(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_stretches_with_the_busy_partitions_and_relaxes_again() {
        let paces = Paces::new(Duration::from_secs(5), 2.0);
        let partition = |table| PartitionPace::new(paces.of(table));
        let mut of_a: Vec<_> = (0..24).map(|_| partition("a")).collect();
        let mut of_b = partition("b");
        of_b.set_busy(true);
        of_a.iter_mut().take(4).for_each(|p| p.set_busy(true));
        assert_eq!(paces.slowest(), (Duration::from_secs(5), false));
        of_a.iter_mut().for_each(|p| p.set_busy(true));
        assert_eq!(of_a[0].interval(), Duration::from_secs(12));
        assert_eq!(of_b.interval(), Duration::from_secs(5), "another table");
        assert_eq!(paces.slowest(), (Duration::from_secs(12), true));
        of_a.truncate(8);
        assert_eq!(paces.slowest(), (Duration::from_secs(5), false));
    }
}
