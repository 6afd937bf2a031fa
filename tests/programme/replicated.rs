//! Two replicas of ClickHouse and ZooKeeper, each of which dies, stands still or falls behind: whatever was
//! acknowledged is on both once in the end.

mod back;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use rand::Rng as _;
use sandbox::replicated::Replicated;

use super::{Run, Trial, prepared};
use crate::support::Job;
use crate::support::proof::{self, Profiles};
use crate::support::replica::Replica;
use crate::support::traffic::Traffic;
use crate::support::windows::{Kind, Windows};

const PARTITIONS: i32 = 3;
const RECORDS_PER_SECOND: u64 = 400;
/// Nobody listens there.
const CLOSED: &str = "http://127.0.0.1:1";
/// Longer than a session with ZooKeeper lasts.
const SESSION_OVER: Duration = Duration::from_secs(7);

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::new(
            "replicated-events",
            "two replicas and ZooKeeper frozen, killed and cut off in turn; one insert in twenty fails at Keeper",
            80,
            2,
            events,
        ),
        Trial::new(
            "replicated-quorum",
            "the same with insert_quorum = 2",
            40,
            1,
            with_quorum,
        ),
        Trial::new(
            "replicated-cdc",
            "change records into ReplicatedReplacingMergeTree under the same faults",
            40,
            1,
            changes,
        ),
        Trial::new(
            "replicated-windows",
            "windows under the same faults",
            40,
            1,
            windows,
        ),
    ];
    trials.extend(back::trials());
    trials
}

/// One pair for all trials of a process, which have it one after the other.
pub(super) fn pair() -> MutexGuard<'static, Replicated> {
    static PAIR: OnceLock<Mutex<Replicated>> = OnceLock::new();
    let pair = PAIR.get_or_init(|| Mutex::new(Replicated::start().expect("two replicas")));
    // What a failed trial left standing still.
    let pair = pair.lock().unwrap_or_else(PoisonError::into_inner);
    pair.zookeeper.resume();
    pair.replicas.iter().for_each(|replica| replica.resume());
    // And what an earlier one broke last.
    pair.wait_until_connected().expect("both reach ZooKeeper");
    pair
}

/// Points a job at both replicas, behind an address where nobody listens. One insert in twenty fails at
/// Keeper, and is not tried again by the server.
pub(super) fn put_on(job: &mut Job, pair: &Replicated) {
    job.clickhouse_url = pair.replicas[0].url();
    let mut urls = vec![CLOSED.to_owned()];
    urls.extend(pair.urls());
    job.unset("clickhouse.url");
    job.set("clickhouse.urls", urls);
    let settings = "clickhouse.settings";
    let probability = "insert_keeper_fault_injection_probability";
    job.set(&format!("{settings}.{probability}"), 0.05);
    job.set(&format!("{settings}.insert_keeper_max_retries"), 0);
    // The wait for an insert that may still be running is as long as these two.
    job.set("clickhouse.insert_lease", "2s");
    job.set("clickhouse.insert_timeout", "5s");
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    ZooKeeperFrozen,
    ZooKeeperKilled,
    ReplicaKilled(usize),
    ReplicaFrozen(usize),
    FetchesStopped(usize),
    SessionsOver,
}

impl Fault {
    /// Each in turn, from any on.
    pub(super) fn all(run: &mut Run) -> Vec<Fault> {
        let first = run.random.random_range(0..6);
        let numbers = first..first + run.times;
        numbers.map(|number| Fault::nth(number, run)).collect()
    }

    fn nth(number: u32, run: &mut Run) -> Fault {
        let replica = run.random.random_range(0..2);
        match number % 6 {
            0 => Fault::ZooKeeperFrozen,
            1 => Fault::ReplicaKilled(replica),
            2 => Fault::ZooKeeperKilled,
            3 => Fault::FetchesStopped(replica),
            4 => Fault::ReplicaFrozen(replica),
            _ => Fault::SessionsOver,
        }
    }

    /// Begins and ends it.
    pub(super) fn meet(self, pair: &Replicated, database: &str, random: &mut impl rand::Rng) {
        let zookeeper = &pair.zookeeper;
        let mut a_while = || Duration::from_millis(random.random_range(500..3_000));
        match self {
            Fault::ZooKeeperFrozen => {
                zookeeper.pause();
                sleep(a_while());
                zookeeper.resume();
            }
            Fault::ZooKeeperKilled => {
                zookeeper.kill();
                sleep(a_while());
                zookeeper.restart().expect("zookeeper comes back");
            }
            Fault::SessionsOver => {
                zookeeper.pause();
                sleep(SESSION_OVER);
                zookeeper.resume();
            }
            Fault::ReplicaKilled(number) => {
                pair.replicas[number].kill();
                sleep(a_while());
                pair.replicas[number]
                    .restart()
                    .expect("the replica comes back");
            }
            Fault::ReplicaFrozen(number) => {
                pair.replicas[number].pause();
                sleep(a_while());
                pair.replicas[number].resume();
            }
            Fault::FetchesStopped(number) => {
                let replica = &pair.replicas[number];
                let each = |verb: &str| {
                    for table in tables(pair, number, database) {
                        replica.query(&format!("SYSTEM {verb} FETCHES {table}"));
                    }
                };
                each("STOP");
                sleep(a_while());
                each("START");
            }
        }
    }
}

