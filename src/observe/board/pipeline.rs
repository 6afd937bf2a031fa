//! The part of the board that belongs to one pipeline.

mod said;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::history::History;
use super::lag::{LagBoard, Standing};
use super::lane::LaneBoard;
use super::letters::Letters;
use super::lock;
use super::sink::SinkBoard;
use super::status::{
    BatchStatus, HaltStatus, LimitsStatus, Moment, PartitionStatus, PipelineState, PipelineStatus,
    Source, TargetStatus, lag_records, uncommitted_records,
};
use super::stuck::{AllStuck, StuckStatus};
use super::targets::TargetBoard;
use super::troubles::Voice;
use crate::halt::Halt;
use crate::limits::Limits;
use crate::observe::clock::Clock;

/// How many acknowledged batches the page shows.
const BATCHES_MAX: usize = 10;
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
    is_created: AtomicBool,
    rows_written: AtomicU64,
    dead_letters: AtomicU64,
    life: Mutex<Life>,
    lanes: Mutex<Vec<Arc<LaneBoard>>>,
    /// Of lanes that have ended.
    left_partitions: Mutex<Vec<PartitionStatus>>,
    voice: Arc<Voice>,
    sinks: Mutex<Vec<Arc<SinkBoard>>>,
    targets: Mutex<Vec<Arc<TargetBoard>>>,
    lag: LagBoard,
    last_error: Mutex<Option<(String, Moment)>>,
    stuck: Mutex<AllStuck>,
    /// What the server last said of each table that is waited for, and when.
    tables: Mutex<HashMap<String, (String, u64)>>,
    letters: Mutex<Letters>,
    batches: Mutex<VecDeque<BatchStatus>>,
    history: Mutex<History>,
    limits: Mutex<Option<Arc<Limits>>>,
}

#[derive(Debug)]
struct Life {
    state: PipelineState,
    reason: Option<String>,
    halt: Option<HaltStatus>,
}

/// What the last life of a pipeline left on its board.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) halt_reason: Option<&'static str>,
    pub(crate) partitions: Vec<PartitionStatus>,
}

