//! Tables that are rebuilt and exchanged beside traffic, while the daemon and the rebuild die.

use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::Rng as _;
use rand::rngs::StdRng;
use sandbox::process::Process;
use sandbox::topic::{self, Record};
use sandbox::wait;
use sandbox::workdir::free_port;

use super::{Run, Trial};
use crate::support::proof::Counts;
use crate::support::traffic::Traffic;
use crate::support::windows::{Kind, Windows};
use crate::support::{Job, TO_THE_END, command};

const PARTITIONS: i32 = 2;
const RECORDS_PER_SECOND: u64 = 200;
const KEYS: u32 = 150;
/// Attempts that are killed: at filling the table, and at exchanging both.
const FILLS: u32 = 2;
const SWAPS: u32 = 3;
/// Attempts at the end that nobody disturbs: a daemon may have been away when it was to be told something.
const UNDISTURBED_MAX: u32 = 4;
/// A daemon that was killed, or has halted because the tables are being exchanged, is started again after this.
const RESTART_AFTER: Duration = Duration::from_millis(300);

pub(super) fn trials() -> Vec<Trial> {
    let what =
        "rebuilt and exchanged beside traffic, SIGKILL of daemon and rebuild every few seconds";
    vec![
        Trial::new("rebuild", what, 20, 1, events),
        Trial::new("rebuild-cdc", what, 20, 1, replica),
        Trial::new("rebuild-windows", what, 20, 1, |run| {
            windows(run, Kind::Tumbling);
        }),
        Trial::new("rebuild-sessions", what, 20, 1, |run| {
            windows(run, Kind::Sessions);
        }),
    ]
}

fn events(run: &mut Run) {
    let mut job = run.job(PARTITIONS);
    may_be_told(&mut job);
    let traffic = Traffic::start(&job, PARTITIONS, RECORDS_PER_SECOND);
    let first = job.start("first", &[], "");
    job.wait_for_more_rows(300);
    first.stop();
    let damage = "DELETE FROM {db}.clickstream_events WHERE _offset % 7 = 3 AND _offset < 100";
    rebuilds(run, &job, damage);
    let produced = traffic.finish();
    job.run_to_end();
    run.prove(&job, produced);
}

fn replica(run: &mut Run) {
    let mut job = Job::replication(&run.name);
    job.topic = format!("{}shop.public.t", job.prefix);
    job.set("pipeline.topics", vec![job.topic.clone()]);
    job.set("pipeline.create_tables", true);
    let table = toml::toml! { columns = { id = "Int64", v = "String", n = "Nullable(Int32)" } };
    let tables: toml::Table = [(job.topic.clone(), table.into())].into_iter().collect();
    job.set("pipeline.tables", tables);
    job.set("pipeline.batch.flush_interval", "100ms");
    job.set("kafka.properties.session.timeout.ms", 2_000);
    job.set("kafka.properties.heartbeat.interval.ms", 300);
    may_be_told(&mut job);
    job.create_topic(PARTITIONS);
    let traffic = changes(&job);
    let first = job.start("first", &[], "");
    first.wait_for_log("partition begins");
    let has_rows = || job.query("SELECT count() > 0 FROM {db}.t") == "1";
    wait::until("rows", TO_THE_END, || {
        let is_made = job.query("EXISTS {db}.t") == "1";
        (is_made && has_rows()).then_some(())
    })
    .unwrap_or_else(|e| panic!("{e}: {}", first.log()));
    first.stop();
    rebuilds(run, &job, "DELETE FROM {db}.t WHERE id % 7 = 3");
    let records = traffic.finish();
    job.run_to_end();
    let audit = ["audit", "--pipeline", "replica", "--values", "--json"];
    let (code, out, err) = job.inspect(&audit);
    assert_eq!(code, 0, "{out}{err}");
    let found: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(found["counts"]["records"], records, "{found}");
    assert_eq!(found["counts"]["not_checkable"], 0, "{found}");
    run.add(Counts {
        records,
        rows: found["counts"]["rows"].as_u64().expect("a number"),
        ..Default::default()
    });
}

