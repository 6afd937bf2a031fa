//! Events that keep coming while daemons live and die, and the proof that each arrived once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sandbox::generate::{Events, Poison};
use sandbox::topic::{self, Record};
use sandbox::{shared, wait};

use super::{Job, PATIENCE};

/// Every so many events one can never be written.
const POISON_EVERY: u64 = 97;
/// Users of the events, from 1 on.
pub const USERS: u64 = 50;
const POISON_HEADER: &str = "poison";
const BURST: u64 = 10;
const SHOWN: usize = 10;

/// Partition and offset of a record.
type Place = (i32, i64);

/// The original's value and why it was refused.
type Letter = (Vec<u8>, String);

/// A producer in the background.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Job {
    /// A job whose batches are small and whose group soon misses a member that is gone; its tables
    /// and its topic are there.
    pub fn small_batches(name: &str, partitions: i32) -> Job {
        let mut job = Job::new(name);
        job.set_small_batches();
        job.apply_schema();
        job.create_topic(partitions);
        job
    }

    pub fn set_small_batches(&mut self) {
        self.set("pipeline.batch.rows_max", 200);
        self.set("pipeline.batch.flush_interval", "100ms");
        self.set("kafka.properties.session.timeout.ms", 2_000);
        self.set("kafka.properties.heartbeat.interval.ms", 300);
        self.set("pipeline.state.interval", "1s");
    }

    pub fn row_count(&self) -> u64 {
        let count = self.query("SELECT count() FROM {db}.clickstream_events");
        count.parse().expect("a number")
    }

    /// Waits until this many more rows are in the table.
    pub fn wait_for_more_rows(&self, more: u64) {
        let wanted = self.row_count() + more;
        let what = format!("{wanted} rows are in the table");
        wait::until(&what, PATIENCE, || {
            (self.row_count() >= wanted).then_some(())
        })
        .unwrap_or_else(|e| panic!("{e}: {}", self.row_count()));
    }

    /// Waits until everything in the topic is written and committed.
    pub fn wait_for_commits_to_end(&self) {
        let is_done = || {
            let ends = topic::end_offsets(self.bootstrap(), &self.topic).ok()?;
            let committed = self.committed();
            let reached =
                |(p, end): (&i32, &i64)| committed.get(p).is_some_and(|c| c.offset == *end);
            ends.iter().all(reached).then_some(())
        };
        wait::until("everything is committed", PATIENCE, is_done)
            .unwrap_or_else(|e| panic!("{e}: {:?}", self.committed()));
    }
}

impl Traffic {
    /// Single events, some of them poisoned, until told to end.
    pub fn start(job: &Job, partitions: i32, events_per_second: u64) -> Traffic {
        let pause = Duration::from_secs(1) * u32::try_from(BURST).expect("small")
            / u32::try_from(events_per_second).expect("small");
        let topic = job.topic.clone();
        Traffic::of(move |stop| {
            let mut events = Events::new(7, USERS);
            let records = (0u64..)
                .take_while(|number| {
                    if number % BURST == 0 {
                        std::thread::sleep(pause);
                    }
                    !stop.load(Ordering::Relaxed)
                })
                .map(|number| record(&mut events, number, partitions));
            topic::produce(shared().kafka.bootstrap(), &topic, records)
                .expect("every record is acknowledged")
        })
    }

    /// Transactions, every third aborted, until told to end; the last one is aborted.
    pub fn start_transactions(job: &Job, partitions: i32) -> Traffic {
        let topic = job.topic.clone();
        Traffic::of(move |stop| {
            let mut events = Events::new(8, USERS);
            let mut committed = 0;
            for number in 0u64.. {
                let is_last = stop.load(Ordering::Relaxed);
                let commits = !is_last && number % 3 != 2;
                let records: Vec<_> = (0..60)
                    .map(|i| record(&mut events, number * 60 + i, partitions))
                    .collect();
                let bootstrap = shared().kafka.bootstrap();
                let sent = topic::produce_transaction(bootstrap, &topic, records, commits)
                    .expect("the transaction ends");
                committed += if commits { sent } else { 0 };
                if is_last {
                    break;
                }
            }
            committed
        })
    }

    fn of(produce: impl FnOnce(&AtomicBool) -> u64 + Send + 'static) -> Traffic {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || produce(&told));
        Traffic { stop, thread }
    }

    /// Ends it; how many records were acknowledged (and not aborted).
    pub fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the producer does not panic")
    }
}

