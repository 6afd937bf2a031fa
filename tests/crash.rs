//! Nothing is lost, doubled or changed, wherever and whenever a daemon dies or stands still: short
//! runs of the fault programme, which `make soak` runs at length.

use crate::programme::{every_crash_point_once, short};

#[test]
fn a_daemon_killed_at_any_crash_point_loses_and_doubles_nothing() {
    every_crash_point_once();
}

#[test]
fn ranges_that_end_in_transaction_markers_are_replayed_exactly() {
    short("transactions");
}

#[test]
fn records_of_any_bytes_are_rows_of_a_raw_table_once_wherever_the_daemon_dies() {
    short("raw");
}

#[test]
fn records_that_come_again_are_told_by_the_log_alone_wherever_the_daemon_dies() {
    short("dedup");
}

#[test]
fn records_that_come_again_are_told_by_the_log_alone_whoever_reads_it() {
    short("dedup-members");
}

#[test]
fn records_that_come_again_are_told_by_the_log_alone_on_both_servers() {
    short("replicated-dedup");
}

#[test]
fn records_that_come_again_count_once_in_windows_wherever_the_daemon_dies() {
    short("dedup-windows");
}

#[test]
fn kills_at_random_moments_lose_and_double_nothing() {
    short("kills");
}

#[test]
fn two_processes_killed_and_stopped_at_random_lose_and_double_nothing() {
    short("two-members");
}

#[test]
fn three_processes_killed_and_stopped_at_random_lose_and_double_nothing() {
    short("three-members");
}

#[test]
fn the_partitions_of_a_killed_member_go_on_at_the_other_and_come_back() {
    short("takeover");
}

#[test]
fn partitions_read_to_their_end_lose_nothing_when_members_come_and_go() {
    short("at-the-end");
}

#[test]
fn an_insert_that_arrives_after_the_takeover_doubles_nothing() {
    short("late-insert");
}

#[test]
fn a_process_frozen_between_naming_and_inserting_doubles_nothing_when_it_wakes() {
    short("frozen");
}

#[test]
fn partitions_that_move_with_inserts_in_flight_lose_and_double_nothing() {
    short("cooperative-move");
}

#[test]
fn inserts_without_token_are_noticed() {
    short("broken-token");
}

#[test]
fn a_commit_before_the_acknowledgement_is_noticed() {
    short("broken-acknowledgement");
}

#[test]
fn a_range_that_is_cut_anew_is_noticed() {
    short("broken-cut");
}

#[test]
fn a_doubled_a_missing_and_an_altered_row_are_noticed() {
    short("broken-rows");
}

#[test]
fn dead_letters_whose_replay_is_killed_are_written_once() {
    short("replay-kills");
}
