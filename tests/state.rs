//! Sessions go on where they were: after a stop, a kill, a move, a reset, a damaged snapshot.
//!
//! Every test compares with a run of the same topic that nothing disturbs.

use std::fs;
use std::path::PathBuf;

use crate::support::{EVENT_TIME_MS, Job, PATIENCE};
use sandbox::{topic, wait};

/// Events of a partition are two seconds apart, in this many sessions by turns.
const SESSIONS: u32 = 3;

/// A job with one partition that takes no snapshot but at its end, and soon misses a member.
fn job(name: &str) -> Job {
    let mut job = Job::new(name);
    job.set_small_batches();
    job.set("pipeline.state.interval", "24h");
    job.apply_schema();
    job.create_topic(1);
    job
}

fn view(number: u32) -> topic::Record {
    let time_ms = EVENT_TIME_MS + i64::from(number) * 2000;
    let (session, page) = (number % SESSIONS, number % 7);
    topic::Record::new(format!(
        r#"{{"event_id":"e{number}","event_type":"page_view","session_id":"s{session}","page_url":"/{page}","timestamp":{time_ms}}}"#
    ))
    .partition(0)
    .timestamp_ms(time_ms)
}

fn produce(job: &Job, numbers: std::ops::Range<u32>) {
    topic::produce(job.bootstrap(), &job.topic, numbers.map(view)).expect("records");
}

/// Offset, events, pages and seconds of every row, from `offset` on.
fn sessions_from(job: &Job, offset: i64) -> String {
    job.query(&format!(
        "SELECT _offset, session_event_count, session_pages_viewed, session_duration_seconds \
         FROM {{db}}.clickstream_events WHERE _offset >= {offset} ORDER BY _partition, _offset"
    ))
}

/// What a daemon makes of the topic that reads it from end to end.
fn undisturbed(job: &Job) -> String {
    let mut other = Job::new("undisturbed");
    for key in ["topics", "session", "start_offset"] {
        if let Some(value) = job.config["pipeline"][0].get(key) {
            other.set(&format!("pipeline.{key}"), value.clone());
        }
    }
    other.apply_schema();
    other.run_to_end();
    sessions_from(&other, 0)
}

fn assert_undisturbed(job: &Job) {
    let (rows, expected) = (sessions_from(job, 0), undisturbed(job));
    assert!(expected.lines().count() > 0);
    let differing = rows.lines().zip(expected.lines()).find(|(a, b)| a != b);
    assert_eq!(differing, None, "(here, undisturbed)");
    assert_eq!(rows.lines().count(), expected.lines().count());
}

fn snapshots(job: &Job) -> Vec<PathBuf> {
    let directory = job.directory.path().join("state/clickstream/snapshots");
    let directory = directory.join(&job.topic).join("0");
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files
}

/// Runs to the end; what the log says about state.
fn run(job: &Job, instance: &str) -> String {
    let (code, log) = job.run_to_code(instance, &["--until", "latest"]);
    assert_eq!(code, 0, "{log}");
    log
}

#[test]
fn a_stopped_daemon_leaves_its_state_and_the_next_one_replays_nothing() {
    let job = job("stopped");
    produce(&job, 0..300);
    run(&job, "first");
    produce(&job, 300..600);
    let log = run(&job, "second");
    assert!(log.contains("snapshot=300"), "{log}");
    assert!(log.contains("records_to_replay=0"), "{log}");
    assert_undisturbed(&job);
}

#[test]
fn a_killed_daemon_is_followed_by_a_silent_replay_from_the_last_snapshot() {
    let job = job("killed");
    produce(&job, 0..300);
    run(&job, "first");
    let daemon = job.start("killed", &[], "");
    produce(&job, 300..500);
    job.wait_for_commits_to_end();
    daemon.process.kill();
    produce(&job, 500..600);
    let log = run(&job, "third");
    assert!(log.contains("snapshot=300"), "{log}");
    assert!(log.contains("records_to_replay=200"), "{log}");
    assert_undisturbed(&job);
}

