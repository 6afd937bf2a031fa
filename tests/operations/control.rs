//! Pipelines that are moved, created and removed while the process runs.

use std::time::Duration;

use sandbox::{shared, topic, wait};
use serde_json::{Value, json};

use super::{ready, wait_for_page};
use crate::support::{Daemon, Job, PATIENCE};

const TOKEN: &str = "open-sesame";

fn answer_of(daemon: &Daemon, method: &str, target: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let target = format!("/api/v1/streaming/{target}");
    let answer = daemon.request(method, &target, Some(TOKEN), &body);
    let (status, body) = answer.unwrap_or_else(|| panic!("no answer: {}", daemon.log()));
    (status, serde_json::from_str(&body).unwrap_or_default())
}

/// Makes a move that must be taken.
fn make_move(daemon: &Daemon, target: &str) {
    let (status, body) = answer_of(daemon, "POST", target, &Value::Null);
    assert!([200, 202].contains(&status), "{target}: {status} {body}");
}

fn wait_for_state(daemon: &Daemon, name: &str, state: &str) -> Value {
    let path = format!("/api/v1/streaming/{name}");
    let body = wait_for_page(daemon, &path, state, |_, body| {
        let status: Value = serde_json::from_str(body).unwrap_or_default();
        status["state"] == state
    });
    serde_json::from_str(&body).expect("JSON")
}

fn records_read(daemon: &Daemon, name: &str) -> i64 {
    let (_, body) = daemon
        .get(&format!("/api/v1/streaming/{name}"))
        .unwrap_or_default();
    let status: Value = serde_json::from_str(&body).unwrap_or_default();
    let partitions = status["partitions"].as_array().cloned().unwrap_or_default();
    let positions = partitions.iter().filter_map(|p| p["position"].as_i64());
    positions.sum()
}

fn metric(daemon: &Daemon, line: &str) -> Option<f64> {
    let (_, text) = daemon.get("/metrics")?;
    let line = text.lines().find(|l| l.starts_with(line))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// A state is shown a moment before what counts it.
fn wait_for_metric(daemon: &Daemon, line: &str, value: f64) {
    let is_so = || (metric(daemon, line) == Some(value)).then_some(());
    wait::until(line, PATIENCE, is_so).unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
}

#[test]
fn pipelines_are_moved_one_by_one_and_no_row_is_lost_or_doubled() {
    let mut job = ready("moved", 2);
    job.set("service.admin_token", TOKEN);
    let mut beside = ready("beside", 1);
    job.run_beside(&mut beside);
    let daemon = job.start("a", &[], "");
    job.produce_events(0, 0..50);
    beside.produce_events(0, 0..50);
    job.wait_for_rows(50);
    beside.wait_for_rows(50);

    let all_read = || (records_read(&daemon, "clickstream") == 50).then_some(());
    wait::until("positions are shown", PATIENCE, all_read).expect("they are");

    // Paused, it keeps its partitions and reads nothing.
    make_move(&daemon, "clickstream/pause");
    wait_for_state(&daemon, "clickstream", "paused");
    job.produce_events(1, 50..100);
    beside.produce_events(0, 50..60);
    beside.wait_for_rows(60);
    assert_eq!(job.rows_and_offsets(), (50, 50));
    assert_eq!(records_read(&daemon, "clickstream"), 50);
    assert!(
        !daemon.log().contains("partitions revoked"),
        "{}",
        daemon.log()
    );
    make_move(&daemon, "clickstream/resume");
    job.wait_for_rows(100);

    // One drains, its table goes, and it halts when it is started; the other one never stops.
    make_move(&daemon, "clickstream/drain");
    wait_for_state(&daemon, "clickstream", "stopped");
    job.assert_committed_to_end();
    job.query("RENAME TABLE {db}.clickstream_events TO {db}.away");
    make_move(&daemon, "clickstream/start");
    let halted = wait_for_state(&daemon, "clickstream", "halted");
    assert_eq!(halted["halt"]["reason"], "missing_table", "{halted}");
    assert!(
        halted["halt"]["advice"]
            .as_str()
            .is_some_and(|a| a.contains("schema apply"))
    );
    let halt = r#"streamweir_pipeline_halted{pipeline="clickstream",reason="missing_table"}"#;
    wait_for_metric(&daemon, halt, 1.0);
    let (status, body) = answer_of(&daemon, "POST", "clickstream/pause", &Value::Null);
    assert_eq!(status, 409, "{body}");
    beside.produce_events(0, 60..70);
    beside.wait_for_rows(70);
    job.query("RENAME TABLE {db}.away TO {db}.clickstream_events");
    job.produce_events(0, 100..130);
    make_move(&daemon, "clickstream/start");
    job.wait_for_rows(130);
    let running = wait_for_state(&daemon, "clickstream", "running");
    assert!(
        running["halt"].is_null() && running["reason"].is_null(),
        "{running}"
    );
    wait_for_metric(&daemon, halt, 0.0);

    // Stopped at once, what was read is read again; restarted, all is written first.
    make_move(&daemon, "clickstream/stop");
    wait_for_state(&daemon, "clickstream", "stopped");
    job.produce_events(1, 130..160);
    make_move(&daemon, "clickstream/start");
    job.wait_for_rows(160);
    make_move(&daemon, "clickstream/restart");
    wait_for_state(&daemon, "clickstream", "running");
    job.produce_events(0, 160..170);
    job.wait_for_rows(170);
    let (status, body) = answer_of(&daemon, "POST", "clickstream/checkpoint", &Value::Null);
    assert_eq!(status, 202, "{body}");
    // The file's pipelines are changed in the file.
    let (status, body) = answer_of(&daemon, "DELETE", "clickstream", &Value::Null);
    assert_eq!((status, &body["error"]["code"]), (409, &json!("of_file")));

    daemon.stop();
    job.assert_committed_to_end();
    beside.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (170, 170));
    assert_eq!(beside.rows_and_offsets(), (70, 70));
    let log = daemon.log();
    let of_beside = |line: &&str| line.contains("left the group") && line.contains("beside");
    assert_eq!(log.lines().filter(of_beside).count(), 1, "{log}");
}

