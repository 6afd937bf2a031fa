//! One uninterrupted holding of one partition: where it is read ([`Reading`]), what of it is being written
//! ([`Writing`]), what of it is committed ([`Commits`]).
//!
//! The values here know nothing of the lane. The lane's rooms act on them.

mod ages;
mod commits;
mod complete;
mod insert_spans;
mod keeping;
mod parked;
mod quiet;
mod reading;
mod standing;
mod suspects;
mod writing;

use std::collections::BTreeSet;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use self::ages::Ages;
use self::commits::Commits;
use self::complete::Complete;
pub(super) use self::insert_spans::InsertSpans;
use self::keeping::Keeping;
pub(super) use self::parked::{Parked, Task};
use self::quiet::Quiet;
use self::reading::Reading;
pub(super) use self::standing::STILL_MAX;
use self::standing::Standing;
use self::suspects::Suspects;
pub(super) use self::writing::Unnamed;
use self::writing::Writing;
use super::start::Start;
use crate::batch::PartitionPace;
use crate::observe::metrics::PartitionMetrics;
use crate::progress::{Epoch, Layout, Ledger, Metadata, MetadataError, OwnershipId, Settlement};
use crate::sink::WriteJob;
use crate::source::{PartitionCommit, TopicPartition};

/// Ranges of one partition that may be open at once. At the limit the lane pauses.
pub(super) const RANGES_MAX: usize = 8;
/// Ranges that splitting may add: a refused batch of a million rows needs 20 to corner one.
pub(super) const SPLIT_RANGES_MAX: usize = 48;

/// See the module. `S` is what the operator keeps for the partition.
#[derive(Debug)]
pub(super) struct Ownership<S> {
    pub(super) partition: TopicPartition,
    pub(super) state: S,
    pub(super) reading: Reading,
    pub(super) writing: Writing,
    /// What is durable: it connects what is written with what may be committed.
    pub(super) ledger: Ledger,
    pub(super) commits: Commits,
    pub(super) keeping: Keeping,
    pub(super) quiet: Quiet,
    pub(super) standing: Standing,
    pub(super) metrics: PartitionMetrics,
}

/// A partition's state, and from where it is still to be replayed.
#[derive(Debug)]
pub(super) struct Restored<S> {
    pub(super) state: S,
    /// The first offset that the state has not seen.
    pub(super) seen_to: i64,
    /// Whether a snapshot with this label exists already.
    pub(super) is_from_snapshot: bool,
}

/// What an ownership is made of besides [`Start`]. One value for each thing that is found out before a
/// partition begins, taken apart again at once.
#[derive(Debug)]
pub(super) struct Beginning<S> {
    pub(super) id: OwnershipId,
    pub(super) partition: TopicPartition,
    pub(super) restored: Restored<S>,
    pub(super) snapshot_interval: Duration,
    pub(super) start: Start,
    pub(super) topic_id: String,
    pub(super) table: String,
    pub(super) layout: Option<Layout>,
    /// Where versions count: the table had rows when this began.
    pub(super) has_rows: bool,
    pub(super) was_committed: bool,
    pub(super) names_ranges: bool,
    /// So long after its name was committed an insert of a range may be running.
    pub(super) insert_span: Duration,
    pub(super) stop_at: Option<i64>,
    pub(super) skip: BTreeSet<i64>,
    pub(super) metrics: PartitionMetrics,
    pub(super) pace: PartitionPace,
    pub(super) settlements: Sender<Settlement>,
}

