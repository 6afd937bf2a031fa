//! What is known of one topic.

use std::time::{Duration, Instant};

use crate::source::TopicAnswer;

/// Another id, or none, counts when it is still so after this: brokers learn of changes one by one.
const CONFIRMED_AFTER: Duration = Duration::from_millis(250);
/// How long a range waits for its topic to be asked about. A broker that answers everything else and
/// not this must not hold the lane up for ever.
const UNANSWERED_MAX: Duration = Duration::from_secs(15);

/// What is known of one topic.
#[derive(Debug, Clone, Default)]
pub(super) struct Topic {
    /// When the newest question was sent that was answered with the expected id.
    pub(super) same_at: Option<Instant>,
    /// Since when it is another, and which.
    pub(super) other: Option<(Instant, String)>,
    pub(super) missing_since: Option<Instant>,
    /// When the newest question was sent whose answer confirmed that there is no topic.
    pub(super) gone_at: Option<Instant>,
    /// Something odd was reported, and no question sent after that has been answered yet.
    pub(super) odd_at: Option<Instant>,
    /// What was said of it instead of an id.
    pub(super) refusal: Option<String>,
}

/// What one answer says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Same,
    /// To be asked again.
    Doubtful,
    /// Twice in a row: another id.
    Other(String),
    /// Twice in a row: no topic.
    Missing,
}

impl Topic {
    /// Takes the answer to a question that was sent at `asked_at`. `expected` is the id that the topic
    /// had when its partitions began; `None` where none of them is ours.
    pub(super) fn judge(
        &mut self,
        expected: Option<&str>,
        answer: &TopicAnswer,
        asked_at: Instant,
    ) -> Verdict {
        let known = |id: &str| id != "-";
        match answer {
            TopicAnswer::Id(id) if expected.is_some_and(|e| known(e) && known(id) && e != id) => {
                self.missing_since = None;
                match &self.other {
                    Some((since, other)) if other == id && asked_at >= *since + CONFIRMED_AFTER => {
                        Verdict::Other(id.clone())
                    }
                    Some((_, other)) if other == id => Verdict::Doubtful,
                    _ => {
                        self.other = Some((asked_at, id.clone()));
                        Verdict::Doubtful
                    }
                }
            }
            TopicAnswer::Id(_) => {
                self.refusal = None;
                self.other = None;
                self.missing_since = None;
                self.same_at = Some(asked_at);
                self.odd_at = self.odd_at.filter(|at| *at > asked_at);
                Verdict::Same
            }
            TopicAnswer::Missing => {
                let since = *self.missing_since.get_or_insert(asked_at);
                if asked_at >= since + CONFIRMED_AFTER {
                    self.gone_at = Some(asked_at);
                    Verdict::Missing
                } else {
                    Verdict::Doubtful
                }
            }
            TopicAnswer::Unknown(why) => {
                self.refusal = Some(why.clone());
                Verdict::Doubtful
            }
        }
    }

    pub(super) fn is_in_doubt(&self) -> bool {
        self.other.is_some() || self.missing_since.is_some() || self.odd_at.is_some()
    }

    /// Whether something odd was reported that no answer has explained yet. Where nobody answers it counts for a
    /// while.
    pub(super) fn is_odd(&self, now: Instant) -> bool {
        self.odd_at.is_some_and(|at| now < at + UNANSWERED_MAX)
    }

    /// Whether the topic was the same after `read_at`.
    pub(super) fn covers(&self, read_at: Instant, now: Instant) -> bool {
        let is_same = self.same_at.is_some_and(|at| at >= read_at);
        let is_in_doubt = self.other.is_some() || self.missing_since.is_some() || self.is_odd(now);
        let is_silent = !is_in_doubt && now >= read_at + UNANSWERED_MAX;
        is_same || is_silent
    }

    /// Whether there was no topic after `read_at`: what was read of one that is gone was its own.
    pub(super) fn is_gone_since(&self, read_at: Instant) -> bool {
        self.gone_at.is_some_and(|at| at >= read_at)
    }
}
