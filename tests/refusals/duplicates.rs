//! Records that come again: dropped, refused or flagged, and counted once in windows.

use sandbox::topic::{self, Record};

use super::columns::{PROVENANCE, job};
use crate::support::{EVENT_TIME_MS, Job};

/// Of each record its second, its key as JSON, and whether it is a duplicate.
const RECORDS: [(i64, &str, bool); 11] = [
    (0, r#""a""#, false),
    (1, r#""a""#, true),
    // Near the duplicate, not near the first.
    (10, r#""a""#, true),
    (20, r#""a""#, false),
    (12, r#""\u0061""#, true),
    (0, "7", false),
    (0, r#""7""#, false),
    (0, "null", false),
    (0, "null", false),
    (29, "7", false),
    (20, "7", true),
];

fn record(number: usize, second: i64, key: &str, quantity: i64) -> Record {
    let time_ms = EVENT_TIME_MS + second * 1_000;
    let value = format!(
        r#"{{"id":{number},"ts":{time_ms},"time":{time_ms},"key":{key},"quantity":{quantity}}}"#
    );
    Record::new(value).partition(0).timestamp_ms(time_ms)
}

fn produce(job: &Job) {
    // One that a rule refuses is no earlier one.
    let refused = record(100, 0, "\"a\"", 0);
    let records = RECORDS.iter().enumerate();
    let records = records.map(|(number, (second, key, _))| record(number, *second, key, 1));
    let records = std::iter::once(refused).chain(records);
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    // Another partition knows nothing of it.
    let other = record(50, 1, "\"a\"", 1).partition(1);
    topic::produce(job.bootstrap(), &job.topic, [other]).expect("a record");
}

fn set_dedup(job: &mut Job) {
    let rules: toml::Table = r#"
        [[rule]]
        name = "quantity_valid"
        check = { field = "$.quantity", gt = 0 }
        on_fail = "drop"
        [dedup]
        key = ["$.key"]
        within = "10s"
    "#
    .parse()
    .expect("TOML");
    for (key, value) in rules {
        job.set(&format!("pipeline.{key}"), value);
    }
}

/// The numbers of the records that are duplicates, or of the others.
fn numbers(duplicates: bool) -> Vec<usize> {
    let all = RECORDS.iter().enumerate();
    let those = all.filter(|(_, (_, _, is_duplicate))| *is_duplicate == duplicates);
    let others = (!duplicates).then_some(50);
    those.map(|(number, _)| number).chain(others).collect()
}

fn ids(job: &Job, condition: &str) -> Vec<usize> {
    let sql = format!("SELECT id FROM {{db}}.clickstream_events WHERE {condition} ORDER BY id");
    let ids = job.query(&sql);
    ids.lines()
        .map(|id| id.parse().expect("a number"))
        .collect()
}

#[test]
fn duplicates_are_dropped_refused_or_flagged_and_are_the_same_ones_each_time() {
    let columns = format!("key String, quantity Int32, again UInt8, {PROVENANCE}");
    let mut job = job("duplicates", &columns);
    set_dedup(&mut job);
    produce(&job);
    for (number, on_duplicate) in ["drop", "dead_letter", "flag"].into_iter().enumerate() {
        job.set("pipeline.dedup.on_duplicate", on_duplicate);
        job.set("pipeline.group_id", format!("{}{on_duplicate}", job.prefix));
        job.set("pipeline.start_offset", "earliest");
        if on_duplicate == "flag" {
            job.set("pipeline.dedup.flag_column", "again");
        }
        if number > 0 {
            job.query("TRUNCATE TABLE {db}.clickstream_events");
        }
        let (code, log) = job.run_to_code(on_duplicate, &["--until", "latest"]);
        assert_eq!(code, 0, "{log}");
        match on_duplicate {
            "flag" => {
                assert_eq!(ids(&job, "again = 1"), numbers(true));
                assert_eq!(ids(&job, "again = 0"), numbers(false));
            }
            _ => assert_eq!(ids(&job, "1"), numbers(false), "{on_duplicate}"),
        }
        job.assert_audit_finds_nothing();
        let explained = job.explained(&[format!("{}:0:3", job.topic)]);
        let own = &explained[0]["pipelines"][0];
        let outcome = ["dropped", "dead_letter", "row"][number];
        assert_eq!(own["outcome"], outcome, "{own:#}");
        if on_duplicate != "flag" {
            assert_eq!(own["reason"], "duplicate", "{own:#}");
        }
    }
    let letters = job.dead_letters().expect("the topic answers");
    let letters: Vec<_> = letters
        .iter()
        .map(|letter| {
            let header = |name: &str| letter.header(&format!("streamweir-{name}")).expect("named");
            [header("offset"), header("stage"), header("reason")].join(" ")
        })
        .collect();
    let expected = numbers(true).into_iter();
    // The refused one stands before them.
    let expected = expected.map(|number| format!("{} operate duplicate", number + 1));
    assert_eq!(letters, expected.collect::<Vec<_>>());
}

#[test]
fn duplicates_count_once_in_windows_and_audit_counts_likewise() {
    let mut job = Job::aggregation("windows-once", "sales");
    job.unset("pipeline.output");
    set_dedup(&mut job);
    job.set("pipeline.time_field", "time");
    // None of them is late.
    job.set("pipeline.watermark_delay", "40s");
    job.set("pipeline.window.size", "5s");
    let metrics: toml::Table = r#"total_sales = { function = "count" }"#.parse().expect("TOML");
    job.set("pipeline.metrics", metrics);
    job.unset("pipeline.clickhouse.ddl");
    job.query("CREATE DATABASE {db}");
    job.query(
        "CREATE TABLE {db}.sales_aggregates_1min (category String, window_start DateTime64(3, 'UTC'), \
         window_end DateTime64(3, 'UTC'), total_sales UInt64, revision UInt64, is_final UInt8, late_count UInt64, \
         version UInt64) ENGINE = ReplacingMergeTree(version) ORDER BY (window_start, category)",
    );
    job.create_topic(2);
    produce(&job);
    let (code, log) = job.run_to_code("windows", &["--until", "latest", "--close"]);
    assert_eq!(code, 0, "{log}");
    let rows = job.query(&format!(
        "SELECT intDiv(toUnixTimestamp64Milli(window_start) - {EVENT_TIME_MS}, 1000), total_sales \
         FROM {{db}}.sales_aggregates_1min FINAL ORDER BY window_start"
    ));
    // Six records of the first five seconds count: one of each key, both without one, and that of the other partition.
    assert_eq!(rows, "0\t6\n20\t1\n25\t1");
    job.assert_audit_finds_nothing();
}
