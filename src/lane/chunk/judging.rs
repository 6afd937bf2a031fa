//! A run of records of one partition, judged one after the other.

use std::iter::Peekable;
use std::time::Instant;

use streamweir_kafka::RDKafkaErrorCode;

use super::super::operator::{Accepted, BlockingTask, NotAccepted, Operator, RecordRows, Refusal};
use super::super::ownership::{Ownership, RANGES_MAX};
use super::super::records_max::Counting;
use crate::config::Batch;
use crate::crash::crash_point;
use crate::halt::Halt;
use crate::observe::metrics::PipelineMetrics;
use crate::progress::OwnershipId;
use crate::sink::DeadLetter;
use crate::source::{Chunk, Record, TopicPartition, lacks_right};

/// A run of one partition's records that have been judged and not yet batched.
#[derive(Debug)]
pub(in super::super) struct HeldRun {
    pub(super) ownership: OwnershipId,
    pub(super) partition: TopicPartition,
    /// Offsets of its rows, which follow those of the run before in the operator's chunk.
    pub(super) offsets: Vec<i64>,
    pub(super) dead_letters: Vec<DeadLetter>,
    pub(super) judged_at: Instant,
    /// The offset after its last record.
    pub(super) next: i64,
    /// Kafka timestamps of its first and its last record.
    pub(super) oldest_ms: i64,
    pub(super) timestamp_ms: i64,
    pub(super) leader_epoch: i32,
    /// Behind its last record.
    pub(super) watermark_ms: Option<i64>,
}

impl HeldRun {
    pub(super) fn new<S>(own: &Ownership<S>, first: Record<'_>, now: Instant) -> Self {
        HeldRun {
            ownership: own.ledger.ownership(),
            partition: own.partition.clone(),
            offsets: vec![],
            dead_letters: vec![],
            judged_at: now,
            next: own.reading.seen_to,
            // A note about the partition has no time; the last record stands in for the first then.
            oldest_ms: first.timestamp_ms(),
            timestamp_ms: -1,
            leader_epoch: -1,
            watermark_ms: None,
        }
    }

    /// A record has been judged, whatever became of it.
    pub(super) fn passes(&mut self, record: Record<'_>) {
        self.next = record.offset() + 1;
        self.timestamp_ms = record.timestamp_ms();
        self.leader_epoch = record.leader_epoch();
    }

    /// Records that were accepted first, by their number among those, become dead letters.
    #[cold]
    pub(super) fn refuse(
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

/// A run while the operator judges it.
pub(super) struct Judging<'l, O: Operator> {
    pub(super) held: HeldRun,
    /// Records from here on are left to a later run.
    pub(super) stop_at: i64,
    pub(super) own: &'l mut Ownership<O::Partition>,
    pub(super) operator: &'l mut O,
    pub(super) metrics: &'l PipelineMetrics,
    pub(super) counts: Counts,
    /// Where only so many records are read at all.
    pub(super) counting: Option<Counting<'l>>,
}

/// What the run had.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) replayed: u64,
    pub(super) replayed_bytes: u64,
    pub(super) is_out_of_range: bool,
    /// Something else was reported of the partition than its end.
    pub(super) is_odd: bool,
}

impl<'l, O: Operator> Judging<'l, O> {
    /// Takes the next record. Returns the task that it has to wait for, if there is one: then the run ends
    /// before it.
    #[inline(always)]
    pub(super) fn take(&mut self, record: Record<'_>) -> Result<Option<BlockingTask>, Halt> {
        let offset = record.offset();
        if let Some(code) = record.error() {
            return self.note_error(code, offset).map(|()| None);
        }
        if offset < self.held.next || offset >= self.stop_at {
            // Seen before a seek, or left to a later run.
            if offset >= self.stop_at {
                self.held.next = self.held.next.max(self.stop_at);
            }
            return Ok(None);
        }
        if self.own.reading.was_written(offset) {
            return self.replay(record);
        }
        if !self.may_read(offset) {
            self.stop_at = offset;
            self.held.next = self.held.next.max(offset);
            return Ok(None);
        }
        if self.own.reading.skip.contains(&offset) {
            self.metrics.dropped("skip", 1);
            self.passes(record, 0);
            return Ok(None);
        }
        self.operator
            .note_counted(self.own.reading.was_counted(offset));
        match self.operator.accept(&mut self.own.state, record) {
            Ok(Accepted::Rows(rows)) => {
                self.held.offsets.extend(std::iter::repeat_n(offset, rows));
            }
            // A previous owner reported it; it is read again for its neighbours' sake.
            Ok(Accepted::Dropped(_)) | Err(NotAccepted::Refused(_))
                if self.own.reading.was_told(offset) => {}
            Ok(Accepted::Dropped(reason)) => self.metrics.dropped(reason, 1),
            Err(NotAccepted::Refused(refusal)) => {
                let letter = dead_letter(&self.held.partition, record, refusal);
                self.held.dead_letters.push(letter);
            }
            Err(NotAccepted::Later(task)) => return Ok(Some(task)),
            Err(NotAccepted::Halted(halt)) => return Err(self.placed(halt, offset)),
        }
        self.passes(record, bytes_of(record));
        Ok(None)
    }

