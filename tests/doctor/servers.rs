//! One thing at a time that is wrong with a server, a group or this process.

use std::process::{Command, Stdio};

use sandbox::clickhouse::ClickHouse;
use sandbox::fault::{Fault, Matcher, Proxy};
use sandbox::topic::{self, Record};
use sandbox::wait;
use serde_json::Value;

use super::{FULL, assert_found, checks, doctor, produce, well};
use crate::support::{Job, PATIENCE, command, event};

/// What a user of ClickHouse needs to write events, but for INSERT.
const READS: [&str; 2] = ["SELECT ON *.*", "SHOW ON *.*"];

#[test]
fn what_a_user_of_clickhouse_may_not_do_and_what_its_profile_does_are_found() {
    let mut engine = ClickHouse::start_in_zone("Europe/Berlin").expect("an engine");
    let mut job = well("users");
    job.clickhouse_url = engine.url();
    job.set("clickhouse.url", engine.url());
    job.apply_schema();
    job.query("ALTER TABLE {db}.clickstream_events ADD COLUMN seen DateTime DEFAULT now()");
    job.create_topic(1);
    produce(&job, (0..3).map(|number| event(number, FULL)));
    let (_, answer) = doctor(&job, &[]);
    assert_found(&answer, &[("time_without_zone", "warning")]);
    for check in ["clickhouse_rights", "profile_limits"] {
        assert!(!checks(&answer).contains(check), "{answer:#}");
    }
    let limits = "<max_concurrent_queries_for_user>1</max_concurrent_queries_for_user>\
                  <constraints><max_insert_threads><readonly/></max_insert_threads></constraints>";
    engine.restrict(limits, &READS).expect("it comes back");
    let (code, answer) = doctor(&job, &[]);
    assert_eq!(code, 1, "{answer:#}");
    let expected = [
        ("clickhouse_rights", "error"),
        ("profile_limits", "error"),
        ("profile_limits", "warning"),
    ];
    assert_found(&answer, &expected);
    let advice = format!(
        "GRANT INSERT ON {}.clickstream_events TO default",
        job.database
    );
    assert!(answer.to_string().contains(&advice), "{advice}: {answer:#}");

    // Whoever does what it says is rid of it.
    let insert = format!("INSERT ON {}.clickstream_events", job.database);
    let grants = [READS[0], READS[1], &insert];
    engine.restrict("", &grants).expect("it comes back");
    let (code, answer) = doctor(&job, &[]);
    for check in ["clickhouse_rights", "profile_limits"] {
        assert!(!checks(&answer).contains(check), "{answer:#}");
    }
    assert_eq!(code, 0, "{answer:#}");
    job.run_to_end();
    assert_eq!(job.rows_and_offsets(), (3, 3));
}

#[test]
fn a_password_that_clickhouse_refuses_is_none_of_a_server_that_is_away() {
    let mut job = well("password");
    job.apply_schema();
    job.create_topic(1);
    // The engine as a library has no passwords: its answer is that of a server.
    let proxy = Proxy::start(&job.clickhouse_url).expect("a proxy");
    let refused = Fault::exception(403, 516, "streamweir: Authentication failed");
    proxy.inject(Matcher::any(), refused, usize::MAX);
    job.set("clickhouse.url", proxy.url());
    let (code, answer) = doctor(&job, &[]);
    assert_eq!(code, 1, "{answer:#}");
    assert_found(&answer, &[("clickhouse_authentication", "error")]);
    assert!(
        !checks(&answer).contains("clickhouse_unreachable"),
        "{answer:#}"
    );
}

#[test]
fn servers_of_two_versions_are_told() {
    let older = ClickHouse::start_version("24.8").expect("an older engine");
    let mut job = well("versions");
    job.apply_schema();
    job.create_topic(1);
    let urls = vec![job.clickhouse_url.clone(), older.url()];
    job.unset("clickhouse.url");
    job.set("clickhouse.urls", urls);
    assert_found(&doctor(&job, &[]).1, &[("server_version", "info")]);
}

