//! One pipeline of its own: group, table, configuration, and the daemons that run it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sandbox::process::Process;
use sandbox::workdir::{executable, free_port, project_root};
use sandbox::{Sandbox, topic, unique, wait};
use tempfile::TempDir;
use toml::{Table, Value};

use crate::child::{self, Run};
use crate::daemon::shipped;
use crate::joins::Sides;

/// Longer than anything here takes; what does not come by then does not come.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

/// What the command line asks every daemon's Kafka client to do differently.
static PROPERTIES: OnceLock<Vec<(String, String)>> = OnceLock::new();

/// Takes `key=value` pairs for every job made from now on; to be called once.
pub(super) fn set_properties(pairs: &[String]) -> Result<()> {
    let pair = |text: &String| {
        let (key, value) = text
            .split_once('=')
            .with_context(|| format!("--property {text}: KEY=VALUE is wanted"))?;
        anyhow::Ok((key.to_owned(), value.to_owned()))
    };
    let all: Result<Vec<_>> = pairs.iter().map(pair).collect();
    PROPERTIES.set(all?).expect("set once");
    Ok(())
}

/// The shipped pipeline, pointed at one topic of the sandbox, under names nobody else has.
pub(super) struct Job<'p> {
    parts: &'p Sandbox,
    program: PathBuf,
    pub(super) topic: String,
    group: String,
    database: String,
    table: &'static str,
    config: Table,
    directory: TempDir,
}

/// A daemon that runs until it is told to stop.
pub(super) struct Member {
    pub(super) process: Process,
    http: String,
    log: PathBuf,
}

impl<'p> Job<'p> {
    /// Its database and table are made; `topic` exists.
    pub(super) fn new(parts: &'p Sandbox, topic: &str) -> Result<Self> {
        let job = Self::of(parts, topic, "clickstream", "clickstream_events")?;
        job.apply_schema()?;
        Ok(job)
    }

    /// As [`Job::new`], of the shipped windows of sales, into the table alone.
    pub(super) fn windows(parts: &'p Sandbox, topic: &str, memory_max: &str) -> Result<Self> {
        let mut job = Self::of(parts, topic, "sales", "sales_aggregates_1min")?;
        job.set("service.memory_max", memory_max);
        let pipeline = job.config["pipeline"][0].as_table_mut();
        pipeline.context("a pipeline")?.remove("output");
        job.apply_schema()?;
        Ok(job)
    }

    /// As [`Job::new`], without look-ups, sessions and columns; its table is still to be made.
    pub(super) fn bare(parts: &'p Sandbox, topic: &str, table: &'static str) -> Result<Self> {
        let mut job = Self::of(parts, topic, "clickstream", table)?;
        let pipeline = job.config["pipeline"][0].as_table_mut();
        let pipeline = pipeline.context("a pipeline")?;
        for section in ["lookup", "session", "columns"] {
            pipeline.remove(section);
        }
        let clickhouse = pipeline.get_mut("clickhouse").and_then(Value::as_table_mut);
        let clickhouse = clickhouse.context("a table")?;
        clickhouse.remove("ddl");
        clickhouse.insert("table".into(), table.into());
        Ok(job)
    }

    /// The shipped join of these topics. Its output topic is still to be made.
    pub(super) fn joins(parts: &'p Sandbox, sides: &Sides) -> Result<Self> {
        let name = unique("figures");
        let mut job = Self {
            parts,
            program: executable("streamweir", "STREAMWEIR_BIN")?,
            topic: sides.left.clone(),
            group: format!("{name}-group"),
            config: sides.config(parts, &name)?,
            database: name,
            table: "",
            directory: tempfile::tempdir()?,
        };
        let state_dir = job.directory.path().join("state").display().to_string();
        job.set("service.state_dir", state_dir);
        job.set_properties();
        Ok(job)
    }

