//! A partition that cannot begin keeps no other one from being read.

use sandbox::fault::{Fault, Matcher, Proxy};
use sandbox::topic::{self, Record};
use sandbox::{shared, wait};

use crate::support::{Daemon, Job, PATIENCE};

/// Five events of each partition.
fn produce(job: &Job, partitions: i32) {
    for partition in 0..partitions {
        let first = partition.unsigned_abs() * 5;
        job.produce_events(partition, first..first + 5);
    }
}

fn wait_for_ready(daemon: &Daemon, status: u16, words: &[&str]) {
    let answers = || {
        let (answered, body) = daemon.get("/readyz")?;
        let says = words.iter().all(|word| body.contains(word));
        (answered == status && says).then_some(())
    };
    let waited = wait::until("readyz", PATIENCE, answers);
    waited.unwrap_or_else(|e| panic!("{e}: {words:?}\n{}", daemon.log()));
}

/// What the JSON says of a pipeline.
fn stuck(daemon: &Daemon, pipeline: &str) -> serde_json::Value {
    let (_, body) = daemon
        .get(&format!("/api/v1/streaming/{pipeline}"))
        .expect("an answer");
    let status: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    status["stuck"].clone()
}

#[test]
fn a_partition_without_leader_and_one_whose_look_hangs_keep_no_other_from_being_read() {
    let mut job = Job::new("unbegun");
    job.apply_schema();
    job.create_topic(3);
    let proxy = Proxy::start(&shared().clickhouse.url()).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    let of_one = Matcher::any().query_contains("_partition = 1");
    let hanging = proxy.inject(of_one, Fault::HoldRequest, usize::MAX);
    produce(&job, 3);
    let daemon = job.start("a", &[], "leaderless_2=7*return->off");
    // A look that hangs is given up after 30 s and begun again; the daemon reads, writes and commits the others.
    hanging.wait_for_hits(1, PATIENCE).expect("it looks");
    wait_for_ready(
        &daemon,
        503,
        &[
            &format!("has not begun {}:2 since", job.topic),
            "has no leader",
        ],
    );
    job.wait_for_rows(10);
    job.produce_events(0, 20..25);
    job.wait_for_rows(15);
    assert_eq!(
        job.query("SELECT count() FROM {db}.clickstream_events WHERE _partition = 1"),
        "0"
    );
    let silent = format!("has not begun {}:1 since", job.topic);
    wait_for_ready(&daemon, 503, &[&silent, "no answer yet"]);
    let shown = stuck(&daemon, "clickstream");
    assert_eq!(shown[0]["partition"], 1, "{shown}");
    assert_eq!(shown[0]["what"], "not_begun", "{shown}");
    let counted = || {
        let (_, metrics) = daemon.get("/metrics")?;
        let mut lines = metrics
            .lines()
            .filter(|l| l.starts_with("streamweir_stuck_seconds{"));
        let of_one = lines.find(|l| l.contains("partition=\"1\""))?;
        (!of_one.ends_with(" 0")).then_some(())
    };
    wait::until("the metric counts", PATIENCE, counted).expect("it does");
    hanging.stop();
    hanging.release();
    job.wait_for_rows(20);
    wait_for_ready(&daemon, 200, &[]);
    assert_eq!(stuck(&daemon, "clickstream"), serde_json::json!([]));
    daemon.wait_for_log("has not begun: recovered after");
    daemon.stop();
    job.assert_committed_to_end();
    let found = "SELECT groupArray((p, n)) FROM (SELECT _partition p, uniqExact(_offset) n FROM \
                 {db}.clickstream_events GROUP BY p ORDER BY p)";
    assert_eq!(job.query(found), "[(0,10),(1,5),(2,5)]");
}

#[test]
fn partitions_that_are_given_back_before_they_began_are_another_members() {
    let mut job = Job::new("unbegun-gone");
    job.apply_schema();
    job.create_topic(4);
    job.set("kafka.properties.session.timeout.ms", 6000);
    produce(&job, 4);
    let never = |partition: i32| format!("leaderless_{partition}=return");
    let points: Vec<_> = (0..4).map(never).collect();
    let sick = job.start("a", &[], &points.join(";"));
    let named = || sick.log().contains("has not begun").then_some(());
    wait::until("it cannot begin", PATIENCE, named).expect("it says so");
    let well = job.start("b", &[], "");
    // Half of them are given to the other one, and the rest when the first one leaves.
    let some = || (job.rows_and_offsets().0 >= 5).then_some(());
    wait::until("some are read", PATIENCE, some).expect("they are");
    sick.stop();
    job.wait_for_rows(20);
    well.stop();
    job.assert_committed_to_end();
}

