//! The topic that everything reads.

use anyhow::{Context as _, Result, ensure};
use sandbox::clickhouse::ClickHouse;
use sandbox::generate::{self, Events, ProfileEncoding, Progress, Start, Traffic, Volume};
use sandbox::workdir::project_root;
use sandbox::{Sandbox, topic};
use toml::Table;

use crate::daemon::{Work, section, shipped};

pub(crate) const PARTITIONS: i32 = 4;
pub(crate) const USERS: u64 = 100_000;
pub(crate) const SEED: u64 = 42;
/// Event time of the first event: 2025-11-21T00:00:00Z, one event a millisecond.
pub(crate) const START_MS: i64 = 1_763_683_200_000;

#[derive(Debug)]
pub(crate) struct EventTopic {
    pub(crate) name: String,
    pub(crate) events: u64,
    pub(crate) value_bytes_mean: usize,
}

impl EventTopic {
    /// Produces the events and puts every user's profile into Redis.
    pub(crate) fn fill(parts: &Sandbox, events: u64) -> Result<Self> {
        let (name, bootstrap) = ("bench.user-events", parts.kafka.bootstrap());
        topic::create(bootstrap, name, PARTITIONS, &[("retention.ms", "-1")])?;
        let traffic = Traffic {
            bootstrap: bootstrap.to_owned(),
            topic: name.to_owned(),
            volume: Volume::Events(events),
            users: USERS,
            seed: SEED,
            start: Start::At(START_MS),
            poison_every: 0,
        };
        generate::run(&traffic, &Progress::default())?;
        let ends = topic::end_offsets(bootstrap, name)?;
        let held: i64 = ends.values().sum();
        ensure!(
            held == i64::try_from(events)?,
            "the topic holds {held} events"
        );
        let (redis, keys) = (parts.redis.url(), "user:profile:");
        generate::load_profiles(&redis, keys, USERS, ProfileEncoding::Json)?;
        Ok(Self {
            name: name.to_owned(),
            events,
            value_bytes_mean: value_bytes_mean(),
        })
    }

    /// The shipped pipeline over events.
    pub(crate) fn pipeline() -> Result<Table> {
        let mut config = shipped(&project_root(), "clickstream")?;
        let pipeline = config["pipeline"][0].as_table_mut().context("a pipeline")?;
        let ddl = project_root().join("sql/clickstream_events.sql");
        section(pipeline, "clickhouse")?.insert("ddl".into(), ddl.display().to_string().into());
        Ok(config)
    }
}

impl Work for EventTopic {
    fn topic(&self) -> &str {
        &self.name
    }

    fn records(&self) -> u64 {
        self.events
    }

    fn config(&self) -> Result<Table> {
        EventTopic::pipeline()
    }

    /// Each row has its own user's profile, as the generator made it.
    fn check(&self, clickhouse: &ClickHouse, database: &str) -> Result<()> {
        let found = clickhouse.try_query(&format!(
            "SELECT count(), uniqExact(_partition, _offset), \
             countIf(user_email = concat('user', toString(user_id), '@example.com')) \
             FROM {database}.clickstream_events"
        ))?;
        let expected = format!("{0}\t{0}\t{0}", self.events);
        ensure!(
            found == expected,
            "rows, offsets and right profiles in the table: {found}"
        );
        Ok(())
    }
}

fn value_bytes_mean() -> usize {
    const SAMPLE: usize = 10_000;
    let mut events = Events::new(SEED, USERS);
    let mut bytes = 0;
    for _ in 0..SAMPLE {
        bytes += events.next(START_MS).1.len();
    }
    bytes / SAMPLE
}
