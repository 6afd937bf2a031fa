//! A topic that is deleted and created again while it is read keeps its name, and its offsets begin
//! anew: librdkafka 2.12 reads on at the old offset, past what the new topic has there. So the lane
//! asks for the ids of its topics every two seconds, when anything odd is reported of one, and before
//! it names a range, sends rows of many records or begins a transaction: what was made of records is
//! written only when their topic was still the same after they were read.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Lane;
use super::operator::Operator;
use super::ownership::Ownership;
use super::start;
use crate::config::TopicSelector;
use crate::halt::Halt;
use crate::source::{TopicAnswer, TopicAnswers};

/// How often the ids are asked for while nothing happens.
const INTERVAL: Duration = Duration::from_secs(2);
/// The same where a test wants nobody to ask who has no rows to send.
const INTERVAL_OF_TESTS: Duration = Duration::from_secs(3600);
/// The same while one answer needs another, and after an error.
const INTERVAL_IN_DOUBT: Duration = Duration::from_millis(300);
/// An answer has some kilobytes for each topic, on either side: questions about a thousand of them are a
/// second apart.
const REST_PER_TOPIC: Duration = Duration::from_millis(1);
const REST_MAX: Duration = Duration::from_secs(1);
/// Another id, or none, counts when it is still so after this: brokers learn of changes one by one.
const CONFIRMED_AFTER: Duration = Duration::from_millis(250);
/// How long the client waits for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a range waits for its topic to be asked about. A broker that answers everything else and
/// not this must not hold the lane up for ever.
const UNANSWERED_MAX: Duration = Duration::from_secs(15);

/// For tests: ids are asked for before something is written, and at no other time.
fn is_asked_on_demand_only() -> bool {
    fail::fail_point!("topics_asked_on_demand", |_| true);
    false
}

/// What is known of one topic.
#[derive(Debug, Clone, Default)]
struct Topic {
    /// When the newest question was sent that was answered with the expected id.
    same_at: Option<Instant>,
    /// Since when it is another, and which.
    other: Option<(Instant, String)>,
    missing_since: Option<Instant>,
    /// When the newest question was sent whose answer confirmed that there is no topic.
    gone_at: Option<Instant>,
    /// Something odd was reported, and no question sent after that has been answered yet.
    odd_at: Option<Instant>,
    /// What was said of it instead of an id.
    refusal: Option<String>,
}

