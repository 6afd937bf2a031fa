//! A pipeline of its own for each test: topic, group, database, configuration and daemons.
#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "each test executable uses its own part"
)]

pub mod changes;
pub mod four;
pub mod inspect;
pub mod join_model;
pub mod join_records;
pub mod joins;
pub mod live;
pub mod proof;
pub mod registry;
pub mod replica;
pub mod sessions;
pub mod skewed;
pub mod traffic;
pub mod window_model;
pub mod windows;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use sandbox::process::Process;
use sandbox::{shared, topic, unique, wait};
use tempfile::TempDir;
use toml::{Table, Value};

/// How long a test waits for anything before it calls it missing, on a machine that runs five of them on two
/// processors.
pub const PATIENCE: Duration = Duration::from_secs(240);
/// How long reading all that a trial has left behind may take there.
pub const TO_THE_END: Duration = Duration::from_secs(480);
/// How long one answer of a daemon may take there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Of a release build, so many are in memory once it has read, joined and written; of a debug build,
/// 31.
const RELEASE_CODE_MIB: u64 = 20;

/// Everything one test needs, under names nobody else has.
pub struct Job {
    /// What stands before topic names and Redis keys.
    pub prefix: String,
    pub topic: String,
    pub dead_letter_topic: String,
    pub group: String,
    pub database: String,
    /// `host:port` of the broker.
    pub bootstrap: String,
    /// Where the tests ask; the daemon may be sent there by way of a proxy.
    pub clickhouse_url: String,
    pub config: Table,
    pub directory: TempDir,
}

/// A daemon and where its log goes.
pub struct Daemon {
    pub process: Process,
    pub log: PathBuf,
    pub http: String,
}

impl Job {
    /// The shipped configuration with one enrichment pipeline, pointed at the sandbox; tables
    /// are made, topics are not.
    pub fn new(name: &str) -> Job {
        let parts = shared();
        let prefix = format!("{}-", unique(name).replace('_', "-"));
        let shipped = project_root().join("config.toml");
        let text = std::fs::read_to_string(shipped).expect("the shipped configuration");
        let mut config: Table = text.parse().expect("the shipped configuration is TOML");
        keep_pipeline(&mut config, "clickstream");
        let directory = tempfile::tempdir().expect("a directory");
        let mut job = Job {
            topic: format!("{prefix}user-events"),
            dead_letter_topic: format!("{prefix}dead-letters"),
            group: format!("{prefix}group"),
            database: prefix.replace('-', "_"),
            bootstrap: parts.kafka.bootstrap().to_owned(),
            clickhouse_url: parts.clickhouse.url(),
            prefix,
            config,
            directory,
        };
        let state_dir = job.directory.path().join("state");
        job.set("service.state_dir", state_dir.display().to_string());
        job.set("service.start_timeout", "180s");
        job.set(
            "kafka.bootstrap_servers",
            vec![parts.kafka.bootstrap().to_owned()],
        );
        job.set("clickhouse.url", parts.clickhouse.url());
        job.set("clickhouse.database", job.database.clone());
        job.set("redis.url", parts.redis.url());
        job.set("pipeline.topics", vec![job.topic.clone()]);
        job.set("pipeline.group_id", job.group.clone());
        job.set("pipeline.dead_letter.topic", job.dead_letter_topic.clone());
        job.set("pipeline.dead_letter.ratio_max", 1.0);
        job.set("pipeline.batch.flush_interval", "300ms");
        job.set("pipeline.batch.inserts_per_second_max", 1000);
        job.set(
            "pipeline.lookup.key_prefix",
            format!("{}user:profile:", job.prefix),
        );
        let ddl = project_root().join("sql/clickstream_events.sql");
        job.set("pipeline.clickhouse.ddl", ddl.display().to_string());
        job
    }

