//! Rows that are made of many records, as those of windows: taken from the operator when they are due,
//! one batch of them at a time, so that of two rows of one key the newer is sent after the older.
//!
//! What they are made of stays uncommitted until no open window needs it
//! ([`operator::Emission::commit_point`](super::operator::Emission::commit_point)). Nothing names these batches: they are of tables in which the fuller row
//! wins, and of topics in which the last one does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::operator::{Emit, Operator};
use super::tasks::spawn;
use super::{Lane, Message};
use crate::batch::{Messages, OpenBatch, PartitionPace};
use crate::clock::BootTime;
use crate::crash::{Guarantee, crash_point, is_broken};
use crate::halt::Halt;
use crate::progress::{Ledger, OwnershipId, Settlement};
use crate::sink::{
    self, Delivery, InsertError, Membership, Remedy, Trouble, WriteJob, membership_lasts,
};
use crate::source::TopicPartition;
use tokio::task::AbortHandle;

/// How often rows are asked for when memory is tight.
const TIGHT_INTERVAL: Duration = Duration::from_millis(200);

/// What stands in a topic's place where rows of many partitions are written; the number is the lane's.
pub(super) const ROWS_OF_WINDOWS: &str = "windows of";

/// The rows in flight.
#[derive(Debug)]
pub(super) struct Emission {
    /// Counts batches where others count offsets.
    ledger: Ledger,
    task: Option<AbortHandle>,
    /// Rows that are not sent yet, and when the last of their records had been read: they wait until their
    /// topics are known to have been the same after that.
    held: Option<(Box<WriteJob>, Instant)>,
    membership: Arc<Membership>,
    /// When rows were last asked for.
    asked_at: Instant,
    pace: PartitionPace,
    /// Everything that can be sent was, and nothing will be added: the lane ends.
    is_complete: bool,
    /// Commit points are worked out anew from here on.
    points_due: Instant,
}

impl Drop for Emission {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl<O: Operator> Lane<O> {
    /// Begins anew once no partition is left, or all will be read again. Rows in flight are dropped. Rows of
    /// partitions that stay go on.
    pub(super) fn restart_emission(&mut self) {
        if self.operator.settling().is_none() || !self.owned.is_empty() {
            return;
        }
        self.drop_emission();
        let id = self.inbox.next_ownership();
        let table = self.operator.table_of("");
        let now = Instant::now();
        self.emission = Some(Emission {
            ledger: Ledger::new(id, 0, self.inbox.settlements.0.clone()),
            task: None,
            held: None,
            membership: Arc::new(Membership::unproven(membership_lasts(
                &self.context.pipeline.kafka,
            ))),
            asked_at: now,
            pace: PartitionPace::new(self.context.shared.paces.of(&table)),
            is_complete: false,
            points_due: now,
        });
    }

    /// Takes the rows that are due and sends them.
    pub(super) fn emit(&mut self, now: Instant) -> Result<(), Halt> {
        self.send_held(now);
        let Some(emission) = &self.emission else {
            return Ok(());
        };
        let is_under_way = emission.ledger.open_count() > 0;
        let may = self.group.revoking.is_none() && !self.topic_watch.may_have_changed(now);
        if is_under_way || self.owned.is_empty() || !may {
            return Ok(());
        }
        let is_last = self.context.stop.is_draining() || self.has_read_all();
        let is_due = now >= emission.asked_at + emission.pace.interval();
        // Not every turn: windows may be many, and what fills the memory may be something else.
        let is_tight =
            self.context.shared.memory.is_tight() && now >= emission.asked_at + TIGHT_INTERVAL;
        if emission.is_complete || !is_due && !is_last && !is_tight {
            return Ok(());
        }
        let asks_for_all =
            is_last && !self.context.stop.is_draining() && self.context.shared.closes_windows;
        self.tell_silence(now);
        if is_last && !self.context.stop.is_draining() {
            self.close_as_told();
        }
        let limits = &self.context.pipeline.batch;
        let mut batch = OpenBatch::new();
        let Some(operator) = self.operator.emission() else {
            return Ok(());
        };
        let is_all = operator.emit(Emit {
            batch: &mut batch,
            messages: &mut Messages::default(),
            all: asks_for_all,
            rows_max: limits.rows_max,
            bytes_max: limits.bytes_max,
        })?;
        let emission = self.emission.as_mut().expect("just seen");
        emission.asked_at = now;
        emission.pace.set_busy(!batch.is_empty());
        if batch.is_empty() {
            emission.is_complete = is_last && is_all;
            self.rows_settled(now);
            return Ok(());
        }
        crash_point!("before_emission");
        self.hold_rows(batch);
        self.send_held(now);
        Ok(())
    }

