//! `make soak`: the whole fault programme, and a table of what came of it.

#[path = "../programme/mod.rs"]
mod programme;
#[path = "../support/mod.rs"]
mod support;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::{Args, Parser};
use programme::{Run, Trial};
use support::proof::Counts;

/// Runs the fault programme and prints a table: fault, how often, records, rows, dead letters,
/// result, seconds
#[derive(Debug, Parser)]
#[command(name = "soak")]
enum Command {
    /// Name the faults and how often each is met
    List,
    /// Meet them
    Run(Arguments),
}

#[derive(Debug, Args)]
struct Arguments {
    /// Only faults whose name begins so; may be repeated
    #[arg(long)]
    only: Vec<String>,
    /// How often, as a share of the full programme; at least as often as in the tests
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// The same seed makes the same random choices
    #[arg(long)]
    seed: Option<u64>,
    /// How many faults are under way at the same time
    #[arg(long, default_value_t = 2)]
    at_once: usize,
}

/// How one trial went.
struct Verdict {
    times: u32,
    outcome: Result<Run, String>,
    took: Duration,
}

fn main() -> ExitCode {
    // `cargo test` runs this too, with whatever it is told to tell the tests.
    let first = std::env::args().nth(1).unwrap_or_default();
    if !["list", "run", "help", "--help"].contains(&first.as_str()) {
        eprintln!("soak is no test: see `make soak`");
        return ExitCode::SUCCESS;
    }
    match Command::parse() {
        Command::List => {
            for trial in programme::all() {
                println!("{:32} {:4}  {}", trial.name, trial.full, trial.what);
            }
            ExitCode::SUCCESS
        }
        Command::Run(arguments) => run(&arguments),
    }
}

fn run(arguments: &Arguments) -> ExitCode {
    let is_wanted = |trial: &Trial| {
        arguments.only.is_empty()
            || arguments
                .only
                .iter()
                .any(|only| trial.name.starts_with(only))
    };
    let trials: Vec<Trial> = programme::all().into_iter().filter(is_wanted).collect();
    if trials.is_empty() {
        eprintln!("no fault is called {:?}: see `list`", arguments.only);
        return ExitCode::from(2);
    }
    let seed = arguments.seed.unwrap_or_else(rand::random);
    println!("seed {seed}, scale {}\n", arguments.scale);
    let begun = Instant::now();
    let verdicts = run_all(&trials, seed, arguments.scale, arguments.at_once.max(1));
    print_table(&trials, &verdicts);
    let failed = verdicts.iter().filter(|v| v.outcome.is_err()).count();
    println!(
        "\n{} of {} hold, {:.0} s",
        trials.len() - failed,
        trials.len(),
        begun.elapsed().as_secs_f64()
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Some threads take one trial after the other.
fn run_all(trials: &[Trial], seed: u64, scale: f64, at_once: usize) -> Vec<Verdict> {
    let waiting = Mutex::new(trials.iter().enumerate());
    let verdicts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().expect("no holder panics").next();
                    let Some((index, trial)) = next else { return };
                    let verdict = run_one(trial, seed, scale);
                    verdicts
                        .lock()
                        .expect("no holder panics")
                        .push((index, verdict));
                }
            });
        }
    });
    let mut verdicts = verdicts.into_inner().expect("no holder panics");
    verdicts.sort_by_key(|(index, _)| *index);
    verdicts.into_iter().map(|(_, verdict)| verdict).collect()
}

fn run_one(trial: &Trial, seed: u64, scale: f64) -> Verdict {
    let share = (f64::from(trial.full) * scale).round() as u32;
    let times = share.max(trial.short);
    eprintln!("{} x {times} begins", trial.name);
    let begun = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| trial.run(times, seed)));
    let outcome = outcome.map_err(|panic| first_line(&*panic));
    let took = begun.elapsed();
    let result = outcome
        .as_ref()
        .map_or_else(String::as_str, |run| &run.result);
    eprintln!(
        "{} x {times}: {result}, {:.0} s",
        trial.name,
        took.as_secs_f64()
    );
    Verdict {
        times,
        outcome,
        took,
    }
}

/// What a panic says; the rest of it went to stderr.
fn first_line(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.and_then(|text| text.lines().next())
        .unwrap_or("panicked")
        .to_owned()
}

fn print_table(trials: &[Trial], verdicts: &[Verdict]) {
    println!("| fault | what happens | times | records | rows | dead letters | result | seconds |");
    println!("|---|---|---:|---:|---:|---:|---|---:|");
    for (trial, verdict) in trials.iter().zip(verdicts) {
        let (counts, result) = match &verdict.outcome {
            Ok(run) => (run.counts, run.result.clone()),
            Err(error) => (Counts::default(), format!("FAILED: {error}")),
        };
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {:.0} |",
            trial.name,
            trial.what,
            verdict.times,
            counts.records,
            counts.rows,
            counts.dead_letters,
            result.replace('|', "/"),
            verdict.took.as_secs_f64()
        );
    }
}
