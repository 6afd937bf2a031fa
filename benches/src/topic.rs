//! The topic that everything reads.

use anyhow::{Result, ensure};
use sandbox::generate::{self, Events, ProfileEncoding, Progress, Start, Traffic, Volume};
use sandbox::{Sandbox, topic};

pub(crate) const PARTITIONS: i32 = 4;
pub(crate) const USERS: u64 = 100_000;
const SEED: u64 = 42;
/// Event time of the first event: 2025-11-21T00:00:00Z, one event a millisecond.
const START_MS: i64 = 1_763_683_200_000;

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
