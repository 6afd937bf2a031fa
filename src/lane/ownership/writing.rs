//! What of a partition is being written.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use super::{InsertSpans, Suspects};
use crate::batch::{OpenBatch, PartitionPace, SealedBatch};
use crate::clock::BootTime;
use crate::crash::{Guarantee, is_broken};
use crate::progress::Claim;
use crate::progress::insert::History;
use crate::sink::WriteJob;

/// A server that is well takes less time for a range, a few attempts included.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// The open batch of a partition, and its sealed ranges until they are durable.
#[derive(Debug)]
pub(in super::super) struct Writing {
    pub(in super::super) batch: OpenBatch,
    pub(in super::super) pace: PartitionPace,
    /// Ends of the ranges that a predecessor named. They are made again as they were.
    pub(super) replay: VecDeque<i64>,
    /// Sealed ranges whose names are not committed, or that wait for those before them.
    pub(in super::super) unnamed: VecDeque<Unnamed>,
    tasks: Vec<WriteTask>,
    /// Jobs whose lease ended: the naming commit is repeated before they go on.
    pub(in super::super) to_renew: Vec<WriteJob>,
    /// Refused ranges that wait until fewer are open.
    pub(in super::super) to_split: Vec<WriteJob>,
    /// Ranges that were refused with an unclassified error.
    pub(in super::super) suspects: Suspects,
    /// Exactly-once: ranges are named in a commit before they are written.
    pub(super) names_ranges: bool,
    /// Until when inserts of the named ranges may be sent.
    pub(in super::super) lease_until: BootTime,
    pub(in super::super) insert_spans: InsertSpans,
    /// Rows of offsets below this may be in the table under other tokens: of other epochs, or of a range
    /// that was refused.
    pub(super) look_below: i64,
    /// How many ranges were sealed.
    pub(super) seal_number: u64,
    /// The last of them that an acknowledged commit names.
    pub(super) named_number: u64,
    /// When the newest range was sealed: its records were read before.
    sealed_at: Instant,
}

/// A sealed range that waits for the commit which names it.
#[derive(Debug)]
pub(in super::super) struct Unnamed {
    pub(in super::super) claim: Claim,
    pub(in super::super) batch: SealedBatch,
    pub(in super::super) history: History,
    /// The number of the seal that made it.
    seal_number: u64,
}

/// A range that a task is writing.
#[derive(Debug)]
struct WriteTask {
    task: AbortHandle,
    /// Rows of it get their missing values first.
    has_gaps: bool,
    bytes: usize,
    since: Instant,
}

impl Writing {
    pub(super) fn new(
        pace: PartitionPace,
        names_ranges: bool,
        insert_spans: InsertSpans,
        look_below: i64,
    ) -> Self {
        Writing {
            batch: OpenBatch::new(),
            pace,
            replay: VecDeque::new(),
            unnamed: VecDeque::new(),
            tasks: vec![],
            to_renew: vec![],
            to_split: vec![],
            suspects: Suspects::default(),
            names_ranges,
            lease_until: BootTime::now(),
            insert_spans,
            look_below,
            seal_number: 0,
            named_number: 0,
            sealed_at: Instant::now(),
        }
    }

    /// Where the range that is being filled must end, because a predecessor named it so.
    pub(in super::super) fn replay_end(&self) -> Option<i64> {
        self.replay.front().copied()
    }

    /// The end of the last range that a predecessor named.
    pub(in super::super) fn replay_to(&self) -> Option<i64> {
        self.replay.back().copied()
    }

    /// Whether ranges have to be replayed before new ones are sealed.
    pub(in super::super) fn is_replaying(&self) -> bool {
        !self.replay.is_empty()
    }

    /// Takes a range that was just sealed, with what the batch holds. Returns how many rows it has.
    pub(super) fn sealed(&mut self, claim: Claim) -> usize {
        let to = claim.range().to;
        let is_replayed = self.replay.front() == Some(&to);
        if is_replayed {
            self.replay.pop_front();
        }
        self.sealed_at = Instant::now();
        let history = if claim.range().from < self.look_below {
            // A successor meets these rows too, as long as the range is open.
            self.look_below = self.look_below.max(to);
            History::MaybeWritten
        } else if is_replayed {
            History::MaybeSent
        } else {
            History::Unsent
        };
        let batch = self.batch.seal();
        let rows = batch.row_count();
        // A predecessor's name is repeated in a commit of ours: its lease was not ours.
        self.push_unnamed(claim, batch, history);
        rows
    }