    fn of(parts: &'p Sandbox, topic: &str, pipeline: &str, table: &'static str) -> Result<Self> {
        let name = unique("figures");
        let directory = tempfile::tempdir()?;
        let mut job = Self {
            parts,
            program: executable("streamweir", "STREAMWEIR_BIN")?,
            topic: topic.to_owned(),
            group: format!("{name}-group"),
            database: name.clone(),
            table,
            config: shipped(&project_root(), pipeline)?,
            directory,
        };
        let state_dir = job.directory.path().join("state").display().to_string();
        let ddl = project_root().join(format!("sql/{table}.sql"));
        job.set("service.state_dir", state_dir);
        let brokers = vec![Value::from(parts.kafka.bootstrap())];
        job.set("kafka.bootstrap_servers", brokers);
        job.set("clickhouse.url", parts.clickhouse.url());
        job.set("clickhouse.database", name.clone());
        job.set("redis.url", parts.redis.url());
        job.set("pipeline.topics", vec![Value::from(topic)]);
        job.set("pipeline.group_id", job.group.clone());
        let letters = format!("{name}-dead-letters");
        job.set("pipeline.dead_letter.topic", letters);
        job.set("pipeline.clickhouse.ddl", ddl.display().to_string());
        job.set_properties();
        Ok(job)
    }

    fn set_properties(&mut self) {
        for (key, value) in PROPERTIES.get().into_iter().flatten() {
            self.set(&format!("kafka.properties.{key}"), value.clone());
        }
    }

    /// What its group, its database and the like begin with.
    pub(super) fn name(&self) -> &str {
        &self.database
    }

    fn apply_schema(&self) -> Result<()> {
        let (command, _) = self.command("schema", &["schema", "apply"])?;
        child::run(command, &self.directory.path().join("schema.log")).map(drop)
    }

    /// Reads what is in the topic, open windows included; its exit status and its log.
    pub(super) fn read_to_status(&self, instance: &str) -> Result<(Run, Option<i32>, String)> {
        let arguments = ["run", "--until", "latest", "--close"];
        let (command, _) = self.command(instance, &arguments)?;
        let log = self.directory.path().join(format!("{instance}.log"));
        let (run, status) = child::run_to_status(command, &log)?;
        Ok((run, status.code(), std::fs::read_to_string(log)?))
    }

    /// Sets one key, `pipeline.…` being the only pipeline.
    pub(super) fn set(&mut self, path: &str, value: impl Into<Value>) {
        let (parents, name) = path.rsplit_once('.').expect("a section and a key");
        let mut table = &mut self.config;
        let mut rest = parents;
        while !rest.is_empty() {
            let (section, others) = rest.split_once('.').unwrap_or((rest, ""));
            let entry = table
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()));
            table = match entry {
                Value::Array(pipelines) => pipelines[0].as_table_mut(),
                other => other.as_table_mut(),
            }
            .expect("a table");
            rest = others;
        }
        table.insert(name.to_owned(), value.into());
    }

    /// Reads what is in the topic and ends; `instance` tells several of one job apart.
    pub(super) fn read_to_end(&self, instance: &str) -> Result<Run> {
        let (command, _) = self.command(instance, &["run", "--until", "latest"])?;
        child::run(
            command,
            &self.directory.path().join(format!("{instance}.log")),
        )
    }

    /// Runs one command, which is to succeed; what it said.
    pub(super) fn command_to_end(
        &self,
        instance: &str,
        arguments: &[&str],
    ) -> Result<(Run, String)> {
        let (command, _) = self.command(instance, arguments)?;
        let log = self.directory.path().join(format!("{instance}.log"));
        let run = child::run(command, &log)?;
        Ok((run, std::fs::read_to_string(log)?))
    }

    /// As [`Job::read_to_end`], with the address of its pages.
    pub(super) fn reader(
        &self,
        instance: &str,
    ) -> Result<(impl FnOnce() -> Result<Run> + use<>, Pages)> {
        let (command, http) = self.command(instance, &["run", "--until", "latest"])?;
        let log = self.directory.path().join(format!("{instance}.log"));
        Ok((move || child::run(command, &log), Pages { http }))
    }

    /// Starts a daemon that stays.
    pub(super) fn start(&self, instance: &str) -> Result<Member> {
        let (mut command, http) = self.command(instance, &["run"])?;
        let log = self.directory.path().join(format!("{instance}.log"));
        let file = File::create(&log)?;
        command.stdout(Stdio::null()).stderr(file);
        Ok(Member {
            process: Process::spawn(command)?,
            http,
            log,
        })
    }

    fn command(&self, instance: &str, arguments: &[&str]) -> Result<(Command, String)> {
        let http = format!("127.0.0.1:{}", free_port()?);
        let mut config = self.config.clone();
        let service = config["service"].as_table_mut().context("[service]")?;
        service.insert("http_listen".into(), http.clone().into());
        let path = self.directory.path().join(format!("{instance}.toml"));
        std::fs::write(&path, config.to_string())?;
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--config").arg(&path);
        Ok((command, http))
    }

    /// A query in which `{t}` is the table.
    pub(super) fn query(&self, sql: &str) -> Result<String> {
        let table = format!("{}.{}", self.database, self.table);
        self.parts.clickhouse.try_query(&sql.replace("{t}", &table))
    }

    /// As many rows as events, each of an offset of its own, and everything committed.
    pub(super) fn ensure_exactly_once(&self, events: u64) -> Result<()> {
        let found = self.query("SELECT count(), uniqExact(_partition, _offset) FROM {t}")?;
        ensure!(
            found == format!("{events}\t{events}"),
            "rows and offsets in the table: {found}, events: {events}"
        );
        self.ensure_committed(events)
    }

    /// The group has committed so many events.
    pub(super) fn ensure_committed(&self, events: u64) -> Result<()> {
        let committed = topic::committed(self.parts.kafka.bootstrap(), &self.group, &self.topic)?;
        let committed: i64 = committed.values().map(|c| c.offset).sum();
        ensure!(
            committed == i64::try_from(events)?,
            "committed {committed} of {events} events"
        );
        Ok(())
    }

    /// Ends the job: its table goes.
    pub(super) fn drop_database(&self) -> Result<()> {
        let statement = format!("DROP DATABASE {} SYNC", self.database);
        self.parts.clickhouse.try_query(&statement).map(drop)
    }
}

