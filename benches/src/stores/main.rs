//! What embedded stores cost that could hold the state of windows (ADR 0017): each does the same work in a
//! process of its own, so that its memory is its own too.
//!
//! `cargo run --release -p throughput --bin stores -- --keys 10000000`
//!
//! And what windows cost with the one that was chosen, beside windows in memory:
//! `… --bin stores -- --windows --keys 50000000 --memory-max 128MiB`

mod fjall;
mod redb;
mod runs;
mod windows;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;

/// What a store keeps in memory of what it has read.
const CACHE_BYTES: usize = 64 << 20;
/// Keys that are asked for one by one.
const LOOKUPS: u64 = 200_000;
/// Keys that lie in memory together before they are written.
const RUN_KEYS: u64 = 1_000_000;

#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value_t = 10_000_000)]
    keys: u64,
    /// One of them alone, in this process.
    #[arg(long)]
    only: Option<String>,
    /// Windows of so many groups instead.
    #[arg(long)]
    windows: bool,
    /// How often each group gets a record.
    #[arg(long, default_value_t = 2)]
    rounds: u64,
    /// What windows may take of the memory before they are written.
    #[arg(long, default_value = "128MiB")]
    memory_max: String,
}

const STORES: [&str; 3] = ["fjall", "redb", "lsm-tree"];
const BACKENDS: [&str; 2] = ["memory", "disk"];

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let Some(name) = &arguments.only else {
        return each_in_a_process(&arguments);
    };
    let directory = tempfile::tempdir().context("a directory for the store")?;
    let line = match name.as_str() {
        "fjall" => measured(&mut fjall::Points::open(directory.path())?, arguments.keys)?,
        "redb" => measured(&mut redb::Points::open(directory.path())?, arguments.keys)?,
        "lsm-tree" => runs::measured(directory.path(), arguments.keys)?,
        "memory" | "disk" => {
            let memory_max = (name == "disk").then_some(&arguments.memory_max[..]);
            windows::measured(
                directory.path(),
                arguments.keys,
                arguments.rounds,
                memory_max,
            )?
        }
        other => anyhow::bail!("{other} is none of {STORES:?} and {BACKENDS:?}"),
    };
    println!("| {name} | {line} |");
    Ok(())
}

fn each_in_a_process(arguments: &Arguments) -> Result<()> {
    let (head, names) = match arguments.windows {
        true => (
            "| backend | events | groups | counting, an event | rows, an event | memory | disk |\n\
             |---|---:|---:|---|---|---|---|",
            &BACKENDS[..],
        ),
        false => (
            "| store | write | present key | absent key | scan | remove half | memory | disk |\n\
             |---|---|---|---|---|---|---|---|",
            &STORES[..],
        ),
    };
    println!("{head}");
    for name in names {
        let status = std::process::Command::new(std::env::current_exe()?)
            .args(["--only", name, "--memory-max", &arguments.memory_max])
            .args(["--keys", &arguments.keys.to_string()])
            .args(["--rounds", &arguments.rounds.to_string()])
            .status()?;
        ensure!(status.success(), "{name} failed");
    }
    Ok(())
}

/// A store that is read and written key by key.
trait Store {
    /// Writes keys that are in no order.
    fn write(&mut self, entries: &mut dyn Iterator<Item = (Key, Value)>) -> Result<()>;
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>>;
    /// How many entries there are, read in the order of their keys.
    fn scan(&self) -> Result<u64>;
    /// Removes the keys of the first of two windows.
    fn remove_half(&mut self) -> Result<()>;
}

type Key = [u8; 40];
type Value = [u8; 40];

/// The entry of this number: one of two windows, a group, and what its cells hold.
fn entry(number: u64) -> (Key, Value) {
    let mut key = [0; 40];
    key[7] = (number % 2) as u8;
    for (part, word) in key[8..].chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&mixed(number ^ (part as u64) << 60).to_be_bytes());
    }
    let mut value = [0; 40];
    value[..8].copy_from_slice(&number.to_le_bytes());
    value[8] = 1;
    (key, value)
}

/// The finalizer of splitmix64: numbers in an order that looks like none.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn measured(store: &mut dyn Store, keys: u64) -> Result<String> {
    let write = spent(keys, || store.write(&mut (0..keys).map(entry)))?;
    let look = |store: &dyn Store, first: u64, is_there: bool| {
        spent(LOOKUPS, || {
            for number in 0..LOOKUPS {
                let (key, value) = entry(first + mixed(number) % keys);
                let found = store.get(&key)?;
                let is_it = found.as_deref() == is_there.then_some(&value[..]);
                ensure!(is_it, "the store gave another value than was written");
            }
            Ok(())
        })
    };
    let present = look(store, 0, true)?;
    let absent = look(store, keys, false)?;
    let mut count = 0;
    let scan = spent(keys, || {
        count = store.scan()?;
        Ok(())
    })?;
    ensure!(count == keys, "{count} of {keys} entries were scanned");
    let disk = on_disk()?;
    let remove = spent(keys / 2, || store.remove_half())?;
    ensure!(store.scan()? == keys / 2, "half of the entries are left");
    Ok(format!(
        "{write} | {present} | {absent} | {scan} | {remove} | {} | {disk}",
        peak_memory()?
    ))
}

/// Wall time and CPU of the whole process, for each of so many.
fn spent(count: u64, does: impl FnOnce() -> Result<()>) -> Result<String> {
    let (began, cpu) = (Instant::now(), cpu()?);
    does()?;
    let wall = began.elapsed();
    let cpu = self::cpu()?.saturating_sub(cpu);
    let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    Ok(format!("{:.2} µs, {:.2} CPU", each(wall), each(cpu)))
}

/// Of all threads of this process, those that ended included.
fn cpu() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("a command in brackets")?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks = ticks.map(|field| field.parse::<u64>());
    let ticks = ticks.sum::<Result<u64, _>>()?;
    // Hundredths of a second on every Linux.
    Ok(Duration::from_millis(ticks * 10))
}

fn peak_memory() -> Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    let kib: u64 = kib.context("VmHWM")?.parse()?;
    Ok(format!("{} MiB", kib >> 10))
}

thread_local! {
    static DIRECTORY: std::cell::RefCell<std::path::PathBuf> = Default::default();
}

/// What is measured by [`on_disk`].
fn lies_in(directory: &Path) {
    DIRECTORY.with(|held| *held.borrow_mut() = directory.to_owned());
}

fn on_disk() -> Result<String> {
    let mut bytes = 0;
    let mut open = vec![DIRECTORY.with(|held| held.borrow().clone())];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else {
                // Files may be of more blocks than they need, or of fewer.
                use std::os::unix::fs::MetadataExt as _;
                bytes += entry.metadata()?.blocks() * 512;
            }
        }
    }
    Ok(format!("{} MiB", bytes >> 20))
}
