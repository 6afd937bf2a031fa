//! `service.memory_max` is kept where it is hardest: records of 1 MiB that do not compress, and a
//! server that takes connections and says nothing while a backlog waits.

mod support;

use sandbox::fault::{Fault, Matcher, Proxy};
use sandbox::topic::{self, Record};
use sandbox::wait;
use support::proof::{Profiles, assert_exactly_once};
use support::{Daemon, EVENT_TIME_MS, Job, PATIENCE, event};

const PARTITIONS: i32 = 4;
/// More than the process may hold.
const RECORDS: u32 = 320;
const RECORD_BYTES: usize = 1 << 20;
const MEMORY_MAX_MIB: u64 = 256;

/// A topic of [`RECORDS`] records of 1 MiB, and a pipeline that reads it with shipped batches.
fn huge_records(name: &str) -> Job {
    let mut job = Job::new(name);
    job.set("service.memory_max", format!("{MEMORY_MAX_MIB}MiB"));
    job.set("pipeline.batch.flush_interval", "5s");
    job.apply_schema();
    let settings = [("max.message.bytes", "2097152"), ("retention.ms", "-1")];
    topic::create(job.bootstrap(), &job.topic, PARTITIONS, &settings).expect("a topic");
    let noise = noise();
    let record = |number: u32| {
        Record::new(huge_event(number, &noise))
            .partition(i32::try_from(number).expect("small") % PARTITIONS)
            .timestamp_ms(EVENT_TIME_MS + i64::from(number) * 1000)
    };
    topic::produce(job.bootstrap(), &job.topic, (0..RECORDS).map(record)).expect("records");
    job
}

/// Exactly [`RECORD_BYTES`] of JSON, most of it letters in which LZ4 finds nothing.
fn huge_event(number: u32, noise: &str) -> String {
    let filled = |text: &str| event(number, &format!(r#","properties":{{"text":"{text}"}}"#));
    filled(&noise[..RECORD_BYTES - filled("").len()])
}

fn noise() -> String {
    // Xorshift64 (Marsaglia 2003), six bits a letter.
    let mut state = 0x9e37_79b9_u64;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
        char::from(letters[usize::try_from(state >> 58).expect("six bits")])
    };
    (0..RECORD_BYTES).map(letter).collect()
}

fn assert_memory_was_kept(daemon: &Daemon) {
    let peak = daemon.peak_mib();
    let (_, metrics) = daemon.get("/metrics").expect("metrics");
    let held = metrics
        .lines()
        .filter(|line| line.starts_with("streamweir_memory_bytes"));
    let held: Vec<&str> = held.collect();
    assert!(
        peak <= MEMORY_MAX_MIB,
        "{peak} MiB at its peak, of {MEMORY_MAX_MIB}: {held:#?}"
    );
    println!("peak {peak} MiB of {MEMORY_MAX_MIB}");
}

fn paused_for_memory_seconds(daemon: &Daemon) -> f64 {
    let (_, metrics) = daemon.get("/metrics").unwrap_or_default();
    let is_it = |line: &&str| {
        line.starts_with("streamweir_paused_seconds_total{") && line.contains("reason=\"memory\"")
    };
    let line = metrics.lines().find(is_it);
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or(0.0)
}

#[test]
fn a_backlog_of_huge_records_stays_within_the_memory_limit() {
    let job = huge_records("huge-records");
    let daemon = job.start("daemon", &[], "");
    job.wait_for_rows(RECORDS as usize);
    job.wait_for_commits_to_end();
    assert_memory_was_kept(&daemon);
    daemon.stop();
    assert_exactly_once(&job, RECORDS.into(), Profiles::AsInRedis);
}

#[test]
fn a_server_that_hangs_on_a_backlog_stops_the_reading_within_the_memory_limit() {
    let mut job = huge_records("hanging-server");
    let proxy = Proxy::start(&job.clickhouse_url).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    // So that inserts also end without an answer, and are tried again, while it hangs.
    job.set("clickhouse.insert_timeout", "1s");
    let held = proxy.inject(Matcher::inserts(), Fault::HoldRequest, usize::MAX);
    let daemon = job.start("daemon", &[], "");
    let is_full = || (paused_for_memory_seconds(&daemon) >= 10.0).then_some(());
    wait::until("memory stops the reading", PATIENCE, is_full)
        .unwrap_or_else(|e| panic!("{e}\n{}", daemon.log()));
    held.stop();
    held.release();
    job.wait_for_commits_to_end();
    assert_memory_was_kept(&daemon);
    daemon.stop();
    assert_exactly_once(&job, RECORDS.into(), Profiles::AsInRedis);
}
