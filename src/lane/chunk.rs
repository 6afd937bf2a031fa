//! Records go from the consumer through the operator into the batches of their partitions.

mod judging;

use std::time::{Duration, Instant};

pub(super) use self::judging::HeldRun;
use self::judging::{Counts, Judging, Rows, batch_rows};
use super::Lane;
use super::operator::{Appends, Operator};
use crate::crash::crash_point;
use crate::decode::Reason;
use crate::halt::Halt;
use crate::limits::Allowance;
use crate::observe::metrics::Stage;
use crate::sink::DeadLetter;
use crate::source::Chunk;

/// Records of one poll. Larger chunks make lookups cheaper and leave the processor's cache.
const RECORDS_MAX: usize = 1_000;

impl<O: Operator> Lane<O> {
    /// Takes what the consumer has and is allowed, judges it and holds it. Waits at most as long as the lane can
    /// afford to sleep.
    pub(super) fn consume(&mut self, allowance: Allowance, now: Instant) -> Result<(), Halt> {
        let wait = self.poll_wait(now);
        let asked = Instant::now();
        let mut consumer = self
            .consumer
            .take()
            .expect("the consumer is away only in here");
        let has_any = consumer.wait(wait);
        self.context.metrics.lane_time(Stage::Idle, asked.elapsed());
        if !has_any {
            self.consumer = Some(consumer);
            return Ok(());
        }
        let polled = Instant::now();
        let chunk = consumer.take_bytes(allowance.records.min(RECORDS_MAX), allowance.bytes);
        self.context
            .metrics
            .lane_time(Stage::Poll, polled.elapsed());
        let judged = self.judge(&chunk);
        drop(chunk);
        self.consumer = Some(consumer);
        judged?;
        if !self.held.is_empty() {
            crash_point!("after_poll");
        }
        Ok(())
    }

    fn judge(&mut self, chunk: &Chunk<'_>) -> Result<(), Halt> {
        let started = Instant::now();
        let mut operated = Duration::ZERO;
        let mut start = 0;
        while start < chunk.count() {
            let end = chunk.run_end(start);
            operated += self.judge_run(chunk, start, end, started)?;
            start = end;
        }
        self.context.metrics.lane_time(Stage::Operate, operated);
        let decoded = started.elapsed().saturating_sub(operated);
        self.context.metrics.lane_time(Stage::Decode, decoded);
        Ok(())
    }

    /// Returns how long the records were compared with the state.
    fn judge_run(
        &mut self,
        chunk: &Chunk<'_>,
        start: usize,
        end: usize,
        now: Instant,
    ) -> Result<Duration, Halt> {
        let first = chunk.get(start);
        let Some(index) = self.owned_index(first.topic(), first.partition()) else {
            return Ok(Duration::ZERO);
        };
        let own = &mut self.owned[index];
        if own.reading.revoking || own.reading.parked.is_some() {
            return Ok(Duration::ZERO);
        }
        let partition = own.partition.clone();
        let records_max = self.context.shared.records_max.as_ref();
        let counted_to = own.reading.counted_to();
        let named_to = own.writing.replay_to();
        let mut judging = Judging {
            held: HeldRun::new(own, first, now),
            stop_at: own.reading.stop_at.unwrap_or(i64::MAX),
            own,
            operator: &mut self.operator,
            metrics: &self.context.metrics,
            counts: Counts::default(),
            counting: records_max.map(|most| most.count(&partition, counted_to, named_to)),
        };
        let mut task = None;
        for at in start..end {
            task = judging.take(chunk.get(at))?;
            if task.is_some() {
                break;
            }
        }
        let decoded = Instant::now();
        let refused = judging.operator.judge(&mut judging.own.state);
        let operated = decoded.elapsed();
        let (mut held, own, counts) = judging.end();
        if !refused.is_empty() {
            held.refuse(refused, chunk, start..end);
        }
        own.reading.seen_to = held.next;
        self.count(&counts, &held);
        if counts.is_odd {
            self.topic_watch.doubt(&held.partition.topic, now);
        }
        let ownership = held.ownership;
        self.held.push(held);
        if let Some(task) = task {
            self.park(index, task);
        }
        if counts.is_out_of_range {
            // Beginning again compares the committed offset with the log, and halts or goes on.
            let why = "kafka reports that its offset is out of range";
            self.rewind(ownership, why, Instant::now());
        }
        Ok(operated)
    }

