//! `streamweir schema print|apply`

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{print_json, report};
use crate::config::Config;
use crate::exit;
use crate::inspect::sample;
use crate::schema::{self, ApplyError};

#[derive(Debug, Args)]
pub(super) struct Schema {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints the DDL of every table the configuration needs
    Print(Print),
    /// Creates missing databases, tables and views; alters nothing
    Apply,
}

#[derive(Debug, Args)]
struct Print {
    /// In place of that: a table and a pipeline for the newest schema of this subject of the schema registry
    #[arg(long, value_name = "SUBJECT")]
    from_registry: Option<String>,
    /// The topic of these records [default: the subject without -value]
    #[arg(long, requires = "from_registry")]
    topic: Option<String>,
    /// Print what comes of the subject as JSON
    #[arg(long, requires = "from_registry")]
    json: bool,
}

impl Schema {
    pub(super) fn run(self, config: Config) -> ExitCode {
        match self.action {
            Action::Print(print) => print.run(&config),
            Action::Apply => apply(&config),
        }
    }
}

impl Print {
    fn run(&self, config: &Config) -> ExitCode {
        let Some(subject) = &self.from_registry else {
            return print(config);
        };
        match sample::of_subject(config, subject, self.topic.as_deref()) {
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
    for (pipeline, statement) in schema::printed_watermark_tables(config) {
        println!("-- watermarks, database {}", pipeline.clickhouse.database);
        println!("{statement};\n");
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
