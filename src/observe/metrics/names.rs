//! Every metric of the daemon: name, kind, unit, help text, histogram bounds.
//!
//! Names and labels are relied upon by dashboards and alerts; add, never rename.

use metrics::Unit;

pub(super) const RECORDS_CONSUMED_TOTAL: &str = "streamweir_records_consumed_total";
pub(super) const BYTES_CONSUMED_TOTAL: &str = "streamweir_bytes_consumed_total";
pub(super) const ROWS_WRITTEN_TOTAL: &str = "streamweir_rows_written_total";
pub(super) const DEAD_LETTERS_TOTAL: &str = "streamweir_dead_letters_total";
pub(super) const RECORDS_DROPPED_TOTAL: &str = "streamweir_records_dropped_total";
pub(super) const RULE_CHECKS_TOTAL: &str = "streamweir_rule_checks_total";
pub(super) const QUALITY_RATIO: &str = "streamweir_quality_ratio";
pub(super) const QUALITY_THRESHOLD_MISSED: &str = "streamweir_quality_threshold_missed";
pub(super) const FIELDS_IGNORED_TOTAL: &str = "streamweir_fields_ignored_total";
pub(super) const VALUES_ASSUMED_TOTAL: &str = "streamweir_values_assumed_total";
pub(super) const COMMITS_TOTAL: &str = "streamweir_commits_total";
pub(super) const CONSUMER_LAG_RECORDS: &str = "streamweir_consumer_lag_records";
pub(super) const COMMIT_LAG_RECORDS: &str = "streamweir_commit_lag_records";
pub(super) const CONSUMER_LAG_SECONDS: &str = "streamweir_consumer_lag_seconds";
pub(super) const STUCK_SECONDS: &str = "streamweir_stuck_seconds";
pub(super) const FRESHNESS_SECONDS: &str = "streamweir_freshness_seconds";
pub(super) const BATCH_ROWS: &str = "streamweir_batch_rows";
pub(super) const BATCH_BYTES: &str = "streamweir_batch_bytes";
pub(super) const INSERT_SECONDS: &str = "streamweir_insert_seconds";
pub(super) const INSERTS_TOTAL: &str = "streamweir_inserts_total";
pub(super) const RETRIES_TOTAL: &str = "streamweir_retries_total";
pub(super) const FLUSH_INTERVAL_EFFECTIVE_SECONDS: &str =
    "streamweir_flush_interval_effective_seconds";
pub(super) const LOOKUPS_TOTAL: &str = "streamweir_lookups_total";
pub(super) const SCHEMA_REQUESTS_TOTAL: &str = "streamweir_schema_requests_total";
pub(super) const LOOKUP_SECONDS: &str = "streamweir_lookup_seconds";
pub(super) const WATERMARK_TIMESTAMP_SECONDS: &str = "streamweir_watermark_timestamp_seconds";
pub(super) const WATERMARK_AHEAD_SECONDS: &str = "streamweir_watermark_ahead_seconds";
pub(super) const WINDOWS_OPEN: &str = "streamweir_windows_open";
pub(super) const LATE_RECORDS_TOTAL: &str = "streamweir_late_records_total";
pub(super) const JOIN_BUFFER_RECORDS: &str = "streamweir_join_buffer_records";
pub(super) const JOIN_RESULTS_TOTAL: &str = "streamweir_join_results_total";
pub(super) const STATE_BYTES: &str = "streamweir_state_bytes";
pub(super) const STATE_DISK_BYTES: &str = "streamweir_state_disk_bytes";
pub(super) const RECORDS_REPLAYED_TOTAL: &str = "streamweir_records_replayed_total";
pub(super) const CHECKPOINT_SECONDS: &str = "streamweir_checkpoint_seconds";
pub(super) const REBALANCES_TOTAL: &str = "streamweir_rebalances_total";
pub(super) const PAUSED_SECONDS_TOTAL: &str = "streamweir_paused_seconds_total";
pub(super) const PIPELINE_HALTED: &str = "streamweir_pipeline_halted";
pub(super) const PIPELINE_STATE: &str = "streamweir_pipeline_state";
pub(super) const TARGET_UP: &str = "streamweir_target_up";
pub(super) const ASSIGNED_PARTITIONS: &str = "streamweir_assigned_partitions";
pub(super) const LAST_INSERT_TIMESTAMP_SECONDS: &str = "streamweir_last_insert_timestamp_seconds";
pub(super) const OLDEST_UNCOMMITTED_TIMESTAMP_SECONDS: &str =
    "streamweir_oldest_uncommitted_timestamp_seconds";
pub(super) const LANE_TIME_SECONDS_TOTAL: &str = "streamweir_lane_time_seconds_total";
pub(super) const MEMORY_BYTES: &str = "streamweir_memory_bytes";
pub(super) const BUILD_INFO: &str = "streamweir_build_info";

/// The reasons of dead letters that any pipeline may count; they stand in `/metrics` as 0 from the
/// start. Reasons of a single kind of pipeline appear with their first record.
pub const DEAD_LETTER_REASONS: [&str; 11] = [
    "null_value",
    "invalid_json",
    "too_deep",
    "too_large",
    "not_an_object",
    "missing_field",
    "invalid_value",
    "out_of_range",
    "implausible_time",
    "too_far_ahead",
    "rejected",
];