/// What one answer says.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
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
    fn judge(
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

    fn is_in_doubt(&self) -> bool {
        self.other.is_some() || self.missing_since.is_some() || self.odd_at.is_some()
    }

    /// Whether the topic was the same after `read_at`.
    fn covers(&self, read_at: Instant, now: Instant) -> bool {
        let is_same = self.same_at.is_some_and(|at| at >= read_at);
        let is_silent = !self.is_in_doubt() && now >= read_at + UNANSWERED_MAX;
        is_same || is_silent
    }

    /// Whether there was no topic after `read_at`: what was read of one that is gone was its own.
    fn is_gone_since(&self, read_at: Instant) -> bool {
        self.gone_at.is_some_and(|at| at >= read_at)
    }
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
    /// Topics that do not exist, as they were last told.
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

    /// Why a topic that somebody waits for is not known to be the one that was read.
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
    pub(super) fn may_have_changed(&self) -> bool {
        let may = |topic: &Topic| {
            topic.other.is_some() || topic.odd_at.is_some() && topic.missing_since.is_none()
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
                pipeline = self.pipeline.name,
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
        let named = self.pipeline.topics.iter().filter_map(|topic| match topic {
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
                    pipeline = self.pipeline.name,
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
            let expected = own.map(Ownership::topic_id);
            let topic = self.topic_watch.topics.entry(name.clone()).or_default();
            match topic.judge(expected, &answer, asked_at) {
                Verdict::Same => {}
                Verdict::Doubtful => self.topic_watch.soon(now + INTERVAL_IN_DOUBT),
                Verdict::Missing => missing.push(name),
                Verdict::Other(id) => {
                    let own = own.expect("another id is another than a partition of ours has");
                    return Err(start::changed_while_read(own, &self.pipeline.group_id, &id));
                }
            }
        }
        self.note_missing(missing);
        Ok(())
    }

    /// A topic that was deleted for good is waited for, and that is said.
    fn note_missing(&mut self, missing: Vec<String>) {
        if missing == self.topic_watch.missing {
            return;
        }
        for topic in &missing {
            if !self.topic_watch.missing.contains(topic) {
                let why = does_not_exist(topic);
                tracing::warn!(pipeline = self.pipeline.name, "{why}");
                self.shared.board.error(&why);
            }
        }
        self.board.set_missing_topics(missing.clone());
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
mod tests {
    use super::*;

    fn id(text: &str) -> TopicAnswer {
        TopicAnswer::Id(text.to_owned())
    }

    #[test]
    fn another_id_counts_when_it_is_said_twice_and_a_lagging_broker_changes_nothing() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut topic = Topic::default();
        assert_eq!(topic.judge(Some("a"), &id("a"), at(0)), Verdict::Same);
        assert_eq!(topic.judge(Some("a"), &id("b"), at(100)), Verdict::Doubtful);
        assert!(topic.is_in_doubt());
        // Too soon after, and of a broker that has not heard of it yet.
        assert_eq!(topic.judge(Some("a"), &id("b"), at(110)), Verdict::Doubtful);
        assert_eq!(topic.judge(Some("a"), &id("a"), at(400)), Verdict::Same);
        assert!(!topic.is_in_doubt());
        assert_eq!(topic.judge(Some("a"), &id("b"), at(500)), Verdict::Doubtful);
        // Created twice.
        assert_eq!(topic.judge(Some("a"), &id("c"), at(900)), Verdict::Doubtful);
        let again = topic.judge(Some("a"), &id("c"), at(1200));
        assert_eq!(again, Verdict::Other("c".into()));
    }

    #[test]
    fn a_missing_topic_is_said_once_it_is_missing_twice_and_its_successor_is_another() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut topic = Topic::default();
        let missing = TopicAnswer::Missing;
        assert_eq!(topic.judge(Some("a"), &missing, at(0)), Verdict::Doubtful);
        assert_eq!(topic.judge(Some("a"), &missing, at(300)), Verdict::Missing);
        assert_eq!(topic.judge(Some("a"), &id("b"), at(600)), Verdict::Doubtful);
        let again = topic.judge(Some("a"), &id("b"), at(900));
        assert_eq!(again, Verdict::Other("b".into()));
        // A broker that starts does not know its topics yet.
        let mut topic = Topic::default();
        assert_eq!(topic.judge(Some("a"), &missing, at(0)), Verdict::Doubtful);
        assert_eq!(topic.judge(Some("a"), &id("a"), at(300)), Verdict::Same);
        assert_eq!(topic.judge(Some("a"), &missing, at(600)), Verdict::Doubtful);
    }

    #[test]
    fn why_a_topic_is_not_confirmed_is_told_until_it_is() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut watch = TopicWatch::default();
        let answered = |watch: &mut TopicWatch, ms, answer: &TopicAnswer| {
            let topic = watch.topics.entry("t".into()).or_default();
            topic.judge(Some("a"), answer, at(ms));
        };
        assert_eq!(watch.why_unknown("t", start), None);
        answered(&mut watch, 0, &TopicAnswer::Unknown("no right".into()));
        let why = watch.why_unknown("t", start).expect("it is refused");
        assert!(
            why.contains("topic t: ") && why.contains("no right"),
            "{why}"
        );
        assert_eq!(watch.refused(), ["t"]);
        assert_eq!(watch.why_unknown("u", start), None);
        answered(&mut watch, 10, &id("a"));
        assert_eq!(
            (watch.why_unknown("t", start), watch.refused()),
            (None, vec![])
        );
        // All questions fail, or nobody answers.
        watch.unanswered = Some("transport".into());
        assert!(
            watch
                .why_unknown("t", start)
                .is_some_and(|why| why.contains("transport"))
        );
        watch.unanswered = None;
        watch.asked(start, 1);
        assert_eq!(watch.why_unknown("t", at(100)), None);
        let late = start + ANSWER_TIMEOUT;
        assert!(
            watch
                .why_unknown("t", late)
                .is_some_and(|why| why.contains("no broker"))
        );
        watch.missing = vec!["t".into()];
        let why = watch.why_unknown("t", start).expect("it is missing");
        assert!(why.contains("does not exist"), "{why}");
        assert_eq!(watch.refused(), ["t"]);
    }

    #[test]
    fn rows_without_a_name_are_written_once_their_topic_is_gone_for_good() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut watch = TopicWatch::default();
        let answered = |watch: &mut TopicWatch, ms, answer: &TopicAnswer| {
            let topic = watch.topics.entry("t".into()).or_default();
            topic.judge(Some("a"), answer, at(ms))
        };
        answered(&mut watch, 0, &id("a"));
        // Missing once may be a broker that starts.
        answered(&mut watch, 100, &TopicAnswer::Missing);
        assert!(!watch.covers_rows("t", at(50), at(110)));
        answered(&mut watch, 400, &TopicAnswer::Missing);
        assert!(watch.covers_rows("t", at(50), at(410)));
        assert!(watch.covers_rows("t", at(400), at(410)));
        // A range that is to be named has no broker that would keep its name.
        assert!(!watch.covers("t", at(50), at(40_000)));
        // What is read after that may be of a topic that was created again.
        assert!(!watch.covers_rows("t", at(410), at(40_000)));
        answered(&mut watch, 700, &id("b"));
        assert!(!watch.covers_rows("t", at(410), at(40_000)));
        assert!(watch.covers_rows("t", at(50), at(710)));
    }

    #[test]
    fn rows_of_several_topics_wait_for_each_of_them() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut watch = TopicWatch::default();
        let topics = ["left", "right"];
        let answered = |watch: &mut TopicWatch, topic: &str, ms| {
            watch.asked_at = None;
            let topic = watch.topics.entry(topic.to_owned()).or_default();
            topic.judge(Some("a"), &id("a"), at(ms))
        };
        for topic in topics {
            answered(&mut watch, topic, 0);
        }
        let covers =
            |watch: &mut TopicWatch, ms| watch.covers_all(topics.into_iter(), at(10), at(ms));
        assert!(!covers(&mut watch, 11) && watch.is_due(at(11)));
        answered(&mut watch, "left", 12);
        assert!(!covers(&mut watch, 13), "the right one has not answered");
        // An answer to a question that was sent before the last record was read says nothing.
        answered(&mut watch, "right", 9);
        assert!(!covers(&mut watch, 14));
        answered(&mut watch, "right", 15);
        assert!(covers(&mut watch, 16));
        // Of one that may have been created again nothing is sent, whatever the other says.
        let other = watch.topics.entry("left".to_owned()).or_default();
        other.judge(Some("a"), &id("b"), at(17));
        assert!(!watch.covers_all(topics.into_iter(), at(20), at(40_000)));
        assert!(watch.covers_all(["right"].into_iter(), at(20), at(40_000)));
    }

    #[test]
    fn ids_that_are_not_known_or_not_expected_change_nothing() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        for (expected, told) in [(Some("a"), "-"), (Some("-"), "b"), (None, "b")] {
            let mut topic = Topic::default();
            assert_eq!(topic.judge(expected, &id(told), now), Verdict::Same);
            assert_eq!(topic.judge(expected, &id(told), later), Verdict::Same);
        }
        let mut topic = Topic::default();
        let unknown = TopicAnswer::Unknown("away".into());
        assert_eq!(topic.judge(Some("a"), &unknown, now), Verdict::Doubtful);
        assert_eq!(topic.judge(Some("a"), &unknown, later), Verdict::Doubtful);
    }

    #[test]
    fn questions_about_many_topics_are_apart_however_many_ranges_wait() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        for (topics, rest_ms) in [(1, 1), (300, 300), (5_000, 1_000)] {
            let mut watch = TopicWatch::default();
            watch.asked(at(0), topics);
            watch.asked_at = None;
            assert!(!watch.covers("t", at(0), at(0)));
            assert!(!watch.is_due(at(rest_ms - 1)), "{topics}");
            assert!(watch.is_due(at(rest_ms)), "{topics}");
        }
    }

    #[test]
    fn a_range_is_written_once_its_topic_was_the_same_after_it_was_read() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut watch = TopicWatch::default();
        assert!(!watch.covers("t", at(0), at(0)) && watch.is_due(at(0)));
        watch.asked(at(0), 1);
        let answered = |watch: &mut TopicWatch, asked_at, answer: &str| {
            watch.asked_at = None;
            let topic = watch.topics.entry("t".into()).or_default();
            topic.judge(Some("a"), &id(answer), asked_at)
        };
        answered(&mut watch, at(0), "a");
        assert!(watch.covers("t", at(0), at(5)));
        // What is read later needs another question, which is due at once.
        assert!(!watch.covers("t", at(10), at(12)) && watch.is_due(at(12)));
        watch.doubt("t", at(13));
        assert!(watch.may_have_changed());
        // Sent before the odd thing was reported: says nothing of it.
        answered(&mut watch, at(12), "a");
        assert!(watch.covers("t", at(10), at(14)) && watch.may_have_changed());
        answered(&mut watch, at(14), "a");
        assert!(!watch.may_have_changed());
        // Nobody answers: a while is waited, unless it is in doubt.
        assert!(!watch.covers("t", at(20), at(14_000)));
        assert!(watch.covers("t", at(20), at(16_000)));
        answered(&mut watch, at(17_000), "b");
        assert!(!watch.covers("t", at(20), at(40_000)));
    }
}
