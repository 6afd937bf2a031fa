//! `streamweir audit`

use std::process::ExitCode;

use clap::Args;

use super::{print_json, report};
use crate::config::Config;
use crate::exit;
use crate::inspect::audit::{self, AuditOptions, Bound, Report};

#[derive(Debug, Args)]
pub(super) struct Audit {
    /// What is audited
    #[arg(long, value_name = "NAME")]
    pipeline: String,
    /// Only this topic [default: all of the pipeline]
    #[arg(long)]
    topic: Option<String>,
    /// From this offset or time on [default: the beginning of the log]
    #[arg(long, value_name = "OFFSET|RFC3339")]
    from: Option<Bound>,
    /// Up to this offset or time, and at most to the committed offset
    #[arg(long, value_name = "OFFSET|RFC3339")]
    to: Option<Bound>,
    /// Compare the columns too that come from the record alone
    #[arg(long)]
    values: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Audit {
    pub(super) fn run(self, config: &Config) -> ExitCode {
        let options = AuditOptions {
            pipeline: self.pipeline,
            topic: self.topic,
            from: self.from,
            to: self.to,
            values: self.values,
        };
        let found = match audit::audit(config, &options) {
            Ok(found) => found,
            Err(failure) => return report(&failure),
        };
        if self.json {
            print_json(&found);
        } else {
            print_report(&found);
        }
        let has_findings = found.counts.has_findings();
        ExitCode::from(if has_findings {
            exit::OTHER
        } else {
            exit::DONE
        })
    }
}

pub(super) fn print_report(report: &Report) {
    println!("pipeline {}, kind {}", report.pipeline, report.kind);
    for p in &report.partitions {
        println!(
            "{}:{}: offsets {} to {}",
            p.topic, p.partition, p.from, p.to
        );
    }
    let counts = serde_json::to_value(&report.counts).unwrap_or_default();
    for (name, count) in counts.as_object().into_iter().flatten() {
        if *count != 0 || name == "records" || name == "rows" {
            println!("{name}: {count}");
        }
    }
    let lists = [
        ("lost", &report.lost),
        ("doubled", &report.doubled),
        ("altered", &report.altered),
        ("stale", &report.stale),
        ("missing", &report.missing),
        ("extra", &report.extra),
        ("differs", &report.differs),
    ];
    for (name, list) in lists {
        for entry in list {
            println!("{name}: {entry}");
        }
    }
    for note in &report.notes {
        println!("{note}");
    }
}
