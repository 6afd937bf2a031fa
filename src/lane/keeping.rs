//! Snapshots are taken: now and then, and before a partition is let go.

use std::time::{Duration, Instant};

use super::operator::{Operator, SnapshotSpec};
use super::ownership::Ownership;
use super::tasks::spawn;
use super::{Lane, Message};
use crate::crash::crash_point;
use crate::memory::{MemoryHold, MemoryPart};
use crate::progress::OwnershipId;
use crate::state::{Label, StoreError};

/// A store that failed is tried again after this, or after the interval if that is shorter.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// What is known of an ownership's snapshots.
#[derive(Debug)]
pub(super) struct Keeping {
    /// The label of the newest one.
    newest: Option<i64>,
    /// The label of the one on its way.
    writing: Option<i64>,
    /// The last label that could not be written.
    failed: Option<i64>,
    due_at: Instant,
}

/// A snapshot was written, or could not be.
#[derive(Debug)]
pub(super) struct Kept {
    ownership: OwnershipId,
    offset: i64,
    result: Result<(), StoreError>,
    begun_at: Instant,
}

impl Keeping {
    /// `restored_from`: the label of the snapshot the state came from. Without one the state
    /// exists nowhere else yet.
    pub(super) fn new(restored_from: Option<i64>, interval: Duration) -> Self {
        let wait = if restored_from.is_some() {
            interval
        } else {
            Duration::ZERO
        };
        Keeping {
            newest: restored_from,
            writing: None,
            failed: None,
            due_at: Instant::now() + wait,
        }
    }

    /// Whether a snapshot labelled `seen_to` is worth taking. While nobody could start from the
    /// newest one yet, another would only take room.
    fn is_due(&self, seen_to: i64, committed: i64, now: Instant) -> bool {
        now >= self.due_at
            && self.writing.is_none()
            && self.newest != Some(seen_to)
            && self.newest.is_none_or(|newest| newest <= committed)
    }

    /// Whether leaving has to wait for a snapshot labelled `offset`.
    fn waits_for(&self, offset: i64) -> bool {
        self.newest != Some(offset) && self.failed != Some(offset)
    }

    fn wrote(&mut self, offset: i64, is_kept: bool, interval: Duration, now: Instant) {
        self.writing = None;
        if is_kept {
            self.newest = Some(offset);
            self.due_at = now + interval;
        } else {
            self.failed = Some(offset);
            self.due_at = now + interval.min(AGAIN_AFTER);
        }
    }
}

impl<O: Operator> Lane<O> {
    /// Takes the snapshots that are due, one at a time, and those of partitions about to go.
    pub(super) fn keep_state(&mut self, now: Instant) {
        let Some(spec) = self.operator.snapshot_spec().cloned() else {
            return;
        };
        for index in 0..self.owned.len() {
            let own = &self.owned[index];
            let is_leaving = own.revoking || self.stop.is_draining() || own.has_reached_target();
            let wanted = if is_leaving {
                waits_for_snapshot(own) && own.keeping.writing.is_none()
            } else {
                let committed = own.committed.unwrap_or(-1);
                !own.is_catching_up()
                    && own.keeping.is_due(own.seen_to, committed, now)
                    && self.owned.iter().all(|o| o.keeping.writing.is_none())
            };
            if wanted {
                self.take_snapshot(index, &spec, now);
            }
        }
    }

    /// Whether a partition that has nothing else to do still has to leave its state behind.
    pub(super) fn leaves_state(&self, own: &Ownership<O::Partition>) -> bool {
        self.operator.snapshot_spec().is_some() && waits_for_snapshot(own)
    }

    fn take_snapshot(&mut self, index: usize, spec: &SnapshotSpec, now: Instant) {
        let Some(snapshots) = self.operator.snapshots() else {
            return;
        };
        crash_point!("before_snapshot");
        let own = &mut self.owned[index];
        let offset = own.seen_to;
        own.keeping.writing = Some(offset);
        let label = Label::new(&own.partition, own.topic_id(), &spec.fingerprint, offset);
        let snapshot = label.put_on(|out| snapshots.save(&own.state, out));
        let hold = MemoryHold::new(&self.shared.memory, MemoryPart::State, snapshot.len());
        let partition = own.partition.clone();
        let (ownership, committed) = (own.ledger.ownership(), own.committed.unwrap_or(-1));
        let store = self.shared.snapshots.clone();
        let keep = self.shared.state.keep as usize;
        let messages = self.messages.0.clone();
        spawn(&self.runtime, &self.messages.0, async move {
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
            self.metrics.retry("state", "unavailable");
            self.shared.board.error(&format!("snapshot: {error}"));
            tracing::warn!(
                pipeline = self.pipeline.name, %error,
                "snapshot not written, trying again later; records are written on meanwhile"
            );
        } else {
            self.metrics
                .checkpoint_seconds
                .record(begun_at.elapsed().as_secs_f64());
        }
        let interval = self.shared.state.interval;
        if let Some(own) = self.owned_by(ownership) {
            own.keeping.wrote(offset, is_kept, interval, Instant::now());
        }
    }
}

/// A last snapshot is worth waiting for where everything that was judged is committed too: the next
/// owner then replays nothing.
fn waits_for_snapshot<S>(own: &Ownership<S>) -> bool {
    own.is_clean() && own.seen_to == own.ledger.position() && own.keeping.waits_for(own.seen_to)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(60);

    #[test]
    fn a_state_that_exists_nowhere_else_is_kept_at_once_and_then_every_interval() {
        let mut keeping = Keeping::new(None, INTERVAL);
        let now = Instant::now();
        assert!(keeping.is_due(100, -1, now));
        keeping.wrote(100, true, INTERVAL, now);
        assert!(!keeping.is_due(200, 200, now));
        assert!(keeping.is_due(200, 200, now + INTERVAL));
        assert!(!keeping.is_due(100, 200, now + INTERVAL), "nothing new");
        assert!(!Keeping::new(Some(100), INTERVAL).is_due(200, 200, now));
    }

    #[test]
    fn no_further_snapshot_is_taken_until_the_commit_has_passed_the_newest() {
        let mut keeping = Keeping::new(None, INTERVAL);
        let now = Instant::now();
        keeping.wrote(100, true, INTERVAL, now);
        assert!(!keeping.is_due(200, 99, now + INTERVAL));
        assert!(keeping.is_due(200, 100, now + INTERVAL));
    }

    #[test]
    fn a_store_that_fails_is_tried_again_and_holds_nobody_up() {
        let mut keeping = Keeping::new(None, INTERVAL);
        let now = Instant::now();
        assert!(keeping.waits_for(100));
        keeping.wrote(100, false, INTERVAL, now);
        assert!(!keeping.waits_for(100));
        assert!(!keeping.is_due(100, 100, now));
        assert!(keeping.is_due(100, 100, now + AGAIN_AFTER));
    }
}
