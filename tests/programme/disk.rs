//! A full disk under the state directory.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Run, Trial};
use crate::support::traffic::Traffic;

const PARTITIONS: i32 = 3;
const EVENTS_PER_SECOND: u64 = 700;

pub(super) fn trials() -> Vec<Trial> {
    vec![Trial::new(
        "full-disk",
        "lives on a full disk, each ended by SIGKILL; a last one with room again",
        5,
        1,
        full_disk,
    )]
}

/// A small file system of its own, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where that is not allowed.
    fn mount(at: &Path) -> Option<SmallDisk> {
        std::fs::create_dir_all(at).expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "soak"])
            .arg(at)
            .output();
        let is_mounted = mounted.is_ok_and(|output| output.status.success());
        is_mounted.then(|| SmallDisk(at.to_owned()))
    }

    /// Leaves no byte free.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.filler()).expect("a file");
        while file.write_all(&[0; 4_096]).is_ok() {}
        let error = file.write_all(&[0]).expect_err("the disk is full");
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC), "{error}");
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).expect("the file is there");
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn full_disk(run: &mut Run) {
    let mut job = run.job(PARTITIONS);
    let state_dir = job.directory.path().join("small");
    let Some(disk) = SmallDisk::mount(&state_dir) else {
        return run.skip("only root can mount a small disk");
    };
    job.set("service.state_dir", state_dir.display().to_string());
    let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
    disk.fill();
    for life in 0..run.times {
        let daemon = job.start(&format!("full-{life}"), &[], "");
        job.wait_for_more_rows(1_500);
        daemon.process.kill();
    }
    let daemon = job.start("room-again", &[], "");
    job.wait_for_more_rows(500);
    disk.free();
    job.wait_for_more_rows(1_500);
    daemon.stop();
    let produced = traffic.finish();
    job.run_to_end();
    run.prove(&job, produced);
}
