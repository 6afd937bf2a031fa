//! `monitoring/`, tried with a real Prometheus that scrapes a real daemon.

use std::process::{Command, Stdio};

use sandbox::fault::{Fault, Matcher, Proxy};
use sandbox::kafka::{Kafka, KafkaOptions};
use sandbox::process::Process;
use sandbox::{shared, topic, wait};
use serde_json::Value;

use super::{ready, wait_for_page};
use crate::support::{Daemon, EVENT_TIME_MS, Job, PATIENCE, command, project_root};

fn monitoring(name: &str) -> String {
    let path = project_root().join("monitoring").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn the_rules_do_what_their_own_tests_say() {
    let directory = project_root().join("monitoring");
    for arguments in [
        ["check", "rules", "alerts.yml"],
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let output = Command::new("promtool")
            .args(arguments)
            .current_dir(&directory)
            .output()
            .expect("promtool is installed");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let failed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}{failed}");
    }
}

/// The rules as they are shipped, but for seconds where they have minutes.
fn rules() -> String {
    let mut rules = monitoring("alerts.yml");
    for (minutes, seconds) in [
        // Ten fail in no ten seconds.
        ("!=\"ok\"}[10m])) > 10", "!=\"ok\"}[10s])) > 0"),
        ("for: 1m", "for: 1s"),
        ("for: 5m", "for: 1s"),
        ("for: 10m", "for: 1s"),
        ("[10m]", "[10s]"),
        ("> 300", "> 3"),
    ] {
        assert!(rules.contains(minutes), "{minutes}");
        rules = rules.replace(minutes, seconds);
    }
    rules
}

/// Debian's Prometheus with those rules.
struct Prometheus {
    process: Process,
    address: String,
    directory: tempfile::TempDir,
}

impl Prometheus {
    fn start(daemon: &Daemon) -> Prometheus {
        let directory = tempfile::tempdir().expect("a directory");
        let port = sandbox::workdir::free_port().expect("a free port");
        let address = format!("127.0.0.1:{port}");
        let rules = rules();
        let config = monitoring("prometheus.yml")
            .replace("15s", "1s")
            .replace("127.0.0.1:9187", &daemon.http);
        let write = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).expect("it is written");
        };
        write("alerts.yml", &rules);
        write("prometheus.yml", &config);
        let log = std::fs::File::create(directory.path().join("log")).expect("a log");
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--web.listen-address={address}"))
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(log);
        let process = Process::spawn(command).expect("prometheus starts");
        Prometheus {
            process,
            address,
            directory,
        }
    }

    fn get(&self, path: &str) -> Option<Value> {
        let url = format!("http://{}{path}", self.address);
        let output = Command::new("curl").args(["-s", "-m", "10", &url]).output();
        serde_json::from_slice(&output.ok()?.stdout).ok()
    }

    /// The result of an expression, as Prometheus gives it.
    fn query(&self, expression: &str) -> Option<Value> {
        let answer = self.get(&format!("/api/v1/query?query={}", encoded(expression)))?;
        (answer["status"] == "success").then(|| answer["data"]["result"].clone())
    }

    fn fires(&self, alert: &str) -> Option<bool> {
        let firing = format!("ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}}");
        Some(!self.query(&firing)?.as_array()?.is_empty())
    }

    fn wait_for_alert(&self, alert: &str, fires: bool, daemon: &Daemon) {
        self.wait_for_alert_during(alert, fires, daemon, || {});
    }

    /// The same while this goes on: what happens once is over before a busy machine has looked twice.
    fn wait_for_alert_during(
        &self,
        alert: &str,
        fires: bool,
        daemon: &Daemon,
        mut goes_on: impl FnMut(),
    ) {
        let what = format!("{alert} {}", if fires { "fires" } else { "resolves" });
        let seen = wait::until(&what, PATIENCE, || {
            goes_on();
            (self.fires(alert)? == fires).then_some(())
        });
        let log = || std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        seen.unwrap_or_else(|e| panic!("{e}: {}\n{}", log(), daemon.log()));
    }

    fn wait_for_value(&self, expression: &str, accept: impl Fn(f64) -> bool, daemon: &Daemon) {
        let mut last = None;
        let seen = wait::until(expression, PATIENCE, || {
            last = self.query(expression);
            let value = last.as_ref()?.get(0)?["value"][1].as_str()?.parse().ok()?;
            accept(value).then_some(())
        });
        seen.unwrap_or_else(|e| panic!("{e}: {last:?}\n{}", daemon.log()));
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.process.kill();
    }
}

fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => (byte as char).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// Every expression of the dashboard, with its variable filled in.
fn expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&monitoring("dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array());
    let expressions = targets.flatten().map(|target| {
        let text = target["expr"].as_str().expect("an expression");
        text.replace("$pipeline", ".*")
    });
    expressions.collect()
}

/// Panels that are empty while all is well.
const EMPTY_IS_GOOD: [&str; 1] = ["streamweir_stuck_seconds"];

#[test]
fn alerts_fire_and_resolve_and_lag_stays_true() {
    let mut job = ready("alerts", 1);
    job.set("service.admin_token", "open-sesame");
    let proxy = Proxy::start(&shared().clickhouse.url()).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    // A process whose only pipeline has halted ends.
    let mut neighbour = ready("alerts-beside", 1);
    job.run_beside(&mut neighbour);
    job.produce_events(0, 0..20);
    let daemon = job.start("a", &[], "");
    job.wait_for_rows(20);
    wait_for_page(&daemon, "/readyz", "it is ready", |status, _| status == 200);
    let prometheus = Prometheus::start(&daemon);
    let up = "streamweir_target_up{pipeline=\"clickstream\",target=\"clickhouse\"}";
    prometheus.wait_for_value(up, |value| value == 1.0, &daemon);
    prometheus.wait_for_alert("StreamweirTargetDown", false, &daemon);

    let lag = "streamweir_commit_lag_records{pipeline=\"clickstream\"}";

    // ClickHouse is away: it shows, what was read gets older, and new records count as lag.
    let away = proxy.inject(Matcher::any(), Fault::Disconnect, usize::MAX);
    job.produce_events(0, 20..40);
    prometheus.wait_for_alert("StreamweirTargetDown", true, &daemon);
    prometheus.wait_for_value(
        "time() - streamweir_oldest_uncommitted_timestamp_seconds{pipeline=\"clickstream\"}",
        |age| age > 5.0,
        &daemon,
    );
    prometheus.wait_for_value(lag, |lag| lag == 20.0, &daemon);
    job.produce_events(0, 40..10_090);
    let mut next = 10_090;
    prometheus.wait_for_alert_during("StreamweirLagGrows", true, &daemon, || {
        job.produce_events(0, next..next + 1);
        next += 1;
    });
    for alert in ["StreamweirOldRecords", "StreamweirPartitionStuck"] {
        prometheus.wait_for_alert(alert, true, &daemon);
    }
    away.stop();
    for alert in [
        "StreamweirTargetDown",
        "StreamweirLagGrows",
        "StreamweirOldRecords",
        "StreamweirPartitionStuck",
    ] {
        prometheus.wait_for_alert(alert, false, &daemon);
    }
    job.wait_for_rows(next as usize);

    // A record that can never be written.
    let bad = topic::Record::new("x")
        .partition(0)
        .timestamp_ms(EVENT_TIME_MS);
    prometheus.wait_for_alert_during("StreamweirDeadLetters", true, &daemon, || {
        topic::produce(job.bootstrap(), &job.topic, [bad.clone()]).expect("a record");
    });

    // Whatever the dashboard asks for is there, but for the second after a page that came too late.
    for expression in expressions() {
        let may_be_empty = EMPTY_IS_GOOD.iter().any(|name| expression.contains(name));
        let has_series = || {
            let result = prometheus.query(&expression)?;
            let is_empty = result.as_array().is_none_or(Vec::is_empty);
            (!is_empty || may_be_empty).then_some(())
        };
        wait::until(&expression, PATIENCE, has_series)
            .unwrap_or_else(|e| panic!("refused, or no series: {e}"));
    }

    prometheus.wait_for_alert("StreamweirDeadLetters", false, &daemon);

    // The pipeline halts; its lag goes on growing in the metric.
    job.query("RENAME TABLE {db}.clickstream_events TO {db}.away");
    job.produce_events(0, next..next + 10);
    prometheus.wait_for_alert("StreamweirPipelineHalted", true, &daemon);
    job.produce_events(0, next + 10..next + 20);
    prometheus.wait_for_value(lag, |lag| lag == 20.0, &daemon);
    prometheus.wait_for_value(
        "streamweir_pipeline_state{pipeline=\"clickstream\",state=\"halted\"}",
        |value| value == 1.0,
        &daemon,
    );
    job.query("RENAME TABLE {db}.away TO {db}.clickstream_events");
    let start = "/api/v1/streaming/clickstream/start";
    let answer = daemon.request("POST", start, Some("open-sesame"), "");
    assert_eq!(answer.map(|(status, _)| status), Some(202));
    prometheus.wait_for_alert("StreamweirPipelineHalted", false, &daemon);
    job.wait_for_rows(next as usize + 20);

    // The process stands still.
    daemon.process.pause();
    prometheus.wait_for_alert("StreamweirDown", true, &daemon);
    daemon.process.resume();
    prometheus.wait_for_alert("StreamweirDown", false, &daemon);
}

