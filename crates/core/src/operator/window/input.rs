//! What is known of one partition.

use std::collections::VecDeque;

use super::Silence;
use crate::progress::{FirstRead, WindowFrontier};

#[derive(Debug)]
pub(super) struct Input {
    pub(super) largest_ms: Option<i64>,
    pub(super) silence: Silence,
    /// What was over before we came.
    pub(super) before: WindowFrontier,
    /// How far it has been read, whatever became of the records.
    pub(super) read_to: i64,
    /// A previous owner may have read records below this, and sent their rows.
    pub(super) perhaps_read_to: i64,
    /// Where reading began in the middle of the log.
    pub(super) first_read: Option<FirstRead>,
    /// How far behind the first record is what those before it may have changed.
    pub(super) left_out_ms: i64,
    /// Offsets, and the largest event time of the records before each.
    marks: VecDeque<(i64, Option<i64>)>,
}

impl Input {
    /// `before`: what the commit at `position` said. `log_end`: where the log ended when we came.
    pub(super) fn new(position: i64, before: WindowFrontier, log_end: i64) -> Input {
        Input {
            largest_ms: before.largest_ms,
            silence: Silence::None,
            // What was over when it had been read to there still is.
            read_to: before.read_to.max(position),
            perhaps_read_to: log_end,
            first_read: before.first_read,
            left_out_ms: 0,
            marks: VecDeque::from([(position, before.largest_ms)]),
            before,
        }
    }

    /// `begun_ms`: where it is known that no record that was left out is younger than that.
    pub(super) fn observe(&mut self, time_ms: i64, begun_ms: Option<i64>) {
        self.largest_ms = Some(self.largest_ms.map_or(time_ms, |t| t.max(time_ms)));
        if self.first_read == Some(FirstRead::Awaited) {
            let first_ms = time_ms.saturating_add(self.left_out_ms);
            let first_ms = begun_ms.map_or(first_ms, |begun_ms| begun_ms.min(first_ms));
            self.first_read = Some(FirstRead::At(first_ms));
        }
    }

    /// Its first record has not come, and is not waited for any more.
    pub(super) fn has_been_silent_until_now(&self) -> bool {
        self.first_read == Some(FirstRead::Awaited) && self.silence != Silence::None
    }

    /// The event time of the first record, if there are records before it that were not counted.
    pub(super) fn first_ms(&self) -> Option<i64> {
        match self.first_read? {
            FirstRead::Awaited => None,
            FirstRead::At(time_ms) => Some(time_ms),
        }
    }

    pub(super) fn note_read(&mut self, next: i64) {
        self.read_to = self.read_to.max(next);
        let newest = self.marks.back();
        if newest.is_none_or(|(_, largest)| *largest != self.largest_ms) {
            self.marks.push_back((next, self.largest_ms));
        }
    }

    pub(super) fn note_silence(&mut self, silence: Silence, read_to: i64) {
        self.silence = silence;
        self.read_to = self.read_to.max(read_to);
    }

    /// The last offset at or before `settled` at which the largest event time is known, and that time.
    pub(super) fn mark(&mut self, settled: i64) -> (i64, Option<i64>) {
        let is_passed = |mark: &(i64, Option<i64>)| mark.0 <= settled;
        while self.marks.get(1).is_some_and(is_passed) {
            self.marks.pop_front();
        }
        let &(mark, largest_ms) = self.marks.front().expect("one is always left");
        // Behind the newest mark nothing has changed.
        if self.marks.len() == 1 {
            (settled.max(mark), largest_ms)
        } else {
            (mark, largest_ms)
        }
    }
}
