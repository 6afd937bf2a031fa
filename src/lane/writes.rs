//! Ranges are sealed, and written once a commit has named them.

use std::time::Instant;

use super::operator::{Operator, RecordRows as _};
use super::ownership::{Ownership, Unnamed};
use super::tasks::{panicked, spawn};
use super::topic_watch::TopicWatch;
use super::{Lane, Message};
use crate::crash::{Guarantee, crash_point, is_broken};
use crate::halt::Halt;
use crate::progress::insert::Attempts;
use crate::progress::{OwnershipId, Settlement};
use crate::sink::{self, Delivery, Outcome, Trouble, WriteJob};

impl<O: Operator> Lane<O> {
    /// Seals batches that are old, that must end now, or that memory has no room for.
    pub(super) fn seal_by_time(&mut self, now: Instant) {
        let is_draining = self.context.stop.is_draining();
        let mut sealed_any = false;
        for own in self
            .owned
            .iter_mut()
            .filter(|o| !o.reading.revoking && !o.writing.is_replaying())
        {
            let is_old = own.writing.due_at().is_some_and(|at| now >= at);
            if own.writing.batch.is_empty() {
                own.pass_gap();
            } else if is_old || is_draining || own.reading.has_reached_target() {
                let to = own.reading.next;
                own.seal(to);
                sealed_any = true;
            }
        }
        if self.context.shared.memory.is_tight() {
            sealed_any |= self.seal_largest();
        }
        if sealed_any {
            crash_point!("after_seal");
        }
        for own in &mut self.owned {
            own.writing.pace.set_busy(!own.writing.batch.is_empty());
        }
        let held = |own: &Ownership<_>| own.writing.memory_bytes();
        self.reporting
            .holds
            .batches
            .resize(self.owned.iter().map(held).sum());
        self.reporting
            .holds
            .queue
            .resize(self.consumer().queued_bytes());
    }

    fn seal_largest(&mut self) -> bool {
        let may_seal = |o: &&mut Ownership<O::Partition>| o.may_seal();
        // What is small already gives little back and costs an insert of its own.
        let worth = |o: &&mut Ownership<O::Partition>| o.writing.batch.memory_bytes() >= 1 << 20;
        let largest = self
            .owned
            .iter_mut()
            .filter(may_seal)
            .filter(worth)
            .max_by_key(|o| o.writing.batch.memory_bytes());
        let Some(own) = largest else { return false };
        let to = own.reading.next;
        own.seal(to);
        true
    }

    /// Sends every range whose name is safe.
    pub(super) fn write_named(&mut self, now: Instant) {
        let exactly_once = self.names_ranges();
        for index in 0..self.owned.len() {
            let own = &mut self.owned[index];
            // Ranges that need no name wait here for what else is asked before a name is given.
            if !exactly_once && !rows_are_of_its_topic(own, &mut self.topic_watch, now) {
                continue;
            }
            let lease_until = own.writing.lease_until;
            let mut jobs = if own.writing.lease_holds() {
                std::mem::take(&mut own.writing.to_renew)
            } else {
                vec![]
            };
            for job in &mut jobs {
                if let Delivery::ExactlyOnce {
                    lease_until: until, ..
                } = &mut job.delivery
                {
                    *until = lease_until;
                }
            }
            while let Some(mut unnamed) = own.take_named() {
                unnamed.batch.count(&self.context.shared.memory);
                jobs.push(write_job(own, unnamed, exactly_once));
            }
            for job in jobs {
                self.start_write(index, job);
            }
        }
    }

    pub(super) fn start_write(&mut self, index: usize, job: WriteJob) {
        let own = &mut self.owned[index];
        let ownership = own.ledger.ownership();
        let (has_gaps, bytes) = (job.batch.has_gaps(), job.batch.memory_bytes());
        if is_broken(Guarantee::Acknowledgement) {
            let range = job.claim.range();
            let durable = true;
            let _ = self.inbox.settlements.0.send(Settlement {
                ownership,
                range,
                durable,
            });
        }
        let sink = self.context.sink.clone();
        let messages = self.inbox.messages.0.clone();
        let task = spawn(&self.context.runtime, &self.inbox.messages.0, async move {
            let outcome = sink::write(job, sink).await;
            let _ = messages.send(Message::Write { ownership, outcome });
        });
        own.writing.started(task, has_gaps, bytes);
    }