impl<S> Ownership<S> {
    pub(super) fn new(beginning: Beginning<S>) -> Self {
        let Beginning {
            restored, start, ..
        } = beginning;
        let now = Instant::now();
        let restored_from = restored.is_from_snapshot.then_some(restored.seen_to);
        // An epoch of our own makes the metadata worth a first commit of its own.
        let is_fresh = start.epoch.is_none();
        let spans = InsertSpans::new(beginning.insert_span, start.insert_span, &start.range_ends);
        let mut writing = Writing::new(
            beginning.pace,
            beginning.names_ranges,
            spans,
            start.look_below,
        );
        if beginning.names_ranges {
            // Without names a predecessor's ranges are just records to be written.
            writing.replay = start.range_ends.into();
        }
        Ownership {
            ledger: Ledger::new(beginning.id, start.position, beginning.settlements),
            partition: beginning.partition,
            state: restored.state,
            reading: Reading {
                next: start.read_from,
                seen_to: restored.seen_to,
                silent_to: start.read_from,
                told_to: start.frontier.map_or(0, |frontier| frontier.settled_to()),
                counted_to: start.frontier.map_or(0, |frontier| frontier.read_to()),
                stop_at: beginning.stop_at,
                fetch_stopped: false,
                skip: beginning.skip,
                revoking: false,
                parked: None,
                last_timestamp_ms: -1,
                leader_epoch: -1,
            },
            writing,
            commits: Commits {
                position: (beginning.was_committed && !is_fresh).then_some(start.position),
                began_at: start.position,
                at: now,
                ages: Ages::default(),
                complete: Complete::new(start.watermark_ms),
                not_before: now,
                point: None,
                last_point: None,
                epoch: start.epoch.unwrap_or_else(|| Epoch(rand::random())),
                counter: start.counter,
                topic_id: beginning.topic_id,
                table: beginning.table,
                layout: beginning.layout,
                rows_from: beginning.has_rows.then_some(-1),
            },
            keeping: Keeping::new(restored_from, beginning.snapshot_interval),
            quiet: Quiet::default(),
            standing: Standing::new(start.position, now),
            metrics: beginning.metrics,
        }
    }

    /// Seals the range `[last seal, to)` with what the batch holds.
    pub(super) fn seal(&mut self, to: i64) {
        let claim = self.ledger.seal(to);
        let from = claim.range().from;
        if self.writing.sealed(claim) > 0 {
            self.commits.rows_from.get_or_insert(from);
        }
    }

    /// Seals the ranges that a predecessor named and that are complete once the next record is at `next`.
    pub(super) fn seal_replayed(&mut self, next: i64) {
        while let Some(to) = self.writing.replay_end().filter(|to| *to <= next) {
            self.seal(to);
        }
    }

    /// Replaces a refused range by two that meet at `at`; both must be named before they are sent.
    pub(super) fn split(&mut self, job: WriteJob, at: i64) {
        let history = job.parts_history();
        let WriteJob { claim, batch, .. } = job;
        let parts = self.ledger.split(claim.range(), at);
        // The whole's claim is void now: the ledger no longer knows its range.
        drop(claim);
        self.writing.split(&batch, parts, at, history);
    }

    /// The next range whose name is in an acknowledged commit.
    pub(super) fn take_named(&mut self) -> Option<Unnamed> {
        // Rows of a topic without any commit would be taken for rows of another topic.
        if self.commits.layout.is_some() && self.commits.position.is_none() {
            return None;
        }
        self.writing.take_named(self.ledger.position())
    }

    /// Whether something must be said to the broker before anything else can go on.
    pub(super) fn has_news(&self) -> bool {
        self.commits.position != Some(self.position())
            || self.commits.last_point != self.commits.point
            || self.writing.needs_commit()
    }

    /// Whether everything is durable and committed.
    pub(super) fn is_clean(&self) -> bool {
        self.is_written() && !self.has_news()
    }

    /// Whether everything that was batched is durable.
    pub(super) fn is_written(&self) -> bool {
        self.writing.batch.is_empty() && self.ledger.open_count() == 0
    }

    /// What may be committed.
    pub(super) fn position(&self) -> i64 {
        let point = self.commits.point;
        point.map_or(self.ledger.position(), |point| point.position)
    }

    /// The commit that says where the partition stands, the number of the last seal that it names, and the
    /// number of the commit.
    pub(super) fn commit(&self) -> Result<(PartitionCommit, u64, u64), MetadataError> {
        let Commits {
            point,
            layout,
            rows_from,
            ..
        } = self.commits;
        let names_ranges = self.writing.names_ranges;
        let position = self.position();
        // Ranges that are still to be replayed stay named.
        let range_ends = if names_ranges {
            let replay = self.writing.replay.iter().copied();
            self.ledger.range_ends().chain(replay).collect()
        } else {
            vec![]
        };
        let counter = self.commits.counter + 1;
        let insert_span = self.writing.insert_spans.from(position);
        let of_rows_ms = point.and_then(|point| point.complete_ms);
        let metadata = Metadata {
            topic_id: self.commits.topic_id.clone(),
            epoch: self.commits.epoch,
            is_set_back: names_ranges && position < self.writing.look_below,
            counter,
            table: self.commits.table.clone(),
            range_ends,
            layout,
            made_no_rows: layout.is_some() && rows_from.is_none_or(|from| from >= position),
            frontier: point.map(|point| point.frontier),
            watermark_ms: self.commits.complete.at(position, of_rows_ms),
            insert_span_ms: u64::try_from(insert_span.as_millis()).ok(),
        };
        let commit = PartitionCommit {
            partition: self.partition.clone(),
            position,
            leader_epoch: self.reading.leader_epoch,
            metadata: metadata.encode(position)?,
        };
        Ok((commit, self.writing.seal_number, counter))
    }

