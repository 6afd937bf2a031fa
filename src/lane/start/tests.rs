//! Where partitions begin.

use super::replica::tests::REPLICA;
use super::*;

pub(super) fn partition() -> TopicPartition {
    TopicPartition {
        topic: "clicks".into(),
        partition: 3,
    }
}

pub(super) fn facts(partition: &TopicPartition) -> Facts<'_> {
    Facts {
        partition,
        group_id: "g",
        table: "db.t",
        start_offset: StartOffset::Earliest,
        first_position: None,
        is_traceable: true,
        committed: None,
        metadata: "",
        topic_id: "idA",
        log: (10, 100),
        highest_written: None,
        seen_before: SeenBefore::Never,
        layout: None,
        replica: None,
        deleted_part_is_written: false,
    }
}

fn text(range_ends: Vec<i64>) -> String {
    let metadata = Metadata {
        topic_id: "idA".into(),
        epoch: Epoch(5),
        is_set_back: false,
        counter: 9,
        table: "db.t".into(),
        range_ends,
        layout: None,
        made_no_rows: false,
        frontier: None,
        watermark_ms: None,
        insert_span_ms: Some(90_000),
    };
    metadata.encode(50).unwrap()
}

fn reason(facts: &Facts<'_>) -> &'static str {
    decide(facts).expect_err("a halt").reason
}

#[test]
fn the_very_first_start_is_where_the_configuration_says() {
    let p = partition();
    assert_eq!(decide(&facts(&p)).unwrap().position, 10);
    let latest = Facts {
        start_offset: StartOffset::Latest,
        ..facts(&p)
    };
    assert_eq!(decide(&latest).unwrap().position, 100);
    assert_eq!(
        reason(&Facts {
            start_offset: StartOffset::Fail,
            ..facts(&p)
        }),
        "no_offset"
    );
}

#[test]
fn a_start_that_was_committed_is_kept_whatever_has_arrived_since() {
    let p = partition();
    let started = |position| Facts {
        first_position: Some(position),
        ..facts(&p)
    };
    assert_eq!(decide(&started(40)).unwrap().position, 40);
    assert_eq!(decide(&started(40)).unwrap().epoch, None);
    // Retention was faster.
    assert_eq!(reason(&started(4)), "out_of_range");
    let expired = Facts {
        highest_written: Some(30),
        ..started(40)
    };
    assert_eq!(reason(&expired), "offsets_vanished");
}

#[test]
fn where_no_row_tells_of_its_record_another_topic_halts_until_offsets_are_set() {
    let p = partition();
    let another = Facts {
        is_traceable: false,
        seen_before: SeenBefore::AnotherTopic { epoch: 0 },
        ..facts(&p)
    };
    assert_eq!(reason(&another), "topic_changed");
    let set = Facts {
        committed: Some(20),
        ..another
    };
    assert_eq!(decide(&set).unwrap().position, 20);
}

#[test]
fn a_vanished_offset_halts_where_rows_or_a_marker_tell_of_an_earlier_run() {
    let p = partition();
    assert_eq!(
        reason(&Facts {
            highest_written: Some(7),
            ..facts(&p)
        }),
        "offsets_vanished"
    );
    assert_eq!(
        reason(&Facts {
            seen_before: SeenBefore::ThisTopic,
            ..facts(&p)
        }),
        "offsets_vanished"
    );
}

#[test]
fn named_ranges_are_replayed_with_the_epoch_they_were_named_under() {
    let p = partition();
    let metadata = text(vec![60, 80]);
    let facts = Facts {
        committed: Some(50),
        metadata: &metadata,
        ..facts(&p)
    };
    let expected = Start {
        position: 50,
        read_from: 50,
        epoch: Some(Epoch(5)),
        counter: 9,
        range_ends: vec![60, 80],
        look_below: 0,
        frontier: None,
        watermark_ms: None,
        insert_span: Duration::from_secs(90),
    };
    assert_eq!(decide(&facts).unwrap(), expected);
}

#[test]
fn a_run_does_not_stop_inside_of_a_range_that_a_predecessor_named() {
    let p = partition();
    let metadata = text(vec![60, 80]);
    let facts = Facts {
        committed: Some(50),
        metadata: &metadata,
        ..facts(&p)
    };
    let start = decide(&facts).unwrap();
    for (target, stop_at) in [
        (0, 0),
        (50, 50),
        (51, 60),
        (60, 60),
        (61, 80),
        (80, 80),
        (81, 81),
    ] {
        assert_eq!(start.stop_at(target), stop_at, "{target}");
    }
}

#[test]
fn a_reset_group_looks_up_what_the_table_already_has() {
    let p = partition();
    let facts = Facts {
        committed: Some(10),
        metadata: "",
        highest_written: Some(70),
        ..facts(&p)
    };
    let start = decide(&facts).unwrap();
    assert_eq!((start.epoch, start.look_below), (None, 71));
}

#[test]
fn a_reset_group_looks_up_all_of_it_although_it_was_started_once_more() {
    let partition = partition();
    let named = text(vec![60, 80]);
    let again = Facts {
        committed: Some(50),
        metadata: &named,
        highest_written: Some(95),
        ..facts(&partition)
    };
    let start = decide(&again).unwrap();
    assert_eq!((start.range_ends, start.look_below), (vec![60, 80], 96));
    // The last rows of old are within the named ranges, and only the commit knows.
    let set_back = named.replacen(" 000", " +000", 1);
    let again = Facts {
        metadata: &set_back,
        highest_written: None,
        ..again
    };
    let start = decide(&again).unwrap();
    assert_eq!((start.range_ends, start.look_below), (vec![60, 80], 80));
}

#[test]
fn another_topic_of_the_same_name_halts() {
    let p = partition();
    let metadata = text(vec![]);
    let facts = Facts {
        committed: Some(50),
        metadata: &metadata,
        topic_id: "idB",
        ..facts(&p)
    };
    assert_eq!(reason(&facts), "topic_changed");
}

#[test]
fn a_reset_does_not_take_the_rows_of_a_deleted_topic_for_those_of_its_successor() {
    let p = partition();
    let reset = Facts {
        committed: Some(10),
        seen_before: SeenBefore::AnotherTopic { epoch: 0 },
        highest_written: Some(70),
        ..facts(&p)
    };
    assert_eq!(reason(&reset), "topic_changed");
    let set_aside = Facts {
        highest_written: None,
        ..reset
    };
    assert_eq!(decide(&set_aside).unwrap().look_below, 0);
}

#[test]
fn rows_of_a_deleted_topic_hide_those_of_its_successor_until_there_is_a_new_epoch() {
    let p = partition();
    let of_epoch = |epoch| Facts {
        seen_before: SeenBefore::AnotherTopic { epoch: 1 },
        layout: Some(Layout {
            partitions: 4,
            epoch,
        }),
        ..facts(&p)
    };
    let halt = decide(&of_epoch(1)).unwrap_err();
    assert_eq!(halt.reason, "topic_changed");
    assert!(halt.advice.contains("epoch = 2"), "{}", halt.advice);
    assert_eq!(decide(&of_epoch(2)).unwrap().position, 10);
}

#[test]
fn rows_newer_than_the_log_hide_its_records_although_nobody_remembers_another_topic() {
    let p = partition();
    let layout = Layout {
        partitions: 4,
        epoch: 2,
    };
    let hidden = Facts {
        replica: Some(ReplicaFacts {
            newest_version: Some(layout.version(7_000)),
            newer_version: Some(layout.version(7_000)),
            ..REPLICA
        }),
        layout: Some(layout),
        ..facts(&p)
    };
    let halt = decide(&hidden).unwrap_err();
    assert_eq!(halt.reason, "topic_changed");
    for words in ["offset 7000 and epoch 2", "epoch = 3"] {
        assert!(halt.advice.contains(words), "{}", halt.advice);
    }
}

#[test]
fn more_partitions_need_a_new_epoch() {
    let check = |partitions, epoch| {
        let layout = |partitions, epoch| Layout { partitions, epoch };
        check_layout(&partition(), "g", layout(4, 0), layout(partitions, epoch))
    };
    assert!(check(4, 0).is_ok() && check(4, 1).is_ok() && check(6, 1).is_ok());
    assert_eq!(check(6, 0).unwrap_err().reason, "partitions_changed");
}

#[test]
fn another_table_halts_while_ranges_are_unfinished_and_starts_afresh_after() {
    let p = partition();
    let open = text(vec![60]);
    let drained = text(vec![]);
    let with = |metadata| Facts {
        committed: Some(50),
        metadata,
        table: "db.other",
        highest_written: Some(20),
        ..facts(&p)
    };
    assert_eq!(reason(&with(&open)), "target_changed");
    let start = decide(&with(&drained)).unwrap();
    assert_eq!((start.epoch, start.look_below), (None, 21));
}

#[test]
fn offsets_outside_the_log_halt_unless_the_table_has_them() {
    let p = partition();
    let below = Facts {
        committed: Some(4),
        ..facts(&p)
    };
    assert_eq!(reason(&below), "out_of_range");
    let written = Facts {
        committed: Some(4),
        deleted_part_is_written: true,
        ..facts(&p)
    };
    let start = decide(&written).unwrap();
    assert_eq!((start.position, start.read_from), (4, 10));
    assert_eq!(
        reason(&Facts {
            committed: Some(101),
            ..facts(&p)
        }),
        "out_of_range"
    );
}

#[test]
fn rows_of_records_that_the_cluster_lost_are_set_aside_before_the_offset_is_reset() {
    let p = partition();
    let (whole, cut) = (text(vec![60, 100]), text(vec![60, 101]));
    let ended = |committed, metadata| Facts {
        committed: Some(committed),
        metadata,
        ..facts(&p)
    };
    assert!(decide(&ended(50, &whole)).is_ok());
    for (facts, to) in [(ended(101, ""), "--to 100`"), (ended(50, &cut), "--to 50`")] {
        let halt = decide(&facts).unwrap_err();
        assert_eq!(halt.reason, "out_of_range");
        for words in ["ends at 100", "partition 3 and offsets from 100 on", to] {
            assert!(halt.advice.contains(words), "{}", halt.advice);
        }
    }
    let replica = Facts {
        layout: Some(Layout {
            partitions: 4,
            epoch: 1,
        }),
        ..ended(101, "")
    };
    let advice = decide(&replica).unwrap_err().advice;
    assert!(advice.contains("epoch = 2"), "{advice}");
}

#[test]
fn metadata_of_a_later_version_halts() {
    let p = partition();
    let facts = Facts {
        committed: Some(50),
        metadata: "sw9 x",
        ..facts(&p)
    };
    assert_eq!(reason(&facts), "metadata");
    let advice = decide(&facts).err().unwrap().advice;
    assert!(advice.contains("--partition 3 --to 50"), "{advice}");
    assert!(!advice.contains("join"), "{advice}");
    let of_join = Facts {
        is_traceable: false,
        table: "topic:out",
        ..facts
    };
    let advice = decide(&of_join).err().unwrap().advice;
    assert!(advice.contains("may be made again"), "{advice}");
}

#[test]
fn nothing_is_read_while_a_rebuild_exchanges_the_table() {
    let p = partition();
    let facts = Facts {
        committed: Some(50),
        metadata: "sw-swap 1f sw1 id 0000000000000007 3 db.t -",
        ..facts(&p)
    };
    assert_eq!(reason(&facts), "metadata");
    let advice = decide(&facts).err().unwrap().advice;
    assert!(advice.contains("streamweir rebuild"), "{advice}");
}
