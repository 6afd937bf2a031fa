//! The demo: live traffic through the daemon, which runs all pipelines of the shipped configuration, with
//! a verdict on each at the end. [`cdc`] is the one of change data capture from a real database, [`medallion`] that
//! of raw records, clean ones and windows from one topic.
//!
//! Parts named by `KAFKA_BROKERS`, `CLICKHOUSE_URL` or `REDIS_URL` are used as they are, under
//! names with a random prefix that are removed afterwards; the others are started.

pub mod cdc;
mod config;
mod daemon;
pub mod medallion;
mod others;
mod parts;
mod proofs;
mod verdict;
mod watch;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::generate::{self, ProfileEncoding, Progress, Start, Traffic, Volume};
use crate::topic;
use crate::workdir::sandbox_dir;
use daemon::Daemon;
use others::{CHANGES_PER_SECOND, JOINED_PER_SECOND, Others, SALES_PER_SECOND};
use parts::Parts;
use proofs::Verdict;
use verdict::Tally;
use watch::Watch;

const USERS: u64 = 10_000;
const PARTITIONS: i32 = 4;
const POISON_EVERY: u64 = 997;
const FIRST_VERDICT_AFTER: Duration = Duration::from_secs(20);
const LINE_EVERY: Duration = Duration::from_secs(2);
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(120);

/// Runs the demo at `rate` events a second, for `duration` or until Ctrl-C. Returns whether every
/// event arrived exactly once, and every other pipeline's result is right.
///
/// # Errors
/// When a part or the daemon does not start, or fails on the way.
pub fn run(rate: u64, duration: Option<Duration>) -> Result<bool> {
    let interrupted = on_interrupt()?;
    let dir = sandbox_dir().join("demo");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;

    let parts = Parts::start()?;
    stop_if(&interrupted)?;
    parts.create_topics(PARTITIONS)?;
    let keys = parts.key_prefix();
    generate::load_profiles(parts.redis_url(), &keys, USERS, ProfileEncoding::Json)?;
    let config = config::write(&parts, &dir)?;
    let daemon = Daemon::start(&config.path, &config.http_listen, &dir)?;
    stop_if(&interrupted)?;
    print_where_to_look(&parts, &config, rate);

    let progress = Arc::new(Progress::default());
    let traffic = Traffic {
        bootstrap: parts.bootstrap().to_owned(),
        topic: parts.topic(),
        volume: Volume::Rate {
            per_second: rate,
            duration,
        },
        users: USERS,
        seed: 42,
        start: Start::Now,
        poison_every: POISON_EVERY,
    };
    let others = Others::start(&parts, &progress);
    let generator = {
        let progress = Arc::clone(&progress);
        thread::spawn(move || generate::run(&traffic, &progress))
    };
    let watched = watch(&parts, &config.table, &daemon, &generator, &interrupted);
    progress.stop.store(true, Ordering::Relaxed);
    let produced = generator
        .join()
        .map_err(|_| anyhow!("the generator panicked"))?;
    let totals = others.join();
    watched?;
    let clean = conclude(&parts, daemon, &config, &dir)?;
    let right = judge(&parts, &config.table, produced?, &progress, &totals?)?;
    println!("configuration and log: {}", dir.display());
    Ok(clean && right)
}

/// Prints lines every other second until the generator ends; true to its word, an open-ended run
/// gives a first verdict on the way.
fn watch(
    parts: &Parts,
    table: &str,
    daemon: &Daemon,
    generator: &JoinHandle<Result<u64>>,
    interrupted: &AtomicBool,
) -> Result<()> {
    let mut watch = Watch::begin(parts, table);
    let mut verdict_given = false;
    while !generator.is_finished() && !interrupted.load(Ordering::Relaxed) {
        daemon.check_alive()?;
        watch.pause(LINE_EVERY, || {
            interrupted.load(Ordering::Relaxed) || generator.is_finished()
        });
        // A server that answers late is no verdict.
        let lines = watch.lines();
        println!(
            "{}",
            lines.unwrap_or_else(|error| format!("cannot ask now: {error:#}"))
        );
        if !verdict_given && watch.elapsed() >= FIRST_VERDICT_AFTER {
            verdict_given = true;
            let ends = topic::end_offsets(parts.bootstrap(), &parts.topic())?;
            verdict::wait_until_done(parts, &ends, CATCH_UP_TIMEOUT, || daemon.check_alive())?;
            println!("{}", Tally::take(parts, table, &ends)?);
        }
    }
    Ok(())
}

