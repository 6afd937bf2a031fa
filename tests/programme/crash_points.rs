//! Death at a named place.

use std::os::unix::process::ExitStatusExt as _;

use rand::Rng as _;
use streamweir::CRASH_POINTS;

use super::{Run, Trial, prepared};
use crate::support::proof::{Profiles, assert_exactly_once};
use crate::support::traffic::Traffic;
use crate::support::{Job, PATIENCE};

const PARTITIONS: i32 = 4;
const EVENTS_PER_SECOND: u64 = 1_000;
const PREFIX: &str = "crash-";

pub(super) fn trials() -> Vec<Trial> {
    let name = |point: &&str| format!("{PREFIX}{}", point.replace('_', "-"));
    let what = "SIGKILL at this crash point, each time reached";
    let trial = |point| Trial::new(&name(&point), what, 10, 1, at_one_point);
    CRASH_POINTS.into_iter().map(trial).collect()
}

fn at_one_point(run: &mut Run) {
    let point = run.name.strip_prefix(PREFIX).expect("so it is called");
    let point = point.replace('-', "_");
    let job = run.job(PARTITIONS);
    let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
    for _ in 0..run.times {
        let passes = run.random.random_range(0..8);
        die_at(&job, &point, passes);
    }
    let produced = traffic.finish();
    job.run_to_end();
    run.prove(&job, produced);
}

pub(super) fn every_point_once() {
    let job = prepared(Job::new("points"), PARTITIONS);
    let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
    for point in CRASH_POINTS {
        die_at(&job, point, 5);
    }
    let produced = traffic.finish();
    job.run_to_end();
    assert_exactly_once(&job, produced, Profiles::AsInRedis);
}

/// What brings a daemon to a crash point.
enum Provocation {
    /// Records alone; it dies after it has come by a few times.
    Traffic,
    /// The first assignment.
    Joining,
    /// Records whose rows were written before, because the snapshots are gone.
    Replaying,
    /// Time; it dies the second time.
    Snapshots,
    /// Another member takes partitions away.
    SecondMember,
    Sigterm,
}

fn provocation(point: &str) -> Provocation {
    match point {
        "before_restore" | "after_assign" => Provocation::Joining,
        "during_replay" => Provocation::Replaying,
        "before_snapshot" | "during_snapshot" | "after_snapshot" => Provocation::Snapshots,
        "before_revoke" | "after_revoke" => Provocation::SecondMember,
        "before_leave" => Provocation::Sigterm,
        _ => Provocation::Traffic,
    }
}

/// Runs a daemon until it dies at the point; a point that it never comes by fails the trial.
pub(super) fn die_at(job: &Job, point: &str, passes: u32) {
    let provocation = provocation(point);
    let failpoint = match provocation {
        Provocation::Traffic | Provocation::Replaying => format!("{point}={passes}*off->return"),
        Provocation::Snapshots => format!("{point}=1*off->return"),
        _ => format!("{point}=return"),
    };
    if matches!(provocation, Provocation::Replaying) {
        let daemon = job.start("before-replay", &[], "");
        job.wait_for_more_rows(500);
        daemon.stop();
        job.forget_snapshots();
    }
    let daemon = job.start(&format!("dies-{point}"), &[], &failpoint);
    let second = match provocation {
        Provocation::Traffic
        | Provocation::Joining
        | Provocation::Replaying
        | Provocation::Snapshots => None,
        Provocation::SecondMember => {
            job.wait_for_more_rows(500);
            Some(job.start(&format!("second-{point}"), &[], ""))
        }
        Provocation::Sigterm => {
            job.wait_for_more_rows(500);
            daemon.process.terminate();
            None
        }
    };
    let status = daemon.process.wait(PATIENCE);
    let status =
        status.unwrap_or_else(|e| panic!("{point} is never reached: {e}\n{}", daemon.log()));
    assert_eq!(
        status.signal(),
        Some(libc::SIGKILL),
        "{status}: {}",
        daemon.log()
    );
    let last_words = format!("crash point {point}");
    assert!(daemon.log().contains(&last_words), "{}", daemon.log());
    if let Some(second) = second {
        job.wait_for_more_rows(500);
        second.stop();
    }
}
