//! Windows end as in an undisturbed run, whatever dies, stands still or answers late: short runs of the
//! fault programme, which `make soak` runs at length.

use crate::programme::{every_crash_point_of_windows_once, short};

#[test]
fn a_daemon_killed_at_any_crash_point_leaves_windows_as_undisturbed() {
    every_crash_point_of_windows_once();
}

#[test]
fn kills_at_random_moments_leave_windows_as_undisturbed() {
    short("win-kills");
}

#[test]
fn kills_leave_windows_that_are_on_disk_as_undisturbed() {
    short("win-disk");
}

#[test]
fn runs_that_end_early_leave_windows_as_undisturbed() {
    short("win-stops");
}

#[test]
fn a_group_set_back_to_the_beginning_leaves_windows_as_undisturbed() {
    short("win-group-reset");
}

#[test]
fn the_member_that_stands_by_goes_on_with_the_windows_of_all_partitions() {
    short("win-takeover");
}

#[test]
fn two_processes_killed_stopped_and_frozen_leave_windows_as_undisturbed() {
    short("win-two-members");
}

#[test]
fn rows_of_a_process_that_wakes_after_the_takeover_change_nothing() {
    short("win-frozen");
}

#[test]
fn inserts_that_arrive_after_the_takeover_change_nothing() {
    short("win-late-insert");
}

#[test]
fn rows_that_are_on_their_way_when_partitions_move_change_nothing() {
    short("win-forced-move");
}

#[test]
fn lost_held_late_doubled_and_refused_inserts_leave_windows_as_undisturbed() {
    short("win-replies");
}

#[test]
fn a_server_killed_at_any_moment_leaves_windows_as_undisturbed() {
    short("win-clickhouse-killed");
}

#[test]
fn a_broker_that_restarts_leaves_windows_as_undisturbed() {
    short("win-broker-restarted");
}

#[test]
fn windows_are_those_of_an_undisturbed_run_on_both_servers() {
    short("replicated-windows");
}

#[test]
fn a_commit_past_the_records_of_open_windows_is_noticed() {
    short("win-broken-commit-point");
}

#[test]
fn a_commit_before_the_acknowledgement_is_noticed() {
    short("win-broken-acknowledgement");
}

#[test]
fn rows_sent_to_the_topic_after_the_takeover_are_noticed() {
    short("win-broken-membership");
}

#[test]
fn an_altered_an_invented_and_a_lost_row_are_noticed() {
    short("win-broken-rows");
}

#[test]
fn a_table_that_takes_nothing_stops_no_windows_beside_it() {
    short("win-sick-table");
}
