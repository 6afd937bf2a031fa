//! Death at any moment.

use std::time::Duration;

use rand::Rng as _;

use super::{Run, Trial};
use crate::support::traffic::Traffic;

const PARTITIONS: i32 = 4;
const EVENTS_PER_SECOND: u64 = 700;

pub(super) fn trials() -> Vec<Trial> {
    vec![Trial::new(
        "kills",
        "SIGKILL at a random moment",
        200,
        20,
        at_random,
    )]
}

/// One life in four ends at any moment from its start on, the others some time after partitions
/// are theirs: a group that misses a dead member is slow to give them away.
fn at_random(run: &mut Run) {
    let mut job = run.job(PARTITIONS);
    job.set("kafka.properties.session.timeout.ms", 1_000);
    job.set("kafka.properties.heartbeat.interval.ms", 200);
    let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
    let (mut life, enough) = (0, 50 * u64::from(run.times));
    while life < run.times || job.row_count() <= enough {
        assert!(
            life < 3 * run.times,
            "the lives were too short to write anything"
        );
        let daemon = job.start(&format!("life-{life}"), &[], "");
        if !run.random.random_ratio(1, 4) {
            daemon.wait_for_log("partition begins");
        }
        let lifetime = Duration::from_millis(run.random.random_range(0..2_500));
        std::thread::sleep(lifetime);
        assert!(daemon.process.try_wait().is_none(), "{}", daemon.log());
        daemon.process.kill();
        life += 1;
    }
    let produced = traffic.finish();
    job.run_to_end();
    run.prove(&job, produced);
}
