//! The share of records that pass a rule, over the last minutes.

use std::time::Duration;

/// Into how many parts the time is divided: what is older than it goes part by part.
const PARTS: usize = 60;

/// Counts of the last minutes.
#[derive(Debug)]
pub(super) struct Window {
    part_ms: u64,
    /// The number of a part since 1970, and what passed and failed in it.
    parts: [(u64, u64, u64); PARTS],
}

impl Window {
    pub(super) fn new(over: Duration) -> Self {
        let part_ms = u64::try_from(over.as_millis()).unwrap_or(u64::MAX) / PARTS as u64;
        Window {
            part_ms: part_ms.max(1),
            parts: [(0, 0, 0); PARTS],
        }
    }

    pub(super) fn add(&mut self, now_ms: u64, passed: u64, failed: u64) {
        let number = now_ms / self.part_ms;
        let part = &mut self.parts[(number % PARTS as u64) as usize];
        if part.0 != number {
            *part = (number, 0, 0);
        }
        part.1 += passed;
        part.2 += failed;
    }

    /// What passed and what failed in the time up to now.
    pub(super) fn sums(&self, now_ms: u64) -> (u64, u64) {
        let newest = now_ms / self.part_ms;
        let parts = self.parts.iter();
        let counts = parts.filter(|(number, ..)| number + (PARTS as u64) > newest);
        counts.fold((0, 0), |(passed, failed), part| {
            (passed + part.1, failed + part.2)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_window_counts_no_more() {
        let mut window = Window::new(Duration::from_secs(60));
        assert_eq!(window.sums(0), (0, 0));
        window.add(100_000, 3, 1);
        window.add(100_500, 1, 0);
        window.add(130_000, 0, 2);
        assert_eq!(window.sums(130_000), (4, 3));
        assert_eq!(window.sums(159_999), (4, 3));
        assert_eq!(window.sums(160_000), (0, 2));
        assert_eq!(window.sums(1_000_000), (0, 0));
        window.add(160_100, 5, 0);
        assert_eq!(window.sums(160_100), (5, 2));
    }
}
