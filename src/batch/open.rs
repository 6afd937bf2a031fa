//! The batch that is being filled.

use std::sync::Arc;
use std::time::Instant;

use super::columns::OpenColumns;
use super::keyed::{KeyedRow, KeyedRows};
use super::sealed::{Arrival, SealedBatch};
use crate::message::{DeadLetter, OutputMessage};
use crate::target::Target;

/// Raw bytes of the rows that become columns at once. What is made of them stays in a processor's cache.
const CHUNK_BYTES_MIN: usize = 256 << 10;
/// The same for tables of many columns, of which each has a frame in each chunk.
const CHUNK_BYTES_MAX: usize = 1 << 20;
const CHUNK_BYTES_PER_STREAM: usize = 8 << 10;

/// Rows of one partition for one table since the last cut, made columns and compressed as they accrue;
/// where versions decide, the last one of each key, compressed in the end.
#[derive(Debug)]
pub(crate) struct OpenBatch {
    /// Where the rows go; `None` before the first.
    target: Option<Arc<Target>>,
    keyed: Option<KeyedRows>,
    columns: OpenColumns,
    /// Rows that are no columns yet, and where each of them ends.
    tail: Vec<u8>,
    tail_ends: Vec<u32>,
    /// Bytes of the rows that are columns.
    column_raw_bytes: usize,
    /// The offset of each row.
    rows: Vec<i64>,
    arrivals: Vec<Arrival>,
    dead_letters: Vec<DeadLetter>,
    dead_letter_bytes: usize,
    messages: Vec<OutputMessage>,
    message_bytes: usize,
    opened_at: Option<Instant>,
}

impl OpenBatch {
    pub(crate) fn new() -> Self {
        OpenBatch {
            target: None,
            keyed: None,
            columns: OpenColumns::default(),
            tail: vec![],
            tail_ends: vec![],
            column_raw_bytes: 0,
            rows: vec![],
            arrivals: vec![],
            dead_letters: vec![],
            dead_letter_bytes: 0,
            messages: vec![],
            message_bytes: 0,
            opened_at: None,
        }
    }

    /// Whether rows for this table may join those that are there.
    pub(crate) fn takes(&self, target: &Arc<Target>) -> bool {
        let is_same = |own: &Arc<Target>| Arc::ptr_eq(own, target);
        self.target.as_ref().is_none_or(is_same)
            || self.row_count() == 0 && self.dead_letters.is_empty()
    }

    /// Appends one encoded row, given in parts, of the record at `offset`.
    pub(crate) fn push<const PARTS: usize>(
        &mut self,
        target: &Arc<Target>,
        offset: i64,
        row: [&[u8]; PARTS],
    ) {
        self.goes_to(target);
        for part in row {
            self.tail.extend_from_slice(part);
        }
        let end = u32::try_from(self.tail.len()).expect("a record is far smaller than 4 GiB");
        self.tail_ends.push(end);
        self.rows.push(offset);
        if self.tail.len() >= CHUNK_BYTES_MIN && self.tail.len() >= chunk_bytes(target) {
            self.close_chunk();
        }
    }

    /// Puts a row in the place of its key's last one. Batches of such rows take no others.
    pub(crate) fn push_keyed(&mut self, target: &Arc<Target>, offset: i64, row: KeyedRow<'_>) {
        self.goes_to(target);
        let rows = self.keyed.get_or_insert_with(KeyedRows::new);
        rows.push(offset, row, &target.others);
    }

    /// What is in the batch was made for this table.
    pub(crate) fn goes_to(&mut self, target: &Arc<Target>) {
        match &self.target {
            Some(own) if Arc::ptr_eq(own, target) => {}
            _ => self.target = Some(target.clone()),
        }
    }

    /// Keeps a record that can never be written until the range is.
    pub(crate) fn push_dead_letter(&mut self, letter: DeadLetter) {
        self.dead_letter_bytes += letter.bytes();
        self.dead_letters.push(letter);
    }

