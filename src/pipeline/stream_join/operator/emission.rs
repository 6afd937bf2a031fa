//! What becomes of events: joined records, and up to where partitions may be committed.

use std::ops::ControlFlow;
use std::time::Duration;

use super::{OUTCOMES, Pair, PartitionState, StreamJoinOperator, kafka_key};
use crate::batch::MessageSource;
use crate::clock::wall_ms;
use crate::halt::Halt;
use crate::lane::{CoPartitioned, EmissionPart as Emission, Emit, TimedState};
use crate::operator::join::{Join, Outcome, Side};
use crate::progress::{CommitPoint, Frontier};
use crate::source::TopicPartition;

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
            "this member was assigned {alone} but not the same partition of the other topic: {left} and {right} must have equally many partitions, and every member of the \
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
