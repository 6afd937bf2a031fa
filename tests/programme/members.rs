//! Several processes of one group: killed, frozen, and woken after somebody else took over.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::Rng as _;
use sandbox::fault::{Fault, Matcher, Proxy};
use sandbox::{topic, wait};

use super::{Run, Trial};
use crate::support::traffic::Traffic;
use crate::support::{Daemon, Job, PATIENCE};

const PARTITIONS: i32 = 4;
const EVENTS_PER_SECOND: u64 = 700;
/// Rows in a batch of the successor, which must cut as its predecessor did all the same.
const ROWS_OF_THE_HEIR: i64 = 130;
/// The word of a commit's metadata that has the lengths of named ranges; `-`: there are none.
const RANGES_WORD: usize = 5;
/// To freeze a daemon while its inserts stand still.
const ATTEMPTS: u32 = 10;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new(
            "two-members",
            "two processes, one killed or stopped at random and started again",
            30,
            3,
            two_at_random,
        ),
        Trial::new(
            "three-members",
            "three processes, one killed or stopped at random and started again",
            30,
            3,
            three_at_random,
        ),
        Trial::new(
            "takeover",
            "a killed member's partitions go to the other, and back to it",
            10,
            1,
            takeover,
        ),
        Trial::new(
            "frozen",
            "SIGSTOP between naming and inserting, woken after the takeover",
            10,
            1,
            frozen,
        ),
        Trial::new(
            "late-insert",
            "a frozen member's insert arrives after the takeover",
            10,
            1,
            late_insert,
        ),
        Trial::new(
            "cooperative-move",
            "a member joins while inserts are in flight",
            10,
            1,
            cooperative_move,
        ),
        Trial::new(
            "at-the-end",
            "members come and go while everything is read",
            10,
            2,
            at_the_end,
        ),
    ]
}

fn two_at_random(run: &mut Run) {
    at_random(run, 2);
}

fn three_at_random(run: &mut Run) {
    at_random(run, 3);
}

fn at_random(run: &mut Run, count: usize) {
    let job = run.job(PARTITIONS);
    let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
    let mut members: Vec<Daemon> = (0..count)
        .map(|slot| job.start(&format!("member-{slot}"), &[], ""))
        .collect();
    members.iter().for_each(wait_for_share);
    for number in 0..run.times {
        std::thread::sleep(Duration::from_millis(run.random.random_range(200..2_000)));
        let slot = run.random.random_range(0..count);
        let away = Duration::from_millis(run.random.random_range(0..4_000));
        if run.random.random_ratio(1, 4) {
            members[slot].process.pause();
            std::thread::sleep(away);
            members[slot].process.resume();
        } else {
            members[slot].process.kill();
            std::thread::sleep(away);
            members[slot] = job.start(&format!("member-{slot}-{number}"), &[], "");
        }
    }
    members.iter().for_each(wait_for_share);
    job.wait_for_more_rows(500);
    members.iter().for_each(Daemon::stop);
    let produced = traffic.finish();
    job.run_to_end();
    run.prove(&job, produced);
}

/// Waits until it has partitions of its own, and not all of them.
pub(super) fn wait_for_share(daemon: &Daemon) {
    let has_share = || {
        let (_, body) = daemon.get("/api/v1/streaming/clickstream")?;
        let state: serde_json::Value = serde_json::from_str(&body).ok()?;
        let partitions = state["partitions"].as_array()?.len();
        (partitions > 0 && partitions < PARTITIONS as usize).then_some(())
    };
    wait::until("the partitions are shared", PATIENCE, has_share).unwrap_or_else(|e| {
        panic!(
            "{e}: {:?}\n{}",
            daemon.get("/api/v1/streaming/clickstream"),
            daemon.log()
        )
    });
}

fn takeover(run: &mut Run) {
    let job = run.job(PARTITIONS);
    let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
    let mut first = job.start("first", &[], "");
    let second = job.start("second", &[], "");
    for number in 0..run.times {
        wait_for_share(&first);
        wait_for_share(&second);
        job.wait_for_more_rows(1_000);
        first.process.kill();
        job.wait_for_more_rows(3_000);
        first = job.start(&format!("first-{number}"), &[], "");
    }
    wait_for_share(&first);
    wait_for_share(&second);
    job.wait_for_more_rows(1_000);
    first.stop();
    second.stop();
    let produced = traffic.finish();
    job.run_to_end();
    run.prove(&job, produced);
}

fn at_the_end(run: &mut Run) {
    let job = run.job(PARTITIONS);
    let first = job.start("first", &[], "");
    let mut produced = 0;
    for number in 0..run.times {
        let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
        job.wait_for_more_rows(500);
        produced += traffic.finish();
        job.wait_for_commits_to_end();
        let second = job.start(&format!("second-{number}"), &[], "");
        wait_for_share(&second);
        wait_for_share(&first);
        let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
        job.wait_for_more_rows(500);
        produced += traffic.finish();
        job.wait_for_commits_to_end();
        second.stop();
    }
    first.stop();
    job.run_to_end();
    run.prove(&job, produced);
}

