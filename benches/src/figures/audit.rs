//! How fast a table is held against its log.

use anyhow::{Result, ensure};
use sandbox::Sandbox;

use super::job::Job;
use super::{Bounds, list, memory};
use crate::topic::EventTopic;

/// Records a second, beside nothing else.
const RATE_MIN: f64 = 300_000.0;

/// Measures and prints.
///
/// # Errors
/// When an audit finds anything, or counts other rows than events.
pub(super) fn measure(
    parts: &Sandbox,
    topic: &EventTopic,
    rounds: usize,
    bounds: &mut Bounds,
) -> Result<()> {
    let job = Job::new(parts, &topic.name)?;
    job.read_to_end("writer")?;
    job.ensure_exactly_once(topic.events)?;
    println!("## An audit of {} events\n", topic.events);
    println!(
        "| | thousand records/s, median | each | CPU µs/record | peak RSS, MiB | |\n|---|---|---|---|---|---|"
    );
    let plain = ["audit", "--pipeline", "clickstream", "--json"];
    let values = ["audit", "--pipeline", "clickstream", "--json", "--values"];
    for (what, arguments) in [("offsets", &plain[..]), ("offsets and values", &values[..])] {
        let (mut rates, mut cpu, mut peak) = (vec![], vec![], 0);
        for round in 1..=rounds {
            let (run, said) = job.command_to_end(&format!("audit-{round}"), arguments)?;
            let rows = format!("\"rows\":{}", topic.events);
            let compact: String = said.split_whitespace().collect();
            ensure!(compact.contains(&rows), "no {rows} in {said}");
            rates.push(topic.events as f64 / run.wall.as_secs_f64());
            cpu.push(run.cpu.as_secs_f64() * 1e6 / topic.events as f64);
            peak = peak.max(run.rss_peak_bytes >> 20);
        }
        let thousands: Vec<f64> = rates.iter().map(|rate| rate / 1e3).collect();
        let judged = match what {
            "offsets" => {
                bounds.judge_least("records/s of an audit", super::median(&rates), RATE_MIN)
            }
            _ => "",
        };
        println!(
            "| {what} | {:.0} | {} | {:.2} | {peak} | {judged} |",
            super::median(&thousands),
            list(&thousands, 0),
            super::median(&cpu),
        );
        bounds.judge("MiB of an audit", peak as f64, memory::MEMORY_MAX_MIB);
    }
    println!();
    job.drop_database()
}
