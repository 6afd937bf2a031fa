//! `streamweir run`

use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use crate::config::Config;
use crate::daemon::{self, RunOptions};
use crate::exit;
use crate::pipeline::Until;

#[derive(Debug, Args)]
pub(super) struct Run {
    /// Only this pipeline (may be repeated) [default: all]
    #[arg(long = "pipeline", value_name = "NAME")]
    pipelines: Vec<String>,
    /// Stop each partition where it ends now, or at the first record of that time, once everything
    /// before is written and committed
    #[arg(long, value_name = "latest|RFC3339")]
    until: Option<Until>,
    /// Stop each pipeline once it has read this many records, and they are written and committed; with
    /// --until, at whichever comes first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    records_max: Option<u64>,
    /// With --until: emit windows that are still open too; their records stay uncommitted
    #[arg(long, requires = "until")]
    close: bool,
}

impl Run {
    pub(super) fn run(self, config: Config, path: &Path) -> ExitCode {
        let options = RunOptions {
            config_path: path.to_owned(),
            pipelines: self.pipelines,
            until: self.until,
            records_max: self.records_max,
            close: self.close,
        };
        match daemon::run(config, &options) {
            Ok(code) => code,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::from(exit::CONFIGURATION)
            }
        }
    }
}
