//! Positions and names of ranges are committed, and what is in doubt is read back.

use std::time::{Duration, Instant};

use streamweir_kafka::KafkaResult;

use super::Lane;
use super::commit::{self, Answer, Entry, Kept};
use super::operator::Operator;
use super::ownership::Ownership;
use super::topic_watch::TopicWatch;
use crate::clock::BootTime;
use crate::crash::crash_point;
use crate::halt::Halt;
use crate::observe::board::{Place, Trouble, Undone};
use crate::source::{CommitResult, Offsets, TopicPartition};

/// How long a partition waits whose commit the broker refused.
const COMMIT_REFUSED_WAIT: Duration = Duration::from_secs(1);
/// How long the lane waits for the group's offsets when it reads a commit back.
const READ_BACK_TIMEOUT: Duration = Duration::from_secs(5);

impl<O: Operator> Lane<O> {
    /// Sends the next commit, if there is news and no other commit is in flight.
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
            let is_due = is_awaited || o.has_news() || o.commits.is_long_ago(now);
            is_due && now >= o.commits.not_before && is_of_its_topic(o, watch, now)
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
        // Leases run from here. The client has the request as soon as the call begins, and this thread may
        // stand still before it ends.
        self.committer.sending(entries);
        if let Err(error) = self.consumer().commit(&commits) {
            let why = format!("not sent: {error}");
            self.context.shared.board.trouble(Trouble::Commits, &why);
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
                self.context.metrics.commit("error");
                let error = result
                    .error
                    .or_else(|| result.partitions.first().map(|p| p.code));
                let why = error.map_or("no answer".to_owned(), |code| code.to_string());
                self.context.shared.board.trouble(Trouble::Commits, &why);
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
            self.context.metrics.commit("ok");
        }
        if doubtful || !self.committer.metadata_is_kept {
            self.committer.await_read_back(entries, sent_at, now);
            return self.believe_read_back(now);
        }
        self.committed(entries, sent_at, now);
        Ok(())
    }

    /// Reports that the offset of one partition is not committed yet.
    fn commit_refused(&mut self, entry: &Entry, why: &str, now: Instant) {
        self.context.metrics.commit("error");
        let place = &entry.commit.partition;
        let text = format!("{place}: its offset is not committed yet: {why}");
        self.context.shared.board.error(&text);
        self.topic_watch.doubt(&place.topic, now);
        if let Some(own) = self.owned_by(entry.ownership) {
            own.commits.not_before = now + COMMIT_REFUSED_WAIT;
            let place = Place::of(&place.topic, place.partition, Undone::NotCommitted);
            self.context.shared.board.stuck(&place, why);
        }
    }

    /// Ranges are named, leases run, positions stand.
    fn committed(&mut self, entries: Vec<Entry>, sent_at: BootTime, now: Instant) {
        self.membership_proven(sent_at);
        let lease_until = sent_at.after(self.context.pipeline.clickhouse.insert_lease);
        let group_id = self.context.pipeline.group_id.clone();
        let board = self.context.shared.board.clone();
        board.trouble_over(Trouble::Commits);
        for entry in entries {
            let marker = self.marker(&entry.commit.partition);
            let epoch = self.version_epoch();
            let Some(own) = self.owned_by(entry.ownership) else {
                continue;
            };
            if own.commits.position.is_none() {
                write_marker(&marker, &entry.commit.metadata, &group_id, epoch);
            }
            let of_rows_ms = entry.point.and_then(|point| point.complete_ms);
            let position = entry.commit.position;
            own.committed(position, entry.seal_number, entry.counter, of_rows_ms, now);
            own.commits.last_point = entry.point;
            let committed = Place::of(
                &own.partition.topic,
                own.partition.partition,
                Undone::NotCommitted,
            );
            board.got_on(&committed);
            own.writing.lease_until = lease_until;
        }
        if self.owned.iter().any(|o| !o.writing.unnamed.is_empty()) {
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
                    self.context.metrics.commit("ok");
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
        let timeout = self.context.shared.kafka_timeout.min(READ_BACK_TIMEOUT);
        let read = match self.read_committed(&partitions, timeout) {
            Ok(read) => read,
            Err(error) => {
                let text = format!("kafka: the commit is not read back yet: {error}");
                self.context.shared.board.trouble(Trouble::Commits, &text);
                self.context.shared.board.error(&text);
                return Ok(None);
            }
        };
        let needs_metadata = self.names_ranges() || self.transacting.is_some();
        let mut as_committed = vec![];
        for (entry, read) in entries.iter().zip(read) {
            if self.is_as_committed(entry, read, needs_metadata, now)? {
                as_committed.push(entry.clone());
            }
        }
        Ok(Some(as_committed))
    }

    /// Whether the broker keeps of a partition what was committed. If not, the partition waits, or begins
    /// anew.
    fn is_as_committed(
        &mut self,
        entry: &Entry,
        read: KafkaResult<Offsets>,
        needs_metadata: bool,
        now: Instant,
    ) -> Result<bool, Halt> {
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                let code = error.rdkafka_error_code();
                if let Some(code) = entry.refusal.filter(|refusal| code == Some(*refusal)) {
                    commit::may_be_tried_again(entry, code)?;
                }
                self.committer.leave_in_doubt(&entry.commit.partition);
                self.commit_refused(entry, &format!("it is not read back: {error}"), now);
                return Ok(false);
            }
        };
        let why = match commit::kept(entry, &read, needs_metadata) {
            Kept::AsCommitted => {
                self.committer.metadata_is_kept = true;
                return Ok(true);
            }
            Kept::OffsetAlone => return Ok(true),
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
                return Ok(false);
            }
            Kept::Later => "another member has committed it meanwhile",
            Kept::Another => "the broker has another commit",
        };
        self.rewind(entry.ownership, why, now);
        Ok(false)
    }

    fn read_committed(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> KafkaResult<Vec<KafkaResult<Offsets>>> {
        fail::fail_point!("read_back_fails", |_| Err(
            streamweir_kafka::KafkaError::NoMessageReceived
        ));
        self.consumer()
            .questions()
            .committed_each(partitions, timeout)
    }
}

/// Whether the records of the ranges that wait to be named are known to be of the topic that the
/// partition began with.
fn is_of_its_topic<S>(own: &Ownership<S>, watch: &mut TopicWatch, now: Instant) -> bool {
    let topic = &own.partition.topic;
    own.writing
        .unnamed_read_at()
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
