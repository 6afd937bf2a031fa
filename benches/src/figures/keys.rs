//! Keys of duplicates, more than fit a small memory: each event once in a large one, a clear halt in a small
//! one.

use anyhow::{Context as _, Result, ensure};
use sandbox::{Sandbox, topic};

use super::job::Job;
use super::{Bounds, memory};
use crate::topic::PARTITIONS;

/// Event time of the first event: 2025-11-21T00:00Z.
const START_MS: i64 = 1_763_683_200_000;
const LARGE: (&str, u64) = ("1GiB", 1 << 30);
const SMALL: (&str, u64) = ("256MiB", 256 << 20);
/// One event in so many comes again, as many events later.
const AGAIN: u32 = 100;

/// Measures and prints.
///
/// # Errors
/// When the large memory does not leave each event once, or the small one ends in anything but a halt.
pub(super) fn measure(parts: &Sandbox, keys: u32, bounds: &mut Bounds) -> Result<()> {
    let name = "figures.keyed-events";
    let bootstrap = parts.kafka.bootstrap();
    topic::create(bootstrap, name, PARTITIONS, &[("retention.ms", "-1")])?;
    let again = |n: &u32| n.is_multiple_of(AGAIN) && *n >= AGAIN;
    let events = (0..keys).flat_map(|n| [Some(n), Some(n - AGAIN).filter(|_| again(&n))]);
    topic::produce(bootstrap, name, events.flatten().map(event))?;
    println!("## {keys} keys of duplicates\n");
    println!("| memory_max | outcome | seconds | peak RSS, MiB | |\n|---|---|---|---|---|");

    let job = job(parts, name, LARGE.0)?;
    let (reader, pages) = job.reader("large")?;
    let (run, state_bytes) = std::thread::scope(|scope| {
        let reader = scope.spawn(reader);
        let mut most = 0f64;
        while !reader.is_finished() {
            most = most.max(pages.sum_of("streamweir_state_bytes"));
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let run = reader.join().expect("the reader does not panic")?;
        anyhow::Ok((run, most))
    })?;
    let found = job.query("SELECT count(), uniqExact(id) FROM {t}")?;
    ensure!(
        found == format!("{keys}\t{keys}"),
        "rows and ids in the table: {found}"
    );
    let stated = format!(
        "each event once, `streamweir_state_bytes` {:.0} MiB",
        state_bytes / f64::from(1 << 20)
    );
    memory::line(LARGE, &stated, &run, bounds);
    job.drop_database()?;

    let job = self::job(parts, name, SMALL.0)?;
    let (run, status, log) = job.read_to_status("small")?;
    let is_clear = log.contains("state_too_large") && log.contains("service.memory_max");
    ensure!(
        status == Some(4) && is_clear,
        "exit status {status:?}: {log}"
    );
    memory::line(SMALL, "halts, exit 4: `state_too_large`", &run, bounds);
    job.drop_database()?;
    println!();
    topic::delete(bootstrap, name)
}

fn event(number: u32) -> topic::Record {
    let time_ms = START_MS + i64::from(number);
    topic::Record::new(format!(r#"{{"id":"event-{number:09}","ts":{time_ms}}}"#))
        .partition((number % PARTITIONS.unsigned_abs()).cast_signed())
        .timestamp_ms(time_ms)
}

fn job<'p>(parts: &'p Sandbox, topic: &str, memory_max: &str) -> Result<Job<'p>> {
    let mut job = Job::bare(parts, topic, "keyed_events")?;
    job.set("service.memory_max", memory_max);
    job.set("pipeline.time_field", "ts");
    let key = vec![toml::Value::from("$.id")];
    job.set("pipeline.dedup.key", key);
    job.set("pipeline.dedup.within", "24h");
    let table = format!("{}.keyed_events", job.name());
    for sql in [
        format!("CREATE DATABASE {}", job.name()),
        format!(
            "CREATE TABLE {table} (id String, ts DateTime64(3, 'UTC'), _topic LowCardinality(String), \
             _partition UInt32, _offset UInt64) ENGINE = MergeTree ORDER BY (_partition, _offset) \
             SETTINGS non_replicated_deduplication_window = 1000"
        ),
    ] {
        let made = parts.clickhouse.try_query(&sql);
        made.context("a table for the events")?;
    }
    Ok(job)
}