#[test]
fn a_pipeline_that_halts_or_waits_at_once_shows_its_lag_and_what_it_waits_for() {
    let mut job = ready("at-once", 2);
    job.set("pipeline.start_offset", "fail");
    job.produce_events(0, 0..20);
    job.produce_events(1, 20..30);
    topic::delete_records_before(job.bootstrap(), &job.topic, 0, 5).expect("deleted");
    let mut beside = ready("waits", 1);
    beside.set("pipeline.clickhouse.url", "http://127.0.0.1:1");
    job.run_beside(&mut beside);
    let daemon = job.start("a", &[], "");
    let halted = wait_for_state(&daemon, "clickstream", "halted");
    assert_eq!(halted["halt"]["reason"], "no_offset", "{halted}");
    let labels = |partition: u32| {
        let topic = &job.topic;
        format!("{{pipeline=\"clickstream\",topic=\"{topic}\",partition=\"{partition}\"}}")
    };
    let lags = || {
        let lag = |name: &str, partition| {
            metric(
                &daemon,
                &format!("streamweir_{name}_lag_records{}", labels(partition)),
            )
        };
        let names = ["consumer", "commit"];
        let lags = names.map(|name| [lag(name, 0), lag(name, 1)]);
        (lags == [[Some(15.0), Some(10.0)]; 2]).then_some(())
    };
    wait::until("nothing of the log is read", PATIENCE, lags)
        .unwrap_or_else(|e| panic!("{e}: {:?}", daemon.get("/metrics")));
    let path = "/api/v1/streaming/clickstream";
    wait_for_page(&daemon, path, "the same lag", |_, body| {
        let status: Value = serde_json::from_str(body).unwrap_or_default();
        let partitions = status["partitions"].as_array().into_iter().flatten();
        let shown: Vec<_> = partitions.map(|p| p["lag"].as_i64()).collect();
        shown == [Some(15), Some(10)]
    });
    // What has never answered since the start is an outage.
    let up = r#"streamweir_target_up{pipeline="beside",target="clickhouse"}"#;
    wait::until("it is down", PATIENCE, || {
        (metric(&daemon, up)? == 0.0).then_some(())
    })
    .unwrap_or_else(|e| panic!("{e}: {:?}", daemon.get("/metrics")));
    let (_, body) = daemon.get("/api/v1/streaming/beside").expect("it answers");
    let status: Value = serde_json::from_str(&body).expect("JSON");
    let target = &status["targets"][0];
    assert_eq!(
        (&status["state"], &target["up"]),
        (&json!("starting"), &json!(false))
    );
    let error = target["last_error"].as_str().unwrap_or_default();
    assert!(error.contains("clickhouse.url"), "{body}");
    daemon.process.terminate();
    let status = daemon.process.wait(PATIENCE).expect("it ends");
    assert_eq!(status.code(), Some(4), "{}", daemon.log());
}

