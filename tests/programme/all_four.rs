//! The shipped configuration, all its pipelines in one process, killed again and again.

use std::time::{Duration, Instant};

use rand::Rng as _;
use sandbox::wait;

use super::{Run, Trial};
use crate::support::four::{Four, PIPELINES};
use crate::support::{Daemon, PATIENCE, project_root};

/// How long records keep coming for each time in the table.
const TIME: Duration = Duration::from_secs(10);
/// So long nothing is killed before the records end: the last process has some of each kind to tell of.
const QUIET: Duration = Duration::from_secs(10);
const PARTITIONS: i32 = 4;
const MEMORY_MAX_MIB: u64 = 256;

/// What a process that runs all kinds of pipelines tells at least.
const METRICS: [&str; 31] = [
    "records_consumed_total",
    "bytes_consumed_total",
    "rows_written_total",
    "dead_letters_total",
    "records_dropped_total",
    "commits_total",
    "consumer_lag_records",
    "commit_lag_records",
    "consumer_lag_seconds",
    "freshness_seconds",
    "batch_rows",
    "batch_bytes",
    "insert_seconds",
    "inserts_total",
    "retries_total",
    "flush_interval_effective_seconds",
    "lookups_total",
    "lookup_seconds",
    "watermark_timestamp_seconds",
    "windows_open",
    "late_records_total",
    "join_buffer_records",
    "join_results_total",
    "state_bytes",
    "checkpoint_seconds",
    "rebalances_total",
    "paused_seconds_total",
    "pipeline_halted",
    "lane_time_seconds_total",
    "memory_bytes",
    "build_info",
];

pub(super) fn trials() -> Vec<Trial> {
    vec![Trial::new(
        "all-four",
        "the shipped pipelines in one process for 10 s each, killed at random; a second process comes and goes, \
         ClickHouse and Redis restart",
        60,
        3,
        all_four,
    )]
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// SIGKILL, and started again.
    Kill,
    /// A second process comes.
    Company,
    /// It goes, by SIGKILL or SIGTERM.
    Alone,
    ClickHouse,
    Redis,
}

/// The processes of a run.
struct Scene<'f> {
    four: &'f Four,
    first: Daemon,
    second: Option<Daemon>,
    lives: u32,
    kills: u32,
    peak_mib: u64,
}

fn all_four(run: &mut Run) {
    let four = Four::new(&run.name, PARTITIONS, run.random.random());
    let traffic = four.traffic();
    let begun = Instant::now();
    let mut scene = Scene::new(&four);
    let length = TIME * run.times;
    for (moment, fault) in schedule(run, length - QUIET) {
        sleep_until(begun + moment);
        scene.meet(fault, run.random.random());
    }
    // What was to come back may have taken its time.
    sleep_until((begun + length).max(Instant::now() + QUIET));
    let produced = traffic.finish();
    four.wait_for_end(&scene.first);
    assert_metrics_are_complete(&scene.first);
    let (lives, kills, peak_mib) = scene.end();
    let peak_mib = four.close().max(peak_mib);
    assert_memory(peak_mib);
    let proven = four.assert_right(produced);
    for (name, counts) in PIPELINES.iter().zip(proven) {
        println!("{}: {name}: {counts:?}", run.name);
        run.add(counts);
    }
    run.result = format!(
        "each pipeline exactly once or equal: {lives} lives, {kills} killed, at most {peak_mib} MiB of \
         {MEMORY_MAX_MIB}"
    );
}

/// What happens when: kills at random moments, everything else at least once.
fn schedule(run: &mut Run, length: Duration) -> Vec<(Duration, Fault)> {
    let mut faults = vec![Fault::ClickHouse, Fault::Redis];
    faults.extend(vec![Fault::Kill; (run.times.div_ceil(2)) as usize]);
    let mut moment = |from: f64, to: f64| length.mul_f64(run.random.random_range(from..to));
    let mut schedule: Vec<_> = faults.into_iter().map(|f| (moment(0.1, 1.0), f)).collect();
    let visits = (run.times / 10).max(1);
    for visit in 0..visits {
        let place = |share: f64| (f64::from(visit) + share) / f64::from(visits);
        schedule.push((moment(place(0.1), place(0.5)), Fault::Company));
        schedule.push((moment(place(0.6), place(1.0)), Fault::Alone));
    }
    schedule.sort_by_key(|(moment, _)| *moment);
    schedule
}

