//! Peak memory where it is hardest to hold: `VmHWM` of the daemon over a whole run.

use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use sandbox::fault::{Fault, Matcher, Proxy};
use sandbox::generate::Events;
use sandbox::topic::{self, Record};
use sandbox::{Sandbox, unique};

use super::Bounds;
use super::job::Job;
use crate::child::Run;
use crate::topic::{EventTopic, PARTITIONS};

/// `service.memory_max` of the shipped configuration.
pub(super) const MEMORY_MAX_MIB: f64 = 256.0;
/// How large a huge record's value is.
const HUGE_BYTES: usize = 1 << 20;
/// Where what hangs begins to: far enough in for batches and caches to be there.
const RECORDS_BEFORE_HANG: u32 = 200_000;
/// Event time of the first huge record: 2025-11-21T00:00:00Z.
const START_MS: i64 = 1_763_683_200_000;

pub(super) fn measure(
    parts: &Sandbox,
    topic: &EventTopic,
    hang_seconds: u64,
    bounds: &mut Bounds,
) -> Result<()> {
    let hang = Duration::from_secs(hang_seconds);
    head("a backlog of events");
    row("into the engine", backlog(parts, topic)?, bounds);
    let sink = format!("ClickHouse hangs for {hang_seconds} s");
    row(&sink, hanging_sink(parts, topic, hang)?, bounds);
    let redis = format!("Redis hangs for {hang_seconds} s");
    row(&redis, hanging_redis(parts, topic, hang)?, bounds);
    println!();
    Ok(())
}

pub(super) fn measure_huge(parts: &Sandbox, count: u32, bounds: &mut Bounds) -> Result<()> {
    head(&format!("{count} records of 1 MiB"));
    for (what, text) in [
        ("of JSON as it comes", Text::Events),
        ("of random letters", Text::Random),
        ("of one phrase again and again", Text::Repeated),
    ] {
        row(what, huge_records(parts, count, text)?, bounds);
    }
    println!();
    Ok(())
}

fn head(what: &str) {
    println!(
        "| {what} | peak RSS, MiB | ≤ {MEMORY_MAX_MIB:.0} | seconds | CPU seconds \
         |\n|---|---|---|---|---|"
    );
}

fn row(what: &str, run: Run, bounds: &mut Bounds) {
    let mib = run.rss_peak_bytes as f64 / f64::from(1 << 20);
    let verdict = bounds.judge(format!("memory, {what}"), mib, MEMORY_MAX_MIB);
    println!(
        "| {what} | {mib:.0} | {verdict} | {:.0} | {:.1} |",
        run.wall.as_secs_f64(),
        run.cpu.as_secs_f64()
    );
}

fn backlog(parts: &Sandbox, topic: &EventTopic) -> Result<Run> {
    let job = Job::new(parts, &topic.name)?;
    let run = job.read_to_end("daemon")?;
    job.ensure_exactly_once(topic.events)?;
    job.drop_database()?;
    Ok(run)
}

/// ClickHouse takes connections and requests and says nothing, then comes back.
fn hanging_sink(parts: &Sandbox, topic: &EventTopic, hang: Duration) -> Result<Run> {
    let proxy = Proxy::start(&parts.clickhouse.url())?;
    let mut job = Job::new(parts, &topic.name)?;
    job.set("clickhouse.url", proxy.url());
    let run = while_it_hangs(&job, || {
        let held = proxy.inject(Matcher::any(), Fault::HoldRequest, usize::MAX);
        thread::sleep(hang);
        // The late inserts arrive too, as a server would do them that only stood still.
        held.stop();
        held.release();
    })?;
    let retried = proxy.inserts().iter().filter(|r| r.faulted).count();
    ensure!(retried > 0, "no insert met the hanging server");
    job.ensure_exactly_once(topic.events)?;
    job.drop_database()?;
    Ok(run)
}

fn hanging_redis(parts: &Sandbox, topic: &EventTopic, hang: Duration) -> Result<Run> {
    let mut job = Job::new(parts, &topic.name)?;
    // Every chunk has users whose profile must be asked for.
    job.set("pipeline.lookup.cache_ttl", "1s");
    let run = while_it_hangs(&job, || {
        parts.redis.pause();
        thread::sleep(hang);
        parts.redis.resume();
    })?;
    job.ensure_exactly_once(topic.events)?;
    job.drop_database()?;
    Ok(run)
}

