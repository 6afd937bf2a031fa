//! A topic that is deleted and created again while it is read keeps its name, and its offsets begin
//! anew: librdkafka 2.12 reads on at the old offset, past what the new topic has there. So the lane
//! asks for the ids of its topics every two seconds, when anything odd is reported of one, and before
//! it names a range, sends rows of many records or begins a transaction: what was made of records is
//! written only when their topic was still the same after they were read.

mod topic;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use self::topic::{Topic, Verdict};
use super::Lane;
use super::operator::Operator;
use super::start;
use crate::config::TopicSelector;
use crate::halt::Halt;
use crate::source::TopicAnswers;

/// How often the ids are asked for while nothing happens.
const INTERVAL: Duration = Duration::from_secs(2);
/// The same in tests where ids are asked for only before rows are sent.
const INTERVAL_OF_TESTS: Duration = Duration::from_secs(3600);
/// The same while one answer needs another, and after an error.
const INTERVAL_IN_DOUBT: Duration = Duration::from_millis(300);
/// An answer has some kilobytes for each topic, on either side: questions about a thousand of them are a
/// second apart.
const REST_PER_TOPIC: Duration = Duration::from_millis(1);
const REST_MAX: Duration = Duration::from_secs(1);
/// How long the client waits for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// For tests: ids are asked for before something is written, and at no other time.
fn is_asked_on_demand_only() -> bool {
    fail::fail_point!("topics_asked_on_demand", |_| true);
    false
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct TopicWatch {
    topics: HashMap<String, Topic>,
    /// When the question was sent whose answer is awaited.
    asked_at: Option<Instant>,
    next_at: Option<Instant>,
    /// No question is sent before this, however many ranges wait for one.
    not_before: Option<Instant>,
    /// Topics that do not exist, as last reported.
    missing: Vec<String>,
    /// Why the last question was not answered.
    unanswered: Option<String>,
}

impl TopicWatch {
    /// Something odd was reported of a topic: its id is asked for at once.
    pub(super) fn doubt(&mut self, topic: &str, now: Instant) {
        if is_asked_on_demand_only() {
            return;
        }
        match self.topics.get_mut(topic) {
            Some(known) => known.odd_at = Some(now),
            None => {
                let odd = Topic {
                    odd_at: Some(now),
                    ..Topic::default()
                };
                self.topics.insert(topic.to_owned(), odd);
            }
        }
        self.soon(now);
    }

    fn soon(&mut self, now: Instant) {
        self.next_at = Some(self.next_at.map_or(now, |at| at.min(now)));
    }

    fn is_due(&self, now: Instant) -> bool {
        let is_lost = |at: Instant| now > at + 2 * ANSWER_TIMEOUT;
        self.asked_at.is_none_or(is_lost)
            && self.next_at.is_none_or(|at| now >= at)
            && self.not_before.is_none_or(|at| now >= at)
    }

    fn asked(&mut self, now: Instant, topics: usize) {
        self.asked_at = Some(now);
        let interval = if is_asked_on_demand_only() {
            INTERVAL_OF_TESTS
        } else {
            INTERVAL
        };
        self.next_at = Some(now + interval);
        let topics = u32::try_from(topics).unwrap_or(u32::MAX);
        self.not_before = Some(now + (topics * REST_PER_TOPIC).min(REST_MAX));
    }

    /// Topics that do not exist, or about which the broker refuses to tell.
    pub(super) fn refused(&self) -> Vec<String> {
        let refused = self.topics.iter();
        let refused = refused.filter(|(_, topic)| topic.refusal.is_some());
        let mut all = self.missing.clone();
        all.extend(refused.map(|(name, _)| name.clone()));
        all.sort();
        all
    }

    /// Why it is not known that a topic is still the one that was read.
    pub(super) fn why_unknown(&self, name: &str, now: Instant) -> Option<String> {
        if self.missing.iter().any(|missing| missing == name) {
            return Some(does_not_exist(name));
        }
        let topic = self.topics.get(name);
        let refused = topic.and_then(|topic| topic.refusal.clone());
        let is_lost = self.asked_at.is_some_and(|at| now >= at + ANSWER_TIMEOUT);
        let no_answer = || "no broker answers the question about its id".to_owned();
        let why = refused.or_else(|| self.unanswered.clone());
        let why = why.or_else(|| is_lost.then(no_answer))?;
        Some(format!("topic {name}: its id could not be read: {why}"))
    }

    /// Another client: what the old one was asked will not be answered.
    pub(super) fn restart(&mut self) {
        *self = TopicWatch::default();
    }

    /// Whether a topic may be another than the one that was read. What was read of one that is gone was
    /// its own.
    pub(super) fn may_have_changed(&self, now: Instant) -> bool {
        let may = |topic: &Topic| {
            topic.other.is_some() || topic.is_odd(now) && topic.missing_since.is_none()
        };
        self.topics.values().any(may)
    }

    /// Whether what was read of a topic until `read_at` is known to be of that very topic; if not, it is
    /// asked for.
    pub(super) fn covers(&mut self, topic: &str, read_at: Instant, now: Instant) -> bool {
        let topic = self.topics.get(topic);
        let is_covered = topic.map_or_else(
            || Topic::default().covers(read_at, now),
            |topic| topic.covers(read_at, now),
        );
        if !is_covered && self.asked_at.is_none_or(|asked_at| asked_at < read_at) {
            let is_failing = topic.is_some_and(Topic::is_in_doubt);
            let at = if is_failing {
                now + INTERVAL_IN_DOUBT
            } else {
                now
            };
            self.soon(at);
        }
        is_covered
    }

    /// The same for rows that are written without a name, which no successor of the topic would look for.
    pub(super) fn covers_rows(&mut self, topic: &str, read_at: Instant, now: Instant) -> bool {
        let known = self.topics.get(topic);
        known.is_some_and(|topic| topic.is_gone_since(read_at)) || self.covers(topic, read_at, now)
    }

    /// The same of rows that are made of records of all these topics.
    pub(super) fn covers_all<'t>(
        &mut self,
        topics: impl Iterator<Item = &'t str>,
        read_at: Instant,
        now: Instant,
    ) -> bool {
        // Every topic that is not covered is asked for.
        let uncovered = topics.filter(|topic| !self.covers_rows(topic, read_at, now));
        uncovered.count() == 0
    }
}

