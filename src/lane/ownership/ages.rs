//! How old the records of a partition are that are not committed yet.

use std::collections::VecDeque;

/// Runs that are told apart. Behind them runs are taken together.
const RUNS_MAX: usize = 1_024;

/// Consecutive records that were read together.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// One past the last of them.
    end: i64,
    /// The Kafka timestamp of the oldest, in milliseconds.
    oldest_ms: i64,
}

/// Runs of one partition, in the order of their offsets.
#[derive(Debug, Default)]
pub(in super::super) struct Ages {
    runs: VecDeque<Run>,
}

impl Ages {
    /// Notes records below `end` that were just read.
    pub(in super::super) fn read(&mut self, end: i64, oldest_ms: i64) {
        if oldest_ms < 0 {
            return;
        }
        if self.runs.len() >= RUNS_MAX
            && let Some(last) = self.runs.back_mut()
        {
            last.end = last.end.max(end);
            last.oldest_ms = last.oldest_ms.min(oldest_ms);
            return;
        }
        self.runs.push_back(Run { end, oldest_ms });
    }

    /// The Kafka timestamp of the oldest record at or behind `committed` that was read; `None`: there is none.
    pub(in super::super) fn oldest_ms(&mut self, committed: i64) -> Option<i64> {
        while self.runs.front().is_some_and(|run| run.end <= committed) {
            self.runs.pop_front();
        }
        self.runs.iter().map(|run| run.oldest_ms).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_that_of_what_is_not_committed() {
        let mut ages = Ages::default();
        assert_eq!(ages.oldest_ms(0), None);
        ages.read(10, 1_000);
        ages.read(20, 500);
        ages.read(30, 2_000);
        assert_eq!(ages.oldest_ms(0), Some(500));
        assert_eq!(ages.oldest_ms(19), Some(500));
        assert_eq!(ages.oldest_ms(20), Some(2_000));
        assert_eq!(ages.oldest_ms(30), None);
    }

    #[test]
    fn an_outage_of_hours_takes_no_more_memory() {
        let mut ages = Ages::default();
        for end in 1..100_000 {
            ages.read(end, end);
        }
        assert_eq!(ages.runs.len(), RUNS_MAX);
        assert_eq!(ages.oldest_ms(50_000), Some(RUNS_MAX as i64));
        assert_eq!(ages.oldest_ms(99_999), None);
    }

    #[test]
    fn records_without_a_time_do_not_count() {
        let mut ages = Ages::default();
        ages.read(5, -1);
        assert_eq!(ages.oldest_ms(0), None);
    }
}