    /// What was closed elsewhere is closed here too, once everything was read that had been read there.
    fn close_as_told(&mut self) {
        let (Some(targets), Some(operator)) =
            (&self.context.shared.targets, self.operator.emission())
        else {
            return;
        };
        for own in &self.owned {
            let target = targets.get(&own.partition);
            if let Some(through_ms) = target.and_then(|end| end.closed_through_ms) {
                operator.close_through(&own.state, through_ms);
            }
        }
    }

    /// Drops the rows in flight, and what is reported of them.
    pub(super) fn drop_emission(&mut self) {
        self.emission = None;
        let number = i32::from(self.context.number);
        self.context
            .shared
            .board
            .partition_gone(ROWS_OF_WINDOWS, number);
    }

    /// Makes a job of the rows, which waits for [`Lane::send_held`].
    fn hold_rows(&mut self, mut batch: OpenBatch) {
        let Some(emission) = &mut self.emission else {
            return;
        };
        let number = emission.ledger.next();
        let claim = emission.ledger.seal(number + 1);
        let mut batch = batch.seal();
        batch.count(&self.context.shared.memory);
        let job = WriteJob {
            claim,
            partition: TopicPartition {
                topic: ROWS_OF_WINDOWS.into(),
                partition: i32::from(self.context.number),
            },
            batch,
            delivery: Delivery::AsMember(emission.membership.clone()),
            is_half: false,
            trouble: Trouble::default(),
        };
        emission.held = Some((Box::new(job), Instant::now()));
    }

    /// Sends rows whose records are known to be of the topics that their partitions began with.
    fn send_held(&mut self, now: Instant) {
        let Some(emission) = &mut self.emission else {
            return;
        };
        let Some((job, read_at)) = emission.held.take() else {
            return;
        };
        // Without a partition nothing tells whose rows they are.
        let topics = self.owned.iter().map(|own| &*own.partition.topic);
        if self.owned.is_empty() || !self.topic_watch.covers_all(topics, read_at, now) {
            emission.held = Some((job, read_at));
            return;
        }
        let ownership = emission.ledger.ownership();
        if is_broken(Guarantee::Acknowledgement) {
            let settlement = Settlement {
                ownership,
                range: job.claim.range(),
                durable: true,
            };
            let _ = self.inbox.settlements.0.send(settlement);
        }
        let (sink, messages) = (self.context.sink.clone(), self.inbox.messages.0.clone());
        let task = spawn(&self.context.runtime, &self.inbox.messages.0, async move {
            let outcome = sink::write(*job, sink).await;
            let _ = messages.send(Message::Write { ownership, outcome });
        });
        emission.task = Some(task);
    }

    /// A batch of such rows is durable, or was given up; false when the settlement is of something else.
    pub(super) fn emission_settled(&mut self, settlement: &Settlement) -> bool {
        let Some(emission) = &mut self.emission else {
            return false;
        };
        if settlement.ownership != emission.ledger.ownership() {
            return false;
        }
        // Given up only together with the pipeline, which halts and says why.
        if emission.ledger.apply(settlement).is_ok() {
            crash_point!("after_emission");
            self.rows_settled(Instant::now());
        }
        true
    }

    fn rows_settled(&mut self, now: Instant) {
        if let Some(operator) = self.operator.settling() {
            operator.emitted();
        }
        if let Some(emission) = &mut self.emission {
            emission.points_due = now;
        }
    }