/// Reads the backlog; `hang` runs once the daemon is under way.
fn while_it_hangs(job: &Job<'_>, hang: impl FnOnce()) -> Result<Run> {
    let (read, pages) = job.reader("daemon")?;
    thread::scope(|scope| {
        let run = scope.spawn(read);
        let under_way = pages.wait_for_records(RECORDS_BEFORE_HANG);
        if under_way.is_ok() {
            hang();
        }
        let run = run.join().expect("a run does not panic")?;
        under_way.map(|()| run)
    })
}

#[derive(Debug, Clone, Copy)]
enum Text {
    /// An array of events, which LZ4 packs as well as any.
    Events,
    /// Two hundred times smaller in Kafka, so one fetch brings many.
    Repeated,
    /// Letters drawn at random, in which LZ4 finds nothing.
    Random,
}

fn huge_records(parts: &Sandbox, count: u32, text: Text) -> Result<Run> {
    let (name, bootstrap) = (unique("figures.huge"), parts.kafka.bootstrap());
    let settings = [("max.message.bytes", "2097152"), ("retention.ms", "-1")];
    topic::create(bootstrap, &name, PARTITIONS, &settings)?;
    let record = |number: u32| {
        let partition = i32::try_from(number).unwrap_or(0) % PARTITIONS;
        let time_ms = START_MS + i64::from(number);
        Record::new(huge_event(number, time_ms, text))
            .partition(partition)
            .timestamp_ms(time_ms)
    };
    topic::produce(bootstrap, &name, (0..count).map(record))?;
    let job = Job::new(parts, &name)?;
    let run = job.read_to_end("daemon")?;
    job.ensure_exactly_once(count.into())?;
    let longest = job.query("SELECT min(length(properties)) FROM {t}")?;
    ensure!(
        longest.parse::<usize>()? > HUGE_BYTES - 1_000,
        "the shortest of the huge values in the table has {longest} bytes"
    );
    job.drop_database()?;
    topic::delete(bootstrap, &name)?;
    Ok(run)
}

/// An event of exactly [`HUGE_BYTES`].
fn huge_event(number: u32, time_ms: i64, text: Text) -> Vec<u8> {
    let mut event = String::with_capacity(HUGE_BYTES);
    let written = write!(
        event,
        "{{\"event_id\":\"e{number}\",\"event_type\":\"click\",\"session_id\":\"s{number}\",\
         \"user_id\":{number},\"timestamp\":{time_ms},\"properties\":{{\"text\":\""
    );
    written.expect("writing to memory does not fail");
    let end = match text {
        Text::Events => "\"]}}",
        Text::Random | Text::Repeated => "\"}}",
    };
    let room = HUGE_BYTES - event.len() - end.len();
    match text {
        Text::Events => {
            event.truncate(event.len() - "\"".len());
            event.push('[');
            let mut events = Events::new(u64::from(number), u64::from(number) + 1);
            loop {
                let (_, next) = events.next(time_ms);
                if event.len() + next.len() + 5 > HUGE_BYTES - end.len() {
                    break;
                }
                let next = std::str::from_utf8(next).expect("events are text");
                event.push_str(next);
                event.push(',');
            }
            event.push_str("\"end");
        }
        Text::Repeated => event.extend(std::iter::repeat_n("the same words ", room / 15)),
        Text::Random => {
            // Xorshift64 (Marsaglia 2003), six bits a letter.
            let mut state = u64::from(number) << 32 | 0x9e37_79b9;
            event.extend((0..room).map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
                char::from(letters[usize::try_from(state >> 58).expect("six bits")])
            }));
        }
    }
    event.extend(std::iter::repeat_n(
        ' ',
        HUGE_BYTES - end.len() - event.len(),
    ));
    event.push_str(end);
    event.into_bytes()
}

/// One row: the outcome, and the peak held against what was allowed.
pub(super) fn line(allowed: (&str, u64), outcome: &str, run: &Run, bounds: &mut Bounds) {
    let (name, bytes_max) = allowed;
    let mib = |bytes: u64| (bytes >> 20) as f64;
    let found = mib(run.rss_peak_bytes);
    let what = format!("peak RSS in MiB with memory_max = {name}");
    let judged = bounds.judge(what, found, mib(bytes_max));
    println!(
        "| {name} | {outcome} | {:.1} | {found:.0} | {judged} |",
        run.wall.as_secs_f64()
    );
}