    /// The run is judged; others may count again.
    pub(super) fn end(mut self) -> (HeldRun, &'l mut Ownership<O::Partition>, Counts) {
        // Where rows are made of many records, their commit points say it.
        if self.operator.emission().is_none() {
            let timed = self.operator.timed_state();
            self.held.watermark_ms = timed.and_then(|timed| timed.watermark_ms(&self.own.state));
        }
        if self.stop_at < i64::MAX {
            self.own.reading.stop_at = Some(self.stop_at);
        }
        (self.held, self.own, self.counts)
    }

    /// Whether `run --records-max` leaves the record to this run. What a predecessor named is read to its end.
    #[inline(always)]
    fn may_read(&self, offset: i64) -> bool {
        let counting = self.counting.as_ref();
        counting.is_none_or(|counting| counting.may_read(offset))
    }

    #[inline(always)]
    fn passes(&mut self, record: Record<'_>, bytes: u64) {
        self.counts.records += 1;
        self.counts.bytes += bytes;
        if let Some(counting) = &mut self.counting {
            counting.read(record.offset());
        }
        self.held.passes(record);
    }

    /// The record's row was made before. Returns the task that it has to wait for, as [`Judging::take`].
    fn replay(&mut self, record: Record<'_>) -> Result<Option<BlockingTask>, Halt> {
        crash_point!("during_replay");
        let offset = record.offset();
        if !self.own.reading.skip.contains(&offset)
            && let Some(snapshots) = self.operator.snapshots()
        {
            match snapshots.replay(&mut self.own.state, record) {
                Ok(()) | Err(NotAccepted::Refused(_)) => {}
                Err(NotAccepted::Later(task)) => return Ok(Some(task)),
                Err(NotAccepted::Halted(halt)) => return Err(self.placed(halt, offset)),
            }
        }
        self.counts.replayed += 1;
        self.counts.replayed_bytes += bytes_of(record);
        self.held.next = offset + 1;
        self.own.reading.seen_to = offset + 1;
        Ok(None)
    }

    #[cold]
    fn placed(&self, halt: Halt, offset: i64) -> Halt {
        let address = format!("{}:{offset}", self.held.partition);
        let advice = format!("{address}: {}", halt.advice);
        Halt { advice, ..halt }.at(address)
    }

    #[cold]
    fn note_error(&mut self, code: RDKafkaErrorCode, offset: i64) -> Result<(), Halt> {
        let partition = &self.held.partition;
        self.counts.is_odd |= code != RDKafkaErrorCode::PartitionEOF;
        match code {
            // Transaction markers leave gaps that no record fills: the end is where it is.
            RDKafkaErrorCode::PartitionEOF => {
                self.held.next = self.held.next.max(offset.min(self.stop_at));
            }
            RDKafkaErrorCode::AutoOffsetReset => self.counts.is_out_of_range = true,
            RDKafkaErrorCode::TopicAuthorizationFailed => {
                let topic = format!("topic {}", partition.topic);
                return Err(lacks_right("READ", &topic).at(partition));
            }
            _ => {
                tracing::warn!(%partition, error = %code, "kafka reports trouble with a partition")
            }
        }
        Ok(())
    }
}

#[inline(always)]
fn bytes_of(record: Record<'_>) -> u64 {
    let key_and_value = [record.value(), record.key()];
    let bytes: usize = key_and_value.into_iter().flatten().map(<[u8]>::len).sum();
    bytes as u64
}

/// Rows of a run in the operator's chunk.
pub(super) struct Rows<'o, R> {
    pub(super) operator: &'o R,
    /// The number of the first in the chunk.
    pub(super) first: usize,
    pub(super) offsets: Vec<i64>,
}