#[test]
fn commits_that_fail_are_told_of_until_the_broker_is_back() {
    let kafka = Kafka::start(KafkaOptions::default()).expect("a broker");
    let mut job = Job::new("commits-alert");
    job.bootstrap = kafka.bootstrap().to_owned();
    job.set("kafka.bootstrap_servers", vec![job.bootstrap.clone()]);
    // A commit without coordinator is tried for so long.
    let properties = toml::toml! {
        "session.timeout.ms" = 2000
        "heartbeat.interval.ms" = 500
    };
    job.set("kafka.properties", properties);
    let proxy = Proxy::start(&shared().clickhouse.url()).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    job.apply_schema();
    job.create_topic(1);
    let held = proxy.inject(Matcher::inserts(), Fault::HoldResponse, 1);
    let daemon = job.start("a", &[], "");
    let prometheus = Prometheus::start(&daemon);
    prometheus.wait_for_value("up", |value| value == 1.0, &daemon);
    job.produce_events(0, 0..10);
    held.wait_for_hits(1, PATIENCE).expect("an insert");
    // The rows are written, and nobody takes their commit.
    kafka.kill();
    held.release();
    prometheus.wait_for_alert("StreamweirCommitsFail", true, &daemon);
    kafka.restart().expect("the broker comes back");
    prometheus.wait_for_alert("StreamweirCommitsFail", false, &daemon);
    let is_committed = || {
        let committed = job.committed();
        committed
            .get(&0)
            .is_some_and(|c| c.offset == 10)
            .then_some(())
    };
    wait::until("the rows are committed", PATIENCE, is_committed)
        .unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
    daemon.stop();
    assert_eq!(job.rows_and_offsets(), (10, 10));
}

#[test]
fn a_process_that_is_out_of_memory_is_told_of_until_it_gets_more() {
    let mut job = ready("memory-alert", 1);
    let proxy = Proxy::start(&shared().clickhouse.url()).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    job.set("service.memory_max", "64MiB");
    job.set("pipeline.batch.bytes_max", "16MiB");
    let away = proxy.inject(Matcher::inserts(), Fault::Disconnect, usize::MAX);
    let daemon = job.start("a", &[], "");
    wait_for_page(&daemon, "/readyz", "it is ready", |status, _| status == 200);
    let prometheus = Prometheus::start(&daemon);
    // What cannot be written is held.
    let mut next = 0;
    prometheus.wait_for_alert_during("StreamweirMemoryTight", true, &daemon, || {
        if next < 100_000 {
            job.produce_events(0, next..next + 10_000);
            next += 10_000;
        }
    });
    away.stop();
    job.wait_for_rows(next as usize);
    daemon.stop();
    // As the alert says: more memory.
    job.set("service.memory_max", "1GiB");
    job.write_config_as("a", &daemon.http);
    let mut again = command(&job.directory.path().join("a.toml"), &["run"]);
    again.stdout(Stdio::null()).stderr(Stdio::null());
    let again = Process::spawn(again).expect("the daemon starts");
    prometheus.wait_for_alert("StreamweirMemoryTight", false, &daemon);
    let share = "streamweir_memory_bytes{part=\"resident\"} / on (instance) \
                 streamweir_memory_bytes{part=\"limit\"}";
    prometheus.wait_for_value(share, |share| share < 0.5, &daemon);
    again.terminate();
    assert!(again.wait(PATIENCE).expect("it ends").success());
}
