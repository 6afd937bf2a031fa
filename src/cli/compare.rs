//! `streamweir compare`

use std::process::ExitCode;

use clap::Args;

use super::{print_json, report};
use crate::config::Config;
use crate::exit;
use crate::inspect::Failure;
use crate::inspect::compare::{self, CompareOptions, Comparison};

#[derive(Debug, Args)]
pub(super) struct Compare {
    /// The one table; without a database that of the pipeline, else clickhouse.database
    #[arg(long, value_name = "[DATABASE.]TABLE")]
    a: String,
    /// The other, on the same server
    #[arg(long, value_name = "[DATABASE.]TABLE")]
    b: String,
    /// The columns that say which rows belong together
    #[arg(long, value_name = "COLUMN,…", required = true, value_delimiter = ',', num_args = 1..)]
    key: Vec<String>,
    /// Only rows of this time or later
    #[arg(long, value_name = "RFC3339")]
    since: Option<jiff::Timestamp>,
    /// Only rows of an earlier time
    #[arg(long, value_name = "RFC3339")]
    until: Option<jiff::Timestamp>,
    /// The column that --since and --until mean [default: the event time of the pipeline, else the only
    /// column that holds a time]
    #[arg(long, value_name = "COLUMN")]
    time_column: Option<String>,
    /// Columns that may differ
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', num_args = 1..)]
    ignore: Vec<String>,
    /// Whose server it is [default: the pipeline that writes one of the tables, else [clickhouse]]
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Compare {
    pub(super) fn run(self, config: &Config) -> ExitCode {
        let options = CompareOptions {
            a: self.a,
            b: self.b,
            key: self.key,
            since: self.since,
            until: self.until,
            time_column: self.time_column,
            ignore: self.ignore,
            pipeline: self.pipeline,
        };
        let found = match compare::compare(config, &options) {
            Ok(found) => found,
            Err(failure) => {
                report(&failure);
                return ExitCode::from(code(&failure));
            }
        };
        if self.json {
            print_json(&found);
        } else {
            print_comparison(&found);
        }
        ExitCode::from(if found.equal { exit::DONE } else { exit::OTHER })
    }
}

/// 1 says that the tables differ, and nothing else does.
fn code(failure: &Failure) -> u8 {
    match failure.code() {
        exit::OTHER => exit::CONFIGURATION,
        code => code,
    }
}

fn print_comparison(found: &Comparison) {
    for (name, table) in [("a", &found.a), ("b", &found.b)] {
        let last = if table.is_final {
            ", read with FINAL"
        } else {
            ""
        };
        println!("{name}: {}: {} rows{last}", table.table, table.rows);
    }
    let lists = [
        ("ignored", &found.ignored),
        ("columns only in a, not compared", &found.only_in_a),
        ("columns only in b, not compared", &found.only_in_b),
    ];
    for (what, columns) in lists {
        if !columns.is_empty() {
            println!("{what}: {}", columns.join(", "));
        }
    }
    if found.equal {
        println!("equal");
    }
    if found.changed_while_read {
        println!(
            "rows came or went while the tables were read: compare up to an --until in the past"
        );
    }
    let counts = [
        ("differs", found.differs),
        ("missing_in_a", found.missing_in_a),
        ("missing_in_b", found.missing_in_b),
        ("doubled", found.doubled),
    ];
    for (kind, count) in counts {
        if count > 0 {
            println!("{kind}: {count}");
        }
    }
    for (kind, samples) in &found.samples {
        for sample in samples {
            match serde_json::to_string(sample) {
                Ok(text) => println!("{kind}: {text}"),
                Err(error) => eprintln!("{error}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_failure_looks_like_a_difference() {
        assert_eq!(code(&Failure::Refused("memory limit".to_owned())), 2);
        assert_eq!(code(&Failure::Usage("no such table".to_owned())), 2);
        assert_eq!(code(&Failure::Unreachable("away".to_owned())), 3);
    }
}
