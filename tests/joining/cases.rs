//! Every join case of the second implementation, as Apache Kafka's own consumer reads the output.

use std::collections::BTreeMap;
use std::time::Duration;

use sandbox::oracle::{self, Case};
use sandbox::topic::{self, Received};
use sandbox::{console, wait};

use super::truth::Truth;
use crate::support::joins::{event_id, instant_ms};
use crate::support::{Daemon, Job, PATIENCE, material};

/// How long the consumer waits for one more record; it has to join its group first.
const SILENCE: Duration = Duration::from_secs(5);

fn load(name: &str) -> Case {
    Case::load(material(&format!("oracle/cases/dev/{name}"))).expect("the case is readable")
}

/// A job that computes what the case asks for, its topics and their records.
fn job(name: &str, case: &Case, change: impl FnOnce(&mut Job)) -> Job {
    let mut job = Job::join(name);
    let config = &case.description.config;
    let ms = |key: &str| format!("{}ms", config[key].as_i64().expect("milliseconds"));
    job.set("pipeline.watermark_delay", ms("watermark_delay_ms"));
    job.set("pipeline.join.before", ms("before_ms"));
    job.set("pipeline.join.after", ms("after_ms"));
    let join = config["join"].as_str().expect("a type");
    job.set("pipeline.join.type", join);
    for side in ["left", "right"] {
        for key in ["key_field", "time_field"] {
            let field = config[side][key].as_str().expect("a field");
            job.set(&format!("pipeline.{side}.{key}"), field);
        }
    }
    change(&mut job);
    case.create_topics(job.bootstrap(), &job.prefix)
        .expect("topics");
    let partitions = case.description.topics.values().max();
    job.create_output(*partitions.expect("two topics"));
    case.produce(job.bootstrap(), &job.prefix).expect("records");
    job
}

/// What Apache Kafka's own consumer sees.
fn read(job: &Job) -> Vec<Received> {
    let ours = job.joined();
    let read = |silence| {
        console::read_committed(job.bootstrap(), job.output_topic(), silence).expect("records")
    };
    let joined = read(SILENCE);
    if joined.len() < ours.len() {
        // A machine that is busy forms a group later.
        return read(SILENCE * 6);
    }
    joined
}

fn compare(job: &Job, case: &Case, joined: &[Received]) {
    let checker = material("oracle/check.py");
    oracle::check_joined(&checker, &case.dir, joined).unwrap_or_else(|e| panic!("{e}"));
    compare_letters(job, case);
}

fn compare_letters(job: &Job, case: &Case) {
    let checker = material("oracle/check.py");
    let letters = topic::read_all(job.bootstrap(), &job.dead_letter_topic).expect("dead letters");
    oracle::check_dead_letters(&checker, &case.dir, &letters, &job.prefix)
        .unwrap_or_else(|e| panic!("{e}"));
}

/// Output and dead letters are what the second implementation says, also after a second run, which finds
/// nothing new.
fn check(name: &str, change: impl FnOnce(&mut Job)) {
    let case = load(name);
    let job = job(name, &case, change);
    job.close_join();
    compare(&job, &case, &job.joined());
    job.close_join();
    compare(&job, &case, &read(&job));
    job.assert_explained(&[&job.topic, job.right_topic()]);
}

#[test]
fn generated_events_have_the_profile_that_is_nearest_before_them() {
    check("join-left", |_| {});
}

#[test]
fn events_without_profile_are_left_out_of_an_inner_join() {
    check("join-inner", |_| {});
}

#[test]
fn late_events_have_no_profile_and_late_profiles_take_no_part() {
    check("join-late", |_| {});
}

#[test]
fn every_edge_of_a_join_is_sent_once_or_is_a_dead_letter_with_its_reason() {
    check("join-edges", |_| {});
}

#[test]
fn every_edge_of_an_inner_join_is_sent_once_or_is_a_dead_letter_with_its_reason() {
    check("join-edges-inner", |_| {});
}

#[test]
fn transactions_of_a_few_records_at_a_time_are_the_same() {
    check("join-left", |job| job.set("pipeline.batch.rows_max", 3));
}

