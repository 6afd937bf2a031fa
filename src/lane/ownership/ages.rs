//! How old the records of a partition are that are not committed yet.

use std::collections::VecDeque;

/// Runs that are told apart.
const RUNS_MAX: usize = 1_024;
/// Runs whose records are no further apart in time are taken together.
const GRAIN_MIN_MS: i64 = 1_000;

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
        let run = Run { end, oldest_ms };
        if self.runs.len() >= RUNS_MAX {
            self.compact();
        }
        if self.runs.len() >= RUNS_MAX {
            add(&mut self.runs, run, i64::MAX);
        } else {
            add(&mut self.runs, run, GRAIN_MIN_MS);
        }
    }

    /// The longer what waits reaches back, the coarser it is told apart.
    fn compact(&mut self) {
        let times = self.runs.iter().map(|run| run.oldest_ms);
        let (first_ms, last_ms) = (times.clone().min(), times.max());
        let span_ms = last_ms.unwrap_or(0).saturating_sub(first_ms.unwrap_or(0));
        let grain_ms = (span_ms / (RUNS_MAX as i64 / 2)).max(GRAIN_MIN_MS);
        let mut runs = VecDeque::with_capacity(RUNS_MAX);
        for run in self.runs.drain(..) {
            add(&mut runs, run, grain_ms);
        }
        self.runs = runs;
    }

    /// The Kafka timestamp of the oldest record at or behind `committed` that was read; `None`: there is none.
    pub(in super::super) fn oldest_ms(&mut self, committed: i64) -> Option<i64> {
        while self.runs.front().is_some_and(|run| run.end <= committed) {
            self.runs.pop_front();
        }
        self.runs.iter().map(|run| run.oldest_ms).min()
    }
}

/// Adds a run, or takes it together with the last one where their records are less than `grain_ms` apart.
fn add(runs: &mut VecDeque<Run>, run: Run, grain_ms: i64) {
    match runs.back_mut() {
        Some(last) if run.oldest_ms.saturating_sub(last.oldest_ms) < grain_ms => {
            last.end = last.end.max(run.end);
            last.oldest_ms = last.oldest_ms.min(run.oldest_ms);
        }
        _ => runs.push_back(run),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_that_of_what_is_not_committed() {
        let mut ages = Ages::default();
        assert_eq!(ages.oldest_ms(0), None);
        ages.read(10, 10_000);
        ages.read(20, 5_000);
        ages.read(30, 20_000);
        assert_eq!(ages.oldest_ms(0), Some(5_000));
        assert_eq!(ages.oldest_ms(19), Some(5_000));
        assert_eq!(ages.oldest_ms(20), Some(20_000));
        assert_eq!(ages.oldest_ms(30), None);
    }

    #[test]
    fn what_waits_for_hours_takes_no_more_memory_and_is_told_apart_all_the_same() {
        let mut ages = Ages::default();
        // Ten runs a second for ten hours.
        for end in 1..=360_000 {
            ages.read(end, end * 100);
        }
        assert!(ages.runs.len() <= RUNS_MAX, "{}", ages.runs.len());
        for committed in [0, 100, 50_000, 180_000, 350_000, 359_000] {
            let oldest_ms = ages.oldest_ms(committed).expect("records wait");
            let apart_ms = (oldest_ms - (committed + 1) * 100).abs();
            assert!(
                apart_ms <= 36_000_000 / 250,
                "{committed}: {apart_ms} ms apart"
            );
        }
        assert_eq!(ages.oldest_ms(360_000), None);
    }

    #[test]
    fn records_without_a_time_do_not_count() {
        let mut ages = Ages::default();
        ages.read(5, -1);
        assert_eq!(ages.oldest_ms(0), None);
    }
}
