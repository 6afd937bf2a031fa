//! The part of the board that belongs to one lane.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::lock;
use super::status::{LaneStatus, PartitionStatus};
use crate::observe::clock::Clock;

/// What is shown of one lane. Only the lane itself writes.
#[derive(Debug)]
pub struct LaneBoard {
    lane: usize,
    max_poll_interval_ms: u64,
    clock: Arc<dyn Clock>,
    turned_ms: AtomicU64,
    joined: AtomicBool,
    partitions: Mutex<Vec<PartitionStatus>>,
    missing_topics: Mutex<Vec<String>>,
}

impl LaneBoard {
    /// `max_poll_interval` is the consumer's `max.poll.interval.ms`.
    pub(super) fn new(lane: usize, max_poll_interval: Duration, clock: Arc<dyn Clock>) -> Self {
        Self {
            lane,
            max_poll_interval_ms: max_poll_interval.as_millis() as u64,
            turned_ms: AtomicU64::new(clock.monotonic_ms()),
            clock,
            joined: AtomicBool::new(false),
            partitions: Mutex::default(),
            missing_topics: Mutex::default(),
        }
    }

    /// The loop has turned once more. One clock reading and one store.
    pub fn turned(&self) {
        self.turned_ms
            .store(self.clock.monotonic_ms(), Ordering::Relaxed);
    }

    /// Whether the consumer belongs to its group: set by an assignment, an empty one included,
    /// taken back when the membership is lost. A revocation within a rebalance takes nothing back.
    pub fn set_joined(&self, joined: bool) {
        self.joined.store(joined, Ordering::Relaxed);
    }

    /// Replaces the lane's partitions. About once a second and after a rebalance.
    pub fn set_partitions(&self, partitions: Vec<PartitionStatus>) {
        *lock(&self.partitions) = partitions;
    }

    /// Replaces the names of topics that the lane is to read and that do not exist.
    pub fn set_missing_topics(&self, topics: Vec<String>) {
        *lock(&self.missing_topics) = topics;
    }

    pub(super) fn missing_topics(&self) -> Vec<String> {
        lock(&self.missing_topics).clone()
    }

    pub(crate) fn partitions(&self) -> Vec<PartitionStatus> {
        lock(&self.partitions).clone()
    }

    pub(super) fn status(&self, now_ms: u64) -> LaneStatus {
        LaneStatus {
            lane: self.lane,
            turned_ms_ago: self.turned_ms_ago(now_ms),
            joined: self.has_joined(),
        }
    }

    pub(super) fn lane(&self) -> usize {
        self.lane
    }

    pub(crate) fn has_joined(&self) -> bool {
        self.joined.load(Ordering::Relaxed)
    }

    pub(super) fn is_stuck(&self, now_ms: u64) -> bool {
        self.turned_ms_ago(now_ms) > self.max_poll_interval_ms
    }

    pub(super) fn turned_ms_ago(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.turned_ms.load(Ordering::Relaxed))
    }
}
