//! Daemons that die at any moment, alone, and a group that is set back.

use std::time::Duration;

use rand::Rng as _;
use sandbox::topic::{self, Committed};

use super::{PARTITIONS, Run, SALES_PER_SECOND, Trial};
use crate::support::Job;
use crate::support::windows::Kind;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new(
            "win-kills",
            "windows; SIGKILL at a random moment",
            120,
            6,
            kills,
        ),
        Trial::new(
            "win-disk",
            "windows that are all on disk; SIGKILL at a random moment",
            40,
            4,
            |run| kills_of(run, Kind::OnDisk, run.times),
        ),
        Trial::new(
            "win-stops",
            "windows; SIGTERM, or a run to the end and --close, at a random moment",
            40,
            4,
            stops,
        ),
        Trial::new(
            "win-group-reset",
            "windows; the group set back to 0 while the daemon is down, which is killed as it reads again",
            8,
            1,
            group_reset,
        ),
    ]
}

fn kills(run: &mut Run) {
    for (kind, times) in run.shares() {
        kills_of(run, kind, times);
    }
}

fn kills_of(run: &mut Run, kind: Kind, times: u32) {
    let mut windows = run.windows(kind);
    let job = &mut windows.job;
    job.set("kafka.properties.session.timeout.ms", 1_000);
    job.set("kafka.properties.heartbeat.interval.ms", 200);
    let traffic = windows.traffic(SALES_PER_SECOND);
    for life in 0..times {
        let daemon = windows.start(&format!("life-{life}"), "");
        if !run.random.random_ratio(1, 4) {
            daemon.wait_for_log("partition begins");
        }
        let lifetime = Duration::from_millis(run.random.random_range(0..2_500));
        std::thread::sleep(lifetime);
        assert!(daemon.process.try_wait().is_none(), "{}", daemon.log());
        daemon.process.kill();
    }
    let produced = traffic.finish();
    windows.close();
    run.prove_windows(&windows, produced);
}

/// What is written early, because a run ends, is written again in full.
fn stops(run: &mut Run) {
    for (kind, times) in run.shares() {
        let windows = run.windows(kind);
        let traffic = windows.traffic(SALES_PER_SECOND);
        for life in 0..times {
            match run.random.random_range(0..3) {
                0 => windows.close(),
                1 => windows.job.run_to_end(),
                _ => {
                    let daemon = windows.start(&format!("life-{life}"), "");
                    windows.wait_for_progress(run.random.random_range(1..500), &daemon);
                    daemon.stop();
                }
            }
        }
        let produced = traffic.finish();
        windows.close();
        run.prove_windows(&windows, produced);
    }
}

fn group_reset(run: &mut Run) {
    for (kind, times) in run.shares() {
        let windows = run.windows(kind);
        let mut produced = 0;
        for number in 0..times {
            let traffic = windows.traffic(SALES_PER_SECOND);
            let daemon = windows.start(&format!("daemon-{number}"), "");
            windows.wait_for_progress(1_000, &daemon);
            daemon.stop();
            produced += traffic.finish();
            set_back(&windows.job);
            let again = windows.start(&format!("again-{number}"), "");
            again.wait_for_log("partition begins");
            std::thread::sleep(Duration::from_millis(run.random.random_range(0..1_500)));
            again.process.kill();
        }
        windows.close();
        run.prove_windows(&windows, produced);
    }
}

fn set_back(job: &Job) {
    let beginning = Committed {
        offset: 0,
        metadata: String::new(),
    };
    for partition in 0..PARTITIONS {
        let (group, topic) = (&job.group, &job.topic);
        topic::commit(job.bootstrap(), group, topic, partition, &beginning).expect("committed");
    }
}
