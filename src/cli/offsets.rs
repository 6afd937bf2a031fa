//! `streamweir offsets show|reset`

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{print_json, report};
use crate::config::Config;
use crate::exit;
use crate::inspect::offsets::{self, GroupOffsets, Reset, ResetOptions, ResetTarget};

#[derive(Debug, Args)]
pub(super) struct Offsets {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints where the group stands: committed offset, end, lag, named ranges and what they mean
    Show(Show),
    /// Sets the group's offsets; refused while the group has members
    Reset(ResetArguments),
}

#[derive(Debug, Args)]
struct Show {
    /// Whose group
    #[arg(long, value_name = "NAME")]
    pipeline: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ResetArguments {
    /// Whose group
    #[arg(long, value_name = "NAME")]
    pipeline: String,
    /// Where to
    #[arg(long, value_name = "earliest|latest|RFC3339|OFFSET")]
    to: ResetTarget,
    /// Only this topic [default: all of the pipeline]
    #[arg(long)]
    topic: Option<String>,
    /// Only this partition of the topic
    #[arg(long, requires = "topic")]
    partition: Option<i32>,
    /// Say what would be set, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Offsets {
    pub(super) fn run(self, config: &Config) -> ExitCode {
        match self.action {
            Action::Show(show) => show.run(config),
            Action::Reset(reset) => reset.run(config),
        }
    }
}

impl Show {
    fn run(&self, config: &Config) -> ExitCode {
        match offsets::show(config, &self.pipeline) {
            Ok(shown) if self.json => print_json(&shown),
            Ok(shown) => print_offsets(&shown),
            Err(failure) => return report(&failure),
        }
        ExitCode::from(exit::DONE)
    }
}

impl ResetArguments {
    fn run(self, config: &Config) -> ExitCode {
        let options = ResetOptions {
            pipeline: self.pipeline,
            to: self.to,
            topic: self.topic,
            partition: self.partition,
            dry_run: self.dry_run,
        };
        match offsets::reset(config, &options) {
            Ok(reset) if self.json => print_json(&reset),
            Ok(reset) => print_reset(&reset),
            Err(failure) => return report(&failure),
        }
        ExitCode::from(exit::DONE)
    }
}

fn print_offsets(shown: &GroupOffsets) {
    println!("pipeline {}, group {}", shown.pipeline, shown.group);
    for p in &shown.partitions {
        let committed = p
            .committed
            .map_or("-".to_owned(), |offset| offset.to_string());
        println!(
            "{}:{}: committed {committed}, end {}, lag {}",
            p.topic, p.partition, p.end, p.lag
        );
        if !p.ranges.is_empty() {
            let ranges = p.ranges.iter().map(|(from, to)| format!("{from}-{to}"));
            println!("  named ranges: {}", ranges.collect::<Vec<_>>().join(", "));
        }
        for line in &p.meaning {
            println!("  {line}");
        }
    }
}

fn print_reset(reset: &Reset) {
    let word = if reset.dry_run { "would be set" } else { "set" };
    for p in &reset.partitions {
        let from = p.from.map_or("-".to_owned(), |offset| offset.to_string());
        if p.from == Some(p.to) {
            // What no version here understands is dropped even so.
            let dropped = if p.metadata == "dropped" {
                format!(", metadata dropped ({word})")
            } else {
                String::new()
            };
            println!("{}:{}: {from} stays{dropped}", p.topic, p.partition);
            continue;
        }
        println!(
            "{}:{}: {from} -> {} {word}, metadata {}",
            p.topic, p.partition, p.to, p.metadata
        );
    }
    for line in &reset.effects {
        println!("{line}");
    }
}
