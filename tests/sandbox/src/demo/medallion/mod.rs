//! The demo of bronze, silver and gold: retail transactions, some of them spoilt, sent again or late, through
//! `examples/medallion.toml`, and at the end each table held against a second count of the topic.

mod config;
mod count;
mod traffic;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use self::config::{LETTERS, Written};
use self::count::Expected;
pub use self::traffic::Traffic;
use super::daemon::Daemon;
use super::parts::Parts;
use super::watch::grouped;
use super::{LINE_EVERY, on_interrupt, print_verdicts, stop_if, verdict};
use crate::workdir::sandbox_dir;
use crate::{topic, wait};

pub(super) const TOPIC: &str = "retail-transactions";
const PARTITIONS: i32 = 4;

/// Servers, and what is put before every name in them.
#[derive(Debug, Clone)]
pub struct Places {
    /// Brokers, as a client is told.
    pub bootstrap: String,
    /// Where ClickHouse answers.
    pub clickhouse_url: String,
    /// Before the names of topics, groups and databases; may be empty.
    pub prefix: String,
}

impl Places {
    pub(super) fn named(&self, shipped: &str) -> String {
        format!("{}{shipped}", self.prefix)
    }
}

/// Runs the demo at `rate` transactions a second, for `duration` or until Ctrl-C. Returns whether every table is
/// right.
///
/// # Errors
/// When a part or the daemon does not start, or fails on the way.
pub fn run(rate: u64, duration: Option<Duration>) -> Result<bool> {
    let interrupted = on_interrupt()?;
    let dir = sandbox_dir().join("demo-medallion");
    let parts = Parts::start()?;
    let places = Places {
        bootstrap: parts.bootstrap().to_owned(),
        clickhouse_url: parts.clickhouse_url().to_owned(),
        prefix: parts.named(""),
    };
    let traffic = Traffic::paced(rate, duration);
    let good = show(&places, &dir, traffic, &interrupted);
    if !places.prefix.is_empty() {
        remove(&places)?;
    }
    good
}

/// The same in these places, with the files in `dir`, until the traffic ends or `interrupted`. The database and the
/// topics are left behind.
///
/// # Errors
/// As [`run`].
pub fn show(
    places: &Places,
    dir: &Path,
    traffic: Traffic,
    interrupted: &AtomicBool,
) -> Result<bool> {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    topic::create(&places.bootstrap, &places.named(TOPIC), PARTITIONS, &[])?;
    topic::create(&places.bootstrap, &places.named(LETTERS), 1, &[])?;
    let config = config::write(places, dir)?;
    let daemon = Daemon::start(&config.path, &config.http_listen, dir)?;
    stop_if(interrupted)?;
    print_where_to_look(places, &config, dir);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let producing = scope.spawn(|| traffic.send(places, PARTITIONS, &is_over));
        let watched = watch(places, &daemon, || {
            producing.is_finished() || interrupted.load(Ordering::Relaxed)
        });
        is_over.store(true, Ordering::Relaxed);
        let produced = producing.join();
        let produced = produced.map_err(|_| anyhow!("the producer panicked"))?;
        watched.and(produced)
    })?;
    println!("the producer has stopped; draining the daemon, then a run to the end of the topic …");
    let drained = daemon.drain()?;
    let closed = Daemon::close(&config.path, dir)?;
    println!("drained: {drained}; streamweir run --until latest --close: {closed}");
    let verdicts = Expected::count(places)?.hold(places)?;
    Ok(print_verdicts(&verdicts) && drained.success() && closed.success())
}

/// Prints a line every other second.
fn watch(places: &Places, daemon: &Daemon, is_over: impl Fn() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !is_over() {
        // Running out of time is the usual way here.
        let _ = wait::until("the next line is due", LINE_EVERY, || {
            is_over().then_some(())
        });
        daemon.check_alive()?;
        let rows = |table: &str| {
            let table = format!("{}.{table}", places.named("analytics"));
            verdict::count(
                &places.clickhouse_url,
                &format!("SELECT count() FROM {table}"),
            )
        };
        let records = topic::end_offsets(&places.bootstrap, &places.named(TOPIC))?;
        let letters = topic::end_offsets(&places.bootstrap, &places.named(LETTERS))?;
        println!(
            "{:>4} s   records {:>9}   bronze {:>9}   silver {:>9}   sales {:>5}   customers {:>5}   products {:>5}   \
             dead letters {:>6}",
            begun.elapsed().as_secs(),
            grouped(records.values().sum::<i64>().unsigned_abs()),
            grouped(rows("bronze_events")?),
            grouped(rows("silver_transactions")?),
            grouped(rows("sales_metrics FINAL")?),
            grouped(rows("customer_analytics FINAL")?),
            grouped(rows("product_performance FINAL")?),
            grouped(letters.values().sum::<i64>().unsigned_abs()),
        );
    }
    Ok(())
}

fn print_where_to_look(places: &Places, config: &Written, dir: &Path) {
    let (listen, database) = (&config.http_listen, places.named("analytics"));
    println!();
    println!("  configuration and log: {}", dir.display());
    println!("  status page   http://{listen}/");
    println!("  metrics       http://{listen}/metrics");
    println!(
        "  ask ClickHouse: curl '{}' --data-binary \\",
        places.clickhouse_url
    );
    println!("    \"SELECT * FROM {database}.retail_kpis FORMAT PrettyCompact\"");
    println!();
    println!(
        "  of a hundred transactions about two are spoilt, three are sent again, one is three hours late"
    );
    println!();
}

/// What was made in servers that are somebody's own, but for what [`Parts`] removes.
fn remove(places: &Places) -> Result<()> {
    topic::delete(&places.bootstrap, &places.named(TOPIC))?;
    for group in config::GROUPS {
        topic::delete_group(&places.bootstrap, &places.named(group))?;
    }
    Ok(())
}
