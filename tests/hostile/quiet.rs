//! A producer that falls silent.

use sandbox::redis::Redis;

use crate::support::Job;

#[test]
fn the_last_event_is_written_though_its_profile_came_late_and_no_event_follows() {
    let redis = Redis::start().expect("redis");
    let mut job = Job::new("quiet");
    job.set("redis.url", redis.url());
    job.set("redis.timeout", "100ms");
    job.apply_schema();
    job.create_topic(1);
    let daemon = job.start("daemon", &[], "");
    job.produce_events(0, 0..1);
    job.wait_for_rows(1);
    redis.pause();
    job.produce_events(0, 1..2);
    daemon.wait_for_log("redis does not answer");
    redis.resume();
    job.wait_for_rows(2);
    daemon.stop();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (2, 2));
}
