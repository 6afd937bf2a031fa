//! Waiting between attempts: full jitter, so that lanes that failed together do not retry together.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// Doubles from 100 ms to 10 s; each wait is drawn between nothing and the current bound.
#[derive(Debug)]
pub struct Backoff {
    bound: Duration,
    attempts: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff::new()
    }
}

impl Backoff {
    pub fn new() -> Self {
        Backoff {
            bound: FIRST,
            attempts: 0,
        }
    }

    /// How long to wait before the next attempt.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.bound.mul_f64(rand::random::<f64>());
        self.bound = (self.bound * 2).min(LONGEST);
        self.attempts += 1;
        wait
    }

    /// Attempts that have failed so far.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_below_a_bound_that_doubles_up_to_ten_seconds() {
        let mut backoff = Backoff::new();
        for bound_ms in [100u64, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
            assert!(backoff.next_wait() <= Duration::from_millis(bound_ms));
        }
        assert_eq!(backoff.attempts(), 9);
    }
}
