//! One uninterrupted holding of one partition: its batch, its ranges, its commits.

use std::collections::{BTreeSet, VecDeque};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use super::emission::Quiet;
use super::keeping::Keeping;
use super::parking::Parked;
use super::refused::Suspects;
use super::restore::Restored;
use super::start::Start;
use super::stuck::Standing;
use crate::batch::{OpenBatch, PartitionPace, SealedBatch};
use crate::clock::BootTime;
use crate::crash::{Guarantee, is_broken};
use crate::observe::metrics::PartitionMetrics;
use crate::progress::insert::History;
use crate::progress::{
    Claim, CommitPoint, Epoch, Layout, Ledger, Metadata, MetadataError, OwnershipId, Settlement,
};
use crate::sink::WriteJob;
use crate::source::{PartitionCommit, TopicPartition};

/// Ranges of one partition that may be on their way at once; at the limit the lane pauses.
pub(super) const RANGES_MAX: usize = 8;
/// Ranges that splitting may add: a refused batch of a million rows needs 20 to corner one.
pub(super) const SPLIT_RANGES_MAX: usize = 48;

/// Longer than a server that is well takes for a range, with a few attempts.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// Offsets of an idle group expire after a week by default.
const COMMIT_AGAIN_AFTER: Duration = Duration::from_secs(3600);

/// A cut range that waits for the commit which names it.
#[derive(Debug)]
pub(super) struct Unnamed {
    pub(super) claim: Claim,
    pub(super) batch: SealedBatch,
    pub(super) history: History,
    /// Which cut of the ownership made it.
    pub(super) cut_number: u64,
}

/// See the module. `S` is what the operator keeps for the partition.
#[derive(Debug)]
pub(super) struct Ownership<S> {
    pub(super) partition: TopicPartition,
    pub(super) ledger: Ledger,
    pub(super) state: S,
    pub(super) epoch: Epoch,
    pub(super) batch: OpenBatch,
    pub(super) pace: PartitionPace,
    /// Next offset to batch.
    pub(super) next: i64,
    /// Next offset to judge: ahead of `next` by what the lane holds, behind it as long as records
    /// whose rows were made before are replayed into the state.
    pub(super) seen_to: i64,
    pub(super) keeping: Keeping,
    /// Records below this are replayed silently.
    silent_to: i64,
    /// `--until`: records from here on are left to a later run.
    pub(super) stop_at: Option<i64>,
    /// Nothing more is fetched: the target is reached.
    pub(super) fetch_stopped: bool,
    /// Offsets the operator of the daemon wants passed by.
    pub(super) skip: BTreeSet<i64>,
    /// The partition is to be given back: nothing more is read from it.
    pub(super) revoking: bool,
    /// Nothing is read from it for a while.
    pub(super) parked: Option<Parked>,
    pub(super) unnamed: VecDeque<Unnamed>,
    /// Jobs whose lease ended: the naming commit is repeated before they go on.
    pub(super) to_renew: Vec<WriteJob>,
    /// Refused ranges that wait until fewer are open.
    pub(super) to_split: Vec<WriteJob>,
    /// Ranges that were refused with an answer that nobody classified.
    pub(super) suspects: Suspects,
    /// Until when inserts of the named ranges may be sent.
    pub(super) lease_until: BootTime,
    pub(super) metrics: PartitionMetrics,
    /// Kafka timestamp of the last record read.
    pub(super) last_timestamp_ms: i64,
    pub(super) leader_epoch: i32,
    pub(super) committed: Option<i64>,
    pub(super) committed_at: Instant,
    /// The broker has refused its last commit: not again before this.
    pub(super) commit_not_before: Instant,
    /// Where records are needed together: where it may be committed, and what was last.
    pub(super) point: Option<CommitPoint>,
    pub(super) committed_point: Option<CommitPoint>,
    pub(super) quiet: Quiet,
    pub(super) standing: Standing,
    /// Records below this that count nowhere were told of by whoever read them before.
    told_to: i64,
    writing: Vec<Writing>,
    /// Exactly-once: ranges are named in a commit before they are written.
    names_ranges: bool,
    topic_id: String,
    table: String,
    layout: Option<Layout>,
    /// Where versions decide: from which offset on records have made rows, for all that is known.
    rows_from: Option<i64>,
    replay: VecDeque<i64>,
    /// Rows of offsets below this may be in the table under other tokens: of other epochs, or of a range that was
    /// refused.
    look_below: i64,
    counter: u64,
    cut_number: u64,
    named_number: u64,
    /// When the newest range was closed: its records were read before.
    cut_at: Instant,
}

