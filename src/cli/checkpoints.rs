//! `streamweir checkpoints list|create|restore|prune`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{print_json, report};
use crate::config::Config;
use crate::exit;
use crate::inspect::checkpoints::{self, Checkpoint};
use crate::inspect::{Failure, status};

#[derive(Debug, Args)]
pub(super) struct Checkpoints {
    #[command(subcommand)]
    action: Action,
    /// Only of this pipeline [default: all that keep snapshots]
    #[arg(long, global = true, value_name = "NAME")]
    pipeline: Option<String>,
    /// Print one JSON document
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints the snapshots by pipeline and partition, with offset, age, size and rules
    List,
    /// Has the running daemon take a snapshot of every partition, and keeps them under a name
    Create {
        /// The name
        name: String,
        /// Where the daemon answers; repeat it for every instance [default: service.http_listen]
        #[arg(long = "url", value_name = "URL")]
        urls: Vec<String>,
    },
    /// Makes the snapshots of a name those to begin from; refused while the group has members
    Restore {
        /// The name
        name: String,
    },
    /// Removes the snapshots that nothing can use; those with a name stay
    Prune {
        /// How many usable ones of a partition stay [default: pipeline.state.keep]
        #[arg(long, value_name = "N")]
        keep: Option<usize>,
    },
}

impl Checkpoints {
    pub(super) fn run(self, config: &Config) -> ExitCode {
        let done = self.action.run(config, self.pipeline.as_deref(), self.json);
        match done {
            Ok(()) => ExitCode::from(exit::DONE),
            Err(failure) => report(&failure),
        }
    }
}

impl Action {
    fn run(self, config: &Config, pipeline: Option<&str>, as_json: bool) -> Result<(), Failure> {
        match self {
            Action::List => {
                let all = checkpoints::list(config, pipeline)?;
                if as_json {
                    print_json(&json!({ "checkpoints": all }));
                } else {
                    all.iter().for_each(print_checkpoint);
                }
            }
            Action::Create { name, mut urls } => {
                if urls.is_empty() {
                    urls.push(status::address(&config.service));
                }
                let kept = checkpoints::create(config, &urls, &name, pipeline)?;
                if as_json {
                    print_json(&json!({ "name": name, "checkpoints": kept }));
                } else {
                    for k in kept {
                        println!(
                            "{} {}:{}: kept at offset {}",
                            k.pipeline, k.topic, k.partition, k.offset
                        );
                    }
                }
            }
            Action::Restore { name } => {
                let restored = checkpoints::restore(config, &name, pipeline)?;
                if as_json {
                    print_json(&json!({ "name": name, "restored": restored }));
                } else {
                    for r in restored {
                        let place = format!("{} {}:{}", r.pipeline, r.topic, r.partition);
                        println!("{place}: begins from offset {}; {}", r.offset, r.meaning);
                    }
                }
            }
            Action::Prune { keep } => {
                let pruned = checkpoints::prune(config, pipeline, keep)?;
                if as_json {
                    print_json(&json!({ "removed": pruned }));
                } else {
                    for p in &pruned {
                        let place = format!("{} {}:{}", p.pipeline, p.topic, p.partition);
                        println!("{place}: offset {} removed: {}", p.offset, p.why);
                    }
                    println!("{} removed", pruned.len());
                }
            }
        }
        Ok(())
    }
}

fn print_checkpoint(c: &Checkpoint) {
    let name = c
        .name
        .as_ref()
        .map_or(String::new(), |name| format!(" @{name}"));
    let rules = c
        .rules
        .as_deref()
        .or(c.problem.as_deref())
        .unwrap_or_default();
    println!(
        "{} {}:{}{name}: offset {}, {} s old, {} bytes: {rules}",
        c.pipeline, c.topic, c.partition, c.offset, c.age_seconds, c.bytes
    );
}
