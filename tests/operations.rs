//! Running it: stopping, bounded runs, what it shows, what it never shows.

mod control;
mod limits;
mod monitoring;
mod page;
mod pages;

use std::time::Duration;

use crate::support;
use crate::support::{Daemon, EVENT_TIME_MS, Job, PATIENCE, event};
use sandbox::fault::{Fault, Matcher, Proxy};
use sandbox::kafka::{Kafka, KafkaOptions};
use sandbox::{shared, topic, wait};

fn ready(name: &str, partitions: i32) -> Job {
    let job = Job::new(name);
    job.apply_schema();
    job.create_topic(partitions);
    job
}

/// Waits for an answer of this status that this accepts.
fn wait_for_page(
    daemon: &Daemon,
    path: &str,
    what: &str,
    accept: impl Fn(u16, &str) -> bool,
) -> String {
    let mut last = None;
    let seen = wait::until(what, PATIENCE, || {
        last = daemon.get(path);
        let (status, body) = last.as_ref()?;
        accept(*status, body).then(|| body.clone())
    });
    seen.unwrap_or_else(|e| panic!("{e}: {last:?}: {}", daemon.log()))
}

#[test]
fn a_signal_drains_and_the_next_start_doubles_nothing() {
    let mut job = ready("drain", 2);
    // Nothing is written before the signal.
    job.set("pipeline.batch.flush_interval", "10m");
    job.produce_events(0, 0..700);
    job.produce_events(1, 0..300);
    for signal in ["SIGTERM", "SIGINT"] {
        let daemon = job.start(signal, &[], "");
        let read = |body: &str| {
            let json: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
            let partitions = json["pipelines"][0]["partitions"].as_array().cloned();
            partitions.is_some_and(|p| p.len() == 2 && p.iter().all(|p| p["lag"] == 0))
        };
        wait_for_page(&daemon, "/api/v1/streaming", "all is read", |_, body| {
            read(body)
        });
        if signal == "SIGTERM" {
            assert_eq!(job.rows_and_offsets(), (0, 0));
            daemon.stop();
        } else {
            daemon.process.interrupt();
            let status = daemon.process.wait(PATIENCE).expect("it ends");
            assert!(status.success(), "{status}: {}", daemon.log());
        }
        job.assert_committed_to_end();
        assert_eq!(job.rows_and_offsets(), (1000, 1000));
    }
}

#[test]
fn a_second_signal_exits_at_once_and_the_next_start_repairs() {
    let mut job = ready("twice", 1);
    let proxy = Proxy::start(&shared().clickhouse.url()).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    let held = proxy.inject(Matcher::inserts(), Fault::HoldResponse, usize::MAX);
    job.produce_events(0, 0..10);
    let daemon = job.start("a", &[], "");
    held.wait_for_hits(1, PATIENCE)
        .expect("an insert is on its way");
    // One within a second is the same wish, sent twice; of one kind the second could be lost in the first.
    daemon.process.terminate();
    daemon.process.interrupt();
    daemon.wait_for_log("a second signal exits at once");
    daemon.wait_for_log("this signal came with the first one");
    assert!(
        daemon.process.try_wait().is_none(),
        "it waits for the insert"
    );
    let ended = wait::until("a later one ends it", PATIENCE, || {
        daemon.process.terminate();
        daemon.process.try_wait()
    });
    let status = ended.expect("it ends at once");
    assert_eq!(status.code(), Some(1), "{}", daemon.log());
    held.stop();
    held.release();
    job.run_to_end();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (10, 10));
}

#[test]
fn a_drain_that_cannot_finish_ends_within_the_shutdown_timeout() {
    let mut job = ready("overdue", 1);
    job.set("service.shutdown_timeout", "2s");
    let proxy = Proxy::start(&shared().clickhouse.url()).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    let cut = proxy.inject(Matcher::inserts(), Fault::Disconnect, usize::MAX);
    job.produce_events(0, 0..10);
    let daemon = job.start("a", &[], "");
    cut.wait_for_hits(2, PATIENCE).expect("inserts fail");
    daemon.process.terminate();
    daemon
        .process
        .wait(Duration::from_secs(20))
        .expect("it ends");
    cut.stop();
    job.run_to_end();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (10, 10));
}

