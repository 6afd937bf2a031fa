//! The same for change records: one topic on its way to the table of its replica.

use std::sync::Arc;

use super::{Given, SealedSoFar};
use crate::batch::OpenBatch;
use crate::config::{Config, Kind, Pipeline};
use crate::lane::{Accepted, Operator, RecordRows as _};
use crate::observe::board::Board;
use crate::observe::metrics::PipelineMetrics;
use crate::pipeline::{ColumnFacts, Replicas, ReplicasParts, ReplicationOperator};
use crate::sink::{ClickHouseClient, ColumnInfo, TableInfo};
use crate::source::TopicPartition;

/// One lane of the kind `cdc` with its partitions.
pub struct ChangePath {
    pipeline: Arc<Pipeline>,
    operator: ReplicationOperator,
    partitions: Vec<Partition>,
    /// Rows of each record of the chunk.
    rows: Vec<usize>,
    /// What was sealed so far.
    pub sealed: SealedSoFar,
}

struct Partition {
    state: <ReplicationOperator as Operator>::Partition,
    batch: OpenBatch,
    next_offset: i64,
}

impl ChangePath {
    /// The first pipeline of the kind `cdc` of `config`, for a topic whose table has these columns, names
    /// and types, and its key in the first one.
    ///
    /// # Panics
    /// When there is no such pipeline, or it cannot be made for that table.
    pub fn new(config: &Config, topic: &str, columns: &[(&str, &str)], partitions: i32) -> Self {
        let pipelines = config.pipelines.iter();
        let mut replications = pipelines.filter_map(|pipeline| match &pipeline.kind {
            Kind::Cdc(cdc) => Some((Arc::new(pipeline.clone()), Arc::new(cdc.clone()))),
            Kind::Enrichment(_) | Kind::Aggregation(_) | Kind::StreamJoin(_) | Kind::Raw(_) => None,
        });
        let (pipeline, cdc) = replications.next().expect("a pipeline of the kind cdc");
        let replicas = Replicas::new(ReplicasParts {
            client: ClickHouseClient::new(&pipeline.clickhouse).expect("no TLS is configured"),
            metrics: PipelineMetrics::new(&pipeline.name),
            board: Board::new().add_pipeline(&pipeline.name, "cdc"),
            pipeline: pipeline.clone(),
            config: cdc.clone(),
        });
        let taken = replicas.take_known(topic, &table_info(columns), &ColumnFacts::default());
        taken.expect("the table fits the pipeline");
        let mut operator = ReplicationOperator::new(cdc, replicas);
        let mut begin = |partition| {
            let topic = topic.into();
            Partition {
                state: operator.begin(&TopicPartition { topic, partition }),
                batch: OpenBatch::new(),
                next_offset: 0,
            }
        };
        ChangePath {
            pipeline,
            partitions: (0..partitions).map(&mut begin).collect(),
            operator,
            rows: vec![],
            sealed: SealedSoFar::default(),
        }
    }

    /// Takes one chunk of one partition through all stages.
    ///
    /// # Panics
    /// When a record is refused: counting would then count something else.
    #[inline(never)]
    pub fn chunk(&mut self, partition: usize, records: &[Given<'_>]) {
        self.accept(partition, records);
        self.batch(partition);
        self.operator.clear(0);
    }

    #[inline(never)]
    fn accept(&mut self, partition: usize, records: &[Given<'_>]) {
        self.rows.clear();
        let Partition {
            state, next_offset, ..
        } = &mut self.partitions[partition];
        for (given, offset) in records.iter().zip(*next_offset..) {
            let record = given.record(offset);
            match self.operator.accept(state, record.record()) {
                Ok(Accepted::Rows(rows)) => self.rows.push(rows),
                _ => panic!("the generator makes changes that can be written"),
            }
        }
    }

    #[inline(never)]
    fn batch(&mut self, partition: usize) {
        let limits = &self.pipeline.batch;
        let Partition {
            batch, next_offset, ..
        } = &mut self.partitions[partition];
        let mut row = 0;
        for rows in &self.rows {
            for _ in 0..*rows {
                self.operator.push(row, *next_offset, batch);
                row += 1;
            }
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

impl std::fmt::Debug for ChangePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChangePath")
            .field("sealed", &self.sealed)
            .finish_non_exhaustive()
    }
}

fn table_info(columns: &[(&str, &str)]) -> TableInfo {
    let (key, _) = columns.first().expect("a column");
    let ours = [("_version", "UInt64"), ("_deleted", "UInt8")];
    let info = |&(name, type_name): &(&str, &str)| ColumnInfo {
        name: name.to_owned(),
        type_name: type_name.to_owned(),
        default_kind: String::new(),
    };
    TableInfo {
        engine: "ReplacingMergeTree".to_owned(),
        engine_full: format!("ReplacingMergeTree(_version, _deleted) ORDER BY {key}"),
        sorting_key: (*key).to_owned(),
        partition_key: String::new(),
        columns: columns.iter().chain(&ours).map(info).collect(),
        metadata_version: 0,
        has_tokens: false,
    }
}