/// How a metric is kept and exposed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Counter,
    /// A counter of seconds. The recorder's counters are whole numbers, so it is kept as a gauge
    /// that only rises, and exposed with the type it has in truth.
    SecondsCounter,
    Gauge,
    /// A true histogram with these upper bounds.
    Histogram(&'static [f64]),
}

/// One line of the catalogue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) unit: Unit,
    pub(super) help: &'static str,
}

/// From a tenth of a second (a filling batch) to a day (catching up after an outage).
const FRESHNESS_BOUNDS_SECONDS: &[f64] = &[
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 6.0, 7.5, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3_600.0,
    21_600.0, 86_400.0,
];
const BATCH_BOUNDS_ROWS: &[f64] = &[
    1.0,
    10.0,
    100.0,
    1_000.0,
    5_000.0,
    10_000.0,
    25_000.0,
    50_000.0,
    75_000.0,
    100_000.0,
    250_000.0,
    1_000_000.0,
];
/// 1 KiB to 256 MiB.
const BATCH_BOUNDS_BYTES: &[f64] = &[
    1_024.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    8_388_608.0,
    16_777_216.0,
    33_554_432.0,
    67_108_864.0,
    134_217_728.0,
    268_435_456.0,
];
const INSERT_BOUNDS_SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
const LOOKUP_BOUNDS_SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0,
];
const CHECKPOINT_BOUNDS_SECONDS: &[f64] =
    &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

const fn metric(name: &'static str, kind: Kind, unit: Unit, help: &'static str) -> Metric {
    Metric {
        name,
        kind,
        unit,
        help,
    }
}

