//! How a partition's new owner comes to know what its predecessor knew.

use std::time::Duration;

use super::Lane;
use super::operator::{Memory, Operator};
use super::start::Start;
use crate::config::OnMissingState;
use crate::crash::crash_point;
use crate::halt::Halt;
use crate::source::{TopicPartition, record_before};
use crate::state::{self, Label, Refused, StoreError};

/// A partition's state, and from where it is still to be replayed.
#[derive(Debug)]
pub(super) struct Restored<S> {
    pub(super) state: S,
    /// The first offset that the state has not seen.
    pub(super) seen_to: i64,
    /// Whether a snapshot with this label exists already.
    pub(super) is_from_snapshot: bool,
}

/// What there is to go by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Past<'a> {
    pub(super) partition: &'a TopicPartition,
    pub(super) topic_id: &'a str,
    pub(super) start: &'a Start,
    /// First offset in the log.
    pub(super) log_start: i64,
    /// Nobody of this group has committed the partition yet.
    pub(super) is_first_start: bool,
    /// The commit is ours, so a state there was.
    pub(super) is_our_commit: bool,
}

/// Why there is no state yet.
#[derive(Debug)]
pub(super) enum NotRestored {
    /// Something does not answer.
    Later(String),
    Never(Halt),
}

impl From<StoreError> for NotRestored {
    fn from(error: StoreError) -> Self {
        NotRestored::Later(format!("pipeline.state: {error}"))
    }
}

impl<O: Operator> Lane<O> {
    /// The state as it was before the first record whose row is still to be made, or a state from
    /// which a silent replay leads there.
    pub(super) fn restore(
        &mut self,
        past: Past<'_>,
    ) -> Result<Restored<O::Partition>, NotRestored> {
        let needed_from = past.start.read_from;
        let Some(memory) = self.operator.memory() else {
            return Ok(self.empty(past.partition, needed_from));
        };
        crash_point!("before_restore");
        if let Some(restored) = self.newest_snapshot(past, &memory)? {
            return Ok(restored);
        }
        let (from, is_whole) = if past.is_first_start {
            (needed_from, false)
        } else {
            self.replay_start(past, &memory)?
        };
        let mut restored = self.empty(past.partition, from);
        // Once there is a commit, nobody can tell any more that the state began empty here.
        if !is_whole && from > 0 {
            restored.is_from_snapshot = self.keep_beginning(past, &memory, &restored);
        }
        Ok(restored)
    }

    /// Leaves a snapshot of a state that begins in the middle of a partition; true if that worked.
    fn keep_beginning(
        &self,
        past: Past<'_>,
        memory: &Memory,
        beginning: &Restored<O::Partition>,
    ) -> bool {
        let offset = beginning.seen_to;
        let label = Label::new(past.partition, past.topic_id, &memory.fingerprint, offset);
        let snapshot = label.put_on(|out| self.operator.save(&beginning.state, out));
        let store = &self.shared.snapshots;
        let put = store.put(past.partition, offset, snapshot.seal());
        match self.runtime.block_on(put) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(partition = %past.partition, %error, "snapshot not written");
                false
            }
        }
    }

    fn empty(&mut self, partition: &TopicPartition, seen_to: i64) -> Restored<O::Partition> {
        Restored {
            state: self.operator.begin(partition),
            seen_to,
            is_from_snapshot: false,
        }
    }

    /// The newest snapshot that is whole and leads there.
    fn newest_snapshot(
        &mut self,
        past: Past<'_>,
        memory: &Memory,
    ) -> Result<Option<Restored<O::Partition>>, NotRestored> {
        let Past {
            partition,
            topic_id,
            start,
            log_start,
            ..
        } = past;
        let store = self.shared.snapshots.clone();
        store.remove_unfinished(partition);
        let offsets = self.runtime.block_on(store.offsets(partition))?;
        for offset in usable(&offsets, start.read_from, log_start) {
            let bytes = self.runtime.block_on(store.get(partition, offset))?;
            let wanted = Label::new(partition, topic_id, &memory.fingerprint, offset);
            let opened = state::open(&bytes).and_then(|(label, saved)| {
                label.check(&wanted)?;
                let state = self.operator.restore(partition, saved);
                state.map_err(|_| Refused::Damaged("its state is not readable"))
            });
            match opened {
                Ok(state) => {
                    tracing::info!(
                        %partition, snapshot = offset, bytes = bytes.len(),
                        records_to_replay = start.read_from - offset, "state restored"
                    );
                    let restored = Restored {
                        state,
                        seen_to: offset,
                        is_from_snapshot: true,
                    };
                    return Ok(Some(restored));
                }
                Err(why) => tracing::warn!(
                    %partition, snapshot = offset, store = store.label(), %why,
                    "snapshot not used"
                ),
            }
        }
        Ok(None)
    }

    /// Where the records begin that the state depends on, and whether those are all of them.
    fn replay_start(
        &mut self,
        past: Past<'_>,
        memory: &Memory,
    ) -> Result<(i64, bool), NotRestored> {
        let Past {
            partition,
            log_start,
            is_our_commit,
            ..
        } = past;
        let needed_from = past.start.read_from;
        let within = self.horizon_start(past, memory.horizon)?;
        let policy = self.shared.state.on_missing_state;
        match reach(within, log_start, is_our_commit, policy) {
            Reach::Whole(from) => {
                tracing::info!(
                    %partition, from, records_to_replay = needed_from - from,
                    "no snapshot, rebuilding the state from the log"
                );
                Ok((from, true))
            }
            Reach::Part(from) => {
                tracing::warn!(
                    %partition, from, records_to_replay = needed_from - from,
                    "no snapshot, and the log does not reach back far enough: the state is rebuilt \
                     from what is left"
                );
                Ok((from, false))
            }
            Reach::Empty => {
                tracing::warn!(
                    %partition, offset = needed_from,
                    "no snapshot: the state begins empty (pipeline.state.on_missing_state)"
                );
                Ok((needed_from, false))
            }
            Reach::Nowhere => Err(NotRestored::Never(Halt::new(
                "missing_state",
                format!(
                    "{partition}: no usable snapshot at or below offset {needed_from} in {}, and \
                     the log begins at {log_start}, after the {} that the state depends on: bring \
                     the snapshots back (pipeline.state.url), or start once with \
                     pipeline.state.on_missing_state = \"start_empty\" (sessions under way then \
                     begin anew)",
                    self.shared.snapshots.label(),
                    humantime::format_duration(memory.horizon),
                ),
            ))),
        }
    }

    /// The first offset within the horizon; `None`: it lies before everything in the log.
    fn horizon_start(
        &mut self,
        past: Past<'_>,
        horizon: Duration,
    ) -> Result<Option<i64>, NotRestored> {
        let Past {
            partition,
            log_start,
            ..
        } = past;
        let needed_from = past.start.read_from;
        let last = record_before(&self.pipeline, partition, needed_from, log_start)
            .map_err(|error| NotRestored::Later(error.to_string()))?;
        let Some(last) = last.filter(|record| record.timestamp_ms >= 0) else {
            return Ok(None);
        };
        let horizon_ms = i64::try_from(horizon.as_millis()).unwrap_or(i64::MAX);
        let since_ms = last.timestamp_ms.saturating_sub(horizon_ms).max(0);
        let timeout = self.shared.kafka_timeout;
        let offsets = self
            .consumer()
            .offsets_at(std::slice::from_ref(partition), since_ms, timeout)
            .map_err(|error| NotRestored::Later(format!("kafka: {error}")))?;
        // The last record is within it, so there is an answer, unless the log was cut meanwhile.
        Ok(offsets
            .into_iter()
            .next()
            .flatten()
            .map(|offset| offset.min(needed_from))
            .filter(|offset| *offset > log_start))
    }
}