    /// A configuration with one pipeline of the kind `cdc` and no topics yet, pointed at the sandbox;
    /// neither topics nor tables are made.
    pub fn replication(name: &str) -> Job {
        let mut job = Job::new(name);
        let pipeline = toml::toml! {
            name = "replica"
            kind = "cdc"
        };
        job.config["pipeline"] = Value::Array(vec![Value::Table(pipeline)]);
        job.set("pipeline.group_id", job.group.clone());
        job.set("pipeline.dead_letter.topic", job.dead_letter_topic.clone());
        job.set("pipeline.debezium.decimal_mode", "precise");
        job
    }

    /// A configuration with one pipeline of the kind `raw`, pointed at the sandbox, and its table made; the
    /// topic is not.
    pub fn raw(name: &str) -> Job {
        let mut job = Job::new(name);
        let pipeline = toml::toml! {
            name = "bronze"
            kind = "raw"
        };
        job.config["pipeline"] = Value::Array(vec![Value::Table(pipeline)]);
        job.set("pipeline.topics", vec![job.topic.clone()]);
        job.set("pipeline.group_id", job.group.clone());
        job.set("pipeline.dead_letter.topic", job.dead_letter_topic.clone());
        job.set("pipeline.batch.flush_interval", "100ms");
        job.set("pipeline.batch.inserts_per_second_max", 1000);
        job.set("pipeline.clickhouse.table", "bronze_events");
        let ddl = project_root().join("sql/bronze_events.sql");
        job.set("pipeline.clickhouse.ddl", ddl.display().to_string());
        job.apply_schema();
        job
    }

    /// One of the shipped aggregations, pointed at the sandbox, and its table made; topics are not. Its
    /// input is `topic`, its output topic, if it has one, begins with the prefix.
    pub fn aggregation(name: &str, pipeline: &str) -> Job {
        Job::aggregation_of("config.toml", name, pipeline)
    }

    /// The same of another file.
    pub fn aggregation_of(file: &str, name: &str, pipeline: &str) -> Job {
        let mut job = Job::new(name);
        let file = project_root().join(file);
        let directory = file.parent().expect("a directory").to_owned();
        let shipped = std::fs::read_to_string(file);
        let mut shipped: Table = shipped.expect("a file").parse().expect("TOML");
        keep_pipeline(&mut shipped, pipeline);
        job.config
            .insert("pipeline".into(), shipped["pipeline"].clone());
        let input = job.text_of_list("pipeline.topics");
        job.topic = format!("{}{input}", job.prefix);
        job.set("pipeline.topics", vec![job.topic.clone()]);
        job.set("pipeline.group_id", job.group.clone());
        job.set("pipeline.dead_letter.topic", job.dead_letter_topic.clone());
        job.set("pipeline.dead_letter.ratio_max", 1.0);
        job.set("pipeline.batch.flush_interval", "300ms");
        job.set("pipeline.batch.inserts_per_second_max", 1000);
        let ddl = directory.join(job.text("pipeline.clickhouse.ddl"));
        job.set("pipeline.clickhouse.ddl", ddl.display().to_string());
        if job.config["pipeline"][0].get("output").is_some() {
            let output = format!("{}{}", job.prefix, job.text("pipeline.output.topic"));
            job.set("pipeline.output.topic", output);
        }
        job
    }

    /// The first text of a list that is set.
    fn text_of_list(&self, path: &str) -> String {
        let name = path
            .strip_prefix("pipeline.")
            .expect("a key of the pipeline");
        let list = &self.config["pipeline"][0][name];
        list[0].as_str().expect("a text").to_owned()
    }

