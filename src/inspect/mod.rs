//! Commands that look at live systems beside a running daemon: they join no group, and stream in
//! bounded memory.
//!
//! | module | what it does |
//! |---|---|
//! | `failure` | why a command could not answer, and its exit code |
//! | `cluster` | questions to Kafka with patience: partitions, ends, offsets of the group, its members |
//! | `log` | reads ranges of a topic |
//! | `created` | pipelines that were created over HTTP, and their private fields |
//! | `progress` | how far a long command is, on a terminal |
//! | [`audit`] | `streamweir audit` |
//! | [`checkpoints`] | `streamweir checkpoints` |
//! | [`compare`] | `streamweir compare` |
//! | [`completeness`] | `streamweir wait`, `/api/v1/watermarks` |
//! | [`dead_letters`] | `streamweir dead-letters` |
//! | [`doctor`] | `streamweir doctor` |
//! | [`explain`] | `streamweir explain` |
//! | [`offsets`] | `streamweir offsets` |
//! | [`rebuild`] | `streamweir rebuild` |
//! | [`sample`] | `streamweir sample` |
//! | [`status`] | `streamweir status` |
//! | `row_query` | rows that were made here, as a query |

pub mod audit;
pub mod checkpoints;
mod cluster;
pub mod compare;
pub mod completeness;
mod created;
pub mod dead_letters;
pub mod doctor;
pub mod explain;
mod failure;
mod log;
pub mod offsets;
mod progress;
pub mod rebuild;
mod row_query;
pub mod sample;
pub mod status;

pub use created::with_created;
pub use failure::Failure;

use crate::config::{Config, Kind, Pipeline, TopicSelector};
use crate::steps::PrivateFields;

/// For what is asked of ClickHouse and Redis.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.map_err(|error| Failure::Refused(format!("no runtime can be started: {error}")))
}

/// The pipeline of this name.
///
/// # Errors
/// There is none; the message lists those that there are.
pub(crate) fn pipeline_named<'c>(config: &'c Config, name: &str) -> Result<&'c Pipeline, Failure> {
    let found = config.pipelines.iter().find(|p| p.name == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = config.pipelines.iter().map(|p| &*p.name).collect();
        Failure::Usage(format!(
            "no pipeline {name:?} in the configuration; it has: {}",
            names.join(", ")
        ))
    })
}

/// Whether a pipeline writes a table of this name in its database, as far as the configuration says: which topics
/// match a pattern it does not.
fn writes_table(pipeline: &Pipeline, table: &str) -> bool {
    let Kind::Cdc(cdc) = &pipeline.kind else {
        return !table.is_empty() && pipeline.table == table;
    };
    let named = pipeline.topics.iter().filter_map(|topic| match topic {
        TopicSelector::Name(name) => Some(&**name),
        TopicSelector::Pattern(_) => None,
    });
    let declared = cdc.tables.keys().map(String::as_str);
    named
        .chain(declared)
        .any(|topic| cdc.table_for(topic) == table)
}

/// The value of a record with the private fields of these pipelines hidden; of what is no JSON object
/// nothing is shown.
fn hidden<'p>(
    value: Option<Vec<u8>>,
    private: impl Iterator<Item = &'p PrivateFields>,
) -> Option<Vec<u8>> {
    let mut shown = value?;
    for fields in private.filter(|fields| !fields.is_empty()) {
        let masked = fields.hidden_record(&shown);
        shown = masked.unwrap_or_else(|| "***".to_owned()).into_bytes();
    }
    Some(shown)
}
