//! Offsets that cannot be trusted, and starts that the configuration decides.

use sandbox::topic::{self, Committed};

use crate::support::{Job, PATIENCE};

/// Five events written and committed.
fn started(name: &str) -> Job {
    let job = Job::new(name);
    job.apply_schema();
    job.create_topic(1);
    job.produce_events(0, 0..5);
    job.run_to_end();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (5, 5));
    job
}

#[test]
fn the_first_start_is_where_the_configuration_says() {
    let mut job = Job::new("first");
    job.apply_schema();
    job.create_topic(1);
    job.produce_events(0, 0..5);
    job.set("pipeline.start_offset", "fail");
    let advice = ["start_offset", "earliest", job.group.as_str()];
    job.assert_halts("fail", "no_offset", &advice);
    job.set("pipeline.start_offset", "latest");
    let daemon = job.start("latest", &[], "");
    daemon.wait_for_log("partition begins");
    job.produce_events(0, 5..8);
    job.wait_for_rows(3);
    daemon.stop();
    job.assert_committed_to_end();
    assert_eq!(
        job.query("SELECT min(_offset), count() FROM {db}.clickstream_events"),
        "5\t3"
    );
    // Only the very first start: now there is an offset.
    job.set("pipeline.start_offset", "fail");
    job.produce_events(0, 8..9);
    job.run_to_end();
    assert_eq!(job.rows_and_offsets(), (4, 4));
}

#[test]
fn latest_is_kept_over_a_restart_although_nothing_arrived() {
    let mut job = Job::new("quiet");
    job.apply_schema();
    job.create_topic(1);
    job.produce_events(0, 0..5);
    job.set("pipeline.start_offset", "latest");
    let daemon = job.start("a", &[], "");
    daemon.wait_for_log("partition begins");
    daemon.stop();
    job.produce_events(0, 5..7);
    job.run_to_end();
    assert_eq!(
        job.query("SELECT min(_offset), count() FROM {db}.clickstream_events"),
        "5\t2"
    );
}

#[test]
fn latest_is_for_the_very_first_start_and_what_appears_later_is_read_from_its_beginning() {
    let mut job = Job::new("later");
    job.apply_schema();
    job.create_topic(2);
    job.produce_events(0, 0..5);
    job.produce_events(1, 0..5);
    job.set("pipeline.start_offset", "latest");
    job.set("pipeline.topics", vec![format!("^{}.*", job.topic)]);
    // New partitions and topics are seen soon.
    let properties = toml::toml! { "topic.metadata.refresh.interval.ms" = 300 };
    job.set("kafka.properties", properties);
    // Members that start at the same moment agree on where the pipeline begins.
    let members = [job.start("a", &[], ""), job.start("b", &[], "")];
    for member in &members {
        member.wait_for_log("partition begins");
    }
    job.produce_events(0, 5..8);
    job.produce_events(1, 5..9);
    job.wait_for_rows(7);
    topic::add_partitions(job.bootstrap(), &job.topic, 3).expect("a partition more");
    job.produce_events(2, 0..20);
    let first = job.topic.clone();
    job.topic = format!("{first}-more");
    job.create_topic(1);
    job.produce_events(0, 0..30);
    job.wait_for_rows(57);
    for member in members {
        member.stop();
    }
    let seen = job.query(
        "SELECT _partition, min(_offset), count() FROM {db}.clickstream_events \
         GROUP BY _topic, _partition ORDER BY _topic, _partition FORMAT TSV",
    );
    assert_eq!(seen, "0\t5\t3\n1\t5\t4\n2\t0\t20\n0\t0\t30");
    // A topic that the configuration names later.
    let other = format!("{}other", job.prefix);
    job.topic = other.clone();
    job.create_topic(1);
    job.produce_events(0, 0..4);
    job.set("pipeline.topics", vec![first, other]);
    job.run_to_end();
    assert_eq!(job.rows_and_offsets(), (61, 61));
}

#[test]
fn a_topic_that_is_created_again_while_it_is_read_halts_and_nothing_of_the_new_one_is_written() {
    // Longer than the old one was, with another number of partitions, at once or after a while.
    for (name, waits, partitions) in [("at-once", false, 2), ("later", true, 1)] {
        let job = Job::new(name);
        job.apply_schema();
        job.create_topic(1);
        job.produce_events(0, 0..10);
        let daemon = job.start("a", &[], "");
        job.wait_for_rows(10);
        topic::delete(job.bootstrap(), &job.topic).expect("deleted");
        if waits {
            let says = format!("waits for topic {}, which does not exist", job.topic);
            let is_said = || {
                let (status, body) = daemon.get("/readyz")?;
                (status == 503 && body.contains(&says)).then_some(())
            };
            sandbox::wait::until("it says so", PATIENCE, is_said)
                .unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
        }
        job.create_topic(partitions);
        job.produce_events(0, 0..15);
        let status = daemon.process.wait(PATIENCE);
        let status = status.unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
        let log = daemon.log();
        assert_eq!(status.code(), Some(4), "{log}");
        let advice = ["reason=\"topic_changed\"", &job.topic, &job.group, "_topic"];
        for words in advice {
            assert!(log.contains(words), "{words}: {log}");
        }
        assert_eq!(job.rows_and_offsets(), (10, 10));
    }
}