    /// Sets one key, `pipeline.…` being the only pipeline.
    pub fn set(&mut self, path: &str, value: impl Into<Value>) {
        let mut table = &mut self.config;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                table.insert(name.to_owned(), value.into());
                return;
            }
            let entry = table
                .entry(name)
                .or_insert_with(|| Value::Table(Table::new()));
            table = match entry {
                Value::Array(pipelines) => pipelines[0].as_table_mut().expect("a pipeline"),
                other => other.as_table_mut().expect("a table"),
            };
        }
    }

    /// Runs the pipeline of another job too, in the same process, under another name.
    pub fn run_beside(&mut self, neighbour: &mut Job) {
        neighbour.set("pipeline.name", "beside");
        let mut pipeline = neighbour.config["pipeline"][0].clone();
        let keys = pipeline.as_table_mut().expect("a pipeline");
        if keys["kind"].as_str() != Some("stream_join") {
            let clickhouse = keys.entry("clickhouse");
            let clickhouse = clickhouse.or_insert_with(|| Value::Table(Table::new()));
            let clickhouse = clickhouse.as_table_mut().expect("a table");
            clickhouse.insert("database".into(), neighbour.database.clone().into());
        }
        let pipelines = self.config["pipeline"].as_array_mut().expect("pipelines");
        pipelines.push(pipeline);
    }

    /// The text of one key that is set.
    pub fn text(&self, path: &str) -> &str {
        let pipeline = &self.config["pipeline"][0];
        let (mut value, names) = match path.strip_prefix("pipeline.") {
            Some(rest) => (pipeline, rest),
            None => {
                let (section, rest) = path.split_once('.').expect("a path of two names at least");
                (&self.config[section], rest)
            }
        };
        for name in names.split('.') {
            value = &value[name];
        }
        value.as_str().expect("a text")
    }

    /// Removes one key.
    pub fn unset(&mut self, path: &str) {
        let (parent, name) = path.rsplit_once('.').expect("a path of two names at least");
        let mut table = &mut self.config;
        for step in parent.split('.') {
            table = match table.get_mut(step).expect("the parent is there") {
                Value::Array(pipelines) => pipelines[0].as_table_mut().expect("a pipeline"),
                other => other.as_table_mut().expect("a table"),
            };
        }
        table.remove(name);
    }

    /// Writes the configuration and returns its path. Instances differ in their HTTP address.
    pub fn write_config(&self, instance: &str) -> (PathBuf, String) {
        let mut config = self.config.clone();
        let http = format!(
            "127.0.0.1:{}",
            sandbox::workdir::free_port().expect("a free port")
        );
        let service = config["service"].as_table_mut().expect("[service]");
        service.insert("http_listen".into(), http.clone().into());
        let path = self.directory.path().join(format!("{instance}.toml"));
        std::fs::write(&path, config.to_string()).expect("the configuration is written");
        (path, http)
    }

    /// Writes the configuration of an instance again, with the address that it has.
    pub fn write_config_as(&self, instance: &str, http: &str) {
        let mut config = self.config.clone();
        let service = config["service"].as_table_mut().expect("[service]");
        service.insert("http_listen".into(), http.to_owned().into());
        let path = self.directory.path().join(format!("{instance}.toml"));
        std::fs::write(&path, config.to_string()).expect("the configuration is written");
    }

    pub fn apply_schema(&self) {
        let (path, _) = self.write_config("schema");
        let output = command(&path, &["schema", "apply"])
            .output()
            .expect("it starts");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    pub fn create_topic(&self, partitions: i32) {
        let settings = [("retention.ms", "-1")];
        topic::create(self.bootstrap(), &self.topic, partitions, &settings).expect("a topic");
    }

    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Starts a daemon with these arguments after `run`, and these crash points.
    pub fn start(&self, instance: &str, arguments: &[&str], failpoints: &str) -> Daemon {
        self.start_with(instance, arguments, &[("FAILPOINTS", failpoints)])
    }

    /// Starts a daemon with these arguments after `run`, and this environment besides.
    pub fn start_with(
        &self,
        instance: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Daemon {
        let (path, http) = self.write_config(instance);
        let arguments: Vec<&str> = [&["run"], arguments].concat();
        let mut command = command(&path, &arguments);
        let log = self.directory.path().join(format!("{instance}.log"));
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log");
        command
            .stderr(Stdio::from(file))
            .stdout(Stdio::null())
            .envs(environment.iter().copied());
        Daemon {
            process: Process::spawn(command).expect("the daemon starts"),
            log,
            http,
        }
    }

    /// Runs until everything in the topic is written and committed; the exit must be clean.
    pub fn run_to_end(&self) {
        let daemon = self.start("to-end", &["--until", "latest"], "");
        let status = daemon.process.wait(TO_THE_END).expect("the run ends");
        assert!(status.success(), "{status}: {}", daemon.log());
    }

    /// Removes every snapshot.
    pub fn forget_snapshots(&self) {
        let directory = self.directory.path().join("state/clickstream/snapshots");
        if directory.exists() {
            std::fs::remove_dir_all(directory).expect("removed");
        }
    }

    /// Runs until it ends by itself; its exit code and its log.
    pub fn run_to_code(&self, instance: &str, arguments: &[&str]) -> (i32, String) {
        let daemon = self.start(instance, arguments, "");
        let status = daemon.process.wait(TO_THE_END);
        let status = status.unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
        (status.code().unwrap_or(-1), daemon.log())
    }

    /// Refuses to go on: exit code 4, the reason, and every one of these words in the log.
    pub fn assert_halts(&self, instance: &str, reason: &str, advice: &[&str]) {
        let (code, log) = self.run_to_code(instance, &["--until", "latest"]);
        assert_eq!(code, 4, "{log}");
        let expected = format!("reason=\"{reason}\"");
        assert!(log.contains(&expected), "{expected}: {log}");
        for words in advice {
            assert!(log.contains(words), "{words}: {log}");
        }
    }

    /// Rows and distinct offsets among them.
    pub fn rows_and_offsets(&self) -> (usize, usize) {
        let counts = self.query(
            "SELECT count(), uniqExact(_topic, _partition, _offset) FROM {db}.clickstream_events",
        );
        let mut counts = counts.split('\t').map(|n| n.parse().expect("a number"));
        (
            counts.next().expect("rows"),
            counts.next().expect("offsets"),
        )
    }

    /// Waits until the table holds this many rows.
    pub fn wait_for_rows(&self, count: usize) {
        let there = || (self.rows_and_offsets().0 >= count).then_some(());
        wait::until(&format!("{count} rows are written"), PATIENCE, there)
            .unwrap_or_else(|e| panic!("{e}: {:?}", self.rows_and_offsets()));
    }

    /// Appends events number `numbers` to a partition, a second of event time apart.
    pub fn produce_events(&self, partition: i32, numbers: std::ops::Range<u32>) {
        let record = |number| {
            topic::Record::new(event(number, ""))
                .partition(partition)
                .timestamp_ms(EVENT_TIME_MS + i64::from(number) * 1000)
        };
        topic::produce(self.bootstrap(), &self.topic, numbers.map(record)).expect("records");
    }

    /// A query in the test's own database; the answer as text.
    pub fn query(&self, sql: &str) -> String {
        let sql = sql.replace("{db}", &format!("`{}`", self.database));
        sandbox::clickhouse::query(&self.clickhouse_url, &sql)
            .expect("the query succeeds")
            .trim()
            .to_owned()
    }

    pub fn committed(&self) -> std::collections::BTreeMap<i32, topic::Committed> {
        topic::committed(self.bootstrap(), &self.group, &self.topic).expect("the group answers")
    }

    /// What its pipeline keeps as dead letters, in a topic that may be that of others too.
    pub fn dead_letters(&self) -> anyhow::Result<Vec<topic::Received>> {
        let mut letters = topic::read_all(self.bootstrap(), &self.dead_letter_topic)?;
        let name = Some(self.text("pipeline.name"));
        letters.retain(|letter| letter.header("streamweir-pipeline").as_deref() == name);
        Ok(letters)
    }

    /// A duration that is set, in milliseconds.
    pub fn milliseconds(&self, path: &str) -> i64 {
        let span = humantime::parse_duration(self.text(path)).expect("a duration");
        i64::try_from(span.as_millis()).expect("not that long")
    }

    /// Every partition is committed up to its end.
    pub fn assert_committed_to_end(&self) {
        let ends = topic::end_offsets(self.bootstrap(), &self.topic).expect("the topic answers");
        let committed = self.committed();
        let positions: Vec<_> = ends
            .keys()
            .map(|p| committed.get(p).map(|c| c.offset))
            .collect();
        let expected: Vec<_> = ends.values().map(|end| Some(*end)).collect();
        assert_eq!(positions, expected);
    }
}

impl Drop for Job {
    /// What a failed test leaves behind tells why it failed.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.directory.disable_cleanup(true);
            eprintln!(
                "logs and configurations: {}",
                self.directory.path().display()
            );
        }
    }
}

