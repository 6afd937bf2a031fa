//! Windows of event time: which records count in which, when a row is due, when a window is over.
//!
//! Everything here is a function of the records and of who is silent, fed in by
//! [`crate::pipeline`]'s aggregation. [`Windows`] holds what belongs together: the windows of one
//! partition, or of all partitions of a topic. The rules are contract §6.3.
//!
//! A record counts by its own partition's watermark alone: what was read elsewhere, and when, decides
//! how often a row is sent and never which records are in it. Nothing is stored: the next owner
//! reads the records of open windows again, from where [`Windows::commit_point`] says. What was over by
//! then it knows by the [`crate::progress::WindowFrontier`].

mod aligned;
mod cell;
mod disk;
mod distinct;
mod gathering;
mod input;
mod pane;
mod session;
mod sessions;
mod spill;
mod stored;
#[cfg(test)]
mod tests;

pub use self::cell::{Cell, CellRules, Place, Sample};
pub use self::pane::Row;
pub use self::spill::{Cursor, Entries, Entry, Spill, SpillError};

use std::ops::ControlFlow;

use self::aligned::Aligned;
use self::sessions::Sessions;
use crate::progress::{CommitPoint, FirstRead, WindowFrontier};

/// How windows lie and what is kept in each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    pub shape: Shape,
    pub watermark_delay_ms: i64,
    pub lateness_ms: i64,
    /// What is computed, in the order of the row's metrics.
    pub cells: Vec<CellRules>,
}

/// How windows lie. Milliseconds, as all times here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Each `size` long, a new one every `slide`, which divides it; aligned to 1970.
    Aligned { size_ms: i64, slide_ms: i64 },
    /// As long as no two records of a group are more than this apart.
    Session { gap_ms: i64 },
}

impl Rules {
    /// How far records are out of order at most, and count.
    fn disorder_ms(&self) -> i64 {
        self.watermark_delay_ms.saturating_add(self.lateness_ms)
    }

    fn watermark(&self, largest_ms: Option<i64>) -> Option<i64> {
        Some(largest_ms?.saturating_sub(self.watermark_delay_ms))
    }

    /// When a window is over.
    fn closes(&self, end_ms: i64) -> i64 {
        end_ms.saturating_add(self.lateness_ms)
    }

    /// The latest end of a window that is over by this.
    fn over(&self, closed_through_ms: Option<i64>) -> Option<i64> {
        Some(closed_through_ms?.saturating_sub(self.lateness_ms))
    }

    /// How far a window with this time may reach to either side.
    pub fn reach_ms(&self) -> i64 {
        match self.shape {
            Shape::Aligned { size_ms, .. } => size_ms,
            Shape::Session { gap_ms } => gap_ms,
        }
    }
}

/// How long a partition has said nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Silence {
    /// Not long: its watermark counts.
    #[default]
    None,
    /// Rows are sent without waiting for it.
    Idle,
    /// Windows are closed without waiting for it.
    Retired,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is in at least one window.
    Counted,
    /// A previous owner of the partition has counted it.
    Decided,
    /// Every window of it is over.
    Late,
}

/// A record as windows see it.
#[derive(Debug, Clone, Copy)]
pub struct Event<'e> {
    /// Which of the partitions it comes from.
    pub input: usize,
    pub place: Place,
    /// Its group, encoded.
    pub group: &'e [u8],
    /// What each metric takes of it.
    pub samples: &'e [Sample],
    /// What samples that are texts point to.
    pub texts: &'e [u8],
}

/// The windows of one partition, or of all partitions of a topic.
#[derive(Debug)]
pub struct Windows {
    fingerprint: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Aligned(Aligned),
    Sessions(Sessions),
}

/// The same call of whichever kind it is.
macro_rules! each {
    ($self:expr, $windows:ident => $call:expr) => {
        match $self {
            Kind::Aligned($windows) => $call,
            Kind::Sessions($windows) => $call,
        }
    };
}

impl Windows {
    /// `fingerprint`: of the rules and all that decides what is in a window.
    pub fn new(rules: Rules, fingerprint: u32) -> Windows {
        let kind = match rules.shape {
            Shape::Aligned { size_ms, slide_ms } => {
                Kind::Aligned(Aligned::new(rules, size_ms, slide_ms, fingerprint))
            }
            Shape::Session { gap_ms } => Kind::Sessions(Sessions::new(rules, gap_ms, fingerprint)),
        };
        Windows { fingerprint, kind }
    }

    /// What does not fit into memory is written there, whenever [`Windows::spill`] is called. Sessions stay in
    /// memory: whether a record belongs to one is asked when it comes.
    #[must_use]
    pub fn spilling_to(mut self, store: Box<dyn Spill>) -> Windows {
        if let Kind::Aligned(aligned) = &mut self.kind {
            aligned.spill_to(store);
        }
        self
    }

    /// Writes what is in memory to the store, but for rows that are about to be sent.
    ///
    /// # Errors
    /// It cannot be written. No row is handed out any more: the windows are to be built anew.
    pub fn spill(&mut self) -> Result<(), SpillError> {
        match &mut self.kind {
            Kind::Aligned(aligned) => aligned.spill(),
            Kind::Sessions(_) => Ok(()),
        }
    }

