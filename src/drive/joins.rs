//! The same for a join: events and what they are joined with, on their way into messages.

use std::sync::Arc;

use super::Given;
use crate::batch::{Messages, OpenBatch};
use crate::config::{Config, Kind, Pipeline};
use crate::lane::{Accepted, EmissionPart as _, Emit, Operator};
use crate::observe::metrics::PipelineMetrics;
use crate::pipeline::{StreamJoinOperator, join_operator};
use crate::source::TopicPartition;

/// One lane of the kind `stream_join` with its partitions.
pub struct JoinPath {
    pipeline: Arc<Pipeline>,
    operator: StreamJoinOperator,
    left: Vec<Partition>,
    right: Vec<Partition>,
    messages: Messages,
    /// Joined records so far.
    pub joined: usize,
    /// And what they have in keys and values.
    pub bytes: usize,
}

/// Which topic records are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinTopic {
    /// The events.
    Left,
    /// What they are joined with.
    Right,
}

struct Partition {
    state: <StreamJoinOperator as Operator>::Partition,
    next_offset: i64,
}

impl JoinPath {
    /// The first pipeline of the kind `stream_join` of `config`.
    ///
    /// # Panics
    /// When there is no such pipeline.
    pub fn new(config: &Config, partitions: i32) -> Self {
        let pipelines = config.pipelines.iter();
        let mut joins = pipelines.filter_map(|pipeline| match &pipeline.kind {
            Kind::StreamJoin(join) => Some((Arc::new(pipeline.clone()), join)),
            Kind::Enrichment(_) | Kind::Aggregation(_) | Kind::Cdc(_) | Kind::Raw(_) => None,
        });
        let (pipeline, join) = joins.next().expect("a pipeline of the kind stream_join");
        let metrics = PipelineMetrics::new(&pipeline.name);
        let count = usize::try_from(partitions).expect("a number of partitions");
        let operator = join_operator(&pipeline, join, count, metrics);
        let mut operator = operator.expect("a configuration's paths are paths");
        let mut begin = |topic: &str| {
            let partitions = (0..partitions).map(|partition| {
                let topic = topic.into();
                let mut state = operator.begin(&TopicPartition { topic, partition });
                let resumed = operator.resume(&mut state, 0, None, 0);
                resumed.expect("nothing was committed");
                Partition {
                    state,
                    next_offset: 0,
                }
            });
            partitions.collect()
        };
        JoinPath {
            left: begin(&join.left.topic),
            right: begin(&join.right.topic),
            pipeline,
            operator,
            messages: Messages::default(),
            joined: 0,
            bytes: 0,
        }
    }

    /// Takes one chunk of one partition through all stages.
    ///
    /// # Panics
    /// When a record is refused: counting would then count something else.
    #[inline(never)]
    pub fn chunk(&mut self, topic: JoinTopic, partition: usize, records: &[Given<'_>]) {
        self.accept(topic, partition, records);
        self.operator.clear(0);
        self.emit(false);
    }

    #[inline(never)]
    fn accept(&mut self, topic: JoinTopic, partition: usize, records: &[Given<'_>]) {
        let partitions = match topic {
            JoinTopic::Left => &mut self.left,
            JoinTopic::Right => &mut self.right,
        };
        let Partition { state, next_offset } = &mut partitions[partition];
        for (given, offset) in records.iter().zip(*next_offset..) {
            let record = given.record(offset);
            match self.operator.accept(state, record.record()) {
                Ok(Accepted::Rows(_)) => {}
                _ => panic!("the generator makes records that can be joined"),
            }
            *next_offset = offset + 1;
        }
        self.operator.judge(state);
    }

    /// Decides what waits too, as the lane does when it closes.
    #[inline(never)]
    pub fn close(&mut self) {
        while !self.emit(true) {}
    }

    /// Takes out what is decided, as the lane does for every transaction; true when that was all.
    #[inline(never)]
    fn emit(&mut self, all: bool) -> bool {
        let limits = &self.pipeline.batch;
        let is_all = self.operator.emit(Emit {
            batch: &mut OpenBatch::new(),
            messages: &mut self.messages,
            all,
            rows_max: limits.rows_max,
            bytes_max: limits.bytes_max,
        });
        let is_all = is_all.expect("a join can always go on");
        self.joined += self.messages.len();
        self.bytes += self.messages.bytes();
        self.messages.clear();
        for own in self.left.iter().chain(&self.right) {
            self.operator.commit_point(&own.state, own.next_offset);
        }
        is_all
    }
}

impl std::fmt::Debug for JoinPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinPath")
            .field("joined", &self.joined)
            .finish_non_exhaustive()
    }
}