impl Daemon {
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the log says so.
    pub fn wait_for_log(&self, text: &str) {
        let seen = wait::until(text, PATIENCE, || self.log().contains(text).then_some(()));
        seen.unwrap_or_else(|e| panic!("{e}\n{}", self.log()));
    }

    /// The body and status of one of its pages; `None` while nobody listens.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        self.request("GET", path, None, "")
    }

    /// The same for any method, with a token and a body.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &str,
    ) -> Option<(u16, String)> {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(&self.http).ok()?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).ok()?;
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}Content-Length: {}\r\n\r\n{body}",
            token.unwrap_or_default(),
            body.len()
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        Some((status, body.to_owned()))
    }

    /// What its threads have used so far.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.pid()));
        let stat = stat.expect("it runs");
        // The name, in parentheses, may hold spaces; user and system time are 12th and 13th after it.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let ticks = |n: usize| -> f64 {
            let field = fields.split_whitespace().nth(n).expect("a field");
            field.parse().expect("a number")
        };
        // SAFETY: the call reads a constant of the system.
        let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        (ticks(11) + ticks(12)) / per_second as f64
    }

    /// The largest it ever was.
    pub fn peak_mib(&self) -> u64 {
        self.peak_mib_if_alive().expect("the daemon runs")
    }

    /// The same; `None` of one that has ended.
    pub fn peak_mib_if_alive(&self) -> Option<u64> {
        Some(self.process.peak_resident_bytes()? >> 20)
    }

    /// What the largest it ever was would have been as a release build: this build's code, which is
    /// not optimised, is replaced by one of `RELEASE_CODE_MIB`.
    pub fn peak_mib_as_released(&self) -> u64 {
        let code = self.process.mapped_bytes().expect("the daemon runs") >> 20;
        self.peak_mib() - code + code.min(RELEASE_CODE_MIB)
    }

    /// SIGTERM, and a clean exit.
    pub fn stop(&self) {
        self.process.terminate();
        let status = self.process.wait(PATIENCE).expect("the daemon ends");
        assert!(status.success(), "{status}: {}", self.log());
    }
}

