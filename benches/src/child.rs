//! One measured child process.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use sandbox::process::{Process, Usage};

/// Longer than any run takes on the slowest machine; a child that hangs must not hang us.
const RUN_TIMEOUT: Duration = Duration::from_secs(600);
/// How often a child is looked at: bounds what is known of its end and of its memory.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// User and system time of the process, from its start to its end.
    pub(crate) cpu: Duration,
    /// From its start to its end, or what the child itself measured around its events.
    pub(crate) wall: Duration,
    /// `VmHWM`, the largest it ever was.
    pub(crate) rss_peak_bytes: u64,
    /// CPU of the database server meanwhile, where there is one.
    pub(crate) engine_cpu: Option<Duration>,
}

/// Runs the command to its end with stdout and stderr in `output`.
///
/// # Errors
/// When it fails; with what it said.
pub(crate) fn run(command: Command, output: &Path) -> Result<Run> {
    let (run, status) = run_to_status(command, output)?;
    ensure!(status.success(), "{status}: {}", tail(output));
    Ok(run)
}

/// As [`run`], whatever its exit status is.
///
/// # Errors
/// When it does not start, or does not end.
pub(crate) fn run_to_status(mut command: Command, output: &Path) -> Result<(Run, ExitStatus)> {
    let file = File::create(output)?;
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file);
    let started = Instant::now();
    let process = Process::spawn(command)?;
    let mut rss_peak_bytes = 0;
    let (usage, wall) = loop {
        if let Some(usage) = process.usage_at_end() {
            break (usage, started.elapsed());
        }
        rss_peak_bytes = rss_peak_bytes.max(process.peak_resident_bytes().unwrap_or(0));
        if started.elapsed() > RUN_TIMEOUT {
            bail!("still running after {RUN_TIMEOUT:?}: {}", tail(output));
        }
        std::thread::sleep(LOOK_INTERVAL);
    };
    let status = process.wait(RUN_TIMEOUT)?;
    let Usage { user, system } = usage;
    let run = Run {
        cpu: user + system,
        wall,
        rss_peak_bytes,
        engine_cpu: None,
    };
    Ok((run, status))
}

/// CPU time of a running process so far, in the kernel's ticks of 10 ms.
pub(crate) fn cpu_so_far(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold anything; utime and stime are fields 14 and 15.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|t| t.parse::<u64>().unwrap_or(0)).sum();
    Ok(Duration::from_millis(ticks * 10))
}

fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
