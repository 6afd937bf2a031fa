//! `streamweir dead-letters list|show|replay`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{print_json, report};
use crate::config::Config;
use crate::exit;
use crate::inspect::Failure;
use crate::inspect::dead_letters::{
    self, Address, LetterState, ListedLetter, Replay, ReplayOptions, Selection, Summary,
};

#[derive(Debug, Args)]
pub(super) struct DeadLetters {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints the selected letters, each with whether the table has its record by now
    List(List),
    /// Prints one letter in full
    Show(Show),
    /// Sends the selected records through their pipeline again, each written once
    Replay(ReplayArguments),
}

/// Which letters; what is given must all fit.
#[derive(Debug, Args)]
struct Selected {
    /// Of this pipeline (may be repeated)
    #[arg(long = "pipeline", value_name = "NAME")]
    pipelines: Vec<String>,
    /// Of this reason (may be repeated)
    #[arg(long = "reason")]
    reasons: Vec<String>,
    /// Of this stage: decode, operate, encode or write (may be repeated)
    #[arg(long = "stage", value_parser = ["decode", "operate", "encode", "write"])]
    stages: Vec<String>,
    /// Of records of this topic (may be repeated)
    #[arg(long = "topic")]
    topics: Vec<String>,
    /// Of records of this time or later
    #[arg(long, value_name = "RFC3339", value_parser = time_ms)]
    since: Option<i64>,
    /// Of records before this time
    #[arg(long, value_name = "RFC3339", value_parser = time_ms)]
    until: Option<i64>,
    /// Of these records
    #[arg(long = "address", value_name = "T:P:O", num_args = 1..)]
    addresses: Vec<Address>,
    /// The first so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Every letter
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    selected: Selected,
    /// Print counts by pipeline and reason
    #[arg(long)]
    summary: bool,
    /// Print JSON, one line a letter
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Show {
    /// The record
    #[arg(value_name = "T:P:O")]
    address: Address,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ReplayArguments {
    #[command(flatten)]
    selected: Selected,
    /// Say what would be written and what refused, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// End when more records are refused again
    #[arg(long, value_name = "N", default_value_t = 100)]
    refused_max: u64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

fn time_ms(text: &str) -> Result<i64, String> {
    let time: Result<jiff::Timestamp, _> = text.parse();
    let time =
        time.map_err(|_| "write an RFC 3339 time such as 2026-11-21T10:00:00Z".to_owned())?;
    Ok(time.as_millisecond())
}

impl DeadLetters {
    pub(super) fn run(self, config: &Config) -> ExitCode {
        let done = match self.action {
            Action::List(list) => list.run(config),
            Action::Show(show) => show.run(config),
            Action::Replay(replay) => replay.run(config),
        };
        done.unwrap_or_else(|failure| report(&failure))
    }
}

impl Selected {
    /// # Errors
    /// Nothing was selected, which may be a slip.
    fn selection(self) -> Result<Selection, Failure> {
        let selection = Selection {
            pipelines: self.pipelines.into_iter().collect(),
            reasons: self.reasons.into_iter().collect(),
            stages: self.stages.into_iter().collect(),
            topics: self.topics.into_iter().collect(),
            since_ms: self.since,
            until_ms: self.until,
            addresses: self.addresses.into_iter().collect(),
            limit: self.limit,
        };
        let is_empty = selection.pipelines.is_empty()
            && selection.reasons.is_empty()
            && selection.stages.is_empty()
            && selection.topics.is_empty()
            && selection.addresses.is_empty()
            && selection.since_ms.is_none()
            && selection.until_ms.is_none()
            && selection.limit.is_none();
        if is_empty && !self.all {
            return Err(Failure::Usage(
                "which dead letters? select by --pipeline, --reason, --stage, --topic, --since, --until, \
                 --address or --limit, or give --all"
                    .to_owned(),
            ));
        }
        Ok(selection)
    }
}

impl List {
    fn run(self, config: &Config) -> Result<ExitCode, Failure> {
        let selection = self.selected.selection()?;
        let mut summary = Summary::default();
        dead_letters::list(config, &selection, |letter| {
            if self.summary {
                summary.add(letter);
            } else if self.json {
                print_json(&letter);
            } else {
                print_letter(&letter);
            }
        })?;
        if self.summary {
            let lines = summary.lines();
            if self.json {
                print_json(&json!({ "summary": lines }));
            } else {
                println!(
                    "{:<24} {:<20} {:>10} {:>10}",
                    "PIPELINE", "REASON", "OPEN", "WRITTEN"
                );
                for line in lines {
                    let (pipeline, reason) = (line.pipeline, line.reason);
                    println!(
                        "{pipeline:<24} {reason:<20} {:>10} {:>10}",
                        line.open, line.written
                    );
                }
            }
        }
        Ok(ExitCode::from(exit::DONE))
    }
}

fn print_letter(letter: &ListedLetter) {
    let state = match letter.state {
        LetterState::Open => "open",
        LetterState::Written => "written",
    };
    println!(
        "{}:{}:{} {state} {} {} {} {}: {}",
        letter.topic,
        letter.partition,
        letter.offset,
        letter.timestamp,
        letter.pipeline,
        letter.stage,
        letter.reason,
        letter.detail
    );
}

impl Show {
    fn run(&self, config: &Config) -> Result<ExitCode, Failure> {
        let Some(shown) = dead_letters::show(config, &self.address)? else {
            eprintln!(
                "no dead letter of {} in the dead-letter topics",
                self.address
            );
            return Ok(ExitCode::from(exit::OTHER));
        };
        if self.json {
            print_json(shown.json());
        } else {
            match serde_json::to_string_pretty(shown.json()) {
                Ok(text) => println!("{text}"),
                Err(error) => eprintln!("{error}"),
            }
        }
        Ok(ExitCode::from(exit::DONE))
    }
}

impl ReplayArguments {
    fn run(self, config: &Config) -> Result<ExitCode, Failure> {
        let options = ReplayOptions {
            selection: self.selected.selection()?,
            dry_run: self.dry_run,
            refused_max: self.refused_max,
        };
        let replay = dead_letters::replay(config, &options, |line| eprintln!("{line}"))?;
        if self.json {
            print_json(&replay);
        } else {
            print_replay(&replay, self.dry_run);
        }
        if replay.stopped {
            eprintln!(
                "stopped: more than {} records were refused again (--refused-max)",
                self.refused_max
            );
        }
        Ok(ExitCode::from(if replay.is_refused() {
            exit::OTHER
        } else {
            exit::DONE
        }))
    }
}

fn print_replay(replay: &Replay, dry_run: bool) {
    let word = if dry_run {
        "would be written"
    } else {
        "written"
    };
    println!(
        "{} selected: {} {word}, {} already written, {} refused again",
        replay.selected,
        replay.written,
        replay.already_written,
        replay.refused_again()
    );
    for (reason, count) in &replay.refused {
        println!("refused: {reason}: {count}");
    }
    if replay.dropped > 0 {
        println!("dropped by a rule: {}", replay.dropped);
    }
    if replay.not_replayable > 0 {
        println!(
            "of pipelines whose records cannot be replayed: {}",
            replay.not_replayable
        );
    }
    if replay.not_committed() > 0 {
        println!(
            "not committed yet, the daemon reads them again itself: {}",
            replay.not_committed()
        );
    }
}