#[test]
fn what_is_wrong_with_records_groups_and_redis_is_found() {
    let mut job = well("groups");
    job.apply_schema();
    job.create_topic(2);
    job.set("redis.cluster", true);
    job.set("service.instance_id", "one-of-two");
    job.set("pipeline.dedup.key", vec!["$.event_id".to_owned()]);
    job.set("pipeline.dedup.within", "1h");
    produce(&job, (0..3).map(|number| event(number, FULL)));
    let again = Record::new(event(1, FULL)).partition(1);
    // The frame of a registry: zero, four bytes of number, and Avro behind them.
    let framed = Record::new(b"\0\0\0\0\x07\x02a".to_vec()).partition(1);
    topic::produce(job.bootstrap(), &job.topic, [again, framed]).expect("records");
    let (code, answer) = doctor(&job, &[]);
    assert_eq!(code, 1, "{answer:#}");
    let expected = [
        ("redis_cluster", "error"),
        ("dedup_key_apart", "warning"),
        ("schema_missing", "error"),
    ];
    assert_found(&answer, &expected);
    for check in ["instance_id_shared", "state_missing"] {
        assert!(!checks(&answer).contains(check), "{answer:#}");
    }

    // Another process of the same name is in the group.
    job.unset("redis.cluster");
    let daemon = job.start("other", &[], "");
    job.wait_for_commits_to_end();
    assert_found(&doctor(&job, &[]).1, &[("instance_id_shared", "error")]);
    daemon.stop();

    // Neither the snapshot nor the records that it was made of are there.
    job.forget_snapshots();
    topic::delete_records_before(job.bootstrap(), &job.topic, 0, 3).expect("deleted");
    assert_found(&doctor(&job, &[]).1, &[("state_missing", "error")]);
}

#[test]
fn a_process_that_may_open_few_files_is_told() {
    let job = well("files");
    job.apply_schema();
    job.create_topic(1);
    let (path, _) = job.write_config("doctor");
    let asked = command(&path, &["doctor", "--json"]);
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -n 1024 && exec \"$0\" \"$@\""])
        .arg(asked.get_program())
        .args(asked.get_args())
        .env_remove("FAILPOINTS")
        .stdin(Stdio::null());
    let output = limited.output().expect("it starts");
    let err = String::from_utf8_lossy(&output.stderr);
    let answer: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {err}"));
    assert_found(&answer, &[("file_limit", "warning")]);
}

#[test]
fn keys_that_lie_on_other_partitions_than_before_or_than_the_other_sides_are_found() {
    let mut job = Job::replication("more-partitions");
    job.config.remove("topics");
    job.set("pipeline.topics", vec![job.topic.clone()]);
    job.query("CREATE DATABASE {db}");
    job.query(&format!(
        "CREATE TABLE {{db}}.`{}` (id Int64, note Nullable(String), _version UInt64, _deleted UInt8) \
         ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY id",
        job.topic
    ));
    job.create_topic(1);
    let change = r#"{"before":null,"after":{"id":1,"note":"a"},"op":"c","ts_ms":1,"source":{}}"#;
    let record = Record::new(change).key(r#"{"id":1}"#).partition(0);
    topic::produce(job.bootstrap(), &job.topic, [record]).expect("a record");
    job.run_to_end();
    assert!(!checks(&doctor(&job, &[]).1).contains("partitions_changed"));
    topic::add_partitions(job.bootstrap(), &job.topic, 2).expect("more partitions");
    wait::until("more partitions are found", PATIENCE, || {
        checks(&doctor(&job, &[]).1)
            .contains("partitions_changed")
            .then_some(())
    })
    .expect("found");
    assert_found(&doctor(&job, &[]).1, &[("partitions_changed", "error")]);

    let join = Job::join("apart");
    join.create_topic(2);
    let settings = [("retention.ms", "-1")];
    topic::create(join.bootstrap(), join.right_topic(), 3, &settings).expect("a topic");
    join.create_output(2);
    let (code, answer) = doctor(&join, &[]);
    assert_eq!(code, 1, "{answer:#}");
    assert_found(&answer, &[("co_partitioning", "error")]);
}
