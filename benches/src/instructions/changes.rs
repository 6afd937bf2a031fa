//! Change records, as they are counted: in memory through the daemon's own decoding, the batches in which
//! the last change of a key counts, and compression, the same for every run.

use anyhow::{Result, ensure};
use sandbox::generate::{self, ChangeForm, ORDERS};
use sandbox::workdir::project_root;
use streamweir::config::Config;
use streamweir::drive::{ChangePath, Given};

use crate::Taken;

const SEED: u64 = 42;
/// When Kafka got them; it decides about nothing here.
const KAFKA_MS: i64 = 1_772_323_200_000;
const TOPIC: &str = "shop.public.orders";
const PARTITIONS: usize = 4;
/// Records of one poll, all of one partition.
const CHUNK_RECORDS: usize = 1_000;
/// Changes of a key, on average.
const CHANGES_PER_KEY: u64 = 10;

/// What one lane would have in front of it.
pub(crate) struct Changes {
    chunks: Vec<Chunk>,
}

struct Chunk {
    partition: usize,
    records: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Changes {
    /// Keys belong to partitions, as in a topic.
    pub(crate) fn new(form: ChangeForm, records: u64) -> Self {
        let keys = (records / CHANGES_PER_KEY).max(1);
        let mut generator = generate::Changes::new(SEED, keys, TOPIC, form);
        let mut open: Vec<Vec<_>> = vec![vec![]; PARTITIONS];
        let mut chunks = vec![];
        for _ in 0..records {
            let (key, value) = generator.next_record();
            let sum: usize = key.iter().map(|&byte| usize::from(byte)).sum();
            let partition = sum % PARTITIONS;
            open[partition].push((key.to_vec(), value.map(<[u8]>::to_vec)));
            if open[partition].len() == CHUNK_RECORDS {
                let records = std::mem::take(&mut open[partition]);
                chunks.push(Chunk { partition, records });
            }
        }
        let rest = open.into_iter().enumerate();
        chunks.extend(rest.map(|(partition, records)| Chunk { partition, records }));
        Changes { chunks }
    }

    /// Takes everything through a fresh path.
    pub(crate) fn run(&self) -> Result<Taken> {
        let loaded = Config::load(&project_root().join("config.toml"), [])
            .map_err(|problems| anyhow::anyhow!("config.toml: {problems}"))?;
        let mut path = ChangePath::new(&loaded.config, TOPIC, &ORDERS, i32::try_from(PARTITIONS)?);
        for chunk in &self.chunks {
            let records = chunk.records.iter();
            let given: Vec<Given<'_>> = records
                .map(|(key, value)| Given::keyed(key, value.as_deref(), KAFKA_MS))
                .collect();
            path.chunk(chunk.partition, &given);
        }
        path.seal();
        ensure!(path.sealed.rows > 0, "no rows");
        Ok(Taken {
            rows: path.sealed.rows as u64,
            frame_bytes: path.sealed.frame_bytes as u64,
        })
    }
}
