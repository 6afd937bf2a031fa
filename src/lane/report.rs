//! What the lane tells of itself, about once a second.

use std::sync::Arc;
use std::time::Instant;

use super::operator::Operator;
use super::ownership::Ownership;
use super::{Lane, REPORT_INTERVAL};
use crate::clock::wall_ms;
use crate::memory::{MemoryBudget, MemoryHold, MemoryPart};
use crate::observe::board::PartitionStatus;

/// The lane's own share of the process's memory.
#[derive(Debug)]
pub(super) struct Holds {
    pub(super) batches: MemoryHold,
    pub(super) queue: MemoryHold,
    cache: MemoryHold,
    state: MemoryHold,
    state_bytes: usize,
}

impl Holds {
    pub(super) fn new(budget: &Arc<MemoryBudget>) -> Self {
        let hold = |part| MemoryHold::new(budget, part, 0);
        Holds {
            batches: hold(MemoryPart::Batches),
            queue: hold(MemoryPart::Queue),
            cache: hold(MemoryPart::Cache),
            state: hold(MemoryPart::State),
            state_bytes: 0,
        }
    }
}

impl<O: Operator> Lane<O> {
    /// Publishes positions, lag and memory; asks the sink whether it is there.
    pub(super) fn report(&mut self, now: Instant) {
        if now < self.last_report + REPORT_INTERVAL {
            return;
        }
        self.last_report = now;
        for own in &mut self.owned {
            self.operator.tidy(&mut own.state);
        }
        self.count_memory();
        let (interval, _) = self.shared.paces.slowest();
        self.metrics
            .flush_interval_effective
            .set(interval.as_secs_f64());
        let statuses = self
            .owned
            .iter()
            .map(|own| self.report_partition(own))
            .collect();
        self.board.set_partitions(statuses);
        if self.number == 0 {
            self.shared.note_stretch();
            self.check_sink(now);
        }
    }

    fn report_partition(&self, own: &Ownership<O::Partition>) -> PartitionStatus {
        let partition = &own.partition;
        let end = self
            .consumer()
            .known_end(partition)
            .unwrap_or(own.next)
            .max(own.next);
        let committed = own.committed.unwrap_or(-1);
        let lag = end - own.next;
        own.metrics.lag_records.set(lag as f64);
        own.metrics
            .commit_lag_records
            .set((end - own.position()) as f64);
        let behind_ms = match own.last_timestamp_ms {
            _ if lag == 0 => 0,
            -1 => 0,
            timestamp_ms => (wall_ms() - timestamp_ms).max(0),
        };
        own.metrics.lag_seconds.set(behind_ms as f64 / 1000.0);
        if let Some(watermark_ms) = self.operator.watermark_ms(&own.state) {
            own.metrics.watermark.set(watermark_ms as f64 / 1000.0);
        }
        PartitionStatus::new(
            &partition.topic,
            partition.partition,
            own.next,
            committed,
            end,
        )
    }

    pub(super) fn count_memory(&mut self) {
        let state = self
            .owned
            .iter()
            .map(|o| self.operator.state_bytes(&o.state))
            .sum();
        self.holds.cache.resize(self.operator.memory_bytes());
        self.holds.state.resize(state);
        let grown = state as f64 - self.holds.state_bytes as f64;
        self.metrics.state_bytes.increment(grown);
        self.holds.state_bytes = state;
    }

    /// Notes how long, and why, nothing was taken in.
    pub(super) fn note_pause(&mut self, reason: Option<&'static str>) {
        let now = Instant::now();
        if let Some((since, why)) = self.paused_since.take() {
            self.metrics.paused(why, now.duration_since(since));
        }
        self.paused_since = reason.map(|reason| (now, reason));
    }

    fn check_sink(&mut self, now: Instant) {
        if self
            .last_sink_check
            .is_some_and(|at| now < at + super::SINK_CHECK_INTERVAL)
        {
            return;
        }
        self.last_sink_check = Some(now);
        if self.check_output_topic() {
            return;
        }
        let sink = self.sink.clone();
        self.runtime.spawn(async move { sink.check().await });
    }
}
