//! `streamweir doctor` against real servers, set up wrongly in many ways at once, and rightly; and
//! `streamweir explain`, which judges records as it does.

mod access;
mod servers;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::support::four::Four;
use crate::support::{Job, PATIENCE, command, event};
use sandbox::topic::{self, Record};
use sandbox::wait;
use serde_json::Value;

/// What `streamweir doctor --json` came to: exit code and answer. It is asked again where a server of a busy machine
/// has answered later than it waits for one.
fn doctor(job: &Job, arguments: &[&str]) -> (i32, Value) {
    let is_late = |answer: &Value| checks(answer).iter().any(|c| c.ends_with("_unreachable"));
    let mut last = asked_once(job, arguments);
    for _ in 0..2 {
        if !is_late(&last.1) {
            break;
        }
        last = asked_once(job, arguments);
    }
    last
}

fn asked_once(job: &Job, arguments: &[&str]) -> (i32, Value) {
    let (path, _) = job.write_config("doctor");
    let arguments = [&["doctor", "--json"], arguments].concat();
    let output = command(&path, &arguments).output().expect("it starts");
    let out = String::from_utf8(output.stdout).expect("text");
    let err = String::from_utf8_lossy(&output.stderr);
    let answer = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
    (output.status.code().expect("it ends"), answer)
}

fn findings(answer: &Value) -> Vec<(String, String)> {
    let findings = answer["findings"].as_array().expect("a list").iter();
    let text = |finding: &Value, key: &str| finding[key].as_str().expect("a text").to_owned();
    findings
        .map(|finding| (text(finding, "check"), text(finding, "level")))
        .collect()
}

fn checks(answer: &Value) -> BTreeSet<String> {
    findings(answer)
        .into_iter()
        .map(|(check, _)| check)
        .collect()
}

#[track_caller]
fn assert_found(answer: &Value, expected: &[(&str, &str)]) {
    let found = findings(answer);
    for (check, level) in expected {
        let is_it = |(c, l): &(String, String)| c == check && l == level;
        assert!(found.iter().any(is_it), "{check} {level}: {answer:#}");
    }
}

/// Events of now: their Kafka timestamps are.
fn produce(job: &Job, values: impl IntoIterator<Item = String>) {
    let records = values
        .into_iter()
        .map(|value| Record::new(value).partition(0));
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
}

/// A value for each column that takes a field.
const FULL: &str = r#","page_url":"/","referrer":"","user_agent":"","ip_address":"","country":"","city":"",
                     "properties":{}"#;

/// As it is shipped, but for the pace that tests have.
fn well(name: &str) -> Job {
    let mut job = Job::new(name);
    job.set("pipeline.batch.flush_interval", "5s");
    job.set("pipeline.batch.inserts_per_second_max", 2);
    job.config.remove("topics");
    job
}

#[test]
fn on_servers_that_are_set_up_for_it_nothing_is_found_before_and_after_a_run() {
    let mut job = well("well");
    load_profiles(&job, 0..50);
    job.apply_schema();
    job.create_topic(2);
    produce(&job, (0..50).map(|number| event(number, FULL)));
    let clean = |when: &str| {
        let (code, answer) = doctor(&job, &[]);
        assert_eq!(
            (code, checks(&answer)),
            (0, BTreeSet::new()),
            "{when}: {answer:#}"
        );
        assert!(answer["checks_run"].as_u64() >= Some(50), "{answer}");
    };
    clean("before");
    job.run_to_end();
    clean("after");
    produce(&job, ["no JSON".to_owned(), event(51, FULL)]);
    job.set("pipeline.columns.user_agent.from", "topic");
    assert_explains(&job);
    // Without its server nobody knows whether the table has the row.
    job.set("clickhouse.url", "http://127.0.0.1:1");
    let address = format!("{}:0:7", job.topic);
    let (code, out, err) = job.inspect(&["explain", "--json", &address]);
    assert_eq!(code, 3, "{out}{err}");
    let answer: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(answer["pipelines"][0]["now"], "not_asked", "{answer:#}");
    assert!(err.contains("http://127.0.0.1:1"), "{err}");
}

/// Of the traffic of trials: every hundredth record can never be written, and users come without profile.
const OF_TRAFFIC: [&str; 4] = [
    "sample_rejects",
    "profiles_missing",
    "field_unread",
    "implausible_time",
];

