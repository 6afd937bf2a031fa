//! Who opens a group, and what says that it was opened.

use super::*;

fn place(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition {
        topic: topic.into(),
        partition,
    }
}

#[test]
fn only_the_member_with_the_first_partition_says_where_the_pipeline_begins() {
    use StartOffset::{Earliest, Fail, Latest};
    let all = [place("b", 0), place("a", 1), place("a", 0), place("b", 1)];
    let of =
        |offset, has_begun, ours: &[TopicPartition]| opening(offset, has_begun, &all, &all, ours);
    assert_eq!(of(Latest, false, &all[2..]), Opening::CommitEnds);
    let first = place("a", 0);
    assert_eq!(of(Latest, false, &all[..2]), Opening::WaitFor(first));
    assert_eq!(of(Latest, true, &all), Opening::HasBegun);
    assert_eq!(of(Fail, false, &all), Opening::Nothing);
    assert_eq!(of(Fail, true, &all[..1]), Opening::HasBegun);
    assert_eq!(of(Earliest, false, &all[..1]), Opening::Nothing);
    assert_eq!(opening(Latest, false, &[], &[], &[]), Opening::Nothing);
}

#[test]
fn ends_of_which_some_were_refused_are_no_beginning() {
    use StartOffset::{Fail, Latest};
    let all = [place("a", 0), place("a", 1), place("b", 0)];
    let offsets = |position, start: Option<i64>| Offsets {
        position,
        metadata: String::new(),
        start: start.map(|at| (at, "id".to_owned())),
    };
    let (start, none) = (offsets(None, Some(7)), offsets(None, None));
    let left = lacking(&all, &[start.clone(), start.clone(), none]);
    assert_eq!(left, all[2..]);
    let of = |offset, left: &[TopicPartition], ours: &[TopicPartition]| {
        opening(offset, false, &all, left, ours)
    };
    assert_eq!(of(Latest, &left, &all[..1]), Opening::CommitEnds);
    let first = place("a", 0);
    assert_eq!(of(Latest, &left, &all[1..]), Opening::WaitFor(first));
    assert_eq!(of(Fail, &left, &all), Opening::Nothing);
    let committed = [start.clone(), start.clone(), start.clone()];
    assert_eq!(begun_meanwhile(&all, &committed), None);
    let committed = [start.clone(), offsets(Some(9), None), start];
    assert_eq!(begun_meanwhile(&all, &committed), Some(&all[1]));
    let left = lacking(&all, &committed);
    assert_eq!(left, []);
    assert_eq!(of(Latest, &left, &all[1..]), Opening::HasBegun);
}

#[test]
fn the_topic_whose_end_was_refused_is_named() {
    let commit = |topic| PartitionCommit {
        partition: place(topic, 0),
        position: 7,
        leader_epoch: -1,
        metadata: format!("of {topic}"),
    };
    let commits = [commit("a"), commit("b")];
    let offsets = |metadata: &str| {
        Ok(Offsets {
            position: Some(7),
            metadata: metadata.to_owned(),
            start: None,
        })
    };
    let error = |code| KafkaError::ConsumerCommit(code);
    let denied = error(RDKafkaErrorCode::TopicAuthorizationFailed);
    let NotYet::Never(halt) = not_started(&denied, &commits, &[offsets("of a"), offsets("")])
    else {
        panic!("nobody but an operator can mend that")
    };
    assert_eq!(halt.reason, "authentication");
    assert!(halt.advice.contains("topic b"));
    let gone = error(RDKafkaErrorCode::UnknownTopicOrPartition);
    let kept = [
        Err(error(RDKafkaErrorCode::UnknownTopicOrPartition)),
        offsets("of b"),
    ];
    let NotYet::Later(why) = not_started(&gone, &commits, &kept) else {
        panic!("it may be created")
    };
    assert!(why.contains("topic a"));
}

#[test]
fn a_start_that_was_committed_is_no_commit_of_an_owner() {
    let text = |counter| format!("sw1 idA 0000000000000005 {counter} db.t -");
    let offsets = |metadata: String| Offsets {
        position: Some(70),
        metadata,
        start: None,
    };
    for kept in [String::new(), "other".into(), text(1), "sw9 x".into()] {
        let kept = offsets(kept);
        assert_eq!(without_starts(vec![kept.clone()]), [kept]);
    }
    let start = &without_starts(vec![offsets(text(0))])[0];
    assert_eq!((start.position, &*start.metadata), (None, ""));
    assert_eq!(start.start, Some((70, "idA".to_owned())));
}

#[test]
fn markers_tell_of_their_own_group() {
    assert_eq!(read_marker("idA my group @7"), Some(("idA", "my group", 7)));
    assert_eq!(read_marker("- g"), Some(("-", "g", 0)));
    assert_eq!(read_marker(""), None);
    let directory = tempfile::tempdir().unwrap();
    let write = |name, text| std::fs::write(directory.path().join(name), text).unwrap();
    write("t-0.started", "idA other");
    write("t-1.snapshot", "idA g");
    assert!(!has_marker(directory.path(), "g"));
    write("t-2.started", "idA g @3");
    assert!(has_marker(directory.path(), "g") && has_marker(directory.path(), "other"));
    assert!(!has_marker(&directory.path().join("nowhere"), "g"));
}
