//! Daemons that die at any moment, alone and in company, stand still, and wake after somebody took over.

use std::time::Duration;

use rand::Rng as _;
use sandbox::fault::{Fault, Matcher, Proxy};
use sandbox::topic::{self, Committed};
use sandbox::wait;

use super::broken::give_lost_rows_up_soon;
use super::{CHANGES_PER_SECOND, PARTITIONS, Run, Trial};
use crate::support::replica::Replica;
use crate::support::{Daemon, PATIENCE};

pub(super) fn trials() -> Vec<Trial> {
    let trial = |name: &str, what, full, short, act| Trial::new(name, what, full, short, act);
    vec![
        trial(
            "cdc-kills",
            "change records; SIGKILL at a random moment",
            120,
            8,
            kills,
        ),
        trial(
            "cdc-two-members",
            "change records; two processes, one killed, stopped or frozen at random",
            30,
            3,
            |run| members(run, 2),
        ),
        trial(
            "cdc-three-members",
            "change records; three processes, one killed, stopped or frozen at random",
            30,
            3,
            |run| members(run, 3),
        ),
        trial(
            "cdc-late-insert",
            "change records; a frozen member's inserts arrive after the takeover",
            10,
            1,
            |run| {
                let (replica, produced) = late_inserts(run, "");
                run.prove_equal(&replica, produced);
            },
        ),
        trial(
            "cdc-late-statements",
            "change records; SIGSTOP before rows with gaps are looked up, woken after the takeover",
            10,
            1,
            frozen,
        ),
        trial(
            "cdc-group-reset",
            "change records; the group set back to 0 while the daemon is down, which is killed as it reads again",
            10,
            1,
            group_reset,
        ),
    ]
}

fn kills(run: &mut Run) {
    let mut replica = run.replica();
    replica
        .job
        .set("kafka.properties.session.timeout.ms", 1_000);
    replica
        .job
        .set("kafka.properties.heartbeat.interval.ms", 200);
    let traffic = replica.traffic(CHANGES_PER_SECOND);
    for life in 0..run.times {
        if life % 5 == 1 && life < 50 {
            replica.source().add_column("notes", false);
            replica.source().add_column("orders", false);
        }
        let daemon = replica.start(&format!("life-{life}"), "");
        if !run.random.random_ratio(1, 4) {
            daemon.wait_for_log("partition begins");
        }
        let lifetime = Duration::from_millis(run.random.random_range(0..2_500));
        std::thread::sleep(lifetime);
        assert!(daemon.process.try_wait().is_none(), "{}", daemon.log());
        daemon.process.kill();
    }
    let produced = traffic.finish();
    replica.job.run_to_end();
    run.prove_equal(&replica, produced);
}

