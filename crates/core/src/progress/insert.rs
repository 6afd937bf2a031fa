//! The order in which one range is looked up, sent and settled, as a pure state machine.
//!
//! The sink drives it: it asks [`Attempts::next`] what to do, does it, and tells the outcome. The
//! same value travels with the range wherever it goes: to the lane for a new lease and back.
//!
//! Only an acknowledged insert settles. One token always carries the same rows, and after anything
//! that left the outcome open (a lost answer, an error, a range named by a predecessor) the same
//! rows are sent under the same token until they are acknowledged: what is stored is recognised,
//! what a server stored without being able to finish is written, a view behind the table gets what
//! it lacks. The acknowledgement of a repetition is not enough: a server killed between token and
//! part keeps the one without the other. The table must have the rows too; if it has not, then once
//! no earlier insert can still be running the missing rows go out under a token of the next round.
//!
//! Where rows of the range may be in the table under other tokens (the group was set back), no token
//! recognises them: a look decides first which rows are sent at all.
//!
//! A range that is refused is replaced by two, whose tokens know nothing of the whole's. So the whole
//! is given back only once no insert of it can still be running, and after a look: if the table has
//! some of its rows, whoever writes the parts looks before sending.

use super::Range;

/// Which deduplication token an insert carries: `epoch:table:topic:partition:from-to`, and from the
/// second round on `:2`, `:3`, … behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Round(u8);

impl Round {
    pub const FIRST: Round = Round(1);

    /// What the token ends in.
    pub fn suffix(self) -> String {
        match self.0 {
            1 => String::new(),
            round => format!(":{round}"),
        }
    }
}

/// Offsets of a range whose rows a look did not find.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Missing {
    /// Ascending and apart.
    runs: Vec<Range>,
}

impl Missing {
    /// `offsets` ascend; an offset may come more than once.
    pub fn of(offsets: impl IntoIterator<Item = i64>) -> Self {
        let mut runs: Vec<Range> = vec![];
        for from in offsets {
            let to = from + 1;
            match runs.last_mut() {
                Some(last) if last.to >= from => last.to = last.to.max(to),
                _ => runs.push(Range { from, to }),
            }
        }
        Missing { runs }
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub fn contains(&self, offset: i64) -> bool {
        let behind = self.runs.partition_point(|run| run.from <= offset);
        behind > 0 && offset < self.runs[behind - 1].to
    }
}

/// What may have happened to a range before this lane writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum History {
    /// Nobody has sent it, nor its rows: sealed and named by this lane just now.
    Unsent,
    /// A predecessor named it and may have sent it, under the same token.
    MaybeSent,
    /// Rows of it may be in the table under other tokens: the group was set back.
    MaybeWritten,
    /// Part of a range that was refused although some of its rows are in the table.
    PartlyWritten,
}

/// What the sink must do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Ask the table which rows of the range it has, then call [`Attempts::looked`].
    Look,
    /// Wait until no insert of the range that was sent earlier can still be running, then
    /// call [`Attempts::waited`].
    Wait,
    /// Insert the rows that [`Attempts::sends`] under the round's token, then call one of `acknowledged`,
    /// `unknown`, `refused`.
    Send(Round),
    /// Ask the table how many of the refused rows it has, then call [`Attempts::counted`].
    Count,
    /// Give the range back, to be replaced by two parts with this history, or its one row by a dead
    /// letter.
    Split(History),
    /// Every row is acknowledged and in the table.
    Settled,
}

/// Where one range stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attempts {
    state: State,
    round: Round,
    /// An earlier insert of this range may have left a token, a part, or both.
    sent_before: bool,
    /// An earlier insert of this range may still be running.
    may_run: bool,
    /// What goes out under the token of this round; `None`: the whole range.
    rows: Option<Missing>,
    /// Whether the table remembers tokens at all.
    has_tokens: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum State {
    /// Which rows are there under other tokens?
    Look,
    Send,
    /// Acknowledged, but after an earlier attempt: are the rows there?
    Verify,
    /// The token is there and the rows are not: wait out whatever may still be running.
    Wait,
    /// The look after the wait, which decides about the next round.
    LookAgain,
    Settled,
    /// Refused: wait out whatever may still be running.
    WaitToSplit,
    /// The look after a refusal.
    Count,
    Split(History),
}

impl Attempts {
    #[must_use]
    pub fn new(history: History) -> Self {
        let state = match history {
            History::Unsent | History::MaybeSent => State::Send,
            History::MaybeWritten | History::PartlyWritten => State::Look,
        };
        Attempts {
            state,
            round: Round::FIRST,
            sent_before: history != History::Unsent,
            may_run: matches!(history, History::MaybeSent | History::MaybeWritten),
            rows: None,
            has_tokens: true,
        }
    }

    /// The same before a table that remembers no tokens: a repetition would double what is there, so
    /// a look comes before each and sends only what is missing.
    #[must_use]
    pub fn without_tokens(self) -> Self {
        let state = if self.sent_before {
            State::Look
        } else {
            self.state
        };
        Attempts {
            state,
            has_tokens: false,
            ..self
        }
    }

