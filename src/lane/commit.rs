//! The lane's one commit in flight.
//!
//! The broker fences a group's generation, not a partition, so the lane fences itself: one commit
//! at a time, awaited; one of unknown outcome is repeated unchanged and then read back; none is
//! outstanding when partitions are given back.

use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;

use super::ownership::Ownership;
use crate::clock::BootTime;
use crate::halt::Halt;
use crate::progress::{CommitPoint, OwnershipId};
use crate::sink::Backoff;
use crate::source::{CommitResult, PartitionCommit};

/// One partition of the commit in flight.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) ownership: OwnershipId,
    pub(super) commit: PartitionCommit,
    /// The last cut that it names.
    pub(super) cut_number: u64,
    pub(super) counter: u64,
    pub(super) point: Option<CommitPoint>,
}

impl Entry {
    /// What there is to say of a partition.
    ///
    /// # Errors
    /// It does not fit a commit.
    pub(super) fn of<S>(own: &Ownership<S>) -> Result<Self, Halt> {
        let (commit, cut_number, counter) = own.commit().map_err(|error| {
            let advice = format!("{}: {error}: raise pipeline.batch.rows_max", own.partition);
            Halt::new("metadata", advice)
        })?;
        Ok(Entry {
            ownership: own.ledger.ownership(),
            commit,
            cut_number,
            counter,
            point: own.point,
        })
    }
}

/// What came of a commit.
#[derive(Debug)]
pub(super) enum Answer {
    /// Every partition is committed. `sent_at` is when the commit that counts was first sent:
    /// leases run from there. `doubtful`: an earlier sending of it may have been overtaken.
    Done {
        entries: Vec<Entry>,
        sent_at: BootTime,
        doubtful: bool,
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
    sent_at: Option<BootTime>,
    backoff: Option<Backoff>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    InFlight,
    RepeatAt(Instant),
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

    /// Takes over a commit that is about to be sent.
    pub(super) fn sending(&mut self, entries: Vec<Entry>) {
        assert!(self.is_idle(), "one commit at a time");
        self.entries = entries;
        self.doubtful = false;
        self.backoff = None;
        self.sent();
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

    /// Forgets partitions that are no longer ours; repeating for them would be a zombie's commit.
    pub(super) fn retain(&mut self, is_ours: impl Fn(OwnershipId) -> bool) {
        if self.state == State::InFlight {
            return;
        }
        self.entries.retain(|entry| is_ours(entry.ownership));
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
        let code = result
            .error
            .or_else(|| result.partitions.first().map(|p| p.code));
        let Some(code) = code else {
            self.state = State::Idle;
            let sent_at = self.sent_at.take().expect("a commit in flight was sent");
            let entries = std::mem::take(&mut self.entries);
            return Ok(Answer::Done {
                entries,
                sent_at,
                doubtful: self.doubtful,
            });
        };
        if let Some(advice) = hopeless(code) {
            let place = result
                .partitions
                .first()
                .map(|p| format!("{}: ", p.partition));
            let place = place.unwrap_or_default();
            let advice = format!("{place}offsets cannot be committed: {code}: {advice}");
            return Err(Halt::new("commit_refused", advice));
        }
        self.doubtful = true;
        self.repeat(now);
        Ok(Answer::Again)
    }

    fn repeat(&mut self, now: Instant) {
        let backoff = self.backoff.get_or_insert_with(Backoff::new);
        let wait = backoff.next_wait().min(Duration::from_secs(2));
        self.state = State::RepeatAt(now + wait);
    }
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
mod tests {
    use super::*;
    use crate::source::TopicPartition;
    use crate::source::context::PartitionError;

    fn entry(ownership: u64) -> Entry {
        let partition = TopicPartition {
            topic: "t".into(),
            partition: 0,
        };
        let metadata = "m".to_owned();
        let commit = PartitionCommit {
            partition,
            position: 7,
            leader_epoch: -1,
            metadata,
        };
        Entry {
            ownership: OwnershipId(ownership),
            commit,
            cut_number: 3,
            counter: 1,
            point: None,
        }
    }

    fn failed(code: RDKafkaErrorCode) -> CommitResult {
        let partition = TopicPartition {
            topic: "t".into(),
            partition: 0,
        };
        CommitResult {
            error: None,
            partitions: vec![PartitionError { partition, code }],
        }
    }

    const OK: CommitResult = CommitResult {
        error: None,
        partitions: vec![],
    };

    #[test]
    fn a_commit_of_unknown_outcome_is_repeated_unchanged_and_marked_doubtful() {
        let now = Instant::now();
        let mut committer = Committer::default();
        committer.sending(vec![entry(1)]);
        let answer = committer.answered(&failed(RDKafkaErrorCode::RebalanceInProgress), now);
        assert!(matches!(answer, Ok(Answer::Again)));
        assert!(!committer.is_idle() && !committer.is_in_flight());
        let later = now + Duration::from_secs(3);
        assert_eq!(committer.due(later).unwrap()[0].commit.position, 7);
        assert!(committer.is_in_flight());
        let Ok(Answer::Done {
            entries, doubtful, ..
        }) = committer.answered(&OK, later)
        else {
            panic!("acknowledged")
        };
        assert!(doubtful && entries.len() == 1 && committer.is_idle());
    }

    #[test]
    fn a_commit_is_not_repeated_for_partitions_that_were_given_back() {
        let now = Instant::now();
        let mut committer = Committer::default();
        committer.sending(vec![entry(1)]);
        committer.retain(|_| false);
        assert!(committer.is_in_flight(), "an answer is still awaited");
        let _ = committer.answered(&failed(RDKafkaErrorCode::IllegalGeneration), now);
        committer.retain(|_| false);
        assert!(committer.is_idle());
        assert!(committer.due(now + Duration::from_secs(3)).is_none());
    }

    #[test]
    fn a_refusal_that_no_repetition_mends_halts() {
        let mut committer = Committer::default();
        committer.sending(vec![entry(1)]);
        let halt = committer
            .answered(
                &failed(RDKafkaErrorCode::OffsetMetadataTooLarge),
                Instant::now(),
            )
            .unwrap_err();
        assert_eq!(halt.reason, "commit_refused");
        assert!(halt.advice.contains("offset.metadata.max.bytes"));
    }

    #[test]
    fn answers_nobody_asked_for_change_nothing() {
        let mut committer = Committer::default();
        assert!(matches!(
            committer.answered(&OK, Instant::now()),
            Ok(Answer::Stray)
        ));
    }
}
