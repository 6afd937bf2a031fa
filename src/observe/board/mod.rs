//! The state behind `/livez`, `/readyz`, `/api/v1/streaming` and the status page.
//!
//! A [`Board`] holds one [`PipelineBoard`] a pipeline, which holds one [`LaneBoard`] a lane and one
//! [`SinkBoard`] a sink. Lanes and sinks keep their own part up to date, cheaply; the HTTP server
//! reads a [`status`] of the whole.

mod health;
mod history;
pub mod lag;
mod lane;
mod letters;
mod pipeline;
mod sink;
pub mod status;
mod stuck;
mod targets;
#[cfg(test)]
mod tests;
mod troubles;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use health::Verdict;
pub use lane::LaneBoard;
pub use pipeline::PipelineBoard;
pub use sink::SinkBoard;
pub use status::{
    DeadLetterStatus, HaltStatus, LimitsStatus, PartitionStatus, PipelineState, PipelineStatus,
    Sample, ServiceStatus, Source, TargetStatus,
};
pub use stuck::{Place, StuckStatus, Undone};
pub use targets::TargetBoard;
pub(crate) use troubles::Trouble;

use super::clock::{Clock, SystemClock};

/// Everything the daemon shows of itself.
#[derive(Debug)]
pub struct Board {
    clock: Arc<dyn Clock>,
    started_ms: u64,
    memory_bytes_max: AtomicU64,
    memory_bytes: Mutex<BTreeMap<&'static str, u64>>,
    shutting_down: AtomicBool,
    pipelines: Mutex<Vec<Arc<PipelineBoard>>>,
}

impl Board {
    /// An empty board that runs by the machine's clocks.
    pub fn new() -> Arc<Self> {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// An empty board that runs by the given clock.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            started_ms: clock.monotonic_ms(),
            clock,
            memory_bytes_max: AtomicU64::new(0),
            memory_bytes: Mutex::default(),
            shutting_down: AtomicBool::new(false),
            pipelines: Mutex::default(),
        })
    }

    /// Adds a pipeline in the state `starting`; one of the same name is replaced.
    pub fn add_pipeline(&self, name: &str, kind: &str) -> Arc<PipelineBoard> {
        let added = Arc::new(PipelineBoard::new(name, kind, Arc::clone(&self.clock)));
        let mut pipelines = lock(&self.pipelines);
        match pipelines.iter_mut().find(|known| known.name() == name) {
            Some(known) => *known = Arc::clone(&added),
            None => pipelines.push(Arc::clone(&added)),
        }
        added
    }

    /// Takes a pipeline off the board.
    pub fn remove_pipeline(&self, name: &str) {
        lock(&self.pipelines).retain(|known| known.name() != name);
    }

    /// The pipeline of this name.
    pub fn pipeline(&self, name: &str) -> Option<Arc<PipelineBoard>> {
        lock(&self.pipelines)
            .iter()
            .find(|known| known.name() == name)
            .cloned()
    }

    /// The pipelines in the order in which they were added.
    pub fn pipelines(&self) -> Vec<Arc<PipelineBoard>> {
        lock(&self.pipelines).clone()
    }

    /// Shows how much memory the process may use, in bytes (`memory_max`).
    pub fn set_memory_max(&self, bytes: u64) {
        self.memory_bytes_max.store(bytes, Ordering::Relaxed);
    }

    /// Shows how many bytes a part of the process holds.
    pub fn set_memory(&self, part: &'static str, bytes: u64) {
        lock(&self.memory_bytes).insert(part, bytes);
    }

    /// From here on `/readyz` answers 503: the process drains and will exit.
    pub fn set_shutting_down(&self) {
        self.shutting_down.store(true, Ordering::Relaxed);
    }

    /// The state of everything, as `/api/v1/streaming` shows it.
    pub fn status(&self) -> ServiceStatus {
        let memory_bytes_max = self.memory_bytes_max.load(Ordering::Relaxed);
        ServiceStatus {
            pipelines: self
                .pipelines()
                .iter()
                .map(|pipeline| pipeline.status())
                .collect(),
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: self.clock.monotonic_ms().saturating_sub(self.started_ms) / 1_000,
            memory_bytes_max: (memory_bytes_max > 0).then_some(memory_bytes_max),
            memory_bytes: lock(&self.memory_bytes).clone(),
        }
    }

    /// Now, as a Unix time.
    pub(crate) fn unix_seconds(&self) -> f64 {
        self.clock.unix_ms() as f64 / 1_000.0
    }

    /// Takes a sample of every pipeline for its rates and history. The HTTP server calls it about once a
    /// second.
    pub fn sample(&self) {
        for pipeline in self.pipelines() {
            pipeline.sample();
        }
    }
}

/// Locks; what a panicking lane left behind is still good enough to be shown.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
