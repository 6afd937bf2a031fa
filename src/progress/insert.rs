//! The order in which one range is looked up, sent and settled, as a pure state machine.
//!
//! The sink drives it: it asks [`Attempts::next`] what to do, does it, and tells the outcome.
//! A first attempt is sent at once. After anything that left the outcome open (a lost answer, an
//! error, a range listed by a predecessor) the table is asked first which rows it has, and only the
//! others are sent, under the same token. An acknowledgement of such a second attempt is not
//! believed until the rows are seen: a server killed between token and part keeps the one without
//! the other; then, once no earlier insert can still be running, the missing rows go out under a
//! token that ends in `:2`.

/// Which deduplication token an insert carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Round {
    /// `epoch:table:topic:partition:from-to`.
    First,
    /// The same and `:2`.
    Second,
}

/// What the sink must do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// Ask the table which rows of the range it has, then call [`Attempts::looked`].
    Look,
    /// Wait until no insert of the range that was sent earlier can still be running, then
    /// call [`Attempts::waited`].
    Wait,
    /// Insert what is missing under the round's token, then call one of `acknowledged`,
    /// `unknown`.
    Send(Round),
    /// Every row is in the table.
    Settled,
}

/// Where one range stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Attempts {
    state: State,
    round: Round,
    /// An earlier insert of this range may have left a token, a part, or both.
    tried_before: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum State {
    Look,
    Send,
    /// Acknowledged, but after an earlier attempt: are the rows there?
    Verify,
    /// The token is there and the rows are not: wait out whatever may still be running.
    Wait,
    /// The look after the wait, which decides about the second round.
    LookAgain,
    Settled,
}

impl Attempts {
    /// A range that nobody has tried to write: cut and named by this lane just now.
    #[must_use]
    pub(crate) fn fresh() -> Self {
        Attempts {
            state: State::Send,
            round: Round::First,
            tried_before: false,
        }
    }

    /// A range that may have been written before: listed by a predecessor, or below rows that the
    /// table already has.
    #[must_use]
    pub(crate) fn tried_before() -> Self {
        Attempts {
            state: State::Look,
            round: Round::First,
            tried_before: true,
        }
    }

    /// What to do now.
    #[must_use]
    pub(crate) fn next(&self) -> Step {
        match self.state {
            State::Look | State::Verify | State::LookAgain => Step::Look,
            State::Send => Step::Send(self.round),
            State::Wait => Step::Wait,
            State::Settled => Step::Settled,
        }
    }

    /// The table was asked; `missing` rows of the range are not in it.
    pub(crate) fn looked(&mut self, missing: usize) {
        self.state = match (self.state, missing) {
            (State::Look | State::Verify | State::LookAgain, 0) => State::Settled,
            (State::Look, _) => State::Send,
            (State::Verify, _) => State::Wait,
            (State::LookAgain, _) => {
                self.round = Round::Second;
                State::Send
            }
            (other, _) => other,
        };
    }

    /// Whatever was sent earlier can no longer be running.
    pub(crate) fn waited(&mut self) {
        if self.state == State::Wait {
            self.state = State::LookAgain;
        }
    }

    /// The server acknowledged the insert.
    pub(crate) fn acknowledged(&mut self) {
        self.state = if self.tried_before {
            State::Verify
        } else {
            State::Settled
        };
    }

    /// The insert failed or its answer was lost: it may be written or not, or still be running.
    pub(crate) fn unknown(&mut self) {
        self.tried_before = true;
        self.state = State::Look;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_range_is_sent_once_and_believed() {
        let mut attempts = Attempts::fresh();
        assert_eq!(attempts.next(), Step::Send(Round::First));
        attempts.acknowledged();
        assert_eq!(attempts.next(), Step::Settled);
    }

    #[test]
    fn a_lost_answer_is_looked_up_before_anything_is_sent_again() {
        let mut attempts = Attempts::fresh();
        attempts.unknown();
        assert_eq!(attempts.next(), Step::Look);
        attempts.looked(0);
        assert_eq!(attempts.next(), Step::Settled);
    }

    #[test]
    fn a_token_without_its_part_is_waited_out_and_written_in_a_second_round() {
        let mut attempts = Attempts::tried_before();
        assert_eq!(attempts.next(), Step::Look);
        attempts.looked(5);
        assert_eq!(attempts.next(), Step::Send(Round::First));
        attempts.acknowledged();
        assert_eq!(attempts.next(), Step::Look);
        attempts.looked(5);
        assert_eq!(attempts.next(), Step::Wait);
        attempts.waited();
        assert_eq!(attempts.next(), Step::Look);
        attempts.looked(5);
        assert_eq!(attempts.next(), Step::Send(Round::Second));
        attempts.acknowledged();
        assert_eq!(attempts.next(), Step::Look);
        attempts.looked(0);
        assert_eq!(attempts.next(), Step::Settled);
    }

    #[test]
    fn rows_that_appear_during_the_wait_are_not_sent_again() {
        let mut attempts = Attempts::tried_before();
        attempts.looked(5);
        attempts.acknowledged();
        attempts.looked(5);
        attempts.waited();
        attempts.looked(0);
        assert_eq!(attempts.next(), Step::Settled);
    }
}
