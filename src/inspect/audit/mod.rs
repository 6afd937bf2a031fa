//! `streamweir audit`: holds the log against what was written.

mod append;
mod changes;
mod gathered;
mod joins;
mod known_from;
mod letters;
mod multiset;
mod replica;
mod report;
mod rows;
mod scope;
mod spill;
mod values;
mod windows;

use std::sync::Arc;

pub use self::report::{Counts, LeftOut, PartitionReport, Report};
pub use self::scope::{Bound, BoundError};
use super::cluster::Cluster;
use super::{Failure, pipeline_named};
use crate::config::{Config, Kind};

/// What is audited.
#[derive(Debug)]
pub struct AuditOptions {
    /// The pipeline.
    pub pipeline: String,
    /// Only this topic.
    pub topic: Option<String>,
    /// From here on.
    pub from: Option<Bound>,
    /// Up to here, at most to the committed offset.
    pub to: Option<Bound>,
    /// Values are compared too.
    pub values: bool,
}

/// Compares what a pipeline was given with what it wrote.
///
/// # Errors
/// A pipeline that cannot be audited, or a system that does not answer.
pub fn audit(config: &Config, options: &AuditOptions) -> Result<Report, Failure> {
    let pipeline = Arc::new(pipeline_named(config, &options.pipeline)?.clone());
    let cluster = Cluster::connect(&config.service, &pipeline)?;
    let bounds = (options.from, options.to);
    // Before the commits: what is in the output by then is of records that are committed.
    let early = match &pipeline.kind {
        Kind::StreamJoin(join) => joins::ends(&cluster, join)?,
        _ => vec![],
    };
    let scopes = scope::scopes(&cluster, &pipeline, options.topic.as_deref(), bounds)?;
    // Behind the commit: every dead letter of a committed record is there.
    let letters = letters::LetterOffsets::read(config, &cluster, &pipeline, &scopes)?;
    let mut report = Report::new(&pipeline.name, pipeline.kind.name());
    match &pipeline.kind {
        Kind::Cdc(_) => {
            let is_whole = options.topic.is_none() && options.from.is_none();
            let how = (options.values, is_whole);
            replica::audit(config, &pipeline, &scopes, &letters, how, &mut report)?;
        }
        Kind::Aggregation(aggregation) => {
            windows::audit(config, &pipeline, aggregation, &scopes, &mut report)?;
        }
        Kind::StreamJoin(join) => {
            let output = (&cluster, early);
            joins::audit(config, &pipeline, join, output, &scopes, &mut report)?;
        }
        _ => append::audit(
            config,
            &pipeline,
            &scopes,
            &letters,
            options.values,
            &mut report,
        )?,
    }
    for partition in &report.partitions {
        report.counts.add(&partition.counts);
    }
    Ok(report)
}
