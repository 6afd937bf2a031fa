//! `streamweir status`

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::report;
use crate::config::{Loaded, Problems};
use crate::exit;
use crate::inspect::{Failure, status};

const WATCH_INTERVAL: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct Status {
    /// Where the daemon answers, such as http://host:9187 [default: service.http_listen]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Ask again every two seconds, until interrupted
    #[arg(long)]
    watch: bool,
    /// Print what the daemon answers as JSON, one document each time
    #[arg(long)]
    json: bool,
}

impl Status {
    /// Without `--url` the configuration says where.
    pub(super) fn run(&self, path: &Path, loaded: Result<Loaded, Problems>) -> ExitCode {
        let url = match (&self.url, loaded) {
            (Some(url), _) => url.clone(),
            (None, Ok(loaded)) => status::address(&loaded.config.service),
            (None, Err(problems)) => {
                eprintln!("{problems}");
                eprintln!(
                    "{}: --url names a daemon without a configuration",
                    path.display()
                );
                return ExitCode::from(exit::CONFIGURATION);
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                return report(&Failure::Refused(format!(
                    "no runtime can be started: {error}"
                )));
            }
        };
        loop {
            let has_halted = match runtime.block_on(status::fetch(&url)) {
                Ok(shown) => {
                    let table = status::rows(&shown);
                    if self.json {
                        println!("{shown}");
                    } else {
                        if self.watch {
                            // Clears the terminal.
                            print!("\x1b[2J\x1b[H");
                        }
                        print!("{table}");
                    }
                    table.has_halted
                }
                Err(failure) if self.watch => {
                    eprintln!("{failure}");
                    false
                }
                Err(failure) => return report(&failure),
            };
            if !self.watch {
                return ExitCode::from(if has_halted { exit::OTHER } else { exit::DONE });
            }
            std::thread::sleep(WATCH_INTERVAL);
        }
    }
}