#[test]
fn nothing_is_found_in_the_shipped_configuration_with_a_pipeline_of_each_kind() {
    let mut four = Four::new("four", 2, 7);
    // They have other names here.
    four.whole.config.remove("topics");
    let clean = |when: &str, allowed: &[&str]| {
        let (code, answer) = doctor(&four.whole, &[]);
        let found = checks(&answer);
        let others: Vec<&String> = found.iter().filter(|c| !allowed.contains(&&***c)).collect();
        assert_eq!((code, others), (0, vec![]), "{when}: {answer:#}");
    };
    clean("before", &[]);
    let traffic = four.traffic();
    let daemon = four.start("a");
    let progress = |what: &str, is_there: &dyn Fn() -> bool| {
        wait::until(what, PATIENCE, || is_there().then_some(()))
            .unwrap_or_else(|e| panic!("{e}\n{}", daemon.log()));
    };
    progress("changes are written", &|| four.shop.progress() > 100);
    progress("events are written", &|| four.clickstream.row_count() > 100);
    clean("while it runs", &OF_TRAFFIC);
    traffic.finish();
    daemon.stop();
}

fn load_profiles(job: &Job, users: std::ops::Range<u32>) {
    let mut redis = sandbox::shared().redis.connection().expect("redis");
    for user in users {
        let key = format!("{}user:profile:{user}", job.prefix);
        let profile = r#"{"email":"a@b.c","segment":"gold"}"#;
        let set = redis::cmd("SET").arg(key).arg(profile).exec(&mut redis);
        set.expect("a profile");
    }
}

/// What is written, what is not read yet, and what is not there.
fn assert_explains(job: &Job) {
    let (path, _) = job.write_config("explain");
    let explain = |offset: i64| {
        let address = format!("{}:0:{offset}", job.topic);
        let output = command(&path, &["explain", "--json", &address]).output();
        let output = output.expect("it starts");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code().expect("it ends"), answer)
    };
    let (code, written) = explain(7);
    assert_eq!(code, 0, "{written:#}");
    let own = &written["pipelines"][0];
    let row = &own["row"];
    let seen = [
        &own["outcome"],
        &own["now"],
        &row["event_id"],
        &row["user_segment"],
    ];
    assert_eq!(seen, ["row", "in_table", "e7", "gold"], "{written:#}");
    assert_eq!(row["_offset"], 7, "{written:#}");
    assert_eq!(own["sources"]["event_id"], "$.event_id");
    assert_eq!(own["sources"]["user_email"], "profile $.email");
    assert_eq!(written["record"]["format"], "json");
    let (code, refused) = explain(50);
    let own = &refused["pipelines"][0];
    let seen = [&own["outcome"], &own["reason"], &own["now"]];
    assert_eq!(
        seen,
        ["dead_letter", "invalid_json", "not_committed"],
        "{refused:#}"
    );
    assert_eq!((code, explain(52).0), (0, 1));
    // What is not in the value is known too.
    let (_, unread) = explain(51);
    let own = &unread["pipelines"][0];
    let seen = [&own["outcome"], &own["now"], &own["row"]["user_agent"]];
    assert_eq!(seen, ["row", "not_committed", &*job.topic], "{unread:#}");
    // A row that is there is there, whatever becomes of its record now.
    job.query(&format!(
        "INSERT INTO {} (event_id, _topic, _partition, _offset) VALUES ('e50', '{}', 0, 50)",
        "{db}.clickstream_events", job.topic
    ));
    let (_, there) = explain(50);
    let own = &there["pipelines"][0];
    let seen = [&own["outcome"], &own["now"], &own["row"]["event_id"]];
    assert_eq!(seen, ["dead_letter", "in_table", "e50"], "{there:#}");
}