/// A range that a task is writing.
#[derive(Debug)]
struct Writing {
    task: AbortHandle,
    /// Rows of it get their missing values first.
    has_gaps: bool,
    bytes: usize,
    since: Instant,
}

/// What an ownership is made of besides [`Start`].
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
    /// Where versions decide: the table had rows when this began.
    pub(super) has_rows: bool,
    pub(super) was_committed: bool,
    pub(super) names_ranges: bool,
    pub(super) stop_at: Option<i64>,
    pub(super) skip: BTreeSet<i64>,
    pub(super) metrics: PartitionMetrics,
    pub(super) pace: PartitionPace,
    pub(super) settlements: Sender<Settlement>,
}

impl<S> Ownership<S> {
    pub(super) fn new(beginning: Beginning<S>) -> Self {
        let Beginning {
            id,
            partition,
            restored,
            start,
            topic_id,
            table,
            was_committed,
            stop_at,
            ..
        } = beginning;
        let restored_from = restored.is_from_snapshot.then_some(restored.seen_to);
        // An epoch of our own makes the metadata worth a first commit of its own.
        let fresh = start.epoch.is_none();
        Ownership {
            ledger: Ledger::new(id, start.position, beginning.settlements),
            partition,
            state: restored.state,
            seen_to: restored.seen_to,
            silent_to: start.read_from,
            keeping: Keeping::new(restored_from, beginning.snapshot_interval),
            epoch: start.epoch.unwrap_or_else(|| Epoch(rand::random())),
            batch: OpenBatch::new(),
            pace: beginning.pace,
            next: start.read_from,
            stop_at,
            skip: beginning.skip,
            fetch_stopped: false,
            revoking: false,
            parked: None,
            unnamed: VecDeque::new(),
            to_renew: vec![],
            to_split: vec![],
            suspects: Suspects::default(),
            lease_until: BootTime::now(),
            metrics: beginning.metrics,
            last_timestamp_ms: -1,
            leader_epoch: -1,
            committed: (was_committed && !fresh).then_some(start.position),
            committed_at: Instant::now(),
            commit_not_before: Instant::now(),
            point: None,
            committed_point: None,
            quiet: Quiet::default(),
            standing: Standing::new(start.position, Instant::now()),
            told_to: start.frontier.map_or(0, |frontier| frontier.settled_to()),
            writing: vec![],
            names_ranges: beginning.names_ranges,
            topic_id,
            table,
            layout: beginning.layout,
            rows_from: beginning.has_rows.then_some(-1),
            // Without names a predecessor's ranges are just records to be written.
            replay: if beginning.names_ranges {
                start.cuts.into()
            } else {
                VecDeque::new()
            },
            look_below: start.look_below,
            counter: start.counter,
            cut_number: 0,
            named_number: 0,
            cut_at: Instant::now(),
        }
    }

    /// Where the range that is being filled must end, because a predecessor named it so.
    pub(super) fn replay_cut(&self) -> Option<i64> {
        self.replay.front().copied()
    }

    /// Closes the range `[last cut, to)` with what the batch holds.
    pub(super) fn cut(&mut self, to: i64) {
        let replayed = self.replay.front() == Some(&to);
        if replayed {
            self.replay.pop_front();
        }
        let claim = self.ledger.cut(to);
        self.cut_at = Instant::now();
        let history = if claim.range().from < self.look_below {
            // A successor meets these rows too, as long as the range is open.
            self.look_below = self.look_below.max(to);
            History::MaybeWritten
        } else if replayed {
            History::MaybeSent
        } else {
            History::Unsent
        };
        let batch = self.batch.seal();
        if batch.row_count() > 0 {
            self.rows_from.get_or_insert(claim.range().from);
        }
        // A predecessor's name is repeated in a commit of ours: its lease was not ours.
        self.push_unnamed(claim, batch, history);
    }

