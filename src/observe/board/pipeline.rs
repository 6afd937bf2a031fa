//! The part of the board that belongs to one pipeline, and those of its lanes and sinks.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::lock;
use super::status::{
    BatchStatus, LaneStatus, Moment, PartitionStatus, PipelineState, PipelineStatus, SinkStatus,
};
use super::stuck::{AllStuck, Place, StuckStatus};
use crate::observe::clock::Clock;

/// How many acknowledged batches the page shows.
const BATCHES_MAX: usize = 10;
/// How many samples of the rate the page shows, about one a second.
const RATES_MAX: usize = 90;
/// Samples closer than this are left out.
const RATE_INTERVAL_MIN_MS: u64 = 500;
/// Longer error texts are cut: an answer of a server can be a page of its own.
const ERROR_CHARACTERS_MAX: usize = 1_000;
/// What a server said of a table is why something waits for it, for so long.
const TROUBLE_FRESH_MS: u64 = 60_000;

/// What is shown of one pipeline. Shared by its lanes and sinks.
#[derive(Debug)]
pub struct PipelineBoard {
    name: String,
    kind: String,
    clock: Arc<dyn Clock>,
    rows_written: AtomicU64,
    dead_letters: AtomicU64,
    life: Mutex<Life>,
    lanes: Mutex<Vec<Arc<LaneBoard>>>,
    sinks: Mutex<Vec<Arc<SinkBoard>>>,
    last_error: Mutex<Option<(String, Moment)>>,
    stuck: Mutex<AllStuck>,
    /// What the server last said of each table that is waited for, and when.
    tables: Mutex<HashMap<String, (String, u64)>>,
    batches: Mutex<VecDeque<BatchStatus>>,
    rates: Mutex<Rates>,
}

#[derive(Debug)]
struct Life {
    state: PipelineState,
    reason: Option<String>,
}

#[derive(Debug)]
struct Rates {
    sampled_ms: u64,
    rows_written: u64,
    rows_per_second: VecDeque<f64>,
}

