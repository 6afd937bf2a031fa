//! What becomes of a request.

use super::order::Fault;
use crate::life::{Refused, State};

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Where the pipeline is, or goes first.
    pub(crate) state: State,
    /// False where it had been there already.
    pub(crate) has_changed: bool,
}

/// Why a request was not carried out. Nothing has changed then.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Declined {
    #[error("no pipeline `{0}`; GET /api/v1/streaming lists them")]
    Unknown(String),
    #[error("pipeline {name} {refused}")]
    Refused { name: String, refused: Refused },
    #[error("the process is shutting down")]
    ShuttingDown,
    #[error("the pipeline is not valid: {}", shown(.0))]
    Invalid(Vec<Fault>),
    #[error("a pipeline of the name {0} exists: replace it with PUT, or choose another name")]
    Exists(String),
    #[error("pipeline {0} is one of the configuration file: change it there")]
    OfFile(String),
    #[error(
        "the file of pipeline {name} cannot be used: {why}: correct it and start the process again, or DELETE it"
    )]
    Unusable { name: String, why: String },
    #[error(
        "pipeline {0} keeps no snapshots: only the sessions of an enrichment pipeline do, everything else is \
         rebuilt from the log"
    )]
    NoState(String),
    #[error("{0}")]
    Unavailable(String),
    #[error("clickhouse refuses its table: {0}")]
    TableRefused(String),
    #[error("service.state_dir: {0}")]
    Disk(String),
}

pub(super) fn shown(faults: &[Fault]) -> String {
    let faults = faults.iter().map(|f| format!("{}: {}", f.path, f.message));
    faults.collect::<Vec<_>>().join("; ")
}
