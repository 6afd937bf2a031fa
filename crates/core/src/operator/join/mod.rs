//! A join of two streams: which right record an event of the left goes with, and when that is certain.
//!
//! [`Join`] holds what belongs together: one partition of the left and the same of the right. Everything
//! here is a function of the records, of who is silent and of when decisions are asked for. The rules
//! are contract §6.4.
//!
//! Nothing is stored: the next owner reads the records that are still needed again, from where
//! [`Join::commit_point`] says. Which events were decided by then it knows by the
//! [`crate::progress::JoinFrontier`]: those that were late, those before `decided` in the order of time
//! and offset, and, in an eager join, those that have a match among the right records read by then. So
//! an eager join that begins anew waits until both sides have been read as far as they were.

mod ahead;
mod blocks;
mod decisions;
mod gone;
mod input;
mod left;
mod queue;
mod replay;
mod right;
#[cfg(test)]
mod tests;
mod values;

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;

use foldhash::fast::{FixedState, RandomState};

use self::input::Input;
use self::left::Pending;
use self::queue::{Event, EventQueue};
use self::replay::Unapplied;
use self::right::{Known, Version, Versions};
pub use self::values::{Joined, LeftEvent, Outcome, RightRecord, Rules, Side, Verdict};
use crate::progress::JoinFrontier;

/// An event that was decided out of order.
#[derive(Debug)]
struct Decided {
    offset: i64,
    left: Box<[u8]>,
    right: Option<Arc<[u8]>>,
    outcome: Outcome,
}

impl Decided {
    fn joined(&self) -> Joined<'_> {
        Joined {
            offset: self.offset,
            left: &self.left,
            right: self.right.as_deref(),
            outcome: self.outcome,
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Decided>() + self.left.len() + self.right.as_ref().map_or(0, |r| r.len())
    }
}

/// Events that were decided out of order, until they are handed out.
#[derive(Debug, Default)]
struct Outbox {
    events: VecDeque<Decided>,
    bytes: usize,
}

impl Outbox {
    fn push(&mut self, decided: Decided) {
        self.bytes += decided.bytes();
        self.events.push_back(decided);
    }
}

/// What may be committed of one side, as of the last time all that was decided out of order was handed out.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    /// No record before it is needed.
    needed_from: i64,
    read_to: i64,
}

/// One partition of the left and the same of the right.
#[derive(Debug)]
pub struct Join {
    rules: Rules,
    fingerprint: u32,
    seed: u64,
    inputs: [Option<Input>; 2],
    pending: Pending,
    versions: Versions,
    outbox: Outbox,
    /// Every left event before it in the order of time and offset has been handed out, of those read.
    decided: Option<(i64, i64)>,
    marks: [Mark; 2],
    marked: Option<(i64, i64)>,
    /// Events of the left before this time have their rows among those, or are late.
    complete_ms: Option<i64>,
    /// Events can be handed out: both sides have begun, and been read again where that is needed.
    is_ready: bool,
    /// Events wait until a table has been read to here: its records come in any order.
    load_to: Option<i64>,
    /// Left events that cannot be judged yet, and right records that may not be known yet.
    held: EventQueue,
    unapplied: VecDeque<Unapplied>,
    unapplied_bytes: usize,
}

impl Join {
    /// `fingerprint`: of the rules and all that decides what goes together.
    pub fn new(rules: Rules, fingerprint: u32) -> Join {
        Join {
            rules,
            fingerprint,
            seed: RandomState::default().hash_one(0u64),
            inputs: [None, None],
            pending: Pending::default(),
            versions: Versions::default(),
            outbox: Outbox::default(),
            decided: None,
            marks: [Mark::default(); 2],
            marked: None,
            complete_ms: None,
            is_ready: false,
            load_to: None,
            held: EventQueue::default(),
            unapplied: VecDeque::new(),
            unapplied_bytes: 0,
        }
    }

