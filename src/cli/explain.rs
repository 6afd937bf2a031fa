//! `streamweir explain`

use std::process::ExitCode;

use clap::Args;

use crate::config::Config;
use crate::exit;
use crate::inspect::explain::{Address, ExplainError, Explainer};

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The record (may be repeated)
    #[arg(value_name = "TOPIC:PARTITION:OFFSET", required = true)]
    addresses: Vec<Address>,
    /// Only this pipeline (may be repeated) [default: all that read the topic]
    #[arg(long = "pipeline", value_name = "NAME")]
    pipelines: Vec<String>,
    /// Print it as JSON, one line a record
    #[arg(long)]
    json: bool,
}

impl Explain {
    /// Every record is explained, whatever came of the others; the exit code is that of the worst.
    pub(super) fn run(&self, config: &Config) -> ExitCode {
        let explainer = Explainer::new(config, &self.pipelines, &self.addresses);
        let mut explainer = match explainer {
            Ok(explainer) => explainer,
            Err(error) => return failed(&error),
        };
        let mut done = exit::DONE;
        for address in &self.addresses {
            match explainer.explain(address) {
                Ok(explanation) => {
                    if self.json {
                        println!("{}", explanation.json());
                    } else {
                        print!("{explanation}");
                    }
                    for why in explanation.not_asked() {
                        eprintln!("{why}");
                        done = exit::UNREACHABLE;
                    }
                }
                Err(error @ ExplainError::NoSuchRecord(_)) => {
                    eprintln!("{error}");
                    done = done.max(exit::OTHER);
                }
                Err(error) => return failed(&error),
            }
        }
        ExitCode::from(done)
    }
}

fn failed(error: &ExplainError) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(match error {
        ExplainError::NoSuchRecord(_) => exit::OTHER,
        ExplainError::Usage(_) => exit::CONFIGURATION,
        ExplainError::Unreachable(_) => exit::UNREACHABLE,
    })
}
