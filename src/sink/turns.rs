//! Whose turn it is: inserts go to the servers of `clickhouse.urls` one after the other, past those that
//! failed lately.

use std::time::{Duration, Instant};

/// How long a server rests after its first failure; twice as long after each further one.
const REST_MIN: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(60);

/// How one server fares with inserts.
#[derive(Debug, Default)]
pub(super) struct Fare {
    /// Since its last success.
    failures: u32,
    rest: Rest,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// It takes its turns.
    #[default]
    None,
    Until(Instant),
    /// Somebody asks it whether it is back.
    Asked,
    /// It answers: one insert goes to it.
    Back,
    /// That insert is on its way, and the others pass until it is acknowledged, or then.
    Tried(Instant),
}

/// What becomes of a server's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Takes,
    /// Another one's turn.
    Passes,
    /// Another one's turn, and this one is to be asked whether it is back.
    PassesAsked,
}

impl Fare {
    /// It did not answer, or failed at an insert, and not for its rows.
    pub(super) fn failed(&mut self, now: Instant) {
        // Of inserts that fail together the first counts.
        if matches!(self.rest, Rest::Until(until) if until > now) {
            return;
        }
        let rest = REST_MIN * 2u32.saturating_pow(self.failures.min(16));
        self.failures += 1;
        self.rest = Rest::Until(now + rest.min(REST_MAX));
    }

    /// An insert was acknowledged.
    pub(super) fn succeeded(&mut self) {
        *self = Fare::default();
    }

    /// It was asked. One that answers takes one turn, and all once an insert was acknowledged; it rests longer if
    /// it fails again.
    pub(super) fn asked(&mut self, answers: bool, now: Instant) {
        if answers {
            self.rest = Rest::Back;
        } else if self.rest == Rest::Asked {
            self.failed(now);
        }
    }

    /// The turn of a server that may have another table than the others: it is asked first.
    pub(super) fn turn_unseen(&mut self, now: Instant) -> Turn {
        if matches!(self.rest, Rest::None | Rest::Back | Rest::Tried(_)) {
            self.rest = Rest::Asked;
            return Turn::PassesAsked;
        }
        self.turn(now)
    }

    pub(super) fn turn(&mut self, now: Instant) -> Turn {
        match self.rest {
            Rest::None => Turn::Takes,
            Rest::Until(until) if until <= now => {
                self.rest = Rest::Asked;
                Turn::PassesAsked
            }
            Rest::Back => self.tries(now),
            Rest::Tried(until) if until <= now => self.tries(now),
            Rest::Until(_) | Rest::Asked | Rest::Tried(_) => Turn::Passes,
        }
    }
}

impl Fare {
    fn tries(&mut self, now: Instant) -> Turn {
        self.rest = Rest::Tried(now + REST_MAX);
        Turn::Takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_failed_is_asked_before_it_takes_a_turn_again() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut fare = Fare::default();
        assert_eq!(fare.turn(start), Turn::Takes);
        fare.failed(start);
        fare.failed(at(10));
        assert_eq!(fare.turn(at(999)), Turn::Passes);
        assert_eq!(fare.turn(at(1_000)), Turn::PassesAsked);
        assert_eq!(fare.turn(at(1_001)), Turn::Passes, "one asks");
        fare.asked(false, at(1_100));
        assert_eq!(fare.turn(at(3_099)), Turn::Passes);
        assert_eq!(fare.turn(at(3_100)), Turn::PassesAsked);
        fare.asked(true, at(3_200));
        assert_eq!(fare.turn(at(3_200)), Turn::Takes);
        assert_eq!(fare.turn(at(3_201)), Turn::Passes, "one insert tries");
        // It answers, and takes no inserts.
        fare.failed(at(3_200));
        assert_eq!(fare.turn(at(7_199)), Turn::Passes);
        assert_eq!(fare.turn(at(7_200)), Turn::PassesAsked);
        fare.asked(true, at(7_200));
        fare.succeeded();
        fare.failed(at(8_000));
        assert_eq!(fare.turn(at(9_000)), Turn::PassesAsked);
        let mut lost = Fare::default();
        lost.failed(start);
        lost.asked(true, start);
        assert_eq!(lost.turn(start), Turn::Takes);
        assert_eq!(lost.turn(at(59_999)), Turn::Passes);
        assert_eq!(lost.turn(at(60_000)), Turn::Takes, "nothing came of it");
        lost.succeeded();
        assert_eq!(lost.turn(at(60_001)), Turn::Takes);
        let mut unseen = Fare::default();
        assert_eq!(unseen.turn_unseen(start), Turn::PassesAsked);
        assert_eq!(unseen.turn_unseen(start), Turn::Passes, "one asks");
    }

    #[test]
    fn no_server_rests_longer_than_a_minute() {
        let start = Instant::now();
        let mut fare = Fare::default();
        for n in 0..100 {
            fare.failed(start + REST_MAX * n);
        }
        assert_eq!(fare.turn(start + REST_MAX * 100), Turn::PassesAsked);
    }
}
