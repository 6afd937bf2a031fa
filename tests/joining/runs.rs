//! What is there when a join begins, and what it refuses to begin with.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sandbox::topic::{self, Record};

use crate::support::joins::{Joins, Kind};
use crate::support::{EVENT_TIME_MS, Job};

#[test]
fn topics_of_unequal_partition_counts_are_refused_by_name() {
    let job = Job::join("unequal");
    job.create_topic(3);
    let settings = [("retention.ms", "-1")];
    topic::create(job.bootstrap(), job.right_topic(), 2, &settings).expect("a topic");
    job.create_output(3);
    let advice = [job.topic.as_str(), job.right_topic(), "3", "2"];
    job.assert_halts("unequal", "co_partitioning", &advice);
}

#[test]
fn a_random_join_of_each_kind_is_as_the_model_says() {
    for kind in Kind::ALL {
        let joins = Joins::new("random", kind, 3, 21);
        let produced = joins.produce(3_000);
        joins.close();
        let counts = joins.assert_equal(produced);
        assert!(counts.rows > 1_000, "{counts:?}");
    }
}

#[test]
fn several_consumers_of_one_process_join_what_one_would() {
    let mut joins = Joins::new("consumers", Kind::Inner, 5, 25);
    joins.job.set("pipeline.consumers", 3);
    let produced = joins.produce(3_000);
    joins.close();
    joins.assert_equal(produced);
}

#[test]
fn sides_that_are_written_in_transactions_are_joined_without_what_was_aborted() {
    for kind in [Kind::Left, Kind::Eager] {
        let joins = Joins::new("markers", kind, 3, 26);
        let mut produced = 0;
        for number in 0..8 {
            // The last one is aborted: both sides end in markers.
            let is_kept = number % 3 != 1;
            produced += joins.produce_transaction(200, is_kept);
            if number == 4 {
                joins.job.run_to_end();
            }
        }
        joins.close();
        joins.assert_equal(produced);
        joins.close();
        joins.assert_equal(produced);
    }
}

#[test]
fn a_joined_record_larger_than_the_output_takes_halts_and_goes_on_as_advised() {
    let job = Job::join("large");
    job.create_topic(1);
    let settings = [("retention.ms", "-1")];
    topic::create(job.bootstrap(), job.right_topic(), 1, &settings).expect("a topic");
    let settings = [("retention.ms", "-1"), ("max.message.bytes", "2000")];
    topic::create(job.bootstrap(), job.output_topic(), 1, &settings).expect("a topic");
    let event = |number: u64, length: usize| {
        // Letters in which no compression finds much.
        let mut random = StdRng::seed_from_u64(number);
        let text: String = (0..length)
            .map(|_| random.random_range('a'..='z'))
            .collect();
        let value = format!(
            r#"{{"event_id":"e{number}","timestamp":{EVENT_TIME_MS},"page_url":"{text}"}}"#
        );
        Record::new(value).partition(0).timestamp_ms(EVENT_TIME_MS)
    };
    let events = [event(1, 10), event(2, 10_000), event(3, 10)];
    topic::produce(job.bootstrap(), &job.topic, events).expect("records");
    let (code, log) = job.run_to_code("large", &["--until", "latest", "--close"]);
    assert_eq!(code, 4, "{log}");
    for words in ["reason=\"output\"", "max.message.bytes", "offset 1"] {
        assert!(log.contains(words), "{words}: {log}");
    }
    assert_eq!(
        job.joined().len(),
        0,
        "all or nothing of a transaction is seen"
    );
    let settings = [("max.message.bytes", "100000")];
    topic::set(job.bootstrap(), job.output_topic(), &settings).expect("it is set");
    job.close_join();
    assert_eq!(job.joined().len(), 3);
}

#[test]
fn closing_twice_sends_nothing_twice() {
    let joins = Joins::new("closed-twice", Kind::Left, 3, 22);
    let produced = joins.produce(1_000);
    for _ in 0..3 {
        joins.close();
        joins.assert_equal(produced);
    }
}

#[test]
fn joins_of_other_rules_than_the_last_commit_halt() {
    for (key, value) in [
        ("pipeline.join.before", "2s"),
        ("pipeline.join.after", "3s"),
        ("pipeline.watermark_delay", "2s"),
        ("pipeline.join.emit", "eager"),
    ] {
        let mut joins = Joins::new("changed", Kind::Left, 2, 24);
        let produced = joins.produce(500);
        // What is undecided was read by the rules of then.
        joins.job.run_to_end();
        let rules = joins.job.config["pipeline"].clone();
        joins.job.set(key, value);
        let advice = ["--close", "other rules"];
        joins.job.assert_halts("changed", "join_changed", &advice);
        joins.job.config["pipeline"] = rules;
        joins.close();
        joins.assert_equal(produced);
    }
}
