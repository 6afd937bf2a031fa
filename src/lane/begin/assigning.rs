//! Partitions that were given to us and have not begun, and what is being asked about them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::ownership::{Restored, Task};
use super::partition::Found;
use super::topic::TopicFacts;
use crate::sink::Backoff;
use crate::source::TopicPartition;

/// Questions of a lane that are under way at once, about topics and about partitions each.
const AT_ONCE: usize = 8;
/// Of these so many may be asked again after a failure: what was just assigned does not wait for it.
const AT_ONCE_AGAIN: usize = 4;
/// Partitions of which everything is known wait so long for others, to begin in one call: each call sets
/// the client back to where the lane stands, in every partition that is being read. Longer each time, as
/// long as new ones are asked about.
const TOGETHER_WITHIN: Duration = Duration::from_millis(250);
const TOGETHER_WITHIN_MAX: Duration = Duration::from_secs(2);
/// What was found out about a topic holds so long.
pub(super) const FACTS_FRESH: Duration = Duration::from_secs(5);
/// Partitions that were given to us and have not begun.
#[derive(Debug)]
pub(in super::super) struct Assigning<S> {
    pub(super) unbegun: Vec<Unbegun<S>>,
    /// What is known of their topics.
    pub(super) topics: HashMap<Arc<str>, TopicStep>,
    pub(super) opening: Opening,
    /// The client waits for the answer to the group's assignment.
    pub(in super::super) is_unanswered: bool,
    /// The topic's partitions are all there, whatever the group gave us.
    pub(super) is_whole: bool,
    /// Nothing is asked before this, by the same backoff.
    pub(super) not_before: Option<Instant>,
    pub(super) backoff: Backoff,
    /// Since when everything is known of one that has not begun.
    pub(super) known_since: Option<Instant>,
    together_within: Duration,
    pub(super) last_question: u64,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Unbegun<S> {
    pub(super) partition: TopicPartition,
    /// The client has it: it is read again from its committed offset.
    pub(super) is_again: bool,
    pub(super) step: Step<S>,
    pub(super) backoff: Backoff,
    pub(super) not_before: Instant,
    /// Snapshots from here on are not readable.
    pub(super) snapshots_below: i64,
}

/// One of which everything is known.
#[derive(Debug)]
pub(super) struct Known<S> {
    pub(super) partition: TopicPartition,
    pub(super) is_again: bool,
    pub(super) facts: Box<(Found, Restored<S>)>,
}

#[derive(Debug)]
pub(super) enum Step<S> {
    Waiting,
    Asking(Question),
    Known(Box<(Found, Restored<S>)>),
}

#[derive(Debug)]
pub(super) struct TopicStep {
    pub(super) facts: Option<(Arc<TopicFacts>, Instant)>,
    pub(super) asking: Option<Question>,
    pub(super) backoff: Backoff,
    pub(super) not_before: Instant,
}

impl TopicStep {
    pub(super) fn fresh(&self, now: Instant) -> Option<&Arc<TopicFacts>> {
        let facts = self.facts.as_ref();
        let fresh = facts.filter(|(_, at)| now < *at + FACTS_FRESH);
        fresh.map(|(facts, _)| facts)
    }
}

/// Whether a member of the group has begun to read.
#[derive(Debug)]
pub(super) enum Opening {
    NotAsked,
    Asking(Question),
    /// Nobody had, then.
    NotBegun(Instant),
}

/// A question that is under way. Nobody waits for the answer of one that is dropped.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) number: u64,
    pub(super) since: Instant,
    pub(super) _task: Task,
}

impl<S> Default for Assigning<S> {
    fn default() -> Self {
        Assigning {
            unbegun: vec![],
            topics: HashMap::new(),
            opening: Opening::NotAsked,
            is_unanswered: false,
            is_whole: false,
            not_before: None,
            backoff: Backoff::new(),
            known_since: None,
            together_within: TOGETHER_WITHIN,
            last_question: 0,
        }
    }
}

impl<S> Assigning<S> {
    /// Forgets everything. Answers that are still to come are dropped.
    pub(in super::super) fn take(&mut self) -> Self {
        let last_question = self.last_question;
        let emptied = Assigning {
            last_question,
            ..Assigning::default()
        };
        std::mem::replace(self, emptied)
    }

    /// Whether everything that is ours has begun.
    pub(in super::super) fn is_over(&self) -> bool {
        self.unbegun.is_empty() && !self.is_unanswered
    }

    /// Whether an answer is awaited, and not only the time to ask again.
    pub(in super::super) fn is_under_way(&self) -> bool {
        let is_waiting = |unbegun: &Unbegun<S>| matches!(unbegun.step, Step::Waiting);
        self.is_unanswered
            || matches!(self.opening, Opening::Asking(_))
            || self.topics.values().any(|topic| topic.asking.is_some())
            || !self.unbegun.iter().all(is_waiting)
    }

