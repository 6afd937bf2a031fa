//! How a pipeline was over the last 15 minutes, and its rate over the last minute.

use std::collections::VecDeque;

use super::status::{Moment, Sample};

/// How many samples are kept: 15 minutes.
const SAMPLES_MAX: usize = 90;
/// A sample comes every ten seconds. It is asked for about once a second, so one may come a little early.
const SAMPLE_INTERVAL_MS: u64 = 9_750;
/// Over how long the rate is taken.
const RATE_MS: u64 = 60_000;
/// Counts closer than this are left out.
const COUNT_INTERVAL_MIN_MS: u64 = 500;
/// Bounds the counts of a minute.
const COUNTS_MAX: usize = 128;

/// Rows that were written until a moment of the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count {
    at_ms: u64,
    rows: u64,
}

impl Count {
    fn rows_per_second_since(self, before: Count) -> f64 {
        let elapsed_ms = self.at_ms.saturating_sub(before.at_ms).max(1);
        self.rows.saturating_sub(before.rows) as f64 * 1_000.0 / elapsed_ms as f64
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct History {
    /// Of the last minute and one before it, oldest first; never empty.
    counts: VecDeque<Count>,
    /// The one of the last sample.
    sampled: Count,
    samples: VecDeque<Sample>,
}

impl History {
    pub(super) fn new(now_ms: u64) -> Self {
        let none = Count {
            at_ms: now_ms,
            rows: 0,
        };
        History {
            counts: VecDeque::from([none]),
            sampled: none,
            samples: VecDeque::with_capacity(SAMPLES_MAX),
        }
    }

    /// Notes how many rows were written until now, and returns whether a sample is due.
    pub(super) fn note_rows(&mut self, rows: u64, now_ms: u64) -> bool {
        let last_ms = self.counts.back().map_or(0, |count| count.at_ms);
        if now_ms.saturating_sub(last_ms) >= COUNT_INTERVAL_MIN_MS {
            self.counts.push_back(Count {
                at_ms: now_ms,
                rows,
            });
            // One that is a minute old stays: the rate is counted from it.
            while self.counts.len() > COUNTS_MAX
                || (self.counts.len() > 2 && now_ms.saturating_sub(self.counts[1].at_ms) >= RATE_MS)
            {
                self.counts.pop_front();
            }
        }
        now_ms.saturating_sub(self.sampled.at_ms) >= SAMPLE_INTERVAL_MS
    }

    /// Adds a sample.
    pub(super) fn add(
        &mut self,
        (lag, uncommitted): (i64, i64),
        rows: u64,
        (at, now_ms): (Moment, u64),
    ) {
        let count = Count {
            at_ms: now_ms,
            rows,
        };
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            at,
            lag,
            uncommitted,
            rows_per_second: count.rows_per_second_since(self.sampled),
        });
        self.sampled = count;
    }

    /// Rows a second over the last minute, or since the beginning where that is shorter; and the samples.
    pub(super) fn status(&self) -> (f64, Vec<Sample>) {
        let ends = self.counts.front().zip(self.counts.back());
        let rate = ends.map_or(0.0, |(first, last)| last.rows_per_second_since(*first));
        (rate, self.samples.iter().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A history that is told once a second of the rows written until then.
    fn told(rows_until: impl Fn(u64) -> u64, seconds: std::ops::RangeInclusive<u64>) -> History {
        let mut history = History::new(0);
        for second in seconds {
            let now_ms = second * 1_000;
            if history.note_rows(rows_until(second), now_ms) {
                let at = Moment(i64::try_from(now_ms).expect("small"));
                history.add((7, 9), rows_until(second), (at, now_ms));
            }
        }
        history
    }

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        // 100 rows a second for ten minutes, then nothing.
        let rows = |second: u64| second.min(600) * 100;
        for (seconds, expected) in [
            (1, 100.0),
            (30, 100.0),
            (600, 100.0),
            (630, 50.0),
            (660, 0.0),
        ] {
            let (rate, _) = told(rows, 1..=seconds).status();
            assert!(
                (rate - expected).abs() < 0.01,
                "after {seconds} s: {rate} instead of {expected}"
            );
        }
        assert_eq!(History::new(5).status(), (0.0, vec![]));
    }

    #[test]
    fn fifteen_minutes_are_kept_a_sample_every_ten_seconds() {
        let (_, samples) = told(|second| second * 3, 1..=2_000).status();
        assert_eq!(samples.len(), 90);
        let at: Vec<_> = samples.iter().map(|sample| sample.at.0 / 1_000).collect();
        assert_eq!((at[0], at[89]), (1_110, 2_000));
        assert!(
            samples
                .iter()
                .all(|s| s.lag == 7 && s.rows_per_second == 3.0)
        );
    }

    #[test]
    fn counts_are_bounded_however_often_it_is_told() {
        let mut history = History::new(0);
        for now_ms in 0..1_000_000 {
            history.note_rows(now_ms, now_ms);
        }
        assert!(history.counts.len() <= 122, "{}", history.counts.len());
        assert!((history.status().0 - 1_000.0).abs() < 0.01);
    }
}
