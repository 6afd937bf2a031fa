//! The dead letters of one pipeline, as they are shown, and as the log speaks of them.

use std::collections::{BTreeMap, VecDeque};

use super::status::DeadLetterStatus;
use super::stuck::SAY_AGAIN_AFTER_MS;

/// How many are shown.
const LETTERS_MAX: usize = 20;

/// What the log is to say: how many there were since it last spoke of the reason, and the newest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SaidLetters {
    pub(super) count: u64,
    pub(super) newest: DeadLetterStatus,
}

#[derive(Debug)]
struct OfReason {
    count: u64,
    said_count: u64,
    said_ms: u64,
    newest: DeadLetterStatus,
}

impl OfReason {
    fn say(&mut self, now_ms: u64) -> SaidLetters {
        let count = self.count - self.said_count;
        (self.said_count, self.said_ms) = (self.count, now_ms);
        SaidLetters {
            count,
            newest: self.newest.clone(),
        }
    }
}

/// How many there were of each reason, and the last ones.
#[derive(Debug, Default)]
pub(super) struct Letters {
    by_reason: BTreeMap<&'static str, OfReason>,
    last: VecDeque<DeadLetterStatus>,
}

impl Letters {
    /// The first of its reason is to be said at once.
    pub(super) fn add(&mut self, letter: DeadLetterStatus, now_ms: u64) -> Option<SaidLetters> {
        self.last.truncate(LETTERS_MAX - 1);
        self.last.push_front(letter.clone());
        match self.by_reason.get_mut(letter.reason) {
            Some(known) => {
                known.count += 1;
                known.newest = letter;
                None
            }
            None => {
                let mut first = OfReason {
                    count: 1,
                    said_count: 0,
                    said_ms: now_ms,
                    newest: letter,
                };
                let said = first.say(now_ms);
                self.by_reason.insert(said.newest.reason, first);
                Some(said)
            }
        }
    }

    /// What else is to be said: once a minute of each reason, or now where `all` is to be said.
    pub(super) fn due(&mut self, now_ms: u64, all: bool) -> Vec<SaidLetters> {
        let unsaid = self.by_reason.values_mut().filter(|reason| {
            let is_due = all || now_ms.saturating_sub(reason.said_ms) >= SAY_AGAIN_AFTER_MS;
            is_due && reason.count > reason.said_count
        });
        unsaid.map(|reason| reason.say(now_ms)).collect()
    }

    /// The newest of the most frequent reason, and how many had it.
    pub(super) fn most_frequent(&self) -> Option<(u64, DeadLetterStatus)> {
        let most = self.by_reason.values().max_by_key(|known| known.count)?;
        Some((most.count, most.newest.clone()))
    }

    /// By reason, and the last ones, newest first.
    pub(super) fn status(&self) -> (BTreeMap<&'static str, u64>, Vec<DeadLetterStatus>) {
        let counts = self.by_reason.iter();
        (
            counts
                .map(|(reason, known)| (*reason, known.count))
                .collect(),
            self.last.iter().cloned().collect(),
        )
    }

    /// The address of the newest.
    pub(super) fn newest_address(&self) -> Option<String> {
        self.last.front().map(|letter| letter.address.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::status::Moment;
    use super::*;

    fn letter(reason: &'static str, offset: u64) -> DeadLetterStatus {
        DeadLetterStatus {
            address: format!("t:0:{offset}"),
            reason,
            detail: "x".to_owned(),
            at: Moment(0),
        }
    }

    fn told(said: &SaidLetters) -> (&'static str, u64, &str) {
        (said.newest.reason, said.count, &said.newest.address)
    }

    #[test]
    fn the_first_of_a_reason_is_said_with_its_address_then_the_count_once_a_minute() {
        let mut letters = Letters::default();
        let first = letters.add(letter("invalid_json", 5), 1_000).expect("said");
        assert_eq!(told(&first), ("invalid_json", 1, "t:0:5"));
        for offset in 6..106 {
            assert_eq!(letters.add(letter("invalid_json", offset), 2_000), None);
        }
        let other = letters
            .add(letter("missing_field", 106), 3_000)
            .expect("said");
        assert_eq!(told(&other), ("missing_field", 1, "t:0:106"));
        assert_eq!(letters.due(60_999, false), []);
        let due = letters.due(61_000, false);
        assert_eq!(
            due.iter().map(told).collect::<Vec<_>>(),
            [("invalid_json", 100, "t:0:105")]
        );
        // Nothing has come since.
        assert_eq!(letters.due(500_000, false), []);
        letters.add(letter("missing_field", 107), 500_001);
        assert_eq!(letters.due(500_001, false).len(), 1);
    }

    #[test]
    fn a_pipeline_that_ends_says_what_it_has_not_said() {
        let mut letters = Letters::default();
        for offset in 0..3 {
            letters.add(letter("invalid_json", offset), 0);
        }
        let rest = letters.due(1, true);
        assert_eq!(
            rest.iter().map(told).collect::<Vec<_>>(),
            [("invalid_json", 2, "t:0:2")]
        );
        assert_eq!(letters.due(1, true), []);
        assert_eq!(letters.newest_address().as_deref(), Some("t:0:2"));
    }
}
