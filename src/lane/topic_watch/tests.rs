//! Which topics are known to be the ones that were read.

use super::*;
use crate::source::TopicAnswer;

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
    let covers = |watch: &mut TopicWatch, ms| watch.covers_all(topics.into_iter(), at(10), at(ms));
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
    assert!(watch.may_have_changed(at(13)));
    // Sent before the odd thing was reported: says nothing of it.
    answered(&mut watch, at(12), "a");
    assert!(watch.covers("t", at(10), at(14)) && watch.may_have_changed(at(14)));
    answered(&mut watch, at(14), "a");
    assert!(!watch.may_have_changed(at(14)));
    // Nobody answers: a while is waited, unless it is in doubt.
    assert!(!watch.covers("t", at(20), at(14_000)));
    assert!(watch.covers("t", at(20), at(16_000)));
    answered(&mut watch, at(17_000), "b");
    assert!(!watch.covers("t", at(20), at(40_000)));
}

#[test]
fn what_is_odd_holds_a_range_for_a_while_only_where_nobody_answers() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut watch = TopicWatch::default();
    let topic = watch.topics.entry("t".into()).or_default();
    topic.judge(Some("a"), &id("a"), at(0));
    watch.doubt("t", at(10_000));
    assert!(!watch.covers("t", at(5_000), at(20_000)) && watch.may_have_changed(at(20_000)));
    assert!(watch.covers("t", at(5_000), at(25_000)) && !watch.may_have_changed(at(25_000)));
    // It is reported again.
    watch.doubt("t", at(26_000));
    assert!(!watch.covers("t", at(5_000), at(40_000)) && watch.may_have_changed(at(40_000)));
}
