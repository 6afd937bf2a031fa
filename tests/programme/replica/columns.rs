//! Columns that come while members share the partitions.

use super::{CHANGES_PER_SECOND, Run, Trial};

pub(super) fn trials() -> Vec<Trial> {
    vec![Trial::new(
        "cdc-columns",
        "change records; columns with and without default come while partitions are read unevenly",
        10,
        2,
        columns,
    )]
}

/// What was not read before a column came is written after it, by a daemon that begins anew.
fn columns(run: &mut Run) {
    let replica = run.replica();
    let traffic = replica.traffic(CHANGES_PER_SECOND);
    for number in 0..run.times {
        let daemon = replica.start(&format!("daemon-{number}"), "");
        replica.wait_for_progress(500, Some(&daemon));
        replica.source().add_column("orders", true);
        replica.source().add_column("notes", false);
        daemon.wait_for_log("table altered");
        daemon.process.kill();
    }
    let produced = traffic.finish();
    replica.job.run_to_end();
    run.prove_equal(&replica, produced);
}
