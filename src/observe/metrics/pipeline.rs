//! The handles of one pipeline. Made once, cloned into its lanes; counting is an atomic add.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, SharedString, counter, gauge, histogram};

use super::names::*;

/// What a lane's time is spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Fetching records from the consumer.
    Poll,
    /// Bytes to typed values.
    Decode,
    /// Enrichment, sessions, windows, joins.
    Operate,
    /// Rows to insert bytes.
    Encode,
    /// Paused because a sink has not acknowledged enough.
    WaitSink,
    /// Waiting for profiles.
    WaitLookup,
    /// Nothing to read.
    Idle,
}

impl Stage {
    const LABELS: [&str; 7] = [
        "poll",
        "decode",
        "operate",
        "encode",
        "wait_sink",
        "wait_lookup",
        "idle",
    ];
}

/// Where the answer of a lookup came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupResult {
    /// The profile cache, known absence included.
    Cache,
    /// The lookup server.
    Remote,
    /// The server has no usable profile: defaults.
    Missing,
    /// The server could not be reached: defaults.
    Unavailable,
}

impl LookupResult {
    const LABELS: [&str; 4] = ["cache", "remote", "missing", "unavailable"];
}

/// Every metric of one pipeline, registered with the recorder that is current in
/// [`PipelineMetrics::new`].
///
/// The public handles are for the record path: call them once a chunk with the chunk's total.
/// Histograms keep every sample until the next upkeep: record one a batch, chunk or request, never
/// one a row.
#[derive(Clone)]
pub struct PipelineMetrics {
    /// Records read from Kafka.
    pub records_consumed: Counter,
    /// Key and value bytes read from Kafka.
    pub bytes_consumed: Counter,
    /// Records read again for the state's sake alone.
    pub records_replayed: Counter,
    /// Rows whose write was acknowledged.
    pub rows_written: Counter,
    /// Seconds from Kafka timestamp to acknowledgement, one sample a chunk.
    pub freshness: Histogram,
    /// Rows of a sealed batch.
    pub batch_rows: Histogram,
    /// Encoded bytes of a sealed batch.
    pub batch_bytes: Histogram,
    /// Seconds of one insert.
    pub insert_seconds: Histogram,
    /// Seconds of one lookup round trip.
    pub lookup_seconds: Histogram,
    /// Seconds to write one snapshot.
    pub checkpoint_seconds: Histogram,
    /// Rebalance callbacks.
    pub rebalances: Counter,
    /// The interval at which time seals batches now, in seconds.
    pub flush_interval_effective: Gauge,
    /// Bytes of operator state. Lanes share it: add and subtract, do not set.
    pub state_bytes: Gauge,
    /// On the disk of the process.
    pub state_disk_bytes: Gauge,
    /// Windows that still take records. Lanes share it: add and subtract, do not set.
    pub windows_open: Gauge,
    /// Records that came too late to count.
    pub late_records: Counter,
    pipeline: SharedString,
    dead_letters: [Counter; DEAD_LETTER_REASONS.len()],
    lookups: [Counter; LookupResult::LABELS.len()],
    lane_time: [Gauge; Stage::LABELS.len()],
}

impl PipelineMetrics {
    /// Registers the metrics of the pipeline of this name; those whose labels are a closed set
    /// are exposed as 0 from here on.
    pub fn new(pipeline: &str) -> Self {
        let pipeline = SharedString::from(Arc::<str>::from(pipeline));
        let p = || pipeline.clone();
        counter!(RECORDS_DROPPED_TOTAL, "pipeline" => p(), "reason" => "skip").increment(0);
        counter!(FIELDS_IGNORED_TOTAL, "pipeline" => p()).increment(0);
        counter!(VALUES_ASSUMED_TOTAL, "pipeline" => p()).increment(0);
        for result in ["ok", "error"] {
            counter!(COMMITS_TOTAL, "pipeline" => p(), "result" => result).increment(0);
        }
        // Of every kind, so that the name is there before anything went wrong.
        counter!(RETRIES_TOTAL, "pipeline" => p(), "target" => "dead_letters", "reason" => "kafka")
            .increment(0);
        for reason in ["sink", "memory", "lookup"] {
            gauge!(PAUSED_SECONDS_TOTAL, "pipeline" => p(), "reason" => reason).increment(0.0);
        }
        gauge!(PIPELINE_HALTED, "pipeline" => p(), "reason" => "none").set(0.0);
        Self {
            records_consumed: counter!(RECORDS_CONSUMED_TOTAL, "pipeline" => p()),
            bytes_consumed: counter!(BYTES_CONSUMED_TOTAL, "pipeline" => p()),
            records_replayed: counter!(RECORDS_REPLAYED_TOTAL, "pipeline" => p()),
            rows_written: counter!(ROWS_WRITTEN_TOTAL, "pipeline" => p()),
            freshness: histogram!(FRESHNESS_SECONDS, "pipeline" => p()),
            batch_rows: histogram!(BATCH_ROWS, "pipeline" => p()),
            batch_bytes: histogram!(BATCH_BYTES, "pipeline" => p()),
            insert_seconds: histogram!(INSERT_SECONDS, "pipeline" => p()),
            lookup_seconds: histogram!(LOOKUP_SECONDS, "pipeline" => p()),
            checkpoint_seconds: histogram!(CHECKPOINT_SECONDS, "pipeline" => p()),
            rebalances: counter!(REBALANCES_TOTAL, "pipeline" => p()),
            flush_interval_effective: gauge!(FLUSH_INTERVAL_EFFECTIVE_SECONDS, "pipeline" => p()),
            state_bytes: gauge!(STATE_BYTES, "pipeline" => p()),
            state_disk_bytes: gauge!(STATE_DISK_BYTES, "pipeline" => p()),
            windows_open: gauge!(WINDOWS_OPEN, "pipeline" => p()),
            late_records: counter!(LATE_RECORDS_TOTAL, "pipeline" => p()),
            dead_letters: DEAD_LETTER_REASONS
                .map(|reason| counter!(DEAD_LETTERS_TOTAL, "pipeline" => p(), "reason" => reason)),
            lookups: LookupResult::LABELS
                .map(|result| counter!(LOOKUPS_TOTAL, "pipeline" => p(), "result" => result)),
            lane_time: Stage::LABELS
                .map(|stage| gauge!(LANE_TIME_SECONDS_TOTAL, "pipeline" => p(), "stage" => stage)),
            pipeline,
        }
    }

