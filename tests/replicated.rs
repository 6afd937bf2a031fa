//! Two replicas of ClickHouse: nothing is lost, doubled or changed on either when they, or the ZooKeeper
//! between them, die, stand still or fall behind. `make soak SOAK='--only replicated'` runs it at length.

use crate::programme::short;

#[test]
fn events_are_once_on_both_replicas_whatever_fails() {
    short("replicated-events");
}

#[test]
fn a_quorum_that_cannot_be_had_loses_and_doubles_nothing() {
    short("replicated-quorum");
}

#[test]
fn replicas_of_a_source_are_equal_on_both_servers() {
    short("replicated-cdc");
}

#[test]
fn windows_are_those_of_an_undisturbed_run_on_both_servers() {
    short("replicated-windows");
}

#[test]
fn rows_that_a_server_may_still_drop_settle_nothing() {
    short("replicated-set-back");
}

#[test]
fn a_server_that_was_away_gets_the_tables_that_were_made_meanwhile() {
    short("replicated-away-at-start");
}
