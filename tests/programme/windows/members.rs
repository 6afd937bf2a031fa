//! Two members: one killed, stopped or frozen, and the other one that goes on.

use std::time::Duration;

use rand::Rng as _;
use sandbox::fault::{Fault, Matcher, Proxy};
use sandbox::wait;

use super::{Run, SALES_PER_SECOND, Trial};
use crate::support::windows::{Kind, Windows};
use crate::support::{Daemon, PATIENCE};

pub(super) fn trials() -> Vec<Trial> {
    let trial = |name: &str, what, full, short, act| Trial::new(name, what, full, short, act);
    vec![
        trial(
            "win-takeover",
            "windows of all partitions; the member that works killed, the one that stands by goes on",
            8,
            1,
            takeover,
        ),
        trial(
            "win-two-members",
            "windows; two processes, one killed, stopped or frozen at random",
            40,
            3,
            members,
        ),
        trial(
            "win-frozen",
            "windows; SIGSTOP between the rows of a batch and their sending, woken after the takeover",
            8,
            1,
            frozen,
        ),
        trial(
            "win-late-insert",
            "windows; a frozen member's inserts arrive after the takeover",
            8,
            1,
            late_inserts,
        ),
        trial(
            "win-forced-move",
            "windows; a member joins while inserts are held for longer than revoke_timeout",
            8,
            1,
            forced_move,
        ),
    ]
}

/// How many partitions it works on.
fn share(daemon: &Daemon) -> Option<usize> {
    let (_, body) = daemon.get("/api/v1/streaming/sales")?;
    let state: serde_json::Value = serde_json::from_str(&body).ok()?;
    Some(state["partitions"].as_array()?.len())
}

/// Which of them works on all partitions.
fn worker(members: [&Daemon; 2]) -> usize {
    let found = || {
        let shares = members.map(|member| share(member).unwrap_or_default());
        match shares {
            [4, 0] => Some(0),
            [0, 4] => Some(1),
            _ => None,
        }
    };
    wait::until("one of two members works", PATIENCE, found)
        .unwrap_or_else(|e| panic!("{e}\n{}\n{}", members[0].log(), members[1].log()))
}

fn takeover(run: &mut Run) {
    let windows = run.windows(Kind::Tumbling);
    let traffic = windows.traffic(SALES_PER_SECOND);
    let start = |slot: usize, number: u32| windows.start(&format!("member-{slot}-{number}"), "");
    let mut members = [start(0, 0), start(1, 0)];
    for number in 1..=run.times {
        let [one, other] = &members;
        let works = worker([one, other]);
        windows.wait_for_progress(300, &members[works]);
        members[works].process.kill();
        windows.wait_for_progress(300, &members[1 - works]);
        members[works] = start(works, number);
    }
    let [one, other] = &members;
    let works = worker([one, other]);
    windows.wait_for_progress(300, &members[works]);
    members.iter().for_each(Daemon::stop);
    let produced = traffic.finish();
    windows.close();
    run.prove_windows(&windows, produced);
}

fn members(run: &mut Run) {
    for (kind, times) in run.shares() {
        let windows = run.windows(kind);
        let traffic = windows.traffic(SALES_PER_SECOND);
        let start =
            |slot: usize, number: u32| windows.start(&format!("member-{slot}-{number}"), "");
        let mut members = [start(0, 0), start(1, 0)];
        wait_for_both(&windows, [&members[0], &members[1]]);
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
        wait_for_both(&windows, [&members[0], &members[1]]);
        windows.wait_for_progress(300, &members[0]);
        members.iter().for_each(Daemon::stop);
        let produced = traffic.finish();
        windows.close();
        run.prove_windows(&windows, produced);
    }
}

/// Waits until both are where they belong: one works, or they share.
fn wait_for_both(windows: &Windows, members: [&Daemon; 2]) {
    if windows.kind == Kind::Tumbling {
        worker(members);
        return;
    }
    let are_shared = || {
        let has_some = |member: &&Daemon| share(member).is_some_and(|count| count > 0);
        members.iter().all(has_some).then_some(())
    };
    wait::until("the partitions are shared", PATIENCE, are_shared)
        .unwrap_or_else(|e| panic!("{e}\n{}\n{}", members[0].log(), members[1].log()));
}

