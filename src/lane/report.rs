//! What the lane reports of itself, about once a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::operator::Operator;
use super::ownership::Ownership;
use super::{Lane, REPORT_INTERVAL};
use crate::clock::wall_ms;
use crate::halt::Halt;
use crate::memory::{MemoryBudget, MemoryHold, MemoryPart};
use crate::observe::board::PartitionStatus;
use crate::source::TopicPartition;

/// A watermark further ahead of the wall clock than this is reported.
const AHEAD_SECONDS_MAX: u64 = 3600;

/// How often partitions are counted, and how long the lane waits for the answer.
const PARTITIONS_INTERVAL: Duration = Duration::from_secs(5);
const PARTITIONS_TIMEOUT: Duration = Duration::from_millis(500);

/// How often at most the log says so.
const AHEAD_SAID_INTERVAL: Duration = Duration::from_secs(60);

fn ahead_seconds(watermark_ms: i64, wall_ms: i64) -> u64 {
    u64::try_from(watermark_ms.saturating_sub(wall_ms)).unwrap_or(0) / 1000
}

/// A partition that has not begun.
fn unknown(partition: &TopicPartition) -> PartitionStatus {
    PartitionStatus::new(&partition.topic, partition.partition, -1, -1, -1)
}

fn has(statuses: &[PartitionStatus], one: &PartitionStatus) -> bool {
    let place = |status: &PartitionStatus| (status.topic.clone(), status.partition);
    statuses.iter().any(|status| place(status) == place(one))
}