    /// Replaces a refused range by two that meet at `at`; both must be named before they are sent.
    pub(super) fn split(&mut self, job: WriteJob, at: i64) {
        let history = job.parts_history();
        let WriteJob { claim, batch, .. } = job;
        if history == History::PartlyWritten {
            // A successor meets these rows too, as long as a part is open.
            self.look_below = self.look_below.max(claim.range().to);
        }
        let (first, second) = self.ledger.split(claim.range(), at);
        // The whole's claim is void now: the ledger no longer knows its range.
        drop(claim);
        self.push_unnamed(first, batch.filtered(|offset| offset < at), history);
        self.push_unnamed(second, batch.filtered(|offset| offset >= at), history);
    }

    fn push_unnamed(&mut self, claim: Claim, batch: SealedBatch, history: History) {
        self.cut_number += 1;
        let cut_number = self.cut_number;
        self.unnamed.push_back(Unnamed {
            claim,
            batch,
            history,
            cut_number,
        });
    }

    /// The next range whose name is in an acknowledged commit.
    pub(super) fn take_named(&mut self) -> Option<Unnamed> {
        // Rows of a topic that nobody has committed would be taken for those of another topic.
        if self.layout.is_some() && self.committed.is_none() {
            return None;
        }
        let position = self.ledger.position();
        let has_name = |u: &Unnamed| !self.names_ranges || u.cut_number <= self.named_number;
        // Missing values are those of what was written before, and of nothing else: such a range is
        // begun when all before it is done, and ends before the next begins.
        let in_turn = |u: &Unnamed| {
            let is_first = u.claim.range().from <= position;
            let is_gapped = |w: &Writing| w.has_gaps && !w.task.is_finished();
            is_first || !u.batch.has_gaps() && !self.writing.iter().any(is_gapped)
        };
        let unnamed = self.unnamed.iter().enumerate();
        let named = unnamed.filter(|(_, u)| has_name(u));
        let (index, next) = named.min_by_key(|(_, u)| u.claim.range().from)?;
        if !in_turn(next) && !is_broken(Guarantee::Order) {
            return None;
        }
        self.unnamed.remove(index)
    }

    /// Whether something must be said to the broker before anything else can go on.
    pub(super) fn has_news(&self) -> bool {
        self.committed != Some(self.position())
            || self.committed_point != self.point
            || self.names_ranges && self.named_number < self.cut_number
            || !self.to_renew.is_empty() && !self.lease_holds()
    }

    /// Whether it is so long ago that the broker might forget it.
    pub(super) fn is_long_committed(&self, now: Instant) -> bool {
        now.duration_since(self.committed_at) > COMMIT_AGAIN_AFTER
    }

    /// Whether inserts of the named ranges may be sent: a commit that named every open range was
    /// acknowledged, and it is not too long ago.
    pub(super) fn lease_holds(&self) -> bool {
        BootTime::now() < self.lease_until
    }

    /// Whether it holds anything that is not durable and committed yet.
    pub(super) fn is_clean(&self) -> bool {
        self.batch.is_empty() && self.ledger.open_count() == 0 && !self.has_news()
    }

    /// Whether everything that was batched is durable.
    pub(super) fn is_written(&self) -> bool {
        self.batch.is_empty() && self.ledger.open_count() == 0
    }

    /// Whether records that were written before are still being replayed into the state.
    pub(super) fn is_catching_up(&self) -> bool {
        self.seen_to < self.silent_to
    }

    /// Whether the row of this offset was made before; the next one may lie behind a gap.
    pub(super) fn was_written(&self, offset: i64) -> bool {
        offset < self.silent_to
    }

    /// Whether a dead letter of this offset, or its count, exists.
    pub(super) fn was_told(&self, offset: i64) -> bool {
        offset < self.told_to
    }

    pub(super) fn table(&self) -> &str {
        &self.table
    }

    pub(super) fn topic_id(&self) -> &str {
        &self.topic_id
    }

    pub(super) fn layout(&self) -> Option<Layout> {
        self.layout
    }

    /// When the records of the newest range that waits to be named or written had been read; `None`
    /// where none waits.
    pub(super) fn unnamed_read_at(&self) -> Option<Instant> {
        let waits = !self.unnamed.is_empty();
        waits.then_some(self.cut_at)
    }