impl<O: Operator> Lane<O> {
    /// Asks for the ids of topics when it is time, and takes the answers.
    pub(super) fn watch_topics(&mut self, now: Instant) -> Result<(), Halt> {
        while let Some(answers) = self.consumer().topic_answers() {
            self.topics_answered(answers, now)?;
        }
        if !self.topic_watch.is_due(now) {
            return Ok(());
        }
        let topics = self.watched_topics();
        self.topic_watch
            .topics
            .retain(|name, _| topics.contains(name));
        self.topic_watch.asked(now, topics.len());
        if topics.is_empty() {
            self.topic_watch.asked_at = None;
            return Ok(());
        }
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        if let Err(error) = self.consumer().ask_about_topics(&names, ANSWER_TIMEOUT) {
            tracing::warn!(
                pipeline = self.context.pipeline.name,
                error,
                "topics not asked about"
            );
            self.topic_watch.asked_at = None;
        }
        Ok(())
    }

    /// Those that are read here, and those that should be there to be read.
    fn watched_topics(&self) -> Vec<String> {
        let owned = self.owned.iter().map(|own| own.partition.topic.to_string());
        let named = self
            .context
            .pipeline
            .topics
            .iter()
            .filter_map(|topic| match topic {
                TopicSelector::Name(name) => Some(name.clone()),
                TopicSelector::Pattern(_) => None,
            });
        let mut topics: Vec<String> = owned.chain(named).collect();
        topics.sort();
        topics.dedup();
        topics
    }

    fn topics_answered(&mut self, answers: TopicAnswers, now: Instant) -> Result<(), Halt> {
        let Some(asked_at) = self.topic_watch.asked_at.take() else {
            return Ok(());
        };
        let answers = match answers {
            Ok(answers) => answers,
            Err(error) => {
                self.topic_watch.unanswered = Some(error.clone());
                tracing::debug!(
                    pipeline = self.context.pipeline.name,
                    error,
                    "ids of topics not known"
                );
                self.topic_watch.next_at = Some(now + INTERVAL_IN_DOUBT);
                return Ok(());
            }
        };
        self.topic_watch.unanswered = None;
        let mut missing = vec![];
        for (name, answer) in answers {
            let own = self.owned.iter().find(|o| *o.partition.topic == *name);
            let expected = own.map(|own| &*own.commits.topic_id);
            let topic = self.topic_watch.topics.entry(name.clone()).or_default();
            match topic.judge(expected, &answer, asked_at) {
                Verdict::Same => {}
                Verdict::Doubtful => self.topic_watch.soon(now + INTERVAL_IN_DOUBT),
                Verdict::Missing => missing.push(name),
                Verdict::Other(id) => {
                    let own = own.expect("another id is another than a partition of ours has");
                    let read = start::ReadTopic {
                        partition: &own.partition,
                        group_id: &self.context.pipeline.group_id,
                        table: &own.commits.table,
                        layout: own.commits.layout,
                    };
                    return Err(start::changed_while_read(read, &own.commits.topic_id, &id));
                }
            }
        }
        self.note_missing(missing);
        Ok(())
    }

    /// Reports topics that were deleted. The lane waits for them.
    fn note_missing(&mut self, missing: Vec<String>) {
        if missing == self.topic_watch.missing {
            return;
        }
        for topic in &missing {
            if !self.topic_watch.missing.contains(topic) {
                let why = does_not_exist(topic);
                tracing::warn!(pipeline = self.context.pipeline.name, "{why}");
                self.context.shared.board.error(&why);
            }
        }
        self.context.board.set_missing_topics(missing.clone());
        self.topic_watch.missing = missing;
    }
}

fn does_not_exist(topic: &str) -> String {
    format!(
        "topic {topic} does not exist any more: create it again, or take it out of pipeline.topics \
         (waiting for it)"
    )
}

#[cfg(test)]
mod tests;