    /// A row of many records that the server does not take: none of them is at fault.
    pub(super) fn emission_refused(
        &self,
        ownership: OwnershipId,
        job: &WriteJob,
        error: &InsertError,
    ) -> Result<(), Halt> {
        let is_ours = |emission: &Emission| emission.ledger.ownership() == ownership;
        if !self.emission.as_ref().is_some_and(is_ours) {
            return Ok(());
        }
        let hint = if error.remedy == Remedy::TooLarge {
            "a single row of a window is too large for a limit: raise that of the proxy before clickhouse \
             (client_max_body_size of nginx), or of the user's profile, then start again"
        } else {
            "compare the table with `streamweir schema print`, fix it, then start again"
        };
        let advice = format!(
            "table {}: the server refuses a row of {}: {error}: {hint}",
            job.batch.table(),
            job.batch.row_count()
        );
        Err(Halt::new("rejected", advice))
    }

    /// Works out anew where partitions may be committed, when something may have changed it.
    pub(super) fn move_commit_points(&mut self, now: Instant) {
        let must_be_exact =
            self.context.stop.is_draining() || self.group.revoking.is_some() || self.has_read_all();
        let (Some(emission), Some(operator)) = (&mut self.emission, self.operator.emission())
        else {
            return;
        };
        let is_due = now >= emission.points_due || must_be_exact;
        if is_due {
            emission.points_due = now + self.context.pipeline.batch.flush_interval;
        }
        // One that has just begun has none yet, and must not be committed without.
        let due = self.owned.iter_mut();
        for own in due.filter(|own| is_due || own.commits.point.is_none()) {
            let settled = own.ledger.position();
            own.commits.point = Some(operator.commit_point(&own.state, settled));
            if is_broken(Guarantee::CommitPoint)
                && let Some(point) = &mut own.commits.point
            {
                point.position = settled;
            }
        }
    }

    /// The broker has accepted a commit that was sent then.
    pub(super) fn membership_proven(&self, sent_at: BootTime) {
        if let Some(emission) = &self.emission {
            emission.membership.proven(sent_at);
        }
    }

    /// Whether rows wait for a commit, to know that the lane is still in its group.
    pub(super) fn membership_is_awaited(&self) -> bool {
        let emission = self.emission.as_ref();
        emission.is_some_and(|emission| emission.membership.is_awaited())
    }

    /// Whether rows are in flight.
    pub(super) fn is_emitting(&self) -> bool {
        let emission = self.emission.as_ref();
        emission.is_some_and(|emission| emission.ledger.open_count() > 0)
    }

    /// Since when rows wait for the ids of their topics.
    pub(super) fn rows_held_since(&self) -> Option<Instant> {
        let held = self.emission.as_ref()?.held.as_ref()?;
        Some(held.1)
    }

    /// Whether everything that can be sent before the end is durable.
    pub(super) fn has_emitted_all(&self) -> bool {
        let is_complete = |emission: &Emission| emission.is_complete;
        self.owned.is_empty() || self.emission.as_ref().is_none_or(is_complete)
    }

    /// Whether every partition is read to where this run ends.
    pub(super) fn has_read_all(&self) -> bool {
        self.knows_its_end()
            && self.held.is_empty()
            && self.group.assigning.is_over()
            && self
                .owned
                .iter()
                .all(|own| own.reading.has_reached_target())
    }

    /// How long each partition has been read to its end without a word.
    pub(super) fn tell_silence(&mut self, now: Instant) {
        let consumer = self.consumer.as_ref().expect("no chunk is judged here");
        let Some(operator) = self.operator.emission() else {
            return;
        };
        let is_paused = self.context.stop.is_paused();
        for own in &mut self.owned {
            let end = consumer.known_end(&own.partition);
            let is_at_end = end.is_some_and(|end| own.reading.seen_to >= end);
            let spoken_to = operator.spoken_to(&own.state);
            let quiet_for = own.note_quiet(spoken_to, is_at_end, is_paused, now);
            operator.note_silence(&own.state, quiet_for, own.reading.seen_to);
        }
    }
}
