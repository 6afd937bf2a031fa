//! Records that come again, and a daemon that dies at every named place: the answers are those of the log.

use std::os::unix::process::ExitStatusExt as _;

use rand::Rng as _;
use sandbox::topic::{self, Record};
use serde_json::Value;

use super::{Run, Trial};
use crate::support::proof::Counts;
use crate::support::{EVENT_TIME_MS, Job, PATIENCE};

const PARTITIONS: i32 = 2;
const RECORDS: usize = 80;
const WITHIN_MS: i64 = 10_000;

const POINTS: [&str; 11] = [
    "before_restore",
    "after_assign",
    "after_poll",
    "after_seal",
    "before_insert",
    "after_insert_acknowledged",
    "before_commit",
    "after_commit",
    "before_snapshot",
    "after_snapshot",
    "during_replay",
];

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new(
            "dedup",
            "records that come again, and SIGKILL at each crash point; snapshots lost once",
            5,
            1,
            dedup,
        ),
        Trial::new(
            "dedup-windows",
            "records that come again before windows; SIGKILL at crash points",
            5,
            1,
            windows,
        ),
    ]
}

/// All of them at length, every third in a short run.
fn points(all: &[&'static str], times: u32) -> impl Iterator<Item = &'static str> {
    let step = if times > 1 { 1 } else { 3 };
    all.iter().copied().skip(step / 2).step_by(step)
}

fn job(name: &str) -> Job {
    let mut job = Job::new(name);
    job.set_small_batches();
    for section in ["lookup", "session", "columns"] {
        job.unset(&format!("pipeline.{section}"));
    }
    job.unset("pipeline.clickhouse.ddl");
    job.set("pipeline.time_field", "ts");
    job.set("pipeline.watermark_delay", "2s");
    job.set("pipeline.dedup.key", vec!["$.id".to_owned()]);
    job.set("pipeline.dedup.within", "10s");
    job.query("CREATE DATABASE {db}");
    job.query(
        "CREATE TABLE {db}.clickstream_events (id String, ts DateTime64(3, 'UTC'), \
         _topic LowCardinality(String), _partition UInt32, _offset UInt64) ENGINE = MergeTree \
         ORDER BY (_partition, _offset) SETTINGS non_replicated_deduplication_window = 1000",
    );
    job.create_topic(PARTITIONS);
    job
}

fn dedup(run: &mut Run) {
    let job = job(&run.name);
    let mut now_ms = EVENT_TIME_MS;
    for _ in 0..run.times {
        for point in points(&POINTS, run.times) {
            produce(&job, run, &mut now_ms);
            if point == "during_replay" {
                job.run_to_end();
                job.forget_snapshots();
            }
            die_at(&job, point);
        }
    }
    produce(&job, run, &mut now_ms);
    job.run_to_end();
    let records = topic::read_all(job.bootstrap(), &job.topic).expect("records");
    let expected = unique(&records);
    assert!(expected.len() < records.len() && !expected.is_empty());
    let sql =
        "SELECT _partition, _offset FROM {db}.clickstream_events ORDER BY _partition, _offset";
    let rows = job.query(sql);
    let rows: Vec<(i32, i64)> = rows
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(p, o)| (p.parse().expect("a number"), o.parse().expect("a number")))
        .collect();
    assert_eq!(rows, expected);
    job.assert_audit_finds_nothing();
    run.add(Counts {
        records: records.len() as u64,
        rows: rows.len() as u64,
        ..Default::default()
    });
}

const WINDOW_POINTS: [&str; 5] = [
    "after_assign",
    "after_poll",
    "before_insert",
    "before_commit",
    "after_commit",
];

fn windows_job(name: &str) -> Job {
    let mut job = Job::aggregation(name, "sales");
    job.unset("pipeline.output");
    job.unset("pipeline.clickhouse.ddl");
    job.set("pipeline.time_field", "ts");
    job.set("pipeline.watermark_delay", "2s");
    job.set("pipeline.window.size", "3s");
    job.set("pipeline.batch.flush_interval", "100ms");
    job.set("pipeline.dedup.key", vec!["$.id".to_owned()]);
    job.set("pipeline.dedup.within", "10s");
    let count: toml::Table = "n = { function = \"count\" }".parse().expect("TOML");
    job.set("pipeline.metrics", count);
    job.query("CREATE DATABASE {db}");
    job.query(
        "CREATE TABLE {db}.sales_aggregates_1min (category String, window_start DateTime64(3, 'UTC'), n UInt64, \
         revision UInt64, is_final UInt8, version UInt64) ENGINE = ReplacingMergeTree(version) \
         ORDER BY (window_start, category)",
    );
    job.create_topic(PARTITIONS);
    job
}

fn windows(run: &mut Run) {
    let job = windows_job(&run.name);
    let mut now_ms = EVENT_TIME_MS;
    for _ in 0..run.times {
        for point in points(&WINDOW_POINTS, run.times) {
            produce(&job, run, &mut now_ms);
            die_at(&job, point);
        }
    }
    produce(&job, run, &mut now_ms);
    let close = ["--until", "latest", "--close"];
    let (code, log) = job.run_to_code("closes", &close);
    assert_eq!(code, 0, "{log}");
    let records = topic::read_all(job.bootstrap(), &job.topic).expect("records");
    let unique = unique(&records);
    assert!(unique.len() < records.len() && !unique.is_empty());
    let mut expected = std::collections::BTreeMap::new();
    for record in &records {
        if unique.contains(&(record.partition, record.offset)) {
            let time_ms = read(record).1;
            *expected
                .entry(time_ms - time_ms.rem_euclid(3_000))
                .or_insert(0) += 1;
        }
    }
    let expected: Vec<String> = expected
        .iter()
        .map(|(ms, n)| format!("{ms}\t{n}"))
        .collect();
    let rows = job.query(
        "SELECT toUnixTimestamp64Milli(window_start), n FROM {db}.sales_aggregates_1min FINAL ORDER BY window_start",
    );
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
    job.assert_audit_finds_nothing();
    run.add(Counts {
        records: records.len() as u64,
        rows: expected.len() as u64,
        ..Default::default()
    });
}

/// The id and the event time of a record.
fn read(record: &topic::Received) -> (Value, i64) {
    let value = record.value.as_deref().expect("a value");
    let value: Value = serde_json::from_slice(value).expect("JSON");
    (value["id"].clone(), value["ts"].as_i64().expect("a time"))
}

/// Some of the ids have come before, sooner or longer ago than duplicates do; some have none.
fn produce(job: &Job, run: &mut Run, now_ms: &mut i64) {
    let records = (0..RECORDS).map(|_| {
        *now_ms += run.random.random_range(0..400);
        let time_ms = *now_ms - run.random.random_range(0..1_500);
        let id = match run.random.random_range(0..60) {
            0 => "null".to_owned(),
            number if number < 30 => number.to_string(),
            number => format!("\"{number}\""),
        };
        Record::new(format!(r#"{{"id":{id},"ts":{time_ms}}}"#))
            .partition(run.random.random_range(0..PARTITIONS))
            .timestamp_ms(time_ms)
    });
    let records: Vec<Record> = records.collect();
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
}

/// The places of the records that are no duplicates, as the rule is written down.
fn unique(records: &[topic::Received]) -> Vec<(i32, i64)> {
    let mut records: Vec<_> = records.iter().collect();
    records.sort_by_key(|record| (record.partition, record.offset));
    let mut seen: Vec<(i32, Value, i64)> = vec![];
    let mut places = vec![];
    for record in records {
        let (id, time_ms) = read(record);
        let is_earlier = |(partition, other, at): &(i32, Value, i64)| {
            *partition == record.partition && *other == id && (at - time_ms).abs() < WITHIN_MS
        };
        if id.is_null() || !seen.iter().any(is_earlier) {
            places.push((record.partition, record.offset));
        }
        seen.push((record.partition, id, time_ms));
    }
    places
}

fn die_at(job: &Job, point: &str) {
    let daemon = job.start(&format!("dies-{point}"), &[], &format!("{point}=return"));
    let status = daemon.process.wait(PATIENCE);
    let status =
        status.unwrap_or_else(|e| panic!("{point} is never reached: {e}\n{}", daemon.log()));
    assert_eq!(
        status.signal(),
        Some(libc::SIGKILL),
        "{status}: {}",
        daemon.log()
    );
}
