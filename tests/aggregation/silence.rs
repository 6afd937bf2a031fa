//! Partitions that say nothing, events of another time, and what lies long behind.

use sandbox::topic::{self, Record};
use sandbox::wait;

use crate::support::windows::{Kind, Windows};
use crate::support::{Daemon, EVENT_TIME_MS, Job, PATIENCE};

/// The shipped sales over two partitions, its windows a minute long.
fn job(name: &str) -> Job {
    let mut job = Job::aggregation(name, "sales");
    job.set("pipeline.idle_timeout", "300ms");
    job.set("pipeline.batch.flush_interval", "100ms");
    job.apply_schema();
    job.create_topic(2);
    job
}

/// Sales of one category at these seconds.
fn sell(job: &Job, partition: i32, seconds: &[i64]) {
    let record = |second: &i64| {
        let time_ms = EVENT_TIME_MS + second * 1_000;
        let text = format!(r#"{{"timestamp":{time_ms},"category":"a","amount":1.5}}"#);
        Record::new(text).partition(partition)
    };
    let records = seconds.iter().map(record);
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
}

/// For each minute: how many sales, for how much, and whether that is final.
fn minutes(job: &Job) -> String {
    job.query(&format!(
        "SELECT intDiv(toUnixTimestamp64Milli(window_start) - {EVENT_TIME_MS}, 60000), total_sales, \
         total_revenue, is_final FROM {{db}}.sales_aggregates_1min FINAL ORDER BY window_start"
    ))
}

fn wait_for_minutes(job: &Job, expected: &str, daemon: &Daemon) {
    let is_there = || (minutes(job) == expected).then_some(());
    wait::until(expected, PATIENCE, is_there)
        .unwrap_or_else(|e| panic!("{e}: {}\n{}", minutes(job), daemon.log()));
}

#[test]
fn a_partition_that_never_spoke_holds_nothing_back_for_long() {
    let job = job("never-spoke");
    sell(&job, 0, &[1, 2, 61, 200]);
    let daemon = job.start("daemon", &[], "");
    // It may still speak: nothing is final.
    wait_for_minutes(&job, "0\t2\t3\t0\n1\t1\t1.5\t0\n3\t1\t1.5\t0", &daemon);
    daemon.stop();
}

#[test]
fn a_metric_whose_column_was_altered_halts_and_names_both_types() {
    let job = job("altered");
    let daemon = job.start("a", &[], "");
    sell(&job, 0, &[1, 2]);
    wait_for_minutes(&job, "0\t2\t3\t0", &daemon);
    job.query("ALTER TABLE {db}.sales_aggregates_1min MODIFY COLUMN total_revenue Decimal(38, 8) SETTINGS alter_sync = 2");
    sell(&job, 0, &[60]);
    let status = daemon.process.wait(PATIENCE).expect("it ends");
    assert_eq!(status.code(), Some(4), "{}", daemon.log());
    let log = daemon.log();
    for words in [
        "reason=\"schema\"",
        "total_revenue",
        "Decimal(38, 8)",
        "sales_aggregates_1min",
    ] {
        assert!(log.contains(words), "{words}: {log}");
    }
}

#[test]
fn windows_close_without_a_partition_that_is_silent_for_longer_than_idle_retention() {
    let mut job = job("retired");
    job.set("pipeline.idle_retention", "300ms");
    sell(&job, 0, &[1, 2, 61, 200]);
    let daemon = job.start("daemon", &[], "");
    wait_for_minutes(&job, "0\t2\t3\t1\n1\t1\t1.5\t1\n3\t1\t1.5\t1", &daemon);
    daemon.stop();
    job.assert_committed_to_end();
}

#[test]
fn a_partition_that_speaks_again_corrects_what_was_sent_without_it() {
    let job = job("speaks-again");
    sell(&job, 0, &[1, 200]);
    sell(&job, 1, &[3]);
    let daemon = job.start("daemon", &[], "");
    wait_for_minutes(&job, "0\t2\t3\t0\n3\t1\t1.5\t0", &daemon);
    // Of the past by the watermark of the other partition, not by its own.
    sell(&job, 1, &[4, 62]);
    wait_for_minutes(&job, "0\t3\t4.5\t0\n1\t1\t1.5\t0\n3\t1\t1.5\t0", &daemon);
    sell(&job, 1, &[201]);
    wait_for_minutes(&job, "0\t3\t4.5\t1\n1\t1\t1.5\t1\n3\t2\t3\t0", &daemon);
    daemon.stop();
    let letters = topic::read_all(job.bootstrap(), &job.dead_letter_topic).expect("dead letters");
    assert_eq!(letters, [], "nothing was late");
}

#[test]
fn an_event_of_2099_is_a_dead_letter_and_moves_no_watermark() {
    let job = job("year-2099");
    sell(&job, 0, &[1]);
    let far = Record::new(r#"{"timestamp":"2099-01-01T00:00:00Z","category":"a","amount":1}"#);
    topic::produce(job.bootstrap(), &job.topic, [far.partition(0)]).expect("a record");
    sell(&job, 0, &[2, 61]);
    let (code, log) = job.run_to_code("run", &["--until", "latest", "--close"]);
    assert_eq!(code, 0, "{log}");
    assert_eq!(minutes(&job), "0\t2\t3\t0\n1\t1\t1.5\t0");
    let letters = topic::read_all(job.bootstrap(), &job.dead_letter_topic).expect("dead letters");
    let reasons: Vec<_> = letters
        .iter()
        .map(|letter| {
            let header = |name: &str| letter.header(&format!("streamweir-{name}"));
            (header("reason"), header("offset"))
        })
        .collect();
    let expected = (Some("too_far_ahead".to_owned()), Some("1".to_owned()));
    assert_eq!(reasons, [expected]);
}

#[test]
fn a_day_of_lag_is_caught_up_at_full_speed() {
    for kind in [Kind::Tumbling, Kind::Sessions] {
        let mut windows = Windows::a_day_behind("lag", kind, 4, 7);
        windows.job.set("pipeline.batch.rows_max", 1_000);
        let produced = windows.produce_a_day();
        let daemon = windows.start("daemon", "");
        windows.wait_for_progress(produced * 9 / 10, &daemon);
        daemon.stop();
        windows.close();
        let counts = windows.assert_equal(produced);
        assert!(counts.rows > 2_000, "{counts:?}");
    }
}

#[test]
fn rows_for_a_topic_alone_need_no_clickhouse_to_be_ready() {
    let mut job = Job::aggregation("no-table", "sales");
    job.unset("pipeline.clickhouse");
    job.set("clickhouse.url", "http://127.0.0.1:9");
    job.create_topic(1);
    let daemon = job.start("daemon", &[], "");
    let is_ready = || (daemon.get("/readyz")?.0 == 200).then_some(());
    wait::until("it is ready", PATIENCE, is_ready)
        .unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
    daemon.stop();
}
