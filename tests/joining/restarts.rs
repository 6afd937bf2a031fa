//! What one run of a join leaves to the next.

use std::collections::BTreeMap;

use sandbox::topic::{self, Record};

use crate::support::joins::{Joins, Kind, event_id, instant_ms};
use crate::support::{EVENT_TIME_MS, Job};

const SECOND: i64 = 1_000;

/// One partition, a delay of ten seconds, profiles of five minutes.
fn job(name: &str) -> Job {
    let job = Job::join(name);
    job.create_join_topics(1);
    job
}

/// Events of user 7 at these seconds, each called by its number.
fn happen(job: &Job, events: &[(&str, i64)]) {
    let records = events.iter().map(|(id, second)| {
        let time_ms = EVENT_TIME_MS + second * SECOND;
        let text = format!(r#"{{"event_id":"{id}","user_id":7,"timestamp":{time_ms}}}"#);
        Record::new(text)
            .key("7")
            .partition(0)
            .timestamp_ms(time_ms)
    });
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
}

/// Profiles of user 7 at these seconds.
fn update(job: &Job, seconds: &[i64]) {
    let records = seconds.iter().map(|second| {
        let time_ms = EVENT_TIME_MS + second * SECOND;
        let text = format!(r#"{{"user_id":7,"email":"at-{second}","updated_at":{time_ms}}}"#);
        Record::new(text)
            .key("7")
            .partition(0)
            .timestamp_ms(time_ms)
    });
    topic::produce(job.bootstrap(), job.right_topic(), records).expect("records");
}

/// Each joined event in the order of the output, and the second of its profile.
fn joined(job: &Job) -> Vec<(String, Option<i64>)> {
    let joined = job.joined();
    let one = |record: &topic::Received| {
        let value = record.value.as_deref().expect("a value");
        let value: serde_json::Value = serde_json::from_slice(value).expect("JSON");
        let updated = instant_ms(&value["profile_updated_at"]);
        let second = updated.map(|ms| (ms - EVENT_TIME_MS) / SECOND);
        (event_id(record), second)
    };
    joined.iter().map(one).collect()
}

fn sorted(job: &Job) -> BTreeMap<String, Option<i64>> {
    let joined = joined(job);
    let count = joined.len();
    let sorted: BTreeMap<_, _> = joined.into_iter().collect();
    assert_eq!(sorted.len(), count, "nothing is sent twice: {sorted:?}");
    sorted
}

/// Ends at what there is, without deciding what is open; the log.
fn run_to_end(job: &Job, instance: &str) -> String {
    let (code, log) = job.run_to_code(instance, &["--until", "latest"]);
    assert_eq!(code, 0, "{log}");
    log
}

fn names(pairs: &[(&str, Option<i64>)]) -> Vec<(String, Option<i64>)> {
    let owned = |(name, second): &(&str, Option<i64>)| ((*name).to_owned(), *second);
    pairs.iter().map(owned).collect()
}

#[test]
fn undecided_events_are_named_left_uncommitted_and_sent_once_by_a_later_run() {
    let job = job("undecided");
    update(&job, &[0, 100]);
    happen(&job, &[("a", 1), ("b", 30), ("c", 200), ("d", 201)]);
    // The right side is at 90 s: `c` and `d` may still meet a profile of theirs.
    let log = run_to_end(&job, "first");
    let is_named = log.contains("left for a later run") && log.contains("undecided");
    assert!(is_named, "{log}");
    let decided = names(&[("a", Some(0)), ("b", Some(0))]);
    assert_eq!(joined(&job), decided);
    let committed = job.committed()[&0].offset;
    assert!(committed <= 2, "{committed}: `c` and `d` are kept");
    // Nothing new: nothing is decided, nothing is sent again.
    run_to_end(&job, "second");
    assert_eq!(joined(&job), decided);
    for _ in 0..2 {
        job.close_join();
        let all = [
            ("a", Some(0)),
            ("b", Some(0)),
            ("c", Some(100)),
            ("d", Some(100)),
        ];
        assert_eq!(joined(&job), names(&all));
    }
}

#[test]
fn a_profile_that_comes_between_two_runs_joins_what_was_left_open() {
    let job = job("between");
    update(&job, &[0]);
    happen(&job, &[("a", 100), ("b", 150)]);
    run_to_end(&job, "first");
    assert_eq!(joined(&job), []);
    update(&job, &[120, 90]);
    job.close_join();
    // 90 s is late by the right side's own watermark of 110 s.
    let expected = names(&[("a", Some(0)), ("b", Some(120))]);
    assert_eq!(joined(&job), expected);
}

#[test]
fn a_record_that_is_late_after_a_restart_is_as_late_as_without() {
    let job = job("late-restart");
    update(&job, &[0, 400]);
    happen(&job, &[("a", 1), ("b", 200)]);
    run_to_end(&job, "first");
    // The left side is at 190 s, the right side at 390 s.
    happen(&job, &[("late", 50), ("c", 195), ("d", 260)]);
    update(&job, &[195, 391]);
    run_to_end(&job, "second");
    happen(&job, &[("late-too", 100), ("e", 420)]);
    job.close_join();
    let expected: BTreeMap<String, Option<i64>> = names(&[
        ("a", Some(0)),
        ("late", None),
        ("c", Some(0)),
        ("b", Some(0)),
        ("d", Some(0)),
        ("late-too", None),
        ("e", Some(400)),
    ])
    .into_iter()
    .collect();
    assert_eq!(sorted(&job), expected);
    let in_order: Vec<String> = joined(&job)
        .into_iter()
        .map(|(id, _)| id)
        .filter(|id| !id.starts_with("late"))
        .collect();
    assert_eq!(in_order, ["a", "c", "b", "d", "e"]);
}

#[test]
fn what_was_sent_by_closing_is_not_sent_again_when_more_comes() {
    let job = job("closed-early");
    update(&job, &[0]);
    happen(&job, &[("a", 100), ("b", 150)]);
    job.close_join();
    let closed = names(&[("a", Some(0)), ("b", Some(0))]);
    assert_eq!(joined(&job), closed);
    // `a` and `b` would now have another profile.
    update(&job, &[99, 140]);
    happen(&job, &[("c", 160)]);
    job.close_join();
    let expected = [("a", Some(0)), ("b", Some(0)), ("c", Some(140))];
    assert_eq!(joined(&job), names(&expected));
}

#[test]
fn runs_that_end_early_come_to_the_same_as_one() {
    for kind in Kind::ALL {
        let joins = Joins::new("early", kind, 3, 23);
        let mut produced = 0;
        for _ in 0..3 {
            produced += joins.produce(400);
            joins.job.run_to_end();
        }
        joins.close();
        joins.assert_equal(produced);
    }
}
