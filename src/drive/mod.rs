//! The path of a record without Kafka, Redis and ClickHouse around it: what is counted to know what
//! a record costs (`benches/src/instructions`). The parts are the daemon's own, in the lane's order.

mod changes;
mod joins;
mod windows;

use std::sync::Arc;

pub use changes::ChangePath;
pub use joins::{JoinPath, JoinTopic};
pub use windows::WindowPath;

use crate::batch::{OpenBatch, SealedBatch};
use crate::config::{Config, Kind, Pipeline};
use crate::lane::{LookupPart as _, Operator, RecordRows as _};
use crate::lookup::Found;
use crate::observe::metrics::PipelineMetrics;
use crate::pipeline::{EnrichmentOperator, RowPlan, Settings, Table};
use crate::sink::{ColumnInfo, TableInfo, Target};
use crate::source::{MadeRecord, TopicPartition};

const CACHE_BYTES_MAX: usize = 64 << 20;
/// Every random state of the path begins with it, so that two runs do the same.
const SEED: u64 = 1;

/// A record as a broker would hand it out.
#[derive(Debug, Clone, Copy)]
pub struct Given<'b> {
    key: Option<&'b [u8]>,
    value: Option<&'b [u8]>,
    timestamp_ms: i64,
}

impl<'b> Given<'b> {
    /// `timestamp_ms` is when Kafka got it, since the epoch.
    pub fn new(value: &'b [u8], timestamp_ms: i64) -> Self {
        Given {
            key: None,
            value: Some(value),
            timestamp_ms,
        }
    }

    /// The same with a key; a tombstone has no value.
    pub fn keyed(key: &'b [u8], value: Option<&'b [u8]>, timestamp_ms: i64) -> Self {
        Given {
            key: Some(key),
            value,
            timestamp_ms,
        }
    }

    fn record(&self, offset: i64) -> MadeRecord<'b> {
        MadeRecord::new(self.key, self.value, self.timestamp_ms, offset)
    }
}

/// One lane of the kind `enrichment` with its partitions.
pub struct RecordPath {
    pipeline: Pipeline,
    operator: EnrichmentOperator,
    partitions: Vec<Partition>,
    /// What was sealed so far.
    pub sealed: SealedSoFar,
}

struct Partition {
    state: <EnrichmentOperator as Operator>::Partition,
    batch: OpenBatch,
    next_offset: i64,
}

/// Closed batches.
#[derive(Debug, Clone, Copy, Default)]
pub struct SealedSoFar {
    pub rows: usize,
    pub raw_bytes: usize,
    pub frame_bytes: usize,
}

impl RecordPath {
    /// The first pipeline of `config`, for a table of these columns: name, type, kind of default.
    ///
    /// # Panics
    /// When the pipeline cannot be made for that table.
    pub fn new(config: &Config, columns: &[(&str, &str, &str)], partitions: i32) -> Self {
        let pipeline = config.pipelines.first().expect("a pipeline").clone();
        let Kind::Enrichment(enrichment) = &pipeline.kind else {
            panic!("an enrichment");
        };
        let info = |&(name, type_name, default_kind): &(&str, &str, &str)| ColumnInfo {
            name: name.to_owned(),
            type_name: type_name.to_owned(),
            default_kind: default_kind.to_owned(),
        };
        let columns: Vec<ColumnInfo> = columns.iter().map(info).collect();
        let plan = RowPlan::new(enrichment, &columns, true).expect("the table fits the pipeline");
        let table = Table {
            target: Arc::new(target(columns, &plan)),
            has_provenance: true,
        };
        let settings = Settings::new(enrichment, Arc::new(CACHE_BYTES_MAX.into()), SEED);
        let metrics = PipelineMetrics::new(&pipeline.name);
        let mut operator = EnrichmentOperator::new(Arc::new(plan), table, settings, None, metrics);
        let mut begin = |partition| {
            let topic = "user-events".into();
            Partition {
                state: operator.begin(&TopicPartition { topic, partition }),
                batch: OpenBatch::new(),
                next_offset: 0,
            }
        };
        RecordPath {
            pipeline,
            partitions: (0..partitions).map(&mut begin).collect(),
            operator,
            sealed: SealedSoFar::default(),
        }
    }

    /// Takes one chunk of one partition through all stages. `profile` answers for Redis.
    ///
    /// # Panics
    /// When a record is refused: counting would then count something else.
    #[inline(never)]
    pub fn chunk(
        &mut self,
        partition: usize,
        records: &[Given<'_>],
        profile: impl FnMut(&[u8]) -> Option<Vec<u8>>,
    ) {
        self.accept(partition, records);
        self.look_up(profile);
        self.batch(partition, records.len());
        self.operator.clear(0);
    }

    #[inline(never)]
    fn accept(&mut self, partition: usize, records: &[Given<'_>]) {
        let Partition {
            state, next_offset, ..
        } = &mut self.partitions[partition];
        for (given, offset) in records.iter().zip(*next_offset..) {
            let record = given.record(offset);
            let accepted = self.operator.accept(state, record.record());
            accepted.expect("the generator makes events that can be written");
        }
        let refused = self.operator.judge(state);
        assert!(refused.is_empty(), "no session counts that far");
    }

    #[inline(never)]
    fn look_up(&mut self, profile: impl FnMut(&[u8]) -> Option<Vec<u8>>) {
        let keys = self.operator.lookup_keys(0);
        if keys.is_empty() {
            return;
        }
        let answers = keys.iter().map(Vec::as_slice).map(profile);
        let found = answers.map(|json| json.map_or(Found::Nothing, Found::Json));
        self.operator.apply_lookup(found.collect(), 0);
    }

    #[inline(never)]
    fn batch(&mut self, partition: usize, rows: usize) {
        let limits = &self.pipeline.batch;
        for index in 0..rows {
            let Partition {
                batch, next_offset, ..
            } = &mut self.partitions[partition];
            self.operator.push(index, *next_offset, batch);
            *next_offset += 1;
            if batch.row_count() >= limits.rows_max || batch.raw_bytes() >= limits.bytes_max {
                self.sealed.add(&batch.seal());
            }
        }
    }

    /// Closes the batches, as the lane does when the interval is over.
    #[inline(never)]
    pub fn seal(&mut self) {
        for partition in &mut self.partitions {
            self.sealed.add(&partition.batch.seal());
        }
    }
}

fn target(columns: Vec<ColumnInfo>, plan: &RowPlan) -> Target {
    let info = TableInfo {
        engine: "MergeTree".to_owned(),
        engine_full: String::new(),
        sorting_key: String::new(),
        partition_key: String::new(),
        columns,
        metadata_version: 0,
        has_tokens: true,
    };
    Target::of_columns(
        String::new(),
        String::new(),
        &info,
        plan.names(),
        plan.format(),
    )
}

impl SealedSoFar {
    fn add(&mut self, sealed: &SealedBatch) {
        self.rows += sealed.row_count();
        self.raw_bytes += sealed.raw_bytes();
        let block = sealed.block().unwrap_or_default();
        self.frame_bytes += block.iter().map(bytes::Bytes::len).sum::<usize>();
    }
}

impl std::fmt::Debug for RecordPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordPath")
            .field("sealed", &self.sealed)
            .finish_non_exhaustive()
    }
}
