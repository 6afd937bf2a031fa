//! Two members: one killed, stopped or frozen, and the other one that goes on.

use std::time::Duration;

use rand::Rng as _;
use sandbox::wait;

use super::{RECORDS_PER_SECOND, Run, Trial, share, wait_for_both, wait_until_it_stands_still};
use crate::support::joins::Joins;
use crate::support::{Daemon, PATIENCE};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new(
            "join-takeover",
            "join; a killed member's partitions go to the other, and back to it",
            8,
            1,
            takeover,
        ),
        Trial::new(
            "join-two-members",
            "join; two processes, one killed, stopped or frozen at random",
            40,
            3,
            members,
        ),
        Trial::new(
            "join-frozen",
            "join; SIGSTOP in the middle of a transaction, woken after the takeover",
            8,
            1,
            frozen,
        ),
        Trial::new(
            "join-frozen-offsets",
            "join; SIGSTOP between the offsets of a transaction and its commit, woken after the takeover",
            8,
            1,
            frozen_with_offsets,
        ),
    ]
}

/// A member whose name, if it has one, is that of its slot.
fn start(joins: &Joins, slot: usize, number: u32, has_name: bool) -> Daemon {
    let instance = format!("member-{slot}-{number}");
    match has_name {
        true => joins.start_named(&instance, ["a", "b"][slot], ""),
        false => joins.start(&instance, ""),
    }
}

fn takeover(run: &mut Run) {
    for (kind, times) in run.join_shares() {
        let joins = run.joins(kind);
        let traffic = joins.traffic(RECORDS_PER_SECOND);
        let has_name = run.random.random_ratio(1, 2);
        let start = |slot, number| start(&joins, slot, number, has_name);
        let mut members = [start(0, 0), start(1, 0)];
        for number in 1..=times {
            wait_for_both([&members[0], &members[1]]);
            let slot = run.random.random_range(0..2);
            members[slot].process.kill();
            joins.wait_for_progress(300, &members[1 - slot]);
            members[slot] = start(slot, number);
        }
        wait_for_both([&members[0], &members[1]]);
        joins.wait_for_progress(200, &members[0]);
        members.iter().for_each(Daemon::stop);
        let produced = traffic.finish();
        joins.close();
        run.prove_joins(&joins, produced);
    }
}

fn members(run: &mut Run) {
    for (kind, times) in run.join_shares() {
        let joins = run.joins(kind);
        let traffic = joins.traffic(RECORDS_PER_SECOND);
        let has_name = run.random.random_ratio(1, 2);
        let start = |slot, number| start(&joins, slot, number, has_name);
        let mut members = [start(0, 0), start(1, 0)];
        wait_for_both([&members[0], &members[1]]);
        for number in 1..=times {
            std::thread::sleep(Duration::from_millis(run.random.random_range(200..2_000)));
            let slot = run.random.random_range(0..2);
            let away = Duration::from_millis(run.random.random_range(0..4_000));
            match run.random.random_range(0..4) {
                0 => {
                    members[slot].process.pause();
                    std::thread::sleep(away);
                    members[slot].process.resume();
                }
                1 => {
                    members[slot].stop();
                    members[slot] = start(slot, number);
                }
                _ => {
                    members[slot].process.kill();
                    std::thread::sleep(away);
                    members[slot] = start(slot, number);
                }
            }
        }
        wait_for_both([&members[0], &members[1]]);
        joins.wait_for_progress(200, &members[0]);
        members.iter().for_each(Daemon::stop);
        let produced = traffic.finish();
        joins.close();
        run.prove_joins(&joins, produced);
    }
}

fn frozen(run: &mut Run) {
    frozen_at(run, "in_transaction");
}

fn frozen_with_offsets(run: &mut Run) {
    frozen_at(run, "before_transaction_commit");
}

/// A member stands still in a transaction until another has joined what it had in its hands.
fn frozen_at(run: &mut Run, point: &str) {
    for (kind, times) in run.join_shares() {
        let joins = run.joins(kind);
        let traffic = joins.traffic(RECORDS_PER_SECOND);
        for number in 0..times {
            let failpoint = format!("{point}=20*off->1*sleep(10000)->off");
            let frozen = joins.start(&format!("frozen-{number}"), &failpoint);
            wait_until_it_stands_still(&joins, &frozen);
            frozen.process.pause();
            let heir = joins.start(&format!("heir-{number}"), "");
            joins.wait_for_progress(600, &heir);
            let has_all = || (share(&heir) == Some(8)).then_some(());
            wait::until("it has all of both topics", PATIENCE, has_all)
                .unwrap_or_else(|e| panic!("{e}\n{}", heir.log()));
            frozen.process.resume();
            wait_for_both([&frozen, &heir]);
            joins.wait_for_progress(200, &heir);
            frozen.stop();
            heir.stop();
        }
        let produced = traffic.finish();
        joins.close();
        run.prove_joins_and_aborted(&joins, produced);
    }
}