#[test]
fn topics_groups_and_records_that_are_wrong_are_found_at_once() {
    let mut job = well("wrong-kafka");
    job.apply_schema();
    let letters = job.dead_letter_topic.clone();
    let missing = format!("{}missing", job.prefix);
    let topics = vec![
        job.topic.clone(),
        missing.clone(),
        format!("^{}no-.*$", job.prefix),
    ];
    job.set("pipeline.topics", topics);
    let settings = [
        ("retention.ms", "3600000"),
        ("max.message.bytes", "2000000"),
    ];
    topic::create(job.bootstrap(), &job.topic, 1, &settings).expect("a topic");
    let settings = [
        ("cleanup.policy", "compact"),
        ("max.message.bytes", "1000000"),
    ];
    topic::create(job.bootstrap(), &letters, 1, &settings).expect("a topic");
    let declared: toml::Table = "partitions = 3".parse().expect("TOML");
    let declared = toml::Table::from_iter([(job.topic.clone(), declared.into())]);
    job.config.insert("topics".into(), declared.into());
    let mut values: Vec<String> = (0..30)
        .map(|number| event(number, r#","campaign":"x""#))
        .collect();
    values.push("no JSON".to_owned());
    values.push(r#"{"event_id":"e"}"#.to_owned());
    values.push(event(99, "").replace("1763719299000", "1763719299"));
    produce(&job, values);
    let stale = Record::new(event(7, ""))
        .partition(0)
        .timestamp_ms(1_763_719_200_000);
    let ahead = now_ms() + 1_800_000;
    let ahead = Record::new(event(8, "")).partition(0).timestamp_ms(ahead);
    topic::produce(job.bootstrap(), &job.topic, [stale, ahead]).expect("records");
    // The group is behind what the log has left.
    topic::delete_records_before(job.bootstrap(), &job.topic, 0, 3).expect("deleted");
    let committed = topic::Committed {
        offset: 1,
        metadata: String::new(),
    };
    topic::commit(job.bootstrap(), &job.group, &job.topic, 0, &committed).expect("committed");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (path, _) = job.write_config("doctor");
    let address = taken.local_addr().expect("an address").to_string();
    let output = command(&path, &["doctor", "--json"])
        .env("STREAMWEIR__SERVICE__HTTP_LISTEN", address)
        .env("STREAMWEIR__SERVICE__STATE_DIR", "/proc/none")
        .env("STREAMWEIR__SERVICE__MEMORY_MAX", "96MiB")
        .output()
        .expect("it starts");
    let err = String::from_utf8_lossy(&output.stderr);
    let answer: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {err}"));
    assert_eq!(output.status.code(), Some(1), "{answer:#}");
    let expected = [
        ("topic_missing", "error"),
        ("pattern_matches_nothing", "warning"),
        ("topic_differs", "warning"),
        ("dead_letter_topic", "error"),
        ("dead_letter_topic", "warning"),
        ("offset_out_of_range", "error"),
        ("retention_below_lag", "error"),
        ("clock_skew", "warning"),
        ("sample_rejects", "warning"),
        ("implausible_time", "warning"),
        ("column_unfilled", "warning"),
        ("field_unread", "info"),
        ("profiles_missing", "warning"),
        ("port_taken", "error"),
        ("state_dir", "error"),
        ("memory_small", "warning"),
    ];
    assert_found(&answer, &expected);
    let reject = answer["findings"].as_array().expect("a list").iter();
    let mut reject = reject.filter(|finding| finding["check"] == "sample_rejects");
    let place = reject.next().expect("a finding")["place"]
        .as_str()
        .expect("a text");
    assert!(place.starts_with(&format!("{}:0:3", job.topic)), "{place}");
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.expect("a clock").as_millis()).expect("now")
}

#[test]
fn tables_and_views_that_are_wrong_are_found_at_once() {
    let mut job = well("wrong-tables");
    job.unset("pipeline.lookup");
    job.unset("pipeline.session");
    job.query("CREATE DATABASE {db}");
    job.query(
        "CREATE TABLE {db}.clickstream_events (event_id String, event_type String, user_id UInt64, \
         session_id String, timestamp DateTime64(3), properties String, extra String, \
         sum AggregateFunction(sum, UInt64), _topic LowCardinality(String), _partition UInt32, \
         _offset UInt64) ENGINE = MergeTree ORDER BY timestamp \
         SETTINGS non_replicated_deduplication_window = 10, parts_to_throw_insert = 4",
    );
    job.query(
        "CREATE TABLE {db}.minutes (m DateTime, n UInt64) ENGINE = SummingMergeTree ORDER BY m",
    );
    job.query(
        "CREATE MATERIALIZED VIEW {db}.per_minute TO {db}.minutes AS SELECT toStartOfMinute(timestamp) \
         AS m, count() AS n FROM {db}.clickstream_events GROUP BY m",
    );
    job.query("SYSTEM STOP MERGES {db}.clickstream_events");
    for number in 0..3 {
        let sql = format!("INSERT INTO {{db}}.clickstream_events (event_id) VALUES ('{number}')");
        job.query(&sql);
    }
    job.create_topic(1);
    produce(&job, (0..3).map(|number| event(number, FULL)));
    let (code, answer) = doctor(&job, &[]);
    assert_eq!(code, 1, "{answer:#}");
    let expected = [
        ("type_unsupported", "error"),
        ("column_unfilled", "warning"),
        ("dedup_window_small", "warning"),
        ("offset_index_missing", "warning"),
        ("parts_pressure", "warning"),
        ("view_on_insert", "warning"),
    ];
    assert_found(&answer, &expected);
    job.query("SYSTEM START MERGES {db}.clickstream_events");
    // A view that fails for the records that are there.
    job.query("ALTER TABLE {db}.clickstream_events DROP COLUMN sum");
    job.query("DROP VIEW {db}.per_minute");
    job.query(
        "CREATE MATERIALIZED VIEW {db}.per_minute TO {db}.minutes AS SELECT toDateTime(0) AS m, \
         toUInt64(event_type) AS n FROM {db}.clickstream_events",
    );
    let (code, answer) = doctor(&job, &[]);
    assert_eq!(code, 1, "{answer:#}");
    assert_found(&answer, &[("view_on_insert", "error")]);
    job.query("DROP VIEW {db}.per_minute");
    job.query("DROP TABLE {db}.clickstream_events");
    job.query(
        "CREATE TABLE {db}.clickstream_events (event_id String, event_type String, session_id String, \
         timestamp DateTime64(3), properties String, _topic String, _partition UInt32, _offset UInt64) \
         ENGINE = MergeTree ORDER BY event_id",
    );
    assert_found(&doctor(&job, &[]).1, &[("dedup_window_missing", "warning")]);
    job.query("DROP TABLE {db}.clickstream_events");
    job.query("CREATE TABLE {db}.clickstream_events (event_id String) ENGINE = Memory");
    assert_found(&doctor(&job, &[]).1, &[("engine_not_exact", "error")]);
    job.query("DROP TABLE {db}.clickstream_events");
    assert_found(&doctor(&job, &[]).1, &[("table_missing", "error")]);
}

#[test]
fn replicas_whose_rows_would_not_replace_each_other_are_found() {
    let mut job = Job::replication("wrong-replica");
    job.config.remove("topics");
    job.set("pipeline.topics", vec![job.topic.clone()]);
    let table = job.topic.clone();
    job.query("CREATE DATABASE {db}");
    job.query(&format!(
        "CREATE TABLE {{db}}.`{table}` (id Int64, note Nullable(String), _version UInt64, _deleted UInt8) \
         ENGINE = ReplacingMergeTree(_version) ORDER BY note PARTITION BY note \
         SETTINGS allow_nullable_key = 1, enable_replacing_merge_with_cleanup_for_min_age_to_force_merge = 1, \
         min_age_to_force_merge_seconds = 100, min_age_to_force_merge_on_partition_only = 1, \
         allow_experimental_replacing_merge_with_cleanup = 1"
    ));
    job.create_topic(1);
    let change = r#"{"before":null,"after":{"id":1,"note":"a"},"op":"c","ts_ms":1,"source":{}}"#;
    let record = Record::new(change).key(r#"{"id":1}"#).partition(0);
    topic::produce(job.bootstrap(), &job.topic, [record]).expect("a record");
    let (code, answer) = doctor(&job, &[]);
    assert_eq!(code, 1, "{answer:#}");
    let expected = [
        ("engine_not_exact", "error"),
        ("order_by_not_key", "error"),
        ("partition_key_moves", "error"),
        ("cleanup_forgets_deletes", "warning"),
    ];
    assert_found(&answer, &expected);
}

#[test]
fn servers_that_do_not_answer_are_errors_and_the_rest_is_judged_within_half_a_minute() {
    let mut job = well("away");
    // One that takes connections and says nothing, as a firewall or a stopped process does.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = silent.local_addr().expect("an address");
    job.set("clickhouse.url", format!("http://{silent}"));
    job.set("redis.url", format!("redis://{silent}"));
    job.set("kafka.bootstrap_servers", vec![silent.to_string()]);
    job.set("service.state_dir", "/proc/none");
    let began = Instant::now();
    let (code, answer) = asked_once(&job, &[]);
    // It gives its servers 22 seconds; the rest is the start of a process on a machine at its limit.
    let lasted = began.elapsed();
    assert!(lasted < Duration::from_secs(60), "{lasted:?}");
    assert_eq!(code, 1);
    let expected = [
        ("kafka_unreachable", "error"),
        ("clickhouse_unreachable", "error"),
        ("redis_unreachable", "error"),
        ("state_dir", "error"),
    ];
    assert_found(&answer, &expected);
}

#[test]
fn a_pipeline_that_is_not_there_and_a_file_that_is_wrong_are_usage_errors() {
    let job = well("usage");
    let (path, _) = job.write_config("usage");
    let run = |arguments: &[&str]| {
        let output = command(&path, arguments).output().expect("it starts");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), err)
    };
    let (code, err) = run(&["doctor", "--pipeline", "other"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(
        err.contains("other") && err.contains("clickstream"),
        "{err}"
    );
    std::fs::write(&path, "[service]\nno = 1\n").expect("written");
    let (code, err) = run(&["doctor", "--json"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("service.no"), "{err}");
}
