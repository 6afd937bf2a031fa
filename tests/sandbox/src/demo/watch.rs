//! The line that the demo prints every other second.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Parts;
use super::verdict::{count, lag};
use crate::generate::Progress;
use crate::topic;
use crate::wait;

#[derive(Debug)]
pub(super) struct Watch<'p> {
    parts: &'p Parts,
    table: &'p str,
    begun: Instant,
    rows_before: u64,
    asked_before: Instant,
}

impl<'p> Watch<'p> {
    pub(super) fn begin(parts: &'p Parts, table: &'p str) -> Self {
        let now = Instant::now();
        Self {
            parts,
            table,
            begun: now,
            rows_before: 0,
            asked_before: now,
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Waits for a time, less when `early` says so.
    pub(super) fn pause(&self, time: Duration, early: impl Fn() -> bool) {
        // Running out of time is the usual way here.
        let _ = wait::until("the next line is due", time, || early().then_some(()));
    }

    pub(super) fn line(&mut self, progress: &Progress) -> Result<String> {
        let url = self.parts.clickhouse_url();
        let rows = count(url, &format!("SELECT count() FROM {}", self.table))?;
        let seconds = self.asked_before.elapsed().as_secs_f64();
        let rate = rows.saturating_sub(self.rows_before) as f64 / seconds.max(0.001);
        (self.rows_before, self.asked_before) = (rows, Instant::now());

        let bootstrap = self.parts.bootstrap();
        let ends = topic::end_offsets(bootstrap, &self.parts.topic())?;
        let dead_letters = topic::end_offsets(bootstrap, &self.parts.dead_letter_topic())?;
        Ok(format!(
            "{:>4} s   produced {:>10}   rows {:>10}   {:>8}/s   lag {:>8}   dead letters {:>5}",
            self.elapsed().as_secs(),
            grouped(progress.produced.load(Ordering::Relaxed)),
            grouped(rows),
            grouped(rate as u64),
            grouped(lag(self.parts, &ends)?),
            grouped(dead_letters.values().sum::<i64>().unsigned_abs()),
        ))
    }
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_stand_in_groups_of_three() {
        let shown = [0, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
    }
}