    /// A side begins to be read at `position`, where a commit said this. Once for each side.
    pub fn begin(&mut self, side: Side, position: i64, before: Option<JoinFrontier>) {
        let before = before.unwrap_or(JoinFrontier {
            rules: self.fingerprint,
            largest_ms: None,
            decided: None,
            read_to: position,
            settled_to: position,
        });
        let input = Input::new(position, before);
        self.marks[side as usize] = Mark {
            needed_from: position,
            read_to: input.before.read_to,
        };
        if side == Side::Left {
            self.decided = before.decided;
            self.marked = before.decided;
        }
        self.inputs[side as usize] = Some(input);
        self.get_ready();
    }

    /// The right side ends here for now: as a table it is read so far before an event is decided.
    pub fn load(&mut self, log_end: i64) {
        self.load_to = self.rules.is_table().then_some(log_end);
    }

    /// What the table has already is not known yet.
    fn is_loading(&self) -> bool {
        let input = self.inputs[Side::Right as usize].as_ref();
        let is_below = |to: i64| input.is_none_or(|input| input.next < to && !input.is_idle());
        self.load_to.is_some_and(is_below)
    }

    fn input(&self, side: Side) -> &Input {
        let input = self.inputs[side as usize].as_ref();
        input.expect("only a side that has begun is read")
    }

    fn input_mut(&mut self, side: Side) -> &mut Input {
        let input = self.inputs[side as usize].as_mut();
        input.expect("only a side that has begun is read")
    }

    fn hash(&self, key: Option<&[u8]>) -> u64 {
        let mut hasher = FixedState::with_seed(self.seed).build_hasher();
        hasher.write(key.unwrap_or_default());
        hasher.finish()
    }

    /// Takes in an event of the left and moves the left watermark.
    pub fn left(&mut self, event: LeftEvent<'_>) -> Verdict {
        let LeftEvent {
            offset,
            time_ms,
            key,
            payload,
        } = event;
        let is_late = self.observe(Side::Left, offset, time_ms);
        let before = &self.input(Side::Left).before;
        if offset < before.read_to && (is_late || Some((time_ms, offset)) < before.decided) {
            return Verdict::Decided;
        }
        let event = Event {
            offset,
            time_ms,
            hash: self.hash(key),
            key,
            payload,
        };
        if is_late {
            self.hand_over(event, None, Outcome::Late);
            return Verdict::Late;
        }
        if self.can_judge() {
            self.judge(event);
        } else {
            self.hold(event);
        }
        Verdict::Taken
    }

    /// Takes in a record of the right and moves the right watermark, unless it is a tombstone, whose time is
    /// that of Kafka. One without key only does that.
    pub fn right(&mut self, record: RightRecord<'_>) -> Verdict {
        if record.payload.is_none() {
            self.pass(Side::Right, record.offset);
        } else if self.observe(Side::Right, record.offset, record.time_ms) && !self.rules.is_table()
        {
            return Verdict::Late;
        }
        let Some(key) = record.key else {
            return Verdict::Taken;
        };
        let hash = self.hash(Some(key));
        let version = Version::new(record.offset, record.time_ms, record.payload);
        let was_read = record.offset < self.input(Side::Right).before.read_to;
        if self.rules.is_eager && !self.is_ready && !was_read {
            self.hold_right(key, hash, version);
        } else {
            self.apply(key, hash, version);
        }
        Verdict::Taken
    }

    /// The records of a side below `next` have been taken in; no more is known of those behind.
    pub fn note_read(&mut self, side: Side, next: i64) {
        self.input_mut(side).note_read(next);
        self.get_ready();
    }

    /// Whether a side has gone silent, and how far it has been read, gaps of the log included.
    pub fn note_silence(&mut self, side: Side, is_idle: bool, seen_to: i64) {
        self.input_mut(side).note_silence(is_idle, seen_to);
        self.get_ready();
    }

