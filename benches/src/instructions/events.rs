//! Events, as they are counted: in memory through the daemon's own decoding, sessions, profiles,
//! encoding and batches, the same for every run.

use anyhow::{Context, Result, ensure};
use sandbox::generate::{self, profile_json};
use sandbox::workdir::project_root;
use streamweir::config::Config;
use streamweir::drive::{Given, RecordPath};

use crate::Taken;

const SEED: u64 = 42;
const START_MS: i64 = 1_763_683_200_000;
const PARTITIONS: usize = 4;
/// Events of one poll, all of one partition.
const CHUNK_EVENTS: usize = 1_000;
/// As in the topic of `throughput`: 2,000,000 events of 100,000 users.
const EVENTS_PER_USER: u64 = 20;

/// What one lane would have in front of it.
pub(crate) struct Events {
    chunks: Vec<Chunk>,
    profiles: Vec<Vec<u8>>,
    events: u64,
}

struct Chunk {
    partition: usize,
    events: Vec<(i64, Vec<u8>)>,
}

impl Events {
    /// Users belong to partitions, as keys do in a topic.
    pub(crate) fn new(events: u64) -> Self {
        let users = (events / EVENTS_PER_USER).max(1);
        let mut generator = generate::Events::new(SEED, users);
        let mut open: Vec<Vec<_>> = vec![vec![]; PARTITIONS];
        let mut chunks = vec![];
        for time_ms in (START_MS..).take(usize::try_from(events).unwrap_or(usize::MAX)) {
            let (user, event) = generator.next(time_ms);
            let partition = (user % PARTITIONS as u64) as usize;
            open[partition].push((time_ms, event.to_vec()));
            if open[partition].len() == CHUNK_EVENTS {
                let events = std::mem::take(&mut open[partition]);
                chunks.push(Chunk { partition, events });
            }
        }
        let rest = open.into_iter().enumerate();
        chunks.extend(rest.map(|(partition, events)| Chunk { partition, events }));
        Events {
            chunks,
            profiles: (0..=users).map(|u| profile_json(u).into_bytes()).collect(),
            events,
        }
    }

    /// Takes everything through a fresh path.
    pub(crate) fn run(&self) -> Result<Taken> {
        let mut path = fresh_path()?;
        for chunk in &self.chunks {
            let events = chunk.events.iter();
            let records: Vec<Given<'_>> =
                events.map(|(at, value)| Given::new(value, *at)).collect();
            path.chunk(chunk.partition, &records, |key| {
                let user: usize = std::str::from_utf8(key).ok()?.parse().ok()?;
                self.profiles.get(user).cloned()
            });
        }
        path.seal();
        let rows = u64::try_from(path.sealed.rows)?;
        ensure!(rows == self.events, "{rows} rows of {} events", self.events);
        Ok(Taken {
            rows,
            frame_bytes: path.sealed.frame_bytes as u64,
        })
    }
}

/// The shipped pipeline for the shipped table.
fn fresh_path() -> Result<RecordPath> {
    let root = project_root();
    let loaded = Config::load(&root.join("config.toml"), [])
        .map_err(|problems| anyhow::anyhow!("config.toml: {problems}"))?;
    let ddl = std::fs::read_to_string(root.join("sql/clickstream_events.sql"))?;
    let columns = columns(&ddl).context("sql/clickstream_events.sql: no columns")?;
    ensure!(columns.len() > 20, "only {} columns", columns.len());
    Ok(RecordPath::new(
        &loaded.config,
        &columns,
        i32::try_from(PARTITIONS)?,
    ))
}

/// Name, type and kind of default of the columns, of which the file has one a line.
fn columns(ddl: &str) -> Option<Vec<(&str, &str, &str)>> {
    let (_, body) = ddl.split_once("\n(\n")?;
    let (body, _) = body.split_once("\n)\n")?;
    let lines = body.lines().map(str::trim);
    let column = |line: &str| !line.is_empty() && !line.starts_with("--");
    let lines = lines.filter(|line| column(line) && !line.starts_with("INDEX"));
    lines
        .map(|line| {
            let (name, rest) = line.trim_end_matches(',').split_once(' ')?;
            Some(match rest.split_once(" DEFAULT ") {
                Some((type_name, _)) => (name, type_name, "DEFAULT"),
                None => (name, rest, ""),
            })
        })
        .collect()
}