/// What the lane has said, and when.
#[derive(Debug)]
pub(super) struct Reporting {
    pub(super) holds: Holds,
    last_report: Instant,
    pub(super) last_group_check: Option<Instant>,
    last_sink_check: Option<Instant>,
    /// When the partitions of a topic were last counted, where their number matters.
    partitions_counted_at: Instant,
    /// When it was last said that a watermark is ahead of the wall clock.
    ahead_said_at: Option<Instant>,
    /// Since when nothing was taken in, and why, as the metric has it.
    paused_since: Option<(Instant, &'static str)>,
    /// The same since the reason has been another one.
    pub(super) pausing: Option<(Instant, &'static str)>,
    /// Topics that the page reports as not confirmed.
    pub(super) topics_said: Vec<String>,
}

impl Reporting {
    pub(super) fn new(memory: &Arc<MemoryBudget>) -> Self {
        Reporting {
            holds: Holds::new(memory),
            last_report: Instant::now(),
            last_group_check: None,
            last_sink_check: None,
            partitions_counted_at: Instant::now(),
            ahead_said_at: None,
            paused_since: None,
            pausing: None,
            topics_said: vec![],
        }
    }
}

/// The lane's own share of the process's memory.
#[derive(Debug)]
pub(super) struct Holds {
    pub(super) batches: MemoryHold,
    pub(super) queue: MemoryHold,
    cache: MemoryHold,
    state: MemoryHold,
    pub(super) stuck: MemoryHold,
    state_bytes: usize,
}

impl Holds {
    fn new(budget: &Arc<MemoryBudget>) -> Self {
        let hold = |part| MemoryHold::new(budget, part, 0);
        Holds {
            batches: hold(MemoryPart::Batches),
            queue: hold(MemoryPart::Queue),
            cache: hold(MemoryPart::Cache),
            state: hold(MemoryPart::State),
            stuck: hold(MemoryPart::Stuck),
            state_bytes: 0,
        }
    }
}

impl<O: Operator> Lane<O> {
    /// Publishes positions, lag and memory; asks the sink whether it is there.
    pub(super) fn report(&mut self, now: Instant) {
        if now < self.reporting.last_report + REPORT_INTERVAL {
            return;
        }
        self.reporting.last_report = now;
        for own in &mut self.owned {
            if let Some(snapshots) = self.operator.snapshots() {
                snapshots.sweep(&mut own.state);
            }
        }
        self.count_memory();
        self.count_partitions(now);
        let (interval, _) = self.context.shared.paces.slowest();
        self.context
            .metrics
            .flush_interval_effective
            .set(interval.as_secs_f64());
        let statuses = self.show_partitions();
        self.say_ahead(&statuses, now);
        self.say_stuck(now);
        if self.context.number == 0 {
            self.context.shared.note_stretch();
            self.check_sink(now);
        }
    }

    /// Shows where the partitions stand that are read, and which ones have not begun.
    pub(super) fn show_partitions(&mut self) -> Vec<PartitionStatus> {
        let oldest = |own: &mut Ownership<_>| {
            let commits = &mut own.commits;
            commits.ages.oldest_ms(commits.position.unwrap_or(0))
        };
        let oldest: Vec<_> = self.owned.iter_mut().map(oldest).collect();
        let statuses = self.owned.iter().zip(oldest);
        let mut statuses: Vec<_> = statuses
            .map(|(own, oldest_ms)| self.report_partition(own).with_oldest(oldest_ms))
            .collect();
        let unbegun = self.group.assigning.partitions().map(unknown);
        let unbegun: Vec<_> = unbegun.filter(|u| !has(&statuses, u)).collect();
        statuses.extend(unbegun);
        self.context.board.set_partitions(statuses.clone());
        statuses
    }

    /// The same before the lane halts, with the partition that it halts for, which may be neither.
    pub(super) fn show_last_partitions(&mut self) {
        let before = self.context.board.partitions();
        let mut statuses = self.show_partitions();
        let missing: Vec<_> = before.into_iter().filter(|b| !has(&statuses, b)).collect();
        statuses.extend(missing);
        self.context.board.set_partitions(statuses);
    }

    fn report_partition(&self, own: &Ownership<O::Partition>) -> PartitionStatus {
        let partition = &own.partition;
        let end = self
            .consumer()
            .known_end(partition)
            .unwrap_or(own.reading.next)
            .max(own.reading.next)
            .max(self.answered_end(partition));
        let committed = own.commits.position.unwrap_or(-1);
        let lag = end - own.reading.next;
        own.metrics.lag_records.set(lag as f64);
        own.metrics
            .commit_lag_records
            .set((end - own.commits.committed()) as f64);
        let behind_ms = match own.reading.last_timestamp_ms {
            _ if lag == 0 => 0,
            -1 => 0,
            timestamp_ms => (wall_ms() - timestamp_ms).max(0),
        };
        own.metrics.lag_seconds.set(behind_ms as f64 / 1000.0);
        let watermark_ms = self.watermark_ms(own);
        let ahead_seconds = watermark_ms.map(|watermark_ms| ahead_seconds(watermark_ms, wall_ms()));
        if let Some((watermark_ms, ahead_seconds)) = watermark_ms.zip(ahead_seconds) {
            own.metrics.watermark.set(watermark_ms as f64 / 1000.0);
            own.metrics.watermark_ahead.set(ahead_seconds as f64);
        }
        PartitionStatus::new(
            &partition.topic,
            partition.partition,
            own.reading.next,
            committed,
            end,
        )
        .with_watermark_ahead(ahead_seconds.filter(|seconds| *seconds > AHEAD_SECONDS_MAX))
    }

    /// The end that was answered beside the lane, which fetches nothing while it is paused.
    fn answered_end(&self, partition: &TopicPartition) -> i64 {
        let lag = self.context.shared.board.lag();
        lag.end(&partition.topic, partition.partition).unwrap_or(0)
    }

    /// Asks how many partitions a topic has, where windows would be split by more of them.
    fn count_partitions(&mut self, now: Instant) {
        let Some(count) = self.operator.partition_count() else {
            return;
        };
        if self.owned.is_empty() || now < self.reporting.partitions_counted_at + PARTITIONS_INTERVAL
        {
            return;
        }
        self.reporting.partitions_counted_at = now;
        let topic = count.topic().to_owned();
        // What does not answer is asked the next time.
        self.ask_partitions(&topic, PARTITIONS_TIMEOUT);
    }

    fn ask_partitions(&mut self, topic: &str, timeout: Duration) {
        let counted = self.consumer().questions().partitions_of(topic, timeout);
        if let Ok(Some(partitions)) = counted
            && let Some(count) = self.operator.partition_count()
        {
            count.note_partitions(partitions.len());
        }
    }

    /// A record that lies where it should not may be of a topic that has got partitions just now: they are
    /// counted before the lane halts for it, and records are judged again if there are more.
    pub(super) fn count_before_halt(&mut self, halt: Halt, now: Instant) -> Result<(), Halt> {
        let count = self.operator.partition_count();
        let Some(topic) = count.map(|count| count.topic().to_owned()) else {
            return Err(halt);
        };
        self.ask_partitions(&topic, self.context.shared.kafka_timeout);
        let count = self.operator.partition_count();
        if !count.map_or(Ok(false), |count| count.adopt_partitions())? {
            return Err(halt);
        }
        self.drop_held();
        let owned: Vec<_> = self.owned.iter().map(|o| o.ledger.ownership()).collect();
        for id in owned {
            let why = format!("topic {topic} has got more partitions");
            self.rewind(id, &why, now);
        }
        self.restart_emission();
        Ok(())
    }

    /// Says which watermark is furthest ahead of the wall clock.
    fn say_ahead(&mut self, statuses: &[PartitionStatus], now: Instant) {
        let is_silent = self
            .reporting
            .ahead_said_at
            .is_some_and(|at| now < at + AHEAD_SAID_INTERVAL);
        let furthest = statuses.iter().max_by_key(|s| s.watermark_ahead_seconds);
        let Some(partition) =
            furthest.filter(|s| !is_silent && s.watermark_ahead_seconds.is_some())
        else {
            return;
        };
        self.reporting.ahead_said_at = Some(now);
        tracing::warn!(
            pipeline = self.context.pipeline.name,
            topic = partition.topic,
            partition = partition.partition,
            ahead_seconds = partition.watermark_ahead_seconds,
            "the watermark is ahead of the wall clock by more than an hour, so records of now are late: \
             look for a producer whose clock is wrong, or a time_field in another unit; to undo it name \
             its record in pipeline.dead_letter.skip and read the partition again"
        );
    }

    pub(super) fn count_memory(&mut self) {
        let state = self.operator.timed_state().map_or(0, |operator| {
            let owned = self.owned.iter();
            owned.map(|own| operator.state_bytes(&own.state)).sum()
        });
        self.reporting
            .holds
            .cache
            .resize(self.operator.memory_bytes());
        self.reporting.holds.state.resize(state);
        let grown = state as f64 - self.reporting.holds.state_bytes as f64;
        self.context.metrics.state_bytes.increment(grown);
        self.reporting.holds.state_bytes = state;
    }

    /// Notes how long, and why, nothing was taken in.
    pub(super) fn note_pause(&mut self, reason: Option<&'static str>) {
        let now = Instant::now();
        if let Some((since, why)) = self.reporting.paused_since.take() {
            self.context.metrics.paused(why, now.duration_since(since));
        }
        self.reporting.paused_since = reason.map(|reason| (now, reason));
        let last = self
            .reporting
            .pausing
            .filter(|(_, last)| Some(*last) == reason);
        self.reporting.pausing = last.or(self.reporting.paused_since);
    }

    fn check_sink(&mut self, now: Instant) {
        if self
            .reporting
            .last_sink_check
            .is_some_and(|at| now < at + super::SINK_CHECK_INTERVAL)
        {
            return;
        }
        self.reporting.last_sink_check = Some(now);
        if self.check_output_topic() {
            return;
        }
        let sink = self.context.sink.clone();
        self.context
            .runtime
            .spawn(async move { sink.check().await });
    }
}

#[cfg(test)]
mod tests {
    use super::ahead_seconds;

    #[test]
    fn a_watermark_is_ahead_by_whole_seconds_and_never_behind() {
        assert_eq!(ahead_seconds(3_601_999, 1_000), 3_600);
        assert_eq!(ahead_seconds(1_000, 3_601_999), 0);
        assert_eq!(ahead_seconds(i64::MAX, i64::MIN), i64::MAX as u64 / 1000);
    }
}