fn frozen(run: &mut Run) {
    let mut job = run.job(PARTITIONS);
    let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
    for number in 0..run.times {
        job.set("pipeline.batch.rows_max", 200);
        let frozen = freeze_standing_still(&job, &format!("frozen-{number}"));
        job.set("pipeline.batch.rows_max", ROWS_OF_THE_HEIR);
        let heir = job.start(&format!("heir-{number}"), &[], "");
        heir.wait_for_log("looked for the rows in the table");
        job.wait_for_commits_past_now();
        frozen.process.resume();
        wait_for_share(&heir);
        wait_for_share(&frozen);
        job.wait_for_more_rows(1_000);
        frozen.stop();
        heir.stop();
    }
    let produced = traffic.finish();
    job.run_to_end();
    run.prove(&job, produced);
}

/// A daemon that is frozen while its inserts stand still. On a machine that is busy they may go on before it
/// is: then it is tried again.
fn freeze_standing_still(job: &Job, instance: &str) -> Daemon {
    for attempt in 0..ATTEMPTS {
        let daemon = start_standing_still(job, &format!("{instance}-{attempt}"));
        daemon.process.pause();
        // What was sent before arrives by now.
        std::thread::sleep(Duration::from_millis(700));
        if names_ranges(&job.committed()) {
            return daemon;
        }
        daemon.process.resume();
        daemon.stop();
    }
    panic!("no range was named and not written in {ATTEMPTS} attempts");
}

fn names_ranges(committed: &BTreeMap<i32, topic::Committed>) -> bool {
    let ranges = |metadata: &str| metadata.split(' ').nth(RANGES_WORD).map(|word| word != "-");
    committed
        .values()
        .any(|c| ranges(&c.metadata) == Some(true))
}

/// A daemon whose inserts stand still for ten seconds, named and not sent; returns while they do. Each question
/// about it may take a second.
pub(super) fn start_standing_still(job: &Job, instance: &str) -> Daemon {
    let daemon = job.start(instance, &[], "before_insert=10*off->4*sleep(10000)->off");
    let stands_still = || {
        let before = job.committed();
        std::thread::sleep(Duration::from_millis(700));
        (names_ranges(&before) && before == job.committed()).then_some(())
    };
    wait::until(
        "named ranges wait for their inserts",
        PATIENCE,
        stands_still,
    )
    .unwrap_or_else(|e| panic!("{e}\n{}", daemon.log()));
    daemon
}

fn late_insert(run: &mut Run) {
    let mut job = run.job(PARTITIONS);
    let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
    for number in 0..run.times {
        let_an_insert_come_late(&mut job, number, "");
    }
    let produced = traffic.finish();
    job.run_to_end();
    run.prove(&job, produced);
}

/// A member is frozen while its inserts are held on their way; another takes over, with these fail
/// points; then the inserts arrive and the member wakes up.
pub(super) fn let_an_insert_come_late(job: &mut Job, number: u32, failpoints: &str) {
    let direct = job.clickhouse_url.clone();
    let proxy = Proxy::start(&direct).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    job.set("pipeline.batch.rows_max", 200);
    let frozen = job.start(&format!("frozen-{number}"), &[], "");
    job.wait_for_more_rows(500);
    let held = proxy.inject(Matcher::inserts(), Fault::HoldRequest, usize::MAX);
    held.wait_for_hits(1, PATIENCE).expect("an insert is held");
    frozen.process.pause();
    job.set("clickhouse.url", direct);
    job.set("pipeline.batch.rows_max", ROWS_OF_THE_HEIR);
    let heir = job.start(&format!("heir-{number}"), &[], failpoints);
    heir.wait_for_log("looked for the rows in the table");
    // The ranges of the predecessor are the heir's by now, rows and commits.
    job.wait_for_commits_past_now();
    let hits = held.hits();
    held.release();
    held.stop();
    held.wait_for_finished(hits, PATIENCE)
        .expect("the late inserts are done");
    frozen.process.resume();
    wait_for_share(&frozen);
    job.wait_for_more_rows(1_000);
    frozen.stop();
    heir.stop();
}

fn cooperative_move(run: &mut Run) {
    let mut job = run.job(PARTITIONS);
    let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
    let proxy = Proxy::start(&job.clickhouse_url).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    // Inserts are still held when it is over.
    job.set("pipeline.revoke_timeout", "1s");
    let first = job.start("first", &[], "");
    for number in 0..run.times {
        job.wait_for_more_rows(500);
        let fault = if run.random.random() {
            Fault::HoldRequest
        } else {
            Fault::HoldResponse
        };
        let held = proxy.inject(Matcher::inserts(), fault, usize::MAX);
        held.wait_for_hits(1, PATIENCE).expect("an insert is held");
        let second = job.start(&format!("second-{number}"), &[], "");
        second.wait_for_log("partition begins");
        held.release();
        held.stop();
        wait_for_share(&first);
        wait_for_share(&second);
        job.wait_for_more_rows(500);
        second.stop();
    }
    first.stop();
    let produced = traffic.finish();
    job.run_to_end();
    run.prove(&job, produced);
}
