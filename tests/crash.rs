//! Nothing is lost and nothing doubled, wherever and whenever a daemon dies or stands still.

mod support;

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sandbox::fault::{Fault, Matcher, Proxy};
use sandbox::wait;
use streamweir::CRASH_POINTS;
use support::traffic::{Traffic, assert_exactly_once, exactly_once};
use support::{Daemon, Job, PATIENCE};

const PARTITIONS: i32 = 4;
const EVENTS_PER_SECOND: u64 = 1_000;

/// What brings a daemon to a crash point.
enum Provocation {
    /// Records alone; it dies the sixth time.
    Traffic,
    /// The first assignment.
    Joining,
    /// Records whose rows were written before, because the snapshots are gone.
    Replaying,
    /// Another member takes partitions away.
    SecondMember,
    Sigterm,
    /// Time; it dies the second time.
    Snapshots,
}

fn provocation(point: &str) -> Provocation {
    match point {
        "before_restore" | "after_assign" => Provocation::Joining,
        "during_replay" => Provocation::Replaying,
        "before_snapshot" | "during_snapshot" | "after_snapshot" => Provocation::Snapshots,
        "before_revoke" | "after_revoke" => Provocation::SecondMember,
        "before_leave" => Provocation::Sigterm,
        _ => Provocation::Traffic,
    }
}

/// Runs a daemon until it dies at the point; a point that it never comes by fails the test.
fn die_at(job: &Job, point: &str) {
    let provocation = provocation(point);
    if matches!(provocation, Provocation::Replaying) {
        let daemon = job.start("before-replay", &[], "");
        job.wait_for_more_rows(500);
        daemon.stop();
        job.forget_snapshots();
    }
    let failpoint = match provocation {
        Provocation::Snapshots => format!("{point}=1*off->return"),
        Provocation::Traffic | Provocation::Replaying => format!("{point}=5*off->return"),
        _ => format!("{point}=return"),
    };
    let daemon = job.start(&format!("dies-{point}"), &[], &failpoint);
    let second = match provocation {
        Provocation::Traffic
        | Provocation::Joining
        | Provocation::Replaying
        | Provocation::Snapshots => None,
        Provocation::SecondMember => {
            daemon.wait_for_log("partition begins");
            job.wait_for_more_rows(500);
            Some(job.start(&format!("second-{point}"), &[], ""))
        }
        Provocation::Sigterm => {
            daemon.wait_for_log("partition begins");
            job.wait_for_more_rows(500);
            daemon.process.terminate();
            None
        }
    };
    let status = daemon.process.wait(PATIENCE);
    let status =
        status.unwrap_or_else(|e| panic!("{point} is never reached: {e}\n{}", daemon.log()));
    assert_eq!(
        status.signal(),
        Some(libc::SIGKILL),
        "{status}: {}",
        daemon.log()
    );
    let last_words = format!("crash point {point}");
    assert!(daemon.log().contains(&last_words), "{}", daemon.log());
    if let Some(second) = second {
        job.wait_for_more_rows(500);
        second.stop();
    }
}

#[test]
fn a_daemon_killed_at_any_crash_point_loses_and_doubles_nothing() {
    let job = Job::small_batches("points", PARTITIONS);
    let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
    for point in CRASH_POINTS {
        die_at(&job, point);
    }
    let produced = traffic.finish();
    job.run_to_end();
    assert_exactly_once(&job, produced);
}

#[test]
fn ranges_that_end_in_transaction_markers_are_replayed_exactly() {
    let job = Job::small_batches("transactions", 2);
    let traffic = Traffic::start_transactions(&job, 2);
    for point in [
        "after_naming_commit",
        "before_insert",
        "after_insert_acknowledged",
        "before_commit",
    ] {
        die_at(&job, point);
    }
    let produced = traffic.finish();
    job.run_to_end();
    assert_exactly_once(&job, produced);
}