#[test]
fn a_running_daemon_decides_and_counts_everything_though_nothing_follows() {
    for name in ["join-late", "join-edges", "join-edges-inner"] {
        let case = load(name);
        let truth = Truth::of(&case);
        let job = job(&format!("{name}-live"), &case, |job| {
            job.set("pipeline.idle_timeout", "500ms");
        });
        let daemon = job.start("live", &[], "");
        let is_done = || is_counted(&outcomes(&daemon), &truth.outcomes).then_some(());
        wait::until("every event is counted", PATIENCE, is_done).unwrap_or_else(|e| {
            let (found, log) = (outcomes(&daemon), daemon.log());
            panic!("{name}: {e}: {found:?}, not {:?}\n{log}", truth.outcomes)
        });
        // The last record of a side may stand behind what decides the last event.
        let is_tombstone = r#"reason="tombstone""#;
        for (counter, label, count) in [
            ("streamweir_late_records_total", "", truth.late_records),
            (
                "streamweir_records_dropped_total",
                is_tombstone,
                truth.tombstones,
            ),
        ] {
            let found = || metric(&daemon, counter, label);
            wait::until(counter, PATIENCE, || (found() >= count).then_some(()))
                .unwrap_or_else(|e| panic!("{name}: {e}: {} of {count}", found()));
            assert_eq!(found(), count, "{name}: {counter}");
        }
        daemon.stop();
        compare(&job, &case, &job.joined());
    }
}

/// Whether the daemon counted what the second implementation did. Of a key whose profiles are forgotten, or
/// come later, a daemon cannot know that it has any; that is then no profile instead of none at that time.
fn is_counted(found: &BTreeMap<String, u64>, expected: &BTreeMap<String, u64>) -> bool {
    let of = |counts: &BTreeMap<String, u64>, outcome| *counts.get(outcome).unwrap_or(&0);
    let unmatched = |counts| of(counts, "no_profile") + of(counts, "outside_window");
    ["matched", "late"]
        .iter()
        .all(|outcome| of(found, outcome) == of(expected, outcome))
        && unmatched(found) == unmatched(expected)
        && of(found, "no_profile") >= of(expected, "no_profile")
}

/// How many events have each outcome, as the daemon counts.
fn outcomes(daemon: &Daemon) -> BTreeMap<String, u64> {
    let outcomes = ["matched", "no_profile", "outside_window", "late"];
    let count = |outcome: &str| {
        let label = format!("outcome=\"{outcome}\"");
        metric(daemon, "streamweir_join_results_total", &label)
    };
    let counts = outcomes.map(|outcome| (outcome.to_owned(), count(outcome)));
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// The sum of the metric's values that have the label.
fn metric(daemon: &Daemon, name: &str, label: &str) -> u64 {
    let (_, text) = daemon.get("/metrics").unwrap_or_default();
    let is_it = |line: &&str| line.starts_with(&format!("{name}{{")) && line.contains(label);
    let values = text.lines().filter(is_it);
    let value = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
    values.filter_map(value).sum::<f64>().round() as u64
}

#[test]
fn eager_events_are_sent_once_with_a_profile_of_their_time() {
    for name in ["join-left", "join-late", "join-edges-inner"] {
        let case = load(name);
        let truth = Truth::of(&case);
        let job = job(&format!("{name}-eager"), &case, |job| {
            job.set("pipeline.join.emit", "eager");
        });
        for _ in 0..2 {
            job.close_join();
            compare_eagerly(&case, &truth, &job.joined());
            compare_letters(&job, &case);
        }
    }
}

fn compare_eagerly(case: &Case, truth: &Truth, joined: &[Received]) {
    let is_inner = case.description.config["join"] == "inner";
    let expected = truth.candidates.iter();
    let mut expected: BTreeMap<_, _> = expected
        .filter(|(_, near)| !is_inner || !near.is_empty())
        .collect();
    for record in joined {
        let id = event_id(record);
        let near = expected
            .remove(&id)
            .unwrap_or_else(|| panic!("{id} is sent twice, or should not be"));
        let value = record.value.as_deref().expect("a value");
        let value: serde_json::Value = serde_json::from_slice(value).expect("JSON");
        let updated = instant_ms(&value["profile_updated_at"]);
        let email = value["user_email"].to_string();
        let is_met = |(time, text): &(i64, Option<String>)| {
            updated == Some(*time) && *text.as_ref().unwrap_or(&"null".to_owned()) == email
        };
        let is_valid = match updated {
            None => near.is_empty(),
            Some(_) => near.iter().any(is_met),
        };
        assert!(is_valid, "{id}: {value} is none of {near:?}");
    }
    assert!(expected.is_empty(), "never sent: {:?}", expected.keys());
}
