//! `streamweir wait`

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{ArgGroup, Args};

use super::{print_json, report};
use crate::config::Config;
use crate::exit;
use crate::inspect::completeness::{
    CommittedGoal, Ended, Goal, PipelineWatermark, WaitOptions, Waited, wait,
};
use crate::inspect::{Failure, status};
use crate::observe::board::status::Moment;

/// How often a terminal is told how far it is.
const SAID_INTERVAL: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["watermark", "committed"]))]
#[command(group = ArgGroup::new("whose").required(true).args(["pipeline", "name"]))]
pub(super) struct Wait {
    /// The pipeline that is to be complete
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// A named watermark of the configuration: all of its pipelines are to be complete
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Until everything before this event time is written
    #[arg(long, value_name = "RFC3339")]
    watermark: Option<jiff::Timestamp>,
    /// Until offsets are written: of what there is now, of records before this Kafka timestamp, or this one
    /// of each partition
    #[arg(long, value_name = "latest|RFC3339|OFFSET")]
    committed: Option<CommittedGoal>,
    /// How long at most; 0 asks once
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_timeout)]
    timeout: Duration,
    /// Where daemons answer that run it, such as http://host:9187: when one says that it has halted, and nobody goes
    /// on, the wait ends (may be repeated) [default: service.http_listen]
    #[arg(long = "url", value_name = "URL")]
    urls: Vec<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a duration such as 90s, 15m or 1h 30m"))
}

impl Wait {
    pub(super) fn run(self, config: &Config) -> ExitCode {
        let goal = match (self.watermark, self.committed) {
            (Some(time), _) => Goal::WatermarkMs(time.as_millisecond()),
            (None, Some(goal)) => Goal::Committed(goal),
            (None, None) => unreachable!("one of them is required"),
        };
        let pipelines = match (&self.pipeline, &self.name) {
            (Some(name), _) => vec![name.clone()],
            (None, name) => match named(config, name.as_deref().unwrap_or_default()) {
                Ok(pipelines) => pipelines,
                Err(failure) => return report(&failure),
            },
        };
        let urls = match self.urls.is_empty() {
            true => vec![status::address(&config.service)],
            false => self.urls,
        };
        let options = WaitOptions {
            pipelines,
            goal,
            timeout: self.timeout,
            urls,
        };
        let is_shown = std::io::stderr().is_terminal() && !self.json;
        let mut said_at = None::<Instant>;
        let waited = wait(config, &options, |pipelines, missing| {
            let is_due = said_at.is_none_or(|at| at.elapsed() >= SAID_INTERVAL);
            if is_shown && is_due && missing > 0 {
                said_at = Some(Instant::now());
                eprintln!("waiting for {missing} partitions{}", so_far(pipelines));
            }
        });
        let waited = match waited {
            Ok(waited) => waited,
            Err(failure) => return report(&failure),
        };
        if self.json {
            print_json(&waited);
        } else {
            print(&waited);
        }
        ExitCode::from(match waited.state {
            Ended::Reached => exit::DONE,
            Ended::Timeout => exit::OTHER,
            Ended::Halted => exit::HALTED,
        })
    }
}

/// The pipelines of a named watermark.
fn named(config: &Config, name: &str) -> Result<Vec<String>, Failure> {
    let mut known = config.watermarks.iter();
    if let Some(watermark) = known.find(|watermark| watermark.name == name) {
        return Ok(watermark.pipelines.clone());
    }
    let names: Vec<&str> = config.watermarks.iter().map(|w| &*w.name).collect();
    Err(Failure::Usage(format!(
        "no [watermark.{name:?}] in the configuration; it has: {}",
        names.join(", ")
    )))
}

/// Where the watermarks are.
fn so_far(pipelines: &[PipelineWatermark]) -> String {
    let known = pipelines.iter().filter(|p| p.has_event_time);
    let known = known.map(|p| format!("; {} is complete up to {}", p.name, shown(p.watermark)));
    known.collect()
}

fn shown(watermark: Option<Moment>) -> String {
    watermark.map_or("no known time".to_owned(), |watermark| {
        watermark.to_string()
    })
}

fn print(waited: &Waited) {
    let word = match waited.state {
        Ended::Reached => "reached",
        Ended::Timeout => "not reached in time",
        Ended::Halted => "halted",
    };
    println!(
        "{word} after {:.1} s{}",
        waited.waited_seconds,
        so_far(&waited.pipelines)
    );
    if let Some(halted) = &waited.halted {
        let url = halted
            .url
            .as_ref()
            .map_or(String::new(), |url| format!(" ({url})"));
        let (name, reason, advice) = (&halted.pipeline, &halted.reason, &halted.advice);
        println!("{name}{url}: {reason}: {advice}");
        return;
    }
    if waited.reached {
        return;
    }
    for goal in &waited.missing {
        println!(
            "{}:{}: not yet at {}",
            goal.topic, goal.partition, goal.offset
        );
    }
    for pipeline in waited
        .pipelines
        .iter()
        .filter(|_| waited.missing.is_empty())
    {
        let held = pipeline
            .partitions
            .iter()
            .filter(|p| p.watermark == pipeline.watermark);
        for partition in held {
            let (topic, number) = (&partition.topic, partition.partition);
            println!(
                "{topic}:{number}: complete up to {}",
                shown(partition.watermark)
            );
        }
    }
}
