//! The demo of change data capture: random changes to PostgreSQL tables, Debezium, the daemon, and
//! at the end every value of every replica compared with its source.

mod config;
mod parts;

pub use parts::Parts;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::daemon::Daemon;
use super::verdict::{count, uncommitted};
use super::watch::grouped;
use super::{CATCH_UP_TIMEOUT, LINE_EVERY, on_interrupt, stop_if};
use crate::compare::{self, ReplicaOptions};
use crate::workdir::sandbox_dir;
use crate::workload::{self, Counts, Limit, Progress, Workload};
use crate::{evidence, topic, wait};
use config::Written;

/// Name of the connector, its slot, and the first part of its topics' names.
const PREFIX: &str = "shop";
const DEAD_LETTER_TOPIC: &str = "streamweir-dead-letters";
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);
/// An open-ended run is one that nobody waits for.
const OPEN_END: Duration = Duration::from_secs(7 * 24 * 3_600);

/// What the demo does.
#[derive(Debug, Clone)]
pub struct Options {
    /// Statements a second.
    pub rate: u64,
    /// How long; `None`: until Ctrl-C.
    pub duration: Option<Duration>,
    /// Same seed, same statements.
    pub seed: u64,
    /// A file with a pipeline of kind `cdc`; the demo's own by default.
    pub config: Option<PathBuf>,
}

/// Runs the demo, and returns whether every replica equals its source in the end.
///
/// # Errors
/// When a part, the connector or the daemon does not start, or fails on the way.
pub fn run(options: &Options) -> Result<bool> {
    let interrupted = on_interrupt()?;
    let dir = sandbox_dir().join("demo-cdc");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;

    println!("starting Kafka, ClickHouse, PostgreSQL and Kafka Connect with Debezium …");
    let parts = Parts::start()?;
    stop_if(&interrupted)?;
    let config = config::write(options.config.as_deref(), &parts, &dir)?;
    println!("configuration and log: {}", dir.display());
    let daemon = Daemon::start(&config.path, &config.http_listen, &dir)?;
    stop_if(&interrupted)?;
    print_where_to_look(&parts, &config, options.rate);

    let mut workload = Workload::new(
        parts.postgres.url(),
        options.seed,
        Limit::Time(options.duration.unwrap_or(OPEN_END)),
    );
    workload.statements_per_second = Some(options.rate);
    workload.keys = 400;
    // An evolution is spread over the run: without an end to it there is no place for its steps.
    workload.evolve = options.duration.is_some();
    let progress = Progress::default();
    let begun = Instant::now();
    let counts = thread::scope(|scope| {
        let running = scope.spawn(|| workload::run(&workload, &progress));
        let watched = watch(&parts, &config, &daemon, &interrupted, || {
            running.is_finished()
        });
        progress.stop.store(true, Ordering::Relaxed);
        let counts = running
            .join()
            .map_err(|_| anyhow!("the workload panicked"))?;
        watched.and(counts)
    })?;
    conclude(&parts, &config, &dir, daemon, (&counts, begun))
}

/// Prints a line every other second until the workload ends.
fn watch(
    parts: &Parts,
    config: &Written,
    daemon: &Daemon,
    interrupted: &AtomicBool,
    is_finished: impl Fn() -> bool,
) -> Result<()> {
    let begun = Instant::now();
    let mut before = Figures::default();
    while !is_finished() && !interrupted.load(Ordering::Relaxed) {
        let asked = Instant::now();
        // Running out of time is the usual way here.
        let _ = wait::until("the next line is due", LINE_EVERY, || {
            (is_finished() || interrupted.load(Ordering::Relaxed)).then_some(())
        });
        daemon.check_alive()?;
        parts.connect.check()?;
        let now = Figures::take(parts, config)?;
        let rate = |now: u64, before: u64| {
            (now.saturating_sub(before) as f64 / asked.elapsed().as_secs_f64()) as u64
        };
        println!(
            "{:>4} s   source rows {:>8}   replica rows {:>8}   records {:>9} {:>7}/s   \
             applied {:>7}/s   lag {:>7}   dead letters {:>3}",
            begun.elapsed().as_secs(),
            grouped(now.source_rows),
            grouped(now.replica_rows),
            grouped(now.records),
            grouped(rate(now.records, before.records)),
            grouped(rate(now.records - now.lag, before.records - before.lag)),
            grouped(now.lag),
            now.dead_letters,
        );
        before = now;
    }
    Ok(())
}