    /// The broker has acknowledged a commit made by [`Ownership::commit`].
    pub(super) fn committed(
        &mut self,
        position: i64,
        seal_number: u64,
        counter: u64,
        of_rows_ms: Option<i64>,
        now: Instant,
    ) {
        self.commits.complete.committed(position, of_rows_ms);
        self.commits.position = Some(position);
        self.commits.counter = counter;
        self.commits.at = now;
        self.writing.named_number = self.writing.named_number.max(seal_number);
    }

    /// Moves over offsets that left nothing to write, as soon as nothing is open before them.
    pub(super) fn pass_gap(&mut self) -> bool {
        let next = self.reading.next;
        let is_gap =
            self.is_written() && !self.writing.is_replaying() && next > self.ledger.position();
        if is_gap {
            self.ledger.pass(next);
        }
        is_gap
    }

    /// How many ranges are sealed and not durable yet.
    pub(super) fn ranges_open(&self) -> usize {
        self.ledger.open_count()
    }

    /// Whether the open batch may be sealed before it is full: it is not empty, no predecessor has named
    /// where its range ends, and the partition is not about to go.
    pub(super) fn may_seal(&self) -> bool {
        !self.reading.revoking && !self.writing.is_replaying() && !self.writing.batch.is_empty()
    }

    /// Whether time or memory may seal the open batch, or what was sealed is yet to be written.
    pub(super) fn will_shrink(&self) -> bool {
        !self.writing.unnamed.is_empty() || self.may_seal()
    }

    /// Whether the state is worth a snapshot before the partition goes: everything that was judged is
    /// committed too, so that the next owner replays nothing.
    pub(super) fn waits_for_snapshot(&self) -> bool {
        let seen_to = self.reading.seen_to;
        self.is_clean() && seen_to == self.ledger.position() && self.keeping.waits_for(seen_to)
    }

    /// Whether the state is worth a snapshot now.
    pub(super) fn snapshot_is_due(&self, now: Instant) -> bool {
        let committed = self.commits.position.unwrap_or(-1);
        let seen_to = self.reading.seen_to;
        !self.reading.is_catching_up() && self.keeping.is_due(seen_to, committed, now)
    }

    /// Takes note of how long the partition has had nothing to say. `spoken_to`: offset behind the last
    /// record that had an event time; `is_paused`: nothing is read on an operator's wish.
    pub(super) fn note_quiet(
        &mut self,
        spoken_to: i64,
        is_at_end: bool,
        is_paused: bool,
        now: Instant,
    ) -> Option<Duration> {
        let reading = &self.reading;
        let is_read = reading.parked.is_none() && !reading.fetch_stopped && !is_paused;
        self.quiet.note(spoken_to, is_at_end, is_read, now);
        self.quiet.lasts(now)
    }

    /// Since when a range is not written, and since when something is not committed, where that has lasted.
    pub(super) fn note_standing(&mut self, now: Instant) -> (Option<Instant>, Option<Instant>) {
        let written = (self.ledger.position(), self.ledger.open_count() > 0);
        let committed = (self.commits.position, self.has_news());
        self.standing.note(written, committed, now)
    }

    /// Since when rows are refused of the range that this job's was split off.
    pub(super) fn suspect_since(&mut self, job: &WriteJob) -> Instant {
        let position = self.ledger.position();
        let suspects = &mut self.writing.suspects;
        suspects.note(job.claim.range(), position, Instant::now())
    }
}

impl<S> Drop for Ownership<S> {
    fn drop(&mut self) {
        self.writing.abort();
        self.metrics.forget();
    }
}