#[test]
fn a_signal_while_the_broker_is_away_ends_within_the_shutdown_timeout_and_the_next_start_goes_on() {
    let kafka = Kafka::start(KafkaOptions::default()).expect("a broker");
    let mut job = Job::new("outage");
    job.bootstrap = kafka.bootstrap().to_owned();
    job.set("kafka.bootstrap_servers", vec![job.bootstrap.clone()]);
    job.set("service.shutdown_timeout", "5s");
    // Nobody can leave: the next one waits for so long.
    let properties = toml::toml! {
        "session.timeout.ms" = 2000
        "heartbeat.interval.ms" = 500
    };
    job.set("kafka.properties", properties);
    job.apply_schema();
    job.create_topic(2);
    job.produce_events(0, 0..10);
    // Idle, and with records that wait to be written.
    for (instance, flush_interval, rows) in [("idle", "300ms", 10), ("busy", "10m", 10)] {
        job.set("pipeline.batch.flush_interval", flush_interval);
        let daemon = job.start(instance, &[], "");
        job.wait_for_rows(10);
        if instance == "busy" {
            job.produce_events(1, 10..30);
            wait_for_page(&daemon, "/api/v1/streaming", "all is read", |_, body| {
                body.contains(r#""position":20"#)
            });
        }
        kafka.kill();
        daemon.process.terminate();
        let status = daemon.process.wait(Duration::from_secs(20));
        let status = status.unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
        assert_eq!(status.code(), Some(0), "{status}: {}", daemon.log());
        assert_eq!(job.rows_and_offsets(), (rows, rows));
        kafka.restart().expect("the broker comes back");
    }
    job.set("pipeline.batch.flush_interval", "300ms");
    job.run_to_end();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (30, 30));
    // One that answers again in time is told that the member leaves.
    job.set("service.shutdown_timeout", "30s");
    let daemon = job.start("moment", &[], "");
    daemon.wait_for_log("partition begins");
    kafka.pause();
    daemon.process.terminate();
    daemon.wait_for_log("waiting for it before the group is left");
    kafka.resume();
    let status = daemon.process.wait(PATIENCE);
    let status = status.unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
    assert!(daemon.log().contains("left the group"), "{}", daemon.log());
}

#[test]
fn a_signal_during_a_rebalance_leaves_the_group_and_the_other_member_goes_on() {
    let job = ready("rebalancing", 4);
    job.produce_events(0, 0..10);
    let first = job.start("first", &[], "");
    job.wait_for_rows(10);
    let second = job.start("second", &[], "");
    first.wait_for_log("partitions revoked");
    first.process.terminate();
    let status = first.process.wait(PATIENCE).expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", first.log());
    assert!(first.log().contains("left the group"), "{}", first.log());
    for partition in 0..4 {
        job.produce_events(partition, 10..20);
    }
    job.wait_for_rows(50);
    second.stop();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (50, 50));
}

#[test]
fn a_run_until_a_time_stops_before_the_first_record_of_that_time_and_a_later_one_goes_on() {
    let job = ready("until", 2);
    job.produce_events(0, 0..100);
    job.produce_events(1, 60..80);
    // Event 42 was written 42 s after the first.
    let (code, log) = job.run_to_code("a", &["--until", "2025-11-21T10:00:42Z"]);
    assert_eq!(code, 0, "{log}");
    assert_eq!(
        job.query("SELECT max(_offset), max(_partition), count() FROM {db}.clickstream_events"),
        "41\t0\t42"
    );
    assert_eq!(job.committed().get(&0).map(|c| c.offset), Some(42));
    let (code, log) = job.run_to_code("b", &["--until", "2025-11-21T11:01:10.5+01:00"]);
    assert_eq!(code, 0, "{log}");
    assert_eq!(job.rows_and_offsets(), (71 + 11, 71 + 11));
    job.run_to_end();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (120, 120));
}

