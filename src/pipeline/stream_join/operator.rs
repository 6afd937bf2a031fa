//! What the lane asks of a join: records in, joined records and the offsets behind them out.

mod emission;

use std::sync::Arc;

use metrics::Gauge;

use super::keys::KeyCheck;
use super::plan::JoinPlan;
use super::reading::{Left, LeftReader, Right, RightReader};
use super::rendering::{kafka_key, left_payload};
use super::settings::Settings;
use crate::batch::Message;
use crate::lane::{
    Accepted, EmissionPart as Emission, NoRows, NotAccepted, Operator, Refusal, TableNames,
    TimedState, Together,
};
use crate::observe::metrics::PipelineMetrics;
use crate::operator::join::{Join, LeftEvent, RightRecord, Side, Verdict};
use crate::pipeline::input::Input;
use crate::source::{MadeRecord, Record, TopicPartition};

/// What one lane keeps.
pub(crate) struct StreamJoinOperator {
    plan: Arc<JoinPlan>,
    settings: Settings,
    keys: KeyCheck,
    /// How the records of the left and of the right side are read; none: as they arrive.
    inputs: [Option<Box<Input>>; 2],
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
    /// A previous owner already counted late records below this.
    told_to: i64,
}

/// Labels of [`crate::operator::join::Outcome`], in its order.
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
            inputs: [None, None],
            pairs: vec![],
            buffers: [buffer("left"), buffer("right")],
            plan,
            metrics,
            late_logged: false,
        }
    }

    /// The same for records that are not read as they arrive.
    pub(super) fn with_inputs(self, inputs: [Option<Box<Input>>; 2]) -> Self {
        StreamJoinOperator { inputs, ..self }
    }

    fn accept_opened(
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
        left_payload(record.key_as_received(), own, unmatched, &mut self.payload);
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

    /// The event time of a joined record, which has all that its left record had.
    pub(super) fn left_time_ms(&mut self, message: &Message<'_>) -> Option<i64> {
        let source = &message.source;
        let (key, value) = (message.key, Some(message.value));
        let made = MadeRecord::new(key, value, source.timestamp_ms, source.offset);
        let made = made.of(&self.settings.left_topic, source.partition, &[]);
        let read = self.left.read(made.record());
        read.ok().map(|left| left.time_ms)
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
        let side = state.side as usize;
        let Some(mut input) = self.inputs[side].take() else {
            return self.accept_opened(state, record);
        };
        let accepted = match input.open(record) {
            Ok(opening) => match opening.record() {
                Ok(record) => self.accept_opened(state, record),
                Err(rule) => {
                    state.next = record.offset() + 1;
                    Ok(Accepted::Dropped(rule))
                }
            },
            // It is read again.
            Err(later @ NotAccepted::Later(_)) => Err(later),
            Err(refused) => {
                state.next = record.offset() + 1;
                Err(refused)
            }
        };
        self.inputs[side] = Some(input);
        accepted
    }

    fn judge(&mut self, state: &mut PartitionState) -> Vec<(usize, Refusal)> {
        let (side, next) = (state.side, state.next);
        self.join(state.partition).note_read(side, next);
        vec![]
    }

    fn clear(&mut self, now_ms: u64) {
        self.right.log_unread();
        for input in self.inputs.iter_mut().flatten() {
            input.clear(now_ms);
        }
    }

    fn memory_bytes(&self) -> usize {
        let inputs = self.inputs.iter().flatten();
        let inputs: usize = inputs.map(|input| input.memory_bytes()).sum();
        inputs + self.left.memory_bytes() + self.right.memory_bytes() + self.payload.capacity()
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
