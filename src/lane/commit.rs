//! The lane's one commit in flight.
//!
//! The broker fences a group's generation, not a partition, so the lane fences itself: one commit
//! at a time, awaited; one of unknown outcome is repeated unchanged and then read back, as often as it
//! takes, before anything is done on the strength of it; none is outstanding when partitions are given
//! back. librdkafka says the error of one partition of all that were committed with it, so an answer with
//! errors is read back as well.

mod kept;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use streamweir_kafka::RDKafkaErrorCode;

pub(super) use self::kept::{Kept, kept};
use super::ownership::Ownership;
use crate::clock::BootTime;
use crate::halt::Halt;
use crate::progress::{CommitPoint, OwnershipId};
use crate::sink::Backoff;
use crate::source::{CommitResult, PartitionCommit, TopicPartition};

/// One partition of the commit in flight.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) ownership: OwnershipId,
    pub(super) commit: PartitionCommit,
    /// The number of the last seal that it names.
    pub(super) seal_number: u64,
    pub(super) counter: u64,
    pub(super) point: Option<CommitPoint>,
    /// What the answer says of it, which may be meant for another partition of the same commit.
    pub(super) refusal: Option<RDKafkaErrorCode>,
}

impl Entry {
    /// What there is to say of a partition.
    ///
    /// # Errors
    /// It does not fit a commit.
    pub(super) fn of<S>(own: &Ownership<S>) -> Result<Self, Halt> {
        let (commit, seal_number, counter) = own.commit().map_err(|error| {
            let advice = format!("{}: {error}: raise pipeline.batch.rows_max", own.partition);
            Halt::new("metadata", advice)
        })?;
        Ok(Entry {
            ownership: own.ledger.ownership(),
            commit,
            seal_number,
            counter,
            point: own.commits.point,
            refusal: None,
        })
    }
}

/// What came of a commit.
#[derive(Debug)]
pub(super) enum Answer {
    /// These partitions are committed. `sent_at` is when the commit that counts was sent: leases run
    /// from there. `doubtful`: an earlier sending of it may have been overtaken, or some were refused, and
    /// which is to be read back. `refused`: the broker has not committed these, for certain.
    Done {
        entries: Vec<Entry>,
        sent_at: BootTime,
        doubtful: bool,
        refused: Vec<(Entry, RDKafkaErrorCode)>,
    },
    /// It must be sent again, unchanged, after a while.
    Again,
    /// Nobody asked.
    Stray,
}

/// The commit in flight, or the one waiting to be repeated.
#[derive(Debug, Default)]
pub(super) struct Committer {
    entries: Vec<Entry>,
    state: State,
    doubtful: bool,
    /// Of these an earlier commit may have been kept or not: their next one is read back.
    in_doubt: BTreeSet<TopicPartition>,
    /// Whether a commit of ours was once read back as it was written.
    pub(super) metadata_is_kept: bool,
    sent_at: Option<BootTime>,
    /// The same before it was repeated.
    first_sent_at: Option<BootTime>,
    backoff: Option<Backoff>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    InFlight,
    RepeatAt(Instant),
    /// Acknowledged, and not believed before it is read back.
    ReadBackAt(Instant),
}

impl Committer {
    /// Whether a new commit may be made.
    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Whether an answer of the broker is awaited.
    pub(super) fn is_in_flight(&self) -> bool {
        self.state == State::InFlight
    }

    /// Whether a commit in flight may still change what the broker reports of a partition.
    pub(super) fn concerns(&self, partition: &TopicPartition) -> bool {
        !self.is_idle()
            && self
                .entries
                .iter()
                .any(|e| e.commit.partition == *partition)
    }

    /// Takes over a commit that is about to be sent.
    pub(super) fn sending(&mut self, entries: Vec<Entry>) {
        assert!(self.is_idle(), "one commit at a time");
        self.doubtful = false;
        for entry in &entries {
            self.doubtful |= self.in_doubt.remove(&entry.commit.partition);
        }
        self.entries = entries;
        self.backoff = None;
        self.sent();
        self.first_sent_at = self.sent_at;
    }

    /// What was acknowledged is to be read back, now or when that has failed, in a while.
    pub(super) fn await_read_back(&mut self, entries: Vec<Entry>, sent_at: BootTime, at: Instant) {
        assert!(self.is_idle(), "one commit at a time");
        self.entries = entries;
        self.sent_at = Some(sent_at);
        self.state = State::ReadBackAt(at);
    }

    /// What is to be read back, and when it was sent, when its time has come.
    pub(super) fn read_back_due(&mut self, now: Instant) -> Option<(Vec<Entry>, BootTime)> {
        match self.state {
            State::ReadBackAt(at) if now >= at => {
                self.state = State::Idle;
                let sent_at = self.sent_at.take()?;
                Some((std::mem::take(&mut self.entries), sent_at))
            }
            _ => None,
        }
    }