#[test]
fn a_topic_that_is_deleted_while_it_is_read_holds_no_other_up() {
    let mut job = Job::new("beside");
    job.apply_schema();
    job.create_topic(1);
    let stays = job.topic.clone();
    let gone = format!("{stays}-gone");
    job.topic = gone.clone();
    job.create_topic(1);
    job.set("pipeline.topics", vec![stays.clone(), gone.clone()]);
    job.produce_events(0, 0..10);
    job.topic = stays;
    job.produce_events(0, 0..10);
    let daemon = job.start("a", &[], "");
    job.wait_for_rows(20);
    // Both have something to commit when one of them goes.
    job.topic = gone.clone();
    job.produce_events(0, 10..20);
    topic::delete(job.bootstrap(), &gone).expect("deleted");
    job.topic = gone.replace("-gone", "");
    job.produce_events(0, 10..2000);
    job.wait_for_commits_to_end();
    let kept = format!(
        "SELECT count(), uniqExact(_offset) FROM {{db}}.clickstream_events WHERE _topic = '{}'",
        job.topic
    );
    assert_eq!(job.query(&kept), "2000\t2000");
    drop(daemon);
}

#[test]
fn offsets_that_retention_deleted_unread_halt_and_are_named() {
    let job = started("retention");
    job.produce_events(0, 5..20);
    topic::delete_records_before(job.bootstrap(), &job.topic, 0, 12).expect("deleted");
    let place = format!("{}:0", job.topic);
    job.assert_halts(
        "a",
        "out_of_range",
        &[&place, "offsets 5 to 11", "retention"],
    );
    // What the advice says works.
    let committed = Committed {
        offset: 12,
        metadata: String::new(),
    };
    topic::commit(job.bootstrap(), &job.group, &job.topic, 0, &committed).expect("committed");
    job.run_to_end();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (13, 13));
}

#[test]
fn a_committed_offset_beyond_the_end_of_the_log_halts_a_bounded_run_too() {
    let job = started("beyond");
    let committed = Committed {
        offset: 100,
        metadata: String::new(),
    };
    topic::commit(job.bootstrap(), &job.group, &job.topic, 0, &committed).expect("committed");
    let place = format!("{}:0", job.topic);
    job.assert_halts("a", "out_of_range", &[&place, "100", "ends at 5"]);
}

#[test]
fn a_topic_that_was_deleted_and_created_again_halts_until_the_group_is_reset() {
    let job = started("again");
    topic::delete(job.bootstrap(), &job.topic).expect("deleted");
    job.create_topic(1);
    job.produce_events(0, 0..9);
    let advice = ["deleted and created again", "group_id", job.group.as_str()];
    let (code, log) = job.run_to_code("a", &["--until", "latest"]);
    // Deleting a topic deletes the group's offsets of it: either way the start is refused.
    assert_eq!(code, 4, "{log}");
    let told = advice.iter().all(|words| log.contains(words)) && log.contains("topic_changed");
    let vanished = log.contains("offsets_vanished") && log.contains(&job.group);
    assert!(told || vanished, "{log}");
    // The tools of old keep the offset: then the topic's id tells.
    let metadata = format!(
        "sw1 AAAAAAAAAAAAAAAAAAAAAA 0000000000000001 3 {}.clickstream_events -",
        job.database
    );
    let committed = Committed {
        offset: 5,
        metadata,
    };
    topic::commit(job.bootstrap(), &job.group, &job.topic, 0, &committed).expect("committed");
    job.assert_halts("b", "topic_changed", &advice);
}

#[test]
fn a_group_whose_offsets_vanished_halts_where_the_table_has_its_rows() {
    let mut job = started("vanished");
    topic::delete_group(job.bootstrap(), &job.group).expect("deleted");
    let advice = ["streamweir offsets reset", job.group.as_str(), "offset 4"];
    job.assert_halts("a", "offsets_vanished", &advice);
    // Rows elsewhere: the state directory alone remembers.
    job.query("TRUNCATE TABLE {db}.clickstream_events");
    job.assert_halts(
        "b",
        "offsets_vanished",
        &["streamweir offsets reset", "this instance"],
    );
    let elsewhere = job.directory.path().join("elsewhere");
    job.set("service.state_dir", elsewhere.display().to_string());
    job.run_to_end();
    assert_eq!(job.rows_and_offsets(), (5, 5));
}

#[test]
fn a_commit_that_cannot_be_read_back_is_asked_for_again_before_anything_is_written() {
    let job = Job::new("unread");
    job.apply_schema();
    job.create_topic(1);
    job.produce_events(0, 0..5);
    let daemon = job.start("a", &["--until", "latest"], "read_back_fails=4*return");
    let status = daemon.process.wait(PATIENCE).expect("the run ends");
    let log = daemon.log();
    assert!(status.success(), "{status}: {log}");
    // The log has it once, and how often it was when it is over.
    let lines: Vec<_> = log
        .lines()
        .filter(|l| l.contains("commits fail and are repeated"))
        .collect();
    let [first, over] = lines[..] else {
        panic!("{log}");
    };
    assert!(first.contains("the commit is not read back yet"), "{first}");
    assert!(
        over.contains("recovered after") && over.contains("count=4"),
        "{over}"
    );
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (5, 5));
}

#[test]
fn a_group_reset_to_the_beginning_reads_again_and_doubles_nothing() {
    let job = started("reset");
    job.query(
        "ALTER TABLE {db}.clickstream_events DELETE WHERE _offset = 2 SETTINGS mutations_sync = 2",
    );
    assert_eq!(job.rows_and_offsets(), (4, 4));
    let committed = Committed {
        offset: 0,
        metadata: String::new(),
    };
    topic::commit(job.bootstrap(), &job.group, &job.topic, 0, &committed).expect("committed");
    job.produce_events(0, 5..9);
    job.run_to_end();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (9, 9));
}
