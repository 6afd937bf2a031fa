//! Nothing is lost, doubled or changed when the network, a server, the disk, the clock or the topic
//! fails: short runs of the fault programme, which `make soak` runs at length.

use crate::programme;
use crate::programme::short;

#[test]
fn lost_replies_double_nothing() {
    short("lost-replies");
}

#[test]
fn replies_that_are_held_double_nothing() {
    short("held-replies");
}

#[test]
fn replies_that_come_late_double_nothing() {
    short("slow-replies");
}

#[test]
fn duplicated_inserts_double_nothing() {
    short("duplicates");
}

#[test]
fn refused_inserts_are_tried_again() {
    short("refusals");
}

#[test]
fn cut_connections_lose_and_double_nothing() {
    short("cuts");
}

#[test]
fn a_server_killed_during_inserts_loses_and_doubles_nothing() {
    short("clickhouse-killed");
}

#[test]
fn a_broker_that_restarts_loses_and_doubles_nothing() {
    short("broker-restarted");
}

#[test]
fn events_wait_for_a_lookup_that_does_not_answer_and_keep_their_profiles() {
    short("redis-away");
}

#[test]
fn events_get_defaults_when_that_is_asked_for_and_are_counted() {
    short("redis-defaults");
}

#[test]
fn a_table_is_rebuilt_and_exchanged_while_daemon_and_rebuild_are_killed() {
    short("rebuild");
}

#[test]
fn a_replica_is_rebuilt_and_exchanged_while_daemon_and_rebuild_are_killed() {
    short("rebuild-cdc");
}

#[test]
fn windows_are_rebuilt_and_exchanged_while_daemon_and_rebuild_are_killed() {
    short("rebuild-windows");
}

#[test]
fn sessions_are_rebuilt_and_exchanged_while_daemon_and_rebuild_are_killed() {
    short("rebuild-sessions");
}

#[test]
fn a_full_disk_stops_nothing() {
    short("full-disk");
}

#[test]
fn a_clock_that_jumps_changes_nothing() {
    short("clock-jumps");
}

#[test]
fn a_group_set_back_to_the_beginning_doubles_nothing() {
    short("group-reset");
}

#[test]
fn a_topic_created_again_halts_and_goes_on_as_advised() {
    short("topic-recreated");
}

#[test]
fn an_insert_into_many_table_partitions_is_written_once() {
    short("101-months");
}

#[test]
fn a_table_that_takes_nothing_stops_no_other() {
    short("sick-table");
}

#[test]
fn hostile_requests_harm_neither_lanes_nor_memory() {
    short("hostile-requests");
}

#[test]
fn created_pipelines_are_whole_or_not_there_after_kills() {
    short("control-kills");
}

// One pair of ClickHouse replicas is for all trials, which have it one after the other: tests that stand beside
// each other would wait for it at the same time.

#[test]
fn events_are_once_on_both_replicas_whatever_fails() {
    short("replicated-events");
}

#[test]
fn a_quorum_that_cannot_be_had_loses_and_doubles_nothing() {
    short("replicated-quorum");
}

#[test]
fn rows_that_a_server_may_still_drop_settle_nothing() {
    short("replicated-set-back");
}

#[test]
fn the_oldest_engine_keeps_every_promise() {
    short("version-clickhouse-24.8");
}

#[test]
fn every_fault_of_the_programme_has_a_short_run() {
    let tests = [
        include_str!("four_pipelines.rs"),
        include_str!("crash.rs"),
        include_str!("faults.rs"),
        include_str!("replica_faults.rs"),
        include_str!("window_faults.rs"),
        include_str!("join_faults.rs"),
    ]
    .concat();
    let page = include_str!("../docs/faults.md");
    for trial in programme::all() {
        let is_run = tests.contains(&format!("short(\"{}\")", trial.name));
        // One test runs all crash points of a kind.
        let is_point = ["crash-", "cdc-crash-", "win-crash-", "join-crash-"]
            .iter()
            .any(|prefix| trial.name.starts_with(prefix));
        // Servers that only `make test-versions` fetches.
        let is_fetched_apart = trial.name.starts_with("version-");
        assert!(is_run || is_point || is_fetched_apart, "{}", trial.name);
        let is_named = page.contains(&trial.name);
        assert!(is_named || is_point, "docs/faults.md: {}", trial.name);
    }
}