    /// Adds a row for a topic.
    pub(crate) fn push_message(&mut self, message: OutputMessage) {
        self.message_bytes += message.bytes();
        self.messages.push(message);
    }

    /// Rows for a topic.
    pub(crate) fn message_count(&self) -> usize {
        self.messages.len()
    }

    /// Notes when the rows of one chunk were put into Kafka, for the freshness they will have.
    pub(crate) fn note_arrival(&mut self, timestamp_ms: i64, rows: usize) {
        if rows > 0 {
            self.arrivals.push(Arrival { timestamp_ms });
        }
    }

    /// The flush interval runs from here, unless it runs already.
    pub(crate) fn opened(&mut self, now: Instant) {
        self.opened_at.get_or_insert(now);
    }

    /// When the first record since the last cut arrived.
    pub(crate) fn opened_at(&self) -> Option<Instant> {
        self.opened_at
    }

    /// Bytes of the rows so far, uncompressed.
    pub(crate) fn raw_bytes(&self) -> usize {
        let keyed = self.keyed.as_ref().map_or(0, KeyedRows::live_bytes);
        self.column_raw_bytes + self.tail.len() + self.message_bytes + keyed
    }

    pub(crate) fn row_count(&self) -> usize {
        self.rows.len() + self.keyed.as_ref().map_or(0, KeyedRows::len)
    }

    /// Nothing to write and nothing to dead-letter.
    pub(crate) fn is_empty(&self) -> bool {
        self.row_count() == 0 && self.dead_letters.is_empty() && self.messages.is_empty()
    }

    /// Bytes of dead letters held back until the cut.
    pub(crate) fn dead_letter_bytes(&self) -> usize {
        self.dead_letter_bytes
    }

    /// What it takes of the process's memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.columns.memory_bytes()
            + self.tail.capacity()
            + self.tail_ends.capacity() * size_of::<u32>()
            + self.rows.capacity() * size_of::<i64>()
            + self.dead_letter_bytes
            + self.keyed.as_ref().map_or(0, KeyedRows::memory_bytes)
    }

    /// Closes the batch and leaves an empty one that keeps the tail's buffer.
    pub(crate) fn seal(&mut self) -> SealedBatch {
        let gapped = match (self.keyed.take(), self.target.clone()) {
            (Some(mut keyed), Some(target)) => {
                keyed.drain(|offset, row| self.push(&target, offset, [row]))
            }
            _ => vec![],
        };
        let is_keyed = !gapped.is_empty() || self.target.as_ref().is_some_and(|t| t.is_replica());
        self.close_chunk();
        if is_keyed {
            // There may be a thousand such tables, each with a burst now and then.
            (self.tail, self.tail_ends) = (vec![], vec![]);
        }
        let rows = std::mem::take(&mut self.rows);
        // The next batch is likely as long as this one: one allocation instead of a dozen.
        if !is_keyed {
            self.rows.reserve(rows.len() / 2);
        }
        self.opened_at = None;
        self.dead_letter_bytes = 0;
        self.message_bytes = 0;
        SealedBatch {
            target: self.target.clone(),
            gapped,
            raw_bytes: std::mem::take(&mut self.column_raw_bytes),
            columns: self.columns.close(),
            rows,
            arrivals: std::mem::take(&mut self.arrivals),
            dead_letters: std::mem::take(&mut self.dead_letters),
            messages: std::mem::take(&mut self.messages),
            hold: None,
        }
    }

    /// Makes columns of the tail.
    fn close_chunk(&mut self) {
        let Some(target) = self.target.as_ref().filter(|_| !self.tail_ends.is_empty()) else {
            return;
        };
        let (plan, compression) = (&target.plan, target.compression);
        self.columns
            .add(plan, compression, &self.tail, &self.tail_ends);
        self.column_raw_bytes += self.tail.len();
        self.tail.clear();
        self.tail_ends.clear();
    }
}

fn chunk_bytes(target: &Target) -> usize {
    let bytes = target.plan.streams() * CHUNK_BYTES_PER_STREAM;
    bytes.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX)
}
