//! What a topic should hold, as often as it should, in bounded memory: pure.

use std::collections::HashMap;

/// A record's key and value, hashed.
pub(super) type Digest = u128;

/// Where a record is: partition and offset.
pub(super) type At = (i32, i64);

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    expected: u32,
    /// May be there or not.
    optional: u32,
    found: u32,
    of: At,
    last: At,
}

/// What one entry takes, about.
pub(super) const ENTRY_BYTES: u64 = 96;

/// Records of which a topic should hold each so often.
#[derive(Debug, Default)]
pub(super) struct Multiset {
    entries: HashMap<Digest, Entry>,
}

/// What is wrong with the records of one digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Miscount {
    /// So many are not there; one was to be made of the record at this place.
    Lost(u64, At),
    /// So many are there too often; the last of them is at this place.
    Doubled(u64, At),
}

impl Multiset {
    /// One is to be there, made of the record at `of`.
    pub(super) fn expect(&mut self, digest: Digest, of: At) {
        let entry = self.entries.entry(digest).or_default();
        entry.expected += 1;
        entry.of = of;
    }

    /// One may be there.
    pub(super) fn allow(&mut self, digest: Digest) {
        self.entries.entry(digest).or_default().optional += 1;
    }

    /// One is there; false: nothing like it was to be.
    pub(super) fn find(&mut self, digest: Digest, at: At) -> bool {
        let Some(entry) = self.entries.get_mut(&digest) else {
            return false;
        };
        entry.found += 1;
        entry.last = at;
        true
    }

    /// How many are there as they should, and what is wrong.
    pub(super) fn judge(self) -> (u64, Vec<Miscount>) {
        let (mut right, mut wrong) = (0, vec![]);
        for entry in self.entries.into_values() {
            right += u64::from(entry.expected.min(entry.found));
            let most = entry.expected + entry.optional;
            if entry.found < entry.expected {
                let count = u64::from(entry.expected - entry.found);
                wrong.push(Miscount::Lost(count, entry.of));
            } else if entry.found > most {
                wrong.push(Miscount::Doubled(u64::from(entry.found - most), entry.last));
            }
        }
        (right, wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_record_is_there_as_often_as_it_should_be() {
        let mut set = Multiset::default();
        set.expect(1, (0, 10));
        set.expect(2, (0, 11));
        set.expect(2, (0, 12));
        set.expect(3, (0, 13));
        set.allow(4);
        set.allow(5);
        for (digest, at) in [(1, 0), (2, 1), (3, 2), (3, 3), (4, 4), (5, 5), (5, 6)] {
            assert!(set.find(digest, (7, at)));
        }
        assert!(!set.find(9, (7, 9)));
        let (right, mut wrong) = set.judge();
        assert_eq!(right, 3);
        wrong.sort_by_key(|wrong| match wrong {
            Miscount::Lost(_, at) | Miscount::Doubled(_, at) => *at,
        });
        let expected = [
            Miscount::Lost(1, (0, 12)),
            Miscount::Doubled(1, (7, 3)),
            Miscount::Doubled(1, (7, 6)),
        ];
        assert_eq!(wrong, expected);
    }
}