#[test]
fn a_run_until_latest_ends_at_the_end_it_saw_while_records_keep_arriving() {
    let job = ready("moving", 1);
    job.produce_events(0, 0..200);
    let daemon = job.start("a", &["--until", "latest"], "");
    let mut next = 200;
    let status = wait::until("the run ends", PATIENCE, || {
        job.produce_events(0, next..next + 5);
        next += 5;
        daemon.process.try_wait()
    });
    let status = status.expect("records that arrive later do not keep it");
    assert!(status.success(), "{}", daemon.log());
    let (rows, offsets) = job.rows_and_offsets();
    assert_eq!(rows, offsets);
    assert!((200..next as usize).contains(&rows), "{rows} of {next}");
    assert_eq!(job.committed()[&0].offset, rows as i64);
    job.run_to_end();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (next as usize, next as usize));
}

#[test]
fn a_single_record_arrives_without_further_traffic() {
    let job = ready("fresh", 1);
    let daemon = job.start("a", &[], "");
    daemon.wait_for_log("partition begins");
    for number in 0..3 {
        job.produce_events(0, number..number + 1);
        job.wait_for_rows(number as usize + 1);
    }
    daemon.stop();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (3, 3));
}

#[test]
fn a_client_that_never_hears_of_its_group_again_is_replaced() {
    let mut job = ready("unheard", 1);
    job.set("kafka.properties.session.timeout.ms", 6_000);
    job.set("kafka.properties.max.poll.interval.ms", 9_000);
    job.set("pipeline.revoke_timeout", "2s");
    job.set("clickhouse.insert_timeout", "5s");
    let daemon = job.start("a", &[], "unheard_assignment=1*return->off");
    job.produce_events(0, 0..10);
    job.wait_for_rows(10);
    let log = daemon.log();
    assert!(log.contains("another client tries"), "{log}");
    daemon.stop();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (10, 10));
}

#[test]
fn a_topic_that_comes_later_is_waited_for_and_new_partitions_are_taken_up() {
    let mut job = Job::new("later");
    job.apply_schema();
    job.set("kafka.properties.topic.metadata.refresh.interval.ms", 500);
    let daemon = job.start("a", &[], "");
    daemon.wait_for_log("does not exist");
    let starting = daemon.get("/readyz").expect("an answer");
    assert_eq!(starting.0, 503, "{starting:?}");
    job.create_topic(1);
    job.produce_events(0, 0..5);
    job.wait_for_rows(5);
    wait_for_page(&daemon, "/readyz", "it is ready", |status, _| status == 200);
    topic::add_partitions(job.bootstrap(), &job.topic, 3).expect("partitions");
    job.produce_events(2, 0..5);
    job.produce_events(1, 0..5);
    job.wait_for_rows(15);
    // The partition that stayed was at its end meanwhile: its next record is not passed over.
    job.produce_events(0, 5..6);
    job.wait_for_rows(16);
    daemon.stop();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (16, 16));
}

#[test]
fn topics_of_a_pattern_are_read_and_those_that_come_later_too() {
    let mut job = Job::new("pattern");
    job.apply_schema();
    job.set("kafka.properties.topic.metadata.refresh.interval.ms", 500);
    let names = ["a", "b", "later"].map(|end| format!("{}clicks-{end}", job.prefix));
    job.set("pipeline.topics", vec![format!("^{}clicks-.*", job.prefix)]);
    let write = |name: &str| {
        topic::create(job.bootstrap(), name, 1, &[("retention.ms", "-1")]).expect("a topic");
        let record = topic::Record::new(event(1, "")).timestamp_ms(EVENT_TIME_MS + 1000);
        topic::produce(job.bootstrap(), name, [record]).expect("a record");
    };
    write(&names[0]);
    write(&names[1]);
    write(&format!("{}other", job.prefix));
    job.run_to_end();
    let seen = |job: &Job| job.query("SELECT _topic FROM {db}.clickstream_events ORDER BY 1");
    assert_eq!(seen(&job).lines().collect::<Vec<_>>(), names[..2]);
    let daemon = job.start("a", &[], "");
    daemon.wait_for_log("partition begins");
    write(&names[2]);
    job.wait_for_rows(3);
    daemon.stop();
    assert_eq!(seen(&job).lines().collect::<Vec<_>>(), names);
}

