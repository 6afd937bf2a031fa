//! Ranges are cut, named by a commit, written, settled and committed.

use std::time::Instant;

use super::commit::{Answer, Entry};
use super::operator::Operator;
use super::ownership::{Ownership, Unnamed};
use super::topic_watch::TopicWatch;
use super::{Lane, Message};
use crate::crash::{Guarantee, crash_point, is_broken};
use crate::halt::Halt;
use crate::progress::insert::Attempts;
use crate::progress::{Metadata, OwnershipId, Settlement};
use crate::sink::{self, Delivery, Outcome, WriteJob};
use crate::source::CommitResult;

impl<O: Operator> Lane<O> {
    /// Cuts batches that are old, that must end now, or that memory has no room for.
    pub(super) fn cut_by_time(&mut self, now: Instant) {
        let is_draining = self.stop.is_draining();
        let mut cut_any = false;
        for own in self
            .owned
            .iter_mut()
            .filter(|o| !o.revoking && !o.is_replaying())
        {
            let is_old = own.due_at().is_some_and(|at| now >= at);
            if own.batch.is_empty() {
                own.pass_gap();
            } else if is_old || is_draining || own.has_reached_target() {
                let to = own.next;
                own.cut(to);
                cut_any = true;
            }
        }
        if self.shared.memory.is_tight() {
            cut_any |= self.cut_largest();
        }
        if cut_any {
            crash_point!("after_seal");
        }
        for own in &mut self.owned {
            own.pace.set_busy(!own.batch.is_empty());
        }
        let held = |own: &Ownership<_>| own.memory_bytes() + own.unnamed_bytes();
        self.holds.batches.resize(self.owned.iter().map(held).sum());
        self.holds.queue.resize(self.consumer().queued_bytes());
    }

    fn cut_largest(&mut self) -> bool {
        let may_cut = |o: &&mut Ownership<O::Partition>| {
            !o.revoking && !o.is_replaying() && !o.batch.is_empty()
        };
        // What is small already gives little back and costs an insert of its own.
        let worth = |o: &&mut Ownership<O::Partition>| o.memory_bytes() >= 1 << 20;
        let largest = self
            .owned
            .iter_mut()
            .filter(may_cut)
            .filter(worth)
            .max_by_key(|o| o.memory_bytes());
        let Some(own) = largest else { return false };
        let to = own.next;
        own.cut(to);
        true
    }

    /// Sends the next commit, if there is something to say and none is on its way.
    pub(super) fn commit(&mut self, now: Instant) -> Result<(), Halt> {
        if self.transacting.is_some() {
            return Ok(());
        }
        if !self.committer.is_idle() {
            let owned: Vec<_> = self.owned.iter().map(|o| o.ledger.ownership()).collect();
            self.committer.retain(|id| owned.contains(&id));
        }
        if let Some(entries) = self.committer.due(now) {
            let commits: Vec<_> = entries.iter().map(|e| e.commit.clone()).collect();
            if let Err(error) = self.consumer().commit(&commits) {
                tracing::debug!(%error, "commit not sent");
                self.committer.not_sent(now);
            }
            return Ok(());
        }
        if !self.committer.is_idle() {
            return Ok(());
        }
        let is_awaited = self.membership_is_awaited();
        let watch = &mut self.topic_watch;
        let mut is_due = |o: &&Ownership<O::Partition>| {
            let is_due = is_awaited || o.has_news() || o.is_long_committed(now);
            is_due && is_of_its_topic(o, watch, now)
        };
        let mut entries = vec![];
        for own in self.owned.iter().filter(|o| is_due(o)) {
            entries.push(Entry::of(own)?);
        }
        if entries.is_empty() {
            return Ok(());
        }
        crash_point!("before_commit");
        let commits: Vec<_> = entries.iter().map(|e| e.commit.clone()).collect();
        let sent = self.consumer().commit(&commits);
        self.committer.sending(entries);
        if let Err(error) = sent {
            tracing::warn!(pipeline = self.pipeline.name, %error, "commit not sent, trying again");
            self.committer.not_sent(now);
        }
        Ok(())
    }