impl PipelineBoard {
    pub(super) fn new(name: &str, kind: &str, clock: Arc<dyn Clock>) -> Self {
        let rates = Rates {
            sampled_ms: clock.monotonic_ms(),
            rows_written: 0,
            rows_per_second: VecDeque::with_capacity(RATES_MAX),
        };
        Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            clock,
            rows_written: AtomicU64::new(0),
            dead_letters: AtomicU64::new(0),
            life: Mutex::new(Life {
                state: PipelineState::Starting,
                reason: None,
            }),
            lanes: Mutex::default(),
            sinks: Mutex::default(),
            last_error: Mutex::default(),
            stuck: Mutex::default(),
            tables: Mutex::default(),
            batches: Mutex::new(VecDeque::with_capacity(BATCHES_MAX)),
            rates: Mutex::new(rates),
        }
    }

    /// The pipeline's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the pipeline is in its life.
    pub fn state(&self) -> PipelineState {
        lock(&self.life).state
    }

    /// Moves the pipeline on in its life, with what there is to say about it.
    ///
    /// A halted pipeline stays halted until it starts again, so that a lane that winds down later
    /// does not cover up the reason; the first reason stands.
    pub fn set_state(&self, state: PipelineState, reason: Option<&str>) {
        let mut life = lock(&self.life);
        if life.state == PipelineState::Halted && state != PipelineState::Starting {
            return;
        }
        *life = Life {
            state,
            reason: reason.map(str::to_owned),
        };
    }

    /// Adds a lane whose loop is about to turn; a lane of the same number is replaced.
    ///
    /// `max_poll_interval` is the consumer's `max.poll.interval.ms`.
    pub fn add_lane(&self, lane: usize, max_poll_interval: Duration) -> Arc<LaneBoard> {
        let added = Arc::new(LaneBoard {
            lane,
            max_poll_interval_ms: max_poll_interval.as_millis() as u64,
            clock: Arc::clone(&self.clock),
            turned_ms: AtomicU64::new(self.clock.monotonic_ms()),
            joined: AtomicBool::new(false),
            partitions: Mutex::default(),
            missing_topics: Mutex::default(),
        });
        let mut lanes = lock(&self.lanes);
        lanes.retain(|known| known.lane != lane);
        lanes.push(Arc::clone(&added));
        lanes.sort_by_key(|known| known.lane);
        added
    }

    /// Takes a lane off the board, when its loop has ended.
    pub fn remove_lane(&self, lane: usize) {
        lock(&self.lanes).retain(|known| known.lane != lane);
    }

    /// The board of the sink of this name (`clickhouse`), added when it is new.
    pub fn sink(&self, sink: &str) -> Arc<SinkBoard> {
        let mut sinks = lock(&self.sinks);
        if let Some(known) = sinks.iter().find(|known| known.sink == sink) {
            return Arc::clone(known);
        }
        let added = Arc::new(SinkBoard {
            sink: sink.to_owned(),
            clock: Arc::clone(&self.clock),
            answered: Mutex::default(),
        });
        sinks.push(Arc::clone(&added));
        added
    }

    /// Counts and shows a batch that was acknowledged after `took`.
    pub fn batch_written(&self, table: &str, rows: u64, bytes: u64, took: Duration) {
        self.rows_written.fetch_add(rows, Ordering::Relaxed);
        let batch = BatchStatus {
            table: table.to_owned(),
            rows,
            bytes,
            seconds: took.as_secs_f64(),
            at: Moment(self.clock.unix_ms()),
        };
        let mut batches = lock(&self.batches);
        batches.truncate(BATCHES_MAX - 1);
        batches.push_front(batch);
    }

    /// Counts records kept as dead letters.
    pub fn dead_letters_written(&self, records: u64) {
        self.dead_letters.fetch_add(records, Ordering::Relaxed);
    }

    /// Shows an error; the newest stands.
    pub fn error(&self, error: &str) {
        *lock(&self.last_error) = Some((shortened(error), Moment(self.clock.unix_ms())));
    }

    /// Something failed, or still does not get on. The log has it the first time, and then once a minute.
    pub fn stuck(&self, place: &Place<'_>, why: &str) {
        let now = (Moment(self.clock.unix_ms()), self.clock.monotonic_ms());
        let said = lock(&self.stuck).failed(place, shortened(why), now);
        let Some(said) = said else { return };
        tracing::warn!(
            pipeline = self.name,
            topic = place.topic,
            partition = place.partition,
            range = place.range,
            since_s = said.seconds,
            count = said.count,
            error = why,
            "{}",
            place.undone.as_str(),
        );
    }

    /// Takes [`PipelineBoard::stuck`] back, because it has been done.
    pub fn got_on(&self, place: &Place<'_>) {
        let said = lock(&self.stuck).got_on(place, self.clock.monotonic_ms());
        let Some(said) = said else { return };
        tracing::info!(
            pipeline = self.name,
            topic = place.topic,
            partition = place.partition,
            range = place.range,
            count = said.count,
            "{}: recovered after {} s",
            place.undone.as_str(),
            said.seconds,
        );
    }

    /// The partition is not this process's any more, or is read anew.
    pub fn partition_gone(&self, topic: &str, partition: i32) {
        lock(&self.stuck).gone(topic, partition);
    }

    /// No lane of this process asks for the topic any more.
    pub fn topic_gone(&self, topic: &str) {
        lock(&self.stuck).topic_gone(topic);
    }

    /// Since how many seconds something of the partition, or its topic, does not get on; 0: all does.
    pub fn stuck_seconds(&self, topic: &str, partition: i32) -> u64 {
        let now_ms = self.clock.monotonic_ms();
        lock(&self.stuck).seconds(topic, partition, now_ms)
    }

    /// Whether it is said of a range of the partition why it is not written.
    pub fn is_not_written(&self, topic: &str, partition: i32) -> bool {
        lock(&self.stuck).has_range(topic, partition)
    }

    /// What does not get on, the longest first.
    pub fn all_stuck(&self) -> Vec<StuckStatus> {
        lock(&self.stuck).status(self.clock.monotonic_ms())
    }

    /// A statement about a table failed and is repeated.
    pub fn table_failed(&self, table: &str, why: &str) {
        self.error(&format!("{table}: {why}"));
        let failed = (shortened(why), self.clock.monotonic_ms());
        lock(&self.tables).insert(table.to_owned(), failed);
    }

    /// What the server said of a table within the last minute.
    pub fn table_trouble(&self, table: &str) -> Option<String> {
        let now_ms = self.clock.monotonic_ms();
        let tables = lock(&self.tables);
        let (why, at_ms) = tables.get(table)?;
        (now_ms < at_ms + TROUBLE_FRESH_MS).then(|| why.clone())
    }

    /// The state of the pipeline, as `/api/v1/streaming/{name}` shows it.
    pub fn status(&self) -> PipelineStatus {
        let now_ms = self.clock.monotonic_ms();
        let lanes = self.lanes();
        let mut partitions: Vec<_> = lanes
            .iter()
            .flat_map(|lane| lock(&lane.partitions).clone())
            .collect();
        partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        let (last_error, last_error_at) = lock(&self.last_error).clone().unzip();
        let (state, reason) = {
            let life = lock(&self.life);
            (life.state, life.reason.clone())
        };
        PipelineStatus {
            name: self.name.clone(),
            kind: self.kind.clone(),
            state,
            reason,
            partitions,
            rows_written: self.rows_written.load(Ordering::Relaxed),
            dead_letters: self.dead_letters.load(Ordering::Relaxed),
            last_error,
            last_error_at,
            stuck: self.all_stuck(),
            lanes: lanes.iter().map(|lane| lane.status(now_ms)).collect(),
            sinks: self
                .sinks()
                .iter()
                .map(|sink| sink.status(now_ms))
                .collect(),
            batches: lock(&self.batches).iter().cloned().collect(),
            rows_per_second: lock(&self.rates).rows_per_second.iter().copied().collect(),
        }
    }

    pub(super) fn sample_rate(&self) {
        let now_ms = self.clock.monotonic_ms();
        let rows_written = self.rows_written.load(Ordering::Relaxed);
        let mut rates = lock(&self.rates);
        let elapsed_ms = now_ms.saturating_sub(rates.sampled_ms);
        if elapsed_ms < RATE_INTERVAL_MIN_MS {
            return;
        }
        let rows = rows_written.saturating_sub(rates.rows_written);
        if rates.rows_per_second.len() == RATES_MAX {
            rates.rows_per_second.pop_front();
        }
        rates
            .rows_per_second
            .push_back(rows as f64 * 1_000.0 / elapsed_ms as f64);
        rates.rows_written = rows_written;
        rates.sampled_ms = now_ms;
    }

    pub(super) fn lanes(&self) -> Vec<Arc<LaneBoard>> {
        lock(&self.lanes).clone()
    }

    pub(super) fn sinks(&self) -> Vec<Arc<SinkBoard>> {
        lock(&self.sinks).clone()
    }

    pub(super) fn reason(&self) -> Option<String> {
        lock(&self.life).reason.clone()
    }
}

