//! How much may be read a second: a token bucket. The time is passed in.

use std::time::{Duration, Instant};

/// What may be saved up while nothing is read: a fifth of a second's worth.
const BURST: Duration = Duration::from_millis(200);

/// Tokens that arrive at a steady rate, and are spent afterwards. Whoever spends more than there is leaves a
/// debt, which is paid before the next token can be had, so the mean rate holds whatever the size of a piece.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenBucket {
    per_second: u64,
    /// Below 0: a debt.
    tokens: f64,
    filled_at: Instant,
}

impl TokenBucket {
    /// A bucket with one token in it. `per_second` is at least 1.
    pub fn new(per_second: u64, now: Instant) -> Self {
        TokenBucket {
            per_second: per_second.max(1),
            tokens: 1.0,
            filled_at: now,
        }
    }

    /// How many whole tokens there are.
    pub fn available(&mut self, now: Instant) -> u64 {
        let rate = self.per_second as f64;
        let since = now.saturating_duration_since(self.filled_at);
        let full = (rate * BURST.as_secs_f64()).max(1.0);
        self.tokens = (self.tokens + since.as_secs_f64() * rate).min(full);
        self.filled_at = self.filled_at.max(now);
        // A negative number becomes 0.
        self.tokens as u64
    }

    /// Takes tokens out, more than there are where need be.
    pub fn spend(&mut self, tokens: u64) {
        self.tokens -= tokens as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE_MS: u64 = 60_000;

    #[test]
    fn a_bucket_that_was_full_holds_a_fifth_of_a_second_and_never_less_than_one() {
        let start = Instant::now();
        let later = start + Duration::from_secs(60);
        assert_eq!(TokenBucket::new(1_000, start).available(start), 1);
        assert_eq!(TokenBucket::new(1_000, start).available(later), 200);
        assert_eq!(TokenBucket::new(1, start).available(later), 1);
        assert_eq!(TokenBucket::new(u64::MAX, start).available(start), 1);
        assert!(TokenBucket::new(u64::MAX, start).available(later) > 1 << 60);
    }

    #[test]
    fn a_debt_is_paid_before_the_next_token() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(100, start);
        bucket.spend(301);
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(bucket.available(after(3_000)), 0);
        assert_eq!(bucket.available(after(3_011)), 1);
        // A clock that steps back gives nothing.
        bucket.spend(1);
        assert_eq!(bucket.available(after(1_000)), 0);
    }

    proptest! {
        #[test]
        fn a_minute_of_any_turns_gives_the_rate_and_no_more_than_one_piece_above_it(
            per_second in 5u64..100_000, turns in prop::collection::vec(1u64..150, 1..400), piece in 1u64..5_000
        ) {
            let start = Instant::now();
            let mut bucket = TokenBucket::new(per_second, start);
            let (mut at_ms, mut taken, mut last_piece) = (0, 0, 0);
            for wait_ms in turns.iter().cycle() {
                at_ms += wait_ms;
                if at_ms > MINUTE_MS {
                    break;
                }
                let there = bucket.available(start + Duration::from_millis(at_ms));
                if there > 0 {
                    // Pieces are taken whole, as chunks are.
                    last_piece = piece.max(there);
                    bucket.spend(last_piece);
                    taken += last_piece;
                }
            }
            let allowed = per_second * MINUTE_MS / 1000 + 1;
            prop_assert!(taken <= allowed + last_piece.max(piece), "{taken} of {allowed}");
            let least = allowed.saturating_sub(per_second / 5 + piece + per_second / 5 + 1);
            prop_assert!(taken >= least, "{taken} of {allowed}");
        }
    }
}
