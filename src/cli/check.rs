//! `streamweir check`

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::config::{Loaded, Problem, Problems};
use crate::exit;

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Print the problems as JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(&self, path: &Path, loaded: Result<Loaded, Problems>) -> ExitCode {
        let (problems, warnings) = match loaded {
            Ok(loaded) => (vec![], loaded.warnings),
            Err(Problems(problems)) => (problems, vec![]),
        };
        if self.json {
            print_json(&problems, &warnings);
        } else {
            print_text(path, &problems, &warnings);
        }
        let code = if problems.is_empty() {
            exit::DONE
        } else {
            exit::CONFIGURATION
        };
        ExitCode::from(code)
    }
}

fn print_text(path: &Path, problems: &[Problem], warnings: &[Problem]) {
    for problem in problems {
        println!("{problem}");
    }
    for warning in warnings {
        println!("warning: {warning}");
    }
    let path = path.display();
    match problems.len() {
        0 => println!("{path}: valid"),
        1 => println!("{path}: 1 problem"),
        count => println!("{path}: {count} problems"),
    }
}

fn print_json(problems: &[Problem], warnings: &[Problem]) {
    let row = |p: &Problem| json!({ "file": p.origin, "line": p.line, "key": p.key_path, "message": p.message });
    let rows = |list: &[Problem]| list.iter().map(row).collect::<Vec<_>>();
    println!(
        "{}",
        json!({ "problems": rows(problems), "warnings": rows(warnings) })
    );
}
