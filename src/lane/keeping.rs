//! Snapshots are taken: now and then, and before a partition is let go.

use std::time::Instant;

use super::operator::{Operator, SnapshotSpec};
use super::ownership::Ownership;
use super::tasks::spawn;
use super::{Lane, Message};
use crate::crash::crash_point;
use crate::memory::{MemoryHold, MemoryPart};
use crate::progress::OwnershipId;
use crate::state::{Label, StoreError};

/// A snapshot was written, or could not be.
#[derive(Debug)]
pub(super) struct Kept {
    ownership: OwnershipId,
    offset: i64,
    result: Result<(), StoreError>,
    begun_at: Instant,
}

impl<O: Operator> Lane<O> {
    /// Takes the snapshots that are due, one at a time, and those of partitions about to go.
    pub(super) fn keep_state(&mut self, now: Instant) {
        let Some(spec) = self.operator.snapshot_spec().cloned() else {
            return;
        };
        let asked = self.context.stop.checkpoints_asked();
        for index in 0..self.owned.len() {
            self.owned[index].keeping.note_asked(asked, now);
            let own = &self.owned[index];
            let is_leaving = own.reading.revoking
                || self.context.stop.is_draining()
                || own.reading.has_reached_target();
            let wanted = if is_leaving {
                own.waits_for_snapshot() && !own.keeping.is_writing()
            } else {
                own.snapshot_is_due(now) && !self.owned.iter().any(|o| o.keeping.is_writing())
            };
            if wanted {
                self.take_snapshot(index, &spec, now);
            }
        }
    }

    /// Whether a partition that has nothing else to do still has to leave its state behind.
    pub(super) fn leaves_state(&self, own: &Ownership<O::Partition>) -> bool {
        self.operator.snapshot_spec().is_some() && own.waits_for_snapshot()
    }

    fn take_snapshot(&mut self, index: usize, spec: &SnapshotSpec, now: Instant) {
        let Some(snapshots) = self.operator.snapshots() else {
            return;
        };
        crash_point!("before_snapshot");
        let own = &mut self.owned[index];
        let offset = own.reading.seen_to;
        own.keeping.began(offset);
        let label = Label::new(
            &own.partition,
            &own.commits.topic_id,
            &spec.fingerprint,
            offset,
        );
        let snapshot = label.put_on(|out| snapshots.save(&own.state, out));
        let hold = MemoryHold::new(
            &self.context.shared.memory,
            MemoryPart::State,
            snapshot.len(),
        );
        let partition = own.partition.clone();
        let (ownership, committed) = (own.ledger.ownership(), own.commits.position.unwrap_or(-1));
        let store = self.context.shared.snapshots.clone();
        let keep = self.context.shared.state.keep as usize;
        let messages = self.inbox.messages.0.clone();
        spawn(&self.context.runtime, &self.inbox.messages.0, async move {
            crash_point!("during_snapshot");
            // Hashing hundreds of megabytes would hold up everything else that waits for an answer.
            let sealed = tokio::task::spawn_blocking(|| snapshot.seal()).await;
            let sealed = sealed.expect("hashing does not panic");
            let result = store.put(&partition, offset, sealed).await;
            drop(hold);
            if result.is_ok() {
                crash_point!("after_snapshot");
                if let Err(error) = store.prune(&partition, committed, keep).await {
                    tracing::warn!(%partition, %error, "old snapshots not removed");
                }
            }
            let _ = messages.send(Message::Kept(Kept {
                ownership,
                offset,
                result,
                begun_at: now,
            }));
        });
    }

    pub(super) fn snapshot_ended(&mut self, kept: Kept) {
        let Kept {
            ownership,
            offset,
            result,
            begun_at,
        } = kept;
        let is_kept = result.is_ok();
        if let Err(error) = result {
            self.context.metrics.retry("state", "unavailable");
            self.context
                .shared
                .board
                .error(&format!("snapshot: {error}"));
            tracing::warn!(
                pipeline = self.context.pipeline.name, %error,
                "snapshot not written, trying again later; records are written on meanwhile"
            );
        } else {
            self.context
                .metrics
                .checkpoint_seconds
                .record(begun_at.elapsed().as_secs_f64());
        }
        let interval = self.context.shared.state.interval;
        if let Some(own) = self.owned_by(ownership) {
            own.keeping.wrote(offset, is_kept, interval, Instant::now());
        }
    }
}
