//! Two replicas of ClickHouse: nothing is lost, doubled or changed on either when they, or the ZooKeeper
//! between them, die, stand still or fall behind. `make soak SOAK='--only replicated'` runs it at length.

mod programme;
mod support;

use programme::short;

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
