//! Keys that had a profile once, so that an event without match can say why.

use std::collections::VecDeque;

use foldhash::fast::RandomState;
use hashbrown::HashSet;

/// So many are remembered; then the oldest are forgotten, and events of theirs count as of no profile.
const GONE_KEYS_MAX: usize = 262_144;

/// Hashes of keys whose versions have all been dropped.
#[derive(Debug, Default)]
pub(super) struct GoneKeys {
    hashes: HashSet<u64, RandomState>,
    /// The oldest first.
    order: VecDeque<u64>,
}

impl GoneKeys {
    pub(super) fn insert(&mut self, hash: u64) {
        if !self.hashes.insert(hash) {
            return;
        }
        self.order.push_back(hash);
        if self.order.len() > GONE_KEYS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.hashes.remove(&oldest);
        }
    }

    pub(super) fn contains(&self, hash: u64) -> bool {
        self.hashes.contains(&hash)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        // The set has room to spare.
        self.order.len() * 4 * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut gone = GoneKeys::default();
        for hash in 0..=GONE_KEYS_MAX as u64 {
            gone.insert(hash);
            gone.insert(hash);
        }
        assert!(!gone.contains(0));
        assert!(gone.contains(1) && gone.contains(GONE_KEYS_MAX as u64));
        assert_eq!(gone.order.len(), gone.hashes.len());
    }
}