/// How far all is.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    source_rows: u64,
    /// As FINAL has them.
    replica_rows: u64,
    /// Records in the topics.
    records: u64,
    /// Of these, not committed by the daemon.
    lag: u64,
    dead_letters: u64,
}

impl Figures {
    fn take(parts: &Parts, config: &Written) -> Result<Self> {
        let bootstrap = parts.kafka.bootstrap();
        let mut figures = Self::default();
        for replica in &config.replicas {
            let ends = topic::end_offsets(bootstrap, &replica.topic)?;
            figures.lag += uncommitted(bootstrap, &config.group, &replica.topic, &ends)?;
            figures.records += ends.values().sum::<i64>().unsigned_abs();
            let rows = format!("SELECT count(*) FROM {}", replica.source);
            figures.source_rows += parts.postgres.psql(&rows)?.parse::<u64>()?;
            figures.replica_rows += rows_of(&parts.clickhouse.url(), &replica.table)?;
        }
        let letters = topic::end_offsets(bootstrap, DEAD_LETTER_TOPIC)?;
        figures.dead_letters = letters.values().sum::<i64>().unsigned_abs();
        Ok(figures)
    }
}

/// 0 of a table that does not exist yet.
fn rows_of(url: &str, table: &str) -> Result<u64> {
    let exists = count(url, &format!("EXISTS TABLE {table}"))?;
    match exists {
        0 => Ok(0),
        _ => count(url, &format!("SELECT count() FROM {table} FINAL")),
    }
}

/// Lets Debezium and the daemon catch up, then compares table by table.
fn conclude(
    parts: &Parts,
    config: &Written,
    dir: &Path,
    daemon: Daemon,
    (counts, begun): (&Counts, Instant),
) -> Result<bool> {
    println!("the workload has ended; waiting for the rest, then draining the daemon …");
    parts
        .postgres
        .wait_until_confirmed(PREFIX, CATCH_UP_TIMEOUT)?;
    let seconds = begun.elapsed().as_secs_f64();
    wait::until("every record is committed", CATCH_UP_TIMEOUT, || {
        let figures = daemon
            .check_alive()
            .and_then(|()| Figures::take(parts, config));
        match figures {
            Ok(Figures { lag: 0, .. }) => Some(Ok(())),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        }
    })??;
    let figures = Figures::take(parts, config)?;
    println!("{counts}");
    println!(
        "{} records in {seconds:.1} s: {:.0}/s",
        grouped(figures.records),
        figures.records as f64 / seconds
    );
    let clean = daemon.drain()?;
    println!("drained, {clean}");

    let bootstrap = parts.kafka.bootstrap();
    let mut good = clean.success() && figures.dead_letters == 0;
    if figures.dead_letters > 0 {
        println!("BAD: {} dead letters", figures.dead_letters);
        print!("{}", evidence::dead_letters(bootstrap, DEAD_LETTER_TOPIC)?);
    }
    for replica in &config.replicas {
        let comparison = compare::tables(
            &parts.postgres.url(),
            &replica.source,
            &parts.clickhouse.url(),
            &replica.table,
            &ReplicaOptions::default(),
        )?;
        println!("{comparison}");
        if !comparison.is_equal() || figures.dead_letters > 0 {
            let kept = evidence::keep_records(bootstrap, &replica.topic, dir)?;
            println!("  all records of the topic: {}", kept.display());
        }
        good &= comparison.is_equal() && comparison.columns_missing.is_empty();
    }
    Ok(good)
}

fn print_where_to_look(parts: &Parts, config: &Written, rate: u64) {
    let listen = &config.http_listen;
    let table = &config.replicas[0].table;
    println!();
    println!("  status page   http://{listen}/");
    println!("  metrics       http://{listen}/metrics");
    println!("  source        psql {}", parts.postgres.url());
    println!(
        "  connector     {}/connectors/{PREFIX}/status",
        parts.connect.url()
    );
    println!(
        "  ask ClickHouse: curl '{}' --data-binary \\",
        parts.clickhouse.url()
    );
    println!(
        "    \"SELECT status, count() FROM {table} FINAL GROUP BY 1 ORDER BY 2 DESC FORMAT PrettyCompact\""
    );
    println!();
    println!("  {rate} statements a second; Ctrl-C ends it");
    println!();
}
