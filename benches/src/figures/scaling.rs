//! Two consumers in one process, and two processes, against one: the same backlog, rows discarded.

use std::thread;

use anyhow::Result;
use sandbox::Sandbox;
use sandbox::fault::{Fault, Matcher, Proxy};

use super::job::Job;
use super::{list, median};
use crate::child::Run;
use crate::topic::EventTopic;

#[derive(Debug, Clone, Copy)]
struct Kind {
    label: &'static str,
    consumers: i64,
    processes: usize,
}

const KINDS: [Kind; 3] = [
    Kind {
        label: "1 process, 1 consumer",
        consumers: 1,
        processes: 1,
    },
    Kind {
        label: "1 process, 2 consumers",
        consumers: 2,
        processes: 1,
    },
    Kind {
        label: "2 processes, 1 consumer each",
        consumers: 1,
        processes: 2,
    },
];

pub(super) fn measure(parts: &Sandbox, topic: &EventTopic, rounds: usize) -> Result<()> {
    let nowhere = Proxy::start(&parts.clickhouse.url())?;
    let yes = Fault::Reject {
        status: 200,
        body: String::new(),
    };
    nowhere.inject(Matcher::inserts(), yes, usize::MAX);
    let mut runs: [Vec<Run>; KINDS.len()] = Default::default();
    for _ in 0..rounds {
        for (kind, runs) in KINDS.iter().zip(&mut runs) {
            runs.push(read(parts, topic, &nowhere.url(), *kind)?);
        }
    }
    let events = topic.events as f64;
    let rates = |runs: &[Run]| -> Vec<f64> {
        let rate = |run: &Run| events / run.wall.as_secs_f64() / 1e3;
        runs.iter().map(rate).collect()
    };
    let cpu = |runs: &[Run]| -> Vec<f64> {
        let cpu = |run: &Run| run.cpu.as_secs_f64() * 1e6 / events;
        runs.iter().map(cpu).collect()
    };
    let (one_rate, one_cpu) = (median(&rates(&runs[0])), median(&cpu(&runs[0])));
    println!(
        "| rows discarded | thousand events/s, median | each | × 1 | CPU µs/event, median | each | × 1 \
         | peak RSS of a process, MiB |\n|---|---|---|---|---|---|---|---|"
    );
    for (kind, runs) in KINDS.iter().zip(&runs) {
        let (rates, cpu) = (rates(runs), cpu(runs));
        let peak = runs.iter().map(|run| run.rss_peak_bytes >> 20).max();
        println!(
            "| {} | {:.0} | {} | {:.2} | {:.2} | {} | {:.2} | {} |",
            kind.label,
            median(&rates),
            list(&rates, 0),
            median(&rates) / one_rate,
            median(&cpu),
            list(&cpu, 2),
            median(&cpu) / one_cpu,
            peak.unwrap_or(0)
        );
    }
    println!();
    Ok(())
}

/// Several processes count as one run: the CPU of all, until the last has ended.
fn read(parts: &Sandbox, topic: &EventTopic, url: &str, kind: Kind) -> Result<Run> {
    let mut job = Job::new(parts, &topic.name)?;
    job.set("clickhouse.url", url);
    job.set("pipeline.consumers", kind.consumers);
    let all: Result<Vec<Run>> = thread::scope(|scope| {
        let job = &job;
        let read = |number| scope.spawn(move || job.read_to_end(&format!("daemon-{number}")));
        let all: Vec<_> = (0..kind.processes).map(read).collect();
        let join = |one: thread::ScopedJoinHandle<'_, Result<Run>>| {
            one.join().expect("a run does not panic")
        };
        all.into_iter().map(join).collect()
    });
    job.ensure_committed(topic.events)?;
    job.drop_database()?;
    let sum = |one: Run, other: Run| Run {
        cpu: one.cpu + other.cpu,
        wall: one.wall.max(other.wall),
        rss_peak_bytes: one.rss_peak_bytes.max(other.rss_peak_bytes),
        engine_cpu: None,
    };
    Ok(all?
        .into_iter()
        .reduce(sum)
        .expect("every kind has a process"))
}
