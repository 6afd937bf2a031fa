//! Death at a named place.

use std::os::unix::process::ExitStatusExt as _;

use rand::Rng as _;
use streamweir::WINDOW_CRASH_POINTS;

use super::{PARTITIONS, Run, SALES_PER_SECOND, Trial};
use crate::support::PATIENCE;
use crate::support::windows::{Kind, Windows};

const PREFIX: &str = "win-crash-";

pub(super) fn trials() -> Vec<Trial> {
    let name = |point: &str| format!("{PREFIX}{}", point.replace('_', "-"));
    let what = "windows; SIGKILL at this crash point, each time reached";
    let trial = |point| Trial::new(&name(point), what, 12, 1, at_one_point);
    WINDOW_CRASH_POINTS.into_iter().map(trial).collect()
}

fn at_one_point(run: &mut Run) {
    let point = run.name.strip_prefix(PREFIX).expect("so it is called");
    let point = point.replace('-', "_");
    for (kind, times) in run.shares() {
        let windows = run.windows(kind);
        let traffic = windows.traffic(SALES_PER_SECOND);
        for number in 0..times {
            let passes = run.random.random_range(0..8);
            die_at(&windows, &point, number, passes);
        }
        let produced = traffic.finish();
        windows.close();
        run.prove_windows(&windows, produced);
    }
}

pub(crate) fn every_point_once() {
    let kind = Kind::ALL[rand::random_range(0..Kind::ALL.len())];
    println!("{kind:?}");
    let windows = Windows::new("win-points", kind, PARTITIONS, rand::random());
    let traffic = windows.traffic(SALES_PER_SECOND);
    for point in WINDOW_CRASH_POINTS {
        die_at(&windows, point, 0, 4);
    }
    let produced = traffic.finish();
    windows.close();
    windows.assert_equal(produced);
}

/// Runs a daemon until it dies at the point; a point that it never comes by fails the trial.
fn die_at(windows: &Windows, point: &str, number: u32, passes: u32) {
    let passes = match point {
        // These are passed once in a life.
        "after_assign" | "before_revoke" | "after_revoke" | "before_leave" => 0,
        _ => passes,
    };
    let failpoint = format!("{point}={passes}*off->return");
    let daemon = windows.start(&format!("dies-{point}-{number}"), &failpoint);
    let mut second = None;
    match point {
        "before_revoke" | "after_revoke" => {
            windows.wait_for_progress(300, &daemon);
            second = Some(windows.start(&format!("second-{point}-{number}"), ""));
        }
        "before_leave" => {
            windows.wait_for_progress(300, &daemon);
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
        windows.wait_for_progress(300, &second);
        second.stop();
    }
}