#[test]
fn two_instances_of_one_configuration_share_the_partitions() {
    let job = ready("pair", 4);
    let daemons = ["a", "b"].map(|instance| job.start(instance, &[], ""));
    let count = |daemon: &Daemon| {
        let (_, body) = daemon.get("/api/v1/streaming")?;
        let json: serde_json::Value = serde_json::from_str(&body).ok()?;
        Some(json["pipelines"][0]["partitions"].as_array()?.len())
    };
    wait::until("both have two partitions", PATIENCE, || {
        daemons.iter().all(|d| count(d) == Some(2)).then_some(())
    })
    .unwrap_or_else(|e| panic!("{e}: {:?}", daemons.each_ref().map(count)));
    (0..4).for_each(|partition| job.produce_events(partition, 0..50));
    job.wait_for_rows(200);
    daemons[0].stop();
    (0..4).for_each(|partition| job.produce_events(partition, 50..60));
    job.wait_for_rows(240);
    daemons[1].stop();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (240, 240));
}

/// The names of design §5 that a pipeline of this kind has, each with labels it must carry.
const METRICS: [(&str, &[&str]); 24] = [
    ("records_consumed_total", &["pipeline"]),
    ("bytes_consumed_total", &["pipeline"]),
    ("rows_written_total", &["pipeline"]),
    ("dead_letters_total", &["pipeline", "reason"]),
    ("commits_total", &["pipeline", "result"]),
    ("consumer_lag_records", &["pipeline", "topic", "partition"]),
    ("commit_lag_records", &["pipeline", "topic", "partition"]),
    ("consumer_lag_seconds", &["pipeline", "topic", "partition"]),
    ("freshness_seconds_bucket", &["pipeline", "le"]),
    ("batch_rows_bucket", &["pipeline", "le"]),
    ("batch_bytes_bucket", &["pipeline", "le"]),
    ("insert_seconds_bucket", &["pipeline", "le"]),
    ("inserts_total", &["pipeline", "table", "result", "code"]),
    ("flush_interval_effective_seconds", &["pipeline"]),
    ("lookups_total", &["pipeline", "result"]),
    ("lookup_seconds_bucket", &["pipeline", "le"]),
    (
        "watermark_timestamp_seconds",
        &["pipeline", "topic", "partition"],
    ),
    ("state_bytes", &["pipeline"]),
    ("rebalances_total", &["pipeline"]),
    ("records_dropped_total", &["pipeline", "reason"]),
    ("retries_total", &["pipeline", "target", "reason"]),
    ("lane_time_seconds_total", &["pipeline", "stage"]),
    ("memory_bytes", &["part"]),
    ("build_info", &["version"]),
];

