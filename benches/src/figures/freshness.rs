//! From the record's timestamp to the row that a query sees, under a steady trickle.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use sandbox::generate::{self, ProfileEncoding, Progress, Start, Traffic, Volume, load_profiles};
use sandbox::{Sandbox, topic, unique, wait};

use super::Bounds;
use super::job::{Job, PATIENCE, values};
use crate::topic::PARTITIONS;

const EVENTS_PER_SECOND: u64 = 1_000;
const USERS: u64 = 10_000;
/// The shipped `batch.flush_interval` and a second for everything else.
const P99_SECONDS_MAX: f64 = 6.0;
/// How often the table is looked at: what is found is late by so much at most, and by the query.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// So many rows of a partition were seen at a time.
struct Look {
    at_ms: i64,
    rows: BTreeMap<i32, i64>,
}

pub(super) fn measure(parts: &Sandbox, seconds: u64, bounds: &mut Bounds) -> Result<()> {
    let (name, bootstrap) = (unique("figures.fresh"), parts.kafka.bootstrap());
    topic::create(bootstrap, &name, PARTITIONS, &[])?;
    load_profiles(
        &parts.redis.url(),
        "user:profile:",
        USERS,
        ProfileEncoding::Json,
    )?;
    let job = Job::new(parts, &name)?;
    let member = job.start("daemon")?;
    wait::until("it reads its partitions", PATIENCE, || {
        (member.partitions().len() == 4).then_some(())
    })?;
    let traffic = Traffic {
        bootstrap: bootstrap.to_owned(),
        topic: name.clone(),
        volume: Volume::Rate {
            per_second: EVENTS_PER_SECOND,
            duration: Some(Duration::from_secs(seconds)),
        },
        users: USERS,
        seed: 7,
        start: Start::Now,
        poison_every: 0,
    };
    let looks = thread::scope(|scope| {
        let producer = scope.spawn(|| generate::run(&traffic, &Progress::default()));
        let looks = look_until_all_are_there(&job, EVENTS_PER_SECOND * seconds);
        producer.join().expect("the producer does not panic")?;
        looks
    })?;
    let metrics = member.pages().metrics().unwrap_or_default();
    member.stop()?;
    job.ensure_exactly_once(EVENTS_PER_SECOND * seconds)?;
    let ages = ages_seconds(bootstrap, &name, &looks)?;
    job.drop_database()?;
    print(&ages, &metrics, looks.len(), bounds);
    Ok(())
}

fn look_until_all_are_there(job: &Job<'_>, events: u64) -> Result<Vec<Look>> {
    let deadline = Instant::now() + PATIENCE;
    let mut looks: Vec<Look> = vec![];
    loop {
        let text = job.query("SELECT _partition, count() FROM {t} GROUP BY _partition")?;
        let at_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let pair = |line: &str| {
            let (partition, rows) = line.split_once('\t')?;
            Some((partition.parse().ok()?, rows.parse().ok()?))
        };
        let rows: BTreeMap<i32, i64> = text.lines().filter_map(pair).collect();
        let all: i64 = rows.values().sum();
        looks.push(Look { at_ms, rows });
        if all >= i64::try_from(events)? {
            return Ok(looks);
        }
        ensure!(
            Instant::now() < deadline,
            "{all} of {events} rows are there"
        );
        thread::sleep(LOOK_INTERVAL);
    }
}

/// A partition's rows appear in the order of their offsets, so the first look that counts more than
/// `offset` rows is the first that could see that row.
fn ages_seconds(bootstrap: &str, topic: &str, looks: &[Look]) -> Result<Vec<f64>> {
    let records = topic::read_all(bootstrap, topic)?;
    let age = |record: &topic::Received| {
        let is_missing =
            |look: &Look| look.rows.get(&record.partition).copied().unwrap_or(0) <= record.offset;
        let seen = &looks[looks.partition_point(is_missing)];
        (seen.at_ms - record.timestamp_ms) as f64 / 1e3
    };
    let mut ages: Vec<f64> = records.iter().map(age).collect();
    ages.sort_by(f64::total_cmp);
    ensure!(!ages.is_empty(), "nothing was produced");
    Ok(ages)
}

fn print(ages: &[f64], metrics: &str, looks: usize, bounds: &mut Bounds) {
    let quantile = |q: f64| ages[((ages.len() - 1) as f64 * q) as usize];
    let p99 = quantile(0.99);
    let verdict = bounds.judge("freshness, p99", p99, P99_SECONDS_MAX);
    println!(
        "| freshness at {EVENTS_PER_SECOND} events/s, seconds | p50 | p99 | max | p99 ≤ \
         {P99_SECONDS_MAX} |\n|---|---|---|---|---|"
    );
    println!(
        "| {} rows, {looks} looks at the table | {:.2} | {p99:.2} | {:.2} | {verdict} |\n",
        ages.len(),
        quantile(0.5),
        quantile(1.0)
    );
    let buckets: Vec<(f64, f64)> = values(metrics, "streamweir_freshness_seconds_bucket")
        .filter_map(|(labels, count)| {
            let (_, bound) = labels.split_once("le=\"")?;
            Some((bound.trim_end_matches('"').parse().ok()?, count))
        })
        .collect();
    let samples = buckets.iter().map(|(_, count)| *count).fold(0.0, f64::max);
    println!(
        "| share that is no older, % | looked at | `streamweir_freshness_seconds`, {samples} \
         samples |\n|---|---|---|"
    );
    for (bound, count) in buckets.iter().filter(|(bound, _)| *bound <= 10.0) {
        let seen = ages.partition_point(|age| age <= bound) as f64 / ages.len() as f64;
        println!(
            "| {bound} s | {:.1} | {:.1} |",
            seen * 100.0,
            count / samples * 100.0
        );
    }
    println!();
}