/// Lets the daemon catch up and drain. What is open then, a window or an event that waits for its profile,
/// is closed by a run to the end.
fn conclude(parts: &Parts, daemon: Daemon, config: &config::Written, dir: &Path) -> Result<bool> {
    println!("the producers have stopped; waiting for the rest, then draining the daemon …");
    let ends = topic::end_offsets(parts.bootstrap(), &parts.topic())?;
    verdict::wait_until_done(parts, &ends, CATCH_UP_TIMEOUT, || daemon.check_alive())?;
    let asked = Instant::now();
    let drained = daemon.drain()?;
    println!(
        "drained in {:.1} s, {drained}",
        asked.elapsed().as_secs_f64()
    );
    let closed = Daemon::close(&config.path, dir)?;
    println!("streamweir run --until latest --close: {closed}");
    Ok(drained.success() && closed.success())
}

/// Holds the results against what was produced.
fn judge(
    parts: &Parts,
    table: &str,
    produced: u64,
    progress: &Progress,
    totals: &str,
) -> Result<bool> {
    let ends = topic::end_offsets(parts.bootstrap(), &parts.topic())?;
    let tally = Tally::take(parts, table, &ends)?;
    let poisoned = progress.poisoned.load(Ordering::Relaxed);
    println!("{tally}");
    if tally.dead_letters != poisoned {
        println!(
            "BAD: {poisoned} events were spoiled, {} are dead letters",
            tally.dead_letters
        );
    }
    if tally.produced != produced {
        println!(
            "BAD: {produced} events were acknowledged, the log holds {}",
            tally.produced
        );
    }
    let mut good = tally.is_exact() && tally.produced == produced && tally.dead_letters == poisoned;
    good &= print_verdicts(&[
        proofs::shop(parts, totals)?,
        proofs::sales(parts)?,
        proofs::enriched(parts)?,
    ]);
    Ok(good)
}

/// Whether all are good.
fn print_verdicts(verdicts: &[Verdict]) -> bool {
    for verdict in verdicts {
        println!("{verdict}");
    }
    verdicts.iter().all(|verdict| verdict.is_good)
}

fn print_where_to_look(parts: &Parts, config: &config::Written, rate: u64) {
    let (listen, table) = (&config.http_listen, &config.table);
    println!();
    println!("  status page   http://{listen}/");
    println!("  metrics       http://{listen}/metrics");
    println!(
        "  ask ClickHouse: curl '{}' --data-binary \\",
        parts.clickhouse_url()
    );
    println!(
        "    \"SELECT user_segment, count() FROM {table} GROUP BY 1 ORDER BY 2 DESC FORMAT PrettyCompact\""
    );
    println!();
    println!("  {rate} events a second, one in {POISON_EVERY} of them spoiled; Ctrl-C ends it");
    println!(
        "  and {CHANGES_PER_SECOND} changes of a table, {SALES_PER_SECOND} sales, {JOINED_PER_SECOND} events and \
         profiles to join; of these two a minute"
    );
    println!("  of event time goes by every second");
    println!();
}

/// An empty table is no verdict: Ctrl-C before the first event is an end without one.
fn stop_if(interrupted: &AtomicBool) -> Result<()> {
    ensure!(
        !interrupted.load(Ordering::Relaxed),
        "interrupted before the first event"
    );
    Ok(())
}

/// A flag that the first Ctrl-C sets; the second ends the process at once.
fn on_interrupt() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let flag = || Arc::clone(&interrupted);
        signal_hook::flag::register_conditional_shutdown(signal, 130, flag())?;
        signal_hook::flag::register(signal, flag())?;
    }
    Ok(interrupted)
}
