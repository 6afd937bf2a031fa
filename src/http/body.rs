//! What a body may be, for the description of the API alone: bodies are read as JSON, so that every
//! problem is named by its path.
#![allow(dead_code, reason = "described, never made")]

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

/// A pipeline, in one of three forms.
#[derive(Debug, serde::Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum PipelineBody {
    Table(TableBody),
    Short(Box<ShortBody>),
    Alone(PipelineKeys),
}

/// The keys of a [[pipeline]], and whether it is started.
#[derive(Debug, serde::Serialize, ToSchema)]
pub(super) struct TableBody {
    pipeline: PipelineKeys,
    /// Whether it is started; true where it is left out.
    #[schema(required = false)]
    start: bool,
}

/// The keys of a [[pipeline]]; `docs/configuration.md` has them all.
#[derive(Debug, serde::Serialize, ToSchema)]
pub(super) struct PipelineKeys {
    /// PUT takes the one in the address where it is left out.
    #[schema(
        required = false,
        pattern = "^[A-Za-z0-9_-]{1,64}$",
        example = "clicks"
    )]
    name: String,
    kind: PipelineKind,
    #[serde(flatten)]
    #[schema(value_type = BTreeMap<String, Value>)]
    others: BTreeMap<String, Value>,
}

#[derive(Debug, serde::Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum PipelineKind {
    Enrichment,
    Cdc,
    Aggregation,
    StreamJoin,
}

/// The short form: an enrichment pipeline in a few keys.
#[derive(Debug, serde::Serialize, ToSchema)]
pub(super) struct ShortBody {
    pipeline_name: String,
    /// `kafka_consumer`.
    #[serde(rename = "type")]
    kind: String,
    config: ShortConfig,
    #[schema(required = false)]
    processing: Value,
    output: ShortOutput,
    #[schema(required = false)]
    start: bool,
}

#[derive(Debug, serde::Serialize, ToSchema)]
pub(super) struct ShortConfig {
    bootstrap_servers: String,
    topics: Vec<String>,
    group_id: String,
    #[schema(required = false)]
    auto_offset_reset: String,
    #[schema(required = false)]
    enable_auto_commit: bool,
}

#[derive(Debug, serde::Serialize, ToSchema)]
pub(super) struct ShortOutput {
    /// `clickhouse`.
    #[serde(rename = "type")]
    kind: String,
    table: String,
    #[schema(required = false, minimum = 1)]
    batch_size: u64,
    #[schema(required = false, minimum = 1)]
    flush_interval_ms: u64,
}
