//! Left events in the order of arrival, their bytes in blocks.

use std::collections::VecDeque;

use super::blocks::{Blocks, Place};

/// No key is as long: it stands for none.
const NO_KEY: u32 = u32::MAX;

/// A left event, wherever its bytes are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event<'b> {
    pub(super) offset: i64,
    pub(super) time_ms: i64,
    /// Of the key.
    pub(super) hash: u64,
    pub(super) key: Option<&'b [u8]>,
    pub(super) payload: &'b [u8],
}

impl Event<'_> {
    /// Its place in the order of events.
    #[inline]
    pub(super) fn at(&self) -> (i64, i64) {
        (self.time_ms, self.offset)
    }
}

#[derive(Debug)]
struct Slot {
    offset: i64,
    time_ms: i64,
    hash: u64,
    key_bytes: u32,
    place: Place,
}

/// See the module. Each event has a number, one more than that of the one before.
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    /// None where one was taken out, but never at the front.
    slots: VecDeque<Option<Slot>>,
    /// The number of the first slot.
    base: u64,
    blocks: Blocks,
    count: usize,
}

impl EventQueue {
    /// Returns its number.
    pub(super) fn push(&mut self, event: Event<'_>) -> u64 {
        let key_bytes = event.key.map_or(NO_KEY, |key| {
            u32::try_from(key.len()).expect("a record's key is far below 4 GiB")
        });
        let place = self
            .blocks
            .put(event.key.unwrap_or_default(), event.payload);
        self.slots.push_back(Some(Slot {
            offset: event.offset,
            time_ms: event.time_ms,
            hash: event.hash,
            key_bytes,
            place,
        }));
        self.count += 1;
        self.base + self.slots.len() as u64 - 1
    }

    #[inline]
    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.base)?).ok()
    }

    /// None of one that was taken out.
    #[inline]
    pub(super) fn get(&self, number: u64) -> Option<Event<'_>> {
        let slot = self.slots.get(self.index(number)?)?.as_ref()?;
        Some(self.event(slot))
    }

    #[inline]
    pub(super) fn has(&self, number: u64) -> bool {
        let index = self.index(number);
        index.is_some_and(|index| matches!(self.slots.get(index), Some(Some(_))))
    }

    #[inline]
    fn event(&self, slot: &Slot) -> Event<'_> {
        let bytes = self.blocks.get(slot.place);
        let (key, payload) = if slot.key_bytes == NO_KEY {
            (None, bytes)
        } else {
            let (key, payload) = bytes.split_at(slot.key_bytes as usize);
            (Some(key), payload)
        };
        Event {
            offset: slot.offset,
            time_ms: slot.time_ms,
            hash: slot.hash,
            key,
            payload,
        }
    }

    /// Takes one out, if it is there.
    #[inline]
    pub(super) fn remove(&mut self, number: u64) {
        let index = self.index(number);
        let slot = index.and_then(|index| self.slots.get_mut(index)?.take());
        let Some(slot) = slot else { return };
        self.blocks.free(slot.place);
        self.count -= 1;
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.base += 1;
        }
    }

    /// Gives back what is allocated and not needed any more.
    pub(super) fn tidy(&mut self) {
        if self.slots.capacity() > 4 * self.slots.len() + 1024 {
            self.slots.shrink_to(2 * self.slots.len());
        }
        if self.blocks.is_sparse() {
            let mut dense = Blocks::default();
            for slot in self.slots.iter_mut().flatten() {
                slot.place = self.blocks.carry(slot.place, &mut dense);
            }
            self.blocks = dense;
        }
    }

    /// The first in the order of arrival.
    #[inline]
    pub(super) fn first(&self) -> Option<(u64, Event<'_>)> {
        let slot = self.slots.front()?.as_ref()?;
        Some((self.base, self.event(slot)))
    }

    pub(super) fn lowest_offset(&self) -> Option<i64> {
        Some(self.slots.front()?.as_ref()?.offset)
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Option<Slot>>() + self.blocks.memory_bytes()
    }
}
