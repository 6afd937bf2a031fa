//! Joined events are seen once, whatever dies, stands still or answers late: short runs of the fault
//! programme, which `make soak` runs at length.

use crate::programme::{every_crash_point_of_a_join_once, short};

#[test]
fn a_daemon_killed_at_any_crash_point_joins_each_event_once() {
    every_crash_point_of_a_join_once();
}

#[test]
fn kills_at_random_moments_join_each_event_once() {
    short("join-kills");
}

#[test]
fn runs_that_end_early_join_each_event_once() {
    short("join-stops");
}

#[test]
fn partitions_of_a_killed_member_are_joined_once_by_the_other() {
    short("join-takeover");
}

#[test]
fn two_processes_killed_stopped_and_frozen_at_random_join_each_event_once() {
    short("join-two-members");
}

#[test]
fn a_process_that_wakes_in_a_transaction_after_the_takeover_is_fenced() {
    short("join-frozen");
}

#[test]
fn a_process_that_wakes_before_its_commit_after_the_takeover_is_fenced() {
    short("join-frozen-offsets");
}

#[test]
fn a_broker_that_restarts_in_a_transaction_joins_each_event_once() {
    short("join-broker-restarted");
}

#[test]
fn a_broker_that_dies_twice_joins_each_event_once() {
    short("join-broker-restarted-twice");
}

#[test]
fn a_user_of_very_many_events_is_joined_within_the_memory() {
    short("join-hot-user");
}

#[test]
fn records_sent_without_a_transaction_are_noticed() {
    short("join-broken-transaction");
}

#[test]
fn a_lost_an_altered_an_invented_and_a_doubled_record_are_noticed() {
    short("join-broken-rows");
}

#[test]
fn a_table_that_takes_nothing_stops_no_join_beside_it() {
    short("join-sick-table");
}