fn shortened(error: &str) -> String {
    match error.char_indices().nth(ERROR_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &error[..end]),
        None => error.to_owned(),
    }
}

/// What is shown of one lane. Only the lane itself writes.
#[derive(Debug)]
pub struct LaneBoard {
    lane: usize,
    max_poll_interval_ms: u64,
    clock: Arc<dyn Clock>,
    turned_ms: AtomicU64,
    joined: AtomicBool,
    partitions: Mutex<Vec<PartitionStatus>>,
    missing_topics: Mutex<Vec<String>>,
}

impl LaneBoard {
    /// The loop has turned once more. One clock reading and one store.
    pub fn turned(&self) {
        self.turned_ms
            .store(self.clock.monotonic_ms(), Ordering::Relaxed);
    }

    /// Whether the consumer belongs to its group: set by an assignment, an empty one included,
    /// taken back when the membership is lost. A revocation within a rebalance takes nothing back.
    pub fn set_joined(&self, joined: bool) {
        self.joined.store(joined, Ordering::Relaxed);
    }

    /// Replaces the lane's partitions. About once a second and after a rebalance.
    pub fn set_partitions(&self, partitions: Vec<PartitionStatus>) {
        *lock(&self.partitions) = partitions;
    }

    /// Replaces the names of topics that the lane is to read and that do not exist.
    pub fn set_missing_topics(&self, topics: Vec<String>) {
        *lock(&self.missing_topics) = topics;
    }

    pub(super) fn missing_topics(&self) -> Vec<String> {
        lock(&self.missing_topics).clone()
    }

    fn status(&self, now_ms: u64) -> LaneStatus {
        LaneStatus {
            lane: self.lane,
            turned_ms_ago: self.turned_ms_ago(now_ms),
            joined: self.has_joined(),
        }
    }

    pub(super) fn lane(&self) -> usize {
        self.lane
    }

    pub(crate) fn has_joined(&self) -> bool {
        self.joined.load(Ordering::Relaxed)
    }

    pub(super) fn is_stuck(&self, now_ms: u64) -> bool {
        self.turned_ms_ago(now_ms) > self.max_poll_interval_ms
    }

    pub(super) fn turned_ms_ago(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.turned_ms.load(Ordering::Relaxed))
    }
}

/// What is shown of one sink.
#[derive(Debug)]
pub struct SinkBoard {
    sink: String,
    clock: Arc<dyn Clock>,
    answered: Mutex<Option<u64>>,
}

impl SinkBoard {
    /// The sink has acknowledged something: an insert, a produce, or the probe that is sent while
    /// there is nothing to write. An error is no answer.
    pub fn answered(&self) {
        *lock(&self.answered) = Some(self.clock.monotonic_ms());
    }

    fn status(&self, now_ms: u64) -> SinkStatus {
        SinkStatus {
            sink: self.sink.clone(),
            answered_ms_ago: self.answered_ms_ago(now_ms),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.sink
    }

    pub(super) fn answered_ms_ago(&self, now_ms: u64) -> Option<u64> {
        lock(&self.answered).map(|answered_ms| now_ms.saturating_sub(answered_ms))
    }
}
