//! From an event's Kafka timestamp to its joined record before a `read_committed` reader, under a steady
//! trickle.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use sandbox::generate::{join_event_json, join_update_json};
use sandbox::topic::{self, Record};
use sandbox::{Sandbox, wait};

use super::job::{Job, PATIENCE};
use crate::joins::{PARTITIONS, Sides, create_output, ensure_no_dead_letters, numbers, output_of};

const EVENTS_PER_SECOND: u64 = 1_000;
/// One update behind so many events.
const EVENTS_PER_UPDATE: u64 = 10;
/// Each has a profile before the first event.
const USERS: u64 = 1_000;
/// Not counted: before them a silent topic is not known to be silent, and without those behind them the
/// watermark of the last ones would not come. More than the shipped `watermark_delay` and `idle_timeout`.
const MARGIN_SECONDS: u64 = 25;

/// What the daemon is told, and what happens on the right side.
#[derive(Debug, Clone, Copy)]
struct Case {
    emit: &'static str,
    has_updates: bool,
}

/// When an event was put into Kafka, and when its joined record was read.
#[derive(Debug, Clone, Copy)]
struct Seen {
    event: usize,
    at_ms: i64,
}

pub(super) fn measure(parts: &Sandbox, seconds: u64) -> Result<()> {
    println!(
        "| joined at {EVENTS_PER_SECOND} events/s, seconds to a `read_committed` reader | profile topic | \
         p50 | p99 | max |\n|---|---|---|---|---|"
    );
    for emit in ["eager", "on_watermark"] {
        for has_updates in [true, false] {
            let case = Case { emit, has_updates };
            let ages = ages_seconds(parts, case, seconds)?;
            let quantile = |q: f64| ages[((ages.len() - 1) as f64 * q) as usize];
            let updates = if has_updates {
                format!("{} updates/s", EVENTS_PER_SECOND / EVENTS_PER_UPDATE)
            } else {
                "silent".to_owned()
            };
            println!(
                "| `{emit}`, {} events | {updates} | {:.3} | {:.3} | {:.3} |",
                ages.len(),
                quantile(0.5),
                quantile(0.99),
                quantile(1.0)
            );
        }
    }
    println!();
    Ok(())
}

/// Of the events between the margins, in order.
fn ages_seconds(parts: &Sandbox, case: Case, seconds: u64) -> Result<Vec<f64>> {
    let bootstrap = parts.kafka.bootstrap();
    let sides = Sides::create(bootstrap, "figures")?;
    let mut job = Job::joins(parts, &sides)?;
    job.set("pipeline.join.emit", case.emit);
    let output = create_output(bootstrap, job.name())?;
    topic::produce(bootstrap, &sides.right, (1..=USERS).map(profile))?;
    let member = job.start("daemon")?;
    wait::until("it reads its partitions", PATIENCE, || {
        (member.partitions().len() == 2 * usize::try_from(PARTITIONS).ok()?).then_some(())
    })?;
    let reader = reader(bootstrap, &output)?;
    let first = usize::try_from(MARGIN_SECONDS * EVENTS_PER_SECOND)?;
    let behind = first + usize::try_from(seconds * EVENTS_PER_SECOND)?;
    let (sent, seen) = thread::scope(|scope| {
        let producer = scope.spawn(|| produce(bootstrap, &sides, case, seconds));
        let seen = read(&reader, first..behind);
        let sent = producer.join().expect("the producer does not panic")?;
        anyhow::Ok((sent, seen?))
    })?;
    member.stop()?;
    ensure_no_dead_letters(bootstrap, job.name())?;
    let age = |seen: &Seen| (seen.at_ms - sent[seen.event]) as f64 / 1e3;
    let mut ages: Vec<f64> = seen.iter().map(age).collect();
    ages.sort_by(f64::total_cmp);
    for name in [&sides.left, &sides.right, &output_of(job.name())] {
        topic::delete(bootstrap, name)?;
    }
    Ok(ages)
}

fn profile(user: u64) -> Record {
    let now_ms = now_ms();
    Record::new(join_update_json(0, user, &now_ms.to_string()))
        .key(user.to_string())
        .timestamp_ms(now_ms)
}

/// When each event was handed over, which is its Kafka timestamp and its event time too.
fn produce(bootstrap: &str, sides: &Sides, case: Case, seconds: u64) -> Result<Vec<i64>> {
    let events = (2 * MARGIN_SECONDS + seconds) * EVENTS_PER_SECOND;
    let (begun, mut sent) = (Instant::now(), vec![]);
    let records = (0..events).flat_map(|number| {
        let due = begun
            + Duration::from_secs(1) * u32::try_from(number).unwrap_or(u32::MAX)
                / u32::try_from(EVENTS_PER_SECOND).unwrap_or(1);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let now_ms = now_ms();
        sent.push(now_ms);
        let user = 1 + number * 7_919 % USERS;
        let event = Record::new(join_event_json(number, user, &now_ms.to_string()))
            .key(user.to_string())
            .timestamp_ms(now_ms);
        let is_due = case.has_updates && number.is_multiple_of(EVENTS_PER_UPDATE);
        let update = is_due.then(|| profile(1 + number / EVENTS_PER_UPDATE % USERS));
        let update = update.map(|update| (&sides.right, update));
        std::iter::once((&sides.left, event)).chain(update)
    });
    topic::produce_to_many(bootstrap, records)?;
    Ok(sent)
}

fn reader(bootstrap: &str, output: &str) -> Result<BaseConsumer> {
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "figures-reader")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "10")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(output, partition, Offset::Beginning)?;
    }
    reader.assign(&list)?;
    Ok(reader)
}

/// Reads until all events of these numbers are there, each once and with its user's profile.
fn read(reader: &BaseConsumer, counted: std::ops::Range<usize>) -> Result<Vec<Seen>> {
    let deadline = Instant::now() + PATIENCE;
    let mut is_there = vec![false; counted.len()];
    let mut seen = Vec::with_capacity(counted.len());
    while seen.len() < counted.len() {
        ensure!(
            Instant::now() < deadline,
            "{} of {} joined records came",
            seen.len(),
            counted.len()
        );
        let Some(message) = reader.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = message?;
        let at_ms = now_ms();
        let (event, update) = numbers(message.payload().context("a joined record")?)?;
        ensure!(update.is_some(), "event {event} found no profile");
        if !counted.contains(&event) {
            continue;
        }
        let was_there = std::mem::replace(&mut is_there[event - counted.start], true);
        ensure!(!was_there, "event {event} is there twice");
        seen.push(Seen { event, at_ms });
    }
    Ok(seen)
}

fn now_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since_1970.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}
