//! The two topics of the benchmark, and the daemon that joins them into a third.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use sandbox::generate::{JOIN_EVENTS_MAX, JOIN_UPDATE_EVERY, Joinable, join_event, join_update};
use sandbox::workdir::{free_port, project_root};
use sandbox::{Sandbox, topic, unique};
use tempfile::TempDir;
use toml::{Table, Value};

use super::Form;
use super::expected::Expected;
use crate::child::{self, Run};
use crate::daemon::{section, shipped};

pub(crate) const PARTITIONS: i32 = 6;
/// The timestamps lie in the past.
const FOREVER: [(&str, &str); 1] = [("retention.ms", "-1")];

/// Two topics that are joined.
#[derive(Debug)]
pub(crate) struct Sides {
    pub(crate) left: String,
    pub(crate) right: String,
}

impl Sides {
    /// Empty topics of new names.
    pub(crate) fn create(bootstrap: &str, prefix: &str) -> Result<Self> {
        let sides = Sides {
            left: unique(&format!("{prefix}.clickstream-events")),
            right: unique(&format!("{prefix}.user-profile-updates")),
        };
        for name in [&sides.left, &sides.right] {
            topic::create(bootstrap, name, PARTITIONS, &FOREVER)?;
        }
        Ok(sides)
    }

    /// The shipped pipeline `enriched` for these topics, with names of its own for all else.
    pub(crate) fn config(&self, parts: &Sandbox, name: &str) -> Result<Table> {
        let mut config = shipped(&project_root(), "enriched")?;
        let brokers = vec![Value::from(parts.kafka.bootstrap())];
        section(&mut config, "kafka")?.insert("bootstrap_servers".into(), brokers.into());
        let url = parts.clickhouse.url();
        section(&mut config, "clickhouse")?.insert("url".into(), url.into());
        let pipeline = config["pipeline"][0].as_table_mut().context("a pipeline")?;
        pipeline.insert("group_id".into(), format!("{name}-group").into());
        section(pipeline, "left")?.insert("topic".into(), self.left.clone().into());
        section(pipeline, "right")?.insert("topic".into(), self.right.clone().into());
        section(pipeline, "output")?.insert("topic".into(), output_of(name).into());
        let letters = dead_letters_of(name);
        section(pipeline, "dead_letter")?.insert("topic".into(), letters.into());
        Ok(config)
    }
}

/// Where joined records go in the configuration of this name.
pub(crate) fn output_of(name: &str) -> String {
    format!("{name}.enriched-clickstream")
}

fn dead_letters_of(name: &str) -> String {
    format!("{name}-dead-letters")
}

/// Creates the topic that the configuration of this name writes to.
pub(crate) fn create_output(bootstrap: &str, name: &str) -> Result<String> {
    let output = output_of(name);
    topic::create(bootstrap, &output, PARTITIONS, &FOREVER)?;
    Ok(output)
}

/// Fails when a run of the configuration of this name refused a record.
pub(crate) fn ensure_no_dead_letters(bootstrap: &str, name: &str) -> Result<()> {
    let letters = dead_letters_of(name);
    if topic::partition_count(bootstrap, &letters)? > 0 {
        let refused: i64 = topic::end_offsets(bootstrap, &letters)?.values().sum();
        ensure!(refused == 0, "{refused} dead letters");
    }
    Ok(())
}

/// Both topics, filled.
pub(super) struct JoinTopics {
    pub(super) sides: Sides,
    pub(super) events: u64,
    pub(super) updates: u64,
    pub(super) event_bytes: u64,
    pub(super) update_bytes: u64,
}

impl JoinTopics {
    /// So many events, and updates over the same time. Java's default partitioner places both.
    pub(super) fn fill(bootstrap: &str, events: u64) -> Result<Self> {
        ensure!(
            (1..=JOIN_EVENTS_MAX).contains(&events),
            "1 to {JOIN_EVENTS_MAX} events can be joined"
        );
        let sides = Sides::create(bootstrap, "bench")?;
        let updates = events.div_ceil(JOIN_UPDATE_EVERY);
        let event_bytes = fill(bootstrap, &sides.left, (0..events).map(join_event))?;
        let update_bytes = fill(bootstrap, &sides.right, (0..updates).map(join_update))?;
        Ok(JoinTopics {
            sides,
            events,
            updates,
            event_bytes,
            update_bytes,
        })
    }

