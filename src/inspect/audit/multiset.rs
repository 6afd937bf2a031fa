//! What a topic should hold, as often as it should: pure, beside the file for what does not fit into memory.

use super::gathered::{Entry, Gathered};
use crate::inspect::Failure;

/// A record's key and value, hashed.
pub(super) type Digest = u128;

/// Where a record is: partition and offset.
pub(super) type At = (i32, i64);

/// Records of one digest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    expected: u32,
    /// To be there, as far as can be known.
    unsure: u32,
    /// May be there or not.
    optional: u32,
    found: u32,
    /// Found, and perhaps made of records that came while the audit began.
    found_late: u32,
    /// The record that one was to be made of.
    of: At,
    /// The last that was found in time.
    last: At,
}

/// Records of which a topic should hold each so often.
#[derive(Debug)]
pub(super) struct Multiset {
    counts: Gathered<Count>,
}

/// What the records of one digest come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// So many are there as they should.
    Right(u64),
    /// So many are not there; one was to be made of the record at this place.
    Lost(u64, At),
    /// So many are not there, and nobody can know whether they should be.
    Unsure(u64),
    /// So many are there too often; the last of them is at this place.
    Doubled(u64, At),
    /// Nothing like them was to be there; the last of them is at this place.
    Unknown(u64, At),
}

impl Multiset {
    /// `records_max`: no more records than this come.
    pub(super) fn new(bytes_max: usize, records_max: u64) -> Self {
        Multiset {
            counts: Gathered::new(bytes_max, records_max),
        }
    }

    fn add(&mut self, digest: Digest, count: Count) -> Result<(), Failure> {
        self.counts.add(&digest.to_le_bytes(), count)
    }

    /// One is to be there, made of the record at `of`.
    ///
    /// # Errors
    /// The disk takes no more; so below.
    pub(super) fn expect(&mut self, digest: Digest, of: At) -> Result<(), Failure> {
        self.add(
            digest,
            Count {
                expected: 1,
                of,
                ..Count::default()
            },
        )
    }

    /// One is to be there, if what the log has lost changes nothing.
    pub(super) fn suppose(&mut self, digest: Digest) -> Result<(), Failure> {
        self.add(
            digest,
            Count {
                unsure: 1,
                ..Count::default()
            },
        )
    }

    /// One may be there.
    pub(super) fn allow(&mut self, digest: Digest) -> Result<(), Failure> {
        self.add(
            digest,
            Count {
                optional: 1,
                ..Count::default()
            },
        )
    }

    /// One is there. `in_time`: all that it can be made of is known.
    pub(super) fn find(&mut self, digest: Digest, at: At, in_time: bool) -> Result<(), Failure> {
        let count = match in_time {
            true => Count {
                found: 1,
                last: at,
                ..Count::default()
            },
            false => Count {
                found_late: 1,
                ..Count::default()
            },
        };
        self.add(digest, count)
    }

    /// Hands what the records come to to `each`.
    pub(super) fn judge(self, mut each: impl FnMut(Finding)) -> Result<(), Failure> {
        self.counts.finish(|_, count| {
            count.findings().into_iter().flatten().for_each(&mut each);
            Ok(())
        })
    }
}

impl Count {
    fn findings(self) -> [Option<Finding>; 3] {
        let some = |count: u32, finding: fn(u64) -> Finding| {
            (count > 0).then(|| finding(u64::from(count)))
        };
        let there = self.found.saturating_add(self.found_late);
        let lost = self.expected.saturating_sub(there);
        let unsure = there.saturating_sub(self.expected);
        let supposed = self.unsure.saturating_sub(unsure);
        let right = self.expected - lost + (self.unsure - supposed);
        let most = self.expected + self.unsure + self.optional;
        let more = u64::from(self.found.saturating_sub(most));
        let wrong = match (lost, more) {
            (0, 0) => None,
            (0, more) if most == 0 => Some(Finding::Unknown(more, self.last)),
            (0, more) => Some(Finding::Doubled(more, self.last)),
            (lost, _) => Some(Finding::Lost(u64::from(lost), self.of)),
        };
        [
            some(right, Finding::Right),
            some(supposed, Finding::Unsure),
            wrong,
        ]
    }
}

