//! The command line: one file a command, parse and print, nothing else.

mod audit;
mod check;
mod checkpoints;
mod compare;
mod dead_letters;
mod doctor;
mod explain;
mod generated;
mod offsets;
mod rebuild;
mod run;
mod sample;
mod schema;
mod status;
mod topics;
mod wait;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::{Config, Loaded, process_environment};
use crate::exit;
use crate::inspect::{Failure, with_created};
use crate::observe::log;

/// The version and the commit it was built from.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("STREAMWEIR_COMMIT"),
    ")"
);

/// Kafka streams into ClickHouse, exactly once, from one small binary.
#[derive(Debug, Parser)]
#[command(
    name = "streamweir",
    version = VERSION,
    arg_required_else_help = true,
    after_help = generated::ENVIRONMENT_HELP
)]
struct Arguments {
    /// The configuration file [default: ./config.toml, then /etc/streamweir/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the pipelines
    Run(run::Run),
    /// Validates the configuration without touching the network
    Check(check::Check),
    /// Looks for what would go wrong in Kafka, ClickHouse, Redis and this machine
    Doctor(doctor::Doctor),
    /// What one record is, what pipelines make of it, and where it is now
    Explain(explain::Explain),
    /// Proposes a table and a pipeline for the records of a topic
    Sample(sample::Sample),
    /// The tables a configuration needs
    Schema(schema::Schema),
    /// The topics a configuration declares
    Topics(topics::Topics),
    /// Holds the log against what was written
    Audit(audit::Audit),
    /// Whether two tables hold the same rows
    Compare(compare::Compare),
    /// Snapshots of what operators remember
    Checkpoints(checkpoints::Checkpoints),
    /// Records that could not be written, and writing them after all
    DeadLetters(dead_letters::DeadLetters),
    /// Where a pipeline's group stands, and setting it elsewhere
    Offsets(offsets::Offsets),
    /// Fills a table from the log beside the live one, and exchanges both
    Rebuild(rebuild::Rebuild),
    /// The state of a running daemon
    Status(status::Status),
    /// Waits until a pipeline is complete up to a time or an offset
    Wait(wait::Wait),
    /// Prints the completions of a shell
    Completions(generated::Completions),
    /// Prints the man page
    Man,
}

/// Does what the command line says; returns the exit code.
#[must_use]
pub fn main() -> ExitCode {
    crate::crash::arm();
    end_with_the_reader();
    let arguments = Arguments::parse();
    // These two know the program alone.
    match &arguments.command {
        Command::Completions(completions) => return completions.run(Arguments::command()),
        Command::Man => return generated::man(Arguments::command()),
        _ => {}
    }
    let path = arguments.config.unwrap_or_else(default_path);
    let loaded = Config::load(&path, process_environment());
    if let Command::Check(check) = &arguments.command {
        return check.run(&path, loaded);
    }
    if let Command::Status(status) = &arguments.command {
        return status.run(&path, loaded);
    }
    let Loaded { config, warnings } = match loaded {
        Ok(loaded) => loaded,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(exit::CONFIGURATION);
        }
    };
    let format = match config.service.log_format {
        crate::config::LogFormat::Text => log::Format::Text,
        crate::config::LogFormat::Json => log::Format::Json,
    };
    if let Err(error) = log::init(format, config.service.log_level) {
        eprintln!("{error}");
        return ExitCode::from(exit::CONFIGURATION);
    }
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    match arguments.command {
        Command::Run(run) => run.run(config, &path),
        Command::Doctor(doctor) => doctor.run(config),
        Command::Explain(explain) => explain.run(&with_created(config)),
        Command::Sample(sample) => sample.run(&config),
        Command::Schema(schema) => schema.run(config),
        Command::Topics(topics) => topics.run(config),
        Command::Audit(audit) => audit.run(&with_created(config)),
        Command::Checkpoints(checkpoints) => checkpoints.run(&config),
        Command::Compare(compare) => compare.run(&config),
        Command::DeadLetters(dead_letters) => dead_letters.run(&with_created(config)),
        Command::Offsets(offsets) => offsets.run(&config),
        Command::Rebuild(rebuild) => rebuild.run(&config),
        Command::Wait(wait) => wait.run(&config),
        Command::Check(_) | Command::Status(_) | Command::Completions(_) | Command::Man => {
            unreachable!("answered above")
        }
    }
}

/// Whoever reads what is printed may have enough of it, such as `head`: then the command ends, and does not panic.
fn end_with_the_reader() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str().is_some_and(is_closed_pipe) {
            std::process::exit(i32::from(exit::OTHER));
        }
        others(panic);
    }));
}

/// As the standard library says it where `println!` cannot print.
fn is_closed_pipe(message: &str) -> bool {
    message.starts_with("failed printing to stdout") && message.contains("Broken pipe")
}

/// Says why a command could not answer.
fn report(failure: &Failure) -> ExitCode {
    eprintln!("{failure}");
    ExitCode::from(failure.code())
}

/// Prints one document on one line.
fn print_json(value: &impl serde::Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("{error}"),
    }
}

fn default_path() -> PathBuf {
    let [here, installed] = Config::default_paths();
    if here.exists() || !installed.exists() {
        here
    } else {
        installed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_enough_is_no_defect() {
        let closed = std::io::Error::from_raw_os_error(32);
        assert!(is_closed_pipe(&format!(
            "failed printing to stdout: {closed}"
        )));
        assert!(!is_closed_pipe(
            "failed printing to stdout: No space left on device"
        ));
        assert!(!is_closed_pipe("Broken pipe"));
    }
}