    /// Counts one record kept as a dead letter.
    pub fn dead_letter(&self, reason: &'static str) {
        match DEAD_LETTER_REASONS
            .iter()
            .position(|known| *known == reason)
        {
            Some(known) => self.dead_letters[known].increment(1),
            None => counter!(
                DEAD_LETTERS_TOTAL, "pipeline" => self.pipeline.clone(), "reason" => reason,
            )
            .increment(1),
        }
    }

    /// Counts records passed by under a rule; `skip` is the operator's own list.
    pub fn dropped(&self, reason: &'static str, records: u64) {
        counter!(RECORDS_DROPPED_TOTAL, "pipeline" => self.pipeline.clone(), "reason" => reason)
            .increment(records);
    }

    /// The metrics of one rule.
    pub fn rule(&self, rule: &str, has_threshold: bool) -> RuleMetrics {
        let rule = SharedString::from(Arc::<str>::from(rule));
        let p = || self.pipeline.clone();
        let r = || rule.clone();
        let checks = |result: &'static str| counter!(RULE_CHECKS_TOTAL, "pipeline" => p(), "rule" => r(), "result" => result);
        let missed = gauge!(QUALITY_THRESHOLD_MISSED, "pipeline" => p(), "rule" => r());
        if has_threshold {
            missed.set(0.0);
        } else {
            missed.set(f64::NAN);
        }
        // Nothing is known before the first record.
        let ratio = gauge!(QUALITY_RATIO, "pipeline" => p(), "rule" => r());
        ratio.set(f64::NAN);
        RuleMetrics {
            passed: checks("passed"),
            failed: checks("failed"),
            skipped: checks("skipped"),
            ratio,
            missed,
        }
    }

    /// Counts a field that no column takes.
    pub fn field_ignored(&self) {
        counter!(FIELDS_IGNORED_TOTAL, "pipeline" => self.pipeline.clone()).increment(1);
    }

    /// Counts a row whose large values were taken from a row that may have been another one.
    pub fn values_assumed(&self) {
        counter!(VALUES_ASSUMED_TOTAL, "pipeline" => self.pipeline.clone()).increment(1);
    }

    /// Counts one offset commit: `ok`, `error`, or a more exact word for a failure.
    pub fn commit(&self, result: &'static str) {
        counter!(COMMITS_TOTAL, "pipeline" => self.pipeline.clone(), "result" => result)
            .increment(1);
    }

    /// Counts one insert attempt; `code` is the server's error code, none is exposed as 0.
    pub fn insert(&self, table: &str, result: &'static str, code: Option<u32>) {
        counter!(
            INSERTS_TOTAL,
            "pipeline" => self.pipeline.clone(),
            "table" => table.to_owned(),
            "result" => result,
            "code" => code.unwrap_or(0).to_string(),
        )
        .increment(1);
    }

    /// The registry has been asked for a schema: `found`, `missing` or `unavailable`.
    pub fn schema_request(&self, result: &'static str) {
        counter!(SCHEMA_REQUESTS_TOTAL, "pipeline" => self.pipeline.clone(), "result" => result)
            .increment(1);
    }

    /// Counts one repeated request to `target` (`clickhouse`, `kafka`, `redis`).
    pub fn retry(&self, target: &'static str, reason: &'static str) {
        counter!(
            RETRIES_TOTAL,
            "pipeline" => self.pipeline.clone(), "target" => target, "reason" => reason,
        )
        .increment(1);
    }

    /// Adds time that a lane spent in a stage.
    pub fn lane_time(&self, stage: Stage, spent: Duration) {
        self.lane_time[stage as usize].increment(spent.as_secs_f64());
    }