/// 2025-11-21T10:00:00Z, the time of event 0.
pub const EVENT_TIME_MS: i64 = 1_763_719_200_000;

/// A valid event of its own session and user; `rest` is more JSON members.
pub fn event(number: u32, rest: &str) -> String {
    let time_ms = EVENT_TIME_MS + i64::from(number) * 1000;
    format!(
        r#"{{"event_id":"e{number}","event_type":"click","session_id":"s{number}","user_id":{number},"timestamp":{time_ms}{rest}}}"#
    )
}

/// `streamweir` with a configuration: the one built beside this, or that of `STREAMWEIR_BIN`.
pub fn command(config: &Path, arguments: &[&str]) -> Command {
    let built = env!("CARGO_BIN_EXE_streamweir");
    let mut command = Command::new(std::env::var_os("STREAMWEIR_BIN").unwrap_or(built.into()));
    command.args(arguments).arg("--config").arg(config);
    command.env_remove("FAILPOINTS");
    command
}

pub fn project_root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The second implementation, its cases and the JSON suite.
pub fn material(path: &str) -> PathBuf {
    let path = project_root().join("tests/material").join(path);
    assert!(path.exists(), "{} is missing", path.display());
    path
}

fn keep_pipeline(config: &mut Table, name: &str) {
    let pipelines = config["pipeline"].as_array_mut().expect("[[pipeline]]");
    pipelines.retain(|p| p.get("name").and_then(Value::as_str) == Some(name));
    assert_eq!(
        pipelines.len(),
        1,
        "the shipped configuration has the pipeline {name}"
    );
}
