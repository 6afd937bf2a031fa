//! Live runs: a real database changes at random, and whoever stands between it and its replicas is killed
//! in turn.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use sandbox::registry::Registry;
use sandbox::wait;
use sandbox::workload::{self, Counts, Progress};

use super::{EQUAL, Run, Trial};
use crate::support::live::{LIVE_PATIENCE, Live, Source, Written, assert_alive};
use crate::support::{Daemon, proof};

/// How long the workload runs for each time in the table.
const TIME: Duration = Duration::from_secs(10);
/// Records that go through between two faults, mostly.
const RECORDS_BETWEEN: u64 = 100;
const ASK_AGAIN: Duration = Duration::from_millis(200);

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new(
            "cdc-live-postgresql",
            "PostgreSQL changes at random for 10 s each; connector, daemon, ClickHouse killed in turn",
            18,
            2,
            |run| live(run, Source::Postgres, Written::Json),
        ),
        Trial::new(
            "cdc-live-mariadb",
            "MariaDB changes at random for 10 s each, two new log files; the same killed in turn",
            18,
            2,
            |run| live(run, Source::MariaDb, Written::Json),
        ),
        Trial::new(
            "cdc-avro-postgresql",
            "the same with PostgreSQL whose changes come in Avro (skipped without a schema registry)",
            2,
            1,
            |run| live(run, Source::Postgres, Written::Avro),
        ),
        Trial::new(
            "cdc-avro-mariadb",
            "the same with MariaDB whose changes come in Avro (skipped without a schema registry)",
            2,
            1,
            |run| live(run, Source::MariaDb, Written::Avro),
        ),
    ]
}

/// Who is killed next.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// It sends again what it has sent since it last kept its position.
    Connector,
    Daemon,
    ClickHouse,
    /// A second daemon comes, or goes.
    Company,
}

/// How often each was.
#[derive(Debug, Default)]
struct Faults {
    connector_killed: u32,
    connector_restarted: u32,
    daemon_killed: u32,
    clickhouse_killed: u32,
    second_daemon: u32,
}

impl Faults {
    fn has_each(&self) -> bool {
        let Faults {
            connector_killed,
            daemon_killed,
            clickhouse_killed,
            ..
        } = *self;
        [connector_killed, daemon_killed, clickhouse_killed]
            .iter()
            .all(|count| *count > 0)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "killed: connector {}, daemon {}, ClickHouse {}; connector restarted {}, second daemon {}",
            self.connector_killed,
            self.daemon_killed,
            self.clickhouse_killed,
            self.connector_restarted,
            self.second_daemon
        )
    }
}

fn live(run: &mut Run, source: Source, written: Written) {
    if written == Written::Avro && !Registry::is_installed() {
        return run.skip("there is no schema registry: tests/sandbox/install.sh registry");
    }
    let live = Live::start(&run.name, source, written);
    let workload = live.workload(run.random.random(), TIME * run.times);
    let progress = Progress::default();
    let (counts, faults) = thread::scope(|scope| {
        let _ends = EndsWorkload(&progress.stop);
        let running = scope.spawn(|| workload::run(&workload, &progress));
        let is_over = || running.is_finished();
        let mut scene = Scene::new(&live, &mut run.random, &is_over);
        scene.play();
        let Scene {
            daemons, faults, ..
        } = scene;
        let counts = running.join().expect("the workload does not panic");
        let counts: Counts = counts.expect("every statement is right");
        live.wait_for_source();
        live.wait_for_end(&daemons);
        daemons.iter().for_each(Daemon::stop);
        (counts, faults)
    });
    // Columns come, go and have other names; log files end.
    let steps = match source {
        Source::Postgres => 6,
        Source::MariaDb => 2,
    };
    assert_eq!(counts.steps, steps, "{counts}");
    let findings = live.prove();
    live.prove_noticed();
    println!("{}: {counts}\n{faults}\n{findings:?}", run.name);
    run.add(proof::Counts {
        records: findings.records,
        rows: findings.rows,
        dead_letters: findings.dead_letters,
    });
    run.result = format!(
        "{EQUAL}: {} tables, {} values; {} statements; {} records sent again; {faults}",
        findings.tables, findings.values, counts.statements, findings.sent_again
    );
}

