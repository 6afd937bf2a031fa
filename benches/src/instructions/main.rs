//! How many instructions an event costs between Kafka and ClickHouse, stage by stage.
//!
//! Times on a shared machine vary by a third; instructions do not vary at all. `make instructions`
//! counts those of the record path as the daemon runs it, without the network, and compares them
//! with the figure kept in the repository.

mod callgrind;
mod path;

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use callgrind::Counts;
use clap::{Parser, Subcommand};
use path::Workload;
use sandbox::workdir::project_root;

/// Counts the instructions of the record path.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Action>,
    /// Events to count over
    #[arg(long, default_value_t = 60_000)]
    events: u64,
    /// Also list the functions that take most
    #[arg(long)]
    functions: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Takes the events through the path once: what is counted
    #[command(hide = true)]
    Run,
    /// Measures the time instead, on this machine as it is
    Time,
    /// Fails when the count is not the one kept in the repository
    Guard,
    /// Keeps the count in the repository, after a change that was meant
    Keep,
}

/// Where the count is kept: a number of instructions per event.
const KEPT: &str = "benches/instructions.txt";
/// Compilers place a few instructions differently; less than this is no news.
const TOLERANCE: f64 = 0.05;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.command {
        None => count(&arguments).map(drop),
        Some(Action::Run) => Workload::new(arguments.events).run().map(drop),
        Some(Action::Time) => time(arguments.events),
        Some(Action::Guard) => guard(count(&arguments)?),
        Some(Action::Keep) => keep(count(&arguments)?),
    }
}

/// Prints the stages; returns instructions per event.
fn count(arguments: &Arguments) -> Result<f64> {
    let program = std::env::current_exe()?;
    let events = arguments.events.to_string();
    let toggles = ["*drive::RecordPath::chunk*", "*drive::RecordPath::seal*"];
    let counts = Counts::of(&program, &["--events", &events, "run"], &toggles)?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let per_event = |instructions: u64| instructions as f64 / arguments.events as f64;
    println!("| stage | instructions per event |\n|---|---|");
    let mut rest = counts.total();
    for (stage, functions) in STAGES {
        let mut instructions = 0;
        for function in functions {
            instructions += counts.inside(function)?;
        }
        rest = rest.saturating_sub(instructions);
        println!("| {stage} | {:.0} |", per_event(instructions));
    }
    println!(
        "| the rest: chunk, row index, copies | {:.0} |",
        per_event(rest)
    );
    println!("| all | {:.0} |", per_event(counts.total()));
    if arguments.functions {
        for (name, instructions) in counts.largest(40) {
            println!("{:9.1}  {name}", per_event(instructions));
        }
    }
    Ok(per_event(counts.total()))
}

/// Stages and the functions that are them; none is called by another.
const STAGES: [(&str, &[&str]); 5] = [
    (
        "decode: validate the JSON, find the values",
        &["Scanner::scan"],
    ),
    ("encode: columns of the event", &["Row::event_columns"]),
    (
        "operate: session",
        &[
            "Row::session_event",
            "EnrichmentOperator as streamweir::lane::operator::Operator>::judge",
        ],
    ),
    (
        "operate: profile from the cache or the answer",
        &["RecordPath::look_up"],
    ),
    ("seal: compress, checksum", &["frame::compress"]),
];

fn time(events: u64) -> Result<()> {
    let workload = Workload::new(events);
    for _ in 0..5 {
        let started = Instant::now();
        let path = workload.run()?;
        let nanoseconds = started.elapsed().as_nanos() / u128::from(events);
        let bytes = path.sealed.frame_bytes as u64 / events;
        println!("{nanoseconds} ns per event, {bytes} bytes per row on the wire");
    }
    Ok(())
}

fn guard(found: f64) -> Result<()> {
    let kept = std::fs::read_to_string(project_root().join(KEPT)).context(KEPT)?;
    let kept: f64 = kept.trim().parse().context(KEPT)?;
    let change = found / kept - 1.0;
    println!(
        "{found:.0} instructions per event, {kept:.0} in {KEPT}: {:+.1} %",
        change * 100.0
    );
    ensure!(
        change.abs() <= TOLERANCE,
        "the record path takes another number of instructions per event than {KEPT} says, by more \
         than {:.0} %. If that was not meant, find out where (`make instructions` prints the \
         stages, here and before the change); if it was, keep the new figure with \
         `make instructions KEEP=1` and say in the commit why",
        TOLERANCE * 100.0
    );
    Ok(())
}

fn keep(found: f64) -> Result<()> {
    std::fs::write(project_root().join(KEPT), format!("{found:.0}\n"))?;
    Ok(())
}
