//! Records on their way from the consumer to the batches of their partitions.

use std::iter::Peekable;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;

use super::Lane;
use super::operator::{Accepted, Appends, NotAccepted, Operator, RecordRows, Refusal};
use super::ownership::{Ownership, RANGES_MAX};
use crate::config::Batch;
use crate::crash::crash_point;
use crate::decode::Reason;
use crate::halt::Halt;
use crate::observe::metrics::Stage;
use crate::progress::OwnershipId;
use crate::sink::DeadLetter;
use crate::source::{Chunk, Record, TopicPartition};

/// Records of one poll. Larger chunks make lookups cheaper and leave the processor's cache.
const RECORDS_MAX: usize = 1_000;

/// A run of one partition's records that have been judged and not yet batched.
#[derive(Debug)]
pub(super) struct HeldRun {
    ownership: OwnershipId,
    partition: TopicPartition,
    /// Offsets of its rows, which follow those of the run before in the operator's chunk.
    offsets: Vec<i64>,
    dead_letters: Vec<DeadLetter>,
    judged_at: Instant,
    /// The offset after its last record.
    next: i64,
    /// Kafka timestamps of its first and its last record.
    oldest_ms: i64,
    timestamp_ms: i64,
    leader_epoch: i32,
}

impl HeldRun {
    /// A record has been judged, whatever became of it.
    fn passes(&mut self, record: Record<'_>) {
        self.next = record.offset() + 1;
        self.timestamp_ms = record.timestamp_ms();
        self.leader_epoch = record.leader_epoch();
    }

    /// Records that were accepted first, by their number among those, become dead letters.
    #[cold]
    fn refuse(
        &mut self,
        refused: Vec<(usize, Refusal)>,
        chunk: &Chunk<'_>,
        run: std::ops::Range<usize>,
    ) {
        for (nth, refusal) in refused.into_iter().rev() {
            let offset = self.offsets.remove(nth);
            let record = run.clone().map(|at| chunk.get(at));
            let record = record
                .rev()
                .find(|r| r.error().is_none() && r.offset() == offset);
            let record = record.expect("what was accepted is a record of the run");
            let letter = dead_letter(&self.partition, record, refusal);
            self.dead_letters.push(letter);
        }
        self.dead_letters.sort_by_key(|letter| letter.offset);
    }
}

impl<O: Operator> Lane<O> {
    /// Takes what the consumer has, judges it and holds it. Waits at most as long as the lane can
    /// afford to sleep.
    pub(super) fn consume(&mut self, now: Instant) -> Result<(), Halt> {
        let wait = self.poll_wait(now);
        let asked = Instant::now();
        let mut consumer = self
            .consumer
            .take()
            .expect("the consumer is away only in here");
        let has_any = consumer.wait(wait);
        self.metrics.lane_time(Stage::Idle, asked.elapsed());
        if !has_any {
            self.consumer = Some(consumer);
            return Ok(());
        }
        let polled = Instant::now();
        let chunk = consumer.take(RECORDS_MAX);
        self.metrics.lane_time(Stage::Poll, polled.elapsed());
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
        self.metrics.lane_time(Stage::Operate, operated);
        let decoded = started.elapsed().saturating_sub(operated);
        self.metrics.lane_time(Stage::Decode, decoded);
        Ok(())
    }

