//! What an event costs: the daemon beside bare drains of the same topic by the same client library.
//!
//! `make bench` builds and runs it. Every kind is a child process of its own, so that its CPU is
//! its own; the kinds take turns, round by round, because this costs the same minute's noise to
//! all of them. A run that did not see every event makes the whole benchmark fail.

mod child;
mod daemon;
mod figures;
mod machine;
mod prototype;
mod readers;
mod report;
mod topic;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
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
    /// Events in the topic
    #[arg(long, default_value_t = 2_000_000)]
    events: u64,
    /// How often each kind is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only these kinds, such as `abd`
    #[arg(long, default_value = "abcdep")]
    kinds: String,
    /// Another daemon to measure in the place of (p), such as the one before a change
    #[arg(long)]
    against: Option<PathBuf>,
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
    let wants = |kind: char| arguments.kinds.contains(kind);
    let parts = Sandbox::start()?;
    println!("{}", machine::facts(&parts)?);
    let topic = EventTopic::fill(&parts, arguments.events)?;
    println!(
        "topic: {} events of {} bytes on average in {} partitions, {} profiles in Redis\n",
        topic.events,
        topic.value_bytes_mean,
        topic::PARTITIONS,
        topic::USERS
    );
    let daemon = DaemonRuns::new(&parts, &topic, executable("streamweir", "STREAMWEIR_BIN")?)?;
    let other = match &arguments.against {
        Some(program) => Some(DaemonRuns::new(&parts, &topic, program.clone())?),
        None => None,
    };
    let prototype = if wants('p') && other.is_none() {
        Prototype::prepare(&parts)?
    } else {
        None
    };

    // Once without being counted: the log's segments are in the page cache from here on.
    readers::run(ReaderKind::Batch, &parts, &topic)?;
    let mut report = Report::new(topic.events);
    for round in 1..=arguments.rounds {
        for (letter, kind) in [
            ('a', ReaderKind::Batch),
            ('b', ReaderKind::Poll),
            ('c', ReaderKind::Decode),
        ] {
            if wants(letter) {
                let run = readers::run(kind, &parts, &topic)?;
                report.add(round, Kind::Reader(kind), run);
            }
        }
        if wants('d') {
            // Whoever is second finds the processor's caches and the clock as the first left them.
            let both = |report: &mut Report, swapped: bool| -> Result<()> {
                let runs = [(Some(&daemon), true), (other.as_ref(), false)];
                let order = if swapped { [1, 0] } else { [0, 1] };
                for (runs, is_ours) in order.map(|at| runs[at]) {
                    let Some(runs) = runs else { continue };
                    let (run, idle) = runs.read_into_nowhere()?;
                    report.add(
                        round,
                        if is_ours {
                            Kind::Daemon
                        } else {
                            Kind::OtherDaemon
                        },
                        run,
                    );
                    if is_ours {
                        report.add(round, Kind::DaemonIdle, idle);
                    }
                }
                Ok(())
            };
            both(&mut report, round % 2 == 0)?;
        }
        if wants('e') {
            report.add(round, Kind::DaemonToEngine, daemon.read_into_the_engine()?);
        }
        if let Some(prototype) = &prototype {
            report.add(round, Kind::Prototype, prototype.run(&parts, &topic)?);
        }
    }
    println!("\n{report}");
    println!("{}", machine::load()?);
    Ok(())
}
