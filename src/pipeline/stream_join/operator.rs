//! What the lane asks of a join: records in, joined records and the offsets behind them out.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use metrics::Gauge;

use super::keys::KeyCheck;
use super::plan::JoinPlan;
use super::reading::{Left, LeftReader, Right, RightReader};
use super::rendering::{kafka_key, left_payload};
use super::settings::Settings;
use crate::batch::MessageSource;
use crate::clock::wall_ms;
use crate::halt::Halt;
use crate::lane::{
    Accepted, CoPartitioned, EmissionPart as Emission, Emit, NoRows, NotAccepted, Operator,
    Refusal, TableNames, TimedState, Together,
};
use crate::observe::metrics::PipelineMetrics;
use crate::operator::join::{Join, LeftEvent, Outcome, RightRecord, Side, Verdict};
use crate::progress::{CommitPoint, Frontier};
use crate::source::{Record, TopicPartition};

/// What one lane keeps.
pub(crate) struct StreamJoinOperator {
    plan: Arc<JoinPlan>,
    settings: Settings,
    keys: KeyCheck,
    left: LeftReader,
    right: RightReader,
    /// Of the event at hand.
    payload: Vec<u8>,
    /// Partitions of equal number, of both topics.
    pairs: Vec<Pair>,
    metrics: PipelineMetrics,
    buffers: [Buffer; 2],
    late_logged: bool,
}

struct Pair {
    partition: i32,
    join: Join,
}

/// Records of one side that are in memory, as the metric has it, which the lanes share.
struct Buffer {
    gauge: Gauge,
    told: usize,
}

impl Buffer {
    fn tell(&mut self, records: usize) {
        self.gauge.increment(records as f64 - self.told as f64);
        self.told = records;
    }
}

/// Where a partition's records go.
#[derive(Debug)]
pub(crate) struct PartitionState {
    partition: i32,
    side: Side,
    /// Offset behind the last record that was read.
    next: i64,
    /// The same of the last one that moved a watermark, or could have.
    spoken_to: i64,
    /// Records below this were counted by whoever read them before.
    told_to: i64,
}

/// What was put before the payload of an event.
fn timestamp_and_rest(payload: &[u8]) -> (i64, &[u8]) {
    match payload.split_first_chunk() {
        Some((timestamp, rest)) => (i64::from_le_bytes(*timestamp), rest),
        None => (-1, payload),
    }
}

/// An event time, for people.
fn time_text(epoch_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(epoch_ms)
        .map_or_else(|_| epoch_ms.to_string(), |time| format!("{time:.3}"))
}

/// Labels of [`Outcome`], in its order.
const OUTCOMES: [&str; 4] = ["matched", "no_profile", "outside_window", "late"];

impl StreamJoinOperator {
    pub(super) fn new(
        plan: Arc<JoinPlan>,
        settings: Settings,
        keys: KeyCheck,
        metrics: PipelineMetrics,
    ) -> Self {
        for outcome in OUTCOMES {
            metrics.join_results(outcome, 0);
        }
        let buffer = |side| Buffer {
            gauge: metrics.join_buffer(side),
            told: 0,
        };
        StreamJoinOperator {
            left: LeftReader::new(plan.clone()),
            right: RightReader::new(plan.clone()),
            payload: vec![],
            settings,
            keys,
            pairs: vec![],
            buffers: [buffer("left"), buffer("right")],
            plan,
            metrics,
            late_logged: false,
        }
    }

    fn side_of(&self, topic: &str) -> Side {
        if topic == self.settings.left_topic {
            Side::Left
        } else {
            Side::Right
        }
    }

    fn pair(&self, partition: i32) -> Option<&Join> {
        let pair = self.pairs.iter().find(|pair| pair.partition == partition)?;
        Some(&pair.join)
    }

    fn join(&mut self, partition: i32) -> &mut Join {
        let index = self.pairs.iter().position(|p| p.partition == partition);
        let index = index.unwrap_or_else(|| {
            let join = Join::new(self.settings.rules, self.settings.fingerprint);
            self.pairs.push(Pair { partition, join });
            self.pairs.len() - 1
        });
        &mut self.pairs[index].join
    }

    fn accept_left(
        &mut self,
        state: &mut PartitionState,
        record: Record<'_>,
    ) -> Result<Accepted, NotAccepted> {
        let Left {
            time_ms,
            key,
            own,
            unmatched,
        } = self.left.read(record)?;
        state.spoken_to = state.next;
        let checked = self.keys.check(Side::Left, record, key);
        checked.map_err(NotAccepted::Halted)?;
        self.payload.clear();
        self.payload
            .extend_from_slice(&record.timestamp_ms().to_le_bytes());
        left_payload(record.key(), own, unmatched, &mut self.payload);
        let pair = self
            .pairs
            .iter_mut()
            .find(|p| p.partition == state.partition);
        let join = &mut pair.expect("only what has begun is read").join;
        let verdict = join.left(LeftEvent {
            offset: record.offset(),
            time_ms,
            key,
            payload: &self.payload,
        });
        if verdict == Verdict::Late {
            self.note_late(state, record);
        }
        Ok(Accepted::Rows(0))
    }

