//! `streamweir schema print|apply`

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::config::Config;
use crate::exit;
use crate::schema::{self, ApplyError};

#[derive(Debug, Args)]
pub(super) struct Schema {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints the DDL of every table the configuration needs
    Print,
    /// Creates missing databases, tables and views; alters nothing
    Apply,
}

impl Schema {
    pub(super) fn run(self, config: Config) -> ExitCode {
        match self.action {
            Action::Print => print(&config),
            Action::Apply => apply(&config),
        }
    }
}

fn print(config: &Config) -> ExitCode {
    for pipeline in &config.pipelines {
        match schema::printed(pipeline) {
            Ok(statements) => {
                println!(
                    "-- pipeline {}, database {}",
                    pipeline.name, pipeline.clickhouse.database
                );
                for statement in statements {
                    println!("{statement};\n");
                }
                for line in schema::made_later(pipeline) {
                    println!("-- {line}");
                }
            }
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(exit::CONFIGURATION);
            }
        }
    }
    ExitCode::from(exit::DONE)
}

fn apply(config: &Config) -> ExitCode {
    let result = schema::apply(config, |done| println!("{done}"));
    let code = match result {
        Ok(()) => exit::DONE,
        Err(error) => {
            eprintln!("{error}");
            match error {
                ApplyError::Ddl(_) => exit::CONFIGURATION,
                ApplyError::Unreachable(_) => exit::UNREACHABLE,
                ApplyError::Refused { .. } | ApplyError::Other(_) => exit::OTHER,
            }
        }
    };
    ExitCode::from(code)
}