fn sleep_until(moment: Instant) {
    std::thread::sleep(moment.saturating_duration_since(Instant::now()));
}

fn assert_memory(peak_mib: u64) {
    assert!(
        peak_mib <= MEMORY_MAX_MIB,
        "{peak_mib} MiB at its peak, of {MEMORY_MAX_MIB}"
    );
}

/// Every metric has a value, and stands in its document.
fn assert_metrics_are_complete(daemon: &Daemon) {
    let document = std::fs::read_to_string(project_root().join("docs/metrics.md")).expect("a page");
    let missing = || {
        let (_, page) = daemon.get("/metrics")?;
        let has_value = |name: &&str| {
            let name = format!("streamweir_{name}");
            page.lines().any(|line| {
                let rest = line.strip_prefix(&name);
                let rest = rest.map(|rest| rest.trim_start_matches("_count"));
                rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
            })
        };
        Some(
            METRICS
                .into_iter()
                .filter(|name| !has_value(name))
                .collect::<Vec<_>>(),
        )
    };
    // A process that has only just begun says more with its first inserts.
    let waited = wait::until("every metric is there", PATIENCE, || {
        missing().filter(Vec::is_empty)
    });
    waited.unwrap_or_else(|e| panic!("{e}: not in /metrics: {:?}", missing()));
    for name in METRICS {
        let is_listed = document.contains(&format!("| `streamweir_{name}` |"));
        assert!(is_listed, "not in docs/metrics.md: {name}");
    }
}

impl<'f> Scene<'f> {
    fn new(four: &'f Four) -> Scene<'f> {
        Scene {
            first: four.start("life-1"),
            second: None,
            lives: 1,
            kills: 0,
            peak_mib: 0,
            four,
        }
    }

    fn start(&mut self) -> Daemon {
        self.lives += 1;
        self.four.start(&format!("life-{}", self.lives))
    }

    fn meet(&mut self, fault: Fault, is_killed: bool) {
        match fault {
            Fault::Kill => {
                self.kill_first();
                self.first = self.start();
            }
            Fault::Company if self.second.is_none() => self.second = Some(self.start()),
            Fault::Company => {}
            Fault::Alone => {
                if let Some(second) = self.second.take() {
                    self.leave(&second, is_killed);
                }
            }
            Fault::ClickHouse => {
                self.four.clickhouse.kill();
                self.four.clickhouse.restart().expect("it comes back");
            }
            Fault::Redis => {
                self.four.redis.kill();
                self.four.redis.restart().expect("it comes back");
            }
        }
    }

    fn kill_first(&mut self) {
        let Scene { first, .. } = self;
        let has_ended = first.process.try_wait();
        assert!(has_ended.is_none(), "{has_ended:?}: {}", first.log());
        self.peak_mib = first.peak_mib().max(self.peak_mib);
        first.process.kill();
        self.kills += 1;
    }

    fn leave(&mut self, daemon: &Daemon, is_killed: bool) {
        let has_ended = daemon.process.try_wait();
        assert!(has_ended.is_none(), "{has_ended:?}: {}", daemon.log());
        self.peak_mib = daemon.peak_mib().max(self.peak_mib);
        if is_killed {
            daemon.process.kill();
            self.kills += 1;
        } else {
            daemon.stop();
        }
    }

    /// Stops what runs; how many lives there were, how many were killed, and the most that one held in MiB.
    fn end(mut self) -> (u32, u32, u64) {
        let second = self.second.take();
        for daemon in second.iter().chain([&self.first]) {
            self.peak_mib = daemon.peak_mib().max(self.peak_mib);
            daemon.stop();
        }
        (self.lives, self.kills, self.peak_mib)
    }
}
