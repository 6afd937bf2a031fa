//! How many instructions an event, a change record and a joined event cost between Kafka and where they go,
//! stage by stage.
//!
//! Times on a shared machine vary by a third; instructions do not vary at all. `make instructions`
//! counts those of the record path as the daemon runs it, without the network, and compares them
//! with the figures kept in the repository.

mod callgrind;
mod changes;
mod events;
mod joins;
mod stages;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use callgrind::Counts;
use clap::{Parser, Subcommand, ValueEnum};
use sandbox::generate::ChangeForm;
use sandbox::workdir::project_root;

/// Counts the instructions of the record path.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Action>,
    /// Only these
    #[arg(long, value_delimiter = ',')]
    only: Vec<Workload>,
    /// Records to count over
    #[arg(long, default_value_t = 60_000)]
    events: u64,
    /// Also list the functions that take most
    #[arg(long)]
    functions: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Takes the records through the path once: what is counted
    #[command(hide = true)]
    Run,
    /// Measures the time instead, on this machine as it is
    Time,
    /// Fails when a count is not the one kept in the repository
    Guard,
    /// Keeps the counts in the repository, after a change that was meant
    Keep,
}

/// What goes through the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// Clickstream events through the enrichment
    Event,
    /// Change records without a schema block into a replica
    Change,
    /// The same behind a schema block
    ChangeInBlock,
    /// Events joined with profiles
    Join,
}

/// What became of the records.
#[derive(Debug, Clone, Copy)]
struct Taken {
    rows: u64,
    frame_bytes: u64,
}

/// Where the counts are kept: a line each, its name and a number of instructions per record.
const KEPT: &str = "benches/instructions.txt";
/// Compilers place a few instructions differently; less than this is no news.
const TOLERANCE: f64 = 0.05;

impl Workload {
    fn name(self) -> String {
        let value = self.to_possible_value().expect("none is hidden");
        value.get_name().to_owned()
    }

    /// Makes the records, and says how to take them through the path.
    fn prepare(self, records: u64) -> Box<dyn Fn() -> Result<Taken>> {
        let changes = |form| {
            let changes = changes::Changes::new(form, records);
            Box::new(move || changes.run())
        };
        match self {
            Workload::Event => {
                let events = events::Events::new(records);
                Box::new(move || events.run())
            }
            Workload::Change => changes(ChangeForm::Envelope),
            Workload::ChangeInBlock => changes(ChangeForm::EnvelopeInBlock),
            Workload::Join => {
                let joins = joins::Joins::new(records);
                Box::new(move || joins.run())
            }
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let all = Workload::value_variants();
    let wanted =
        |workload: &&Workload| arguments.only.is_empty() || arguments.only.contains(workload);
    let workloads: Vec<Workload> = all.iter().filter(wanted).copied().collect();
    match arguments.command {
        Some(Action::Run) => workloads
            .iter()
            .try_for_each(|workload| workload.prepare(arguments.events)().map(drop)),
        Some(Action::Time) => workloads
            .iter()
            .try_for_each(|workload| time(*workload, arguments.events)),
        None => count_all(&arguments, &workloads).map(drop),
        Some(Action::Guard) => guard(&count_all(&arguments, &workloads)?),
        Some(Action::Keep) => keep(&count_all(&arguments, &workloads)?),
    }
}

/// Instructions per record, by workload.
fn count_all(arguments: &Arguments, workloads: &[Workload]) -> Result<BTreeMap<String, f64>> {
    let counted = workloads.iter().map(|workload| {
        let count = count(arguments, *workload)?;
        Ok((workload.name(), count))
    });
    counted.collect()
}

/// Prints the stages; returns instructions per record.
fn count(arguments: &Arguments, workload: Workload) -> Result<f64> {
    let program = std::env::current_exe()?;
    let (name, records) = (workload.name(), arguments.events.to_string());
    let counts = Counts::of(
        &program,
        &["--only", &name, "--events", &records, "run"],
        stages::toggles(workload),
    )?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let per_record = |instructions: u64| instructions as f64 / arguments.events as f64;
    println!("| {name}: stage | instructions per record |\n|---|---|");
    let mut rest = counts.total();
    for (stage, functions) in stages::of(workload) {
        let mut instructions = 0;
        for function in *functions {
            instructions += counts.inside(function)?;
        }
        rest = rest.saturating_sub(instructions);
        println!("| {stage} | {:.0} |", per_record(instructions));
    }
    println!(
        "| the rest: chunk, row index, copies | {:.0} |",
        per_record(rest)
    );
    println!("| all | {:.0} |\n", per_record(counts.total()));
    if arguments.functions {
        for (name, instructions) in counts.largest(40) {
            println!("{:9.1}  {name}", per_record(instructions));
        }
    }
    Ok(per_record(counts.total()))
}

fn time(workload: Workload, records: u64) -> Result<()> {
    let run = workload.prepare(records);
    for _ in 0..5 {
        let started = Instant::now();
        let taken = run()?;
        let nanoseconds = started.elapsed().as_nanos() / u128::from(records);
        let bytes = taken.frame_bytes / taken.rows;
        println!(
            "{}: {nanoseconds} ns per record, {bytes} bytes per row on the wire",
            workload.name()
        );
    }
    Ok(())
}

fn kept() -> Result<BTreeMap<String, f64>> {
    let text = std::fs::read_to_string(project_root().join(KEPT)).context(KEPT)?;
    let line = |line: &str| {
        let (name, count) = line.split_once(' ').context(KEPT)?;
        Ok((name.to_owned(), count.parse().context(KEPT)?))
    };
    text.lines().map(line).collect()
}

fn guard(found: &BTreeMap<String, f64>) -> Result<()> {
    let kept = kept()?;
    let mut differ = vec![];
    for (name, found) in found {
        let Some(kept) = kept.get(name) else {
            println!("{name}: {found:.0} instructions per record, and none in {KEPT} yet");
            continue;
        };
        let change = found / kept - 1.0;
        println!(
            "{name}: {found:.0} instructions per record, {kept:.0} in {KEPT}: {:+.1} %",
            change * 100.0
        );
        if change.abs() > TOLERANCE {
            differ.push(name.as_str());
        }
    }
    ensure!(
        differ.is_empty(),
        "the record path takes another number of instructions per record than {KEPT} says, by more \
         than {:.0} %: {}. If that was not meant, find out where (`make instructions` prints the \
         stages, here and before the change); if it was, keep the new figures with \
         `make instructions KEEP=1` and say in the commit why",
        TOLERANCE * 100.0,
        differ.join(", ")
    );
    Ok(())
}

fn keep(found: &BTreeMap<String, f64>) -> Result<()> {
    let mut all = kept().unwrap_or_default();
    all.extend(found.clone());
    let mut text = String::new();
    for (name, count) in &all {
        writeln!(text, "{name} {count:.0}")?;
    }
    std::fs::write(project_root().join(KEPT), text)?;
    Ok(())
}
