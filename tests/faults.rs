//! Nothing is lost and nothing doubled when the network or a server fails.

mod support;

use std::time::Duration;

use sandbox::clickhouse::ClickHouse;
use sandbox::fault::{Fault, Injection, Matcher, Proxy};
use sandbox::generate::{ProfileEncoding, load_profiles};
use sandbox::redis::Redis;
use support::traffic::{Traffic, USERS, assert_exactly_once};
use support::{Daemon, Job, PATIENCE};

const PARTITIONS: i32 = 3;
const EVENTS_PER_SECOND: u64 = 1_000;

/// A daemon under traffic that reaches ClickHouse by way of a proxy.
struct Faulty {
    job: Job,
    proxy: Proxy,
    daemon: Daemon,
    traffic: Traffic,
}

impl Faulty {
    fn start(name: &str) -> Faulty {
        let mut job = Job::small_batches(name, PARTITIONS);
        let proxy = Proxy::start(&job.clickhouse_url).expect("a proxy");
        job.set("clickhouse.url", proxy.url());
        let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
        let daemon = job.start("daemon", &[], "");
        job.wait_for_more_rows(300);
        Faulty {
            job,
            proxy,
            daemon,
            traffic,
        }
    }

    /// The next inserts meet the fault; returns once all of them have.
    fn meet(&self, fault: Fault, times: usize) -> Injection {
        let injection = self.proxy.inject(Matcher::inserts(), fault, times);
        let met = injection.wait_for_hits(times, PATIENCE);
        met.unwrap_or_else(|e| panic!("{e:#}\n{}", self.daemon.log()));
        injection
    }

    /// Traffic goes on, then everything is there once.
    fn finish(self) {
        self.job.wait_for_more_rows(1_000);
        let produced = self.traffic.finish();
        self.job.wait_for_commits_to_end();
        self.daemon.stop();
        assert_exactly_once(&self.job, produced);
    }
}

#[test]
fn lost_replies_double_nothing() {
    let faulty = Faulty::start("lost-replies");
    faulty.meet(Fault::FailAfterWrite, 8);
    faulty.daemon.wait_for_log("looked before writing again");
    faulty.finish();
}

#[test]
fn replies_that_come_late_double_nothing() {
    let faulty = Faulty::start("late-replies");
    let held = faulty.meet(Fault::HoldResponse, 3);
    // Longer than a session: a reply that is awaited must not cost the membership.
    std::thread::sleep(Duration::from_secs(4));
    held.release();
    held.wait_for_finished(3, PATIENCE)
        .expect("they are let go");
    let delay = Duration::from_millis(700);
    faulty.meet(Fault::RespondSlowly { delay }, 6);
    faulty.finish();
}

#[test]
fn duplicated_inserts_double_nothing() {
    let faulty = Faulty::start("duplicates");
    faulty.meet(Fault::Duplicate, 10);
    faulty.finish();
}

#[test]
fn refused_inserts_are_tried_again() {
    let faulty = Faulty::start("refusals");
    let busy = Fault::exception(
        500,
        252,
        "Too many parts (300). Merges are processing slower than inserts. (TOO_MANY_PARTS)",
    );
    faulty.meet(busy, 4);
    let memory = Fault::exception(
        500,
        241,
        "Memory limit (total) exceeded. (MEMORY_LIMIT_EXCEEDED)",
    );
    faulty.meet(memory, 4);
    let nameless = Fault::Reject {
        status: 500,
        body: "oops".to_owned(),
    };
    faulty.meet(nameless, 4);
    faulty.meet(
        Fault::Reject {
            status: 503,
            body: String::new(),
        },
        4,
    );
    faulty.finish();
}

#[test]
fn cut_connections_lose_and_double_nothing() {
    let faulty = Faulty::start("cuts");
    faulty.meet(Fault::Disconnect, 4);
    faulty.meet(Fault::CutMidBody { bytes: 3_000 }, 4);
    faulty.meet(Fault::CutMidBody { bytes: 0 }, 4);
    faulty.finish();
}

#[test]
fn a_server_killed_during_inserts_loses_and_doubles_nothing() {
    let clickhouse = ClickHouse::start().expect("an engine");
    let mut job = Job::new("killed-server");
    job.set_small_batches();
    job.clickhouse_url = clickhouse.url();
    let proxy = Proxy::start(&clickhouse.url()).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    // The wait for an insert that may still be running is as long as these two.
    job.set("clickhouse.insert_lease", "2s");
    job.set("clickhouse.insert_timeout", "2s");
    job.apply_schema();
    job.create_topic(PARTITIONS);
    let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
    let daemon = job.start("daemon", &[], "");
    for _ in 0..3 {
        job.wait_for_more_rows(500);
        let arriving = proxy.inject(Matcher::inserts(), Fault::CutMidBody { bytes: 4_000 }, 1);
        arriving
            .wait_for_hits(1, PATIENCE)
            .expect("an insert arrives");
        clickhouse.kill();
        std::thread::sleep(Duration::from_millis(500));
        clickhouse.restart().expect("the engine comes back");
    }
    job.wait_for_more_rows(1_000);
    let produced = traffic.finish();
    job.wait_for_commits_to_end();
    daemon.stop();
    assert_exactly_once(&job, produced);
}

/// Runs under traffic while Redis stands still for some seconds; returns the daemon's metrics after.
fn with_redis_standing_still(on_unavailable: &str) -> (Job, String) {
    let redis = Redis::start().expect("redis");
    let mut job = Job::small_batches(
        &format!("redis-{}", on_unavailable.replace('_', "-")),
        PARTITIONS,
    );
    job.set("redis.url", redis.url());
    job.set("pipeline.lookup.on_unavailable", on_unavailable);
    // Every event asks again.
    job.set("pipeline.lookup.cache_ttl", "1ms");
    let prefix = format!("{}user:profile:", job.prefix);
    load_profiles(&redis.url(), &prefix, USERS, ProfileEncoding::Json).expect("profiles");
    let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
    let daemon = job.start("daemon", &[], "");
    job.wait_for_more_rows(500);
    redis.pause();
    std::thread::sleep(Duration::from_secs(5));
    redis.resume();
    job.wait_for_more_rows(1_000);
    let produced = traffic.finish();
    job.wait_for_commits_to_end();
    let (_, metrics) = daemon.get("/metrics").expect("metrics");
    daemon.stop();
    assert_exactly_once(&job, produced);
    (job, metrics)
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

const WITHOUT_PROFILE: &str = "SELECT count() FROM {db}.clickstream_events WHERE user_email = ''";

#[test]
fn events_wait_for_a_lookup_that_does_not_answer_and_keep_their_profiles() {
    let (job, _) = with_redis_standing_still("wait");
    assert_eq!(job.query(WITHOUT_PROFILE), "0");
}

#[test]
fn events_get_defaults_when_that_is_asked_for_and_are_counted() {
    let (job, metrics) = with_redis_standing_still("use_defaults");
    let without: u64 = job.query(WITHOUT_PROFILE).parse().expect("a number");
    assert!(without > 0, "redis was never missed");
    assert!(unavailable_lookups(&metrics) > 0.0, "{metrics}");
}
