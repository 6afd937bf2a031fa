//! Records that come again and records that a rule is about, and daemons that die at every named place, move
//! their partitions and are set back: the answers are those of the log.

use std::os::unix::process::ExitStatusExt as _;

use rand::Rng as _;
use sandbox::topic::{self, Record};
use serde_json::Value;

use super::replicated::{Fault, pair, put_on, settle};
use super::{Run, Trial};
use crate::support::proof::Counts;
use crate::support::{Daemon, EVENT_TIME_MS, Job, PATIENCE};

const PARTITIONS: i32 = 2;
const RECORDS: usize = 80;
const WITHIN_MS: i64 = 10_000;
/// Numbers below it pass the rule.
const FEW: i64 = 50;

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
            "dedup-members",
            "records that come again and a rule before two processes: killed, stopped and frozen at random, the group set back",
            30,
            6,
            members,
        ),
        Trial::new(
            "replicated-dedup",
            "the same records into two replicas, which meet the faults of replicated-events",
            20,
            1,
            replicated,
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
    configure(&mut job);
    job.set("clickhouse.compression", "none");
    job.query("CREATE DATABASE {db}");
    job.query(&format!(
        "CREATE TABLE {{db}}.clickstream_events {COLUMNS} ENGINE = MergeTree {ORDER} \
         SETTINGS non_replicated_deduplication_window = 1000"
    ));
    job.create_topic(PARTITIONS);
    job
}

const COLUMNS: &str = "(id String, ts DateTime64(3, 'UTC'), failed Array(String), \
                       _topic LowCardinality(String), _partition UInt32, _offset UInt64)";
const ORDER: &str = "ORDER BY (_partition, _offset)";

fn configure(job: &mut Job) {
    job.set_small_batches();
    for section in ["lookup", "session", "columns"] {
        job.unset(&format!("pipeline.{section}"));
    }
    job.unset("pipeline.clickhouse.ddl");
    job.set("pipeline.time_field", "ts");
    job.set("pipeline.watermark_delay", "2s");
    job.set("pipeline.dedup.key", vec!["$.id".to_owned()]);
    job.set("pipeline.dedup.within", "10s");
    let rules = "rule = [{ name = \"few\", check = { field = \"$.n\", lt = 50 } }]";
    let rules: toml::Table = rules.parse().expect("TOML");
    job.set("pipeline.rule", rules["rule"].clone());
    job.set("pipeline.quality.failed_column", "failed");
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
    let counts = assert_rows(&job);
    job.assert_audit_finds_nothing();
    run.add(counts);
}

/// The table has the records that are no duplicates, and which of them fail the rule.
fn assert_rows(job: &Job) -> Counts {
    let records = topic::read_all(job.bootstrap(), &job.topic).expect("records");
    let places = unique(&records);
    assert!(places.len() < records.len() && !places.is_empty());
    let expected = records
        .iter()
        .filter(|record| places.contains(&(record.partition, record.offset)));
    let mut expected: Vec<(i32, i64, &str)> = expected
        .map(|record| {
            let value = record.value.as_deref().expect("a value");
            let value: Value = serde_json::from_slice(value).expect("JSON");
            let passes = value["n"].as_i64().expect("a number") < FEW;
            (
                record.partition,
                record.offset,
                if passes { "[]" } else { "['few']" },
            )
        })
        .collect();
    expected.sort_unstable();
    let expected: Vec<String> = expected
        .iter()
        .map(|(p, o, failed)| format!("{p}\t{o}\t{failed}"))
        .collect();
    let sql = "SELECT _partition, _offset, failed FROM {db}.clickstream_events ORDER BY _partition, _offset";
    let rows = job.query(sql);
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
    Counts {
        records: records.len() as u64,
        rows: expected.len() as u64,
        ..Default::default()
    }
}

fn members(run: &mut Run) {
    let job = job(&run.name);
    let mut now_ms = EVENT_TIME_MS;
    let start = |number: u32| {
        let member = job.start(&format!("member-{number}"), &[], "");
        // Before that a signal to stop kills it.
        member.wait_for_log("status page");
        member
    };
    let mut members: Vec<Daemon> = (0..2).map(start).collect();
    for number in 0..run.times {
        produce(&job, run, &mut now_ms);
        let mut a_while = |most| std::time::Duration::from_millis(run.random.random_range(0..most));
        std::thread::sleep(a_while(1_500));
        let away = a_while(4_000);
        let slot = run.random.random_range(0..members.len());
        match number % 3 {
            0 => {
                members[slot].process.kill();
                std::thread::sleep(away);
                members[slot] = start(10 + number);
            }
            1 => {
                members[slot].process.pause();
                std::thread::sleep(away);
                members[slot].process.resume();
            }
            _ => {
                members[slot].stop();
                produce(&job, run, &mut now_ms);
                members[slot] = start(10 + number);
            }
        }
        if number % 6 == 5 {
            // Read again from the beginning, with the snapshots that there are.
            members.iter().for_each(Daemon::stop);
            set_back(&job);
            members = (0..2)
                .map(|slot| start(100 * (number + 1) + slot))
                .collect();
        }
    }
    job.wait_for_commits_to_end();
    members.iter().for_each(Daemon::stop);
    job.run_to_end();
    let counts = assert_rows(&job);
    job.assert_audit_finds_nothing();
    run.add(counts);
}

fn set_back(job: &Job) {
    let beginning = topic::Committed {
        offset: 0,
        metadata: String::new(),
    };
    for partition in 0..PARTITIONS {
        let set = topic::commit(
            job.bootstrap(),
            &job.group,
            &job.topic,
            partition,
            &beginning,
        );
        set.expect("committed");
    }
}

fn replicated(run: &mut Run) {
    let pair = pair();
    let mut job = Job::new(&run.name);
    configure(&mut job);
    put_on(&mut job, &pair);
    let database = &job.database;
    let create = [
        format!("CREATE DATABASE {database}"),
        format!(
            "CREATE TABLE {database}.clickstream_events {COLUMNS} \
             ENGINE = ReplicatedMergeTree('/tables/{database}/clickstream_events', '{{replica}}') {ORDER}"
        ),
    ];
    for sql in create {
        pair.on_both(&sql).expect("made on both");
    }
    job.create_topic(PARTITIONS);
    let mut now_ms = EVENT_TIME_MS;
    produce(&job, run, &mut now_ms);
    let daemon = job.start("daemon", &[], "");
    for fault in Fault::all(run) {
        let (before, _) = job.rows_and_offsets();
        produce(&job, run, &mut now_ms);
        job.wait_for_rows(before + 1);
        produce(&job, run, &mut now_ms);
        fault.meet(&pair, &job.database, &mut run.random);
    }
    job.wait_for_commits_to_end();
    daemon.stop();
    settle(&pair, &job.database);
    for replica in &pair.replicas {
        job.clickhouse_url = replica.url();
        let counts = assert_rows(&job);
        run.counts = Counts::default();
        run.add(counts);
    }
    job.assert_audit_finds_nothing();
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
    job.set("clickhouse.compression", "zstd");
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
        let n = run.random.random_range(0..2 * FEW);
        Record::new(format!(r#"{{"id":{id},"ts":{time_ms},"n":{n}}}"#))
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
