//! What a daemon takes that has nothing to do.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use sandbox::{Sandbox, topic, unique, wait};

use super::Bounds;
use super::job::{Job, PATIENCE};
use crate::topic::PARTITIONS;

const CPU_PERCENT_MAX: f64 = 1.0;
const RSS_MIB_MAX: f64 = 64.0;
/// Joining and connecting are over by then.
const SETTLE: Duration = Duration::from_secs(5);

pub(super) fn measure(parts: &Sandbox, seconds: u64, bounds: &mut Bounds) -> Result<()> {
    let name = unique("figures.idle");
    topic::create(parts.kafka.bootstrap(), &name, PARTITIONS, &[])?;
    let job = Job::new(parts, &name)?;
    let member = job.start("daemon")?;
    wait::until("it reads its partitions", PATIENCE, || {
        (member.partitions().len() == 4).then_some(())
    })?;
    thread::sleep(SETTLE);
    let pid = member.process.pid();
    let (before, asked) = (threads(pid)?, Instant::now());
    thread::sleep(Duration::from_secs(seconds));
    let (after, wall) = (threads(pid)?, asked.elapsed().as_secs_f64());
    let spent = |name: &str, all: &[Thread]| -> (f64, u64) {
        let of = all.iter().filter(|t| name.is_empty() || t.name == name);
        of.fold((0.0, 0), |sum, t| (sum.0 + t.cpu_ms, sum.1 + t.wakeups))
    };
    let delta = |name: &str| {
        let (from, to) = (spent(name, &before), spent(name, &after));
        let percent = (to.0 - from.0) / wall / 10.0;
        (percent, (to.1 - from.1) as f64 / wall)
    };
    let (cpu_percent, wakeups) = delta("");
    let rss_mib = resident_mib(pid)?;
    let cpu_verdict = bounds.judge("idle, CPU", cpu_percent, CPU_PERCENT_MAX);
    let rss_verdict = bounds.judge("idle, memory", rss_mib, RSS_MIB_MAX);
    println!("| idle for {seconds} s | found | bound | |\n|---|---|---|---|");
    println!("| CPU, % of a core | {cpu_percent:.2} | < {CPU_PERCENT_MAX} | {cpu_verdict} |");
    println!("| RSS, MiB | {rss_mib:.0} | < {RSS_MIB_MAX} | {rss_verdict} |");
    println!("| wake-ups a second | {wakeups:.0} | | |\n");
    let mut names: Vec<&str> = after.iter().map(|t| t.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut each: Vec<_> = names.into_iter().map(|name| (name, delta(name))).collect();
    each.sort_by(|a, b| b.1.0.total_cmp(&a.1.0));
    let largest: Vec<String> = each
        .iter()
        .take(5)
        .map(|(name, (percent, wakeups))| format!("{name} {percent:.2} % ({wakeups:.0}/s)"))
        .collect();
    println!("By thread name: {}.\n", largest.join(", "));
    member.stop()?;
    job.drop_database()
}

struct Thread {
    name: String,
    cpu_ms: f64,
    wakeups: u64,
}

/// CPU time in nanoseconds from `schedstat`: `stat` counts whole ticks of 10 ms, and an idle
/// thread's are mostly none.
fn threads(pid: u32) -> Result<Vec<Thread>> {
    let mut found = vec![];
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = entry?.path();
        let read = |file: &str| fs::read_to_string(path.join(file));
        // A thread may end between the listing and the look.
        let (Ok(name), Ok(schedstat), Ok(status)) =
            (read("comm"), read("schedstat"), read("status"))
        else {
            continue;
        };
        let nanoseconds: f64 = schedstat
            .split(' ')
            .next()
            .context("schedstat is empty")?
            .parse()?;
        let switches = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        found.push(Thread {
            name: name.trim().to_owned(),
            cpu_ms: nanoseconds / 1e6,
            wakeups: switches.context("no context switches")?.trim().parse()?,
        });
    }
    Ok(found)
}

fn resident_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.context("no VmRSS")?.parse::<f64>()? / 1024.0)
}
