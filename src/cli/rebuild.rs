//! `streamweir rebuild`

use std::process::ExitCode;

use clap::Args;

use super::{print_json, report};
use crate::config::Config;
use crate::exit;
use crate::inspect::rebuild::{self, Bounds, Exchange, RebuildError, RebuildOptions, Rebuilt};

#[derive(Debug, Args)]
pub(super) struct Rebuild {
    /// Whose table is rebuilt: a pipeline that writes to tables
    #[arg(long, value_name = "NAME")]
    pipeline: String,
    /// Where the log is read from
    #[arg(long, value_name = "earliest|RFC3339", default_value = "earliest")]
    from: Bounds,
    /// Where it ends: what this means when the rebuild begins; one that goes on ends there too
    #[arg(long, value_name = "latest|RFC3339", default_value = "latest")]
    to: Bounds,
    /// The table that is filled, in the database of the pipeline [default: the live table's name and _rebuild]
    #[arg(long, value_name = "TABLE")]
    into: Option<String>,
    /// Then let the rebuilt table take the place of the live one
    #[arg(long, conflicts_with = "undo")]
    swap: bool,
    /// Let the old table, which --keep-old has kept, take its place again
    #[arg(long)]
    undo: bool,
    /// With --swap: keep the old table under the name of the shadow, so that --undo is possible
    #[arg(long, requires = "swap")]
    keep_old: bool,
    /// With --swap: exchange both tables although the live one has rows that the log, or --from, does not cover; it is
    /// kept under the name of the shadow
    #[arg(long, requires = "swap")]
    accept_missing_rows: bool,
    /// How many records a second are read for the shadow, at most [default: the limit of the pipeline]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    records_per_second_max: Option<u64>,
    /// Where a daemon answers that runs the pipeline, such as http://host:9187, to be told to stop and to go on
    /// (may be repeated) [default: service.http_listen, where service.admin_token is set and it answers]
    #[arg(long = "url", value_name = "URL")]
    urls: Vec<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Rebuild {
    pub(super) fn run(self, config: &Config) -> ExitCode {
        let options = RebuildOptions {
            pipeline: self.pipeline,
            from: self.from,
            to: self.to,
            into: self.into,
            exchange: match (self.swap, self.undo) {
                (true, _) => Some(Exchange::Swap),
                (_, true) => Some(Exchange::Undo),
                _ => None,
            },
            keep_old: self.keep_old,
            accepts_missing_rows: self.accept_missing_rows,
            records_per_second_max: self.records_per_second_max,
            urls: self.urls,
        };
        let rebuilt = match rebuild::rebuild(config, &options) {
            Ok(rebuilt) => rebuilt,
            Err(RebuildError::Failed(failure)) => return report(&failure),
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(match error {
                    RebuildError::Halted { .. } => exit::HALTED,
                    _ => exit::OTHER,
                });
            }
        };
        if self.json {
            print_json(&rebuilt);
        } else {
            print_rebuilt(&rebuilt);
        }
        ExitCode::from(if rebuilt.has_findings() {
            exit::OTHER
        } else {
            exit::DONE
        })
    }
}

fn print_rebuilt(rebuilt: &Rebuilt) {
    for pair in &rebuilt.tables {
        println!("{} was rebuilt as {}", pair.table, pair.shadow);
        if rebuilt.swapped {
            println!("{} is the rebuilt table now", pair.table);
        }
        if rebuilt.old_kept {
            println!("{} is the table that was not taken", pair.shadow);
        }
    }
    println!("group {}", rebuilt.group);
    for p in &rebuilt.partitions {
        println!(
            "{}:{}: offsets {} to {}",
            p.topic, p.partition, p.from, p.to
        );
    }
    let Rebuilt {
        records,
        records_now,
        seconds,
        ..
    } = rebuilt;
    println!("{records} records, {records_now} of them in the last {seconds:.0} s");
    if let Some(first) = rebuilt.letters_to_replay.first() {
        println!(
            "{} dead letters were replayed into the old table, and their records are not in the rebuilt one: they are \
             open again, the first is {first}; run `streamweir dead-letters replay --pipeline {}`",
            rebuilt.letters_to_replay.len(),
            rebuilt.pipeline
        );
    }
    if let Some(left) = &rebuilt.windows_left_out {
        println!(
            "{} windows are not in the rebuilt table, because the log has only a part of them: the first begins at {}, \
             the last at {}",
            left.windows, left.first, left.last
        );
    }
    if let Some(audit) = &rebuilt.audit {
        super::audit::print_report(audit);
    }
}
