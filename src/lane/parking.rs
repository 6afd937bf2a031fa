//! A partition that has to wait for something is parked. It is not read, and its next record is fetched
//! again when it may go on. The other partitions of the lane are read meanwhile.

use std::time::{Duration, Instant};

use super::operator::{After, BlockingTask, Operator, Together};
use super::ownership::{Ownership, Parked, Task};
use super::tasks::spawn;
use super::{Lane, Message};
use crate::halt::Halt;
use crate::progress::OwnershipId;
use crate::source::TopicPartition;

/// Ranges of one partition that may wait for the server where versions decide. At the limit it is
/// parked, and goes on when half of them are written.
const RANGES_MAX: usize = 4;

/// How long the other partitions go on reading when the pipeline is to halt for one of them.
const HALT_AFTER: Duration = Duration::from_secs(10);

/// A blocking task is done, or cannot be.
#[derive(Debug)]
pub(super) struct Done {
    ownership: OwnershipId,
    result: Result<(), Halt>,
}

impl<O: Operator> Lane<O> {
    /// The partition's next record has to wait for this task.
    pub(super) fn park(&mut self, index: usize, task: BlockingTask) {
        tracing::debug!(
            partition = %self.owned[index].partition, offset = self.owned[index].reading.seen_to,
            what = task.what, "parked"
        );
        // The consumer cannot be told here: it is lent out while its chunk is judged.
        self.owned[index].reading.parked = Some(Parked::New(task));
    }

    fn stop_reading(&mut self, index: usize, why: Parked) {
        let partition = &self.owned[index].partition;
        if let Err(error) = self.consumer().stop_fetching(partition) {
            // What arrives all the same is not looked at, and fetched again.
            tracing::debug!(%partition, %error, "not paused");
        }
        self.owned[index].reading.parked = Some(why);
    }

    /// Starts the blocking tasks whose time has come. Parks partitions whose rows the server is behind
    /// with, and resumes those that it has caught up with.
    pub(super) fn run_blocking_tasks(&mut self) {
        self.note_stuck();
        let memory = &self.context.shared.memory;
        let (is_tight, is_half_full) = (memory.is_tight(), memory.is_half_full());
        let appends = self.appends();
        for index in 0..self.owned.len() {
            if let Some(Parked::New(task)) =
                self.owned[index].reading.parked.take_if(|p| p.is_new())
            {
                self.stop_reading(index, Parked::Settling(task));
            }
            let own = &mut self.owned[index];
            let open = own.ranges_open();
            let is_stuck = own.writing.is_stuck();
            match &own.reading.parked {
                None if !appends && (open >= RANGES_MAX || is_stuck && is_tight) => {
                    self.stop_reading(index, Parked::Full);
                }
                Some(Parked::Full) if open <= RANGES_MAX / 2 && !(is_stuck && is_half_full) => {
                    self.unpark(index)
                }
                Some(Parked::Settling(task)) => {
                    let is_held = own.reading.is_held();
                    let waits = match task.after {
                        After::Nothing => false,
                        After::Writes => is_held || !own.is_written(),
                        After::Commit => is_held || !own.is_clean(),
                    };
                    if waits
                        && !is_held
                        && !own.writing.batch.is_empty()
                        && !own.writing.is_replaying()
                    {
                        let to = own.reading.next;
                        own.seal(to);
                    }
                    if !waits {
                        self.start_blocking_task(index);
                    }
                }
                _ => {}
            }
        }
    }

    /// Pauses partitions that are ahead of others, where partitions make rows together, until the others
    /// have caught up. Where there are no pairs of partitions, this is done when memory is tight, with
    /// those that are ahead of the slowest that has something to read.
    pub(super) fn pause_partitions_ahead(&mut self) {
        if self.operator.together().is_none() {
            return;
        }
        let is_tight = self.context.shared.memory.is_tight();
        let mut slowest = None;
        for index in 0..self.owned.len() {
            let own = &self.owned[index];
            let is_held = matches!(own.reading.parked, Some(Parked::Ahead));
            if own.reading.parked.is_some() && !is_held {
                continue;
            }
            let waits = match self.operator.together() {
                // Nothing more is read of a counterpart that has reached its target.
                Some(Together::CoPartitioned(operator)) => {
                    operator.waits(&own.state, is_held, is_tight) && !self.is_over_beside(own)
                }
                _ => {
                    let mut slowest =
                        || *slowest.get_or_insert_with(|| self.slowest_watermark_ms());
                    let is_ahead = |slowest| self.watermark_ms(own) > slowest;
                    is_tight && slowest().is_some_and(is_ahead)
                }
            };
            match (is_held, waits) {
                (false, true) => self.stop_reading(index, Parked::Ahead),
                (true, false) => self.unpark(index),
                _ => {}
            }
        }
    }

    /// Whether the partition of this number of another topic has been read to its `--until` target.
    fn is_over_beside(&self, own: &Ownership<O::Partition>) -> bool {
        let is_beside = |other: &&Ownership<O::Partition>| {
            other.partition.partition == own.partition.partition
                && other.partition.topic != own.partition.topic
        };
        self.owned
            .iter()
            .filter(is_beside)
            .any(|other| other.reading.has_reached_target())
    }