/// The catalogue, in the order data flows.
pub(super) const METRICS: &[Metric] = &[
    metric(
        RECORDS_CONSUMED_TOTAL,
        Kind::Counter,
        Unit::Count,
        "Records read from Kafka, replayed ones included",
    ),
    metric(
        BYTES_CONSUMED_TOTAL,
        Kind::Counter,
        Unit::Bytes,
        "Key and value bytes read from Kafka, after decompression",
    ),
    metric(
        ROWS_WRITTEN_TOTAL,
        Kind::Counter,
        Unit::Count,
        "Rows in inserts and produces that were acknowledged",
    ),
    metric(
        DEAD_LETTERS_TOTAL,
        Kind::Counter,
        Unit::Count,
        "Records that can never be written, kept in the dead-letter topic, by reason",
    ),
    metric(
        RECORDS_DROPPED_TOTAL,
        Kind::Counter,
        Unit::Count,
        "Records passed by under a rule, by reason",
    ),
    metric(
        RULE_CHECKS_TOTAL,
        Kind::Counter,
        Unit::Count,
        "Records that a rule was held against, by rule and result",
    ),
    metric(
        QUALITY_RATIO,
        Kind::Gauge,
        Unit::Count,
        "The share of the last minutes' records that pass a rule",
    ),
    metric(
        QUALITY_THRESHOLD_MISSED,
        Kind::Gauge,
        Unit::Count,
        "1 while fewer records pass a rule than its threshold asks for, else 0",
    ),
    metric(
        FIELDS_IGNORED_TOTAL,
        Kind::Counter,
        Unit::Count,
        "Fields of change records that no column takes (pipeline.evolution = \"ignore\")",
    ),
    metric(
        VALUES_ASSUMED_TOTAL,
        Kind::Counter,
        Unit::Count,
        "Rows whose key changed and whose large values may be of another row of the old key",
    ),
    metric(
        COMMITS_TOTAL,
        Kind::Counter,
        Unit::Count,
        "Offset commits, by result",
    ),
    metric(
        CONSUMER_LAG_RECORDS,
        Kind::Gauge,
        Unit::Count,
        "Offsets from the next one to read to the end of the partition",
    ),
    metric(
        COMMIT_LAG_RECORDS,
        Kind::Gauge,
        Unit::Count,
        "Offsets from the committed one to the end of the partition",
    ),
    metric(
        STUCK_SECONDS,
        Kind::Gauge,
        Unit::Seconds,
        "Time since the partition, a range of it, or its topic first failed to get on; 0 while all does",
    ),
    metric(
        CONSUMER_LAG_SECONDS,
        Kind::Gauge,
        Unit::Seconds,
        "Age of the Kafka timestamp of the last record read, 0 at the end of the partition",
    ),
    metric(
        FRESHNESS_SECONDS,
        Kind::Histogram(FRESHNESS_BOUNDS_SECONDS),
        Unit::Seconds,
        "From the Kafka timestamp to the acknowledged insert; one sample a chunk, its oldest record",
    ),
    metric(
        BATCH_ROWS,
        Kind::Histogram(BATCH_BOUNDS_ROWS),
        Unit::Count,
        "Rows of a sealed batch",
    ),
    metric(
        BATCH_BYTES,
        Kind::Histogram(BATCH_BOUNDS_BYTES),
        Unit::Bytes,
        "Encoded bytes of a sealed batch, before compression",
    ),
    metric(
        INSERT_SECONDS,
        Kind::Histogram(INSERT_BOUNDS_SECONDS),
        Unit::Seconds,
        "From sending an insert to its answer",
    ),
    metric(
        INSERTS_TOTAL,
        Kind::Counter,
        Unit::Count,
        "Insert attempts by table, result and the server's error code (0 without one)",
    ),
    metric(
        RETRIES_TOTAL,
        Kind::Counter,
        Unit::Count,
        "Requests repeated, by the system asked and the reason",
    ),
    metric(
        FLUSH_INTERVAL_EFFECTIVE_SECONDS,
        Kind::Gauge,
        Unit::Seconds,
        "Interval at which time seals batches now; above the configured one when inserts are paced",
    ),
    metric(
        LOOKUPS_TOTAL,
        Kind::Counter,
        Unit::Count,
        "Profile lookups by where the answer came from",
    ),
    metric(
        SCHEMA_REQUESTS_TOTAL,
        Kind::Counter,
        Unit::Count,
        "Schemas asked for at the schema registry, by its answer",
    ),
    metric(
        LOOKUP_SECONDS,
        Kind::Histogram(LOOKUP_BOUNDS_SECONDS),
        Unit::Seconds,
        "Round trip of one lookup request, which asks for many keys",
    ),
    metric(
        WATERMARK_TIMESTAMP_SECONDS,
        Kind::Gauge,
        Unit::Seconds,
        "Event time up to which a partition is believed complete, as a Unix time",
    ),
    metric(
        WATERMARK_AHEAD_SECONDS,
        Kind::Gauge,
        Unit::Seconds,
        "How far the watermark of a partition is ahead of the wall clock; 0 where it is behind",
    ),
    metric(
        WINDOWS_OPEN,
        Kind::Gauge,
        Unit::Count,
        "Windows that still take records",
    ),
    metric(
        LATE_RECORDS_TOTAL,
        Kind::Counter,
        Unit::Count,
        "Records that came too late to count: after all their windows, or behind the watermark of a join",
    ),
    metric(
        JOIN_BUFFER_RECORDS,
        Kind::Gauge,
        Unit::Count,
        "Records of a join in memory: events that wait, and what they may match",
    ),
    metric(
        JOIN_RESULTS_TOTAL,
        Kind::Counter,
        Unit::Count,
        "Events of a join, by what became of them",
    ),
    metric(
        STATE_BYTES,
        Kind::Gauge,
        Unit::Bytes,
        "Memory that operator state holds",
    ),
    metric(
        STATE_DISK_BYTES,
        Kind::Gauge,
        Unit::Bytes,
        "Operator state that did not fit into memory, on disk",
    ),
    metric(
        RECORDS_REPLAYED_TOTAL,
        Kind::Counter,
        Unit::Count,
        "Records read again to rebuild state, whose rows were written before",
    ),
    metric(
        CHECKPOINT_SECONDS,
        Kind::Histogram(CHECKPOINT_BOUNDS_SECONDS),
        Unit::Seconds,
        "Time to write one state snapshot",
    ),
    metric(
        REBALANCES_TOTAL,
        Kind::Counter,
        Unit::Count,
        "Rebalance callbacks of the consumer group",
    ),
    metric(
        PAUSED_SECONDS_TOTAL,
        Kind::SecondsCounter,
        Unit::Seconds,
        "Time that partitions were not read on purpose, by reason",
    ),
    metric(
        PIPELINE_HALTED,
        Kind::Gauge,
        Unit::Count,
        "1 while the pipeline is halted to protect data, by reason",
    ),
    metric(
        PIPELINE_STATE,
        Kind::Gauge,
        Unit::Count,
        "1 for the state that the pipeline is in, 0 for the others",
    ),
    metric(
        TARGET_UP,
        Kind::Gauge,
        Unit::Count,
        "1 if the system answered when it was last asked, else 0",
    ),
    metric(
        ASSIGNED_PARTITIONS,
        Kind::Gauge,
        Unit::Count,
        "Partitions that this process reads",
    ),
    metric(
        LAST_INSERT_TIMESTAMP_SECONDS,
        Kind::Gauge,
        Unit::Seconds,
        "When a batch was last acknowledged, as a Unix time",
    ),
    metric(
        OLDEST_UNCOMMITTED_TIMESTAMP_SECONDS,
        Kind::Gauge,
        Unit::Seconds,
        "Kafka timestamp of the oldest record that is not committed, as a Unix time; now when there is none",
    ),
    metric(
        LANE_TIME_SECONDS_TOTAL,
        Kind::SecondsCounter,
        Unit::Seconds,
        "Where the lanes' time goes, by stage",
    ),
    metric(
        MEMORY_BYTES,
        Kind::Gauge,
        Unit::Bytes,
        "Memory held, by part",
    ),
    metric(
        BUILD_INFO,
        Kind::Gauge,
        Unit::Count,
        "1, labelled with what was built",
    ),
];
