//! Offsets that cannot be trusted, and starts that the configuration decides.

use sandbox::topic::{self, Committed};

use crate::support::Job;

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
    let advice = ["--reset-offsets", job.group.as_str(), "offset 4"];
    job.assert_halts("a", "offsets_vanished", &advice);
    // Rows elsewhere: the state directory alone remembers.
    job.query("TRUNCATE TABLE {db}.clickstream_events");
    job.assert_halts(
        "b",
        "offsets_vanished",
        &["--reset-offsets", "this instance"],
    );
    let elsewhere = job.directory.path().join("elsewhere");
    job.set("service.state_dir", elsewhere.display().to_string());
    job.run_to_end();
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
