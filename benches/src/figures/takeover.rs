//! How long the partitions of a killed member stand still.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use sandbox::generate::{self, Progress, Start, Traffic, Volume};
use sandbox::{Sandbox, topic, unique, wait};

use super::job::{Job, PATIENCE};
use super::{list, median, worst};

const EVENTS_PER_SECOND: u64 = 40;
/// The default of librdkafka, which the daemon leaves as it is, and a short one.
const CASES: [(&str, Option<i64>, u32); 2] =
    [("45 s, the default", None, 3), ("6 s", Some(6_000), 5)];
/// Kills come at different moments between two heartbeats.
const STAGGER: Duration = Duration::from_millis(700);

pub(super) fn measure(parts: &Sandbox) -> Result<()> {
    println!(
        "| `session.timeout.ms` | seconds from kill -9 to the first new row, median | worst | each \
         |\n|---|---|---|---|"
    );
    for (what, session_ms, times) in CASES {
        let found: Result<Vec<f64>> = thread::scope(|scope| {
            let takeover = |number| scope.spawn(move || takeover(parts, session_ms, number));
            let all: Vec<_> = (0..times).map(takeover).collect();
            let join = |one: thread::ScopedJoinHandle<'_, Result<f64>>| {
                one.join().expect("a takeover does not panic")
            };
            all.into_iter().map(join).collect()
        });
        let found = found?;
        println!(
            "| {what} | {:.1} | {:.1} | {} |",
            median(&found),
            worst(&found),
            list(&found, 1)
        );
    }
    println!();
    Ok(())
}

/// Kills one of two members, each of which has one of two partitions.
fn takeover(parts: &Sandbox, session_ms: Option<i64>, number: u32) -> Result<f64> {
    let (name, bootstrap) = (unique("figures.takeover"), parts.kafka.bootstrap());
    topic::create(bootstrap, &name, 2, &[])?;
    let mut job = Job::new(parts, &name)?;
    // Users without a profile are no part of this.
    job.set("pipeline.lookup.on_unavailable", "use_defaults");
    if let Some(session_ms) = session_ms {
        job.set("kafka.properties.session.timeout.ms", session_ms);
    }
    let progress = Progress::default();
    let traffic = Traffic {
        bootstrap: bootstrap.to_owned(),
        topic: name.clone(),
        volume: Volume::Rate {
            per_second: EVENTS_PER_SECOND,
            duration: None,
        },
        users: 100,
        seed: u64::from(number),
        start: Start::Now,
        poison_every: 0,
    };
    let (took, produced) = thread::scope(|scope| {
        let producer = scope.spawn(|| generate::run(&traffic, &progress));
        let took = kill_one(parts, &job, STAGGER * number);
        progress.stop.store(true, Ordering::Relaxed);
        let produced = producer.join().expect("the producer does not panic");
        (took, produced)
    });
    let took = took?;
    job.read_to_end("rest")?;
    job.ensure_exactly_once(produced?)?;
    job.drop_database()?;
    Ok(took.as_secs_f64())
}

fn kill_one(parts: &Sandbox, job: &Job<'_>, pause: Duration) -> Result<Duration> {
    let members = [job.start("first")?, job.start("second")?];
    let victim = &members[0];
    wait::until("each member has a partition", PATIENCE, || {
        members
            .iter()
            .all(|m| m.partitions().len() == 1)
            .then_some(())
    })?;
    wait::until("both partitions have rows", PATIENCE, || {
        let found = job.query("SELECT uniqExact(_partition) FROM {t}").ok()?;
        (found == "2").then_some(())
    })?;
    thread::sleep(pause);
    let partition = victim.partitions()[0];
    victim.process.kill();
    let killed = Instant::now();
    // What the victim had on its way may still arrive: only what came after it counts.
    let ends = topic::end_offsets(parts.kafka.bootstrap(), &job.topic)?;
    let end = ends.get(&partition).context("the partition has an end")?;
    let rows =
        format!("SELECT count() FROM {{t}} WHERE _partition = {partition} AND _offset >= {end}");
    wait::until("the partition has a new row", PATIENCE, || {
        (job.query(&rows).ok()? != "0").then_some(())
    })?;
    let took = killed.elapsed();
    members[1].stop()?;
    Ok(took)
}
