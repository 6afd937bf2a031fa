//! Event time up to which a partition is believed complete.

use std::time::Duration;

/// Largest event time of a partition's records so far, minus the allowed delay. Dead letters do not
/// move it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    delay_ms: i64,
    largest_ms: Option<i64>,
}

impl Watermark {
    pub fn new(delay: Duration) -> Self {
        let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        Watermark {
            delay_ms,
            largest_ms: None,
        }
    }

    /// Milliseconds since the epoch; `None` before the first record.
    pub fn time_ms(&self) -> Option<i64> {
        Some(self.largest_ms?.saturating_sub(self.delay_ms))
    }

    /// The largest event time so far, which is all that a snapshot needs of it.
    pub fn largest_ms(&self) -> Option<i64> {
        self.largest_ms
    }

    pub fn observe(&mut self, event_time_ms: i64) {
        self.largest_ms = Some(
            self.largest_ms
                .map_or(event_time_ms, |t| t.max(event_time_ms)),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_largest_event_time_and_never_falls() {
        let mut watermark = Watermark::new(Duration::from_secs(30));
        assert_eq!(watermark.time_ms(), None);
        watermark.observe(100_000);
        watermark.observe(50_000);
        assert_eq!(watermark.time_ms(), Some(70_000));
    }
}
