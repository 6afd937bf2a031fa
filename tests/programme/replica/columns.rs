//! Columns that come while members share the partitions.

use std::time::Duration;

use super::{CHANGES_PER_SECOND, Run, Trial};
use crate::support::replica::Replica;

pub(super) fn trials() -> Vec<Trial> {
    vec![Trial::new(
        "cdc-columns",
        "change records; columns with and without default come while partitions are read unevenly",
        10,
        2,
        columns,
    )]
}

/// Columns come while no daemon runs, so that one partition's records of before are read after another's
/// that have them; and while one runs, which dies at once.
fn columns(run: &mut Run) {
    let replica = run.replica();
    let mut produced = 0;
    for number in 0..run.times {
        let stretch = |replica: &Replica| {
            let traffic = replica.traffic(10 * CHANGES_PER_SECOND);
            std::thread::sleep(Duration::from_millis(500));
            traffic.finish()
        };
        produced += stretch(&replica);
        add_columns(&replica);
        produced += stretch(&replica);
        let traffic = replica.traffic(CHANGES_PER_SECOND);
        let daemon = replica.start(&format!("daemon-{number}"), "");
        replica.wait_for_progress(500, Some(&daemon));
        add_columns(&replica);
        daemon.wait_for_log("table altered");
        daemon.process.kill();
        produced += traffic.finish();
    }
    replica.job.run_to_end();
    run.prove_equal(&replica, produced);
}

fn add_columns(replica: &Replica) {
    replica.source().add_column("orders", false);
    replica.source().add_column("notes", false);
}
