//! What lanes share with each other and with the daemon.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::DeadLetterRatio;
use super::lookups::LookupAccess;
use super::operator::Operator;
use super::records_max::RecordsMax;
use super::stretch::Stretch;
use crate::batch::Paces;
use crate::config::{Pipeline, State};
use crate::limits::Limits;
use crate::memory::MemoryBudget;
use crate::observe::board::{LaneBoard, PipelineBoard};
use crate::observe::metrics::PipelineMetrics;
use crate::sink::{ClickHouseClient, Sink, TransactionSettings};
use crate::source::{Consumer, TopicPartition};
use crate::state::SnapshotStore;

/// What one lane is made of.
pub(crate) struct LaneParts<O: Operator> {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) shared: Arc<PipelineShared>,
    pub(crate) sink: Arc<Sink>,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) board: Arc<LaneBoard>,
    pub(crate) stop: Stop,
    pub(crate) number: u16,
    pub(crate) consumer: Consumer,
    pub(crate) operator: O,
    pub(crate) lookup: Option<LookupAccess>,
    /// Where offsets are committed by transactions.
    pub(crate) transactions: Option<TransactionSettings>,
}

/// What the lanes of one pipeline share.
#[derive(Debug)]
pub(crate) struct PipelineShared {
    pub(crate) metrics: PipelineMetrics,
    pub(crate) board: Arc<PipelineBoard>,
    pub(crate) ratio: DeadLetterRatio,
    pub(crate) paces: Paces,
    pub(crate) memory: Arc<MemoryBudget>,
    pub(crate) client: ClickHouseClient,
    /// Where this pipeline's files lie.
    pub(crate) state_dir: PathBuf,
    /// `--until`: where each partition ends, fixed at the start.
    pub(crate) targets: Option<HashMap<TopicPartition, End>>,
    /// `--records-max`: how many records are read at all.
    pub(crate) records_max: Option<RecordsMax>,
    /// How fast.
    pub(crate) limits: Arc<Limits>,
    /// `--close`: windows that are still open at the end are emitted too.
    pub(crate) closes_windows: bool,
    /// How long calls to Kafka may take that the lane waits for.
    pub(crate) kafka_timeout: Duration,
    pub(crate) stretch: Mutex<Stretch>,
    pub(crate) snapshots: SnapshotStore,
    pub(crate) state: State,
}

impl PipelineShared {
    /// Says so, once, when the flush interval stretches and when it has relaxed again for a while.
    pub(super) fn note_stretch(&self) {
        let (interval, is_stretched) = self.paces.slowest();
        let mut stretch = self.stretch.lock().expect("no holder of this lock panics");
        let said = stretch.noted(is_stretched, Instant::now());
        drop(stretch);
        if let Some(is_stretched) = said {
            let interval_ms = interval.as_millis() as u64;
            let pipeline = self.board.name();
            if is_stretched {
                tracing::warn!(
                    pipeline,
                    interval_ms,
                    "batches wait longer than pipeline.batch.flush_interval: each partition that is written to \
                     makes inserts of its own, and pipeline.batch.inserts_per_second_max bounds those of a table; \
                     raise it if the table takes more inserts, or lower the number of partitions"
                );
            } else {
                tracing::info!(
                    pipeline,
                    interval_ms,
                    "batches are written at pipeline.batch.flush_interval again"
                );
            }
        }
    }
}

/// Where `--until` ends one partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    /// The first offset that is left to a later run.
    pub(crate) offset: i64,
    /// The log's first offset when that was decided: nothing before it could be read.
    pub(crate) log_start: i64,
    /// Where records are read together: what is over by this event time is over once that offset is reached.
    pub(crate) closed_through_ms: Option<i64>,
}

/// How the supervisor tells the lanes of one pipeline to stop or to pause.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    state: Arc<StopState>,
}

#[derive(Debug, Default)]
struct StopState {
    draining: AtomicBool,
    paused: AtomicBool,
    halted: AtomicBool,
    checkpoints: AtomicU64,
    deadline: Mutex<Option<Instant>>,
}

impl Stop {
    /// Stop reading, finish what was read until `deadline`, leave.
    pub(crate) fn drain(&self, deadline: Instant) {
        *self
            .state
            .deadline
            .lock()
            .expect("no holder of this lock panics") = Some(deadline);
        self.state.draining.store(true, Ordering::Release);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.state.draining.load(Ordering::Acquire)
    }

    /// Read nothing until this is taken back; partitions stay, and what was read is written.
    pub(crate) fn set_paused(&self, is_paused: bool) {
        self.state.paused.store(is_paused, Ordering::Release);
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.state.paused.load(Ordering::Acquire)
    }

    /// Every partition is to write a snapshot now.
    pub(crate) fn ask_for_checkpoint(&self) {
        self.state.checkpoints.fetch_add(1, Ordering::AcqRel);
    }

    /// How often that was asked for.
    pub(crate) fn checkpoints_asked(&self) -> u64 {
        self.state.checkpoints.load(Ordering::Acquire)
    }

    /// A lane halts, and with it the pipeline.
    pub(crate) fn note_halt(&self) {
        self.state.halted.store(true, Ordering::Release);
    }

    pub(crate) fn has_halted(&self) -> bool {
        self.state.halted.load(Ordering::Acquire)
    }

    /// Whether a drain has taken longer than it may.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|at| now >= at)
    }

    /// Until when a drain may last, once there is one.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let deadline = self.state.deadline.lock();
        *deadline.expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_seen_by_every_clone() {
        let stop = Stop::default();
        let seen = stop.clone();
        let now = Instant::now();
        stop.drain(now + Duration::from_secs(1));
        assert!(seen.is_draining() && !seen.is_overdue(now));
        assert!(seen.is_overdue(now + Duration::from_secs(2)));
        assert!(!seen.is_paused() && !seen.has_halted());
        stop.set_paused(true);
        stop.note_halt();
        assert!(seen.is_paused() && seen.has_halted());
        stop.set_paused(false);
        assert!(!seen.is_paused());
    }
}
