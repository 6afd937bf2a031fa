//! How a partition's new owner comes to know what its predecessor knew.

use super::begin::{NotYet, PartitionInquiry, off_thread};
use super::operator::SnapshotSpec;
use super::start::Start;
use crate::config::OnMissingState;
use crate::crash::crash_point;
use crate::halt::Halt;
use crate::source::record_before;
use crate::state::{self, Label, StoreError};

/// Where a partition's state comes from.
#[derive(Debug)]
pub(super) enum Saved {
    /// The newest snapshot that is whole and leads to the first record whose row is to be made.
    Snapshot { offset: i64, bytes: bytes::Bytes },
    /// The state begins empty before this offset; `is_kept`: a snapshot says so.
    Empty { from: i64, is_kept: bool },
}

/// What there is to go by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Past<'a> {
    pub(super) topic_id: &'a str,
    pub(super) start: &'a Start,
    /// First offset in the log.
    pub(super) log_start: i64,
    /// Nobody of this group has committed the partition yet.
    pub(super) is_first_start: bool,
    /// The commit is ours, so a state there was.
    pub(super) is_our_commit: bool,
}

impl From<StoreError> for NotYet {
    fn from(error: StoreError) -> Self {
        NotYet::Later(format!("pipeline.state: {error}"))
    }
}

impl PartitionInquiry {
    /// The state as it was before the first record whose row is still to be made, or a state from
    /// which a silent replay leads there.
    pub(super) async fn saved(&self, past: Past<'_>) -> Result<Saved, NotYet> {
        let needed_from = past.start.read_from;
        let Some(spec) = &self.snapshot_spec else {
            return Ok(Saved::Empty {
                from: needed_from,
                is_kept: false,
            });
        };
        crash_point!("before_restore");
        if let Some(saved) = self.newest_snapshot(past, spec).await? {
            return Ok(saved);
        }
        let (from, is_whole) = if past.is_first_start {
            (needed_from, false)
        } else {
            self.replay_start(past, spec).await?
        };
        // Once there is a commit, it cannot be seen any more that the state began empty here.
        let is_kept = !is_whole && from > 0 && self.keep_beginning(past, spec, from).await;
        Ok(Saved::Empty { from, is_kept })
    }

    /// Leaves a snapshot of a state that begins in the middle of a partition; true if that worked.
    async fn keep_beginning(&self, past: Past<'_>, spec: &SnapshotSpec, offset: i64) -> bool {
        let partition = &self.partition;
        let label = Label::new(partition, past.topic_id, &spec.fingerprint, offset);
        let snapshot = label.put_on(|mut out| {
            out.extend_from_slice(&self.empty_state);
            out
        });
        let store = &self.shared.snapshots;
        match store.put(partition, offset, snapshot.seal()).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%partition, %error, "snapshot not written");
                false
            }
        }
    }

    /// The newest snapshot that is whole and leads there.
    async fn newest_snapshot(
        &self,
        past: Past<'_>,
        spec: &SnapshotSpec,
    ) -> Result<Option<Saved>, NotYet> {
        let Past {
            topic_id,
            start,
            log_start,
            ..
        } = past;
        let (partition, store) = (&self.partition, &self.shared.snapshots);
        store.remove_unfinished(partition);
        let mut offsets = store.offsets(partition).await?;
        offsets.retain(|offset| *offset < self.snapshots_below);
        for offset in usable(&offsets, start.read_from, log_start) {
            let bytes = store.get(partition, offset).await?;
            let wanted = Label::new(partition, topic_id, &spec.fingerprint, offset);
            match state::open(&bytes).and_then(|(label, _)| label.check(&wanted)) {
                Ok(()) => return Ok(Some(Saved::Snapshot { offset, bytes })),
                Err(why) => tracing::warn!(
                    %partition, snapshot = offset, store = store.label(), %why,
                    "snapshot not used"
                ),
            }
        }
        Ok(None)
    }

    /// Where the records begin that the state depends on, and whether those are all of them.
    async fn replay_start(
        &self,
        past: Past<'_>,
        spec: &SnapshotSpec,
    ) -> Result<(i64, bool), NotYet> {
        let Past {
            log_start,
            is_our_commit,
            ..
        } = past;
        let partition = &self.partition;
        let needed_from = past.start.read_from;
        let within = self.horizon_start(past, spec).await?;
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
            Reach::Nowhere => Err(NotYet::Never(Halt::new(
                "missing_state",
                format!(
                    "{partition}: no usable snapshot at or below offset {needed_from} in {}, and \
                     the log begins at {log_start}, after the {} that the state depends on: bring \
                     the snapshots back (pipeline.state.url), or start once with \
                     pipeline.state.on_missing_state = \"start_empty\" (sessions under way then \
                     begin anew, and duplicates of earlier records are not found)",
                    self.shared.snapshots.label(),
                    humantime::format_duration(spec.horizon),
                ),
            ))),
        }
    }

    /// The first offset within the horizon; `None`: it lies before everything in the log.
    async fn horizon_start(
        &self,
        past: Past<'_>,
        spec: &SnapshotSpec,
    ) -> Result<Option<i64>, NotYet> {
        let log_start = past.log_start;
        let needed_from = past.start.read_from;
        let (pipeline, partition) = (self.pipeline.clone(), self.partition.clone());
        let last = off_thread(move || record_before(&pipeline, &partition, needed_from, log_start))
            .await?;
        let last = last.map_err(|error| NotYet::Later(error.to_string()))?;
        let Some(last) = last.filter(|record| record.timestamp_ms >= 0) else {
            return Ok(None);
        };
        let horizon_ms = i64::try_from(spec.horizon.as_millis()).unwrap_or(i64::MAX);
        let since_ms = last.timestamp_ms.saturating_sub(horizon_ms).max(0);
        let (questions, timeout) = (self.questions.clone(), self.shared.kafka_timeout);
        let asked = [self.partition.clone()];
        let offsets = off_thread(move || questions.offsets_at(&asked, since_ms, timeout)).await??;
        // The last record is within it, so there is an answer, unless the log was truncated meanwhile.
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