    fn accept_right(
        &mut self,
        state: &mut PartitionState,
        record: Record<'_>,
    ) -> Result<Accepted, NotAccepted> {
        let read = self.right.read(record)?;
        if matches!(read, Right::Record { .. }) {
            state.spoken_to = state.next;
        }
        let is_table = self.settings.rules.before_ms.is_none();
        let checked = match read {
            Right::Record { key, .. } => self.keys.check(Side::Right, record, key),
            Right::Tombstone {
                form: Some(form), ..
            } if is_table => self.keys.check_tombstone(record, form),
            Right::Tombstone { .. } => Ok(()),
        };
        checked.map_err(NotAccepted::Halted)?;
        let pair = self
            .pairs
            .iter_mut()
            .find(|p| p.partition == state.partition);
        let join = &mut pair.expect("only what has begun is read").join;
        let offset = record.offset();
        let right = match read {
            Right::Record {
                time_ms,
                key,
                members,
            } => RightRecord {
                offset,
                time_ms,
                key,
                payload: Some(members),
            },
            Right::Tombstone { time_ms, key, .. } if is_table => RightRecord {
                offset,
                time_ms,
                key,
                payload: None,
            },
            // Without a place in event time it ends nothing.
            Right::Tombstone { .. } => return Ok(Accepted::Dropped("tombstone")),
        };
        if join.right(right) == Verdict::Late {
            self.note_late(state, record);
            return Ok(Accepted::Dropped("late"));
        }
        Ok(Accepted::Rows(0))
    }

    fn note_late(&mut self, state: &PartitionState, record: Record<'_>) {
        if record.offset() < state.told_to {
            return;
        }
        self.metrics.late_records.increment(1);
        if !self.late_logged {
            self.late_logged = true;
            tracing::info!(
                topic = record.topic(),
                partition = record.partition(),
                offset = record.offset(),
                "a record came behind its partition's watermark and is not joined; more are only \
                 counted (streamweir_late_records_total)"
            );
        }
    }

    /// Lanes share the metric.
    fn note_buffers(&mut self) {
        for (side, buffer) in [Side::Left, Side::Right].into_iter().zip(&mut self.buffers) {
            buffer.tell(self.pairs.iter().map(|p| p.join.buffered(side)).sum());
        }
    }
}

impl Operator for StreamJoinOperator {
    type Partition = PartitionState;
    type Rows = NoRows;

    fn table_names(&self) -> TableNames {
        let label = self.settings.label.clone();
        Arc::new(move |_| label.clone())
    }

    fn begin(&mut self, partition: &TopicPartition) -> PartitionState {
        PartitionState {
            side: self.side_of(&partition.topic),
            partition: partition.partition,
            next: 0,
            spoken_to: 0,
            told_to: 0,
        }
    }

    fn accept(
        &mut self,
        state: &mut PartitionState,
        record: Record<'_>,
    ) -> Result<Accepted, NotAccepted> {
        state.next = record.offset() + 1;
        match state.side {
            Side::Left => self.accept_left(state, record),
            Side::Right => self.accept_right(state, record),
        }
    }

    fn judge(&mut self, state: &mut PartitionState) -> Vec<(usize, Refusal)> {
        let (side, next) = (state.side, state.next);
        self.join(state.partition).note_read(side, next);
        vec![]
    }

    fn clear(&mut self, _now_ms: u64) {
        self.right.log_unread();
    }

    fn memory_bytes(&self) -> usize {
        self.left.memory_bytes() + self.right.memory_bytes() + self.payload.capacity()
    }

    fn timed_state(&self) -> Option<&dyn TimedState<PartitionState>> {
        Some(self)
    }

    fn emission(&mut self) -> Option<&mut dyn Emission<PartitionState>> {
        Some(self)
    }

    fn together(&self) -> Option<Together<'_, PartitionState>> {
        Some(Together::CoPartitioned(self))
    }
}

impl TimedState<PartitionState> for StreamJoinOperator {
    fn watermark_ms(&self, state: &PartitionState) -> Option<i64> {
        self.pair(state.partition)?.watermark_ms(state.side)
    }

    /// Both sides are counted with the left one.
    fn state_bytes(&self, state: &PartitionState) -> usize {
        if state.side == Side::Right {
            return 0;
        }
        self.pair(state.partition).map_or(0, Join::memory_bytes)
    }
}