/// A member stands still with rows in its hands until another has sent newer ones.
fn frozen(run: &mut Run) {
    for (kind, times) in run.shares() {
        let windows = run.windows(kind);
        let traffic = windows.traffic(SALES_PER_SECOND);
        for number in 0..times {
            let failpoint = "before_emission=20*off->1*sleep(10000)->off";
            let frozen = windows.start(&format!("frozen-{number}"), failpoint);
            frozen.wait_for_log("partition begins");
            let stands_still = || {
                let before = windows.progress();
                std::thread::sleep(Duration::from_millis(600));
                (before == windows.progress() && before > 0).then_some(())
            };
            wait::until("it stands still", PATIENCE, stands_still).expect("it does");
            frozen.process.pause();
            let heir = windows.start(&format!("heir-{number}"), "");
            windows.wait_for_progress(1_000, &heir);
            frozen.process.resume();
            wait_for_both(&windows, [&frozen, &heir]);
            windows.wait_for_progress(300, &heir);
            frozen.stop();
            heir.stop();
        }
        let produced = traffic.finish();
        windows.close();
        run.prove_windows(&windows, produced);
    }
}

fn late_inserts(run: &mut Run) {
    for (kind, times) in run.shares() {
        let (windows, produced) = after_late_inserts(run, kind, times, "");
        run.prove_windows(&windows, produced);
    }
}

/// A member is frozen while its inserts are held on their way; another takes over; then the inserts
/// arrive and the member wakes up.
pub(super) fn after_late_inserts(
    run: &mut Run,
    kind: Kind,
    times: u32,
    failpoints: &str,
) -> (Windows, u64) {
    let mut windows = run.windows(kind);
    let traffic = windows.traffic(SALES_PER_SECOND);
    let direct = windows.job.clickhouse_url.clone();
    for number in 0..times {
        let proxy = Proxy::start(&direct).expect("a proxy");
        windows.job.set("clickhouse.url", proxy.url());
        let frozen = windows.start(&format!("frozen-{number}"), failpoints);
        windows.wait_for_progress(300, &frozen);
        let held = proxy.inject(Matcher::inserts(), Fault::HoldRequest, usize::MAX);
        held.wait_for_hits(1, PATIENCE).expect("an insert is held");
        frozen.process.pause();
        windows.job.set("clickhouse.url", direct.clone());
        let heir = windows.start(&format!("heir-{number}"), failpoints);
        windows.wait_for_progress(1_000, &heir);
        let hits = held.hits();
        held.release();
        held.stop();
        held.wait_for_finished(hits, PATIENCE)
            .expect("the late inserts are done");
        frozen.process.resume();
        wait_for_both(&windows, [&frozen, &heir]);
        windows.wait_for_progress(300, &heir);
        frozen.stop();
        heir.stop();
    }
    let produced = traffic.finish();
    windows.close();
    (windows, produced)
}

/// Partitions move though rows of them are still on their way, which then arrive.
fn forced_move(run: &mut Run) {
    for (kind, times) in run.shares() {
        let mut windows = run.windows(kind);
        windows.job.set("pipeline.revoke_timeout", "1s");
        let traffic = windows.traffic(SALES_PER_SECOND);
        let direct = windows.job.clickhouse_url.clone();
        for number in 0..times {
            let proxy = Proxy::start(&direct).expect("a proxy");
            windows.job.set("clickhouse.url", proxy.url());
            let held_up = windows.start(&format!("held-up-{number}"), "");
            windows.wait_for_progress(300, &held_up);
            let held = proxy.inject(Matcher::inserts(), Fault::HoldRequest, usize::MAX);
            held.wait_for_hits(1, PATIENCE).expect("an insert is held");
            windows.job.set("clickhouse.url", direct.clone());
            let heir = windows.start(&format!("heir-{number}"), "");
            wait_for_both(&windows, [&held_up, &heir]);
            std::thread::sleep(Duration::from_millis(run.random.random_range(0..2_000)));
            held.release();
            held.stop();
            windows.wait_for_progress(500, &heir);
            held_up.stop();
            heir.stop();
        }
        let produced = traffic.finish();
        windows.close();
        run.prove_windows(&windows, produced);
    }
}
