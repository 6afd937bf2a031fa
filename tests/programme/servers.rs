//! Servers that die, restart or stand still.

use std::time::Duration;

use sandbox::clickhouse::ClickHouse;
use sandbox::fault::{Fault, Matcher, Proxy};
use sandbox::kafka::{Kafka, KafkaOptions};
use sandbox::redis::Redis;
use sandbox::wait;

use super::{Run, Trial, prepared};
use crate::support::proof::Profiles;
use crate::support::traffic::Traffic;
use crate::support::{Daemon, Job, PATIENCE};

const PARTITIONS: i32 = 3;
const EVENTS_PER_SECOND: u64 = 700;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new(
            "clickhouse-killed",
            "ClickHouse killed in the middle of an insert, and started again",
            20,
            2,
            clickhouse_killed,
        ),
        Trial::new(
            "broker-restarted",
            "the Kafka broker killed or stopped in turn, and started again",
            10,
            2,
            broker_restarted,
        ),
        Trial::new(
            "redis-away",
            "seconds without an answer of Redis, on_unavailable = \"wait\"",
            60,
            5,
            redis_away,
        ),
        Trial::new(
            "redis-defaults",
            "seconds without an answer of Redis, on_unavailable = \"use_defaults\"",
            60,
            5,
            redis_defaults,
        ),
    ]
}

fn clickhouse_killed(run: &mut Run) {
    let clickhouse = ClickHouse::start().expect("an engine");
    let mut job = Job::new(&run.name);
    job.clickhouse_url = clickhouse.url();
    let proxy = Proxy::start(&clickhouse.url()).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    // The wait for an insert that may still be running is as long as these two.
    job.set("clickhouse.insert_lease", "2s");
    job.set("clickhouse.insert_timeout", "2s");
    let job = prepared(job, PARTITIONS);
    let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
    let daemon = job.start("daemon", &[], "");
    for _ in 0..run.times {
        job.wait_for_more_rows(500);
        let arriving = proxy.inject(Matcher::inserts(), Fault::CutMidBody { bytes: 4_000 }, 1);
        arriving
            .wait_for_hits(1, PATIENCE)
            .expect("an insert arrives");
        clickhouse.kill();
        // So long nobody listens.
        std::thread::sleep(Duration::from_millis(500));
        clickhouse.restart().expect("the engine comes back");
    }
    finish(run, &job, &daemon, traffic);
}

fn broker_restarted(run: &mut Run) {
    let kafka = Kafka::start(KafkaOptions::default()).expect("a broker");
    let mut job = Job::new(&run.name);
    job.bootstrap = kafka.bootstrap().to_owned();
    job.set("kafka.bootstrap_servers", vec![job.bootstrap.clone()]);
    // A client that does not join its group any more is replaced after this and the session's timeout.
    job.set("kafka.properties.max.poll.interval.ms", 40_000);
    let job = prepared(job, PARTITIONS);
    let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
    let daemon = job.start("daemon", &[], "");
    for number in 0..run.times {
        job.wait_for_more_rows(500);
        if number % 2 == 0 {
            kafka.kill();
        } else {
            kafka.stop();
        }
        kafka.restart().expect("the broker comes back");
    }
    finish(run, &job, &daemon, traffic);
}

fn finish(run: &mut Run, job: &Job, daemon: &Daemon, traffic: Traffic) {
    job.wait_for_more_rows(1_000);
    let produced = traffic.finish();
    job.wait_for_commits_to_end();
    daemon.stop();
    run.prove(job, produced);
}

fn redis_away(run: &mut Run) {
    let (job, _) = with_redis_standing_still(run, "wait", Profiles::AsInRedis);
    assert_eq!(without_answer(&job), 0);
}

fn redis_defaults(run: &mut Run) {
    let (job, metrics) = with_redis_standing_still(run, "use_defaults", Profiles::OrDefaults);
    assert!(without_answer(&job) > 0, "redis was never missed");
    assert!(unavailable_lookups(&metrics) > 0.0, "{metrics}");
}

/// Runs under traffic while Redis stands still; returns the daemon's metrics after.
fn with_redis_standing_still(
    run: &mut Run,
    on_unavailable: &str,
    profiles: Profiles,
) -> (Job, String) {
    let redis = Redis::start().expect("redis");
    let mut job = Job::new(&run.name);
    job.set("redis.url", redis.url());
    let mut job = prepared(job, PARTITIONS);
    job.set("pipeline.lookup.on_unavailable", on_unavailable);
    // Every event asks again.
    job.set("pipeline.lookup.cache_ttl", "1ms");
    let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
    let daemon = job.start("daemon", &[], "");
    job.wait_for_more_rows(500);
    redis.pause();
    std::thread::sleep(Duration::from_secs(run.times.into()));
    if profiles == Profiles::OrDefaults {
        let is_missed = || {
            let (_, metrics) = daemon.get("/metrics")?;
            (unavailable_lookups(&metrics) > 0.0).then_some(())
        };
        wait::until("redis is missed", PATIENCE, is_missed)
            .unwrap_or_else(|e| panic!("{e}\n{}", daemon.log()));
    }
    redis.resume();
    job.wait_for_more_rows(1_000);
    let produced = traffic.finish();
    job.wait_for_commits_to_end();
    let (_, metrics) = daemon.get("/metrics").expect("metrics");
    daemon.stop();
    run.prove_with(&job, produced, profiles);
    (job, metrics)
}

/// Rows of users who have a profile, without it.
fn without_answer(job: &Job) -> u64 {
    let sql = "SELECT count() FROM {db}.clickstream_events WHERE user_email = '' AND user_id <= 20";
    job.query(sql).parse().expect("a number")
}

fn unavailable_lookups(metrics: &str) -> f64 {
    let is_it = |line: &&str| {
        line.starts_with("streamweir_lookups_total{") && line.contains("result=\"unavailable\"")
    };
    let values = metrics.lines().filter(is_it);
    values
        .map(|line| {
            line.rsplit(' ')
                .next()
                .expect("a value")
                .parse::<f64>()
                .expect("a number")
        })
        .sum()
}
