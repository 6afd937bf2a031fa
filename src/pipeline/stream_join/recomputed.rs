//! Joined records computed again from the log, without sending anything.

use super::operator::PartitionState;
use super::{StreamJoinOperator, join_operator};
use crate::batch::{Message, Messages, OpenBatch};
use crate::config::{Pipeline, StreamJoin};
use crate::halt::Halt;
use crate::lane::{EmissionPart as _, Emit, NotAccepted, Operator as _, TimedState};
use crate::observe::metrics::PipelineMetrics;
use crate::pipeline::input::unanswered;
use crate::source::{Record, TopicPartition};

/// Joined records of one step.
const RECORDS_MAX: usize = 10_000;
const BYTES_MAX: usize = 8 << 20;

/// Partitions of equal number of both topics.
pub(crate) struct JoinAgain {
    operator: StreamJoinOperator,
    left: PartitionState,
    right: PartitionState,
    messages: Messages,
    delay_ms: i64,
}

impl std::fmt::Debug for JoinAgain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinAgain").finish_non_exhaustive()
    }
}

impl JoinAgain {
    /// Both sides begin at their offsets; `of`: how many partitions each topic has.
    ///
    /// # Errors
    /// The configuration cannot be followed.
    pub(crate) fn new(
        config: &StreamJoin,
        pipeline: &Pipeline,
        (left, left_from): (&TopicPartition, i64),
        (right, right_from): (&TopicPartition, i64),
        of: usize,
    ) -> Result<Self, Halt> {
        let metrics = PipelineMetrics::new(&pipeline.name);
        let mut operator = join_operator(pipeline, config, of, metrics)?;
        let mut begin = |partition: &TopicPartition, from| {
            let mut state = operator.begin(partition);
            operator.resume(&mut state, from, None, from)?;
            Ok::<_, Halt>(state)
        };
        let (left, right) = (begin(left, left_from)?, begin(right, right_from)?);
        Ok(JoinAgain {
            operator,
            left,
            right,
            messages: Messages::default(),
            delay_ms: i64::try_from(config.watermark_delay.as_millis()).unwrap_or(i64::MAX),
        })
    }

    /// Takes a record of either side.
    ///
    /// # Errors
    /// The pipeline would halt at it.
    pub(crate) fn add(&mut self, is_left: bool, record: Record<'_>) -> Result<(), Halt> {
        let state = match is_left {
            true => &mut self.left,
            false => &mut self.right,
        };
        let accepted = self.operator.accept(state, record);
        self.operator.judge(state);
        match accepted {
            Err(NotAccepted::Halted(halt)) => Err(halt),
            Err(NotAccepted::Later(task)) => Err(unanswered(&task)),
            _ => Ok(()),
        }
    }

    /// The largest event time of a side so far, less what the watermark forgives after silence.
    pub(crate) fn largest_ms(&self, is_left: bool) -> Option<i64> {
        let state = match is_left {
            true => &self.left,
            false => &self.right,
        };
        let watermark_ms = TimedState::watermark_ms(&self.operator, state)?;
        Some(watermark_ms.saturating_add(self.delay_ms))
    }

    /// Hands joined records that are decided to `each`, or with `all` those that wait too. `times`: with the
    /// event time of each, where it can be read.
    ///
    /// # Errors
    /// The pipeline would halt.
    pub(crate) fn decided(
        &mut self,
        all: bool,
        times: bool,
        mut each: impl FnMut(Message<'_>, Option<i64>),
    ) -> Result<(), Halt> {
        loop {
            let is_all = self.operator.emit(Emit {
                batch: &mut OpenBatch::new(),
                messages: &mut self.messages,
                all,
                rows_max: RECORDS_MAX,
                bytes_max: BYTES_MAX,
            })?;
            let count = self.messages.len();
            for message in self.messages.range(0..count) {
                let time_ms = match times {
                    true => self.operator.left_time_ms(&message),
                    false => None,
                };
                each(message, time_ms);
            }
            self.messages.clear();
            self.operator.clear(0);
            if is_all || count == 0 {
                return Ok(());
            }
        }
    }
}