impl Entry for Count {
    const BYTES: usize = size_of::<Count>();

    fn merge(&mut self, later: Count) {
        if later.expected > 0 {
            self.of = later.of;
        }
        if later.found > 0 {
            self.last = later.last;
        }
        self.expected += later.expected;
        self.unsure += later.unsure;
        self.optional += later.optional;
        self.found += later.found;
        self.found_late += later.found_late;
    }

    fn write(&self, out: &mut Vec<u8>) {
        let counts = [
            self.expected,
            self.unsure,
            self.optional,
            self.found,
            self.found_late,
        ];
        out.extend(counts.iter().flat_map(|count| count.to_le_bytes()));
        for (partition, offset) in [self.of, self.last] {
            out.extend(partition.to_le_bytes());
            out.extend(offset.to_le_bytes());
        }
    }

    fn read(bytes: &[u8]) -> Option<Count> {
        let mut rest = bytes;
        let mut counts = [0; 5];
        for count in &mut counts {
            let (number, after) = rest.split_first_chunk()?;
            (*count, rest) = (u32::from_le_bytes(*number), after);
        }
        let mut places = [At::default(); 2];
        for place in &mut places {
            let (partition, after) = rest.split_first_chunk()?;
            let (offset, after) = after.split_first_chunk()?;
            rest = after;
            *place = (i32::from_le_bytes(*partition), i64::from_le_bytes(*offset));
        }
        let [expected, unsure, optional, found, found_late] = counts;
        let [of, last] = places;
        rest.is_empty().then_some(Count {
            expected,
            unsure,
            optional,
            found,
            found_late,
            of,
            last,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_record_is_there_as_often_as_it_should_be() {
        for bytes_max in [usize::MAX, 1] {
            let mut set = Multiset::new(bytes_max, 30);
            for (digest, offset) in [(1, 10), (2, 11), (2, 12), (3, 13), (6, 14), (7, 15)] {
                set.expect(digest, (0, offset)).unwrap();
            }
            for digest in [4, 5] {
                set.allow(digest).unwrap();
            }
            for digest in [8, 8, 10] {
                set.suppose(digest).unwrap();
            }
            let in_time = [
                (1, 0),
                (2, 1),
                (3, 2),
                (3, 3),
                (4, 4),
                (5, 5),
                (5, 6),
                (7, 7),
                (8, 8),
                (9, 9),
            ];
            for (digest, at) in in_time {
                set.find(digest, (7, at), true).unwrap();
            }
            // What came while the audit began is neither too often nor unknown.
            for digest in [6, 7, 11] {
                set.find(digest, (7, 20), false).unwrap();
            }
            let (mut right, mut others) = (0, vec![]);
            let judged = set.judge(|finding| match finding {
                Finding::Right(count) => right += count,
                other => others.push(other),
            });
            judged.unwrap();
            others.sort_by_key(|finding| format!("{finding:?}"));
            assert_eq!(right, 6, "{bytes_max}");
            let expected = [
                Finding::Doubled(1, (7, 3)),
                Finding::Doubled(1, (7, 6)),
                Finding::Lost(1, (0, 12)),
                Finding::Unknown(1, (7, 9)),
                Finding::Unsure(1),
                Finding::Unsure(1),
            ];
            assert_eq!(others, expected, "{bytes_max}");
        }
    }

    #[test]
    fn a_count_comes_back_from_the_file_as_it_was() {
        let count = Count {
            expected: 1,
            unsure: 2,
            optional: 3,
            found: 4,
            found_late: 5,
            of: (6, 7),
            last: (8, i64::MAX),
        };
        let mut bytes = vec![];
        count.write(&mut bytes);
        assert_eq!(Count::read(&bytes), Some(count));
        assert_eq!(Count::read(&bytes[1..]), None);
    }
}