    pub(in super::super) fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.unbegun.iter().map(|unbegun| &unbegun.partition)
    }

    /// Those about which a question has been under way for so long.
    pub(in super::super) fn unanswered(
        &self,
        now: Instant,
        for_at_least: Duration,
    ) -> Vec<TopicPartition> {
        let is_slow = |question: &Question| now >= question.since + for_at_least;
        let is_opening = matches!(&self.opening, Opening::Asking(question) if is_slow(question));
        let is_unanswered = |unbegun: &&Unbegun<S>| {
            let topic = self.topics.get(&unbegun.partition.topic);
            let topic = topic.and_then(|topic| topic.asking.as_ref());
            match &unbegun.step {
                Step::Asking(question) => is_slow(question),
                Step::Waiting => is_opening || topic.is_some_and(is_slow),
                Step::Known(_) => false,
            }
        };
        let unanswered = self.unbegun.iter().filter(is_unanswered);
        unanswered
            .map(|unbegun| unbegun.partition.clone())
            .collect()
    }

    pub(super) fn push(&mut self, partition: TopicPartition, is_again: bool, not_before: Instant) {
        if self.partitions().any(|known| *known == partition) {
            return;
        }
        self.unbegun.push(Unbegun {
            partition,
            is_again,
            step: Step::Waiting,
            backoff: Backoff::new(),
            not_before,
            snapshots_below: i64::MAX,
        });
    }

    /// Those that failed are asked about behind all others: few questions are under way at a time, and
    /// answers that take long must not keep the rest from being asked about.
    pub(super) fn ask_last(&mut self, failed: impl Fn(&TopicPartition) -> bool) {
        // Stable: among equals the order stays.
        self.unbegun
            .sort_by_key(|unbegun| failed(&unbegun.partition));
    }

    /// Questions about partitions that are under way.
    pub(super) fn asking(&self) -> Asking {
        let asking = |unbegun: &&Unbegun<S>| matches!(unbegun.step, Step::Asking(_));
        let again = |unbegun: &Unbegun<S>| unbegun.backoff.attempts() > 0;
        Asking::of(self.unbegun.iter().filter(asking).map(again))
    }

    /// The same about topics.
    pub(super) fn asking_about_topics(&self) -> Asking {
        let all = self.topics.values().filter(|topic| topic.asking.is_some());
        Asking::of(all.map(|topic| topic.backoff.attempts() > 0))
    }

    /// Whether those of which everything is known may begin.
    pub(super) fn is_ready(&self, together: bool, now: Instant) -> bool {
        let is_known = |unbegun: &Unbegun<S>| matches!(unbegun.step, Step::Known(_));
        if together {
            return self.unbegun.iter().all(is_known);
        }
        let Some(since) = self.known_since else {
            return false;
        };
        let is_new = |unbegun: &Unbegun<S>| !is_known(unbegun) && unbegun.backoff.attempts() == 0;
        now >= since + self.together_within || !self.unbegun.iter().any(is_new)
    }

    /// Those of which everything is known begin.
    pub(super) fn take_known(&mut self) -> Vec<Known<S>> {
        self.known_since = None;
        let mut known = vec![];
        for unbegun in std::mem::take(&mut self.unbegun) {
            match unbegun.step {
                Step::Known(facts) => known.push(Known {
                    partition: unbegun.partition,
                    is_again: unbegun.is_again,
                    facts,
                }),
                step => self.unbegun.push(Unbegun { step, ..unbegun }),
            }
        }
        self.together_within = if self.unbegun.is_empty() {
            TOGETHER_WITHIN
        } else {
            (self.together_within * 2).min(TOGETHER_WITHIN_MAX)
        };
        known
    }

    /// All are asked about again, after a while.
    pub(super) fn wait_together(&mut self, now: Instant) {
        for unbegun in &mut self.unbegun {
            unbegun.step = Step::Waiting;
        }
        self.topics.clear();
        self.known_since = None;
        self.not_before = Some(now + self.backoff.next_wait());
    }
}

/// Questions of one kind that are under way.
#[derive(Debug, Default)]
pub(super) struct Asking {
    all: usize,
    /// After a failure.
    again: usize,
}

impl Asking {
    fn of(questions: impl Iterator<Item = bool>) -> Self {
        let mut asking = Asking::default();
        for is_again in questions {
            asking.add(is_again);
        }
        asking
    }

    pub(super) fn add(&mut self, is_again: bool) {
        self.all += 1;
        self.again += usize::from(is_again);
    }

    pub(super) fn is_full(&self) -> bool {
        self.all >= AT_ONCE
    }

    /// Whether there is room for one more.
    pub(super) fn has_room(&self, is_again: bool) -> bool {
        !self.is_full() && (!is_again || self.again < AT_ONCE_AGAIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(partition: i32) -> TopicPartition {
        TopicPartition {
            topic: "t".into(),
            partition,
        }
    }

    #[test]
    fn what_failed_leaves_room_for_what_was_just_assigned() {
        for (all, again, is_again, expected) in [
            (0, 0, true, true),
            (AT_ONCE_AGAIN, AT_ONCE_AGAIN, true, false),
            (AT_ONCE_AGAIN, AT_ONCE_AGAIN, false, true),
            (AT_ONCE - 1, 0, true, true),
            (AT_ONCE, 0, false, false),
            (AT_ONCE, AT_ONCE_AGAIN, true, false),
        ] {
            let asking = Asking { all, again };
            assert_eq!(asking.has_room(is_again), expected, "{asking:?}");
        }
    }

    #[test]
    fn those_that_are_known_wait_a_moment_for_new_ones_and_never_for_one_that_failed() {
        let now = Instant::now();
        let mut assigning = Assigning::<()>::default();
        assert!(assigning.is_over() && assigning.is_ready(true, now));
        for number in [0, 1, 1] {
            assigning.push(partition(number), false, now);
        }
        assert_eq!(assigning.partitions().count(), 2);
        assert!(!assigning.is_ready(false, now) && !assigning.is_ready(true, now));
        // One is known, and nobody has asked about the other one yet.
        assigning.known_since = Some(now);
        assert!(!assigning.is_ready(false, now));
        assert!(assigning.is_ready(false, now + TOGETHER_WITHIN));
        for unbegun in &mut assigning.unbegun {
            unbegun.backoff.next_wait();
        }
        assert!(assigning.is_ready(false, now));
        // Where all are needed together, all are waited for.
        assert!(!assigning.is_ready(true, now + TOGETHER_WITHIN));
        assigning.wait_together(now);
        assert!(assigning.known_since.is_none() && assigning.not_before.is_some());
    }
}