fn record(events: &mut Events, number: u64, partitions: i32) -> Record {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("it is after 1970");
    let now_ms = i64::try_from(now.as_millis()).expect("it is before the year 292 million");
    let partitions = u64::try_from(partitions).expect("at least one");
    let partition = i32::try_from(number % partitions).expect("fits");
    let is_poisoned = number % POISON_EVERY == POISON_EVERY - 1;
    if is_poisoned {
        let kind = Poison::nth(number / POISON_EVERY);
        let (_, text) = events.next_poisoned(now_ms, kind);
        return Record::new(text)
            .partition(partition)
            .header(POISON_HEADER, "1");
    }
    let (_, text) = events.next(now_ms);
    Record::new(text).partition(partition)
}

/// Every one of the `produced` records is one row or a dead letter, nothing else is in the table,
/// and everything is committed.
pub fn assert_exactly_once(job: &Job, produced: u64) {
    exactly_once(job, produced).unwrap_or_else(|violation| panic!("{}: {violation}", job.topic));
    job.assert_committed_to_end();
}

/// See [`assert_exactly_once`]; the error tells what is wrong with the rows and dead letters.
pub fn exactly_once(job: &Job, produced: u64) -> Result<(), String> {
    let records = topic::read_all(job.bootstrap(), &job.topic).expect("the topic is readable");
    if records.len() as u64 != produced {
        return Err(format!(
            "{} of {produced} records are in the topic",
            records.len()
        ));
    }
    let mut expected_rows = BTreeMap::new();
    let mut expected_letters = BTreeMap::new();
    for record in records {
        let place = (record.partition, record.offset);
        let value = record.value.clone().expect("no tombstones here");
        if record.header(POISON_HEADER).is_some() {
            expected_letters.insert(place, value);
        } else {
            let event: serde_json::Value = serde_json::from_slice(&value).expect("an event");
            let id = event["event_id"].as_str().expect("an id").to_owned();
            expected_rows.insert(place, id);
        }
    }
    let (rows, doubled) = rows(job);
    let letters = dead_letters(job);
    report("doubled", doubled.iter())?;
    let wrongly = letters
        .iter()
        .filter(|(place, _)| expected_rows.contains_key(place));
    report(
        "dead-lettered without reason",
        wrongly.map(|(place, letter)| (place, &letter.1)),
    )?;
    let letters = letters
        .into_iter()
        .map(|(place, letter)| (place, letter.0))
        .collect();
    compare("row", &expected_rows, &rows)?;
    compare("dead letter", &expected_letters, &letters)
}

/// Every row's place and event, and the places that have more than one.
fn rows(job: &Job) -> (BTreeMap<Place, String>, BTreeSet<Place>) {
    let sql = format!(
        "SELECT _partition, _offset, event_id FROM {{db}}.clickstream_events \
         WHERE _topic = '{}' ORDER BY 1, 2",
        job.topic
    );
    let text = job.query(&sql);
    let (mut rows, mut doubled) = (BTreeMap::new(), BTreeSet::new());
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [partition, offset, id] = fields[..] else {
            panic!("not a row: {line}")
        };
        let place = (
            partition.parse().expect("a partition"),
            offset.parse().expect("an offset"),
        );
        if rows.insert(place, id.to_owned()).is_some() {
            doubled.insert(place);
        }
    }
    assert_eq!(
        job.row_count(),
        text.lines().count() as u64,
        "rows of another topic are in the table"
    );
    (rows, doubled)
}

/// Original value and reason, by the place of the original: a dead letter may come twice.
fn dead_letters(job: &Job) -> BTreeMap<Place, Letter> {
    let letters = topic::read_all(job.bootstrap(), &job.dead_letter_topic).expect("dead letters");
    letters
        .into_iter()
        .map(|letter| {
            let header = |name: &str| letter.header(&format!("streamweir-{name}")).expect("named");
            assert_eq!(header("topic"), job.topic);
            let place = (
                header("partition").parse().expect("a partition"),
                header("offset").parse().expect("an offset"),
            );
            let value = letter.value.clone().expect("the original value");
            (
                place,
                (value, format!("{}: {}", header("reason"), header("detail"))),
            )
        })
        .collect()
}

fn compare<V: PartialEq>(
    what: &str,
    expected: &BTreeMap<Place, V>,
    found: &BTreeMap<Place, V>,
) -> Result<(), String> {
    let missing = expected.keys().filter(|place| !found.contains_key(place));
    report(&format!("{what} missing"), missing)?;
    let strange = found.keys().filter(|place| !expected.contains_key(place));
    report(&format!("{what} nobody produced"), strange)?;
    let differing = found.iter().filter(|(place, v)| expected[*place] != **v);
    report(&format!("{what} of another record"), differing.map(|d| d.0))
}

fn report<T: Debug>(what: &str, places: impl Iterator<Item = T>) -> Result<(), String> {
    let places: Vec<T> = places.collect();
    if places.is_empty() {
        return Ok(());
    }
    let first = &places[..places.len().min(SHOWN)];
    Err(format!(
        "{} times {what}, first (partition, offset): {first:?}",
        places.len()
    ))
}