    fn count(&self, counts: &Counts, held: &HeldRun) {
        let metrics = &self.context.metrics;
        metrics.records_consumed.increment(counts.records);
        metrics.bytes_consumed.increment(counts.bytes);
        metrics.records_replayed.increment(counts.replayed);
        let read = counts.records + counts.replayed;
        self.context
            .shared
            .limits
            .note(read, counts.bytes + counts.replayed_bytes);
        // What the configuration asks for is no fault.
        let is_fault = |letter: &&DeadLetter| {
            !matches!(
                letter.reason,
                Reason::Late | Reason::RuleFailed | Reason::Duplicate
            )
        };
        let faults = held.dead_letters.iter().filter(is_fault).count();
        self.context
            .shared
            .ratio
            .note(counts.records, faults as u64);
    }

    /// Batches what is held, once nothing is missing from it.
    pub(super) fn batch_held(&mut self) -> Result<(), Halt> {
        let started = Instant::now();
        let mut row = 0;
        for run in std::mem::take(&mut self.held) {
            let rows = run.offsets.len();
            self.batch_run(run, row);
            row += rows;
        }
        self.operator.clear(self.now_ms());
        self.context
            .metrics
            .lane_time(Stage::Encode, started.elapsed());
        if let Some(halt) = self.operator.halt()
            && !self.context.stop.is_draining()
        {
            return Err(halt);
        }
        self.judge_ratio()
    }

    /// Halts when too many of the last records are dead letters. While the lane ends nothing more is read.
    pub(super) fn judge_ratio(&self) -> Result<(), Halt> {
        if self.context.stop.is_draining() {
            return Ok(());
        }
        self.context.shared.ratio.judge(self.context.pipeline.dead_letter.ratio_max).map_err(|seen| {
            let advice = format!(
                "{} of the last {} records could not be written (pipeline.dead_letter.ratio_max \
                 is {}): look at topic {}, fix the producer or the configuration, then start again",
                seen.dead_letters, seen.records, self.context.pipeline.dead_letter.ratio_max,
                self.context.pipeline.dead_letter.topic
            );
            let halt = Halt::new("dead_letter_ratio", advice);
            match self.context.shared.board.newest_dead_letter() {
                Some(address) => halt.at(address),
                None => halt,
            }
        })
    }

    fn batch_run(&mut self, run: HeldRun, first_row: usize) {
        let Some(own) = self
            .owned
            .iter_mut()
            .find(|o| o.ledger.ownership() == run.ownership)
        else {
            return;
        };
        if own.reading.revoking {
            return;
        }
        if let Some(target) = self.operator.appends().map(Appends::target) {
            if !own.writing.batch.takes(target) {
                let why = "its table was altered while rows were batched";
                return self.rewind(run.ownership, why, Instant::now());
            }
            own.writing.batch.goes_to(target);
        }
        let rows = run.offsets.len();
        let mut dead_letters = run.dead_letters.into_iter().peekable();
        match self.operator.rows() {
            Some(operator) => {
                let rows = Rows {
                    operator,
                    first: first_row,
                    offsets: run.offsets,
                };
                batch_rows(own, rows, &mut dead_letters, &self.context.pipeline.batch);
            }
            None => assert_eq!(
                rows, 0,
                "a kind without rows of single records accepts none"
            ),
        }
        for letter in dead_letters {
            own.seal_replayed(letter.offset);
            own.writing.batch.push_dead_letter(letter);
        }
        let oldest_ms = if run.oldest_ms < 0 {
            run.timestamp_ms
        } else {
            run.oldest_ms
        };
        own.writing.batch.note_arrival(oldest_ms, rows);
        own.commits.ages.read(run.next, oldest_ms);
        if let Some(watermark_ms) = run.watermark_ms {
            own.commits.complete.read(run.next, watermark_ms);
        }
        own.reading.next = own.reading.next.max(run.next);
        own.seal_replayed(own.reading.next);
        // Only now: look-ups may have taken their time, and a seal begins another batch.
        if !own.writing.batch.is_empty() {
            own.writing.batch.opened(run.judged_at);
        }
        if run.timestamp_ms >= 0 {
            own.reading.last_timestamp_ms = run.timestamp_ms;
        }
        if run.leader_epoch >= 0 {
            own.reading.leader_epoch = run.leader_epoch;
        }
    }
}
