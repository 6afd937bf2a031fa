//! A wall clock that jumps while the daemon runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use rand::Rng as _;

use super::{Run, Trial};
use crate::support::project_root;
use crate::support::traffic::Traffic;

const PARTITIONS: i32 = 3;
const EVENTS_PER_SECOND: u64 = 700;
/// How far a jump goes at most: an hour and a half, either way.
const JUMP_SECONDS_MAX: i64 = 5_400;

pub(super) fn trials() -> Vec<Trial> {
    vec![Trial::new(
        "clock-jumps",
        "jumps of the wall clock, forward and backward, up to 90 minutes",
        30,
        4,
        jumps,
    )]
}

/// The library of the package faketime that threads need.
fn library() -> Option<PathBuf> {
    let directories = std::fs::read_dir("/usr/lib").ok()?;
    directories
        .flatten()
        .map(|directory| directory.path().join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.is_file())
}

/// Compiles what that library lacks.
fn supplement(directory: &Path) -> PathBuf {
    let library = directory.join("cnd_timedwait.so");
    let source = project_root().join("tests/programme/cnd_timedwait.c");
    let compiled = Command::new("gcc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .status();
    assert!(compiled.is_ok_and(|status| status.success()), "gcc failed");
    library
}

fn jumps(run: &mut Run) {
    let Some(library) = library() else {
        return run.skip("the package faketime is not installed");
    };
    let job = run.job(PARTITIONS);
    let clock = job.directory.path().join("clock");
    std::fs::write(&clock, "+0").expect("the clock is set");
    let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
    let supplement = supplement(job.directory.path());
    let preload = format!("{}:{}", supplement.display(), library.display());
    // Only the wall clock: no kernel lets the other clocks jump.
    let environment = [
        ("LD_PRELOAD", preload.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().expect("a path")),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ];
    let daemon = job.start_with("daemon", &[], &environment);
    job.wait_for_more_rows(500);
    for _ in 0..run.times {
        let offset = run
            .random
            .random_range(-JUMP_SECONDS_MAX..=JUMP_SECONDS_MAX);
        // Put in place whole: it is read all the time.
        let fresh = job.directory.path().join("clock.fresh");
        std::fs::write(&fresh, format!("{offset:+}")).expect("the clock is set");
        std::fs::rename(&fresh, &clock).expect("the clock is set");
        job.wait_for_more_rows(1_000);
    }
    let produced = traffic.finish();
    job.wait_for_commits_to_end();
    daemon.stop();
    run.prove(&job, produced);
}