    /// Takes the two parts of a refused range, which meet at `at`.
    pub(super) fn split(
        &mut self,
        batch: &SealedBatch,
        parts: (Claim, Claim),
        at: i64,
        history: History,
    ) {
        let (first, second) = parts;
        if history == History::PartlyWritten {
            // A successor meets these rows too, as long as a part is open.
            self.look_below = self.look_below.max(second.range().to);
        }
        self.push_unnamed(first, batch.filtered(|offset| offset < at), history);
        self.push_unnamed(second, batch.filtered(|offset| offset >= at), history);
    }

    fn push_unnamed(&mut self, claim: Claim, batch: SealedBatch, history: History) {
        self.seal_number += 1;
        self.unnamed.push_back(Unnamed {
            claim,
            batch,
            history,
            seal_number: self.seal_number,
        });
    }

    /// The next range whose name is in an acknowledged commit. `position`: everything before it is done.
    pub(super) fn take_named(&mut self, position: i64) -> Option<Unnamed> {
        let has_name = |u: &Unnamed| !self.names_ranges || u.seal_number <= self.named_number;
        // Missing values are taken from what was written before, and from nothing else. So a range with
        // gaps begins when all before it is done, and ends before the next begins.
        let in_turn = |u: &Unnamed| {
            let is_first = u.claim.range().from <= position;
            let is_gapped = |w: &WriteTask| w.has_gaps && !w.task.is_finished();
            is_first || !u.batch.has_gaps() && !self.tasks.iter().any(is_gapped)
        };
        let unnamed = self.unnamed.iter().enumerate();
        let named = unnamed.filter(|(_, u)| has_name(u));
        let (index, next) = named.min_by_key(|(_, u)| u.claim.range().from)?;
        if !in_turn(next) && !is_broken(Guarantee::Order) {
            return None;
        }
        self.unnamed.remove(index)
    }

    /// Whether a commit has to say something for ranges to go on: a name, or a lease.
    pub(super) fn needs_commit(&self) -> bool {
        self.names_ranges && self.named_number < self.seal_number
            || !self.to_renew.is_empty() && !self.lease_holds()
    }

    /// Whether inserts of the named ranges may be sent: a commit that named every open range was
    /// acknowledged, and it is not too long ago.
    pub(in super::super) fn lease_holds(&self) -> bool {
        BootTime::now() < self.lease_until
    }

    /// When the records of the newest range that waits to be named or written had been read; `None`
    /// where none waits.
    pub(in super::super) fn unnamed_read_at(&self) -> Option<Instant> {
        let waits = !self.unnamed.is_empty();
        waits.then_some(self.sealed_at)
    }

    pub(in super::super) fn started(&mut self, task: AbortHandle, has_gaps: bool, bytes: usize) {
        self.tasks.retain(|writing| !writing.task.is_finished());
        self.tasks.push(WriteTask {
            task,
            has_gaps,
            bytes,
            since: Instant::now(),
        });
    }

    /// Whether the server has not taken for a while what was sent to it.
    pub(in super::super) fn is_stuck(&self) -> bool {
        self.stuck_bytes() > 0
    }

    /// How much the ranges take that the server has not taken for a while.
    pub(in super::super) fn stuck_bytes(&self) -> usize {
        let is_stuck = |w: &&WriteTask| !w.task.is_finished() && w.since.elapsed() > STUCK_AFTER;
        self.tasks.iter().filter(is_stuck).map(|w| w.bytes).sum()
    }

    /// How much memory the open batch takes, and the sealed batches that no commit has named yet.
    pub(in super::super) fn memory_bytes(&self) -> usize {
        let unnamed = self.unnamed.iter();
        let unnamed: usize = unnamed.map(|u| u.batch.uncounted_bytes()).sum();
        self.batch.memory_bytes() + unnamed
    }

    /// When the open batch is to be sealed, be it full or not.
    pub(in super::super) fn due_at(&self) -> Option<Instant> {
        let opened_at = self.batch.opened_at()?;
        Some(opened_at + self.pace.interval())
    }

    /// Ends all tasks. What is under way may still reach the server: the range's name and token stand
    /// for it.
    pub(super) fn abort(&self) {
        for writing in &self.tasks {
            writing.task.abort();
        }
    }
}
