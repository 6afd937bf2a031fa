//! The newest change of each key, in bounded memory: pure.
//!
//! Keys that do not fit together are looked at in several passes over the log, each of the keys whose hash
//! leaves one remainder.

use std::collections::HashMap;
use std::hash::BuildHasher as _;

use super::report::Wrong;
use crate::sink::NewestRow;

/// What an entry takes beside its key.
const ENTRY_BYTES: usize = 120;

/// The keys of one pass: those whose hash leaves `remainder` when it is divided by `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    remainder: u64,
    of: u64,
}

impl Part {
    pub(super) const ALL: Part = Part {
        remainder: 0,
        of: 1,
    };

    fn takes(self, hash: u64) -> bool {
        hash % self.of == self.remainder
    }

    /// The two halves of it.
    fn halves(self) -> (Part, Part) {
        let of = self.of * 2;
        let second = Part {
            remainder: self.remainder + self.of,
            of,
        };
        (Part { of, ..self }, second)
    }
}

/// Where a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The number of the partition among those that are audited.
    pub(super) partition: usize,
    pub(super) offset: i64,
}

/// A change that a row must be of, if no newer one is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Newest {
    pub(super) version: u64,
    pub(super) is_deleted: bool,
    pub(super) place: Place,
    /// Of its row, where all values come from the record and they are compared.
    pub(super) digest: Option<[u8; 32]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    newest: Option<Newest>,
    /// The newest change that may be there or not: a dead letter, or one that is not committed.
    optional: Option<u64>,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) version: u64,
    pub(super) is_deleted: bool,
    pub(super) digest: Option<[u8; 32]>,
}

impl From<NewestRow> for Row {
    fn from(row: NewestRow) -> Self {
        Row {
            version: row.version,
            is_deleted: row.is_deleted,
            digest: row.digest,
        }
    }
}

/// A key whose row is not there, and the change that made it.
pub(super) type Missing = (Box<[u8]>, Place);

/// What a row is, held against the newest change of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Equal,
    Wrong(Wrong, Option<Place>),
    /// Another pass looks at it.
    NotOfThisPart,
}

/// The newest change of each key of one part.
#[derive(Debug)]
pub(super) struct Changes {
    entries: HashMap<Box<[u8]>, Entry>,
    state: foldhash::fast::RandomState,
    part: Part,
    bytes: usize,
    bytes_max: usize,
    /// Parts that did not fit.
    later: Vec<Part>,
}

impl Changes {
    /// `state` is the same in every pass.
    pub(super) fn new(part: Part, state: foldhash::fast::RandomState, bytes_max: usize) -> Self {
        Changes {
            entries: HashMap::new(),
            state,
            part,
            bytes: 0,
            bytes_max,
            later: vec![],
        }
    }

    /// A change that is committed.
    pub(super) fn add(&mut self, key: &[u8], change: Newest) {
        if let Some(entry) = self.entry(key)
            && entry
                .newest
                .is_none_or(|newest| newest.version <= change.version)
        {
            entry.newest = Some(change);
        }
    }

    /// A change that the table may have or not.
    pub(super) fn add_optional(&mut self, key: &[u8], version: u64) {
        if let Some(entry) = self.entry(key) {
            entry.optional = entry.optional.max(Some(version));
        }
    }

    /// What was added so far may be there or not: all rows of the table may be gone.
    pub(super) fn all_optional(&mut self) {
        for entry in self.entries.values_mut() {
            let version = entry.newest.take().map(|newest| newest.version);
            entry.optional = entry.optional.max(version);
        }
    }

    fn entry(&mut self, key: &[u8]) -> Option<&mut Entry> {
        if !self.part.takes(self.state.hash_one(key)) {
            return None;
        }
        if !self.entries.contains_key(key) {
            self.bytes += key.len() + ENTRY_BYTES;
            self.entries.insert(key.into(), Entry::default());
            while self.bytes > self.bytes_max && self.entries.len() > 1 && self.part.of < 1 << 40 {
                self.halve();
            }
        }
        self.entries.get_mut(key)
    }

    fn halve(&mut self) {
        let (now, later) = self.part.halves();
        self.part = now;
        self.later.push(later);
        let Changes {
            entries,
            state,
            bytes,
            ..
        } = self;
        entries.retain(|key, _| {
            let stays = now.takes(state.hash_one(&**key));
            if !stays {
                *bytes -= key.len() + ENTRY_BYTES;
            }
            stays
        });
        entries.shrink_to_fit();
    }