fn windows(run: &mut Run, kind: Kind) {
    let mut windows = Windows::new(&run.name, kind, PARTITIONS, run.random.random());
    may_be_told(&mut windows.job);
    let traffic = windows.traffic(RECORDS_PER_SECOND);
    let job = &windows.job;
    let first = windows.start("first", "");
    let rows = "SELECT count() > 20 FROM {db}.sales_aggregates_1min";
    wait::until("rows", TO_THE_END, || {
        (job.query(rows) == "1").then_some(())
    })
    .unwrap_or_else(|e| panic!("{e}: {}", first.log()));
    first.stop();
    let damage = "DELETE FROM {db}.sales_aggregates_1min WHERE category IN ('c1', 'c2', 'c3')";
    rebuilds(run, job, damage);
    let produced = traffic.finish();
    windows.close();
    run.add(windows.assert_equal(produced));
}

fn may_be_told(job: &mut Job) {
    std::fs::write(job.directory.path().join("token"), "open-sesame").expect("a token");
    job.set("service.admin_token_file", "token");
}

/// Changes and deletions of a few keys, each key in one partition, until told to end.
fn changes(job: &Job) -> Traffic {
    let (bootstrap, name) = (job.bootstrap().to_owned(), job.topic.clone());
    let pause = Duration::from_secs(1) / u32::try_from(RECORDS_PER_SECOND).expect("small");
    Traffic::of(move |stop| {
        let records = (0u32..)
            .take_while(|_| {
                std::thread::sleep(pause);
                !stop.load(Ordering::Relaxed)
            })
            .map(change);
        topic::produce(&bootstrap, &name, records).expect("every record is acknowledged")
    })
}

fn change(number: u32) -> Record {
    let id = number.wrapping_mul(2_654_435_761) % KEYS;
    let row = format!(r#"{{"id":{id},"v":"{number}","n":{number}}}"#);
    let (operation, before, after) = match number % 9 {
        4 => ("d", row.as_str(), "null"),
        _ => ("u", "null", row.as_str()),
    };
    let source = r#"{"version":"3.0","connector":"postgresql","name":"shop","ts_ms":1763719200000,"db":"shop","schema":"public","table":"t","lsn":1}"#;
    let value = format!(
        r#"{{"before":{before},"after":{after},"source":{source},"op":"{operation}","ts_ms":1763719200000,"transaction":null}}"#
    );
    Record::new(value)
        .key(format!(r#"{{"id":{id}}}"#))
        .partition((id % 2) as i32)
}

/// As many rebuilds as are asked for, each with the old table dropped at its end.
fn rebuilds(run: &mut Run, job: &Job, damage: &str) {
    let http = format!("127.0.0.1:{}", free_port().expect("a free port"));
    for round in 1..=run.times {
        job.query(damage);
        let begun = Instant::now();
        let daemon = Daemon::default();
        let mut killed = (0, 0);
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| daemon.keep(job, &http));
            let outcome = one(job, &http, &daemon, &mut run.random, &mut killed);
            daemon.is_over.store(true, Ordering::Relaxed);
            outcome
        });
        let verdict = match &outcome {
            Ok(()) => "exchanged",
            Err(why) => why,
        };
        eprintln!(
            "{} {round}: {} fills and {} exchanges killed: {verdict}, {:.0} s",
            run.name,
            killed.0,
            killed.1,
            begun.elapsed().as_secs_f64()
        );
        if let Err(why) = outcome {
            panic!("{} {round}: {why}", run.name);
        }
    }
}

