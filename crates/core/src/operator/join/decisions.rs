//! What is decided, and what may be committed with it.
//!
//! [`Join::decide`] is compiled where it is called, in another crate: what it calls for each event is
//! marked `#[inline]`.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::queue::Event;
use super::right::{Known, Versions};
use super::{Join, Joined, Mark, Outcome, Rules, Side};
use crate::progress::{CommitPoint, Frontier, JoinFrontier};

impl Join {
    /// Hands out decided events; `all`: as if both sides had gone silent. True when nothing decided is
    /// left. An event that was handed out is gone, also when `take` breaks, which says that it is full;
    /// those that were decided out of order are handed out nevertheless.
    pub fn decide(
        &mut self,
        all: bool,
        mut take: impl FnMut(Joined<'_>) -> ControlFlow<()>,
    ) -> bool {
        if !self.is_ready {
            return true;
        }
        let mut is_full = false;
        while let Some(decided) = self.outbox.events.pop_front() {
            is_full |= take(decided.joined()).is_break();
        }
        self.outbox.bytes = 0;
        let (left_ms, right_ms) = (self.end_ms(Side::Left, all), self.end_ms(Side::Right, all));
        let (rules, versions) = (&self.rules, &self.versions);
        let is_all = loop {
            let Some(event) = self.pending.first() else {
                break true;
            };
            let Some((right, outcome)) = answer(rules, versions, &event, left_ms, right_ms) else {
                break true;
            };
            if is_full {
                break false;
            }
            is_full = take(Joined {
                offset: event.offset,
                left: event.payload,
                right: right.map(|right| &**right),
                outcome,
            })
            .is_break();
            self.decided = self.decided.max(Some((event.time_ms, event.offset + 1)));
            self.pending.pass_first();
        };
        self.mark();
        is_all
    }

    /// No record of a side comes before this time any more, or none is waited for.
    fn end_ms(&self, side: Side, all: bool) -> Option<i64> {
        if side == Side::Right && !all && self.is_loading() {
            return None;
        }
        let input = self.input(side);
        if input.is_silent() || (all && input.is_replayed()) {
            return Some(i64::MAX);
        }
        self.rules.watermark(input.largest_ms)
    }

    /// Notes what may be committed, and drops what is not needed any more.
    fn mark(&mut self) {
        let left_ms = self.watermark_ms(Side::Left);
        self.pending.tidy();
        let first = self.pending.first().map(|event| event.at());
        // Before the left has spoken, an event of any time may come.
        if let Some(left_ms) = left_ms {
            let open = (left_ms, i64::MIN);
            let bound = first.map_or(open, |first| first.min(open));
            self.decided = self.decided.max(Some(bound));
            let right_ms = self.watermark_ms(Side::Right);
            self.versions.prune(bound.0, right_ms, &self.rules);
        }
        let needed = [self.pending.lowest_offset(), self.versions.lowest_offset()];
        for ((mark, input), needed) in self.marks.iter_mut().zip(&self.inputs).zip(needed) {
            let input = input.as_ref().expect("both have begun");
            mark.needed_from = needed.map_or(input.next, |offset| offset.min(input.next));
            mark.read_to = input.next.max(input.before.read_to);
        }
        self.marked = self.decided;
        // An event that comes next gets its row unless it is late, however long the sides were silent.
        let decided_ms = self.decided.map(|(time_ms, _)| time_ms);
        self.complete_ms = decided_ms.zip(left_ms).map(|(a, b)| a.min(b));
    }

    /// Where a side may be committed whose records below `settled` are done with, together with all that
    /// [`Join::decide`] has handed out. What has been read since it was called last is not in it.
    pub fn commit_point(&mut self, side: Side, settled: i64) -> CommitPoint {
        let Mark {
            needed_from,
            read_to,
        } = self.marks[side as usize];
        let (rules, decided, complete_ms) = (self.fingerprint, self.marked, self.complete_ms);
        let input = self.input_mut(side);
        let (position, largest_ms) = input.checkpoint(settled.min(needed_from));
        let settled_to = settled.min(read_to).max(input.before.settled_to);
        CommitPoint {
            position,
            frontier: Frontier::Join(JoinFrontier {
                rules,
                largest_ms,
                decided,
                read_to,
                settled_to,
            }),
            complete_ms,
        }
    }
}

/// The answer to an event that waits, if it is certain where no records before these times can come.
#[inline]
fn answer<'v>(
    rules: &Rules,
    versions: &'v Versions,
    event: &Event<'_>,
    left_ms: Option<i64>,
    right_ms: Option<i64>,
) -> Option<(Option<&'v Arc<[u8]>>, Outcome)> {
    let is_over = right_ms > Some(rules.youngest_ms(event.time_ms));
    if rules.is_eager {
        if !is_over {
            return None;
        }
    } else {
        if left_ms <= Some(event.time_ms) || right_ms <= Some(event.time_ms) {
            return None;
        }
        if let Known::Match { time_ms, payload } = versions.best(event, rules) {
            let is_best = right_ms > Some(time_ms);
            return is_best.then_some((Some(payload), Outcome::Matched));
        }
        if !is_over {
            return None;
        }
    }
    Some((None, versions.without_match(event)))
}
