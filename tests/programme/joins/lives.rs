//! Daemons that die or end at any moment, alone.

use std::time::Duration;

use rand::Rng as _;

use super::{RECORDS_PER_SECOND, Run, Trial};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new(
            "join-kills",
            "join; SIGKILL at a random moment",
            120,
            5,
            kills,
        ),
        Trial::new(
            "join-stops",
            "join; SIGTERM, or a run to the end, at a random moment",
            40,
            4,
            stops,
        ),
    ]
}

fn kills(run: &mut Run) {
    for (kind, times) in run.join_shares() {
        let mut joins = run.joins(kind);
        let job = &mut joins.job;
        job.set("kafka.properties.session.timeout.ms", 1_000);
        job.set("kafka.properties.heartbeat.interval.ms", 200);
        job.set("pipeline.consumers", run.random.random_range(1..=2));
        let traffic = joins.traffic(RECORDS_PER_SECOND);
        for life in 0..times {
            let instance = format!("life-{life}");
            // Without a name the next life waits until the broker has given up a transaction that is open.
            let daemon = if run.random.random_ratio(3, 4) {
                joins.start_named(&instance, "a", "")
            } else {
                joins.start(&instance, "")
            };
            if !run.random.random_ratio(1, 4) {
                daemon.wait_for_log("partition begins");
            }
            let lifetime = Duration::from_millis(run.random.random_range(0..2_500));
            std::thread::sleep(lifetime);
            assert!(daemon.process.try_wait().is_none(), "{}", daemon.log());
            daemon.process.kill();
        }
        let produced = traffic.finish();
        joins.close();
        run.prove_joins(&joins, produced);
    }
}

fn stops(run: &mut Run) {
    for (kind, times) in run.join_shares() {
        let joins = run.joins(kind);
        let traffic = joins.traffic(RECORDS_PER_SECOND);
        for life in 0..times {
            if run.random.random_ratio(1, 2) {
                joins.job.run_to_end();
            } else {
                let daemon = joins.start(&format!("life-{life}"), "");
                joins.wait_for_progress(run.random.random_range(1..400), &daemon);
                daemon.stop();
            }
        }
        let produced = traffic.finish();
        joins.close();
        run.prove_joins(&joins, produced);
    }
}
