//! `streamweir sample`

use std::process::ExitCode;

use clap::Args;

use super::{print_json, report};
use crate::config::Config;
use crate::exit;
use crate::inspect::sample;

#[derive(Debug, Args)]
pub(super) struct Sample {
    /// The topic, on the cluster of its pipeline, else on that of [kafka]
    topic: String,
    /// Records that are read
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl Sample {
    pub(super) fn run(&self, config: &Config) -> ExitCode {
        match sample::sample(config, &self.topic, self.count as usize) {
            Ok(sampled) => {
                if self.json {
                    print_json(&sampled.json());
                } else {
                    print!("{sampled}");
                }
                ExitCode::from(exit::DONE)
            }
            Err(failure) => report(&failure),
        }
    }
}