/// The replicated tables of a database, as one replica has them.
fn tables(pair: &Replicated, number: usize, database: &str) -> Vec<String> {
    let sql = format!(
        "SELECT concat('`', database, '`.`', table, '`') FROM system.replicas WHERE database = '{database}'"
    );
    let names = pair.replicas[number].query(&sql);
    names.lines().map(str::to_owned).collect()
}

/// Brings both replicas to what they agree upon: a part that one of them could not finish is kept or dropped
/// within five minutes, or when its table is loaded.
pub(super) fn settle(pair: &Replicated, database: &str) {
    let all = tables(pair, 0, database);
    assert!(!all.is_empty(), "nothing is replicated in {database}");
    for table in &all {
        pair.on_both(&format!("DETACH TABLE {table}"))
            .expect("the table goes");
        pair.on_both(&format!("ATTACH TABLE {table}"))
            .expect("the table comes back");
        let name = table.rsplit('`').nth(1).expect("a quoted name");
        pair.wait_until_writable(database, name)
            .expect("the table is in use");
        pair.sync(table).expect("both have everything");
    }
}

fn events(run: &mut Run) {
    events_with(run, |_| {});
}

fn with_quorum(run: &mut Run) {
    events_with(run, |job| {
        job.set("clickhouse.settings.insert_quorum", 2);
        job.set("clickhouse.settings.insert_quorum_timeout", 2_000);
    });
}

fn events_with(run: &mut Run, set: impl Fn(&mut Job)) {
    let pair = pair();
    let mut job = Job::new(&run.name);
    put_on(&mut job, &pair);
    set(&mut job);
    let mut job = prepared(job, PARTITIONS);
    let traffic = Traffic::start(&job, PARTITIONS, RECORDS_PER_SECOND);
    let daemon = job.start("daemon", &[], "");
    for fault in Fault::all(run) {
        job.wait_for_more_rows(300);
        fault.meet(&pair, &job.database, &mut run.random);
    }
    job.wait_for_more_rows(300);
    let produced = traffic.finish();
    job.wait_for_commits_to_end();
    let log = daemon.log();
    daemon.stop();
    settle(&pair, &job.database);
    for replica in &pair.replicas {
        job.clickhouse_url = replica.url();
        let counts = proof::exactly_once(&job, produced, Profiles::AsInRedis);
        let counts = counts.unwrap_or_else(|violation| panic!("{}: {violation}\n{log}", job.topic));
        run.counts = proof::Counts::default();
        run.add(counts);
    }
    job.assert_committed_to_end();
    job.assert_audit_finds_nothing();
}

fn changes(run: &mut Run) {
    let pair = pair();
    let mut job = Job::replication(&run.name);
    put_on(&mut job, &pair);
    let mut replica = Replica::of(job, PARTITIONS, run.random.random());
    let traffic = replica.traffic(RECORDS_PER_SECOND / 2);
    let daemon = replica.start("daemon", "");
    for fault in Fault::all(run) {
        replica.wait_for_progress(300, Some(&daemon));
        fault.meet(&pair, &replica.job.database, &mut run.random);
    }
    replica.wait_for_progress(300, Some(&daemon));
    let produced = traffic.finish();
    replica.wait_for_end(&daemon);
    daemon.stop();
    settle(&pair, &replica.job.database);
    for server in &pair.replicas {
        replica.job.clickhouse_url = server.url();
        let counts = replica.assert_equal(produced);
        run.counts = proof::Counts::default();
        run.add(counts);
    }
    replica.job.assert_audit_finds_nothing();
    "equal to its source".clone_into(&mut run.result);
}

fn windows(run: &mut Run) {
    let pair = pair();
    let mut job = Job::aggregation(&run.name, "sales");
    put_on(&mut job, &pair);
    let kind = Kind::ALL[run.random.random_range(0..Kind::ALL.len())];
    let mut windows = Windows::of(job, kind, PARTITIONS, run.random.random());
    let traffic = windows.traffic(RECORDS_PER_SECOND);
    let daemon = windows.start("daemon", "");
    for fault in Fault::all(run) {
        windows.wait_for_progress(300, &daemon);
        fault.meet(&pair, &windows.job.database, &mut run.random);
    }
    windows.wait_for_progress(300, &daemon);
    let produced = traffic.finish();
    daemon.stop();
    windows.close();
    settle(&pair, &windows.job.database);
    for server in &pair.replicas {
        windows.job.clickhouse_url = server.url();
        let counts = windows.assert_equal(produced);
        run.counts = proof::Counts::default();
        run.add(counts);
    }
    windows.job.assert_audit_finds_nothing();
    "as an undisturbed run".clone_into(&mut run.result);
}
