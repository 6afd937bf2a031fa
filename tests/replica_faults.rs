//! Replicas end equal to their sources, whatever dies, stands still or answers late: short runs of the
//! fault programme, which `make soak` runs at length.

use crate::programme::{every_crash_point_of_a_replica_once, short};

#[test]
fn a_daemon_killed_at_any_crash_point_leaves_replicas_equal() {
    every_crash_point_of_a_replica_once();
}

#[test]
fn kills_at_random_moments_leave_replicas_equal() {
    short("cdc-kills");
}

#[test]
fn two_processes_killed_stopped_and_frozen_leave_replicas_equal() {
    short("cdc-two-members");
}

#[test]
fn three_processes_killed_stopped_and_frozen_leave_replicas_equal() {
    short("cdc-three-members");
}

#[test]
fn inserts_that_arrive_after_the_takeover_change_nothing() {
    short("cdc-late-insert");
}

#[test]
fn rows_completed_by_a_process_that_wakes_after_the_takeover_change_nothing() {
    short("cdc-late-statements");
}

#[test]
fn a_group_set_back_to_the_beginning_leaves_replicas_equal() {
    short("cdc-group-reset");
}

#[test]
fn columns_that_come_between_two_lives_leave_replicas_equal() {
    short("cdc-columns");
}

#[test]
fn lost_held_late_and_doubled_replies_leave_replicas_equal() {
    short("cdc-replies");
}

#[test]
fn refused_and_cut_requests_leave_replicas_equal() {
    short("cdc-refusals");
}

#[test]
fn a_server_killed_at_any_moment_leaves_replicas_equal() {
    short("cdc-clickhouse-killed");
}

#[test]
fn a_broker_that_restarts_leaves_replicas_equal() {
    short("cdc-broker-restarted");
}

#[test]
fn a_postgresql_database_and_its_replicas_are_equal_whoever_between_them_is_killed() {
    short("cdc-live-postgresql");
}

#[test]
fn a_mariadb_database_and_its_replicas_are_equal_whoever_between_them_is_killed() {
    short("cdc-live-mariadb");
}

/// Skipped where `tests/sandbox/install.sh registry` has not been run.
#[test]
fn a_postgresql_database_is_equal_through_avro_and_a_schema_registry() {
    short("cdc-avro-postgresql");
}

/// As above.
#[test]
fn a_mariadb_database_is_equal_through_avro_and_a_schema_registry() {
    short("cdc-avro-mariadb");
}

#[test]
fn replicas_of_a_source_are_equal_on_both_servers() {
    short("replicated-cdc");
}

#[test]
fn a_server_that_was_away_gets_the_tables_that_were_made_meanwhile() {
    short("replicated-away-at-start");
}

#[test]
fn rows_of_one_version_are_noticed() {
    short("cdc-broken-version");
}

#[test]
fn a_commit_before_the_acknowledgement_is_noticed() {
    short("cdc-broken-acknowledgement");
}

#[test]
fn rows_with_gaps_that_overtake_are_noticed() {
    short("cdc-broken-order");
}

#[test]
fn an_altered_a_lost_and_a_strange_row_are_noticed() {
    short("cdc-broken-rows");
}

#[test]
fn a_table_that_takes_nothing_stops_no_other_of_its_pipeline() {
    short("cdc-sick-table");
}

#[test]
fn a_replicas_dead_letters_whose_replay_is_killed_are_written_once() {
    short("cdc-replay-kills");
}
