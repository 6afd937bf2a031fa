//! `streamweir explain`

use std::process::ExitCode;

use clap::Args;

use crate::config::Config;
use crate::exit;
use crate::inspect::explain::{self, Address, ExplainError};

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The record
    #[arg(value_name = "TOPIC:PARTITION:OFFSET")]
    address: Address,
    /// Only this pipeline (may be repeated) [default: all that read the topic]
    #[arg(long = "pipeline", value_name = "NAME")]
    pipelines: Vec<String>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn run(&self, config: &Config) -> ExitCode {
        match explain::explain(config, &self.pipelines, &self.address) {
            Ok(explanation) => {
                if self.json {
                    println!("{}", explanation.json());
                } else {
                    print!("{explanation}");
                }
                ExitCode::from(exit::DONE)
            }
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(match error {
                    ExplainError::NoSuchRecord(_) => exit::OTHER,
                    ExplainError::Usage(_) => exit::CONFIGURATION,
                    ExplainError::Unreachable(_) => exit::UNREACHABLE,
                })
            }
        }
    }
}
