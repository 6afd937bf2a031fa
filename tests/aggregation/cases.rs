//! Every aggregation case of the second implementation: the table and the compacted topic.

use std::collections::BTreeMap;

use sandbox::fault::{Fault, Matcher, Proxy, SeenRequest};
use sandbox::oracle::{self, Case};
use sandbox::{shared, topic};
use toml::Value;

use crate::support::windows::sessions_ddl;
use crate::support::{Job, PATIENCE, material};

/// A job that computes what the case asks for.
fn job(name: &str, case: &Case) -> Job {
    let mut job = Job::aggregation(name, "sales");
    let ms = |value: &serde_json::Value| format!("{}ms", value.as_i64().expect("milliseconds"));
    let config = &case.description.config;
    for key in ["watermark_delay", "allowed_lateness"] {
        job.set(&format!("pipeline.{key}"), ms(&config[format!("{key}_ms")]));
    }
    job.set(
        "pipeline.window.kind",
        config["window"]["kind"].as_str().expect("a kind"),
    );
    job.unset("pipeline.window.size");
    for key in ["size", "slide", "gap"] {
        if let Some(value) = config["window"].get(format!("{key}_ms")) {
            job.set(&format!("pipeline.window.{key}"), ms(value));
        }
    }
    if let Some(field) = config["partitioned_by"].as_str() {
        job.set("pipeline.partitioned_by", field);
    }
    // The shipped configuration reads customers from another field.
    job.set("pipeline.metrics.unique_customers.path", "$.user_id");
    if !case.description.output_topic {
        job.unset("pipeline.output");
    }
    job
}

/// Table, topic, dead letters and commits are what the second implementation says, also after a second
/// run, which finds nothing new.
fn check(name: &str, change: impl FnOnce(&mut Job)) {
    let directory = material(&format!("oracle/cases/dev/{name}"));
    let case = Case::load(&directory).expect("the case is readable");
    let mut job = job(name, &case);
    change(&mut job);
    job.apply_schema();
    case.create_topics(job.bootstrap(), &job.prefix)
        .expect("topics");
    case.produce(job.bootstrap(), &job.prefix).expect("records");
    for run in ["first", "second"] {
        let (code, log) = job.run_to_code(run, &["--until", "latest", "--close"]);
        assert_eq!(code, 0, "{log}");
        compare(&job, &case);
    }
    job.assert_explained(&[&job.topic]);
}

fn compare(job: &Job, case: &Case) {
    let checker = material("oracle/check.py");
    let directory = &case.dir;
    let table = format!(
        "`{}`.{}",
        job.database,
        job.text("pipeline.clickhouse.table")
    );
    let rows = job.query(&oracle::query(&checker, directory, &table).expect("a query"));
    oracle::check_rows(&checker, directory, &rows, &job.prefix).unwrap_or_else(|e| panic!("{e}"));
    let letters = topic::read_all(job.bootstrap(), &job.dead_letter_topic).expect("dead letters");
    oracle::check_dead_letters(&checker, directory, &letters, &job.prefix)
        .unwrap_or_else(|e| panic!("{e}"));
    if case.description.output_topic {
        let rows = compacted(job).into_values().collect::<Vec<_>>().join("\n");
        oracle::check_rows(&checker, directory, &rows, &job.prefix)
            .unwrap_or_else(|e| panic!("topic: {e}"));
    }
}

/// The last value of each key.
fn compacted(job: &Job) -> BTreeMap<String, String> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("a text");
    let mut rows = BTreeMap::new();
    let output = job.text("pipeline.output.topic");
    for message in topic::read_all(job.bootstrap(), output).expect("messages") {
        let key = text(message.key.expect("every row has a key"));
        match message.value {
            Some(value) => rows.insert(key, text(value)),
            None => rows.remove(&key),
        };
    }
    rows
}

#[test]
fn generated_sales_give_the_expected_minutes() {
    // A proxy takes only a few rows at once.
    let proxy = Proxy::start(&shared().clickhouse.url()).expect("a proxy");
    let too_large = Fault::Reject {
        status: 413,
        body: "<html><title>413</title></html>".to_owned(),
    };
    let is_large = |request: &SeenRequest| request.body_bytes > 1_500;
    let large = proxy.inject(Matcher::inserts().only(is_large), too_large, usize::MAX);
    check("sales", |job| job.set("clickhouse.url", proxy.url()));
    assert!(large.hits() > 0);
}

#[test]
fn rows_of_a_few_at_a_time_are_the_same() {
    check("sales", |job| job.set("pipeline.batch.rows_max", 3));
}

#[test]
fn every_edge_of_a_sale_counts_or_is_a_dead_letter_with_its_reason() {
    check("sales-edges", |_| {});
}

#[test]
fn hopping_windows_overlap_as_expected() {
    check("sales-hopping", |_| {});
}

#[test]
fn late_records_correct_a_window_or_are_dead_letters() {
    check("sales-late", |_| {});
}

#[test]
fn sessions_grow_merge_and_end_as_expected() {
    check("sales-sessions", |job| {
        job.set("pipeline.clickhouse.ddl", Value::String(sessions_ddl(job)));
    });
}

#[test]
fn a_running_daemon_emits_the_last_window_though_nothing_follows() {
    let directory = material("oracle/cases/dev/sales");
    let case = Case::load(&directory).expect("the case is readable");
    let mut job = job("sales-live", &case);
    job.set("pipeline.idle_timeout", "500ms");
    job.apply_schema();
    case.create_topics(job.bootstrap(), &job.prefix)
        .expect("topics");
    case.produce(job.bootstrap(), &job.prefix).expect("records");
    let daemon = job.start("live", &[], "");
    let checker = material("oracle/check.py");
    let table = format!(
        "`{}`.{}",
        job.database,
        job.text("pipeline.clickhouse.table")
    );
    let query = oracle::query(&checker, &case.dir, &table).expect("a query");
    let is_equal = || {
        let rows = job.query(&query);
        oracle::check_rows(&checker, &case.dir, &rows, &job.prefix).ok()
    };
    sandbox::wait::until("the table is complete", PATIENCE, is_equal)
        .unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
    compare(&job, &case);
}