/// Labels of snapshots, ascending → those from which the log still leads to `needed_from`, newest
/// first.
fn usable(offsets: &[i64], needed_from: i64, log_start: i64) -> impl Iterator<Item = i64> + '_ {
    let leads_there = move |offset: &&i64| {
        **offset == needed_from || **offset < needed_from && **offset >= log_start
    };
    offsets.iter().rev().filter(leads_there).copied()
}

/// Where a state without snapshot comes from.
#[derive(Debug, PartialEq, Eq)]
enum Reach {
    /// A replay of everything it depends on.
    Whole(i64),
    /// A replay of what is left of that.
    Part(i64),
    Empty,
    /// It is lost, and the configuration says that this matters.
    Nowhere,
}

/// `within`: the first offset within the horizon, when older ones are in the log to prove it.
fn reach(
    within: Option<i64>,
    log_start: i64,
    is_our_commit: bool,
    policy: OnMissingState,
) -> Reach {
    match (within, policy) {
        (Some(from), _) => Reach::Whole(from),
        // Nothing was ever deleted.
        (None, _) if log_start == 0 => Reach::Whole(0),
        // Another program's commit, or an operator who set the group's offset knowing the log.
        (None, _) if !is_our_commit => Reach::Part(log_start),
        (None, OnMissingState::StartEmpty) => Reach::Empty,
        (None, OnMissingState::Halt) => Reach::Nowhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_snapshot_from_which_the_log_leads_on_is_the_first_choice() {
        let at = |needed_from, log_start| -> Vec<i64> {
            usable(&[100, 200, 300], needed_from, log_start).collect()
        };
        assert_eq!(at(250, 0), [200, 100]);
        assert_eq!(at(300, 0), [300, 200, 100]);
        assert_eq!(at(99, 0), [0; 0]);
        // Records between 100 and 150 are gone.
        assert_eq!(at(250, 150), [200]);
        assert_eq!(at(200, 200), [200]);
    }

    #[test]
    fn without_a_snapshot_the_log_is_replayed_if_it_reaches_far_enough() {
        use OnMissingState::{Halt, StartEmpty};
        for policy in [Halt, StartEmpty] {
            assert_eq!(reach(Some(70), 50, true, policy), Reach::Whole(70));
            assert_eq!(reach(None, 0, true, policy), Reach::Whole(0));
            assert_eq!(reach(None, 50, false, policy), Reach::Part(50));
        }
        assert_eq!(reach(None, 50, true, Halt), Reach::Nowhere);
        assert_eq!(reach(None, 50, true, StartEmpty), Reach::Empty);
    }
}