/// The workload is waited for, whatever happens.
struct EndsWorkload<'p>(&'p AtomicBool);

impl Drop for EndsWorkload<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// While the workload runs.
struct Scene<'s> {
    live: &'s Live,
    random: &'s mut StdRng,
    daemons: Vec<Daemon>,
    started: u32,
    faults: Faults,
    is_over: &'s dyn Fn() -> bool,
}

impl<'s> Scene<'s> {
    fn new(live: &'s Live, random: &'s mut StdRng, is_over: &'s dyn Fn() -> bool) -> Self {
        Scene {
            live,
            random,
            daemons: vec![],
            started: 0,
            faults: Faults::default(),
            is_over,
        }
    }

    /// Until the workload has ended and everybody has died once.
    fn play(&mut self) {
        self.start_daemon();
        self.live.wait_until_streamed();
        let mut turn = [
            Fault::Connector,
            Fault::Daemon,
            Fault::ClickHouse,
            Fault::Company,
        ];
        loop {
            turn.shuffle(self.random);
            for fault in turn {
                if (self.is_over)() && self.faults.has_each() {
                    return;
                }
                // Now and then one comes while the last one is not over.
                if self.random.random_ratio(2, 3) {
                    self.wait_for_progress();
                }
                self.pause(1_000);
                self.meet(fault);
            }
        }
    }

    fn meet(&mut self, fault: Fault) {
        let live = self.live;
        match fault {
            Fault::Connector if self.random.random_ratio(1, 4) => {
                live.connect.restart_tasks().expect("the tasks run again");
                self.faults.connector_restarted += 1;
            }
            Fault::Connector => {
                live.connect.kill();
                self.pause(1_500);
                live.connect.restart().expect("the connector comes back");
                self.faults.connector_killed += 1;
            }
            Fault::Daemon => {
                let victim = self.random.random_range(0..self.daemons.len());
                let victim = self.daemons.swap_remove(victim);
                victim.process.kill();
                self.pause(2_000);
                self.start_daemon();
                self.faults.daemon_killed += 1;
            }
            Fault::ClickHouse => {
                live.clickhouse.kill();
                self.pause(1_500);
                live.clickhouse.restart().expect("the engine comes back");
                self.faults.clickhouse_killed += 1;
            }
            Fault::Company => match self.daemons.len() {
                1 => {
                    self.start_daemon();
                    self.faults.second_daemon += 1;
                }
                _ => self.daemons.remove(0).stop(),
            },
        }
    }

    fn start_daemon(&mut self) {
        self.started += 1;
        let instance = format!("daemon-{}", self.started);
        self.daemons.push(self.live.job.start(&instance, &[], ""));
    }

    /// Waits until records have gone all the way, or no more come.
    fn wait_for_progress(&self) {
        let wanted = self.live.progress() + RECORDS_BETWEEN;
        let waited = wait::until("records are committed", LIVE_PATIENCE, || {
            assert_alive(&self.daemons);
            self.live.connect.check().expect("the connector runs");
            // Each question is a connection for each table.
            thread::sleep(ASK_AGAIN);
            ((self.is_over)() || self.live.progress() >= wanted).then_some(())
        });
        waited.unwrap_or_else(|e| {
            let logs: Vec<_> = self.daemons.iter().map(Daemon::log).collect();
            panic!("{e}: {wanted}\n{}", logs.join("\n"))
        });
    }

    fn pause(&mut self, milliseconds_max: u64) {
        let milliseconds = self.random.random_range(0..milliseconds_max);
        thread::sleep(Duration::from_millis(milliseconds));
    }
}
