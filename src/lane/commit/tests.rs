//! Answers to commits, and what is read back.

use super::*;
use crate::source::{Offsets, PartitionError};

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
        seal_number: 3,
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
fn a_commit_that_is_not_repeated_leaves_its_partition_in_doubt_and_no_other() {
    let now = Instant::now();
    let other = || {
        let mut entry = entry(2);
        entry.commit.partition.partition = 1;
        entry
    };
    let mut committer = Committer::default();
    let is_doubtful = |committer: &mut Committer| match committer.answered(&OK, now) {
        Ok(Answer::Done { doubtful, .. }) => doubtful,
        answer => panic!("acknowledged: {answer:?}"),
    };
    committer.sending(vec![entry(1), other()]);
    let moved = failed(RDKafkaErrorCode::NotCoordinator);
    assert!(matches!(committer.answered(&moved, now), Ok(Answer::Again)));
    // Rewound: it is read again under another ownership.
    committer.retain(|ownership| ownership != OwnershipId(1));
    assert_eq!(
        committer.due(now + Duration::from_secs(3)).map(<[_]>::len),
        Some(1)
    );
    assert!(is_doubtful(&mut committer));
    committer.sending(vec![other()]);
    assert!(!is_doubtful(&mut committer));
    for doubtful in [true, false] {
        committer.sending(vec![entry(3)]);
        assert_eq!(is_doubtful(&mut committer), doubtful);
    }
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
    assert_eq!(judged(&offsets(6, ""), true), Kept::Another);
    let gone = Offsets {
        position: None,
        ..offsets(7, "")
    };
    assert_eq!(judged(&gone, true), Kept::Another);
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