    /// Moves a watermark. Whether the record was behind it.
    fn observe(&mut self, side: Side, offset: i64, time_ms: i64) -> bool {
        self.approach(side, offset);
        let is_late = Some(time_ms) < self.watermark_ms(side);
        self.input_mut(side).observe(offset, time_ms);
        is_late
    }

    /// Passes a record that says nothing of event time.
    fn pass(&mut self, side: Side, offset: i64) {
        self.approach(side, offset);
        self.input_mut(side).pass(offset);
    }

    /// What comes at or behind where the side had been read to is new: the replay is over before it.
    fn approach(&mut self, side: Side, offset: i64) {
        if !self.is_ready {
            let input = self.input_mut(side);
            input.next = input.next.max(offset);
            self.get_ready();
        }
    }

    /// Decides an event at once if that is to be, or lets it wait.
    fn judge(&mut self, event: Event<'_>) {
        let is_eager = self.rules.is_eager;
        let is_below = Some(event.at()) < self.decided;
        if !is_eager && !is_below {
            return self.pending.push(event, false);
        }
        let known = self.versions.best(&event, &self.rules);
        let was_read = event.offset < self.input(Side::Left).before.read_to;
        match known {
            Known::Nothing if !is_below => self.pending.push(event, true),
            // It was handed out before we came.
            _ if is_eager && was_read => {}
            Known::Match { payload, .. } => {
                let payload = payload.clone();
                self.hand_over(event, Some(payload), Outcome::Matched);
            }
            Known::Nothing | Known::Ended => {
                let outcome = self.versions.without_match(&event);
                self.hand_over(event, None, outcome);
            }
        }
    }

    fn hand_over(&mut self, event: Event<'_>, right: Option<Arc<[u8]>>, outcome: Outcome) {
        let decided = Decided {
            offset: event.offset,
            left: event.payload.into(),
            right,
            outcome,
        };
        self.outbox.push(decided);
    }

    /// A version becomes known; in an eager join it decides events that wait.
    fn apply(&mut self, key: &[u8], hash: u64, version: Version) {
        if self.rules.is_eager && self.is_ready {
            let rules = self.rules;
            let outbox = &mut self.outbox;
            let is_answered = |event: &Event<'_>| version.answers(&rules, event.time_ms);
            self.pending.take_of_key(key, hash, is_answered, |event| {
                let decided = Decided {
                    offset: event.offset,
                    left: event.payload.into(),
                    right: version.payload.clone(),
                    outcome: match version.payload {
                        Some(_) => Outcome::Matched,
                        None => Outcome::OutsideWindow,
                    },
                };
                outbox.push(decided);
            });
        }
        self.versions.insert(key, hash, version, &self.rules);
    }

    /// Records of a side before this time are late.
    pub fn watermark_ms(&self, side: Side) -> Option<i64> {
        let input = self.inputs[side as usize].as_ref()?;
        self.rules.watermark(input.largest_ms)
    }

    /// What it takes of the process's memory.
    pub fn memory_bytes(&self) -> usize {
        let inputs = self.inputs.iter().flatten().map(Input::memory_bytes);
        self.pending.memory_bytes()
            + self.versions.memory_bytes()
            + self.outbox.bytes
            + self.held.memory_bytes()
            + self.unapplied_bytes
            + inputs.sum::<usize>()
    }

    /// How many records of a side are kept.
    pub fn buffered(&self, side: Side) -> usize {
        match side {
            Side::Left => self.pending.count() + self.held.count() + self.outbox.events.len(),
            Side::Right => self.versions.count() + self.unapplied.len(),
        }
    }

    /// Left events that wait for a decision.
    pub fn pending_count(&self) -> usize {
        self.pending.count() + self.held.count()
    }

    /// The earliest and the latest of their times, about.
    pub fn pending_span_ms(&self) -> Option<(i64, i64)> {
        self.pending.span_ms()
    }
}
