//! Events and updates of profiles, as they are counted: in memory through the daemon's own reading, join
//! and rendering, the same for every run.

use anyhow::{Result, ensure};
use sandbox::generate::{JOIN_UPDATE_EVERY, Joinable, join_event, join_update};
use sandbox::workdir::project_root;
use streamweir::config::Config;
use streamweir::drive::{Given, JoinPath, JoinTopic};

use crate::Taken;

const PARTITIONS: u64 = 6;
/// Records of one poll, all of one partition.
const CHUNK_RECORDS: usize = 1_000;

/// What one lane would have in front of it.
pub(crate) struct Joins {
    chunks: Vec<Chunk>,
    events: u64,
}

struct Chunk {
    topic: JoinTopic,
    partition: usize,
    records: Vec<(String, Joinable)>,
}

/// Records of one topic that no chunk is full of yet.
struct Open {
    topic: JoinTopic,
    partitions: Vec<Vec<(String, Joinable)>>,
}

impl Open {
    fn new(topic: JoinTopic) -> Self {
        let partitions = (0..PARTITIONS).map(|_| vec![]).collect();
        Open { topic, partitions }
    }

    fn add(&mut self, record: Joinable, chunks: &mut Vec<Chunk>) {
        let partition = (record.user % PARTITIONS) as usize;
        let open = &mut self.partitions[partition];
        open.push((record.user.to_string(), record));
        if open.len() == CHUNK_RECORDS {
            self.close(partition, chunks);
        }
    }

    fn close(&mut self, partition: usize, chunks: &mut Vec<Chunk>) {
        let records = std::mem::take(&mut self.partitions[partition]);
        chunks.push(Chunk {
            topic: self.topic,
            partition,
            records,
        });
    }
}

impl Joins {
    /// Users belong to partitions, as keys do in topics.
    pub(crate) fn new(events: u64) -> Self {
        let (mut left, mut right) = (Open::new(JoinTopic::Left), Open::new(JoinTopic::Right));
        let mut chunks = vec![];
        for number in 0..events {
            if number.is_multiple_of(JOIN_UPDATE_EVERY) {
                right.add(join_update(number / JOIN_UPDATE_EVERY), &mut chunks);
            }
            left.add(join_event(number), &mut chunks);
        }
        for open in [&mut right, &mut left] {
            for partition in 0..open.partitions.len() {
                open.close(partition, &mut chunks);
            }
        }
        Joins { chunks, events }
    }

    /// Takes everything through a fresh path.
    pub(crate) fn run(&self) -> Result<Taken> {
        let loaded = Config::load(&project_root().join("config.toml"), [])
            .map_err(|problems| anyhow::anyhow!("config.toml: {problems}"))?;
        let mut path = JoinPath::new(&loaded.config, i32::try_from(PARTITIONS)?);
        for chunk in &self.chunks {
            let records = chunk.records.iter();
            let given: Vec<Given<'_>> = records
                .map(|(key, made)| {
                    Given::keyed(key.as_bytes(), Some(made.value.as_bytes()), made.arrives_ms)
                })
                .collect();
            path.chunk(chunk.topic, chunk.partition, &given);
        }
        path.close();
        let (rows, events) = (path.joined as u64, self.events);
        ensure!(rows == events, "{rows} joined records of {events} events");
        Ok(Taken {
            rows,
            frame_bytes: path.bytes as u64,
        })
    }
}
