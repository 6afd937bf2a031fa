//! The lane's one commit in flight.
//!
//! The broker fences a group's generation, not a partition, so the lane fences itself: one commit
//! at a time, awaited; one of unknown outcome is repeated unchanged and then read back, as often as it
//! takes, before anything is done on the strength of it; none is outstanding when partitions are given
//! back. librdkafka says the error of one partition of all that were committed with it, so an answer with
//! errors is read back as well.

use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;

use super::ownership::Ownership;
use crate::clock::BootTime;
use crate::halt::Halt;
use crate::progress::{CommitPoint, Metadata, OwnershipId};
use crate::sink::Backoff;
use crate::source::{CommitResult, Offsets, PartitionCommit, TopicPartition};

/// One partition of the commit in flight.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) ownership: OwnershipId,
    pub(super) commit: PartitionCommit,
    /// The last cut that it names.
    pub(super) cut_number: u64,
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
    /// The next commit says again what is in doubt of a partition.
    is_doubt_left: bool,
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

    /// Whether what was sent of a partition may still change what the broker tells of it.
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
        self.entries = entries;
        self.doubtful = std::mem::take(&mut self.is_doubt_left);
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
    pub(super) fn leave_in_doubt(&mut self) {
        self.is_doubt_left = true;
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
        self.is_doubt_left |= self.doubtful && is_refused;
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

/// What of a commit was read back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kept {
    AsCommitted,
    /// The same offset, without the text beside it, which is not needed.
    OffsetAlone,
    /// Another member has committed since.
    Later,
    /// The broker keeps no text beside offsets.
    NoMetadata,
    Another,
    /// The broker has refused it, and keeps what was committed before.
    Refused(RDKafkaErrorCode),
}