    /// Returns how long the records were held against the state.
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
        if own.revoking || own.parked.is_some() {
            return Ok(Duration::ZERO);
        }
        let mut task = None;
        let mut run = HeldRun {
            ownership: own.ledger.ownership(),
            partition: own.partition.clone(),
            offsets: vec![],
            dead_letters: vec![],
            judged_at: now,
            next: own.seen_to,
            // A note about the partition has no time; the last record stands in for the first then.
            oldest_ms: first.timestamp_ms(),
            timestamp_ms: -1,
            leader_epoch: -1,
        };
        let stop_at = own.stop_at.unwrap_or(i64::MAX);
        let (mut records, mut bytes, mut replayed) = (0u64, 0u64, 0u64);
        let (mut is_out_of_range, mut is_odd) = (false, false);
        for at in start..end {
            let record = chunk.get(at);
            if let Some(code) = record.error() {
                is_out_of_range |= code == RDKafkaErrorCode::AutoOffsetReset;
                is_odd |= code != RDKafkaErrorCode::PartitionEOF;
                note_error(
                    &run.partition,
                    code,
                    record.offset(),
                    &mut run.next,
                    stop_at,
                )?;
                continue;
            }
            let offset = record.offset();
            if offset < run.next || offset >= stop_at {
                // Seen before a seek, or left to a later run.
                if offset >= stop_at {
                    run.next = run.next.max(stop_at);
                }
                continue;
            }
            if own.was_written(offset) {
                crash_point!("during_replay");
                replayed += 1;
                run.next = offset + 1;
                own.seen_to = run.next;
                if !own.skip.contains(&offset)
                    && let Some(snapshots) = self.operator.snapshots()
                {
                    snapshots.replay(&mut own.state, record);
                }
                continue;
            }
            if own.skip.contains(&offset) {
                self.metrics.dropped("skip", 1);
                run.passes(record);
                records += 1;
                continue;
            }
            match self.operator.accept(&mut own.state, record) {
                Ok(Accepted::Rows(rows)) => run.offsets.extend(std::iter::repeat_n(offset, rows)),
                // Told by whoever read it before; read again for its neighbours' sake.
                Ok(Accepted::Dropped(_)) | Err(NotAccepted::Refused(_)) if own.was_told(offset) => {
                }
                Ok(Accepted::Dropped(reason)) => self.metrics.dropped(reason, 1),
                Err(NotAccepted::Refused(refusal)) => {
                    let letter = dead_letter(&run.partition, record, refusal);
                    run.dead_letters.push(letter);
                }
                Err(NotAccepted::Later(later)) => {
                    task = Some(later);
                    break;
                }
                Err(NotAccepted::Halted(halt)) => {
                    let place = format!("{}:{offset}", run.partition);
                    return Err(Halt {
                        advice: format!("{place}: {}", halt.advice),
                        ..halt
                    });
                }
            }
            records += 1;
            bytes += (record.value().map_or(0, <[u8]>::len) + record.key().map_or(0, <[u8]>::len))
                as u64;
            run.passes(record);
        }
        let decoded = Instant::now();
        let refused = self.operator.judge(&mut own.state);
        let operated = decoded.elapsed();
        if !refused.is_empty() {
            run.refuse(refused, chunk, start..end);
        }
        self.metrics.records_consumed.increment(records);
        self.metrics.bytes_consumed.increment(bytes);
        let is_fault = |letter: &&DeadLetter| letter.reason != Reason::Late;
        let faults = run.dead_letters.iter().filter(is_fault).count();
        self.shared.ratio.note(records, faults as u64);
        self.metrics.records_replayed.increment(replayed);
        own.seen_to = run.next;
        let ownership = run.ownership;
        if is_odd {
            self.topic_watch.doubt(&run.partition.topic, now);
        }
        self.held.push(run);
        if let Some(task) = task {
            self.park(index, task);
        }
        if is_out_of_range {
            // Beginning again compares the committed offset with the log, and halts or goes on.
            let why = "kafka reports that its offset is out of range";
            self.rewind(ownership, why, Instant::now());
        }
        Ok(operated)
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
        self.metrics.lane_time(Stage::Encode, started.elapsed());
        self.judge_ratio()
    }

    /// Halts when too many of the last records are dead letters.
    pub(super) fn judge_ratio(&self) -> Result<(), Halt> {
        self.shared.ratio.judge(self.pipeline.dead_letter.ratio_max).map_err(|seen| {
            let advice = format!(
                "{} of the last {} records could not be written (pipeline.dead_letter.ratio_max \
                 is {}): look at topic {}, mend the producer or the configuration, then start again",
                seen.dead_letters, seen.records, self.pipeline.dead_letter.ratio_max,
                self.pipeline.dead_letter.topic
            );
            Halt::new("dead_letter_ratio", advice)
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
        if own.revoking {
            return;
        }
        if let Some(target) = self.operator.appends().map(Appends::target) {
            if !own.batch.takes(target) {
                let why = "its table was altered while rows were batched";
                return self.rewind(run.ownership, why, Instant::now());
            }
            own.batch.goes_to(target);
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
                batch_rows(own, rows, &mut dead_letters, &self.pipeline.batch);
            }
            None => assert_eq!(
                rows, 0,
                "a kind without rows of single records accepts none"
            ),
        }
        for letter in dead_letters {
            cut_replayed(own, letter.offset);
            own.batch.push_dead_letter(letter);
        }
        let oldest_ms = if run.oldest_ms < 0 {
            run.timestamp_ms
        } else {
            run.oldest_ms
        };
        own.batch.note_arrival(oldest_ms, rows);
        own.next = own.next.max(run.next);
        cut_replayed(own, own.next);
        // Only now: profiles may have taken their time, and a cut begins another batch.
        if !own.batch.is_empty() {
            own.batch.opened(run.judged_at);
        }
        if run.timestamp_ms >= 0 {
            own.last_timestamp_ms = run.timestamp_ms;
        }
        if run.leader_epoch >= 0 {
            own.leader_epoch = run.leader_epoch;
        }
    }
}

