//! `streamweir doctor`: what would go wrong, looked for before a start or beside a running daemon.
//!
//! Facts about Kafka, ClickHouse, Redis and this machine are gathered once, from all at the same time
//! (`gather`); each check (`checks`, a file each) is a pure function of them. Nothing is written anywhere,
//! and no group is joined.

mod checks;
pub(crate) mod facts;
mod finding;
pub(crate) mod gather;
pub(crate) mod sample;

use std::sync::Arc;

use serde_json::{Value, json};

pub(crate) use finding::{Finding, Level};

use crate::config::{Config, Pipeline};

/// Records of each topic that are judged where nothing else is said.
pub const SAMPLE: usize = 100;
/// Records of each topic that may be asked for.
pub const SAMPLE_MAX: usize = 100_000;

/// What doctor found.
#[derive(Debug)]
pub struct Report {
    /// The worst first.
    findings: Vec<Finding>,
    checks_run: usize,
}

/// Asks everything that these pipelines need, and judges it. `sample`: records of each topic, 0 for none.
#[must_use]
pub fn run(config: &Config, pipelines: &[Arc<Pipeline>], sample: usize) -> Report {
    let facts = gather::gather(config, pipelines, sample);
    Report {
        findings: finding::merged(checks::judge(&facts)),
        checks_run: checks::CHECKS.len(),
    }
}

impl Report {
    /// Whether something will halt, lose, double or never start.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|f| f.level == Level::Error)
    }

    /// As `--json` prints it.
    #[must_use]
    pub fn json(&self) -> Value {
        let findings: Vec<Value> = self.findings.iter().map(Finding::json).collect();
        json!({ "findings": findings, "checks_run": self.checks_run })
    }
}

impl std::fmt::Display for Report {
    /// For people: the worst first, and how many at the end.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for finding in &self.findings {
            let Finding {
                level,
                check,
                pipeline,
                place,
                message,
                advice,
            } = finding;
            let of = pipeline.as_ref().map(|name| format!(" pipeline {name},"));
            let of = of.unwrap_or_default();
            writeln!(f, "{} {check}:{of} {place}: {message}", level.name())?;
            writeln!(f, "  {advice}")?;
        }
        let count = |level| self.findings.iter().filter(|f| f.level == level).count();
        writeln!(
            f,
            "{} checks: {} errors, {} warnings, {} remarks",
            self.checks_run,
            count(Level::Error),
            count(Level::Warning),
            count(Level::Info)
        )
    }
}