    /// The broker has answered a commit.
    pub(super) fn commit_answered(
        &mut self,
        result: &CommitResult,
        now: Instant,
    ) -> Result<(), Halt> {
        let answer = self.committer.answered(result, now)?;
        let (entries, sent_at, doubtful) = match answer {
            Answer::Done {
                entries,
                sent_at,
                doubtful,
            } => (entries, sent_at, doubtful),
            Answer::Again => {
                self.metrics.commit("error");
                let error = result
                    .error
                    .or_else(|| result.partitions.first().map(|p| p.code));
                tracing::warn!(
                    pipeline = self.pipeline.name,
                    ?error,
                    "commit failed, repeating it"
                );
                return Ok(());
            }
            Answer::Stray => return Ok(()),
        };
        self.metrics.commit("ok");
        if doubtful || !self.metadata_is_kept {
            self.read_back(&entries, now)?;
        }
        self.membership_proven(sent_at);
        let lease_until = sent_at.after(self.pipeline.clickhouse.insert_lease);
        let group_id = self.pipeline.group_id.clone();
        for entry in entries {
            let marker = self.marker(&entry.commit.partition);
            let epoch = self.operator.version_epoch();
            let Some(own) = self.owned_by(entry.ownership) else {
                continue;
            };
            if own.committed.is_none() {
                write_marker(&marker, &entry.commit.metadata, &group_id, epoch);
            }
            own.committed(entry.commit.position, entry.cut_number, entry.counter, now);
            own.committed_point = entry.point;
            own.lease_until = lease_until;
        }
        if self.owned.iter().any(|o| !o.unnamed.is_empty()) {
            crash_point!("after_naming_commit");
        }
        crash_point!("after_commit");
        Ok(())
    }

    /// Compares what the broker keeps with what was committed.
    pub(super) fn read_back(&mut self, entries: &[Entry], now: Instant) -> Result<(), Halt> {
        let partitions: Vec<_> = entries.iter().map(|e| e.commit.partition.clone()).collect();
        let read = self
            .consumer()
            .committed(&partitions, self.shared.kafka_timeout);
        let kept = match read {
            Ok(kept) => kept,
            Err(error) => {
                // Nothing is lost by looking again after the next commit.
                tracing::warn!(pipeline = self.pipeline.name, %error, "commit not read back yet");
                return Ok(());
            }
        };
        for (entry, kept) in entries.iter().zip(kept) {
            if kept.metadata == entry.commit.metadata {
                self.metadata_is_kept = true;
                continue;
            }
            let place = &entry.commit.partition;
            let theirs = kept
                .position
                .and_then(|p| Metadata::decode(&kept.metadata, p).ok()?);
            if theirs.is_some_and(|m| m.counter > entry.counter) {
                self.rewind(
                    entry.ownership,
                    "another member has committed it meanwhile",
                    now,
                );
            } else if kept.metadata.is_empty()
                && (self.names_ranges() || self.transacting.is_some())
            {
                let advice = format!(
                    "{place}: the broker does not keep commit metadata, which exactly_once needs: \
                     use Apache Kafka or a broker that keeps it, or delivery = \"at_least_once\""
                );
                return Err(Halt::new("metadata_lost", advice));
            } else {
                self.rewind(entry.ownership, "the broker tells of another commit", now);
            }
        }
        Ok(())
    }