fn members(run: &mut Run, count: usize) {
    let replica = run.replica();
    let traffic = replica.traffic(CHANGES_PER_SECOND);
    let start = |slot, number| replica.start(&format!("member-{slot}-{number}"), "");
    let mut members: Vec<Daemon> = (0..count).map(|slot| start(slot, 0)).collect();
    members.iter().for_each(wait_for_share);
    for number in 1..=run.times {
        std::thread::sleep(Duration::from_millis(run.random.random_range(200..2_000)));
        let slot = run.random.random_range(0..count);
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
    members.iter().for_each(wait_for_share);
    replica.wait_for_progress(500, members.first());
    members.iter().for_each(Daemon::stop);
    let produced = traffic.finish();
    replica.job.run_to_end();
    run.prove_equal(&replica, produced);
}

/// Waits until it has partitions of its own, and not all of them.
fn wait_for_share(daemon: &Daemon) {
    let all = 2 * PARTITIONS as usize + 1;
    let has_share = || {
        let (_, body) = daemon.get("/api/v1/streaming/replica")?;
        let state: serde_json::Value = serde_json::from_str(&body).ok()?;
        let partitions = state["partitions"].as_array()?.len();
        (partitions > 0 && partitions < all).then_some(())
    };
    wait::until("the partitions are shared", PATIENCE, has_share)
        .unwrap_or_else(|e| panic!("{e}\n{}", daemon.log()));
}

/// A member is frozen while its inserts are held on their way; another takes over, with these fail
/// points, and the same rows are changed again; then the inserts arrive and the member wakes up.
pub(super) fn late_inserts(run: &mut Run, failpoints: &str) -> (Replica, u64) {
    let mut replica = run.replica();
    if !failpoints.is_empty() {
        give_lost_rows_up_soon(&mut replica);
    }
    let traffic = replica.traffic(CHANGES_PER_SECOND);
    let direct = replica.job.clickhouse_url.clone();
    for number in 0..run.times {
        let proxy = Proxy::start(&direct).expect("a proxy");
        replica.job.set("clickhouse.url", proxy.url());
        let frozen = replica.start(&format!("frozen-{number}"), failpoints);
        replica.wait_for_progress(500, Some(&frozen));
        let held = proxy.inject(Matcher::inserts(), Fault::HoldRequest, usize::MAX);
        held.wait_for_hits(3, PATIENCE).expect("inserts are held");
        frozen.process.pause();
        replica.job.set("clickhouse.url", direct.clone());
        let heir = replica.start(&format!("heir-{number}"), failpoints);
        replica.wait_for_progress(2_000, Some(&heir));
        let hits = held.hits();
        held.release();
        held.stop();
        held.wait_for_finished(hits, PATIENCE)
            .expect("the late inserts are done");
        frozen.process.resume();
        wait_for_share(&frozen);
        replica.wait_for_progress(500, Some(&heir));
        frozen.stop();
        heir.stop();
    }
    let produced = traffic.finish();
    // What was late must not be repaired by what comes later: nothing but the rest is read.
    replica.job.run_to_end();
    (replica, produced)
}

/// Stands still between the whole rows of a batch and those that need values of others; wakes after
/// another has written all of it, and more.
fn frozen(run: &mut Run) {
    let replica = run.replica();
    let traffic = replica.traffic(CHANGES_PER_SECOND);
    for number in 0..run.times {
        let point = if number % 2 == 0 {
            "before_gapped_rows"
        } else {
            "before_insert"
        };
        // Whether it stands still takes two questions about each table, on a busy machine a second each.
        let failpoint = format!("{point}=10*off->6*sleep(8000)->off");
        let frozen = replica.start(&format!("frozen-{number}"), &failpoint);
        frozen.wait_for_log("partition begins");
        let stands_still = || {
            let before = replica.progress();
            std::thread::sleep(Duration::from_millis(600));
            (before == replica.progress() && before > 0).then_some(())
        };
        wait::until("it stands still", PATIENCE, stands_still).expect("it does");
        frozen.process.pause();
        let heir = replica.start(&format!("heir-{number}"), "");
        replica.wait_for_progress(2_000, Some(&heir));
        frozen.process.resume();
        wait_for_share(&heir);
        wait_for_share(&frozen);
        replica.wait_for_progress(500, Some(&heir));
        frozen.stop();
        heir.stop();
    }
    let produced = traffic.finish();
    replica.job.run_to_end();
    run.prove_equal(&replica, produced);
}

fn group_reset(run: &mut Run) {
    let replica = run.replica();
    let mut produced = 0;
    for number in 0..run.times {
        let traffic = replica.traffic(CHANGES_PER_SECOND);
        let daemon = replica.start(&format!("daemon-{number}"), "");
        replica.wait_for_progress(1_500, Some(&daemon));
        daemon.stop();
        produced += traffic.finish();
        set_back(&replica);
        let again = replica.start(&format!("again-{number}"), "");
        again.wait_for_log("partition begins");
        std::thread::sleep(Duration::from_millis(run.random.random_range(0..1_500)));
        again.process.kill();
    }
    replica.job.run_to_end();
    run.prove_equal(&replica, produced);
}

fn set_back(replica: &Replica) {
    let job = &replica.job;
    let beginning = Committed {
        offset: 0,
        metadata: String::new(),
    };
    let source = replica.source();
    for table in source.tables.values() {
        let ends = topic::end_offsets(job.bootstrap(), &table.topic).expect("the topic answers");
        for partition in ends.into_keys() {
            let (group, topic) = (&job.group, &table.topic);
            topic::commit(job.bootstrap(), group, topic, partition, &beginning).expect("committed");
        }
    }
}
