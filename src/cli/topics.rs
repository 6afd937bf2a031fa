//! `streamweir topics plan|apply`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::config::Config;
use crate::exit;
use crate::topics::{self, Change, Difference, TopicsError};

#[derive(Debug, Args)]
pub(super) struct Topics {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints what differs between the declared topics and the cluster's; exit 0 whether or not
    /// something does
    Plan(Plan),
    /// Creates missing topics, adds partitions, changes properties, and reads them back; deletes
    /// nothing, and changes nothing at all when a single difference is refused (exit 2)
    Apply(Apply),
}

#[derive(Debug, Args)]
struct Plan {
    /// Print the differences as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Apply {
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
    /// Add partitions even where a pipeline relies on the place of keys
    #[arg(long)]
    allow_more_partitions: bool,
}

impl Topics {
    pub(super) fn run(self, config: Config) -> ExitCode {
        match self.action {
            Action::Plan(plan) => plan.run(&config),
            Action::Apply(apply) => apply.run(&config),
        }
    }
}

impl Plan {
    fn run(&self, config: &Config) -> ExitCode {
        let found = match topics::plan(config) {
            Ok(found) => found,
            Err(error) => return failed(&error),
        };
        if self.json {
            print_json(config, &found);
        } else {
            print_text(&found);
            let declared = config.topics.len();
            println!("{declared} topics declared, {} differ", found.len());
        }
        ExitCode::from(exit::DONE)
    }
}

impl Apply {
    fn run(&self, config: &Config) -> ExitCode {
        let report = |step: &str| {
            if !self.json {
                println!("{step}");
            }
        };
        let found = match topics::apply(config, self.allow_more_partitions, report) {
            Ok(found) => found,
            Err(error) => return failed(&error),
        };
        if self.json {
            print_json(config, &found);
        } else {
            let declared = config.topics.len();
            println!("{declared} topics declared, {} changed", found.len());
        }
        ExitCode::from(exit::DONE)
    }
}

fn failed(error: &TopicsError) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(match error {
        TopicsError::Configuration(_) => exit::CONFIGURATION,
        TopicsError::Unreachable(_) => exit::UNREACHABLE,
        TopicsError::Refused { .. } | TopicsError::NotSettled(_) => exit::OTHER,
    })
}

fn print_text(found: &[Difference]) {
    for Difference { topic, changes } in found {
        for change in changes {
            println!("{topic}: {change}");
            if let Change::AddPartitions { breaks, .. } = change {
                for broken in breaks {
                    println!("{topic}: only with --allow-more-partitions: {broken}");
                }
            }
        }
    }
}

fn print_json(config: &Config, found: &[Difference]) {
    let topic = |difference: &Difference| {
        let changes: Vec<Value> = difference.changes.iter().map(change).collect();
        json!({ "topic": difference.topic, "changes": changes })
    };
    let topics: Vec<Value> = found.iter().map(topic).collect();
    println!(
        "{}",
        json!({ "declared": config.topics.len(), "topics": topics })
    );
}

fn change(change: &Change) -> Value {
    match change {
        Change::Create(declared) => json!({
            "change": "create",
            "partitions": declared.partitions,
            "replication": declared.replication,
            "properties": declared.properties,
        }),
        Change::AddPartitions { from, to, breaks } => json!({
            "change": "add_partitions", "from": from, "to": to, "breaks": breaks,
        }),
        Change::Set { property, from, to } => json!({
            "change": "set", "property": property, "from": from, "to": to,
        }),
        Change::Refused { key, advice } => json!({
            "change": "refused", "key": key, "advice": advice,
        }),
    }
}
