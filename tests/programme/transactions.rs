//! Ranges that end in transaction markers.

use rand::Rng as _;

use super::{Run, Trial};
use crate::programme::crash_points::die_at;
use crate::support::traffic::Traffic;

const PARTITIONS: i32 = 2;

pub(super) fn trials() -> Vec<Trial> {
    vec![Trial::new(
        "transactions",
        "SIGKILL at each of four crash points while producers commit and abort transactions",
        10,
        1,
        transactions,
    )]
}

fn transactions(run: &mut Run) {
    let job = run.job(PARTITIONS);
    let traffic = Traffic::start_transactions(&job, PARTITIONS);
    for _ in 0..run.times {
        for point in [
            "after_naming_commit",
            "before_insert",
            "after_insert_acknowledged",
            "before_commit",
        ] {
            die_at(&job, point, run.random.random_range(0..6));
        }
    }
    let produced = traffic.finish();
    job.run_to_end();
    run.prove(&job, produced);
}
