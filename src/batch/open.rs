//! The batch that is being filled.

use std::time::Instant;

use super::frame;
use super::sealed::{Arrival, RowIndex, SealedBatch};
use crate::sink::DeadLetter;

/// Raw bytes that go into one compressed frame. Larger frames compress 2 % better at most.
const FRAME_BYTES: usize = 256 << 10;

/// Rows of one partition for one table since the last cut, compressed as they accrue.
#[derive(Debug)]
pub(crate) struct OpenBatch {
    frames: Vec<u8>,
    tail: Vec<u8>,
    framed_raw_bytes: usize,
    rows: Vec<RowIndex>,
    arrivals: Vec<Arrival>,
    dead_letters: Vec<DeadLetter>,
    dead_letter_bytes: usize,
    opened_at: Option<Instant>,
}

impl OpenBatch {
    pub(crate) fn new() -> Self {
        OpenBatch {
            frames: vec![],
            tail: vec![],
            framed_raw_bytes: 0,
            rows: vec![],
            arrivals: vec![],
            dead_letters: vec![],
            dead_letter_bytes: 0,
            opened_at: None,
        }
    }

    /// Appends one encoded row, given in parts, of the record at `offset`.
    pub(crate) fn push<const PARTS: usize>(&mut self, offset: i64, parts: [&[u8]; PARTS]) {
        for part in parts {
            self.tail.extend_from_slice(part);
        }
        self.rows.push(RowIndex {
            offset,
            raw_end: self.raw_bytes(),
        });
        if self.tail.len() >= FRAME_BYTES {
            self.close_frame();
        }
    }

    /// Keeps a record that can never be written until the range is.
    pub(crate) fn push_dead_letter(&mut self, letter: DeadLetter) {
        self.dead_letter_bytes += letter.bytes();
        self.dead_letters.push(letter);
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

    /// RowBinary bytes so far, uncompressed.
    pub(crate) fn raw_bytes(&self) -> usize {
        self.framed_raw_bytes + self.tail.len()
    }

    pub(crate) fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// Nothing to write and nothing to dead-letter.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.dead_letters.is_empty()
    }

    /// Bytes of dead letters held back until the cut.
    pub(crate) fn dead_letter_bytes(&self) -> usize {
        self.dead_letter_bytes
    }

    /// What it takes of the process's memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.frames.capacity()
            + self.tail.capacity()
            + self.rows.capacity() * size_of::<RowIndex>()
            + self.dead_letter_bytes
    }

    /// Closes the batch and leaves an empty one that keeps the tail's buffer.
    pub(crate) fn seal(&mut self) -> SealedBatch {
        self.close_frame();
        let rows = std::mem::take(&mut self.rows);
        // The next batch is likely as long as this one: one allocation instead of a dozen.
        self.rows.reserve(rows.len() / 2);
        self.opened_at = None;
        self.dead_letter_bytes = 0;
        SealedBatch {
            raw_bytes: std::mem::take(&mut self.framed_raw_bytes),
            frames_capacity: self.frames.capacity(),
            frames: std::mem::take(&mut self.frames).into(),
            rows,
            arrivals: std::mem::take(&mut self.arrivals),
            dead_letters: std::mem::take(&mut self.dead_letters),
            hold: None,
        }
    }

    fn close_frame(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        frame::compress(&self.tail, &mut self.frames);
        self.framed_raw_bytes += self.tail.len();
        self.tail.clear();
    }
}