impl CoPartitioned<PartitionState> for StreamJoinOperator {
    fn check_assignment(&self, partitions: &[TopicPartition]) -> Result<(), Halt> {
        let has = |side, number| {
            let mut all = partitions.iter();
            all.any(|p| p.partition == number && self.side_of(&p.topic) == side)
        };
        let (left, right) = (&self.settings.left_topic, &self.settings.right_topic);
        let alone = partitions
            .iter()
            .find(|p| !has(Side::Left, p.partition) || !has(Side::Right, p.partition));
        let Some(alone) = alone else { return Ok(()) };
        let advice = format!(
            "the group gave this member {alone} without the partition of that number of the other \
             topic: {left} and {right} must have equally many partitions, and every member of the \
             group must read both with partition.assignment.strategy range (another program with this \
             group_id does not): compare them with `streamweir topics plan`, then start again"
        );
        Err(Halt::new("co_partitioning", advice))
    }

    /// The side that is far ahead waits for the other.
    fn waits(&self, state: &PartitionState, is_held: bool, is_tight: bool) -> bool {
        let pair = self.pair(state.partition);
        pair.is_some_and(|join| join.is_far_ahead(state.side, is_held, is_tight))
    }
}

impl Emission<PartitionState> for StreamJoinOperator {
    fn resume(
        &mut self,
        state: &mut PartitionState,
        position: i64,
        frontier: Option<Frontier>,
        log_end: i64,
    ) -> Result<(), Halt> {
        let frontier = match frontier {
            Some(Frontier::Join(frontier)) if frontier.rules == self.settings.fingerprint => {
                Some(frontier)
            }
            // Nothing is undecided: other rules may begin here.
            Some(Frontier::Join(frontier))
                if frontier.read_to == position || state.side == Side::Right =>
            {
                None
            }
            Some(_) => {
                let advice = format!(
                    "partition {}: the group's last commit has undecided events of a join under other \
                     rules (pipeline.join, left, right or watermark_delay were changed): decide them \
                     with the old configuration first (`streamweir run --until latest --close`), then \
                     start with the new one",
                    state.partition
                );
                return Err(Halt::new("join_changed", advice));
            }
            None => None,
        };
        state.next = position;
        state.told_to = frontier.as_ref().map_or(0, |frontier| frontier.settled_to);
        let side = state.side;
        let join = self.join(state.partition);
        join.begin(side, position, frontier);
        if side == Side::Right {
            join.load(log_end);
        }
        Ok(())
    }

    fn ended(&mut self, state: &mut PartitionState) {
        self.pairs.retain(|pair| pair.partition != state.partition);
        self.note_buffers();
    }

    /// Tombstones and records that cannot be read move no watermark.
    fn spoken_to(&self, state: &PartitionState) -> i64 {
        state.spoken_to
    }

    fn note_silence(&mut self, state: &PartitionState, quiet_for: Option<Duration>, seen_to: i64) {
        let is_idle = quiet_for.is_some_and(|quiet| quiet >= self.settings.idle_timeout);
        self.join(state.partition)
            .note_silence(state.side, is_idle, seen_to);
    }

    fn emit(&mut self, emit: Emit<'_>) -> Result<bool, Halt> {
        let Emit {
            messages,
            all,
            rows_max,
            bytes_max,
            ..
        } = emit;
        let ending = self.plan.ending(wall_ms());
        let mut outcomes = [0; OUTCOMES.len()];
        let (plan, keeps_unmatched) = (&self.plan, self.settings.keeps_unmatched);
        let mut is_all = true;
        for Pair { partition, join } in &mut self.pairs {
            is_all &= join.decide(all, |joined| {
                outcomes[joined.outcome as usize] += 1;
                if joined.outcome == Outcome::Matched || keeps_unmatched {
                    let (timestamp_ms, left) = timestamp_and_rest(joined.left);
                    let source = MessageSource {
                        partition: *partition,
                        offset: joined.offset,
                        timestamp_ms,
                    };
                    messages.push(source, kafka_key(left), |out| {
                        plan.render(left, joined.right, &ending, out);
                    });
                }
                if messages.len() >= rows_max || messages.bytes() >= bytes_max {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            });
        }
        for (outcome, count) in OUTCOMES.into_iter().zip(outcomes) {
            if count > 0 {
                self.metrics.join_results(outcome, count);
            }
        }
        self.note_buffers();
        Ok(is_all)
    }

    fn commit_point(&mut self, state: &PartitionState, settled: i64) -> CommitPoint {
        let side = state.side;
        self.join(state.partition).commit_point(side, settled)
    }

    /// A table has the profiles that its topic has.
    fn may_forget(&self, topic: &str) -> bool {
        self.settings.rules.before_ms.is_none() && self.side_of(topic) == Side::Right
    }

    fn unfinished(&self) -> Option<String> {
        let open: usize = self.pairs.iter().map(|p| p.join.pending_count()).sum();
        let spans = self.pairs.iter().filter_map(|p| p.join.pending_span_ms());
        let (first, last) = spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
        Some(format!(
            "{open} events from {} to {} are not decided yet; they stay uncommitted",
            time_text(first),
            time_text(last)
        ))
    }
}