    /// What to do now.
    #[must_use]
    pub fn next(&self) -> Step {
        match self.state {
            State::Look | State::Verify | State::LookAgain => Step::Look,
            State::Send => Step::Send(self.round),
            State::Wait | State::WaitToSplit => Step::Wait,
            State::Settled => Step::Settled,
            State::Count => Step::Count,
            State::Split(history) => Step::Split(history),
        }
    }

    /// Whether the row of this offset goes out under the token of this round.
    #[must_use]
    pub fn sends(&self, offset: i64) -> bool {
        self.rows.as_ref().is_none_or(|rows| rows.contains(offset))
    }

    /// The table was asked, and does not have the rows of these offsets.
    pub fn looked(&mut self, missing: Missing) {
        self.state = match (self.state, missing.is_empty()) {
            // Nothing is left to send: what is there was acknowledged under other tokens.
            (State::Look, true) => State::Settled,
            (State::Verify | State::LookAgain, true) => State::Settled,
            (State::Look, false) => {
                self.rows = Some(missing);
                State::Send
            }
            (State::Verify, false) => State::Wait,
            (State::LookAgain, false) => {
                self.rows = Some(missing);
                self.round = Round(self.round.0.saturating_add(1));
                State::Send
            }
            (other, _) => other,
        };
    }

    /// Whether rows that the next look finds are taken to be there for good: nothing that the look finds
    /// is sent, so that no acknowledgement comes after it.
    #[must_use]
    pub fn trusts_look(&self) -> bool {
        self.state == State::Look
    }

    /// Whether an insert of this range that was sent earlier may still be running.
    #[must_use]
    pub fn may_run(&self) -> bool {
        self.may_run
    }

    /// Whatever was sent earlier can no longer be running.
    pub fn waited(&mut self) {
        self.state = match self.state {
            State::Wait => State::LookAgain,
            State::WaitToSplit => State::Count,
            other => other,
        };
        self.may_run = false;
    }

    /// The server acknowledged the insert.
    pub fn acknowledged(&mut self) {
        self.state = if self.sent_before {
            State::Verify
        } else {
            State::Settled
        };
    }

    /// The insert failed or its answer was lost: it may be written or not, in part, or (`may_run`) still
    /// be running. Only its token tells, where the table remembers it.
    pub fn unknown(&mut self, may_run: bool) {
        self.sent_before = true;
        self.may_run |= may_run;
        if !self.has_tokens {
            self.state = State::Look;
        }
    }

    /// The server refused rows of the insert, which (`may_run`) may be running for all that its answer
    /// says.
    pub fn refused(&mut self, may_run: bool) {
        self.may_run |= may_run;
        self.state = if self.may_run {
            State::WaitToSplit
        } else {
            State::Count
        };
    }