#[test]
fn snapshots_are_taken_now_and_then_and_old_ones_removed() {
    let mut job = job("periodic");
    job.set("pipeline.state.interval", "1s");
    job.set("pipeline.state.keep", 2);
    let daemon = job.start("periodic", &[], "");
    let mut number = 0;
    let mut seen = std::collections::BTreeSet::new();
    wait::until("five snapshots were taken", PATIENCE, || {
        produce(&job, number..number + 10);
        number += 10;
        seen.extend(snapshots(&job));
        (seen.len() >= 5).then_some(())
    })
    .unwrap_or_else(|e| panic!("{e}: {seen:?}\n{}", daemon.log()));
    daemon.stop();
    // One more may be left that no commit had passed yet when the last one was written.
    let left = snapshots(&job);
    assert!((2..=3).contains(&left.len()), "{left:?} of {seen:?}");
    produce(&job, number..number + 100);
    run(&job, "after");
    assert_undisturbed(&job);
}

#[test]
fn a_damaged_snapshot_is_passed_by_for_an_older_one() {
    let job = job("damaged");
    for part in 0..3 {
        produce(&job, part * 100..(part + 1) * 100);
        run(&job, &format!("part-{part}"));
    }
    let files = snapshots(&job);
    let newest = files.last().expect("a snapshot");
    let whole = fs::read(newest).expect("it is readable");
    fs::write(newest, &whole[..whole.len() / 2]).expect("it is torn");
    produce(&job, 300..400);
    let log = run(&job, "after");
    assert!(
        log.contains("snapshot not used") && log.contains("damaged"),
        "{log}"
    );
    assert!(log.contains("snapshot=200"), "{log}");
    assert_undisturbed(&job);
}

#[test]
fn without_a_snapshot_the_state_is_rebuilt_from_the_log() {
    let job = job("no-snapshot");
    produce(&job, 0..300);
    run(&job, "first");
    job.forget_snapshots();
    produce(&job, 300..600);
    let log = run(&job, "second");
    assert!(log.contains("rebuilding the state from the log"), "{log}");
    assert_undisturbed(&job);
}

#[test]
fn only_what_the_sessions_can_depend_on_is_read_again() {
    let mut job = job("horizon");
    job.set("pipeline.session.timeout", "60s");
    job.set("pipeline.session.duration_max", "60s");
    job.set("pipeline.watermark_delay", "0s");
    job.set("pipeline.timestamp_ahead_max", "0s");
    produce(&job, 0..600);
    run(&job, "first");
    job.forget_snapshots();
    produce(&job, 600..700);
    let log = run(&job, "second");
    // Two minutes are sixty events, the one at the very edge included.
    assert!(log.contains("records_to_replay=61"), "{log}");
}

#[test]
fn a_log_that_does_not_reach_back_halts_unless_sessions_may_begin_anew() {
    let mut job = job("too-short");
    produce(&job, 0..300);
    run(&job, "first");
    let before = sessions_from(&job, 0);
    topic::delete_records_before(job.bootstrap(), &job.topic, 0, 100).expect("deleted");
    job.forget_snapshots();
    produce(&job, 300..306);
    job.assert_halts(
        "halts",
        "missing_state",
        &["start_empty", "pipeline.state.url"],
    );
    assert_eq!(sessions_from(&job, 0), before, "nothing was written");
    job.set("pipeline.state.on_missing_state", "start_empty");
    run(&job, "empty");
    let anew: Vec<_> = (0..6i64)
        .map(|n| format!("{}\t{}\t{}\t{}", 300 + n, n / 3 + 1, n / 3 + 1, n / 3 * 6))
        .collect();
    assert_eq!(sessions_from(&job, 300), anew.join("\n"));
}

#[test]
fn a_crash_before_the_first_commit_on_a_shortened_log_needs_no_state() {
    let job = job("first-start");
    produce(&job, 0..300);
    topic::delete_records_before(job.bootstrap(), &job.topic, 0, 100).expect("deleted");
    let daemon = job.start("dies", &[], "after_commit=return");
    daemon.process.wait(PATIENCE).expect("it dies");
    run(&job, "after");
    assert_undisturbed(&job);
}