    /// Whether the `--until` target is reached by reading.
    pub(super) fn has_reached_target(&self) -> bool {
        self.stop_at.is_some_and(|target| self.next >= target)
    }

    /// What may be committed.
    pub(super) fn position(&self) -> i64 {
        self.point
            .map_or(self.ledger.position(), |point| point.position)
    }

    /// The commit that says where the partition stands, and the number of the last cut it names.
    pub(super) fn commit(&self) -> Result<(PartitionCommit, u64, u64), MetadataError> {
        let position = self.position();
        // Ranges that are still to be replayed stay named.
        let cuts = if self.names_ranges {
            self.ledger
                .cuts()
                .chain(self.replay.iter().copied())
                .collect()
        } else {
            vec![]
        };
        let counter = self.counter + 1;
        let metadata = Metadata {
            topic_id: self.topic_id.clone(),
            epoch: self.epoch,
            is_set_back: self.names_ranges && position < self.look_below,
            counter,
            table: self.table.clone(),
            cuts,
            layout: self.layout,
            made_no_rows: self.layout.is_some()
                && self.rows_from.is_none_or(|from| from >= position),
            frontier: self.point.map(|point| point.frontier),
        };
        let commit = PartitionCommit {
            partition: self.partition.clone(),
            position,
            leader_epoch: self.leader_epoch,
            metadata: metadata.encode(position)?,
        };
        Ok((commit, self.cut_number, counter))
    }

    /// The broker has acknowledged a commit made by [`Ownership::commit`].
    pub(super) fn committed(&mut self, position: i64, cut_number: u64, counter: u64, now: Instant) {
        self.committed = Some(position);
        self.named_number = self.named_number.max(cut_number);
        self.counter = counter;
        self.committed_at = now;
    }

    /// Moves over offsets that left nothing to write, as soon as nothing is open before them.
    pub(super) fn pass_gap(&mut self) -> bool {
        let is_gap = self.batch.is_empty()
            && self.replay.is_empty()
            && self.ledger.open_count() == 0
            && self.next > self.ledger.position();
        if is_gap {
            self.ledger.pass(self.next);
        }
        is_gap
    }

    /// Ranges that will have to be replayed before new ones are cut.
    pub(super) fn is_replaying(&self) -> bool {
        !self.replay.is_empty()
    }

    pub(super) fn started_writing(&mut self, task: AbortHandle, has_gaps: bool, bytes: usize) {
        self.writing.retain(|writing| !writing.task.is_finished());
        self.writing.push(Writing {
            task,
            has_gaps,
            bytes,
            since: Instant::now(),
        });
    }

    /// Whether the server has not taken for a while what was sent to it.
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck_bytes() > 0
    }

    /// What ranges take that the server has not taken for a while.
    pub(super) fn stuck_bytes(&self) -> usize {
        let is_stuck = |w: &&Writing| !w.task.is_finished() && w.since.elapsed() > STUCK_AFTER;
        self.writing.iter().filter(is_stuck).map(|w| w.bytes).sum()
    }

    /// Whether inserts are on their way or waiting to be sent.
    pub(super) fn ranges_open(&self) -> usize {
        self.ledger.open_count()
    }

    /// What the open batch takes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.batch.memory_bytes()
    }

    /// What closed batches take that no commit has named yet.
    pub(super) fn unnamed_bytes(&self) -> usize {
        self.unnamed.iter().map(|u| u.batch.uncounted_bytes()).sum()
    }

    /// When the open batch is to be cut, be it full or not.
    pub(super) fn due_at(&self) -> Option<Instant> {
        let opened_at = self.batch.opened_at()?;
        Some(opened_at + self.pace.interval())
    }

    /// Whether time or memory may cut the open batch, or what was cut is yet to be written.
    pub(super) fn will_shrink(&self) -> bool {
        !self.unnamed.is_empty() || !self.revoking && !self.is_replaying() && !self.batch.is_empty()
    }
}

impl<S> Drop for Ownership<S> {
    fn drop(&mut self) {
        // What is under way may still reach the server: the range's name and token stand for it.
        for writing in &self.writing {
            writing.task.abort();
        }
        self.metrics.forget();
    }
}