    /// Of the rows that were refused, which were `sent`, so many are in the table.
    pub fn counted(&mut self, there: usize, sent: usize) {
        if there >= sent {
            // The table has taken them: the same rows are sent on under the same token.
            self.state = State::Send;
            self.unknown(false);
        } else if there == 0 && self.rows.is_none() {
            self.state = State::Split(History::Unsent);
        } else {
            self.state = State::Split(History::PartlyWritten);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(attempts: &Attempts) -> Vec<i64> {
        (0..12).filter(|offset| attempts.sends(*offset)).collect()
    }

    #[test]
    fn a_fresh_range_is_sent_once_and_believed() {
        let mut attempts = Attempts::new(History::Unsent);
        assert_eq!(attempts.next(), Step::Send(Round::FIRST));
        attempts.acknowledged();
        assert_eq!(attempts.next(), Step::Settled);
    }

    #[test]
    fn the_same_rows_are_sent_until_they_are_acknowledged_and_seen() {
        for history in [History::Unsent, History::MaybeSent] {
            let mut attempts = Attempts::new(history);
            for _ in 0..3 {
                assert_eq!(attempts.next(), Step::Send(Round::FIRST));
                assert!(attempts.sends(7));
                attempts.unknown(true);
            }
            attempts.acknowledged();
            assert_eq!(attempts.next(), Step::Look);
            assert!(!attempts.trusts_look(), "the rows were acknowledged");
            attempts.looked(Missing::default());
            assert_eq!(attempts.next(), Step::Settled);
        }
    }

    #[test]
    fn a_token_without_its_part_is_waited_out_and_its_rows_are_written_in_further_rounds() {
        let mut attempts = Attempts::new(History::MaybeSent);
        attempts.acknowledged();
        for round in 2..=3 {
            attempts.looked(Missing::of(3..8));
            assert_eq!(attempts.next(), Step::Wait);
            attempts.waited();
            assert_eq!(attempts.next(), Step::Look);
            attempts.looked(Missing::of(5..8));
            assert_eq!(attempts.next(), Step::Send(Round(round)));
            assert_eq!(sent(&attempts), [5, 6, 7]);
            attempts.unknown(false);
            assert_eq!(attempts.next(), Step::Send(Round(round)));
            assert_eq!(sent(&attempts), [5, 6, 7]);
            attempts.acknowledged();
        }
        attempts.looked(Missing::default());
        assert_eq!(attempts.next(), Step::Settled);
    }

    #[test]
    fn rows_that_appear_during_the_wait_are_not_sent_again() {
        let mut attempts = Attempts::new(History::MaybeSent);
        attempts.acknowledged();
        attempts.looked(Missing::of([5]));
        attempts.waited();
        attempts.looked(Missing::default());
        assert_eq!(attempts.next(), Step::Settled);
    }

    #[test]
    fn rows_under_other_tokens_are_left_out_and_what_is_left_out_does_not_change() {
        let mut attempts = Attempts::new(History::MaybeWritten);
        assert_eq!(attempts.next(), Step::Look);
        attempts.looked(Missing::of([7, 9]));
        for _ in 0..2 {
            assert_eq!(attempts.next(), Step::Send(Round::FIRST));
            assert_eq!(sent(&attempts), [7, 9]);
            attempts.unknown(false);
        }
        attempts.acknowledged();
        attempts.looked(Missing::of([9]));
        attempts.waited();
        attempts.looked(Missing::of([9]));
        assert_eq!(
            (attempts.next(), sent(&attempts)),
            (Step::Send(Round(2)), vec![9])
        );
        let mut all_there = Attempts::new(History::MaybeWritten);
        assert!(all_there.trusts_look());
        all_there.looked(Missing::default());
        assert_eq!(all_there.next(), Step::Settled);
    }

    #[test]
    fn a_table_without_tokens_is_looked_at_before_each_repetition() {
        let mut attempts = Attempts::new(History::Unsent).without_tokens();
        assert_eq!(attempts.next(), Step::Send(Round::FIRST));
        attempts.unknown(false);
        assert_eq!(attempts.next(), Step::Look);
        attempts.looked(Missing::of([4, 5]));
        assert_eq!(sent(&attempts), [4, 5]);
        attempts.unknown(false);
        assert_eq!(attempts.next(), Step::Look);
        attempts.looked(Missing::default());
        assert_eq!(attempts.next(), Step::Settled);

        let successor = Attempts::new(History::MaybeSent).without_tokens();
        assert_eq!(successor.next(), Step::Look);
    }

    #[test]
    fn a_refused_range_is_given_back_once_nothing_of_it_can_arrive() {
        let mut attempts = Attempts::new(History::Unsent);
        attempts.refused(false);
        assert_eq!(attempts.next(), Step::Count);
        attempts.counted(0, 5);
        assert_eq!(attempts.next(), Step::Split(History::Unsent));

        let unanswered = |attempts: &mut Attempts| attempts.unknown(true);
        let answered_by_a_gateway = |attempts: &mut Attempts| attempts.refused(true);
        for open in [unanswered, answered_by_a_gateway] {
            let mut attempts = Attempts::new(History::Unsent);
            open(&mut attempts);
            attempts.refused(false);
            assert_eq!(attempts.next(), Step::Wait);
            attempts.waited();
            assert_eq!(attempts.next(), Step::Count);
            assert!(!attempts.may_run());
        }
        for history in [History::MaybeSent, History::MaybeWritten] {
            let mut attempts = Attempts::new(history);
            attempts.refused(false);
            assert_eq!(attempts.next(), Step::Wait, "of a predecessor");
        }
        let mut part = Attempts::new(History::PartlyWritten);
        assert_eq!(part.next(), Step::Look);
        part.looked(Missing::of([3]));
        part.refused(false);
        assert_eq!(part.next(), Step::Count, "the whole was waited for");
    }

    #[test]
    fn rows_of_a_refused_range_that_are_there_are_looked_for_by_its_parts() {
        let mut attempts = Attempts::new(History::Unsent);
        attempts.refused(false);
        attempts.counted(2, 5);
        assert_eq!(attempts.next(), Step::Split(History::PartlyWritten));
        // Rows that were left out of the sending are there too.
        let mut attempts = Attempts::new(History::MaybeWritten);
        attempts.looked(Missing::of([4, 5]));
        attempts.refused(false);
        attempts.waited();
        attempts.counted(0, 2);
        assert_eq!(attempts.next(), Step::Split(History::PartlyWritten));
    }

    #[test]
    fn rows_that_are_all_there_although_they_are_refused_are_sent_on() {
        let mut attempts = Attempts::new(History::Unsent);
        attempts.refused(false);
        attempts.counted(5, 5);
        assert_eq!(attempts.next(), Step::Send(Round::FIRST));
        attempts.acknowledged();
        assert_eq!(attempts.next(), Step::Look);
    }

    #[test]
    fn missing_offsets_are_kept_as_runs() {
        let missing = Missing::of([1, 2, 2, 3, 7, 9, 10]);
        assert_eq!(missing.runs.len(), 3);
        let kept: Vec<i64> = (0..12).filter(|offset| missing.contains(*offset)).collect();
        assert_eq!(kept, [1, 2, 3, 7, 9, 10]);
        assert!(!missing.is_empty() && Missing::of([]).is_empty());
    }

    #[test]
    fn only_later_rounds_show_in_the_token() {
        assert_eq!(Round::FIRST.suffix(), "");
        assert_eq!(Round(2).suffix(), ":2");
    }
}