#[test]
fn twenty_kills_at_random_moments_lose_and_double_nothing() {
    let seed = std::env::var("STREAMWEIR_SEED").ok();
    let seed = seed.map_or_else(rand::random, |text| text.parse().expect("a number"));
    println!("STREAMWEIR_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let job = Job::small_batches("random-kills", PARTITIONS);
    let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
    for life in 0..20 {
        let daemon = job.start(&format!("life-{life}"), &[], "");
        let lifetime = Duration::from_millis(random.random_range(300..4_000));
        std::thread::sleep(lifetime);
        assert!(daemon.process.try_wait().is_none(), "{}", daemon.log());
        daemon.process.kill();
    }
    assert!(
        job.row_count() > 1_000,
        "the lives were too short to write anything"
    );
    let produced = traffic.finish();
    job.run_to_end();
    assert_exactly_once(&job, produced);
}

/// Waits until it has partitions of its own.
fn wait_for_share(daemon: &Daemon) {
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

#[test]
fn the_partitions_of_a_killed_member_go_on_at_the_other_and_come_back() {
    let job = Job::small_batches("members", PARTITIONS);
    let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
    let first = job.start("first", &[], "");
    let second = job.start("second", &[], "");
    wait_for_share(&first);
    wait_for_share(&second);
    job.wait_for_more_rows(1_000);
    first.process.kill();
    job.wait_for_more_rows(4_000);
    let again = job.start("first-again", &[], "");
    wait_for_share(&again);
    wait_for_share(&second);
    job.wait_for_more_rows(1_000);
    again.stop();
    second.stop();
    let produced = traffic.finish();
    job.run_to_end();
    assert_exactly_once(&job, produced);
}

#[test]
fn partitions_read_to_their_end_lose_nothing_when_members_come_and_go() {
    let job = Job::small_batches("at-the-end", PARTITIONS);
    let first = job.start("first", &[], "");
    let mut produced = 0;
    for second in ["second", "third"] {
        let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
        job.wait_for_more_rows(500);
        produced += traffic.finish();
        job.wait_for_commits_to_end();
        let second = job.start(second, &[], "");
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
    assert_exactly_once(&job, produced);
}

#[test]
fn an_insert_that_arrives_after_the_takeover_doubles_nothing() {
    let mut job = Job::small_batches("zombie", PARTITIONS);
    let proxy = Proxy::start(&job.clickhouse_url).expect("a proxy");
    let direct = job.clickhouse_url.clone();
    let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
    job.set("clickhouse.url", proxy.url());
    let frozen = job.start("frozen", &[], "");
    job.wait_for_more_rows(500);
    let held = proxy.inject(Matcher::inserts(), Fault::HoldRequest, usize::MAX);
    held.wait_for_hits(1, PATIENCE).expect("an insert is held");
    frozen.process.pause();
    job.set("clickhouse.url", direct);
    let heir = job.start("heir", &[], "");
    heir.wait_for_log("looked before writing again");
    job.wait_for_more_rows(2_000);
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
    let produced = traffic.finish();
    job.run_to_end();
    assert_exactly_once(&job, produced);
}

#[test]
fn a_process_frozen_between_naming_and_inserting_doubles_nothing_when_it_wakes() {
    let job = Job::small_batches("frozen", PARTITIONS);
    let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
    // Long enough to be seen standing there with its names committed.
    let frozen = job.start("frozen", &[], "before_insert=10*off->4*sleep(3000)->off");
    job.wait_for_more_rows(500);
    let stands_still = || {
        let before = job.committed();
        std::thread::sleep(Duration::from_millis(700));
        let names_ranges = before.values().any(|c| !c.metadata.ends_with(" -"));
        (names_ranges && before == job.committed()).then_some(())
    };
    wait::until(
        "named ranges wait for their inserts",
        PATIENCE,
        stands_still,
    )
    .unwrap_or_else(|e| panic!("{e}\n{}", frozen.log()));
    frozen.process.pause();
    let heir = job.start("heir", &[], "");
    heir.wait_for_log("looked before writing again");
    job.wait_for_more_rows(2_000);
    frozen.process.resume();
    wait_for_share(&heir);
    wait_for_share(&frozen);
    job.wait_for_more_rows(1_000);
    frozen.stop();
    heir.stop();
    let produced = traffic.finish();
    job.run_to_end();
    assert_exactly_once(&job, produced);
}

#[test]
fn a_doubled_or_a_missing_row_is_noticed() {
    let job = Job::small_batches("reverse", 2);
    let traffic = Traffic::start(&job, 2, EVENTS_PER_SECOND);
    let daemon = job.start("daemon", &[], "");
    job.wait_for_more_rows(1_000);
    let produced = traffic.finish();
    daemon.stop();
    job.run_to_end();
    assert_exactly_once(&job, produced);

    let one = "_partition = 1 AND _offset = 7";
    job.query(&format!(
        "INSERT INTO {{db}}.clickstream_events SELECT * FROM {{db}}.clickstream_events WHERE {one}"
    ));
    let doubled = exactly_once(&job, produced).expect_err("one row is there twice");
    assert!(
        doubled.contains("doubled") && doubled.contains("(1, 7)"),
        "{doubled}"
    );

    job.query(&format!(
        "DELETE FROM {{db}}.clickstream_events WHERE {one}"
    ));
    let missing = exactly_once(&job, produced).expect_err("one row is gone");
    assert!(
        missing.contains("missing") && missing.contains("(1, 7)"),
        "{missing}"
    );
}