    /// A partition begins to be read at `position`, where a commit said this, and the log ends at
    /// `log_end`. `is_cut`: no commit did, and records before it are left out. Sessions are of one
    /// partition, number 0.
    pub fn begin(
        &mut self,
        input: usize,
        position: i64,
        before: Option<WindowFrontier>,
        log_end: i64,
        is_cut: bool,
    ) {
        let before = before.unwrap_or(WindowFrontier {
            rules: self.fingerprint,
            largest_ms: None,
            closed_through_ms: None,
            read_to: position,
            settled_to: position,
            partitions: None,
            first_read: is_cut.then_some(FirstRead::Awaited),
        });
        each!(&mut self.kind, windows => windows.begin(input, position, before, log_end));
    }

    /// Puts a record into its windows and moves its partition's watermark.
    pub fn add(&mut self, event: &Event<'_>) -> Verdict {
        each!(&mut self.kind, windows => windows.add(event))
    }

    /// When the last window is over that the record added last was the first of its group in, or has made
    /// longer; none where it did neither.
    pub fn opened_to_ms(&self) -> Option<i64> {
        each!(&self.kind, windows => windows.opened_to_ms())
    }

    /// Windows that were over by this are closed.
    pub fn closed_through_ms(&self) -> Option<i64> {
        each!(&self.kind, windows => windows.closed_through_ms())
    }

    /// A record that counts in no window but moves the watermark.
    pub fn pass(&mut self, event: &Event<'_>) {
        each!(&mut self.kind, windows => windows.pass(event));
    }

    /// The records of a partition below `next` have been added; no more is known of those behind.
    pub fn note_read(&mut self, input: usize, next: i64) {
        each!(&mut self.kind, windows => windows.note_read(input, next));
    }

    /// How far a partition has been read, gaps of the log included, and whether it has gone silent.
    pub fn note_silence(&mut self, input: usize, silence: Silence, read_to: i64) {
        each!(&mut self.kind, windows => windows.note_silence(input, silence, read_to));
    }

    /// Hands out the rows that are due, as many as are taken; `all`: those of open windows too. False
    /// when there is more. To be called again only after [`Windows::settled`].
    ///
    /// # Errors
    /// What was written to disk cannot be read, or what must be cannot be written. No row is handed out any
    /// more: the windows are to be built anew.
    pub fn collect(
        &mut self,
        all: bool,
        take: impl FnMut(Row<'_>) -> ControlFlow<()>,
    ) -> Result<bool, SpillError> {
        each!(&mut self.kind, windows => windows.collect(all, take))
    }

    /// Everything that was handed out is durable.
    pub fn settled(&mut self) {
        each!(&mut self.kind, windows => windows.settled());
    }

    /// Where a partition may be committed whose records below `settled` are done with.
    pub fn commit_point(&mut self, input: usize, settled: i64) -> CommitPoint {
        each!(&mut self.kind, windows => windows.commit_point(input, settled))
    }

    /// Windows that still take records.
    pub fn open_count(&self) -> usize {
        each!(&self.kind, windows => windows.open_count())
    }

    /// Whether there are any.
    pub fn has_open(&self) -> bool {
        each!(&self.kind, windows => windows.has_open())
    }

    /// Where the first of the open windows begins and the last ends.
    pub fn open_span_ms(&self) -> Option<(i64, i64)> {
        each!(&self.kind, windows => windows.open_span_ms())
    }

    /// Records of this time and older are in no window that is open or whose last rows are not durable; none: no
    /// window is over.
    pub fn over_through_ms(&self) -> Option<i64> {
        each!(&self.kind, windows => windows.over_through_ms())
    }

    /// Windows that no record lies in are over by the watermark too, and what comes for them later is late: so records
    /// that open no window do not hold [`Windows::over_through_ms`].
    pub fn close_without_records(&mut self) {
        each!(&mut self.kind, windows => windows.close_without_records());
    }

    /// Windows that may lack records of before the first one that was read, or count some that these would have kept
    /// out, are not handed out. `reach_ms`: how far behind records that are gone that may be, besides being out of
    /// order.
    pub fn leave_out_cut(&mut self, reach_ms: i64) {
        each!(&mut self.kind, windows => windows.leave_out_cut(reach_ms));
    }

    /// Windows that are over by this are closed, whatever the watermark is: another owner has closed them.
    pub fn close_through(&mut self, through_ms: i64) {
        each!(&mut self.kind, windows => windows.close_through(through_ms));
    }

    /// Whether a partition is not waited for any more, and none of its records is in a window that is open or whose last
    /// rows are not durable.
    pub fn is_retired(&self, input: usize) -> bool {
        each!(&self.kind, windows => windows.is_retired(input))
    }

    /// The largest event time of one partition.
    pub fn input_largest_ms(&self, input: usize) -> Option<i64> {
        each!(&self.kind, windows => windows.input_largest_ms(input))
    }

    /// Of one partition.
    pub fn input_watermark_ms(&self, input: usize) -> Option<i64> {
        each!(&self.kind, windows => windows.input_watermark_ms(input))
    }

    /// What it takes of the process's memory.
    pub fn memory_bytes(&self) -> usize {
        each!(&self.kind, windows => windows.memory_bytes())
    }
}
