//! The bytes of many records in few allocations.
//!
//! Records that wait come and go one behind the other. Each in an allocation of its own, between
//! others that live longer or shorter, they leave holes: a process that holds 150 MiB takes 300.

use std::collections::VecDeque;

/// A block has room for an eighth of what is held, within these bounds.
const BLOCK_BYTES_MIN: usize = 4 << 10;
const BLOCK_BYTES_MAX: usize = 256 << 10;

/// Where bytes are found. Valid until they are let go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    block: u32,
    start: u32,
    len: u32,
}

#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    /// How many records in it have not been let go.
    live: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    blocks: VecDeque<Block>,
    /// The number of the first block.
    base: u32,
    /// One that is empty, for the next.
    spare: Option<Vec<u8>>,
    allocated: usize,
    live_bytes: usize,
}

impl Blocks {
    /// Keeps both parts, one behind the other.
    pub(super) fn put(&mut self, first: &[u8], second: &[u8]) -> Place {
        let len = first.len() + second.len();
        let has_room = |block: &Block| block.bytes.capacity() - block.bytes.len() >= len;
        if !self.blocks.back().is_some_and(has_room) {
            self.add_block(len);
        }
        let index = self.blocks.len() - 1;
        let block = &mut self.blocks[index];
        let start = block.bytes.len();
        block.bytes.extend_from_slice(first);
        block.bytes.extend_from_slice(second);
        block.live += 1;
        self.live_bytes += len;
        let narrow = |n: usize| u32::try_from(n).expect("a record has less than 2 GiB");
        Place {
            // Numbers wrap around; no two of as many blocks are there at once.
            block: self.base.wrapping_add(narrow(index)),
            start: narrow(start),
            len: narrow(len),
        }
    }

    fn add_block(&mut self, len: usize) {
        let usual = (self.live_bytes / 8).clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX);
        let wanted = usual.max(len);
        let spare = self.spare.take_if(|spare| spare.capacity() >= wanted);
        let bytes = spare.unwrap_or_else(|| {
            self.allocated += wanted;
            Vec::with_capacity(wanted)
        });
        self.blocks.push_back(Block { bytes, live: 0 });
    }

    #[inline]
    pub(super) fn get(&self, place: Place) -> &[u8] {
        let Place { block, start, len } = place;
        let block = &self.blocks[block.wrapping_sub(self.base) as usize];
        &block.bytes[start as usize..][..len as usize]
    }

    /// Lets bytes go, once.
    #[inline]
    pub(super) fn free(&mut self, place: Place) {
        let index = place.block.wrapping_sub(self.base) as usize;
        self.live_bytes -= place.len as usize;
        let is_last = index + 1 == self.blocks.len();
        let block = &mut self.blocks[index];
        block.live -= 1;
        if block.live > 0 {
            return;
        }
        if is_last {
            block.bytes.clear();
        } else {
            let mut bytes = std::mem::take(&mut block.bytes);
            bytes.clear();
            self.keep_spare(bytes);
        }
        // The last one is where the next record goes.
        while self.blocks.len() > 1 && self.blocks[0].live == 0 {
            let gone = self.blocks.pop_front();
            // One that was emptied as the last one still has its room.
            self.allocated -= gone.map_or(0, |block| block.bytes.capacity());
            self.base = self.base.wrapping_add(1);
        }
    }

    fn keep_spare(&mut self, bytes: Vec<u8>) {
        let is_usual = bytes.capacity() <= BLOCK_BYTES_MAX && self.live_bytes >= bytes.capacity();
        let dropped = if is_usual {
            self.spare.replace(bytes)
        } else {
            Some(bytes)
        };
        self.allocated -= dropped.map_or(0, |bytes| bytes.capacity());
    }

    /// Whether records that stay keep much more allocated than they need.
    pub(super) fn is_sparse(&self) -> bool {
        self.allocated > 2 * self.live_bytes + 4 * BLOCK_BYTES_MAX
    }

    /// Moves bytes behind all others, so that their block can go. [`Blocks::is_sparse`] says when that
    /// is due; whoever moves all of them, in the order in which they came, has it dense.
    pub(super) fn carry(&mut self, place: Place, to: &mut Blocks) -> Place {
        let moved = to.put(self.get(place), &[]);
        self.free(place);
        moved
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.allocated + self.blocks.len() * size_of::<Block>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_found_again_until_they_are_let_go() {
        let mut blocks = Blocks::default();
        let text = |n: usize| format!("{n}:{}", "x".repeat(n * 7 % 900));
        let mut places = VecDeque::new();
        for n in 0..20_000 {
            places.push_back((
                n,
                blocks.put(&text(n).as_bytes()[..2], &text(n).as_bytes()[2..]),
            ));
            if n % 3 != 0 {
                let (first, place) = places.pop_front().expect("some wait");
                assert_eq!(blocks.get(place), text(first).as_bytes());
                blocks.free(place);
            }
        }
        for (n, place) in &places {
            assert_eq!(blocks.get(*place), text(*n).as_bytes());
        }
        let held: usize = places.iter().map(|(n, _)| text(*n).len()).sum();
        assert!(blocks.memory_bytes() < held + 3 * BLOCK_BYTES_MAX);
        for (_, place) in places {
            blocks.free(place);
        }
        assert_eq!(blocks.live_bytes, 0);
        assert!(blocks.memory_bytes() <= 2 * BLOCK_BYTES_MAX + 100);
        assert!(blocks.blocks.len() == 1);
    }

    #[test]
    fn a_large_record_has_a_block_of_its_own_and_takes_it_along() {
        let mut blocks = Blocks::default();
        let small = blocks.put(b"a", b"");
        let large = blocks.put(&vec![1; 3 << 20], &[]);
        let next = blocks.put(b"b", b"");
        assert!(blocks.memory_bytes() > 3 << 20);
        blocks.free(large);
        assert!(blocks.memory_bytes() < 1 << 20);
        assert_eq!(
            (blocks.get(small), blocks.get(next)),
            (&b"a"[..], &b"b"[..])
        );
    }

    #[test]
    fn few_that_stay_can_be_carried_together() {
        let mut blocks = Blocks::default();
        let places: Vec<_> = (0..20_000).map(|_| blocks.put(&[7; 200], &[])).collect();
        let mut left = vec![];
        for (n, place) in places.into_iter().enumerate() {
            if n % 200 == 0 {
                left.push(place);
            } else {
                blocks.free(place);
            }
        }
        assert!(blocks.is_sparse());
        let mut dense = Blocks::default();
        for place in &mut left {
            *place = blocks.carry(*place, &mut dense);
        }
        assert!(!dense.is_sparse());
        assert!(dense.memory_bytes() < 300 * left.len());
        assert!(left.iter().all(|place| dense.get(*place) == [7; 200]));
    }
}
