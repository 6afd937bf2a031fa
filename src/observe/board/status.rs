//! What the board shows, as values that serialize to the JSON of `/api/v1/streaming`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::stuck::StuckStatus;
use crate::config::ReadLimits;
use crate::halt::Halt;
/// Where a pipeline is in its life.
pub use crate::life::State as PipelineState;

/// Where a lane stands in one partition. Offsets that are not known are `null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PartitionStatus {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The next offset to read.
    pub position: Option<i64>,
    /// The committed offset.
    pub committed: Option<i64>,
    /// The offset one past the last readable record.
    pub end: Option<i64>,
    /// `end - position`, at least 0.
    pub lag: Option<i64>,
    /// How far its watermark is ahead of the wall clock, where that is more than an hour: records that
    /// come after one with such a time are late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark_ahead_seconds: Option<u64>,
    /// Kafka timestamp in milliseconds of the oldest record that was read and is not committed.
    #[serde(skip)]
    pub oldest_ms: Option<i64>,
}

impl PartitionStatus {
    /// Takes offsets as the client library gives them: a negative one is not known.
    pub fn new(topic: &str, partition: i32, position: i64, committed: i64, end: i64) -> Self {
        let known = |offset: i64| (offset >= 0).then_some(offset);
        let (position, end) = (known(position), known(end));
        Self {
            topic: topic.to_owned(),
            partition,
            position,
            committed: known(committed),
            end,
            lag: position
                .zip(end)
                .map(|(position, end)| (end - position).max(0)),
            watermark_ahead_seconds: None,
            oldest_ms: None,
        }
    }

    /// With the time of its oldest record that was read and is not committed.
    pub fn with_oldest(self, oldest_ms: Option<i64>) -> Self {
        Self { oldest_ms, ..self }
    }

    /// With how far its watermark is ahead, where that is to be shown.
    pub fn with_watermark_ahead(self, watermark_ahead_seconds: Option<u64>) -> Self {
        Self {
            watermark_ahead_seconds,
            ..self
        }
    }
}

/// A batch that was acknowledged.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct BatchStatus {
    /// The table or topic it went to.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// Its encoded bytes.
    pub bytes: u64,
    /// Seconds from sending to the answer.
    pub seconds: f64,
    /// When it was acknowledged.
    #[schema(value_type = String)]
    pub at: Moment,
}

/// One lane's loop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LaneStatus {
    /// Its number within the pipeline, from 0.
    pub lane: usize,
    /// Milliseconds since its loop last turned.
    pub turned_ms_ago: u64,
    /// Whether its consumer has had an assignment, an empty one included.
    pub joined: bool,
}

/// One sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SinkStatus {
    /// `clickhouse`, or what else the pipeline writes to.
    pub sink: String,
    /// Milliseconds since its last answer; `null` before the first.
    pub answered_ms_ago: Option<u64>,
}

/// Where a pipeline comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The configuration file.
    File,
    /// A request.
    Api,
}

impl Source {
    pub(super) fn of(is_created: bool) -> Self {
        if is_created { Self::Api } else { Self::File }
    }
}

/// A record that was kept as a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeadLetterStatus {
    /// `topic:partition:offset`.
    pub address: String,
    /// A reason of `docs/dead-letters.md`.
    #[schema(value_type = String)]
    pub reason: &'static str,
    /// What exactly.
    pub detail: String,
    /// When it was written.
    #[schema(value_type = String)]
    pub at: Moment,
}

/// Something that a pipeline writes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TargetStatus {
    /// `clickhouse`, or what else it is.
    pub target: String,
    /// It has answered within 30 s, and nothing has failed since.
    pub up: bool,
    /// When it last answered.
    #[schema(value_type = Option<String>)]
    pub last_answer: Option<Moment>,
    /// What last failed.
    pub last_error: Option<String>,
    /// When that was.
    #[schema(value_type = Option<String>)]
    pub last_error_at: Option<Moment>,
}

/// Why a pipeline has halted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct HaltStatus {
    /// The label of `streamweir_pipeline_halted`, a row in `docs/halts.md`.
    #[schema(value_type = String)]
    pub reason: &'static str,
    /// What happened, in one line.
    pub message: String,
    /// What happened in full, and what to do.
    pub advice: String,
}

impl HaltStatus {
    pub(crate) fn of(halt: &Halt) -> Self {
        let message = halt.advice.lines().next().unwrap_or_default();
        HaltStatus {
            reason: halt.reason,
            message: message.to_owned(),
            advice: halt.advice.clone(),
        }
    }
}