const TABLES: [&str; 4] = ["sick", "retried", "well", "other"];

fn change_record(id: i64) -> Record {
    let source = r#"{"connector":"postgresql","ts_ms":1763719200123,"snapshot":"false","db":"shop","schema":"public","table":"t","txId":7,"lsn":42}"#;
    let after = format!(r#"{{"id":{id},"v":"a"}}"#);
    Record::new(format!(
        r#"{{"before":null,"after":{after},"source":{source},"op":"c","ts_ms":1763719200456}}"#
    ))
    .key(format!(r#"{{"id":{id}}}"#))
}

/// A pipeline of three tables and one of a fourth.
fn replicas(name: &str) -> Job {
    let mut job = Job::replication(name);
    job.query("CREATE DATABASE IF NOT EXISTS {db}");
    let columns = "id Int64, v Nullable(String), _version UInt64, _deleted UInt8";
    let engine = "ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY id";
    for table in TABLES {
        job.query(&format!("CREATE TABLE {{db}}.{table} ({columns}) {engine}"));
        topic::create(job.bootstrap(), &topic_of(&job, table), 1, &[]).expect("a topic");
    }
    let topics = |tables: &[&str]| -> toml::Value {
        let topics = tables.iter().map(|table| topic_of(&job, table));
        topics.collect::<Vec<_>>().into()
    };
    let (first, second) = (topics(&TABLES[..3]), topics(&TABLES[3..]));
    let mut other = job.config["pipeline"][0].clone();
    let pipeline = other.as_table_mut().expect("a pipeline");
    pipeline.insert("name".into(), "beside".into());
    pipeline.insert("topics".into(), second);
    pipeline.insert("group_id".into(), format!("{}-beside", job.group).into());
    let pipelines = job.config["pipeline"].as_array_mut();
    pipelines.expect("pipelines").push(other);
    job.set("pipeline.topics", first);
    job
}

fn topic_of(job: &Job, table: &str) -> String {
    format!("{}shop.public.{table}", job.prefix)
}

fn write(job: &Job, tables: &[&str], ids: std::ops::Range<i64>) {
    for table in tables {
        let records = ids.clone().map(change_record);
        topic::produce(job.bootstrap(), &topic_of(job, table), records).expect("records");
    }
}

fn wait_for_replica(job: &Job, daemon: &Daemon, table: &str, count: i64) {
    let query = format!("SELECT count() FROM {{db}}.{table} FINAL");
    let is_there = || (job.query(&query) == count.to_string()).then_some(());
    let waited = wait::until(table, PATIENCE, is_there);
    waited.unwrap_or_else(|e| panic!("{e}\n{}", daemon.log()));
}

#[test]
fn a_table_that_cannot_be_looked_at_and_one_that_takes_nothing_keep_no_other_from_being_written() {
    let mut job = replicas("neighbours");
    let proxy = Proxy::start(&shared().clickhouse.url()).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    let looks = Matcher::any().query_contains("'sick'");
    let away = Fault::exception(500, 210, "no route to the shard");
    let looks = proxy.inject(looks, away, usize::MAX);
    let inserts = Matcher::inserts().query_contains("`retried`");
    let read_only = Fault::exception(500, 242, "table is in readonly mode");
    let inserts = proxy.inject(inserts, read_only, usize::MAX);
    write(&job, &TABLES, 0..5);
    let daemon = job.start("a", &[], "");
    wait_for_replica(&job, &daemon, "well", 5);
    wait_for_replica(&job, &daemon, "other", 5);
    // More ranges than there are permits fail and are tried again, and the others go on.
    for round in 1..=6 {
        write(&job, &["retried"], round * 5..round * 5 + 5);
        inserts
            .wait_for_hits(usize::try_from(round).expect("small") * 2, PATIENCE)
            .expect("it is tried again");
    }
    write(&job, &["well", "other"], 5..10);
    wait_for_replica(&job, &daemon, "well", 10);
    wait_for_replica(&job, &daemon, "other", 10);
    let found =
        job.query("SELECT (SELECT count() FROM {db}.sick), (SELECT count() FROM {db}.retried)");
    assert_eq!(found, "0\t0");
    let shown = stuck(&daemon, "replica").to_string();
    for words in [
        "no route to the shard",
        "\"what\":\"not_begun\"",
        "table is in readonly mode",
        "\"range\":\"0-",
        "\"what\":\"not_written\"",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert_eq!(stuck(&daemon, "beside"), serde_json::json!([]));
    looks.stop();
    inserts.stop();
    wait_for_replica(&job, &daemon, "sick", 5);
    wait_for_replica(&job, &daemon, "retried", 35);
    daemon.wait_for_log("is not written: recovered after");
    daemon.stop();
}
