//! What an operator sizes machines by: memory at its worst, rest, freshness, takeover, scaling.
//!
//! `make figures` builds and runs it. Each figure that has a bound is held against it, and a bound
//! that does not hold ends the program with an error after everything has been measured.

mod audit;
mod freshness;
mod idle;
mod job;
mod joins;
mod keys;
mod memory;
mod scaling;
mod takeover;
mod windows;

use std::fmt::Display;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use sandbox::Sandbox;

use crate::machine;
use crate::topic::{self, EventTopic};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Figure {
    /// Peak memory from a backlog, and while ClickHouse or Redis hangs
    Memory,
    /// Peak memory with records of 1 MiB
    Huge,
    /// CPU and memory with nothing to do
    Idle,
    /// From the record's timestamp to the visible row, at 1,000 events a second
    Freshness,
    /// From kill -9 of a member to the first new row of its partitions
    Takeover,
    /// Two consumers, and two processes, against one
    Scaling,
    /// Ten million distinct customers in one window
    Windows,
    /// Ten million keys of duplicates
    Keys,
    /// Records a second of an audit, beside nothing else
    Audit,
    /// From an event's timestamp to its joined record, at 1,000 events a second
    Joins,
}

#[derive(Debug, Args)]
pub(crate) struct FiguresArguments {
    /// Only these
    #[arg(long, value_delimiter = ',')]
    only: Vec<Figure>,
    /// Events in the topic of the backlog
    #[arg(long, default_value_t = 2_000_000)]
    events: u64,
    /// How often what compares is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Distinct customers in one window
    #[arg(long, default_value_t = 10_000_000)]
    customers: u32,
    /// Keys of duplicates
    #[arg(long, default_value_t = 10_000_000)]
    keys: u32,
    /// Records of 1 MiB, of each kind
    #[arg(long, default_value_t = 600)]
    huge_records: u32,
    /// A property of the Kafka client to measure with, such as `fetch.max.bytes=1000000`
    #[arg(long = "property", value_name = "KEY=VALUE")]
    properties: Vec<String>,
    /// How long ClickHouse hangs, and Redis
    #[arg(long, default_value_t = 60)]
    hang_seconds: u64,
    /// How long the idle daemon is watched
    #[arg(long, default_value_t = 30)]
    idle_seconds: u64,
    /// How long events come at 1,000 a second
    #[arg(long, default_value_t = 60)]
    freshness_seconds: u64,
    /// How long joined events are counted, in each of four cases
    #[arg(long, default_value_t = 60)]
    joins_seconds: u64,
}

/// Bounds that were promised and what was found beyond them.
#[derive(Debug, Default)]
struct Bounds(Vec<String>);

impl Bounds {
    /// Returns `held`, or `MISSED`, and remembers it.
    fn judge(&mut self, what: impl Display, found: f64, max: f64) -> &'static str {
        if found <= max {
            return "held";
        }
        self.0
            .push(format!("{what}: {found:.2} is more than {max}"));
        "MISSED"
    }

    /// As [`Bounds::judge`], of what is to be large.
    fn judge_least(&mut self, what: impl Display, found: f64, min: f64) -> &'static str {
        if found >= min {
            return "held";
        }
        self.0
            .push(format!("{what}: {found:.2} is less than {min}"));
        "MISSED"
    }
}

/// Measures and prints.
///
/// # Errors
/// When a bound does not hold, or a run loses, doubles or refuses anything.
pub(crate) fn measure(arguments: &FiguresArguments) -> Result<()> {
    let wants = |figure| arguments.only.is_empty() || arguments.only.contains(&figure);
    job::set_properties(&arguments.properties)?;
    let parts = Sandbox::start()?;
    println!("```\n{}\n```\n", machine::facts(&parts)?);
    let mut bounds = Bounds::default();
    // What must not be disturbed by merges of large tables comes first.
    if wants(Figure::Idle) {
        idle::measure(&parts, arguments.idle_seconds, &mut bounds)?;
    }
    if wants(Figure::Freshness) {
        freshness::measure(&parts, arguments.freshness_seconds, &mut bounds)?;
    }
    if wants(Figure::Joins) {
        joins::measure(&parts, arguments.joins_seconds)?;
    }
    if wants(Figure::Takeover) {
        takeover::measure(&parts)?;
    }
    if wants(Figure::Huge) {
        memory::measure_huge(&parts, arguments.huge_records, &mut bounds)?;
    }
    if wants(Figure::Windows) {
        windows::measure(&parts, arguments.customers, &mut bounds)?;
    }
    if wants(Figure::Keys) {
        keys::measure(&parts, arguments.keys, &mut bounds)?;
    }
    if [Figure::Audit, Figure::Memory, Figure::Scaling]
        .into_iter()
        .any(wants)
    {
        let topic = EventTopic::fill(&parts, arguments.events)?;
        println!(
            "backlog: {} events of {} bytes on average in {} partitions\n",
            topic.events,
            topic.value_bytes_mean,
            topic::PARTITIONS
        );
        if wants(Figure::Audit) {
            audit::measure(&parts, &topic, arguments.rounds, &mut bounds)?;
        }
        if wants(Figure::Scaling) {
            scaling::measure(&parts, &topic, arguments.rounds)?;
        }
        if wants(Figure::Memory) {
            memory::measure(&parts, &topic, arguments.hang_seconds, &mut bounds)?;
        }
    }
    println!("```\n{}\n```", machine::load()?);
    if bounds.0.is_empty() {
        return Ok(());
    }
    bail!("beyond what is promised:\n{}", bounds.0.join("\n"))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    }
}

fn worst(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

fn list(values: &[f64], decimals: usize) -> String {
    let texts: Vec<String> = values.iter().map(|v| format!("{v:.decimals$}")).collect();
    texts.join(" ")
}