    pub(super) fn records(&self) -> u64 {
        self.events + self.updates
    }

    pub(super) fn names(&self) -> [&str; 2] {
        [&self.sides.left, &self.sides.right]
    }
}

fn fill(bootstrap: &str, name: &str, records: impl Iterator<Item = Joinable>) -> Result<u64> {
    let mut bytes = 0;
    let records = records.map(|made| {
        bytes += made.value.len() as u64;
        topic::Record::new(made.value)
            .key(made.user.to_string())
            .timestamp_ms(made.arrives_ms)
    });
    topic::produce(bootstrap, name, records)?;
    Ok(bytes)
}

/// Starts the daemon again and again, each time as a new group with a new output topic.
pub(super) struct JoinRuns<'p> {
    parts: &'p Sandbox,
    topics: &'p JoinTopics,
    form: Form,
    expected: Expected,
    program: PathBuf,
    directory: TempDir,
    /// For what it takes to start, join and leave.
    empty: Sides,
}

impl<'p> JoinRuns<'p> {
    pub(super) fn new(
        parts: &'p Sandbox,
        topics: &'p JoinTopics,
        form: Form,
        program: PathBuf,
    ) -> Result<Self> {
        Ok(Self {
            parts,
            topics,
            form,
            expected: Expected::new(form, topics.events, topics.updates)?,
            program,
            directory: tempfile::tempdir()?,
            empty: Sides::create(parts.kafka.bootstrap(), "empty")?,
        })
    }

    pub(super) fn matched(&self) -> usize {
        self.expected.matched()
    }

    /// Joins everything that is there. Also returns what the daemon takes for two empty topics.
    pub(super) fn join(&self) -> Result<(Run, Run)> {
        let bootstrap = self.parts.kafka.bootstrap();
        let (name, run) = self.run(&self.topics.sides)?;
        ensure_no_dead_letters(bootstrap, &name)?;
        let output = output_of(&name);
        self.check(&output)?;
        topic::delete(bootstrap, &output)?;
        let (name, idle) = self.run(&self.empty)?;
        topic::delete(bootstrap, &output_of(&name))?;
        Ok((run, idle))
    }

    /// A `read_committed` reader sees each event once, with the update it must have.
    fn check(&self, output: &str) -> Result<()> {
        let (mut checker, mut outcome) = (self.expected.checker(), Ok(()));
        let bootstrap = self.parts.kafka.bootstrap();
        topic::read_each(bootstrap, output, &Default::default(), |record| {
            if outcome.is_ok() {
                outcome = checker.take(&record.value.unwrap_or_default());
            }
        })?;
        outcome.and_then(|()| checker.finish())
    }

    fn run(&self, sides: &Sides) -> Result<(String, Run)> {
        let name = unique("bench");
        create_output(self.parts.kafka.bootstrap(), &name)?;
        let mut config = sides.config(self.parts, &name)?;
        let state_dir = self.directory.path().join(format!("{name}-state"));
        let listen = format!("127.0.0.1:{}", free_port()?);
        let service = section(&mut config, "service")?;
        service.insert("http_listen".into(), listen.into());
        service.insert("state_dir".into(), state_dir.display().to_string().into());
        let pipeline = config["pipeline"][0].as_table_mut().context("a pipeline")?;
        if self.form.is_table() {
            section(pipeline, "join")?.insert("before".into(), "unlimited".into());
            section(pipeline, "join")?.insert("retention_accepted".into(), true.into());
        }
        let path = self.directory.path().join(format!("{name}.toml"));
        std::fs::write(&path, config.to_string())?;
        let mut command = Command::new(&self.program);
        command.args(["run", "--until", "latest", "--close", "--config"]);
        command.arg(&path);
        let run = child::run(command, &self.directory.path().join("daemon.log"))?;
        Ok((name, run))
    }
}
