//! Where a partition is read.

use std::collections::BTreeSet;

use super::Parked;

/// How far a partition has been read, and whether it is read on.
#[derive(Debug)]
pub(in super::super) struct Reading {
    /// Next offset to batch.
    pub(in super::super) next: i64,
    /// Next offset to judge. It is ahead of `next` by what the lane holds, and behind it as long as records
    /// whose rows were made before are replayed into the state.
    pub(in super::super) seen_to: i64,
    /// Records below this are replayed silently.
    pub(super) silent_to: i64,
    /// A previous owner already dead-lettered or counted records below this that make no row.
    pub(super) told_to: i64,
    /// Records below were read by a previous owner.
    pub(super) counted_to: i64,
    /// `--until`: records from here on are left to a later run.
    pub(in super::super) stop_at: Option<i64>,
    /// Nothing more is fetched: the target is reached.
    pub(in super::super) fetch_stopped: bool,
    /// Offsets that the configuration says to pass by.
    pub(in super::super) skip: BTreeSet<i64>,
    /// The partition is to be given back: nothing more is read from it.
    pub(in super::super) revoking: bool,
    /// Nothing is read from it for a while.
    pub(in super::super) parked: Option<Parked>,
    /// Kafka timestamp of the last record read.
    pub(in super::super) last_timestamp_ms: i64,
    pub(in super::super) leader_epoch: i32,
}

impl Reading {
    /// Whether records that were written before are still being replayed into the state.
    pub(in super::super) fn is_catching_up(&self) -> bool {
        self.seen_to < self.silent_to
    }

    /// Whether the row of this offset was made before; the next one may lie behind a gap.
    pub(in super::super) fn was_written(&self, offset: i64) -> bool {
        offset < self.silent_to
    }

    /// Whether a previous owner judged the record of this offset, and counted it.
    pub(in super::super) fn was_counted(&self, offset: i64) -> bool {
        offset < self.counted_to
    }

    /// Records below this were read by a previous owner.
    pub(in super::super) fn counted_to(&self) -> i64 {
        self.counted_to
    }

    /// Whether a dead letter of this offset, or its count, exists.
    pub(in super::super) fn was_told(&self, offset: i64) -> bool {
        offset < self.told_to
    }

    /// Whether the `--until` target is reached by reading.
    pub(in super::super) fn has_reached_target(&self) -> bool {
        self.stop_at.is_some_and(|target| self.next >= target)
    }

    /// Whether the lane holds records that were judged and are not batched yet.
    pub(in super::super) fn is_held(&self) -> bool {
        self.seen_to != self.next
    }
}
