//! `run --records-max`: how many records the lanes of a pipeline may still read, together.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::source::TopicPartition;

/// Shared by the lanes of a pipeline. A record counts once, however often it is read.
#[derive(Debug)]
pub(crate) struct RecordsMax {
    is_spent: AtomicBool,
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    left: u64,
    /// The offset behind the last record that counts, by partition.
    read_to: HashMap<TopicPartition, i64>,
}

/// The count while one lane judges a run of one partition; others wait for it.
#[derive(Debug)]
pub(super) struct Counting<'c> {
    counted: MutexGuard<'c, Counted>,
    is_spent: &'c AtomicBool,
    partition: &'c TopicPartition,
    /// Records below counted before this run.
    counted_to: i64,
    /// Records below count already.
    read_to: i64,
    /// Records below are in ranges that a predecessor named, which are written to their end.
    named_to: i64,
}

impl RecordsMax {
    pub(crate) fn new(records_max: u64) -> Self {
        let counted = Counted {
            left: records_max,
            ..Counted::default()
        };
        RecordsMax {
            is_spent: AtomicBool::new(records_max == 0),
            counted: Mutex::new(counted),
        }
    }

    /// Whether all of them were read.
    pub(super) fn is_spent(&self) -> bool {
        self.is_spent.load(Ordering::Acquire)
    }

    /// The offset behind the last record of a partition that counts.
    pub(super) fn read_to(&self, partition: &TopicPartition) -> Option<i64> {
        self.lock().read_to.get(partition).copied()
    }

    /// A run of a partition is about to be judged. `counted_to`: an earlier run of the program read the
    /// records below. `named_to`: a predecessor named ranges up to there.
    pub(super) fn count<'c>(
        &'c self,
        partition: &'c TopicPartition,
        counted_to: i64,
        named_to: Option<i64>,
    ) -> Counting<'c> {
        let counted = self.lock();
        let read_to = counted.read_to.get(partition).copied();
        let counted_to = read_to.unwrap_or(0).max(counted_to);
        Counting {
            counted_to,
            read_to: counted_to,
            counted,
            is_spent: &self.is_spent,
            partition,
            named_to: named_to.unwrap_or(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counting<'_> {
    /// Whether the record of this offset may be read.
    pub(super) fn may_read(&self, offset: i64) -> bool {
        offset < self.read_to.max(self.named_to) || self.counted.left > 0
    }

    /// The record of this offset was read.
    pub(super) fn read(&mut self, offset: i64) {
        if offset < self.read_to {
            return;
        }
        self.read_to = offset + 1;
        self.counted.left = self.counted.left.saturating_sub(1);
        if self.counted.left == 0 {
            self.is_spent.store(true, Ordering::Release);
        }
    }
}

/// Where the partition stands is noted once a run, before others count.
impl Drop for Counting<'_> {
    fn drop(&mut self) {
        if self.read_to > self.counted_to {
            let place = self.partition.clone();
            self.counted.read_to.insert(place, self.read_to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(number: i32) -> TopicPartition {
        TopicPartition {
            topic: "orders".into(),
            partition: number,
        }
    }

    #[test]
    fn records_count_once_over_all_partitions() {
        let most = RecordsMax::new(3);
        let (first, second) = (partition(0), partition(1));
        let mut counting = most.count(&first, 0, None);
        for offset in [10, 11] {
            assert!(counting.may_read(offset));
            counting.read(offset);
        }
        drop(counting);
        // The partition is read again after a rewind.
        let mut counting = most.count(&first, 0, None);
        counting.read(10);
        counting.read(11);
        drop(counting);
        assert!(!most.is_spent());
        let mut counting = most.count(&second, 0, None);
        counting.read(0);
        assert!(!counting.may_read(1));
        drop(counting);
        assert!(most.is_spent());
        assert!(
            !most.count(&first, 0, None).may_read(12) && most.count(&first, 0, None).may_read(11)
        );
        assert_eq!(
            (most.read_to(&first), most.read_to(&second)),
            (Some(12), Some(1))
        );
    }

    #[test]
    fn records_that_an_earlier_run_read_do_not_count() {
        let most = RecordsMax::new(1);
        let first = partition(0);
        let mut counting = most.count(&first, 100, None);
        counting.read(98);
        counting.read(99);
        assert!(counting.may_read(100));
        counting.read(100);
        assert!(!counting.may_read(101));
    }

    #[test]
    fn a_named_range_is_read_to_its_end_and_no_further() {
        let most = RecordsMax::new(2);
        let first = partition(0);
        let mut counting = most.count(&first, 0, Some(13));
        for offset in 10..13 {
            assert!(counting.may_read(offset), "{offset}");
            counting.read(offset);
        }
        assert!(!counting.may_read(13));
        drop(counting);
        // There is room behind a shorter one.
        let most = RecordsMax::new(4);
        let mut counting = most.count(&first, 0, Some(13));
        (10..14).for_each(|offset| counting.read(offset));
        assert!(!counting.may_read(14));
    }
}