/// Compares what the broker keeps of a partition with what was committed.
pub(super) fn kept(entry: &Entry, kept: &Offsets, needs_metadata: bool) -> Kept {
    if kept.metadata == entry.commit.metadata {
        return Kept::AsCommitted;
    }
    let theirs = kept
        .position
        .and_then(|p| Metadata::decode(&kept.metadata, p).ok()?);
    if theirs.is_some_and(|m| m.counter > entry.counter) {
        return Kept::Later;
    }
    let is_same_offset = kept.position == Some(entry.commit.position);
    match (kept.metadata.is_empty(), needs_metadata, entry.refusal) {
        (true, false, _) if is_same_offset => Kept::OffsetAlone,
        (_, _, Some(code)) => Kept::Refused(code),
        (true, true, None) => Kept::NoMetadata,
        _ => Kept::Another,
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
mod tests {
    use super::*;
    use crate::source::PartitionError;

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
            refusal: None,
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
    fn a_doubtful_commit_is_read_back_until_that_works_and_nothing_is_committed_meanwhile() {
        let now = Instant::now();
        let mut committer = Committer::default();
        let sent_at = BootTime::now();
        committer.await_read_back(vec![entry(1)], sent_at, now);
        assert!(!committer.is_idle() && !committer.is_in_flight());
        assert!(committer.due(now + Duration::from_secs(9)).is_none());
        for _ in 0..20 {
            let (entries, sent) = committer.read_back_due(now).expect("its time has come");
            assert_eq!((entries.len(), sent), (1, sent_at));
            let at = committer.again_at(now);
            assert!(at <= now + Duration::from_secs(2));
            committer.await_read_back(entries, sent, at);
            assert!(
                committer
                    .read_back_due(now - Duration::from_secs(1))
                    .is_none()
            );
            let (entries, sent) = committer.read_back_due(at).expect("again");
            committer.await_read_back(entries, sent, now);
        }
        // Partitions that were given back are nobody's to ask about.
        committer.retain(|_| false);
        assert!(committer.is_idle());
    }

    #[test]
    fn an_answer_with_errors_says_nothing_of_one_partition_before_it_is_read_back() {
        let now = Instant::now();
        let other = |ownership| {
            let mut entry = entry(ownership);
            entry.commit.partition.partition = 1;
            entry
        };
        let mut committer = Committer::default();
        for code in [
            RDKafkaErrorCode::UnknownTopicOrPartition,
            RDKafkaErrorCode::TopicAuthorizationFailed,
            RDKafkaErrorCode::OffsetMetadataTooLarge,
        ] {
            committer.sending(vec![entry(1), other(2)]);
            // As librdkafka says it: of one partition, and so of all.
            let mut refused = failed(code);
            refused.error = Some(code);
            let Ok(Answer::Done {
                entries,
                doubtful: true,
                refused,
                ..
            }) = committer.answered(&refused, now)
            else {
                panic!("to be read back")
            };
            let refusals: Vec<_> = entries.iter().map(|entry| entry.refusal).collect();
            assert_eq!(refusals, [Some(code); 2]);
            assert!(refused.is_empty() && committer.is_idle());
        }
        // What the coordinator says is of all of them, whichever it names.
        committer.sending(vec![entry(1), other(2)]);
        let moved = failed(RDKafkaErrorCode::NotCoordinator);
        assert!(matches!(committer.answered(&moved, now), Ok(Answer::Again)));
        // One that is refused after a doubtful sending stays in doubt.
        committer.due(now + Duration::from_secs(3)).expect("again");
        let gone = failed(RDKafkaErrorCode::UnknownTopicOrPartition);
        let _ = committer.answered(&gone, now);
        committer.sending(vec![entry(1)]);
        let Ok(Answer::Done { doubtful, .. }) = committer.answered(&OK, now) else {
            panic!("acknowledged")
        };
        assert!(doubtful);
    }

    #[test]
    fn a_partition_that_was_committed_alone_is_refused_at_once() {
        let mut committer = Committer::default();
        committer.sending(vec![entry(1)]);
        let gone = failed(RDKafkaErrorCode::UnknownTopicOrPartition);
        let Ok(Answer::Done {
            entries, refused, ..
        }) = committer.answered(&gone, Instant::now())
        else {
            panic!("refused")
        };
        assert_eq!(refused[0].0.ownership, OwnershipId(1));
        assert!(entries.is_empty() && committer.is_idle());
    }

    #[test]
    fn what_is_read_back_is_compared_with_what_was_committed() {
        let offsets = |position, metadata: &str| Offsets {
            position: Some(position),
            metadata: metadata.to_owned(),
            start: None,
        };
        let judged = |offsets: &Offsets, needs| kept(&entry(1), offsets, needs);
        assert_eq!(judged(&offsets(7, "m"), true), Kept::AsCommitted);
        assert_eq!(judged(&offsets(7, ""), true), Kept::NoMetadata);
        assert_eq!(judged(&offsets(7, ""), false), Kept::OffsetAlone);
        assert_eq!(judged(&offsets(6, ""), false), Kept::Another);
        let ours = |counter| format!("sw1 - 0000000000000001 {counter} t -");
        assert_eq!(judged(&offsets(9, &ours(2)), true), Kept::Later);
        assert_eq!(judged(&offsets(9, &ours(1)), true), Kept::Another);
        // The error of another partition, or its own.
        let code = RDKafkaErrorCode::UnknownTopicOrPartition;
        let mut refused = entry(1);
        refused.refusal = Some(code);
        let judged = |offsets: &Offsets, needs| kept(&refused, offsets, needs);
        assert_eq!(judged(&offsets(7, "m"), true), Kept::AsCommitted);
        assert_eq!(judged(&offsets(7, ""), false), Kept::OffsetAlone);
        assert_eq!(judged(&offsets(7, ""), true), Kept::Refused(code));
        assert_eq!(judged(&offsets(6, ""), false), Kept::Refused(code));
        assert_eq!(judged(&offsets(9, &ours(1)), true), Kept::Refused(code));
        assert_eq!(judged(&offsets(9, &ours(2)), true), Kept::Later);
        assert!(may_be_tried_again(&refused, code).is_ok());
        let denied = RDKafkaErrorCode::TopicAuthorizationFailed;
        let halt = may_be_tried_again(&refused, denied).unwrap_err();
        assert!(halt.advice.contains("t:0"));
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