    /// When to ask again after a failure.
    pub(super) fn again_at(&mut self, now: Instant) -> Instant {
        let backoff = self.backoff.get_or_insert_with(Backoff::new);
        now + backoff.next_wait().min(Duration::from_secs(2))
    }

    /// What the broker says of a partition is not known, and its next commit is read back.
    pub(super) fn leave_in_doubt(&mut self, partition: &TopicPartition) {
        self.in_doubt.insert(partition.clone());
    }

    fn sent(&mut self) {
        self.state = State::InFlight;
        self.sent_at = Some(BootTime::now());
    }

    /// The commit to send again, when its time has come.
    pub(super) fn due(&mut self, now: Instant) -> Option<&[Entry]> {
        match self.state {
            State::RepeatAt(at) if now >= at => {
                self.sent();
                Some(&self.entries)
            }
            _ => None,
        }
    }

    /// The request could not even be queued.
    pub(super) fn not_sent(&mut self, now: Instant) {
        self.repeat(now);
    }

    /// Forgets partitions that are no longer ours; repeating for them would be a zombie's commit. What became of
    /// it stays in doubt, should they be ours again.
    pub(super) fn retain(&mut self, is_ours: impl Fn(OwnershipId) -> bool) {
        if self.state == State::InFlight {
            return;
        }
        let forgotten = self
            .entries
            .extract_if(.., |entry| !is_ours(entry.ownership));
        let forgotten = forgotten.map(|entry| entry.commit.partition);
        self.in_doubt.extend(forgotten);
        if self.entries.is_empty() {
            self.state = State::Idle;
        }
    }

    /// Judges the broker's answer.
    ///
    /// # Errors
    /// When only an operator can make commits possible again.
    pub(super) fn answered(&mut self, result: &CommitResult, now: Instant) -> Result<Answer, Halt> {
        if self.state != State::InFlight {
            return Ok(Answer::Stray);
        }
        let is_alone = self.entries.len() == 1;
        let mut is_again = false;
        for entry in &self.entries {
            let Some(code) = result.code_of(&entry.commit.partition) else {
                continue;
            };
            if is_alone || !is_of_one_partition(code) {
                may_be_tried_again(entry, code)?;
            }
            is_again |= !is_of_one_partition(code);
        }
        if is_again {
            self.doubtful = true;
            self.repeat(now);
            return Ok(Answer::Again);
        }
        self.state = State::Idle;
        let sent_at = self.sent_at.take().expect("a commit in flight was sent");
        let mut entries = std::mem::take(&mut self.entries);
        for entry in &mut entries {
            entry.refusal = result.code_of(&entry.commit.partition);
        }
        let is_refused = entries.iter().any(|entry| entry.refusal.is_some());
        if self.doubtful && is_refused {
            let all = entries.iter().map(|entry| entry.commit.partition.clone());
            self.in_doubt.extend(all);
        }
        if is_refused && !is_alone {
            // What is kept of it may have come with the first sending.
            return Ok(Answer::Done {
                entries,
                sent_at: self.first_sent_at.unwrap_or(sent_at),
                doubtful: true,
                refused: vec![],
            });
        }
        let refused = |entry: &mut Entry| entry.refusal.is_some();
        let refused = entries.extract_if(.., refused);
        let refused = refused.filter_map(|entry| entry.refusal.map(|code| (entry, code)));
        let refused = refused.collect();
        Ok(Answer::Done {
            entries,
            sent_at,
            doubtful: self.doubtful,
            refused,
        })
    }

    fn repeat(&mut self, now: Instant) {
        self.state = State::RepeatAt(self.again_at(now));
    }
}

/// Whether the broker says this of a partition and not of the group: others of the same commit may be
/// committed.
fn is_of_one_partition(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopicId
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::OffsetMetadataTooLarge
    )
}

/// A partition that was refused is committed again.
///
/// # Errors
/// When only an operator can make that possible.
pub(super) fn may_be_tried_again(entry: &Entry, code: RDKafkaErrorCode) -> Result<(), Halt> {
    let Some(advice) = hopeless(code) else {
        return Ok(());
    };
    let place = &entry.commit.partition;
    let advice = format!("{place}: offsets cannot be committed: {code}: {advice}");
    Err(Halt::new("commit_refused", advice))
}

fn hopeless(code: RDKafkaErrorCode) -> Option<&'static str> {
    match code {
        RDKafkaErrorCode::OffsetMetadataTooLarge => {
            Some("raise the brokers' offset.metadata.max.bytes to 1,024 at least")
        }
        RDKafkaErrorCode::GroupAuthorizationFailed => {
            Some("allow this user to read (and so to commit for) the group")
        }
        RDKafkaErrorCode::TopicAuthorizationFailed => Some("allow this user to read the topic"),
        RDKafkaErrorCode::FencedInstanceId => {
            Some("another process runs with the same service.instance_id: give each its own")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