    /// Holds a row against the newest change of its key, which is then done with.
    pub(super) fn judge(&mut self, key: &[u8], row: Row) -> Verdict {
        if !self.part.takes(self.state.hash_one(key)) {
            return Verdict::NotOfThisPart;
        }
        let Some(entry) = self.entries.remove(key) else {
            return match row.is_deleted {
                true => Verdict::Equal,
                false => Verdict::Wrong(Wrong::Extra, None),
            };
        };
        let Some(newest) = entry.newest else {
            return Verdict::Equal;
        };
        let wrong = |wrong| Verdict::Wrong(wrong, Some(newest.place));
        if row.version > newest.version {
            return Verdict::Equal;
        }
        if row.version < newest.version || row.is_deleted != newest.is_deleted {
            return wrong(Wrong::Stale);
        }
        match (row.digest, newest.digest) {
            (Some(row), Some(change)) if row != change && !newest.is_deleted => {
                wrong(Wrong::Altered)
            }
            _ => Verdict::Equal,
        }
    }

    /// Keys whose row was not seen although their newest change made one; deleted ones that were not seen,
    /// as a count; and the parts that did not fit.
    pub(super) fn rest(self) -> (Vec<Missing>, u64, Vec<Part>) {
        let (mut missing, mut gone) = (vec![], 0);
        for (key, entry) in self.entries {
            match entry.newest {
                Some(newest) if !newest.is_deleted => missing.push((key, newest.place)),
                Some(_) => gone += 1,
                None => {}
            }
        }
        (missing, gone, self.later)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn change(version: u64, is_deleted: bool) -> Newest {
        Newest {
            version,
            is_deleted,
            place: Place {
                partition: 0,
                offset: i64::try_from(version).unwrap(),
            },
            digest: Some([7; 32]),
        }
    }

    fn row(version: u64, is_deleted: bool) -> Row {
        Row {
            version,
            is_deleted,
            digest: Some([7; 32]),
        }
    }

    fn changes() -> Changes {
        Changes::new(
            Part::ALL,
            foldhash::fast::RandomState::default(),
            usize::MAX,
        )
    }

    #[test]
    fn a_row_is_equal_stale_altered_or_extra() {
        let mut all = changes();
        for key in ["equal", "newer", "stale", "risen", "altered", "missing"] {
            all.add(key.as_bytes(), change(3, false));
            all.add(key.as_bytes(), change(5, false));
            all.add(key.as_bytes(), change(4, true));
        }
        all.add(b"deleted", change(6, true));
        all.add(b"not seen", change(6, true));
        all.add_optional(b"letter", 9);
        let place = Some(change(5, false).place);
        let mut judge = |key: &str, row| all.judge(key.as_bytes(), row);
        assert_eq!(judge("equal", row(5, false)), Verdict::Equal);
        assert_eq!(judge("newer", row(8, false)), Verdict::Equal);
        assert_eq!(
            judge("stale", row(3, false)),
            Verdict::Wrong(Wrong::Stale, place)
        );
        assert_eq!(
            judge("risen", row(5, true)),
            Verdict::Wrong(Wrong::Stale, place)
        );
        let altered = Row {
            digest: Some([8; 32]),
            ..row(5, false)
        };
        assert_eq!(
            judge("altered", altered),
            Verdict::Wrong(Wrong::Altered, place)
        );
        assert_eq!(judge("deleted", row(6, true)), Verdict::Equal);
        assert_eq!(judge("letter", row(9, false)), Verdict::Equal);
        assert_eq!(
            judge("nobody", row(1, false)),
            Verdict::Wrong(Wrong::Extra, None)
        );
        assert_eq!(judge("long gone", row(1, true)), Verdict::Equal);
        let (missing, gone, later) = all.rest();
        assert_eq!(
            missing,
            [(Box::from(&b"missing"[..]), change(5, false).place)]
        );
        assert_eq!((gone, later), (1, vec![]));
    }

    proptest! {
        #[test]
        fn however_little_memory_there_is_each_key_is_looked_at_once(
            keys in prop::collection::vec(0u64..300, 1..400),
            entries_max in 1usize..60,
        ) {
            let state = foldhash::fast::RandomState::default();
            let (mut parts, mut seen) = (vec![Part::ALL], BTreeMap::new());
            let mut passes = 0;
            while let Some(part) = parts.pop() {
                passes += 1;
                prop_assert!(passes < 2_000);
                let bytes_max = entries_max * (ENTRY_BYTES + 8);
                let mut all = Changes::new(part, state.clone(), bytes_max);
                for (version, key) in keys.iter().enumerate() {
                    all.add(&key.to_le_bytes(), change(version as u64, false));
                }
                prop_assert!(all.entries.len() <= entries_max.max(1));
                let (missing, _, later) = all.rest();
                for (key, place) in missing {
                    prop_assert_eq!(seen.insert(key, place.offset), None);
                }
                parts.extend(later);
            }
            let mut expected = BTreeMap::new();
            for (version, key) in keys.iter().enumerate() {
                expected.insert(Box::from(&key.to_le_bytes()[..]), version as i64);
            }
            prop_assert_eq!(seen, expected);
        }
    }
}