/// How fast the lanes of a pipeline may read, together, in this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct LimitsStatus {
    /// The limits; `null`: none.
    #[serde(flatten)]
    pub limits: ReadLimits,
    /// A lane was held back by them within the last seconds, so lag may grow.
    #[serde(rename = "limited")]
    pub is_holding: bool,
}

impl LimitsStatus {
    /// Why a pipeline that runs is behind, where it is held back.
    pub(super) fn reason(&self) -> Option<String> {
        let records = self.limits.records_per_second_max;
        let records = records.map(|n| format!("{n} records a second (records_per_second_max)"));
        let bytes = self.limits.bytes_per_second_max;
        let bytes = bytes.map(|n| format!("{n} bytes a second (bytes_per_second_max)"));
        let limits: Vec<_> = records.into_iter().chain(bytes).collect();
        self.is_holding.then(|| {
            format!(
                "reads no more than {}, so lag may grow",
                limits.join(" and ")
            )
        })
    }
}

/// How a pipeline was at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Sample {
    /// When that was.
    #[schema(value_type = String)]
    pub at: Moment,
    /// Records that were not read.
    pub lag: i64,
    /// Records that were not committed, those included.
    pub uncommitted: i64,
    /// Rows written a second since the sample before.
    pub rows_per_second: f64,
}

/// One pipeline. The fields up to `last_error` are the contract; the rest feeds the status page.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PipelineStatus {
    /// Its name in the configuration.
    pub name: String,
    /// `enrichment`, `cdc`, `aggregation`, `stream_join` or `raw`.
    pub kind: String,
    /// Whether the configuration file has it, or a request created it.
    pub source: Source,
    /// Where it is in its life.
    #[schema(value_type = String)]
    pub state: PipelineState,
    /// Why it is in this state, where there is something to say.
    pub reason: Option<String>,
    /// Why it has halted, of a halted one.
    pub halt: Option<HaltStatus>,
    /// How fast it may read, and whether that holds it back.
    pub limits: LimitsStatus,
    /// Its partitions in this process, by topic and number.
    pub partitions: Vec<PartitionStatus>,
    /// Rows acknowledged since the process started.
    pub rows_written: u64,
    /// Records kept as dead letters since the process started.
    pub dead_letters: u64,
    /// The same by reason.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub dead_letters_by_reason: BTreeMap<&'static str, u64>,
    /// The newest of them, newest first, 20 at most.
    pub last_dead_letters: Vec<DeadLetterStatus>,
    /// What it writes to, and what else it depends on.
    pub targets: Vec<TargetStatus>,
    /// The newest error, retried ones included.
    pub last_error: Option<String>,
    /// When that was.
    #[schema(value_type = Option<String>)]
    pub last_error_at: Option<Moment>,
    /// Partitions that have not begun or are not read, and ranges that are not written, the longest first.
    pub stuck: Vec<StuckStatus>,
    /// Its lanes.
    pub lanes: Vec<LaneStatus>,
    /// Its sinks.
    pub sinks: Vec<SinkStatus>,
    /// Its newest batches, newest first.
    pub batches: Vec<BatchStatus>,
    /// Kafka timestamp of the oldest record that is not committed; `null` where none is known to wait.
    #[schema(value_type = Option<String>)]
    pub oldest_uncommitted: Option<Moment>,
    /// Rows written a second over the last minute.
    pub rows_per_second_minute: f64,
    /// The last 15 minutes, a sample every 10 seconds, oldest first.
    pub history: Vec<Sample>,
}

impl PipelineStatus {
    /// The sum of the known lags of its partitions, in records.
    pub fn lag_records(&self) -> i64 {
        lag_records(&self.partitions)
    }
}

/// The records that are not committed. Where nothing was committed yet, those that are not read.
pub(super) fn uncommitted_records(partitions: &[PartitionStatus]) -> i64 {
    let uncommitted = partitions.iter().filter_map(|partition| {
        let behind = partition.committed.zip(partition.end);
        let behind = behind.map(|(committed, end)| (end - committed).max(0));
        behind.or(partition.lag)
    });
    uncommitted.sum()
}

pub(super) fn lag_records(partitions: &[PartitionStatus]) -> i64 {
    let known = partitions.iter().filter_map(|partition| partition.lag);
    known.sum()
}

/// The whole process.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ServiceStatus {
    /// Every pipeline, in the order of the configuration.
    pub pipelines: Vec<PipelineStatus>,
    /// The version of the program.
    #[schema(value_type = String)]
    pub version: &'static str,
    /// Seconds since the process started.
    pub uptime_seconds: u64,
    /// `memory_max` in bytes.
    pub memory_bytes_max: Option<u64>,
    /// Bytes held, by part.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub memory_bytes: BTreeMap<&'static str, u64>,
}

/// A wall-clock time in milliseconds since 1970, shown as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub i64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
