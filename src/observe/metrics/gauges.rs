//! Gauges that are read off the board about once a second, whatever the lanes do.

use std::collections::BTreeSet;

use metrics::gauge;
use metrics_process::Collector;

use super::names::*;
use crate::observe::board::{Board, PipelineBoard, PipelineState};

/// Publishes what the board shows of each pipeline.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Those that were on the board the last time.
    pipelines: BTreeSet<String>,
    /// By pipeline.
    targets: BTreeSet<(String, String)>,
    /// What the operating system counts of the process, under Prometheus' usual names.
    process: Collector,
}

impl Gauges {
    /// Sets the gauges of every pipeline on the board. Those of a pipeline that was taken off the board
    /// disappear.
    pub fn publish(&mut self, board: &Board) {
        self.process.collect();
        let now = board.unix_seconds();
        let pipelines = board.pipelines();
        let names: BTreeSet<_> = pipelines.iter().map(|p| p.name().to_owned()).collect();
        for gone in self.pipelines.difference(&names) {
            forget(gone);
        }
        self.pipelines = names;
        let mut targets = BTreeSet::new();
        for pipeline in &pipelines {
            publish_pipeline(pipeline, now);
            for target in pipeline.targets() {
                let key = (pipeline.name().to_owned(), target.target);
                target_gauge(&key).set(f64::from(u8::from(target.up)));
                targets.insert(key);
            }
        }
        // A pipeline may have come to depend on other systems, or is gone.
        for gone in self.targets.difference(&targets) {
            target_gauge(gone).set(f64::NAN);
        }
        self.targets = targets;
    }
}

fn target_gauge((pipeline, target): &(String, String)) -> metrics::Gauge {
    gauge!(TARGET_UP, "pipeline" => pipeline.clone(), "target" => target.clone())
}

fn publish_pipeline(pipeline: &PipelineBoard, now: f64) {
    let name = || pipeline.name().to_owned();
    let state = pipeline.state();
    for other in PipelineState::ALL {
        gauge!(PIPELINE_STATE, "pipeline" => name(), "state" => other.as_str())
            .set(f64::from(u8::from(other == state)));
    }
    gauge!(ASSIGNED_PARTITIONS, "pipeline" => name()).set(pipeline.partitions().len() as f64);
    if let Some(at) = pipeline.last_written() {
        gauge!(LAST_INSERT_TIMESTAMP_SECONDS, "pipeline" => name()).set(at.0 as f64 / 1_000.0);
    }
    let oldest = pipeline
        .oldest_uncommitted()
        .map_or(now, |at| at.0 as f64 / 1_000.0);
    gauge!(OLDEST_UNCOMMITTED_TIMESTAMP_SECONDS, "pipeline" => name()).set(oldest);
}

fn forget(pipeline: &str) {
    let name = || pipeline.to_owned();
    for state in PipelineState::ALL {
        gauge!(PIPELINE_STATE, "pipeline" => name(), "state" => state.as_str()).set(f64::NAN);
    }
    for gone in [
        ASSIGNED_PARTITIONS,
        LAST_INSERT_TIMESTAMP_SECONDS,
        OLDEST_UNCOMMITTED_TIMESTAMP_SECONDS,
    ] {
        gauge!(gone, "pipeline" => name()).set(f64::NAN);
    }
}
