//! Ranges are cut, named by a commit, written, settled and committed.

use std::time::{Duration, Instant};

use rdkafka::error::KafkaResult;

use super::commit::{self, Answer, Entry, Kept};
use super::operator::{Operator, RecordRows as _};
use super::ownership::{Ownership, Unnamed};
use super::tasks::{panicked, spawn};
use super::topic_watch::TopicWatch;
use super::{Lane, Message};
use crate::clock::BootTime;
use crate::crash::{Guarantee, crash_point, is_broken};
use crate::halt::Halt;
use crate::observe::board::{Place, Undone};
use crate::progress::insert::Attempts;
use crate::progress::{OwnershipId, Settlement};
use crate::sink::{self, Delivery, Outcome, Trouble, WriteJob};
use crate::source::{CommitResult, Offsets, TopicPartition};

/// How long a partition waits whose commit the broker refused.
const COMMIT_REFUSED_WAIT: Duration = Duration::from_secs(1);
/// How long the lane waits for the group's offsets when it reads a commit back.
const READ_BACK_TIMEOUT: Duration = Duration::from_secs(5);

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
        self.believe_read_back(now)?;
        if !self.committer.is_idle() {
            return Ok(());
        }
        let is_awaited = self.membership_is_awaited();
        let watch = &mut self.topic_watch;
        let mut is_due = |o: &&Ownership<O::Partition>| {
            let is_due = is_awaited || o.has_news() || o.is_long_committed(now);
            is_due && now >= o.commit_not_before && is_of_its_topic(o, watch, now)
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
        let Answer::Done {
            entries,
            sent_at,
            doubtful,
            refused,
        } = answer
        else {
            if matches!(answer, Answer::Again) {
                self.metrics.commit("error");
                let error = result
                    .error
                    .or_else(|| result.partitions.first().map(|p| p.code));
                tracing::warn!(
                    pipeline = self.pipeline.name,
                    ?error,
                    "commit failed, repeating it"
                );
            }
            return Ok(());
        };
        for (entry, code) in refused {
            self.commit_refused(&entry, &code.to_string(), now);
        }
        if entries.is_empty() {
            return Ok(());
        }
        if entries.iter().all(|entry| entry.refusal.is_none()) {
            self.metrics.commit("ok");
        }
        if doubtful || !self.metadata_is_kept {
            self.committer.await_read_back(entries, sent_at, now);
            return self.believe_read_back(now);
        }
        self.committed(entries, sent_at, now);
        Ok(())
    }

    /// The offset of one partition stays where it is, and it is said that it does.
    fn commit_refused(&mut self, entry: &Entry, why: &str, now: Instant) {
        self.metrics.commit("error");
        let place = &entry.commit.partition;
        let text = format!("{place}: its offset is not committed yet: {why}");
        self.shared.board.error(&text);
        self.topic_watch.doubt(&place.topic, now);
        if let Some(own) = self.owned_by(entry.ownership) {
            own.commit_not_before = now + COMMIT_REFUSED_WAIT;
            let place = Place::of(&place.topic, place.partition, Undone::NotCommitted);
            self.shared.board.stuck(&place, why);
        }
    }

    /// Ranges are named, leases run, positions stand.
    fn committed(&mut self, entries: Vec<Entry>, sent_at: BootTime, now: Instant) {
        self.membership_proven(sent_at);
        let lease_until = sent_at.after(self.pipeline.clickhouse.insert_lease);
        let group_id = self.pipeline.group_id.clone();
        let board = self.shared.board.clone();
        for entry in entries {
            let marker = self.marker(&entry.commit.partition);
            let epoch = self.version_epoch();
            let Some(own) = self.owned_by(entry.ownership) else {
                continue;
            };
            if own.committed.is_none() {
                write_marker(&marker, &entry.commit.metadata, &group_id, epoch);
            }
            own.committed(entry.commit.position, entry.cut_number, entry.counter, now);
            own.committed_point = entry.point;
            let committed = Place::of(
                &own.partition.topic,
                own.partition.partition,
                Undone::NotCommitted,
            );
            board.got_on(&committed);
            own.lease_until = lease_until;
        }
        if self.owned.iter().any(|o| !o.unnamed.is_empty()) {
            crash_point!("after_naming_commit");
        }
        crash_point!("after_commit");
    }

    /// Reads back what is in doubt, when its time has come, and acts on what is so.
    fn believe_read_back(&mut self, now: Instant) -> Result<(), Halt> {
        let Some((entries, sent_at)) = self.committer.read_back_due(now) else {
            return Ok(());
        };
        match self.read_back(&entries, now)? {
            // What is refused without the coordinator does not prove membership either.
            Some(kept) if kept.is_empty() => {}
            Some(kept) => {
                if kept.iter().any(|entry| entry.refusal.is_some()) {
                    self.metrics.commit("ok");
                }
                self.committed(kept, sent_at, now);
            }
            None => {
                let at = self.committer.again_at(now);
                self.committer.await_read_back(entries, sent_at, at);
            }
        }
        Ok(())
    }

    /// Compares what the broker keeps with what was committed: those for which it is the same. `None`
    /// when the broker does not say.
    pub(super) fn read_back(
        &mut self,
        entries: &[Entry],
        now: Instant,
    ) -> Result<Option<Vec<Entry>>, Halt> {
        let partitions: Vec<_> = entries.iter().map(|e| e.commit.partition.clone()).collect();
        let timeout = self.shared.kafka_timeout.min(READ_BACK_TIMEOUT);
        let read = match self.read_committed(&partitions, timeout) {
            Ok(read) => read,
            Err(error) => {
                let text = format!("kafka: the commit is not read back yet: {error}");
                tracing::warn!(pipeline = self.pipeline.name, "{text}");
                self.shared.board.error(&text);
                return Ok(None);
            }
        };
        let needs_metadata = self.names_ranges() || self.transacting.is_some();
        let mut as_committed = vec![];
        for (entry, read) in entries.iter().zip(read) {
            let read = match read {
                Ok(read) => read,
                Err(error) => {
                    let code = error.rdkafka_error_code();
                    if let Some(code) = entry.refusal.filter(|refusal| code == Some(*refusal)) {
                        commit::may_be_tried_again(entry, code)?;
                    }
                    self.committer.leave_in_doubt();
                    self.commit_refused(entry, &format!("it is not read back: {error}"), now);
                    continue;
                }
            };
            let why = match commit::kept(entry, &read, needs_metadata) {
                Kept::AsCommitted => {
                    self.metadata_is_kept = true;
                    as_committed.push(entry.clone());
                    continue;
                }
                Kept::OffsetAlone => {
                    as_committed.push(entry.clone());
                    continue;
                }
                Kept::NoMetadata => {
                    let place = &entry.commit.partition;
                    let advice = format!(
                        "{place}: the broker does not keep commit metadata, which exactly_once \
                         needs: use Apache Kafka or a broker that keeps it, or delivery = \
                         \"at_least_once\""
                    );
                    return Err(Halt::new("metadata_lost", advice));
                }
                Kept::Refused(code) => {
                    commit::may_be_tried_again(entry, code)?;
                    self.commit_refused(entry, &code.to_string(), now);
                    continue;
                }
                Kept::Later => "another member has committed it meanwhile",
                Kept::Another => "the broker tells of another commit",
            };
            self.rewind(entry.ownership, why, now);
        }
        Ok(Some(as_committed))
    }

    fn read_committed(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> KafkaResult<Vec<KafkaResult<Offsets>>> {
        fail::fail_point!("read_back_fails", |_| Err(
            rdkafka::error::KafkaError::NoMessageReceived
        ));
        self.consumer()
            .questions()
            .committed_each(partitions, timeout)
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
                    let mut attempts = Attempts::new(history);
                    if batch.target().is_some_and(|target| !target.has_tokens) {
                        attempts = attempts.without_tokens();
                    }
                    Delivery::ExactlyOnce {
                        token,
                        attempts,
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
                    trouble: Trouble::default(),
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
        let (has_gaps, bytes) = (job.batch.has_gaps(), job.batch.memory_bytes());
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
        let task = spawn(&self.runtime, &self.messages.0, async move {
            let outcome = sink::write(job, sink).await;
            let _ = messages.send(Message::Write { ownership, outcome });
        });
        own.started_writing(task, has_gaps, bytes);
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
                self.shared.ratio.note_later(dead_letters);
                self.judge_ratio()?;
            }
            Outcome::Halted(halt) => return Err(halt),
            Outcome::Renew(job) => {
                if let Some(own) = self.owned_by(ownership) {
                    own.to_renew.push(*job);
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

/// The same where the ranges need no name.
fn rows_are_of_its_topic<S>(own: &Ownership<S>, watch: &mut TopicWatch, now: Instant) -> bool {
    let topic = &own.partition.topic;
    own.unnamed_read_at()
        .is_none_or(|read_at| watch.covers_rows(topic, read_at, now))
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