/// Puts rows into their partition's batch, with the dead letters that lie between them, and closes the batch
/// whenever it is full.
#[inline]
pub(super) fn batch_rows<S, R: RecordRows>(
    own: &mut Ownership<S>,
    rows: Rows<'_, R>,
    dead_letters: &mut Peekable<impl Iterator<Item = DeadLetter>>,
    limits: &Batch,
) {
    let mut offsets = rows.offsets.into_iter().peekable();
    for row in rows.first.. {
        let Some(offset) = offsets.next() else { break };
        while let Some(letter) = dead_letters.next_if(|letter| letter.offset < offset) {
            own.seal_replayed(letter.offset);
            // A seal before the row takes the letter along.
            own.reading.next = letter.offset + 1;
            own.writing.batch.push_dead_letter(letter);
        }
        own.seal_replayed(offset);
        if !own.writing.batch.takes(rows.operator.target(row)) {
            // Rows of one insert are of one form.
            let to = own.reading.next;
            own.seal(to);
        }
        rows.operator.push(row, offset, &mut own.writing.batch);
        own.reading.next = offset + 1;
        let bytes = own.writing.batch.raw_bytes() + own.writing.batch.dead_letter_bytes();
        let is_full = own.writing.batch.row_count() >= limits.rows_max || bytes >= limits.bytes_max;
        // A commit names only so many ranges: then the batch takes the rest of the chunk too.
        let may_seal = !own.writing.is_replaying() && own.ranges_open() < RANGES_MAX;
        let is_whole = offsets.peek() != Some(&offset);
        if is_full && may_seal && is_whole {
            own.seal(offset + 1);
        }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::super::super::ownership::{Beginning, Restored};
    use super::super::super::start::Start;
    use super::*;
    use crate::batch::{OpenBatch, Paces, PartitionPace};
    use crate::decode::Reason;
    use crate::sink::{Stage, Target};

    /// The targets of rows that are empty.
    struct Made(Vec<Arc<Target>>);

    impl RecordRows for Made {
        fn target(&self, row: usize) -> &Arc<Target> {
            &self.0[row]
        }

        fn push(&self, row: usize, offset: i64, batch: &mut OpenBatch) {
            batch.push(&self.0[row], offset, [&[][..]]);
        }

        fn altered(&mut self, _table: &str) {}
    }

    fn partition() -> TopicPartition {
        TopicPartition {
            topic: "t".into(),
            partition: 0,
        }
    }

    fn owned(position: i64) -> Ownership<()> {
        let start = Start {
            position,
            read_from: position,
            epoch: None,
            counter: 0,
            range_ends: vec![],
            look_below: 0,
            frontier: None,
            watermark_ms: None,
            insert_span: Duration::ZERO,
        };
        let paces = Paces::new(Duration::from_secs(5), 2.0);
        Ownership::new(Beginning {
            id: OwnershipId(1),
            partition: partition(),
            restored: Restored {
                state: (),
                seen_to: position,
                is_from_snapshot: false,
            },
            snapshot_interval: Duration::from_secs(60),
            start,
            topic_id: "-".to_owned(),
            table: "db.t".to_owned(),
            layout: None,
            has_rows: false,
            was_committed: false,
            names_ranges: false,
            insert_span: Duration::ZERO,
            stop_at: None,
            skip: BTreeSet::new(),
            metrics: PipelineMetrics::new("p").partition("t", 0),
            pace: PartitionPace::new(paces.of("db.t")),
            settlements: channel().0,
        })
    }

    fn letter(offset: i64) -> DeadLetter {
        DeadLetter {
            partition: partition(),
            offset,
            timestamp_ms: 0,
            key: None,
            value: None,
            headers: vec![],
            stage: Stage::Encode,
            reason: Reason::Rejected,
            detail: String::new(),
        }
    }

    #[test]
    fn a_dead_letter_before_the_first_row_of_an_altered_table_is_sealed_without_it() {
        let mut own = owned(10);
        own.writing.batch.goes_to(&Arc::new(Target::nowhere()));
        let made = Made(vec![Arc::new(Target::nowhere())]);
        let rows = Rows {
            operator: &made,
            first: 0,
            offsets: vec![11],
        };
        let limits = Batch {
            rows_max: 100,
            bytes_max: 1 << 20,
            flush_interval: Duration::from_secs(5),
            inserts_per_second_max: 2.0,
        };
        let mut letters = vec![letter(10)].into_iter().peekable();
        batch_rows(&mut own, rows, &mut letters, &limits);
        assert_eq!(own.ledger.range_ends().collect::<Vec<_>>(), [11]);
        let sealed = own.writing.unnamed.front().expect("a range");
        assert_eq!(sealed.batch.dead_letters().len(), 1);
        assert_eq!((own.writing.batch.row_count(), own.reading.next), (1, 12));
    }
}
