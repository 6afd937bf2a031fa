//! `streamweir doctor`

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::config::{Config, Pipeline};
use crate::exit;
use crate::inspect::doctor;

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Only this pipeline (may be repeated) [default: all]
    #[arg(long = "pipeline", value_name = "NAME")]
    pipelines: Vec<String>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    /// How many of the newest records of each topic are judged; 0 for none
    #[arg(long, value_name = "N", default_value_t = doctor::SAMPLE)]
    sample: usize,
}

impl Doctor {
    pub(super) fn run(self, config: Config) -> ExitCode {
        let pipelines = match selected(&config, &self.pipelines) {
            Ok(pipelines) => pipelines,
            Err(message) => {
                eprintln!("{message}");
                return ExitCode::from(exit::CONFIGURATION);
            }
        };
        let sample = self.sample.min(doctor::SAMPLE_MAX);
        let report = doctor::run(&config, &pipelines, sample);
        if self.json {
            println!("{}", report.json());
        } else {
            print!("{report}");
        }
        ExitCode::from(if report.has_errors() {
            exit::OTHER
        } else {
            exit::DONE
        })
    }
}

/// The pipelines of these names, all without any.
fn selected(config: &Config, names: &[String]) -> Result<Vec<Arc<Pipeline>>, String> {
    let known = |name: &String| config.pipelines.iter().any(|p| p.name == *name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let known: Vec<&str> = config.pipelines.iter().map(|p| &*p.name).collect();
        return Err(format!(
            "no pipeline {unknown:?} in the configuration; it has: {}",
            known.join(", ")
        ));
    }
    let wanted = |p: &&Pipeline| names.is_empty() || names.contains(&p.name);
    let wanted = config.pipelines.iter().filter(wanted);
    Ok(wanted.cloned().map(Arc::new).collect())
}