#[test]
fn other_session_rules_refuse_the_snapshot_and_rebuild() {
    let mut job = job("other-rules");
    produce(&job, 0..300);
    run(&job, "first");
    job.set("pipeline.session.timeout", "29m");
    produce(&job, 300..400);
    let log = run(&job, "second");
    assert!(log.contains("another configuration"), "{log}");
    assert!(log.contains("rebuilding the state from the log"), "{log}");
    assert_undisturbed(&job);
}

#[test]
fn a_group_set_back_gives_the_same_sessions_again() {
    let job = job("set-back");
    for part in 0..3 {
        produce(&job, part * 100..(part + 1) * 100);
        run(&job, &format!("part-{part}"));
    }
    for (offset, expected) in [(150, "snapshot=100"), (0, "partition begins")] {
        job.query("ALTER TABLE {db}.clickstream_events DELETE WHERE _offset >= 120 SETTINGS mutations_sync = 2");
        let reset = topic::Committed {
            offset,
            metadata: String::new(),
        };
        topic::commit(job.bootstrap(), &job.group, &job.topic, 0, &reset).expect("set back");
        let log = run(&job, &format!("from-{offset}"));
        assert!(log.contains(expected), "{log}");
        // Rows before the reset offset are not made again.
        if offset == 0 {
            assert_undisturbed(&job);
        } else {
            let all = undisturbed(&job);
            let from_150: Vec<_> = all.lines().skip(150).collect();
            assert_eq!(sessions_from(&job, 150), from_150.join("\n"));
        }
    }
}

#[test]
fn machines_that_share_a_store_hand_the_state_over() {
    let mut job = job("shared");
    let store = job.directory.path().join("store");
    job.set("pipeline.state.url", format!("file://{}", store.display()));
    produce(&job, 0..300);
    run(&job, "first");
    let elsewhere = job.directory.path().join("other-machine");
    job.set("service.state_dir", elsewhere.display().to_string());
    produce(&job, 300..400);
    let log = run(&job, "second");
    assert!(log.contains("records_to_replay=0"), "{log}");
    assert_undisturbed(&job);
}

#[test]
fn a_snapshot_that_cannot_be_written_stops_nothing() {
    let mut job = job("no-room");
    job.set("pipeline.state.interval", "1s");
    let directory = job.directory.path().join("state/clickstream/snapshots");
    // What stands where the file should be refuses root too.
    let in_the_way = directory
        .join(&job.topic)
        .join("0/00000000000000000000.snapshot");
    fs::create_dir_all(&in_the_way).expect("made");
    let daemon = job.start("first", &[], "");
    daemon.wait_for_log("snapshot not written");
    produce(&job, 0..300);
    job.wait_for_commits_to_end();
    let (_, metrics) = daemon.get("/metrics").expect("metrics");
    let retries = "streamweir_retries_total{pipeline=\"clickstream\",target=\"state\"";
    assert!(metrics.contains(retries), "{metrics}");
    daemon.stop();
    produce(&job, 300..400);
    let log = run(&job, "second");
    assert!(log.contains("snapshot=300"), "{log}");
    assert_undisturbed(&job);
}

#[test]
fn a_partition_that_moves_takes_its_state_along() {
    let mut job = Job::small_batches("moves", 4);
    job.set("pipeline.state.interval", "24h");
    // Nobody dies here, and who is taken for dead hands nothing over.
    job.set("kafka.properties.session.timeout.ms", 30_000);
    let views = |numbers: std::ops::Range<u32>| {
        let records = numbers.map(|n| view(n).partition((n / SESSIONS % 4) as i32));
        topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    };
    let first = job.start("first", &[], "");
    views(0..1000);
    job.wait_for_commits_to_end();
    let second = job.start("second", &[], "");
    second.wait_for_log("state restored");
    views(1000..2000);
    job.wait_for_commits_to_end();
    first.stop();
    views(2000..3000);
    job.wait_for_commits_to_end();
    second.stop();
    for log in [first.log(), second.log()] {
        assert!(!log.contains("rebuilding"), "{log}");
        let replays = log.matches("records_to_replay=").count();
        assert_eq!(replays, log.matches("records_to_replay=0").count(), "{log}");
    }
    assert_undisturbed(&job);
}