    /// Of the partitions that have something to read: their records close the windows that those of others
    /// only open.
    fn slowest_watermark_ms(&self) -> Option<Option<i64>> {
        let has_more = |own: &&Ownership<O::Partition>| {
            let end = self.consumer().known_end(&own.partition);
            !own.reading.fetch_stopped && end.is_none_or(|end| own.reading.seen_to < end)
        };
        let behind = self.owned.iter().filter(has_more);
        behind.map(|own| self.watermark_ms(own)).min()
    }

    /// The partition's watermark, where the kind has one.
    pub(super) fn watermark_ms(&self, own: &Ownership<O::Partition>) -> Option<i64> {
        self.operator.timed_state()?.watermark_ms(&own.state)
    }

    /// Says how much of what is under way gives nothing back as long as a server refuses it: one sick table must
    /// not keep its neighbours from being read for want of memory.
    fn note_stuck(&mut self) {
        let stuck = match self.appends() {
            true => 0,
            false => {
                let owned = self.owned.iter();
                owned.map(|own| own.writing.stuck_bytes()).sum()
            }
        };
        self.reporting.holds.stuck.resize(stuck);
    }

    fn start_blocking_task(&mut self, index: usize) {
        let own = &mut self.owned[index];
        let Some(Parked::Settling(blocking)) = own.reading.parked.take() else {
            return;
        };
        let ownership = own.ledger.ownership();
        let messages = self.inbox.messages.0.clone();
        let what = blocking.what;
        let task = spawn(&self.context.runtime, &self.inbox.messages.0, async move {
            let result = blocking.task.await;
            let _ = messages.send(Message::BlockingTask(Done { ownership, result }));
        });
        let _task = Task::new(task);
        let since = Instant::now();
        self.owned[index].reading.parked = Some(Parked::UnderWay { what, since, _task });
    }

    pub(super) fn blocking_task_done(&mut self, done: Done) {
        let Done { ownership, result } = done;
        let is_it = |o: &Ownership<O::Partition>| o.ledger.ownership() == ownership;
        let Some(index) = self.owned.iter().position(is_it) else {
            return;
        };
        let Err(halt) = result else {
            self.unpark(index);
            return;
        };
        let own = &mut self.owned[index];
        let advice = format!("{}:{}: {}", own.partition, own.reading.seen_to, halt.advice);
        self.context.shared.board.error(&advice);
        let halt = Halt { advice, ..halt };
        let since = Instant::now();
        own.reading.parked = Some(Parked::Sick { halt, since });
    }

    /// Halts for a partition that cannot go on, once the others have nothing left to do.
    pub(super) fn halt_for_sick(&self, now: Instant) -> Result<(), Halt> {
        let sick = |own: &Ownership<O::Partition>| match &own.reading.parked {
            Some(Parked::Sick { halt, since }) => Some((halt.clone(), *since)),
            _ => None,
        };
        let Some((halt, since)) = self.owned.iter().filter_map(sick).min_by_key(|sick| sick.1)
        else {
            return Ok(());
        };
        let is_over = now.duration_since(since) >= HALT_AFTER || self.context.stop.is_draining();
        let mut others = self.owned.iter().filter(|own| sick(own).is_none());
        if is_over || others.all(|own| self.has_nothing_to_do(own)) {
            return Err(halt);
        }
        Ok(())
    }

    /// Whether everything is read that there is for a partition now, and written and committed.
    fn has_nothing_to_do(&self, own: &Ownership<O::Partition>) -> bool {
        let is_at_end = || {
            let end = self.consumer().known_end(&own.partition);
            end.is_some_and(|end| own.reading.seen_to >= end)
        };
        own.is_clean()
            && !own.reading.is_held()
            && own.reading.parked.is_none()
            && (own.reading.has_reached_target() || is_at_end())
    }

    fn unpark(&mut self, index: usize) {
        self.owned[index].reading.parked = None;
        let (id, seen_to) = (
            self.owned[index].ledger.ownership(),
            self.owned[index].reading.seen_to,
        );
        let partition = &self.owned[index].partition;
        if let Err(error) = self.consumer().fetch_again(partition, seen_to) {
            let why = format!("cannot go on where it was parked: {error}");
            self.rewind(id, &why, Instant::now());
        }
    }

    /// Resumes partitions that are about to go, so that their next owner reads them, even if that is this
    /// client.
    pub(super) fn unpark_all(&self, partitions: &[TopicPartition]) {
        let stopped =
            |o: &&Ownership<O::Partition>| o.reading.parked.is_some() || o.reading.fetch_stopped;
        let going = self
            .owned
            .iter()
            .filter(|o| partitions.contains(&o.partition));
        for own in going.filter(stopped) {
            if let Err(error) = self
                .consumer()
                .fetch_again(&own.partition, own.reading.seen_to)
            {
                tracing::debug!(partition = %own.partition, %error, "not resumed");
            }
        }
    }
}