    /// Counts lookups by where their answers came from.
    pub fn lookup(&self, result: LookupResult, lookups: u64) {
        self.lookups[result as usize].increment(lookups);
    }

    /// Counts events of a join by what became of them.
    pub fn join_results(&self, outcome: &'static str, events: u64) {
        counter!(JOIN_RESULTS_TOTAL, "pipeline" => self.pipeline.clone(), "outcome" => outcome)
            .increment(events);
    }

    /// Records of one side of a join that are in memory. Lanes share it: add and subtract, do not set.
    pub fn join_buffer(&self, side: &'static str) -> Gauge {
        gauge!(JOIN_BUFFER_RECORDS, "pipeline" => self.pipeline.clone(), "side" => side)
    }

    /// Adds time during which partitions were not read on purpose.
    pub fn paused(&self, reason: &'static str, spent: Duration) {
        gauge!(PAUSED_SECONDS_TOTAL, "pipeline" => self.pipeline.clone(), "reason" => reason)
            .increment(spent.as_secs_f64());
    }

    /// Says that the pipeline has halted, for a reason from a closed set.
    pub fn halted(&self, reason: &'static str) {
        self.halted_gauge(reason).set(1.0);
    }

    /// Takes [`PipelineMetrics::halted`] back, when the pipeline is started again.
    pub fn not_halted(&self, reason: &'static str) {
        self.halted_gauge(reason).set(0.0);
    }

    fn halted_gauge(&self, reason: &'static str) -> Gauge {
        gauge!(PIPELINE_HALTED, "pipeline" => self.pipeline.clone(), "reason" => reason)
    }

    /// Sets the bytes that a part of this pipeline holds, over all its lanes.
    pub fn memory(&self, part: &'static str, bytes: u64) {
        gauge!(MEMORY_BYTES, "pipeline" => self.pipeline.clone(), "part" => part).set(bytes as f64);
    }

    /// The gauges of one partition, absent from `/metrics` until they are set.
    pub fn partition(&self, topic: &str, partition: i32) -> PartitionMetrics {
        let topic = SharedString::from(Arc::<str>::from(topic));
        let partition = SharedString::from(Arc::<str>::from(partition.to_string()));
        let gauge_of = |name: &'static str| {
            gauge!(
                name,
                "pipeline" => self.pipeline.clone(),
                "topic" => topic.clone(),
                "partition" => partition.clone(),
            )
        };
        let metrics = PartitionMetrics {
            lag_records: gauge_of(CONSUMER_LAG_RECORDS),
            commit_lag_records: gauge_of(COMMIT_LAG_RECORDS),
            lag_seconds: gauge_of(CONSUMER_LAG_SECONDS),
            watermark: gauge_of(WATERMARK_TIMESTAMP_SECONDS),
            watermark_ahead: gauge_of(WATERMARK_AHEAD_SECONDS),
            stuck: gauge_of(STUCK_SECONDS),
        };
        metrics.forget();
        metrics
    }
}

impl fmt::Debug for PipelineMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineMetrics")
            .field("pipeline", &self.pipeline)
            .finish_non_exhaustive()
    }
}

/// The gauges of one partition that this process reads.
#[derive(Clone)]
pub struct PartitionMetrics {
    /// Offsets from the next one to read to the end.
    pub lag_records: Gauge,
    /// Offsets from the committed one to the end.
    pub commit_lag_records: Gauge,
    /// Age in seconds of the last record read.
    pub lag_seconds: Gauge,
    /// The watermark as a Unix time in seconds.
    pub watermark: Gauge,
    /// How many seconds it is ahead of the wall clock, at least 0.
    pub watermark_ahead: Gauge,
    /// Seconds since something of the partition first failed to get on.
    pub stuck: Gauge,
}

/// The handles of one rule.
#[derive(Clone)]
pub struct RuleMetrics {
    passed: Counter,
    failed: Counter,
    skipped: Counter,
    /// The share of the last minutes' records that pass.
    pub ratio: Gauge,
    /// Whether the threshold is missed: 1 or 0.
    pub missed: Gauge,
}

impl RuleMetrics {
    /// Counts records by what the rule said of them.
    pub fn add(&self, passed: u64, failed: u64, skipped: u64) {
        self.passed.increment(passed);
        self.failed.increment(failed);
        self.skipped.increment(skipped);
    }
}

impl fmt::Debug for RuleMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleMetrics").finish_non_exhaustive()
    }
}

impl PartitionMetrics {
    /// Takes the partition out of `/metrics`, when it is revoked or lost: its new owner speaks
    /// for it. Setting a gauge again brings that gauge back.
    pub fn forget(&self) {
        for gauge in [
            &self.lag_records,
            &self.commit_lag_records,
            &self.lag_seconds,
            &self.watermark,
            &self.watermark_ahead,
            &self.stuck,
        ] {
            gauge.set(f64::NAN);
        }
    }
}

impl fmt::Debug for PartitionMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionMetrics").finish_non_exhaustive()
    }
}