/// The HTTP pages of a running daemon.
#[derive(Debug, Clone)]
pub(super) struct Pages {
    http: String,
}

impl Pages {
    /// `/metrics`; `None` while nobody listens.
    pub(super) fn metrics(&self) -> Option<String> {
        get(&self.http, "/metrics")
    }

    /// The sum of a metric over its labels; 0 while there is none.
    pub(super) fn sum_of(&self, metric: &str) -> f64 {
        let text = self.metrics().unwrap_or_default();
        values(&text, metric).map(|(_, value)| value).sum()
    }

    /// Waits until so many records were read.
    pub(super) fn wait_for_records(&self, records: u32) -> Result<()> {
        wait::until(&format!("{records} records are read"), PATIENCE, || {
            let read = self.sum_of("streamweir_records_consumed_total");
            (read >= f64::from(records)).then_some(())
        })
    }
}

impl Member {
    pub(super) fn pages(&self) -> Pages {
        Pages {
            http: self.http.clone(),
        }
    }

    /// The partitions it reads, as its metrics tell.
    pub(super) fn partitions(&self) -> Vec<i32> {
        let text = self.pages().metrics().unwrap_or_default();
        let lags = values(&text, "streamweir_consumer_lag_records");
        let read = lags.filter(|(_, value)| !value.is_nan());
        let mut partitions: Vec<i32> = read
            .filter_map(|(labels, _)| {
                let (_, rest) = labels.split_once("partition=\"")?;
                rest.split('"').next()?.parse().ok()
            })
            .collect();
        partitions.sort_unstable();
        partitions
    }

    /// SIGTERM, and a clean end.
    pub(super) fn stop(&self) -> Result<()> {
        self.process.terminate();
        let status = self.process.wait(PATIENCE)?;
        ensure!(status.success(), "{status}: {}", tail(&self.log));
        Ok(())
    }
}

/// The labels and values of a metric's samples.
pub(super) fn values<'t>(
    text: &'t str,
    metric: &'t str,
) -> impl Iterator<Item = (&'t str, f64)> + 't {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(metric)?.strip_prefix('{')?;
        let (labels, value) = rest.rsplit_once("} ")?;
        Some((labels, value.parse().ok()?))
    })
}

fn get(http: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(http).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some(body.to_owned())
}

fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
