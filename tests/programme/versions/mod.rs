//! Servers of other versions than those that all tests run on: what is promised holds on each. `make
//! test-versions` fetches them, and its table is that of docs/support.md.

mod brokers;
mod types;

use rand::Rng as _;
use sandbox::clickhouse::ClickHouse;
use sandbox::fault::{Fault, Matcher, Proxy};
use sandbox::shared;

use super::{Run, Trial, prepared};
use crate::support::replica::Replica;
use crate::support::traffic::Traffic;
use crate::support::windows::{Kind, Windows};
use crate::support::{Job, PATIENCE};

const PARTITIONS: i32 = 3;
const RECORDS_PER_SECOND: u64 = 400;
/// What `make test` runs.
const OLDEST: &str = "24.8";
const OF_ENGINES: &str = "events, replicas of tables, windows and all types on this engine; an answer lost and a SIGKILL each time";

pub(super) fn trials() -> Vec<Trial> {
    let engine = |name, act| Trial::new(name, OF_ENGINES, 10, 1, act);
    let mut trials = vec![
        engine("version-clickhouse-24.8", |run| older(run, OLDEST)),
        engine("version-clickhouse-25.8", |run| older(run, "25.8")),
        engine("version-clickhouse-26.3", |run| older(run, "26.3")),
        engine("version-clickhouse-26.7", |run| {
            on_engine(run, &shared().clickhouse);
        }),
    ];
    trials.extend(brokers::trials());
    trials
}

fn older(run: &mut Run, version: &'static str) {
    if !ClickHouse::has_version(version) {
        assert!(version != OLDEST, "`install.sh tests` fetches this engine");
        return run.skip("`make test-versions` fetches this engine");
    }
    let engine = ClickHouse::start_version(version).expect("the engine starts");
    on_engine(run, &engine);
}

fn on_engine(run: &mut Run, engine: &ClickHouse) {
    let version = engine.query("SELECT version()");
    events(run, engine);
    changes(run, engine);
    if run.times > 1 {
        windows(run, engine);
    }
    let types = types::read_alike(run, engine);
    run.result = format!("{version}: exactly once, equal, {types}");
}

/// Points a job at an engine.
fn on(mut job: Job, engine: &ClickHouse) -> Job {
    job.clickhouse_url = engine.url();
    job.set("clickhouse.url", engine.url());
    job
}

fn events(run: &mut Run, engine: &ClickHouse) {
    let mut job = prepared(on(Job::new(&named(run)), engine), PARTITIONS);
    assert_doctor_finds_no_error(&job);
    let proxy = Proxy::start(&engine.url()).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    let traffic = Traffic::start(&job, PARTITIONS, RECORDS_PER_SECOND);
    for life in 0..run.times {
        let daemon = job.start(&format!("life-{life}"), &[], "");
        job.wait_for_more_rows(300);
        let lost = proxy.inject(Matcher::inserts(), Fault::FailAfterWrite, 1);
        let met = lost.wait_for_hits(1, PATIENCE);
        met.unwrap_or_else(|e| panic!("{e:#}\n{}", daemon.log()));
        daemon.process.kill();
    }
    let produced = traffic.finish();
    job.run_to_end();
    run.prove(&job, produced);
}

fn changes(run: &mut Run, engine: &ClickHouse) {
    let job = on(Job::replication(&format!("{}-cdc", named(run))), engine);
    let seed = run.random.random();
    let replica = Replica::of(job, PARTITIONS, seed);
    let traffic = replica.traffic(RECORDS_PER_SECOND / 2);
    for life in 0..run.times {
        let daemon = replica.start(&format!("life-{life}"), "");
        replica.wait_for_progress(200, Some(&daemon));
        daemon.process.kill();
    }
    let produced = traffic.finish();
    let daemon = replica.start("to-end", "");
    replica.wait_for_end(&daemon);
    daemon.stop();
    run.prove_equal(&replica, produced);
}

fn windows(run: &mut Run, engine: &ClickHouse) {
    let job = on(
        Job::aggregation(&format!("{}-win", named(run)), "sales"),
        engine,
    );
    let seed = run.random.random();
    let windows = Windows::of(job, Kind::ALL[0], PARTITIONS, seed);
    let traffic = windows.traffic(RECORDS_PER_SECOND);
    let daemon = windows.start("life", "");
    windows.wait_for_progress(300, &daemon);
    daemon.process.kill();
    let produced = traffic.finish();
    windows.close();
    run.add(windows.assert_equal(produced));
    windows.job.assert_audit_finds_nothing();
}

/// A server of this version is nothing to fix.
fn assert_doctor_finds_no_error(job: &Job) {
    let asked = || job.inspect(&["doctor", "--json"]);
    let (mut code, mut out, mut err) = asked();
    // One of a busy machine may answer later than it is waited for.
    for _ in 0..2 {
        if code == 0 || !out.contains("_unreachable") {
            break;
        }
        (code, out, err) = asked();
    }
    assert_eq!(code, 0, "{out}{err}");
}

/// A name of databases has no dots.
fn named(run: &Run) -> String {
    run.name.replace('.', "-")
}
