//! Left events that wait for a decision, in the order of time and offset.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::queue::{Event, EventQueue};

/// Where an event stands among those that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    time_ms: i64,
    offset: i64,
    number: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// In the order of arrival, which is that of offsets.
    events: EventQueue,
    /// Turns of events that came in the order of time, which most do,
    in_order: VecDeque<Turn>,
    /// and of those that did not. Either may hold turns of events that have been taken out.
    behind: BinaryHeap<Reverse<Turn>>,
    /// The numbers of events by the hash of their key, where right records look for them; some may have
    /// been taken out.
    by_key: HashMap<u64, VecDeque<u64>, RandomState>,
}

impl Pending {
    /// `is_sought`: by right records of its key.
    pub(super) fn push(&mut self, event: Event<'_>, is_sought: bool) {
        let number = self.events.push(event);
        let turn = Turn {
            time_ms: event.time_ms,
            offset: event.offset,
            number,
        };
        if self.in_order.back().is_none_or(|last| *last < turn) {
            self.in_order.push_back(turn);
        } else {
            self.behind.push(Reverse(turn));
        }
        if is_sought && event.key.is_some() {
            let numbers = self.by_key.entry(event.hash).or_default();
            numbers.push_back(number);
        }
    }

    /// Lets go of the turns, at the front, of events that have been taken out.
    #[inline]
    fn pass_gone(&mut self) {
        while let Some(turn) = self.first_turn()
            && !self.events.has(turn.number)
        {
            self.pass_first_turn();
        }
    }

    /// The first in the order of time and offset.
    #[inline]
    pub(super) fn first(&mut self) -> Option<Event<'_>> {
        self.pass_gone();
        self.events.get(self.first_turn()?.number)
    }

    #[inline]
    fn first_turn(&self) -> Option<Turn> {
        match (self.in_order.front(), self.behind.peek()) {
            (Some(a), Some(Reverse(b))) => Some(*a.min(b)),
            (Some(turn), None) | (None, Some(Reverse(turn))) => Some(*turn),
            (None, None) => None,
        }
    }

    #[inline]
    fn pass_first_turn(&mut self) {
        let is_in_order = match (self.in_order.front(), self.behind.peek()) {
            (Some(a), Some(Reverse(b))) => a <= b,
            (in_order, _) => in_order.is_some(),
        };
        if is_in_order {
            self.in_order.pop_front();
        } else {
            self.behind.pop();
        }
    }

    /// Takes out what [`Pending::first`] shows.
    #[inline]
    pub(super) fn pass_first(&mut self) {
        self.pass_gone();
        let Some(turn) = self.first_turn() else {
            return;
        };
        self.pass_first_turn();
        let hash = self.events.get(turn.number).map(|event| event.hash);
        self.events.remove(turn.number);
        if let Some(hash) = hash.filter(|_| !self.by_key.is_empty()) {
            self.forget_key(hash);
        }
    }

    /// Lets go of the numbers of events that are gone.
    #[inline]
    fn forget_key(&mut self, hash: u64) {
        let Some(mut numbers) = self.by_key.remove(&hash) else {
            return;
        };
        while numbers.pop_front_if(|n| !self.events.has(*n)).is_some() {}
        if !numbers.is_empty() {
            self.by_key.insert(hash, numbers);
        }
    }

    /// Takes out the events of a key of which this holds, in the order of offsets.
    pub(super) fn take_of_key(
        &mut self,
        key: &[u8],
        hash: u64,
        is_wanted: impl Fn(&Event<'_>) -> bool,
        mut found: impl FnMut(Event<'_>),
    ) {
        let Some(mut numbers) = self.by_key.remove(&hash) else {
            return;
        };
        numbers.retain(|&number| {
            let Some(event) = self.events.get(number) else {
                return false;
            };
            if event.key != Some(key) || !is_wanted(&event) {
                return true;
            }
            found(event);
            self.events.remove(number);
            false
        });
        if !numbers.is_empty() {
            self.by_key.insert(hash, numbers);
        }
    }

    /// Gives back what is allocated and not needed any more.
    pub(super) fn tidy(&mut self) {
        self.events.tidy();
        if self.in_order.capacity() > 4 * self.in_order.len() + 1024 {
            self.in_order.shrink_to(2 * self.in_order.len());
        }
    }

    /// The first in the order of offsets.
    pub(super) fn lowest_offset(&self) -> Option<i64> {
        self.events.lowest_offset()
    }

    pub(super) fn count(&self) -> usize {
        self.events.count()
    }

    /// The earliest and the latest event time, about: for people.
    pub(super) fn span_ms(&self) -> Option<(i64, i64)> {
        let first = self.first_turn()?;
        let last = self.in_order.back().copied().unwrap_or(first);
        Some((first.time_ms, last.time_ms.max(first.time_ms)))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let turns = self.in_order.capacity() + self.behind.len();
        turns * size_of::<Turn>()
            + self.by_key.len() * (size_of::<(u64, VecDeque<u64>)>() + 4 * size_of::<u64>())
            + self.events.memory_bytes()
    }
}
