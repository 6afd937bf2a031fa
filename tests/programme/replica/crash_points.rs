//! Death at a named place.

use std::os::unix::process::ExitStatusExt as _;

use rand::Rng as _;
use streamweir::{CRASH_POINTS, REPLICA_CRASH_POINTS};

use super::{CHANGES_PER_SECOND, PARTITIONS, Run, Trial};
use crate::support::PATIENCE;
use crate::support::changes::Shape;
use crate::support::replica::Replica;

const PREFIX: &str = "cdc-crash-";

/// Points that this kind never comes by: its tables remember everything, so that it keeps no snapshots
/// and replays nothing silently.
const NOT_MET: [&str; 5] = [
    "before_restore",
    "during_replay",
    "before_snapshot",
    "during_snapshot",
    "after_snapshot",
];

fn points() -> Vec<&'static str> {
    let common = CRASH_POINTS.into_iter();
    let common = common.filter(|point| !NOT_MET.contains(point));
    common.chain(REPLICA_CRASH_POINTS).collect()
}

pub(super) fn trials() -> Vec<Trial> {
    let name = |point: &str| format!("{PREFIX}{}", point.replace('_', "-"));
    let what = "change records; SIGKILL at this crash point, each time reached";
    let trial = |point| Trial::new(&name(point), what, 10, 1, at_one_point);
    points().into_iter().map(trial).collect()
}

fn at_one_point(run: &mut Run) {
    let point = run.name.strip_prefix(PREFIX).expect("so it is called");
    let point = point.replace('-', "_");
    let mut replica = run.replica();
    create_later(&mut replica, &point, run.times);
    let traffic = replica.traffic(CHANGES_PER_SECOND);
    for number in 0..run.times {
        let passes = run.random.random_range(0..6);
        die_at(&replica, &point, number, passes);
    }
    let produced = traffic.finish();
    replica.job.run_to_end();
    run.prove_equal(&replica, produced);
}

pub(crate) fn every_point_once() {
    let mut replica = Replica::new("cdc-points", PARTITIONS, rand::random());
    for point in points() {
        create_later(&mut replica, point, 1);
    }
    let traffic = replica.traffic(CHANGES_PER_SECOND);
    for point in points() {
        die_at(&replica, point, 0, 3);
    }
    let produced = traffic.finish();
    replica.job.run_to_end();
    replica.assert_equal(produced);
}

/// Tables whose creation will meet the point.
fn create_later(replica: &mut Replica, point: &str, times: u32) {
    if point.ends_with("_create_table") {
        for number in 0..times {
            let shape = Shape {
                has_blocks: number % 2 == 0,
                ..Shape::default()
            };
            replica.create(&late_table(point, number), shape);
        }
    }
}

fn late_table(point: &str, number: u32) -> String {
    format!("{point}_{number}")
}

/// Runs a daemon until it dies at the point; a point that it never comes by fails the trial.
fn die_at(replica: &Replica, point: &str, number: u32, passes: u32) {
    let passes = match point {
        // These are passed once in a life, or once in a while.
        _ if REPLICA_CRASH_POINTS.contains(&point) && !point.ends_with("_gapped_rows") => 0,
        "after_assign" | "before_revoke" | "after_revoke" | "before_leave" => 0,
        _ => passes,
    };
    let failpoint = format!("{point}={passes}*off->return");
    let daemon = replica.start(&format!("dies-{point}-{number}"), &failpoint);
    let mut second = None;
    match point {
        "before_create_table" | "after_create_table" => {
            replica.source().begin(&late_table(point, number));
        }
        "before_alter" | "after_alter" => {
            replica.wait_for_progress(300, Some(&daemon));
            alter(replica, number);
        }
        "before_revoke" | "after_revoke" => {
            replica.wait_for_progress(300, Some(&daemon));
            second = Some(replica.start(&format!("second-{point}-{number}"), ""));
        }
        "before_leave" => {
            replica.wait_for_progress(300, Some(&daemon));
            daemon.process.terminate();
        }
        _ => {}
    }
    let status = daemon.process.wait(PATIENCE);
    let status =
        status.unwrap_or_else(|e| panic!("{point} is never reached: {e}\n{}", daemon.log()));
    let log = daemon.log();
    assert_eq!(status.signal(), Some(libc::SIGKILL), "{status}: {log}");
    assert!(log.contains(&format!("crash point {point}")), "{log}");
    if let Some(second) = second {
        replica.wait_for_progress(300, Some(&second));
        second.stop();
    }
}

/// The source's columns change: one more, of each kind of records, and once a wider one.
fn alter(replica: &Replica, number: u32) {
    let mut source = replica.source();
    match number % 3 {
        0 => source.widen("orders"),
        1 => source.add_column("notes", false),
        _ => source.add_column("orders", false),
    }
    if number >= 3 {
        source.add_column("orders", false);
    }
}
