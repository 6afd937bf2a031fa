//! Records after which nothing comes for a long time.

use std::time::Duration;

use crate::support::{Job, PATIENCE};
use sandbox::redis::Redis;
use sandbox::topic;

/// A daemon must not need another record to write the last one.
#[test]
fn a_record_whose_profile_took_its_time_is_written_without_another_one_coming() {
    let redis = Redis::start().expect("redis");
    let mut job = Job::new("lone");
    job.set("redis.url", redis.url());
    job.set("redis.timeout", "60s");
    job.apply_schema();
    job.create_topic(1);
    let daemon = job.start("daemon", &[], "");
    daemon.wait_for_log("partition begins");
    redis.pause();
    job.produce_events(0, 0..10);
    let is_paused = || {
        let (_, metrics) = daemon.get("/metrics")?;
        metrics
            .contains("streamweir_paused_seconds_total{pipeline=\"clickstream\",reason=\"lookup\"}")
            .then_some(())
    };
    sandbox::wait::until("the lane waits for profiles", PATIENCE, is_paused)
        .unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
    // A lane that waits sleeps: it must not take a processor for as long as Redis is away.
    let before = daemon.cpu_seconds();
    std::thread::sleep(Duration::from_secs(2));
    let taken = daemon.cpu_seconds() - before;
    assert!(taken < 0.5, "{taken} s of processor in 2 s of waiting");
    redis.resume();
    job.wait_for_rows(10);
    daemon.stop();
    assert_eq!(job.rows_and_offsets(), (10, 10));
}

/// The rest of a chunk behind a range that a predecessor named.
#[test]
fn records_behind_a_replayed_range_are_written_without_another_one_coming() {
    let mut job = Job::new("behind");
    job.set_small_batches();
    job.apply_schema();
    job.create_topic(1);
    job.produce_events(0, 0..10);
    let dies = job.start("dies", &[], "before_insert=return");
    dies.process.wait(PATIENCE).expect("it dies");
    let named = job.committed()[&0].metadata.clone();
    assert!(named.contains(" 10 i"), "a range is named: {named}");
    job.produce_events(0, 10..15);
    let daemon = job.start("daemon", &[], "");
    job.wait_for_rows(15);
    daemon.stop();
    assert_eq!(job.rows_and_offsets(), (15, 15));
    let ends = topic::end_offsets(job.bootstrap(), &job.topic).expect("an end");
    assert_eq!(job.committed()[&0].offset, ends[&0]);
}
