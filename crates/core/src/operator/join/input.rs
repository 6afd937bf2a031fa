//! What is known of one side's partition.

use std::collections::VecDeque;

use crate::progress::JoinFrontier;

/// Of these at most are kept; then every other one goes, and a commit comes to lie farther back.
const CHECKPOINTS_MAX: usize = 1024;

#[derive(Debug)]
pub(super) struct Input {
    pub(super) largest_ms: Option<i64>,
    /// Where it began to be read, in event time.
    first_ms: Option<i64>,
    is_idle: bool,
    /// Every record below it has come.
    pub(super) next: i64,
    /// What was decided before we came.
    pub(super) before: JoinFrontier,
    checkpoints: VecDeque<Checkpoint>,
}

/// Offsets before which the largest event time is this.
#[derive(Debug)]
struct Checkpoint {
    from: i64,
    to: i64,
    largest_ms: Option<i64>,
}

impl Input {
    /// `before`: what the commit at `position` said.
    pub(super) fn new(position: i64, before: JoinFrontier) -> Input {
        let start = Checkpoint {
            from: position,
            to: position,
            largest_ms: before.largest_ms,
        };
        Input {
            largest_ms: before.largest_ms,
            first_ms: before.largest_ms,
            is_idle: false,
            next: position,
            before: JoinFrontier {
                read_to: before.read_to.max(position),
                ..before
            },
            checkpoints: VecDeque::from([start]),
        }
    }

    /// It has been read as far as the previous owner had read it.
    pub(super) fn is_replayed(&self) -> bool {
        self.next >= self.before.read_to
    }

    /// Nothing is to be waited for. Before the end of a replay there is.
    pub(super) fn is_silent(&self) -> bool {
        self.is_idle && self.is_replayed()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.is_idle
    }

    /// How much event time has been read.
    pub(super) fn span_ms(&self) -> i64 {
        let span = |(first, largest): (i64, i64)| largest.saturating_sub(first);
        self.first_ms.zip(self.largest_ms).map_or(0, span)
    }

    pub(super) fn observe(&mut self, offset: i64, time_ms: i64) {
        self.largest_ms = self.largest_ms.max(Some(time_ms));
        self.first_ms = self.first_ms.or(Some(time_ms));
        self.is_idle = false;
        self.pass(offset);
    }

    /// A record has come that says nothing of event time, and ends no silence.
    pub(super) fn pass(&mut self, offset: i64) {
        self.next = self.next.max(offset + 1);
    }

    pub(super) fn note_silence(&mut self, is_idle: bool, seen_to: i64) {
        self.is_idle = is_idle;
        self.note_read(seen_to);
    }

    pub(super) fn note_read(&mut self, next: i64) {
        self.next = self.next.max(next);
        let newest = self.checkpoints.back_mut().expect("one is always left");
        if newest.largest_ms == self.largest_ms {
            newest.to = self.next;
            return;
        }
        self.checkpoints.push_back(Checkpoint {
            from: self.next,
            to: self.next,
            largest_ms: self.largest_ms,
        });
        if self.checkpoints.len() > CHECKPOINTS_MAX {
            let mut number = 0;
            self.checkpoints.retain(|_| {
                number += 1;
                number % 2 == 1
            });
        }
    }

    /// The last offset at or before `limit` at which the largest event time is known, and that time.
    /// Limits never fall.
    pub(super) fn checkpoint(&mut self, limit: i64) -> (i64, Option<i64>) {
        let is_passed = |checkpoint: &Checkpoint| checkpoint.from <= limit;
        while self.checkpoints.get(1).is_some_and(is_passed) {
            self.checkpoints.pop_front();
        }
        let checkpoint = self.checkpoints.front().expect("one is always left");
        let position = limit.min(checkpoint.to).max(checkpoint.from);
        (position, checkpoint.largest_ms)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.checkpoints.len() * size_of::<Checkpoint>()
    }
}
