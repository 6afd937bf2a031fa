//! Events that keep coming while daemons live and die.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sandbox::generate::{Events, Poison, ProfileEncoding, load_profiles};
use sandbox::topic::{self, Record};
use sandbox::wait;

use super::{Job, PATIENCE, TO_THE_END};

/// Every so many events one can never be written.
const POISON_EVERY: u64 = 97;
/// Every so many events one comes late.
const LATE_EVERY: u64 = 13;
/// Users who never rest: what a daemon forgets of their sessions shows in every later row.
const BUSY_USERS: u64 = 20;
/// Users whose sessions begin and end while a test runs.
const USERS: u64 = 3_000;
/// Users from 1 to here have a profile.
const USERS_WITH_PROFILE: u64 = 2_000;
/// What a poisoned record is refused for stands in this header of it.
pub const POISON_HEADER: &str = "poison";
const BURST: u64 = 10;

/// A producer in the background; it ends when dropped.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
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

    /// Sessions of some users end while a test runs.
    pub fn set_short_sessions(&mut self) {
        self.set("pipeline.session.timeout", "3s");
        self.set("pipeline.session.duration_max", "24h");
        self.set("pipeline.watermark_delay", "1s");
    }

    /// Puts the users' profiles where the configuration looks for them.
    pub fn load_profiles(&self) {
        let prefix = self.text("pipeline.lookup.key_prefix");
        let (url, users) = (self.text("redis.url"), USERS_WITH_PROFILE);
        load_profiles(url, prefix, users, ProfileEncoding::Json).expect("profiles");
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

    /// Waits until everything in the topic is written and committed, and nothing comes any more.
    pub fn wait_for_commits_to_end(&self) {
        let what = "everything is committed";
        self.wait_for_commits_to(what, || self.end_offsets(), |offset, end| offset == end);
    }

    /// Waits until all that stands in the topic now is written and committed.
    pub fn wait_for_commits_past_now(&self) {
        let now = self.end_offsets().expect("the topic answers");
        let what = "everything that stood in the topic is committed";
        self.wait_for_commits_to(what, || Some(now.clone()), |offset, end| offset >= end);
    }

    fn end_offsets(&self) -> Option<BTreeMap<i32, i64>> {
        topic::end_offsets(self.bootstrap(), &self.topic).ok()
    }

    fn wait_for_commits_to(
        &self,
        what: &str,
        ends: impl Fn() -> Option<BTreeMap<i32, i64>>,
        is_reached: impl Fn(i64, i64) -> bool,
    ) {
        let is_done = || {
            let committed = self.committed();
            let reached = |(p, end): (&i32, &i64)| {
                let committed = committed.get(p);
                committed.is_some_and(|c| is_reached(c.offset, *end))
            };
            ends()?.iter().all(reached).then_some(())
        };
        wait::until(what, TO_THE_END, is_done)
            .unwrap_or_else(|e| panic!("{e}: {:?} {:?}", ends(), self.committed()));
    }
}

impl Traffic {
    /// Single events, some of them poisoned and some late, until told to end.
    pub fn start(job: &Job, partitions: i32, events_per_second: u64) -> Traffic {
        let pause = Duration::from_secs(1) * u32::try_from(BURST).expect("small")
            / u32::try_from(events_per_second).expect("small");
        let (bootstrap, topic) = (job.bootstrap.clone(), job.topic.clone());
        Traffic::of(move |stop| {
            let mut source = Source::new(7, partitions);
            let records = (0u64..)
                .take_while(|number| {
                    if number % BURST == 0 {
                        std::thread::sleep(pause);
                    }
                    !stop.load(Ordering::Relaxed)
                })
                .map(|number| source.record(number));
            topic::produce(&bootstrap, &topic, records).expect("every record is acknowledged")
        })
    }

    /// Transactions, every third aborted, until told to end; the last one is aborted.
    pub fn start_transactions(job: &Job, partitions: i32) -> Traffic {
        let (bootstrap, topic) = (job.bootstrap.clone(), job.topic.clone());
        Traffic::of(move |stop| {
            let mut source = Source::new(8, partitions);
            let mut committed = 0;
            for number in 0u64.. {
                let is_last = stop.load(Ordering::Relaxed);
                let commits = !is_last && number % 3 != 2;
                let records: Vec<_> = (0..60).map(|i| source.record(number * 60 + i)).collect();
                let sent = topic::produce_transaction(&bootstrap, &topic, records, commits)
                    .expect("the transaction ends");
                committed += if commits { sent } else { 0 };
                if is_last {
                    break;
                }
            }
            committed
        })
    }

    /// Whatever this produces until told to end; it returns how many records that were.
    pub fn of(produce: impl FnOnce(&AtomicBool) -> u64 + Send + 'static) -> Traffic {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = Some(std::thread::spawn(move || produce(&told)));
        Traffic { stop, thread }
    }

    /// Ends it; how many records were acknowledged (and not aborted).
    pub fn finish(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is ended once");
        thread.join().expect("the producer does not panic")
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The records of one producer.
pub struct Source {
    busy: Events,
    occasional: Events,
    partitions: u64,
}

impl Source {
    /// The same seed makes the same records, but for their times.
    pub fn new(seed: u64, partitions: i32) -> Source {
        Source {
            busy: Events::new(seed, BUSY_USERS),
            occasional: Events::new(seed + 1_000, USERS),
            partitions: u64::try_from(partitions).expect("at least one"),
        }
    }

    /// Record `number`, of this moment or somewhat earlier.
    pub fn record(&mut self, number: u64) -> Record {
        let late_by_seconds = if number.is_multiple_of(LATE_EVERY) {
            number % 7
        } else {
            0
        };
        let late_by_ms = i64::try_from(late_by_seconds * 1_000).expect("small");
        self.record_at(number, now_ms() - late_by_ms)
    }

    /// Record `number` with this event time.
    pub fn record_at(&mut self, number: u64, time_ms: i64) -> Record {
        let partition = i32::try_from(number % self.partitions).expect("fits");
        let is_busy = (number / self.partitions).is_multiple_of(2);
        let events = if is_busy {
            &mut self.busy
        } else {
            &mut self.occasional
        };
        let is_poisoned = number % POISON_EVERY == POISON_EVERY - 1;
        if is_poisoned {
            let kind = Poison::nth(number / POISON_EVERY);
            let (_, text) = events.next_poisoned(time_ms, kind);
            return Record::new(text)
                .partition(partition)
                .header(POISON_HEADER, kind.reason());
        }
        let (_, text) = events.next(time_ms);
        Record::new(text).partition(partition)
    }
}

fn now_ms() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("it is after 1970");
    i64::try_from(now.as_millis()).expect("it is before the year 292 million")
}
