//! Where keys lie, as the lanes of one process see it: with `partitioned_by` the records of a group are in
//! one partition, or its sums would be split.
//!
//! Keys of closed windows count too: a partition that is read later has windows of the same times, whose
//! rows would hide those of the others.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;

/// Keys are forgotten only when there are more than these, and twice as many as were left the last time.
const FORGET_ABOVE: usize = 16 * 1024;

/// The partitions of the topic, and of each key where it was seen.
#[derive(Debug)]
pub(crate) struct Places {
    /// How many partitions the topic has, by the last answer.
    partitions: AtomicUsize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    keys: HashMap<Box<[u8]>, Seen, RandomState>,
    bytes: usize,
    /// By partition: windows that were over by this are closed.
    closed_through_ms: HashMap<i32, i64>,
    forget_at: usize,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    partition: i32,
    offset: i64,
    /// When the last window is over that has the key.
    closes_ms: i64,
}

impl Places {
    pub(crate) fn new(partitions: usize) -> Places {
        Places {
            partitions: AtomicUsize::new(partitions),
            known: Mutex::default(),
        }
    }

    /// How many partitions the topic has.
    pub(super) fn partitions(&self) -> usize {
        self.partitions.load(Ordering::Relaxed)
    }

    /// The topic has this many partitions. Topics do not get fewer. Among more partitions keys lie elsewhere.
    pub(super) fn note_partitions(&self, count: usize) {
        if self.partitions.fetch_max(count, Ordering::Relaxed) < count {
            self.lock().retain(|_, _| false);
        }
    }

    /// A window that is over at `closes_ms` has a record with this key. Returns where else the key lies:
    /// partition and offset.
    pub(super) fn note(
        &self,
        key: &[u8],
        partition: i32,
        offset: i64,
        closes_ms: i64,
    ) -> Option<(i32, i64)> {
        if self.partitions() < 2 {
            return None;
        }
        let mut known = self.lock();
        let seen = Seen {
            partition,
            offset,
            closes_ms,
        };
        let Some(before) = known.keys.get(key).copied() else {
            known.bytes += bytes_of(key);
            known.keys.insert(key.into(), seen);
            return None;
        };
        if before.partition != partition {
            return Some((before.partition, before.offset));
        }
        let closes_ms = closes_ms.max(before.closes_ms);
        known.keys.insert(key.into(), Seen { closes_ms, ..seen });
        None
    }

    /// Windows of a partition that were over by this are closed.
    pub(super) fn note_closed(&self, partition: i32, through_ms: i64) {
        let mut known = self.lock();
        known.closed_through_ms.insert(partition, through_ms);
        let many = known.forget_at.max(FORGET_ABOVE);
        if known.keys.len() <= many {
            return;
        }
        // First those that no partition has an open window for; all that are closed where they were seen
        // only when they are too many all the same.
        let everywhere_ms = known.closed_through_ms.values().copied().min();
        known.retain(|_, seen| everywhere_ms < Some(seen.closes_ms));
        if known.keys.len() > many {
            known.retain(|known, seen| !known.is_closed(*seen));
        }
        known.forget_at = known.keys.len() * 2;
    }

    /// Somebody else reads the partition now, or it is read again.
    pub(super) fn forget(&self, partition: i32) {
        let mut known = self.lock();
        known.closed_through_ms.remove(&partition);
        known.retain(|_, seen| seen.partition != partition);
    }

    /// What it takes of the process's memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().expect("no holder of this lock panics")
    }
}

impl Known {
    fn is_closed(&self, seen: Seen) -> bool {
        let through_ms = self.closed_through_ms.get(&seen.partition);
        through_ms.is_some_and(|through_ms| *through_ms >= seen.closes_ms)
    }

    fn retain(&mut self, is_kept: impl Fn(&Known, &Seen) -> bool) {
        let mut keys = std::mem::take(&mut self.keys);
        keys.retain(|_, seen| is_kept(self, seen));
        self.bytes = keys.keys().map(|key| bytes_of(key)).sum();
        self.keys = keys;
    }
}

fn bytes_of(key: &[u8]) -> usize {
    (size_of::<Box<[u8]>>() + size_of::<Seen>()) * 2 + key.len() + 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_lies_in_one_partition_also_when_its_windows_are_over() {
        let places = Places::new(2);
        assert_eq!(places.note(b"k", 0, 7, 60), None);
        assert_eq!(places.note(b"k", 0, 8, 120), None);
        assert_eq!(places.note(b"other", 1, 3, 60), None);
        places.note_closed(0, 119);
        assert_eq!(places.note(b"k", 1, 4, 180), Some((0, 8)), "still open");
        places.note_closed(0, 1_000);
        let hides_its_row = places.note(b"k", 1, 4, 60);
        assert_eq!(hides_its_row, Some((0, 8)), "closed there, open here");
        places.forget(0);
        assert_eq!(places.note(b"k", 1, 5, 180), None, "nobody here reads it");
        assert_eq!(places.note(b"k", 0, 9, 180), Some((1, 5)));
    }

    #[test]
    fn keys_lie_anew_among_more_partitions() {
        let places = Places::new(2);
        assert_eq!(places.note(b"k", 0, 7, 60), None);
        places.note_partitions(2);
        assert_eq!(places.note(b"k", 1, 4, 120), Some((0, 7)));
        places.note_partitions(3);
        assert_eq!(places.note(b"k", 2, 0, 120), None);
        assert_eq!(places.note(b"k", 0, 8, 120), Some((2, 0)));
    }

    #[test]
    fn of_many_keys_those_go_first_whose_windows_no_partition_has_open() {
        let places = Places::new(2);
        let many = 3 * FORGET_ABOVE as i64 / 2;
        // Partition 1 is behind: the second half of the keys may be met there.
        places.note_closed(1, many / 2);
        for number in 0..many {
            places.note(&number.to_be_bytes(), 0, number, number);
        }
        places.note_closed(0, many);
        let seen = |number: i64| places.note(&number.to_be_bytes(), 1, 0, number);
        assert_eq!(seen(many - 2), Some((0, many - 2)));
        assert_eq!(seen(5), None, "forgotten");
    }

    #[test]
    fn a_topic_of_one_partition_is_not_kept_account_of() {
        let places = Places::new(1);
        assert_eq!(places.note(b"k", 0, 7, 60), None);
        assert_eq!(places.memory_bytes(), 0);
        places.note_partitions(3);
        places.note_partitions(2);
        assert_eq!(places.partitions(), 3);
    }

    #[test]
    fn keys_of_closed_windows_are_forgotten_before_they_are_many() {
        let places = Places::new(2);
        for number in 0..100_000i64 {
            places.note(&number.to_be_bytes(), 0, number, number);
            places.note_closed(0, number - 10);
        }
        assert!(places.lock().keys.len() <= 2 * FORGET_ABOVE);
        assert_eq!(
            places.memory_bytes(),
            places.lock().keys.len() * bytes_of(&[0; 8])
        );
    }
}