#[test]
fn created_pipelines_live_through_kills_and_are_whole_or_not_there() {
    let mut job = ready("created", 1);
    job.set("service.admin_token", TOKEN);
    // Of a member that was killed.
    job.set("kafka.properties.session.timeout.ms", 2_000);
    job.set("kafka.properties.heartbeat.interval.ms", 300);
    let mut pipeline = serde_json::to_value(&job.config["pipeline"][0]).expect("JSON");
    pipeline["name"] = json!("made");
    // The file has none: the process waits for orders.
    job.config
        .insert("pipeline".into(), toml::Value::Array(vec![]));
    job.config.remove("topics");
    let daemon = job.start("a", &[], "");
    wait_for_page(&daemon, "/livez", "it lives", |status, _| status == 200);
    job.produce_events(0, 0..20);
    let order = json!({ "pipeline": pipeline });
    let (status, body) = answer_of(&daemon, "POST", "create", &order);
    assert_eq!(status, 201, "{body}");
    job.wait_for_rows(20);

    // The short form makes its own table and view.
    let events = format!("{}short-events", job.prefix);
    topic::create(job.bootstrap(), &events, 1, &[("retention.ms", "-1")]).expect("a topic");
    let short = short_form(&job, &events);
    let (status, body) = answer_of(&daemon, "POST", "create", &short);
    assert_eq!(status, 201, "{body}");
    assert_eq!(
        body["ignored"][0]["path"], "config.max_poll_records",
        "{body}"
    );
    wait_for_state(&daemon, "short", "running");
    let record = topic::Record::new(crate::support::event(1, ""));
    let record = record.timestamp_ms(crate::support::EVENT_TIME_MS + 1000);
    wait_for_page(&daemon, "/readyz", "all are ready", |status, _| {
        status == 200
    });
    daemon.wait_for_log("partition begins");
    topic::produce(job.bootstrap(), &events, [record]).expect("a record");
    let seen = || (job.query("SELECT count() FROM {db}.short_events") == "1").then_some(());
    wait::until("the short form writes", PATIENCE, seen).expect("a row");
    let metrics = "SELECT sum(event_count) FROM {db}.short_events_metrics_1min";
    assert_eq!(job.query(metrics), "1");

    // Killed while pipelines come and go.
    let (status, _) = answer_of(&daemon, "DELETE", "short", &Value::Null);
    assert_eq!(status, 202);
    daemon.process.kill();
    let daemon = job.start("b", &[], "");
    wait_for_state(&daemon, "made", "running");
    assert_eq!(
        daemon.get("/api/v1/streaming/short").map(|a| a.0),
        Some(404)
    );
    job.produce_events(0, 20..30);
    job.wait_for_rows(30);

    // Replaced, it drains and goes on; the same once more changes nothing.
    let mut changed = order.clone();
    changed["pipeline"]["batch"]["rows_max"] = json!(7);
    let (status, body) = answer_of(&daemon, "PUT", "made", &changed);
    assert_eq!(status, 202, "{body}");
    let (status, body) = answer_of(&daemon, "PUT", "made", &changed);
    assert_eq!(status, 200, "{body}");
    job.produce_events(0, 30..60);
    job.wait_for_rows(60);
    wait_for_state(&daemon, "made", "running");
    let (status, body) = answer_of(&daemon, "DELETE", "made", &Value::Null);
    assert_eq!(status, 202, "{body}");
    let gone = |status, _: &str| status == 404;
    wait_for_page(&daemon, "/api/v1/streaming/made", "it is gone", gone);
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (60, 60));

    // Another token, without a restart; nothing drains.
    job.set("service.admin_token", "another");
    job.write_config_as("b", &daemon.http);
    daemon.process.hang_up();
    daemon.wait_for_log("secrets and certificates were read again");
    let (status, _) = answer_of(&daemon, "POST", "nobody/start", &Value::Null);
    assert_eq!(status, 401, "the old token");
    daemon.stop();
}

fn short_form(job: &Job, events: &str) -> Value {
    json!({
        "pipeline_name": "short",
        "type": "kafka_consumer",
        "config": {
            "bootstrap_servers": shared().kafka.bootstrap(),
            "topics": [events],
            "group_id": format!("{}short", job.prefix),
            "auto_offset_reset": "earliest",
            "enable_auto_commit": false,
            "max_poll_records": 500,
        },
        "processing": {
            "enrichment": {
                "type": "redis_lookup",
                "key_field": "user_id",
                "cache_prefix": "user:profile:",
            },
            "aggregation": {
                "window_size_seconds": 60,
                "metrics": ["event_count", "unique_users", "session_duration"],
            },
        },
        "output": {
            "type": "clickhouse",
            "table": "short_events",
            "batch_size": 1000,
            "flush_interval_ms": Duration::from_millis(300).as_millis() as u64,
        },
    })
}
