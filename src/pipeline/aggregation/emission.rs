//! What becomes of windows: their rows, and up to where partitions may be committed.

use std::ops::ControlFlow;
use std::time::Duration;

use super::duplicates::Duplicates;
use super::settings::Settings;
use super::{AggregationOperator, PartitionState, halts, row};
use crate::halt::Halt;
use crate::lane::{EmissionPart as Emission, Emit, PartitionCount, Settling, TimedState};
use crate::operator::window::{Silence, Windows};
use crate::progress::{CommitPoint, Frontier};

impl TimedState<PartitionState> for AggregationOperator {
    fn watermark_ms(&self, state: &PartitionState) -> Option<i64> {
        self.windows(state.partition)?
            .input_watermark_ms(self.input(state.partition))
    }

    /// Windows of all partitions are counted with the first.
    fn state_bytes(&self, state: &PartitionState) -> usize {
        let duplicates = state.duplicates.as_ref();
        let duplicates = duplicates.map_or(0, Duplicates::memory_bytes);
        if self.input(state.partition) != 0 {
            return duplicates;
        }
        let windows = self.windows(state.partition);
        duplicates + windows.map_or(0, Windows::memory_bytes)
    }
}

impl Emission<PartitionState> for AggregationOperator {
    fn resume(
        &mut self,
        state: &mut PartitionState,
        position: i64,
        frontier: Option<Frontier>,
        log_end: i64,
    ) -> Result<(), Halt> {
        let before = frontier.and_then(Frontier::windows);
        let known = [self.plan.fingerprint, self.plan.fingerprint_of_digits];
        if frontier.is_some() && before.is_none_or(|before| !known.contains(&before.rules)) {
            return Err(halts::windows_changed(&self.settings, state.partition));
        }
        let number = usize::try_from(state.partition).unwrap_or_default();
        self.settings.places.note_partitions(number + 1);
        let now = self.settings.places.partitions();
        if self.settings.is_partitioned
            && let Some(before) = before
            && let Some(then) = before.partitions.filter(|then| *then < now)
            && position < before.settled_to
        {
            return Err(halts::partitions_changed(&self.settings, then, now));
        }
        self.adopt_partitions()?;
        state.next = position;
        if let Some(duplicates) = &mut state.duplicates {
            duplicates.begin(before.and_then(|before| before.largest_ms));
        }
        // Without a word of ours, reading begins where the very first start put it.
        let may_be_cut = self.settings.begins_at_end || self.settings.leaves_out_cut;
        let is_cut = may_be_cut && position > 0;
        let (partition, input) = (state.partition, self.input(state.partition));
        self.space(partition)
            .begin(input, position, before, log_end, is_cut);
        Ok(())
    }

    fn ended(&mut self, state: &mut PartitionState) {
        self.settings.places.forget(state.partition);
        let wanted = self.space_of(state.partition);
        self.spaces.retain(|space| space.partition != wanted);
        self.note_open();
    }

    fn spoken_to(&self, state: &PartitionState) -> i64 {
        state.spoken_to
    }

    fn note_silence(&mut self, state: &PartitionState, quiet_for: Option<Duration>, seen_to: i64) {
        let silence = match quiet_for {
            Some(quiet) if quiet >= self.settings.idle_retention => Silence::Retired,
            Some(quiet) if quiet >= self.settings.idle_timeout => Silence::Idle,
            _ => Silence::None,
        };
        let input = self.input(state.partition);
        self.space(state.partition)
            .note_silence(input, silence, seen_to);
    }

    fn close_through(&mut self, state: &PartitionState, through_ms: i64) {
        self.space(state.partition).close_through(through_ms);
    }

    fn emit(&mut self, emit: Emit<'_>) -> Result<bool, Halt> {
        let Emit {
            batch,
            messages: _,
            all,
            rows_max,
            bytes_max,
        } = emit;
        let Settings {
            has_table,
            has_topic,
            ..
        } = self.settings;
        let mut is_all = true;
        self.adopt_partitions()?;
        let mut unwritable = None;
        for space in &mut self.spaces {
            let collected = space.windows.collect(all, |row| {
                if let Err(why) = self.rows.make(&row) {
                    let table = &self.settings.table;
                    unwritable.get_or_insert_with(|| halts::unwritable(table, &why));
                    return ControlFlow::Break(());
                }
                if has_table {
                    batch.push(&self.target, 0, [self.rows.encoded()]);
                }
                if has_topic {
                    batch.push_message(self.rows.message(&row));
                }
                let count = batch.row_count().max(batch.message_count());
                if count >= rows_max || batch.raw_bytes() >= bytes_max {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            });
            is_all &= collected.map_err(|error| halts::spilling(&error))?;
        }
        unwritable.map_or(Ok(is_all), Err)
    }

    fn commit_point(&mut self, state: &PartitionState, settled: i64) -> CommitPoint {
        let input = self.input(state.partition);
        let windows = self.space(state.partition);
        let mut point = windows.commit_point(input, settled);
        if let Some(duplicates) = &state.duplicates {
            let is_retired = windows.is_retired(input);
            point = duplicates.commit_point(point, windows.over_through_ms(), is_retired);
        }
        if let Frontier::Windows(frontier) = &mut point.frontier {
            frontier.partitions = self.settings.is_partitioned.then_some(self.partitions);
        }
        point
    }

    /// Open windows need every record.
    fn may_forget(&self, _topic: &str) -> bool {
        false
    }

    fn unfinished(&self) -> Option<String> {
        let open: usize = self.spaces.iter().map(|s| s.windows.open_count()).sum();
        let spans = self.spaces.iter().filter_map(|s| s.windows.open_span_ms());
        let (first, last) = spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
        Some(format!(
            "{open} windows from {} to {} are still open; their records stay uncommitted",
            row::time_text(first),
            row::time_text(last)
        ))
    }
}

impl Settling for AggregationOperator {
    fn emitted(&mut self) {
        for space in &mut self.spaces {
            space.windows.settled();
            let closed_through_ms = space.windows.closed_through_ms();
            if let Some((partition, through_ms)) = space.partition.zip(closed_through_ms) {
                self.settings.places.note_closed(partition, through_ms);
            }
        }
        self.note_open();
    }
}

impl PartitionCount for AggregationOperator {
    fn topic(&self) -> &str {
        &self.settings.topic
    }

    fn note_partitions(&mut self, count: usize) {
        self.settings.places.note_partitions(count);
    }

    /// Partitions that are added take keys of those that were there.
    fn adopt_partitions(&mut self) -> Result<bool, Halt> {
        let (then, now) = (self.partitions, self.settings.places.partitions());
        let has_more = self.settings.is_partitioned && now > then;
        if has_more && self.has_open_windows() {
            return Err(halts::partitions_changed(&self.settings, then, now));
        }
        self.partitions = then.max(now);
        self.had_open = None;
        Ok(has_more)
    }
}