impl PipelineBoard {
    pub(super) fn new(name: &str, kind: &str, clock: Arc<dyn Clock>) -> Self {
        let history = History::new(clock.monotonic_ms());
        Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            voice: Voice::new(name, Arc::clone(&clock)),
            clock,
            is_created: AtomicBool::new(false),
            rows_written: AtomicU64::new(0),
            dead_letters: AtomicU64::new(0),
            life: Mutex::new(Life {
                state: PipelineState::Starting,
                reason: None,
                halt: None,
            }),
            lanes: Mutex::default(),
            left_partitions: Mutex::default(),
            sinks: Mutex::default(),
            targets: Mutex::default(),
            lag: LagBoard::default(),
            last_error: Mutex::default(),
            stuck: Mutex::default(),
            tables: Mutex::default(),
            letters: Mutex::default(),
            batches: Mutex::new(VecDeque::with_capacity(BATCHES_MAX)),
            history: Mutex::new(history),
            limits: Mutex::default(),
        }
    }

    /// The pipeline's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it was created over HTTP, and is not one of the configuration file.
    pub fn set_created(&self, is_created: bool) {
        self.is_created.store(is_created, Ordering::Relaxed);
    }

    /// How fast it may read.
    pub(crate) fn set_limits(&self, limits: Arc<Limits>) {
        *lock(&self.limits) = Some(limits);
    }

    fn limits(&self) -> LimitsStatus {
        let limits = lock(&self.limits).clone();
        limits.map_or_else(LimitsStatus::default, |limits| LimitsStatus {
            limits: limits.get(),
            is_holding: limits.is_holding(Instant::now()),
        })
    }

    /// Where the pipeline is in its life.
    pub fn state(&self) -> PipelineState {
        lock(&self.life).state
    }

    /// Moves the pipeline on in its life, with what there is to say about it.
    ///
    /// A halted pipeline stays halted until it starts again, so that a lane that winds down later
    /// does not cover up the reason; the first reason stands. One that drains does not start meanwhile.
    pub fn set_state(&self, state: PipelineState, reason: Option<&str>) {
        let mut life = lock(&self.life);
        let may = match life.state {
            PipelineState::Halted => state == PipelineState::Starting,
            PipelineState::Draining => !matches!(
                state,
                PipelineState::Starting | PipelineState::Running | PipelineState::Paused
            ),
            _ => true,
        };
        if may {
            *life = Life {
                state,
                reason: reason.map(str::to_owned),
                halt: None,
            };
        }
    }

    /// It has ended to protect data.
    pub(crate) fn halted(&self, halt: &Halt) {
        let mut life = lock(&self.life);
        if life.state == PipelineState::Halted {
            return;
        }
        *life = Life {
            state: PipelineState::Halted,
            reason: Some(halt.advice.clone()),
            halt: Some(HaltStatus::of(halt)),
        };
    }

    /// It is started again, whatever it was. What is returned was left of its last life.
    pub(crate) fn begins_again(&self) -> Left {
        let mut life = lock(&self.life);
        let halt = life.halt.take();
        *life = Life {
            state: PipelineState::Starting,
            reason: None,
            halt: None,
        };
        lock(&self.tables).clear();
        Left {
            halt_reason: halt.map(|halt| halt.reason),
            partitions: std::mem::take(&mut *lock(&self.left_partitions)),
        }
    }

    /// Its next life may depend on other systems, and read from another cluster.
    pub(crate) fn reconfigured(&self) {
        lock(&self.sinks).clear();
        lock(&self.targets).clear();
        self.lag.set(BTreeMap::new());
    }

    /// Adds a lane whose loop is about to turn; a lane of the same number is replaced.
    ///
    /// `max_poll_interval` is the consumer's `max.poll.interval.ms`.
    pub fn add_lane(&self, lane: usize, max_poll_interval: Duration) -> Arc<LaneBoard> {
        let clock = Arc::clone(&self.clock);
        let added = Arc::new(LaneBoard::new(lane, max_poll_interval, clock));
        let mut lanes = lock(&self.lanes);
        lanes.retain(|known| known.lane() != lane);
        lanes.push(Arc::clone(&added));
        lanes.sort_by_key(|known| known.lane());
        added
    }

    /// Takes a lane off the board, when its loop has ended. Where its partitions stood last is kept for a
    /// pipeline that halts.
    pub fn remove_lane(&self, lane: usize) {
        let mut lanes = lock(&self.lanes);
        let (gone, rest): (Vec<_>, Vec<_>) = lanes.drain(..).partition(|l| l.lane() == lane);
        *lanes = rest;
        let left = gone.iter().flat_map(|lane| lane.partitions());
        lock(&self.left_partitions).extend(left);
    }

    /// The board of the sink of this name (`clickhouse`), added when it is new.
    pub fn sink(&self, sink: &str) -> Arc<SinkBoard> {
        let mut sinks = lock(&self.sinks);
        if let Some(known) = sinks.iter().find(|known| known.name() == sink) {
            return Arc::clone(known);
        }
        let added = Arc::new(SinkBoard::new(
            sink,
            Arc::clone(&self.clock),
            Arc::clone(&self.voice),
        ));
        sinks.push(Arc::clone(&added));
        added
    }

    /// The board of the system of this name (`clickhouse`, `kafka`, `redis`), added when it is new.
    pub fn target(&self, target: &str) -> Arc<TargetBoard> {
        let mut targets = lock(&self.targets);
        if let Some(known) = targets.iter().find(|known| known.name() == target) {
            return Arc::clone(known);
        }
        let added = Arc::new(TargetBoard::new(
            target,
            Arc::clone(&self.clock),
            Arc::clone(&self.voice),
        ));
        targets.push(Arc::clone(&added));
        added
    }

    /// The systems it depends on, as far as they have been asked. One that serves several sinks is up when it
    /// is for each of them.
    pub(crate) fn targets(&self) -> Vec<TargetStatus> {
        let now_ms = self.clock.monotonic_ms();
        let sinks = self.sinks();
        // Nobody asks for a pipeline that has ended: what was said last stands.
        let is_asked = self.state().is_active();
        let of_sinks = sinks.iter().map(|sink| sink.target(now_ms, is_asked));
        let beside = lock(&self.targets).clone();
        let beside = beside.iter().filter_map(|target| target.status());
        let mut targets: Vec<TargetStatus> = vec![];
        for target in of_sinks.chain(beside) {
            match targets
                .iter_mut()
                .find(|known| known.target == target.target)
            {
                Some(known) if known.up && !target.up => *known = target,
                Some(_) => {}
                None => targets.push(target),
            }
        }
        targets
    }

    /// Where its partitions end, as it is asked beside the lanes.
    pub fn lag(&self) -> &LagBoard {
        &self.lag
    }

    /// The partitions that its lanes read now.
    pub(crate) fn partitions(&self) -> Vec<PartitionStatus> {
        let lanes = self.lanes();
        lanes.iter().flat_map(|lane| lane.partitions()).collect()
    }

    /// The same, and those that the lanes of a halted pipeline read until they ended.
    pub(crate) fn known_partitions(&self) -> Vec<PartitionStatus> {
        let mut partitions = self.partitions();
        if self.state() == PipelineState::Halted {
            partitions.extend(lock(&self.left_partitions).iter().cloned());
        }
        partitions
    }

    /// The same with the ends that were answered beside the lanes.
    fn shown_partitions(&self) -> Vec<PartitionStatus> {
        let mut partitions = self.known_partitions();
        for partition in &mut partitions {
            self.lag.update(partition);
        }
        partitions
    }

    /// Kafka timestamp of the oldest record that is not committed: of those that were read the lanes know
    /// it, of those that wait to be read the broker.
    pub(crate) fn oldest_uncommitted(&self) -> Option<Moment> {
        let mut beside = self.lag.all();
        let partitions = self.partitions();
        let read = partitions.iter().filter_map(|partition| {
            let beside = beside.remove(&(partition.topic.clone(), partition.partition));
            let is_same = |beside: &Standing| {
                partition.position.is_none() || beside.committed == partition.committed
            };
            let waiting = || beside.filter(is_same)?.oldest_ms;
            partition.oldest_ms.or_else(waiting)
        });
        let read: Vec<_> = read.collect();
        // What no lane reads any more, because the pipeline has halted.
        let left = beside.values().filter_map(|standing| standing.oldest_ms);
        read.into_iter().chain(left).min().map(Moment)
    }

    /// When a batch was last acknowledged.
    pub(crate) fn last_written(&self) -> Option<Moment> {
        lock(&self.batches).front().map(|batch| batch.at)
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
        let mut partitions = self.shown_partitions();
        let (rows_per_second_minute, history) = lock(&self.history).status();
        let (dead_letters_by_reason, last_dead_letters) = lock(&self.letters).status();
        let (last_error, last_error_at) = lock(&self.last_error).clone().unzip();
        let (state, reason, halt) = {
            let life = lock(&self.life);
            (life.state, life.reason.clone(), life.halt.clone())
        };
        let limits = self.limits();
        let reason = reason.or_else(|| limits.reason().filter(|_| state == PipelineState::Running));
        partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        PipelineStatus {
            name: self.name.clone(),
            kind: self.kind.clone(),
            source: Source::of(self.is_created.load(Ordering::Relaxed)),
            state,
            reason,
            halt,
            limits,
            partitions,
            rows_written: self.rows_written.load(Ordering::Relaxed),
            dead_letters: self.dead_letters.load(Ordering::Relaxed),
            dead_letters_by_reason,
            last_dead_letters,
            targets: self.targets(),
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
            oldest_uncommitted: self.oldest_uncommitted(),
            rows_per_second_minute,
            history,
        }
    }

    /// Takes a sample for rates and history, and has the log say what is due.
    pub(super) fn sample(&self) {
        let now = (Moment(self.clock.unix_ms()), self.clock.monotonic_ms());
        let rows_written = self.rows_written.load(Ordering::Relaxed);
        self.say_due();
        // Partitions are looked at once in ten seconds.
        let is_due = lock(&self.history).note_rows(rows_written, now.1);
        if is_due {
            let partitions = self.shown_partitions();
            let lags = (lag_records(&partitions), uncommitted_records(&partitions));
            lock(&self.history).add(lags, rows_written, now);
        }
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

pub(super) fn shortened(error: &str) -> String {
    match error.char_indices().nth(ERROR_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &error[..end]),
        None => error.to_owned(),
    }
}
