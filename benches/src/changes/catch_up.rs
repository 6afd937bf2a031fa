//! A replica that begins with a long topic: what reaches the server when the last change of a key counts.

use anyhow::{Context as _, Result};
use sandbox::Sandbox;
use sandbox::clickhouse::ClickHouse;
use sandbox::workdir::executable;

use super::topic::{ChangeTopic, KEYS};
use crate::daemon::DaemonRuns;

/// Reads the topic into the engine, and prints what that took.
pub(super) fn measure(parts: &Sandbox, topic: &ChangeTopic, rounds: usize) -> Result<()> {
    println!(
        "catch-up of {} changes of {KEYS} keys into ClickHouse; in the end the table is the source's\n\n\
         | seconds | thousand changes/s | CPU µs/change | rows written | changes a row | inserts | engine, \
         CPU µs/change | peak RSS, MiB |\n|---|---|---|---|---|---|---|---|",
        topic.changes
    );
    let daemon = DaemonRuns::new(parts, topic, executable("streamweir", "STREAMWEIR_BIN")?)?;
    for _ in 0..rounds {
        let before = Inserted::so_far(&parts.clickhouse)?;
        let run = daemon.read_into_the_engine()?;
        let inserted = Inserted::so_far(&parts.clickhouse)?;
        let (rows, inserts) = (
            inserted.rows - before.rows,
            inserted.inserts - before.inserts,
        );
        let changes = topic.changes as f64;
        let us_per_change = |cpu: std::time::Duration| cpu.as_secs_f64() * 1e6 / changes;
        println!(
            "| {:.1} | {:.0} | {:.2} | {rows} | {:.1} | {inserts} | {:.2} | {} |",
            run.wall.as_secs_f64(),
            changes / run.wall.as_secs_f64() / 1e3,
            us_per_change(run.cpu),
            changes / rows as f64,
            us_per_change(run.engine_cpu.unwrap_or_default()),
            run.rss_peak_bytes >> 20,
        );
    }
    println!();
    Ok(())
}

/// What the server has taken since it was started.
struct Inserted {
    rows: u64,
    inserts: u64,
}

impl Inserted {
    fn so_far(clickhouse: &ClickHouse) -> Result<Self> {
        let found = clickhouse.try_query(
            "SELECT sumIf(value, event = 'InsertedRows'), sumIf(value, event = 'InsertQuery') \
             FROM system.events",
        )?;
        let (rows, inserts) = found.split_once('\t').context("two numbers")?;
        Ok(Self {
            rows: rows.parse()?,
            inserts: inserts.parse()?,
        })
    }
}