    /// Sends every range whose name is safe.
    pub(super) fn write_named(&mut self, now: Instant) {
        let exactly_once = self.names_ranges();
        for index in 0..self.owned.len() {
            let own = &mut self.owned[index];
            // Ranges that need no name wait here for what else is asked before a name is given.
            if !exactly_once && !is_of_its_topic(own, &mut self.topic_watch, now) {
                continue;
            }
            let lease_until = own.lease_until;
            let mut jobs = if own.lease_holds() {
                std::mem::take(&mut own.to_renew)
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
            while let Some(Unnamed {
                claim,
                mut batch,
                history,
                ..
            }) = own.take_named()
            {
                batch.count(&self.shared.memory);
                let range = claim.range();
                let partition = own.partition.clone();
                let delivery = if exactly_once {
                    let token = sink::token(own.epoch, own.table(), &partition, range);
                    Delivery::ExactlyOnce {
                        token,
                        attempts: Attempts::new(history),
                        lease_until,
                    }
                } else {
                    Delivery::AtLeastOnce
                };
                jobs.push(WriteJob {
                    claim,
                    partition,
                    batch,
                    delivery,
                    is_half: own.suspects.since(range).is_some(),
                });
            }
            for job in jobs {
                self.start_write(index, job);
            }
        }
    }

    pub(super) fn start_write(&mut self, index: usize, job: WriteJob) {
        let own = &mut self.owned[index];
        let ownership = own.ledger.ownership();
        let has_gaps = job.batch.has_gaps();
        if is_broken(Guarantee::Acknowledgement) {
            let range = job.claim.range();
            let durable = true;
            let _ = self.settlements.0.send(Settlement {
                ownership,
                range,
                durable,
            });
        }
        let sink = self.sink.clone();
        let messages = self.messages.0.clone();
        let task = self.runtime.spawn(async move {
            let outcome = sink::write(job, sink).await;
            let _ = messages.send(Message::Write { ownership, outcome });
        });
        own.started_writing(task.abort_handle(), has_gaps);
    }

    /// Takes what tasks have to say.
    pub(super) fn handle_messages(&mut self) -> Result<(), Halt> {
        while let Ok(message) = self.messages.1.try_recv() {
            match message {
                Message::Profiles(answer) => self.profiles_answered(answer),
                Message::Write { ownership, outcome } => {
                    self.write_ended(ownership, outcome)?;
                }
                Message::Original(original) => self.refused_record_read(*original)?,
                Message::Kept(kept) => self.snapshot_ended(kept),
                Message::Errand(done) => self.errand_done(done)?,
                Message::Transaction(news) => self.transaction_news(news)?,
            }
        }
        self.split_waiting();
        Ok(())
    }

    fn write_ended(&mut self, ownership: OwnershipId, outcome: Outcome) -> Result<(), Halt> {
        match outcome {
            // The settlement comes by its own channel.
            Outcome::Written { dead_letters } => {
                self.shared.ratio.note(dead_letters, dead_letters);
            }
            Outcome::Halted(halt) => return Err(halt),
            Outcome::Renew(job) => {
                if let Some(own) = self.owned_by(ownership) {
                    own.to_renew.push(*job);
                }
            }
            Outcome::Refused(job, error) => {
                self.emission_refused(ownership, &job, &error)?;
                self.refused(ownership, *job, &error)?;
            }
            Outcome::Altered(table) => {
                let why = format!("table {table} was altered while rows were written");
                self.operator.altered(&table);
                self.rewind(ownership, &why, Instant::now());
            }
        }
        Ok(())
    }

    /// Moves positions over what has become durable.
    pub(super) fn apply_settlements(&mut self) -> Result<(), Halt> {
        while let Ok(settlement) = self.settlements.1.try_recv() {
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

/// Whether the records of the ranges that wait to be named are known to be of the topic that the
/// partition began with.
fn is_of_its_topic<S>(own: &Ownership<S>, watch: &mut TopicWatch, now: Instant) -> bool {
    let topic = &own.partition.topic;
    own.unnamed_read_at()
        .is_none_or(|read_at| watch.covers(topic, read_at, now))
}

/// Tells a later start that this partition was read before, should the group's offset vanish.
pub(super) fn write_marker(
    path: &std::path::Path,
    metadata: &str,
    group_id: &str,
    epoch: Option<u16>,
) {
    let topic_id = metadata.split(' ').nth(1).unwrap_or("-");
    let epoch = epoch.map_or(String::new(), |epoch| format!(" @{epoch}"));
    if let Err(error) = std::fs::write(path, format!("{topic_id} {group_id}{epoch}")) {
        tracing::warn!(path = %path.display(), %error, "service.state_dir: marker not written");
    }
}
