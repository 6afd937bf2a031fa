//! Left events that wait for a decision, in the order of time and offset.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

/// No key is as long: it stands for none.
const NO_KEY: u32 = u32::MAX;

/// What an allocation takes beside its content, about.
pub(super) const ALLOCATION_BYTES: usize = 16;

/// A left event. Its key and its payload are one allocation.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) offset: i64,
    pub(super) time_ms: i64,
    /// Of the key.
    pub(super) hash: u64,
    key_bytes: u32,
    bytes: Box<[u8]>,
}

impl Event {
    pub(super) fn new(
        offset: i64,
        time_ms: i64,
        key: Option<&[u8]>,
        hash: u64,
        payload: &[u8],
    ) -> Event {
        let key_bytes = key.map_or(NO_KEY, |key| {
            u32::try_from(key.len()).expect("a record's key is far below 4 GiB")
        });
        let bytes = [key.unwrap_or_default(), payload].concat();
        Event {
            offset,
            time_ms,
            hash,
            key_bytes,
            bytes: bytes.into_boxed_slice(),
        }
    }

    /// Its place in the order of events.
    pub(super) fn at(&self) -> (i64, i64) {
        (self.time_ms, self.offset)
    }

    pub(super) fn key(&self) -> Option<&[u8]> {
        if self.key_bytes == NO_KEY {
            return None;
        }
        Some(&self.bytes[..self.key_bytes as usize])
    }

    pub(super) fn payload(&self) -> &[u8] {
        match self.key() {
            Some(key) => &self.bytes[key.len()..],
            None => &self.bytes,
        }
    }

    /// What it takes of the memory outside of itself.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.len() + ALLOCATION_BYTES
    }
}

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
    /// In the order of arrival, which is that of offsets; none where one was taken out.
    slots: VecDeque<Option<Event>>,
    /// The number of the first slot.
    base: u64,
    /// Turns of events that came in the order of time, which most do,
    in_order: VecDeque<Turn>,
    /// and of those that did not. Either may hold turns of events that have been taken out.
    behind: BinaryHeap<Reverse<Turn>>,
    /// The numbers of events by the hash of their key, where right records look for them; some may have
    /// been taken out.
    by_key: HashMap<u64, VecDeque<u64>, RandomState>,
    count: usize,
    /// What the events hold outside of their slots.
    held_bytes: usize,
}

impl Pending {
    /// `is_sought`: by right records of its key.
    pub(super) fn push(&mut self, event: Event, is_sought: bool) {
        let number = self.base + self.slots.len() as u64;
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
        if is_sought && event.key().is_some() {
            let numbers = self.by_key.entry(event.hash).or_default();
            numbers.push_back(number);
        }
        self.count += 1;
        self.held_bytes += event.held_bytes();
        self.slots.push_back(Some(event));
    }

    /// The first in the order of time and offset.
    pub(super) fn first(&mut self) -> Option<&Event> {
        loop {
            let number = self.first_turn()?.number;
            if self.slot(number).is_some() {
                return self.slot(number);
            }
            self.pass_first_turn();
        }
    }

    fn first_turn(&self) -> Option<Turn> {
        match (self.in_order.front(), self.behind.peek()) {
            (Some(a), Some(Reverse(b))) => Some(*a.min(b)),
            (Some(turn), None) | (None, Some(Reverse(turn))) => Some(*turn),
            (None, None) => None,
        }
    }

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

    fn slot(&self, number: u64) -> Option<&Event> {
        let index = usize::try_from(number.checked_sub(self.base)?).ok()?;
        self.slots.get(index)?.as_ref()
    }

    /// Takes out what [`Pending::first`] shows.
    pub(super) fn pop_first(&mut self) -> Option<Event> {
        self.first()?;
        let number = self.first_turn()?.number;
        self.pass_first_turn();
        let event = self.take(number)?;
        self.forget_key(event.hash);
        Some(event)
    }

    fn take(&mut self, number: u64) -> Option<Event> {
        let index = usize::try_from(number.checked_sub(self.base)?).ok()?;
        let event = self.slots.get_mut(index)?.take()?;
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.base += 1;
        }
        self.count -= 1;
        self.held_bytes -= event.held_bytes();
        Some(event)
    }

    /// Lets go of the numbers of events that are gone.
    fn forget_key(&mut self, hash: u64) {
        let Some(mut numbers) = self.by_key.remove(&hash) else {
            return;
        };
        while numbers.pop_front_if(|n| self.slot(*n).is_none()).is_some() {}
        if !numbers.is_empty() {
            self.by_key.insert(hash, numbers);
        }
    }

    /// Takes out the events of a key of which this holds, in the order of offsets.
    pub(super) fn take_of_key(
        &mut self,
        key: &[u8],
        hash: u64,
        is_wanted: impl Fn(&Event) -> bool,
        mut found: impl FnMut(Event),
    ) {
        let Some(mut numbers) = self.by_key.remove(&hash) else {
            return;
        };
        numbers.retain(|&number| {
            let Some(event) = self.slot(number) else {
                return false;
            };
            if event.key() != Some(key) || !is_wanted(event) {
                return true;
            }
            self.take(number).into_iter().for_each(&mut found);
            false
        });
        if !numbers.is_empty() {
            self.by_key.insert(hash, numbers);
        }
    }

    /// The first in the order of offsets.
    pub(super) fn lowest_offset(&self) -> Option<i64> {
        Some(self.slots.front()?.as_ref()?.offset)
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The earliest and the latest event time, about: for people.
    pub(super) fn span_ms(&self) -> Option<(i64, i64)> {
        let first = self.first_turn()?;
        let last = self.in_order.back().copied().unwrap_or(first);
        Some((first.time_ms, last.time_ms.max(first.time_ms)))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let turns = self.in_order.len() + self.behind.len();
        self.slots.len() * size_of::<Option<Event>>()
            + turns * size_of::<Turn>()
            + self.by_key.len() * (size_of::<(u64, VecDeque<u64>)>() + 4 * size_of::<u64>())
            + self.held_bytes
    }
}
