//! Not asking a server that has just failed to answer.

use std::time::Duration;

const FIRST_PAUSE_MS: u64 = 1_000;
const LONGEST_PAUSE_MS: u64 = 10_000;

/// Opens with a failure, for one second and then for twice as long each time, ten at most; one
/// request goes through when the pause is over, and its success closes it. Times are milliseconds
/// of a monotonic clock.
#[derive(Debug)]
pub(crate) struct Breaker {
    open_until_ms: Option<u64>,
    pause_ms: u64,
}

impl Breaker {
    pub(crate) fn new() -> Self {
        Breaker {
            open_until_ms: None,
            pause_ms: FIRST_PAUSE_MS,
        }
    }

    /// Whether a request may be sent.
    pub(crate) fn allows(&self, now_ms: u64) -> bool {
        self.open_until_ms.is_none_or(|until| now_ms >= until)
    }

    pub(crate) fn succeeded(&mut self) {
        *self = Breaker::new();
    }

    /// Returns for how long no request will be sent.
    pub(crate) fn failed(&mut self, now_ms: u64) -> Duration {
        let pause_ms = self.pause_ms;
        self.open_until_ms = Some(now_ms + pause_ms);
        self.pause_ms = (pause_ms * 2).min(LONGEST_PAUSE_MS);
        Duration::from_millis(pause_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_longer_with_each_failure_and_closes_with_a_success() {
        let mut breaker = Breaker::new();
        assert!(breaker.allows(0));
        assert_eq!(breaker.failed(0), Duration::from_secs(1));
        assert!(!breaker.allows(999));
        assert!(breaker.allows(1_000));
        assert_eq!(breaker.failed(1_000), Duration::from_secs(2));
        assert!(!breaker.allows(2_999));
        breaker.succeeded();
        assert!(breaker.allows(2_999));
        assert_eq!(breaker.failed(0), Duration::from_secs(1));
    }
}