    /// Takes what tasks have to say.
    pub(super) fn handle_messages(&mut self) -> Result<(), Halt> {
        while let Ok(message) = self.inbox.messages.1.try_recv() {
            match message {
                Message::Profiles(answer) => self.profiles_answered(answer),
                Message::Write { ownership, outcome } => {
                    self.write_ended(ownership, outcome)?;
                }
                Message::Original(original) => self.refused_record_read(*original)?,
                Message::Kept(kept) => self.snapshot_ended(kept),
                Message::BlockingTask(done) => self.blocking_task_done(done),
                Message::Transaction(news) => self.transaction_news(news)?,
                Message::Begin(news) => self.begin_news(*news)?,
                Message::Panicked => return Err(panicked()),
            }
        }
        self.split_waiting();
        Ok(())
    }

    fn write_ended(&mut self, ownership: OwnershipId, outcome: Outcome) -> Result<(), Halt> {
        match outcome {
            // The settlement comes by its own channel.
            Outcome::Written { dead_letters } => {
                self.context.shared.ratio.note_later(dead_letters);
                self.judge_ratio()?;
            }
            Outcome::Halted(halt) => {
                let own = self.owned_by(ownership);
                return Err(match own {
                    Some(own) => halt.at(format!("{}:{}", own.partition, own.position())),
                    None => halt,
                });
            }
            Outcome::Renew(job) => {
                if let Some(own) = self.owned_by(ownership) {
                    own.writing.to_renew.push(*job);
                }
            }
            Outcome::Refused(job, error) => {
                self.emission_refused(ownership, &job, &error)?;
                self.refused(ownership, *job, error)?;
            }
            Outcome::Altered(table) => {
                let why = format!("table {table} was altered while rows were written");
                if let Some(rows) = self.operator.rows() {
                    rows.altered(&table);
                }
                self.rewind(ownership, &why, Instant::now());
            }
        }
        Ok(())
    }

    /// Moves positions over what has become durable.
    pub(super) fn apply_settlements(&mut self) -> Result<(), Halt> {
        while let Ok(settlement) = self.inbox.settlements.1.try_recv() {
            if self.emission_settled(&settlement) {
                continue;
            }
            let Some(own) = self.owned_by(settlement.ownership) else {
                continue;
            };
            if own.ledger.apply(&settlement).is_err() {
                self.rewind(settlement.ownership, "a range was given up", Instant::now());
            }
        }
        Ok(())
    }
}

/// Makes a job of a range whose name is safe, or that needs none.
fn write_job<S>(own: &Ownership<S>, unnamed: Unnamed, exactly_once: bool) -> WriteJob {
    let Unnamed {
        claim,
        batch,
        history,
        ..
    } = unnamed;
    let range = claim.range();
    let delivery = if exactly_once {
        let commits = &own.commits;
        let mut attempts = Attempts::new(history);
        if batch.target().is_some_and(|target| !target.has_tokens) {
            attempts = attempts.without_tokens();
        }
        Delivery::ExactlyOnce {
            token: sink::token(commits.epoch, &commits.table, &own.partition, range),
            attempts,
            lease_until: own.writing.lease_until,
        }
    } else {
        Delivery::AtLeastOnce
    };
    WriteJob {
        claim,
        partition: own.partition.clone(),
        batch,
        delivery,
        is_half: own.writing.suspects.since(range).is_some(),
        trouble: Trouble::of(own.writing.insert_spans.from(range.from)),
    }
}

/// Whether the records of the ranges that wait to be written, and need no name, are known to be of the topic
/// that the partition began with.
fn rows_are_of_its_topic<S>(own: &Ownership<S>, watch: &mut TopicWatch, now: Instant) -> bool {
    let topic = &own.partition.topic;
    own.writing
        .unnamed_read_at()
        .is_none_or(|read_at| watch.covers_rows(topic, read_at, now))
}
