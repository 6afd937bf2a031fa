//! The whole daemon as a child process, with a shipped pipeline.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sandbox::clickhouse::ClickHouse;
use sandbox::fault::{Fault, Matcher, Proxy};
use sandbox::workdir::free_port;
use sandbox::{Sandbox, topic, unique};
use tempfile::TempDir;
use toml::{Table, Value};

use crate::child::{self, Run};
/// What the daemon is to do.
pub(crate) trait Work {
    /// The topic it reads.
    fn topic(&self) -> &str;
    /// Records in it.
    fn records(&self) -> u64;
    /// The shipped configuration with one pipeline, whose names and addresses are still to be set.
    fn config(&self) -> Result<Table>;
    /// What is run.
    fn arguments(&self) -> &'static [&'static str] {
        &["run", "--until", "latest"]
    }
    /// Whether everything is committed in the end.
    fn commits_everything(&self) -> bool {
        true
    }
    /// Fails unless this database of the engine holds what the records say.
    fn check(&self, clickhouse: &ClickHouse, database: &str) -> Result<()>;
}

/// Starts one daemon executable again and again, each time as a new consumer group with a new
/// table.
pub(crate) struct DaemonRuns<'p> {
    parts: &'p Sandbox,
    work: &'p dyn Work,
    program: PathBuf,
    directory: TempDir,
    nowhere: Proxy,
}

/// One group, one database, one configuration file.
struct Target {
    group: String,
    database: String,
    dead_letter_topic: String,
    config: PathBuf,
}

impl<'p> DaemonRuns<'p> {
    pub(crate) fn new(parts: &'p Sandbox, work: &'p dyn Work, program: PathBuf) -> Result<Self> {
        // A server that takes every insert, says yes and forgets it. All else goes to the engine,
        // whose table stays empty.
        let nowhere = Proxy::start(&parts.clickhouse.url())?;
        let yes = Fault::Reject {
            status: 200,
            body: String::new(),
        };
        nowhere.inject(Matcher::inserts(), yes, usize::MAX);
        Ok(Self {
            parts,
            work,
            program,
            directory: tempfile::tempdir()?,
            nowhere,
        })
    }

    /// Reads the topic into the server that forgets. Also returns what a second start of the same
    /// group takes, which finds nothing to do: the cost of starting, joining and leaving.
    pub(crate) fn read_into_nowhere(&self) -> Result<(Run, Run)> {
        let target = self.target(&self.nowhere.url())?;
        let run = self.read_everything(&target)?;
        let idle = self.start(&target, self.work.arguments())?;
        self.drop_database(&target)?;
        Ok((run, idle))
    }

    /// Reads the topic into ClickHouse's engine.
    pub(crate) fn read_into_the_engine(&self) -> Result<Run> {
        let target = self.target(&self.parts.clickhouse.url())?;
        let engine = self.parts.clickhouse.pid();
        let before = child::cpu_so_far(engine)?;
        let run = self.read_everything(&target)?;
        let engine_cpu = Some(child::cpu_so_far(engine)?.saturating_sub(before));
        self.work.check(&self.parts.clickhouse, &target.database)?;
        self.drop_database(&target)?;
        Ok(Run { engine_cpu, ..run })
    }

    fn read_everything(&self, target: &Target) -> Result<Run> {
        let run = self.start(target, self.work.arguments())?;
        let bootstrap = self.parts.kafka.bootstrap();
        let committed = topic::committed(bootstrap, &target.group, self.work.topic())?;
        let committed: i64 = committed.values().map(|c| c.offset).sum();
        let expected = i64::try_from(self.work.records())?;
        ensure!(
            committed == expected || !self.work.commits_everything(),
            "committed {committed} of {expected} records"
        );
        if topic::partition_count(bootstrap, &target.dead_letter_topic)? > 0 {
            let refused: i64 = topic::end_offsets(bootstrap, &target.dead_letter_topic)?
                .values()
                .sum();
            ensure!(refused == 0, "{refused} dead letters");
        }
        Ok(run)
    }

    fn start(&self, target: &Target, arguments: &[&str]) -> Result<Run> {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--config").arg(&target.config);
        child::run(command, &self.directory.path().join("daemon.log"))
    }

    fn target(&self, clickhouse_url: &str) -> Result<Target> {
        let name = unique("bench");
        let target = Target {
            group: format!("{name}-group"),
            database: name.clone(),
            dead_letter_topic: format!("{name}-dead-letters"),
            config: self.directory.path().join(format!("{name}.toml")),
        };
        let mut config = self.work.config()?;
        let state_dir = self.directory.path().join(format!("{name}-state"));
        let listen = format!("127.0.0.1:{}", free_port()?);
        let brokers = vec![Value::from(self.parts.kafka.bootstrap())];
        let service = section(&mut config, "service")?;
        service.insert("http_listen".into(), listen.into());
        service.insert("state_dir".into(), state_dir.display().to_string().into());
        section(&mut config, "kafka")?.insert("bootstrap_servers".into(), brokers.into());
        section(&mut config, "redis")?.insert("url".into(), self.parts.redis.url().into());
        let clickhouse = section(&mut config, "clickhouse")?;
        clickhouse.insert("url".into(), clickhouse_url.into());
        clickhouse.insert("database".into(), name.clone().into());
        let pipeline = config["pipeline"][0].as_table_mut().context("a pipeline")?;
        let topics = vec![self.work.topic().to_owned()];
        pipeline.insert("topics".into(), topics.into());
        pipeline.insert("group_id".into(), target.group.clone().into());
        let letters = target.dead_letter_topic.clone();
        section(pipeline, "dead_letter")?.insert("topic".into(), letters.into());
        section(pipeline, "clickhouse")?.insert("database".into(), name.into());
        std::fs::write(&target.config, config.to_string())?;
        self.start(&target, &["schema", "apply"])?;
        Ok(target)
    }

    fn drop_database(&self, target: &Target) -> Result<()> {
        let statement = format!("DROP DATABASE {} SYNC", target.database);
        self.parts.clickhouse.try_query(&statement).map(|_| ())
    }
}

/// The shipped configuration with this pipeline alone.
pub(crate) fn shipped(root: &Path, name: &str) -> Result<Table> {
    let mut config: Table = std::fs::read_to_string(root.join("config.toml"))?.parse()?;
    let pipelines = config.get_mut("pipeline").and_then(Value::as_array_mut);
    let pipelines = pipelines.context("the shipped configuration has no pipeline")?;
    pipelines.retain(|p| p.get("name").and_then(Value::as_str) == Some(name));
    ensure!(pipelines.len() == 1, "a pipeline {name} is shipped");
    Ok(config)
}

pub(crate) fn section<'t>(table: &'t mut Table, name: &str) -> Result<&'t mut Table> {
    let entry = table.entry(name).or_insert_with(|| Table::new().into());
    entry
        .as_table_mut()
        .with_context(|| format!("[{name}] is no table"))
}