/// Counts the attempts at filling the table and at exchanging both that were killed.
fn one(
    job: &Job,
    http: &str,
    daemon: &Daemon,
    random: &mut StdRng,
    killed: &mut (u32, u32),
) -> Result<(), String> {
    let url = format!("http://{http}");
    let rebuild = ["rebuild", "--pipeline", job.text("pipeline.name")];
    let swap = [&rebuild[..], &["--swap", "--url", &url]].concat();
    let mut disturbed = |arguments: &[&str], within_ms: u64| {
        let own = random.random_range(200..within_ms);
        let of_daemon = random.random_range(0..within_ms);
        let process = started(job, arguments);
        let begun = Instant::now();
        let mut was_killed = false;
        while process.try_wait().is_none() && begun.elapsed() < Duration::from_millis(own) {
            if !was_killed && begun.elapsed() >= Duration::from_millis(of_daemon) {
                daemon.kill();
                was_killed = true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let ended = process.try_wait();
        process.kill();
        let _ = process.wait(TO_THE_END);
        ended
    };
    for _ in 0..FILLS {
        killed.0 += u32::from(disturbed(&rebuild, 2_500).is_none());
    }
    for _ in 0..SWAPS {
        match disturbed(&swap, 6_000) {
            Some(status) if status.success() => return Ok(()),
            Some(_) => {}
            None => killed.1 += 1,
        }
    }
    let mut last = None;
    for _ in 0..UNDISTURBED_MAX {
        let status = started(job, &swap)
            .wait(TO_THE_END)
            .map_err(|e| e.to_string())?;
        if status.success() {
            return Ok(());
        }
        last = Some(status);
    }
    let log = std::fs::read_to_string(log_of(job)).unwrap_or_default();
    let from = log.len().saturating_sub(3_000);
    let from = log.ceil_char_boundary(from);
    Err(format!(
        "the last attempt ended with {last:?}: {}\n{}",
        &log[from..],
        tables_beside_each_other(job)
    ))
}

/// What the live and the rebuilt table of windows lack of each other, and what the live group has committed.
fn tables_beside_each_other(job: &Job) -> String {
    const LIVE: &str = "{db}.sales_aggregates_1min";
    let rebuilt = format!("{LIVE}_rebuild");
    if job.text("pipeline.kind") != "aggregation" {
        return String::new();
    }
    let count = |of: &str| job.query(&format!("SELECT count() FROM {of} FINAL"));
    let lacks = |one: &str, other: &str| {
        job.query(&format!(
            "SELECT * FROM {one} FINAL WHERE (window_start, category) NOT IN \
             (SELECT window_start, category FROM {other} FINAL) ORDER BY window_start LIMIT 20"
        ))
    };
    format!(
        "live {} rows, rebuilt {}; the rebuilt one lacks\n{}\nthe live one lacks\n{}\ncommitted {:?}",
        count(LIVE),
        count(&rebuilt),
        lacks(LIVE, &rebuilt),
        lacks(&rebuilt, LIVE),
        job.committed(),
    )
}

fn log_of(job: &Job) -> std::path::PathBuf {
    job.directory.path().join("rebuild.log")
}

fn started(job: &Job, arguments: &[&str]) -> Process {
    let (path, _) = job.write_config("rebuild");
    let mut command = command(&path, arguments);
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log_of(job));
    command.stdout(Stdio::null()).stderr(log.expect("a log"));
    Process::spawn(command).expect("it starts")
}

/// The live daemon, which somebody starts again whenever it has ended.
#[derive(Default)]
struct Daemon {
    process: Mutex<Option<Process>>,
    is_over: AtomicBool,
}

impl Daemon {
    fn keep(&self, job: &Job, http: &str) {
        job.write_config_as("live", http);
        let path = job.directory.path().join("live.toml");
        let log = job.directory.path().join("live.log");
        while !self.is_over.load(Ordering::Relaxed) {
            let has_ended = |process: &Process| process.try_wait().is_some();
            let mut process = self.process.lock().expect("no holder panics");
            if process.as_ref().is_none_or(has_ended) {
                let file = std::fs::File::options()
                    .create(true)
                    .append(true)
                    .open(&log);
                let mut command = command(&path, &["run"]);
                command.stdout(Stdio::null()).stderr(file.expect("a log"));
                *process = Some(Process::spawn(command).expect("the daemon starts"));
            }
            drop(process);
            std::thread::sleep(RESTART_AFTER);
        }
        if let Some(process) = self.process.lock().expect("no holder panics").take() {
            process.terminate();
            let _ = process.wait(TO_THE_END);
        }
    }

    fn kill(&self) {
        if let Some(process) = &*self.process.lock().expect("no holder panics") {
            process.kill();
        }
    }
}
