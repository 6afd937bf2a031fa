//! Wide, many, large and hot: the right result within the memory that is allowed.

use std::fmt::Write as _;

use sandbox::topic::{self, Record};

use crate::support::{Job, TO_THE_END};

const MEMORY_MAX: u64 = 256 << 20;

/// A change as a connector writes it without a schema block.
fn change(operation: &str, id: u64, members: &str) -> Record {
    let (before, after) = match operation {
        "d" => (format!(r#"{{"id":{id}}}"#), "null".to_owned()),
        _ => ("null".to_owned(), format!(r#"{{"id":{id}{members}}}"#)),
    };
    let value = format!(
        r#"{{"before":{before},"after":{after},"source":{{"connector":"postgresql","ts_ms":1763719200000,"lsn":{id}}},"op":"{operation}","ts_ms":1763719200001}}"#
    );
    Record {
        key: Some(format!(r#"{{"id":{id}}}"#).into_bytes()),
        ..Record::new(value)
    }
}

fn job(name: &str, topics: &[String]) -> Job {
    let mut job = Job::replication(name);
    job.set("pipeline.topics", topics.to_vec());
    job.set("service.memory_max", "256MiB");
    job
}

fn set_columns(job: &mut Job, topic: &str, columns: toml::Table) {
    let mut mapping = toml::Table::new();
    mapping.insert("columns".into(), columns.into());
    let pipeline = job.config["pipeline"][0]
        .as_table_mut()
        .expect("a pipeline");
    let tables = pipeline
        .entry("tables")
        .or_insert_with(|| toml::Table::new().into());
    let tables = tables.as_table_mut().expect("a table");
    tables.insert(topic.to_owned(), mapping.into());
}

fn create(job: &Job, topic: &str, partitions: i32) {
    let settings = [("retention.ms", "-1"), ("max.message.bytes", "16000000")];
    topic::create(job.bootstrap(), topic, partitions, &settings).expect("a topic");
}

/// Runs to the end and says how much memory the daemon took at the most.
fn run(job: &Job) -> u64 {
    let daemon = job.start("to-end", &["--until", "latest"], "");
    let mut peak = 0;
    let ended = || {
        peak = daemon.process.peak_resident_bytes().unwrap_or(0).max(peak);
        daemon.process.try_wait()
    };
    // A thousand tables are thousands of files: a disk beside which other tests run needs minutes.
    let status = sandbox::wait::until("the run ends", TO_THE_END, ended);
    let status = status.unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
    assert!(status.success(), "{status}: {}", daemon.log());
    assert!(peak > 0, "it was looked at");
    peak
}

#[test]
fn two_hundred_columns() {
    let mut job = job("wide", &[]);
    let topic = format!("{}shop.public.wide", job.prefix);
    job.set("pipeline.topics", vec![topic.clone()]);
    let mut columns = toml::Table::new();
    columns.insert("id".into(), "Int64".into());
    for number in 0..200 {
        let column_type = [
            "Nullable(Int64)",
            "Nullable(String)",
            "Nullable(Float64)",
            "Nullable(Bool)",
        ][number % 4];
        columns.insert(format!("c{number}"), column_type.into());
    }
    set_columns(&mut job, &topic, columns);
    create(&job, &topic, 4);
    let row = |id: u64, change_number: u64| {
        let mut members = String::new();
        for number in 0..200u64 {
            let value = id * 1_000 + number + change_number;
            let _ = match number % 4 {
                0 => write!(members, r#","c{number}":{value}"#),
                1 => write!(members, r#","c{number}":"t{value}""#),
                2 => write!(members, r#","c{number}":{value}.5"#),
                _ => write!(members, r#","c{number}":{}"#, value.is_multiple_of(2)),
            };
        }
        change(if change_number == 0 { "c" } else { "u" }, id, &members)
    };
    let changes = (0..3).flat_map(|change| (0..2_000).map(move |id| (id, change)));
    let records = changes.map(|(id, number)| row(id, number));
    topic::produce(job.bootstrap(), &topic, records).expect("records");
    let peak = run(&job);
    let sums = job.query(
        "SELECT count(), sum(c0), sum(c196), sum(c2), countIf(c3), any(length(c1)) > 0, \
         countIf(c197 != concat('t', toString(id * 1000 + 199))) FROM {db}.wide FINAL",
    );
    let ids = || 0..2_000u64;
    let sum = |column: u64| ids().map(|id| id * 1_000 + column + 2).sum::<u64>();
    let floats = ids().map(|id| (id * 1_000 + 4) as f64 + 0.5).sum::<f64>();
    let expected = format!("2000\t{}\t{}\t{floats}\t0\t1\t0", sum(0), sum(196));
    assert_eq!(sums, expected);
    assert!(peak < MEMORY_MAX, "{} MiB", peak >> 20);
}

#[test]
fn a_thousand_topics_of_one_pattern() {
    const TOPICS: usize = 1_000;
    let mut job = job("many", &[]);
    let topics: Vec<String> = (0..TOPICS)
        .map(|n| format!("{}db.s.t{n}", job.prefix))
        .collect();
    job.set(
        "pipeline.topics",
        vec![format!("^{}db[.]s[.]t[0-9]+$", job.prefix)],
    );
    for topic in &topics {
        let mut columns = toml::Table::new();
        columns.insert("id".into(), "Int64".into());
        columns.insert("v".into(), "Nullable(Int64)".into());
        set_columns(&mut job, topic, columns);
    }
    topic::create_all(job.bootstrap(), &topics, 1).expect("topics");
    // 100 changes of 40 keys each: every key is changed, every fourth of them is deleted in the end.
    let change_number = |n: u64, topic: u64| match n {
        0..40 => change("c", n, &format!(r#","v":{n}"#)),
        40..90 => change("u", n % 40, &format!(r#","v":{}"#, n + topic)),
        _ => change("d", (n - 90) * 4, ""),
    };
    let of_topic = |(number, topic): (u64, String)| {
        (0..100).map(move |n| (topic.clone(), change_number(n, number)))
    };
    let all = (0..).zip(topics.iter().cloned()).flat_map(of_topic);
    topic::produce_to_many(job.bootstrap(), all).expect("records");
    let peak = run(&job);
    let tables = job.query(&format!(
        "SELECT count() FROM system.tables WHERE database = '{}' AND engine = 'ReplacingMergeTree'",
        job.database
    ));
    assert_eq!(tables, TOPICS.to_string());
    for number in [0, 1, 499, 999] {
        let got = job.query(&format!(
            "SELECT count(), sum(v) FROM {{db}}.t{number} FINAL"
        ));
        let last = |id: u64| if id < 10 { 80 + id } else { 40 + id };
        let alive = (0..40u64).filter(|id| id % 4 != 0);
        let sum: u64 = alive.clone().map(|id| last(id) + number).sum();
        assert_eq!(got, format!("{}\t{sum}", alive.count()), "t{number}");
    }
    assert!(peak < MEMORY_MAX, "{} MiB", peak >> 20);
}

#[test]
fn rows_of_a_mebibyte_and_a_burst_on_one_key() {
    let mut job = job("large", &[]);
    let topic = format!("{}shop.public.large", job.prefix);
    job.set("pipeline.topics", vec![topic.clone()]);
    let mut columns = toml::Table::new();
    columns.insert("id".into(), "Int64".into());
    columns.insert("n".into(), "Int64".into());
    columns.insert("big".into(), "Nullable(String)".into());
    set_columns(&mut job, &topic, columns);
    create(&job, &topic, 2);
    let big = |n: u64| format!("{n:08}").repeat(1 << 17);
    let row = |id: u64, n: u64| change("u", id, &format!(r#","n":{n},"big":"{}""#, big(n)));
    // 300 changes of one key, each of a mebibyte, then 30 rows more and 300 changes that leave it out.
    let records = (0..300).map(|n| row(7, n));
    topic::produce(job.bootstrap(), &topic, records).expect("records");
    let records = (100..130).map(|id| row(id, id));
    topic::produce(job.bootstrap(), &topic, records).expect("records");
    let unchanged = r#""__debezium_unavailable_value""#;
    let records = (300..600).map(|n| change("u", 7, &format!(r#","n":{n},"big":{unchanged}"#)));
    topic::produce(job.bootstrap(), &topic, records).expect("records");
    let peak = run(&job);
    let rows = job.query(
        "SELECT count(), min(length(big)), countIf(big = repeat(leftPad(toString(if(id = 7, 299, id)), 8, '0'), 131072)), \
         maxIf(n, id = 7) FROM {db}.large FINAL",
    );
    assert_eq!(rows, "31\t1048576\t31\t599");
    assert!(peak < MEMORY_MAX, "{} MiB", peak >> 20);
}