/// Rows of a run in the operator's chunk.
struct Rows<'o, R> {
    operator: &'o R,
    /// The number of the first in the chunk.
    first: usize,
    offsets: Vec<i64>,
}

/// Puts rows into their partition's batch, with the dead letters that lie between them, and closes the batch
/// whenever it is full.
#[inline]
fn batch_rows<S, R: RecordRows>(
    own: &mut Ownership<S>,
    rows: Rows<'_, R>,
    dead_letters: &mut Peekable<impl Iterator<Item = DeadLetter>>,
    limits: &Batch,
) {
    let mut offsets = rows.offsets.into_iter().peekable();
    for row in rows.first.. {
        let Some(offset) = offsets.next() else { break };
        while let Some(letter) = dead_letters.next_if(|letter| letter.offset < offset) {
            cut_replayed(own, letter.offset);
            own.batch.push_dead_letter(letter);
        }
        cut_replayed(own, offset);
        if !own.batch.takes(rows.operator.target(row)) {
            // Rows of one insert are of one form.
            let to = own.next;
            own.cut(to);
        }
        rows.operator.push(row, offset, &mut own.batch);
        own.next = offset + 1;
        let bytes = own.batch.raw_bytes() + own.batch.dead_letter_bytes();
        let is_full = own.batch.row_count() >= limits.rows_max || bytes >= limits.bytes_max;
        // A commit names only so many ranges: then the batch takes the rest of the chunk too.
        let may_cut = !own.is_replaying() && own.ranges_open() < RANGES_MAX;
        let is_whole = offsets.peek() != Some(&offset);
        if is_full && may_cut && is_whole {
            own.cut(offset + 1);
        }
    }
}

/// Ends ranges that a predecessor named and that are complete once the next record is at `next`.
pub(super) fn cut_replayed<S>(own: &mut Ownership<S>, next: i64) {
    while let Some(to) = own.replay_cut().filter(|to| *to <= next) {
        own.cut(to);
    }
}

fn dead_letter(partition: &TopicPartition, record: Record<'_>, refusal: Refusal) -> DeadLetter {
    let (reason, detail) = (refusal.reject.reason, refusal.reject.detail);
    DeadLetter::new(
        partition,
        record,
        refusal.stage,
        reason,
        detail.into_owned(),
    )
}

fn note_error(
    partition: &TopicPartition,
    code: RDKafkaErrorCode,
    offset: i64,
    next: &mut i64,
    stop_at: i64,
) -> Result<(), Halt> {
    match code {
        // Transaction markers leave gaps that no record fills: the end is where it is.
        RDKafkaErrorCode::PartitionEOF => *next = (*next).max(offset.min(stop_at)),
        RDKafkaErrorCode::AutoOffsetReset => {}
        RDKafkaErrorCode::TopicAuthorizationFailed => {
            let advice = format!("{partition}: allow this user to read the topic");
            return Err(Halt::new("authentication", advice));
        }
        _ => tracing::warn!(%partition, error = %code, "kafka reports trouble with a partition"),
    }
    Ok(())
}