/// The sum over all series of a metric; `None` without any.
fn total(metrics: &str, name: &str) -> Option<f64> {
    let full = format!("streamweir_{name}");
    let of_it = metrics.lines().filter(|line| {
        line.strip_prefix(full.as_str())
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
    });
    let values: Vec<f64> = of_it
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

#[test]
fn metrics_health_and_state_tell_what_happened() {
    let mut job = ready("shown", 1);
    // All records are in one batch, however long it takes to read them.
    job.set("pipeline.batch.flush_interval", "3s");
    let proxy = Proxy::start(&shared().clickhouse.url()).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    job.set(
        "pipeline.dead_letter.skip",
        vec![format!("{}:0:1", job.topic)],
    );
    proxy.inject(
        Matcher::inserts(),
        Fault::exception(500, 241, "Memory limit exceeded"),
        1,
    );
    job.produce_events(0, 0..20);
    let bad = topic::Record::new("x")
        .partition(0)
        .timestamp_ms(EVENT_TIME_MS);
    topic::produce(job.bootstrap(), &job.topic, [bad]).expect("a record");
    let daemon = job.start("a", &[], "");
    job.wait_for_rows(19);
    wait_for_page(&daemon, "/readyz", "it is ready", |status, _| status == 200);
    assert_eq!(daemon.get("/livez").expect("an answer").0, 200);
    let caught_up = |_, body: &str| {
        let json: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        let pipeline = &json["pipelines"][0];
        let partition = &pipeline["partitions"][0];
        pipeline["rows_written"] == 19
            && pipeline["dead_letters"] == 1
            && pipeline["state"] == "running"
            && pipeline["kind"] == "enrichment"
            && ["position", "committed", "end"]
                .iter()
                .all(|key| partition[*key] == 21)
            && partition["lag"] == 0
            && partition["topic"] == job.topic.as_str()
    };
    wait_for_page(&daemon, "/api/v1/streaming", "it has caught up", caught_up);
    let (status, one) = daemon
        .get("/api/v1/streaming/clickstream")
        .expect("an answer");
    assert!(status == 200 && one.contains("\"clickstream\""), "{one}");
    assert_eq!(
        daemon.get("/api/v1/streaming/other").expect("an answer").0,
        404
    );
    let (status, page) = daemon.get("/").expect("an answer");
    assert!(
        status == 200 && page.contains("clickstream") && page.contains(&job.topic),
        "what is shown without scripts: {page}"
    );
    assert!(
        !page.contains("http://") && !page.contains("https://"),
        "no external assets"
    );
    let settled = |_, body: &str| {
        total(body, "rows_written_total") == Some(19.0)
            && total(body, "commit_lag_records") == Some(0.0)
    };
    let metrics = wait_for_page(&daemon, "/metrics", "the metrics have caught up", settled);
    for (name, labels) in METRICS {
        let full = format!("streamweir_{name}");
        let line = metrics.lines().find(|line| {
            line.strip_prefix(full.as_str())
                .is_some_and(|rest| rest.starts_with('{'))
        });
        let line = line.unwrap_or_else(|| panic!("{full} is missing: {metrics}"));
        for label in labels {
            assert!(line.contains(&format!("{label}=\"")), "{label}: {line}");
        }
    }
    for (name, value) in [
        ("records_consumed_total", 21.0),
        ("dead_letters_total", 1.0),
        ("records_dropped_total", 1.0),
        ("consumer_lag_records", 0.0),
        ("lookups_total", 19.0),
        ("retries_total", 1.0),
        ("batch_rows_count", 1.0),
        ("pipeline_halted", 0.0),
    ] {
        let seen = total(&metrics, name).or((value == 0.0).then_some(0.0));
        assert_eq!(seen, Some(value), "{name}: {metrics}");
    }
    for stage in ["poll", "decode", "operate", "encode", "idle"] {
        let label = format!("stage=\"{stage}\"");
        let line = metrics
            .lines()
            .find(|line| line.starts_with("streamweir_lane_time") && line.contains(&label));
        let seconds = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        assert!(seconds.is_some_and(|s| s > 0.0), "{stage}: {metrics}");
    }
    for (name, kind) in [
        ("rows_written_total", "counter"),
        ("lane_time_seconds_total", "counter"),
        ("batch_rows", "histogram"),
    ] {
        assert!(
            metrics.contains(&format!("# TYPE streamweir_{name} {kind}")),
            "{name}: {metrics}"
        );
    }
    daemon.stop();
}

#[test]
fn secrets_appear_nowhere() {
    let mut job = ready("secrets", 1);
    job.produce_events(0, 0..5);
    let secrets = ["click-secret-1", "sasl-secret-2", "redis-secret-3"];
    let redis = shared()
        .redis
        .url()
        .replace("redis://", &format!("redis://user:{}@", secrets[2]));
    job.set("clickhouse.password", secrets[0]);
    job.set("kafka.properties.sasl.password", secrets[1]);
    job.set("redis.url", redis);
    job.set("pipeline.lookup.on_unavailable", "use_defaults");
    let daemon = job.start("a", &[], "");
    job.wait_for_rows(5);
    let pages = ["/", "/metrics", "/api/v1/streaming", "/readyz", "/livez"];
    let mut shown: Vec<String> = pages
        .iter()
        .map(|page| daemon.get(page).expect("an answer").1)
        .collect();
    daemon.stop();
    shown.push(daemon.log());
    job.set("service.start_timeout", "1s");
    let right = [
        (
            "clickhouse.url",
            toml::Value::from(shared().clickhouse.url()),
        ),
        (
            "kafka.bootstrap_servers",
            vec![job.bootstrap().to_owned()].into(),
        ),
    ];
    for (key, value) in right {
        let nowhere = if value.is_array() {
            vec!["127.0.0.1:1"].into()
        } else {
            toml::Value::from("http://127.0.0.1:1")
        };
        job.set(key, nowhere);
        shown.push(job.run_to_code(key, &[]).1);
        job.set(key, value);
    }
    job.set("pipeline.lookup.on_unavailable", "wait");
    shown.push(job.run_to_code("redis", &[]).1);
    job.set("clickhouse.user", 5);
    job.set("redis.timeout", "never");
    let (path, _) = job.write_config("check");
    for arguments in [&["check"][..], &["check", "--json"], &["run"]] {
        let output = support::command(&path, arguments)
            .output()
            .expect("it starts");
        assert_eq!(output.status.code(), Some(2));
        shown.push(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned());
    }
    for text in shown {
        assert!(!text.is_empty());
        for secret in secrets {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
}

#[test]
fn json_logs_are_one_object_a_line() {
    let mut job = ready("json-logs", 1);
    job.set("service.log_format", "json");
    job.produce_events(0, 0..5);
    let (code, log) = job.run_to_code("a", &["--until", "latest"]);
    assert_eq!(code, 0, "{log}");
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    assert!(lines.len() >= 3, "{log}");
    for line in &lines {
        assert!(
            line["level"].is_string() && line["timestamp"].is_string(),
            "{line}"
        );
    }
    assert!(log.contains("partition begins"), "{log}");
}

#[test]
fn a_clickhouse_that_stops_answering_ends_readiness_until_it_answers_again() {
    let mut job = ready("unready", 1);
    let proxy = Proxy::start(&shared().clickhouse.url()).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    let daemon = job.start("a", &[], "");
    wait_for_page(&daemon, "/readyz", "it is ready", |status, _| status == 200);
    // A partition that waits for the table is another complaint.
    daemon.wait_for_log("partition begins");
    let held = proxy.inject(Matcher::any(), Fault::HoldRequest, usize::MAX);
    let complaint = wait_for_page(&daemon, "/readyz", "it is not ready", |status, _| {
        status == 503
    });
    assert!(complaint.contains("has not answered for 3"), "{complaint}");
    let (status, _) = daemon.get("/livez").expect("an answer");
    assert_eq!(
        status, 200,
        "a server that hangs is no reason to be restarted"
    );
    held.stop();
    held.release();
    wait_for_page(&daemon, "/readyz", "it is ready again", |status, _| {
        status == 200
    });
    daemon.stop();
}

/// In the lane's own thread, and in a task beside it.
#[test]
fn a_panic_ends_its_pipeline_alone_and_the_next_start_doubles_nothing() {
    for point in ["after_seal", "before_insert"] {
        let name = format!("panic-{}", point.replace('_', "-"));
        let (mut job, mut neighbour) = (ready(&name, 1), ready(&format!("{name}-beside"), 1));
        job.produce_events(0, 0..100);
        job.run_beside(&mut neighbour);
        // Its neighbour has no records yet, and both points are passed with rows alone.
        let daemon = job.start("a", &[], &format!("{point}=1*panic"));
        daemon.wait_for_log("reason=\"panic\"");
        wait_for_page(&daemon, "/metrics", point, |_, metrics| {
            total(metrics, "pipeline_halted") == Some(1.0)
        });
        neighbour.produce_events(0, 0..50);
        neighbour.wait_for_rows(50);
        daemon.process.terminate();
        let status = daemon.process.wait(PATIENCE).expect("the daemon ends");
        let log = daemon.log();
        assert_eq!(status.code(), Some(4), "{log}");
        for words in ["panic", point, "pipeline=\"clickstream\"", "report"] {
            assert!(log.contains(words), "{words}: {log}");
        }
        job.run_to_end();
        assert_eq!(job.rows_and_offsets(), (100, 100), "{point}");
        assert_eq!(neighbour.rows_and_offsets(), (50, 50), "{point}");
    }
}
