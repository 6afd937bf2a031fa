//! What events, change records and sales cost: the daemon beside bare drains of the same topics by the same
//! client library.
//!
//! `make bench` builds and runs it. Every kind is a child process of its own, so that its CPU is
//! its own; the kinds take turns, round by round, because this costs the same minute's noise to
//! all of them. A run that did not see every event makes the whole benchmark fail.

mod changes;
mod child;
mod copier;
mod daemon;
mod figures;
mod formats;
mod joins;
mod machine;
mod prototype;
mod quality;
mod raw;
mod readers;
mod report;
mod sales;
mod topic;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use sandbox::Sandbox;
use sandbox::workdir::executable;

use daemon::DaemonRuns;
use prototype::Prototype;
use readers::ReaderKind;
use report::{Kind, Report};
use topic::EventTopic;

/// Measures CPU per event and events per second.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    child: Option<Child>,
    /// Only these
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Events in the topic
    #[arg(long, default_value_t = 2_000_000)]
    events: u64,
    /// Changes of the replicated table; a quarter of them in the form with a schema block
    #[arg(long, default_value_t = 2_000_000)]
    changes: u64,
    /// Sales in the topic
    #[arg(long, default_value_t = 2_000_000)]
    sales: u64,
    /// Events that are joined with a tenth as many updates
    #[arg(long, default_value_t = 2_000_000)]
    joins: u64,
    /// Only these forms of joins
    #[arg(long, value_delimiter = ',')]
    join_forms: Vec<joins::Form>,
    /// Only these forms of change records
    #[arg(long, value_delimiter = ',')]
    forms: Vec<changes::Form>,
    /// How often each kind is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only these kinds, such as `abd`
    #[arg(long, default_value = "abcdepqrtu")]
    kinds: String,
    /// Another daemon to measure in the place of (p), such as the one before a change
    #[arg(long)]
    against: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Clickstream events through the enrichment
    Events,
    /// Change records into a replica
    Changes,
    /// Sales into windows
    Sales,
    /// Events joined with profiles
    Joins,
    /// Clickstream events in JSON, Avro and Protobuf
    Formats,
}

#[derive(Debug, Subcommand)]
enum Child {
    /// Drains the topic once and says how long it took: what the benchmark starts
    #[command(hide = true)]
    Read(readers::ReadArguments),
    /// Measures memory, rest, freshness, takeover and scaling instead
    Figures(figures::FiguresArguments),
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match &arguments.child {
        Some(Child::Read(read)) => readers::read(read),
        Some(Child::Figures(figures)) => figures::measure(figures),
        None => measure(&arguments),
    }
}

fn measure(arguments: &Arguments) -> Result<()> {
    ensure!(
        arguments.rounds > 0 && arguments.events > 0,
        "nothing to do"
    );
    let wants = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let parts = Sandbox::start()?;
    println!("{}", machine::facts(&parts)?);
    if wants(Part::Events) {
        measure_events(arguments, &parts)?;
    }
    if wants(Part::Changes) {
        let amounts = changes::Amounts {
            changes: arguments.changes,
            rounds: arguments.rounds,
            forms: arguments.forms.clone(),
            kinds: arguments.kinds.clone(),
            against: arguments.against.clone(),
        };
        changes::measure(&parts, &amounts)?;
    }
    if wants(Part::Sales) {
        sales::measure(&parts, arguments.sales, arguments.rounds, &arguments.kinds)?;
    }
    if wants(Part::Formats) {
        formats::measure(&parts, arguments.events, arguments.rounds)?;
    }
    if wants(Part::Joins) {
        let amounts = joins::Amounts {
            events: arguments.joins,
            rounds: arguments.rounds,
            forms: arguments.join_forms.clone(),
            kinds: arguments.kinds.clone(),
            against: arguments.against.clone(),
        };
        joins::measure(&parts, &amounts)?;
    }
    println!("{}", machine::load()?);
    Ok(())
}

fn measure_events(arguments: &Arguments, parts: &Sandbox) -> Result<()> {
    let wants = |kind: char| arguments.kinds.contains(kind);
    let topic = EventTopic::fill(parts, arguments.events)?;
    println!(
        "topic: {} events of {} bytes on average in {} partitions, {} profiles in Redis\n",
        topic.events,
        topic.value_bytes_mean,
        topic::PARTITIONS,
        topic::USERS
    );
    let daemon = DaemonRuns::new(parts, &topic, executable("streamweir", "STREAMWEIR_BIN")?)?;
    let raw_events = |compression| raw::RawEvents {
        topic: &topic,
        compression,
    };
    let (packed, plain) = (raw_events("lz4"), raw_events("none"));
    let raw = DaemonRuns::new(parts, &packed, executable("streamweir", "STREAMWEIR_BIN")?)?;
    let uncompressed = DaemonRuns::new(parts, &plain, executable("streamweir", "STREAMWEIR_BIN")?)?;
    let asked_events = quality::AskedEvents(&topic);
    let asked = DaemonRuns::new(
        parts,
        &asked_events,
        executable("streamweir", "STREAMWEIR_BIN")?,
    )?;
    let other = match &arguments.against {
        Some(program) => Some(DaemonRuns::new(parts, &topic, program.clone())?),
        None => None,
    };
    let prototype = if wants('p') && other.is_none() {
        Prototype::prepare(parts)?
    } else {
        None
    };

    let drain = |kind| readers::run(kind, parts, &topic.name, topic.events);
    // Once without being counted: the log's segments are in the page cache from here on.
    drain(ReaderKind::Batch)?;
    let mut report = Report::new("event", topic.events);
    for round in 1..=arguments.rounds {
        for (letter, kind) in [
            ('a', ReaderKind::Batch),
            ('b', ReaderKind::Poll),
            ('c', ReaderKind::Decode),
        ] {
            if wants(letter) {
                let run = drain(kind)?;
                report.add(round, Kind::Reader(kind), run);
            }
        }
        if wants('d') {
            report.add_daemons(round, &daemon, other.as_ref())?;
        }
        if wants('e') {
            report.add(round, Kind::DaemonToEngine, daemon.read_into_the_engine()?);
        }
        if wants('r') {
            report.add(round, Kind::Raw, raw.read_into_nowhere()?.0);
        }
        if wants('u') {
            let run = uncompressed.read_into_nowhere()?.0;
            report.add(round, Kind::Uncompressed, run);
        }
        if wants('q') {
            report.add(round, Kind::Asked, asked.read_into_nowhere()?.0);
        }
        if let Some(prototype) = &prototype {
            report.add(round, Kind::Prototype, prototype.run(parts, &topic)?);
        }
    }
    println!("\n{report}");
    Ok(())
}
