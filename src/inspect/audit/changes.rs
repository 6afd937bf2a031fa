//! The newest change and the newest row of each key, held against each other: pure, beside the file for what
//! does not fit into memory.

use super::gathered::{Entry, Gathered};
use super::report::Wrong;
use crate::inspect::Failure;
use crate::sink::NewestRow;

/// Where a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The number of the partition among those that are audited.
    pub(super) partition: u32,
    pub(super) offset: i64,
}

/// A change that a row must be of, if no newer one is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Newest {
    pub(super) version: u64,
    pub(super) is_deleted: bool,
    pub(super) place: Place,
    /// Of its row, where all values come from the record and they are compared.
    pub(super) digest: Option<u64>,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) version: u64,
    pub(super) is_deleted: bool,
    pub(super) digest: Option<u64>,
}

impl From<NewestRow> for Row {
    fn from(row: NewestRow) -> Self {
        Row {
            version: row.version,
            is_deleted: row.is_deleted,
            digest: row.digest.map(short),
        }
    }
}

/// The beginning of a digest: whoever alters a row does not look for another one with the same.
pub(super) fn short(digest: [u8; 32]) -> u64 {
    let (first, _) = digest.split_first_chunk().expect("it has 32 bytes");
    u64::from_le_bytes(*first)
}

/// What a row is, held against the newest change of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Equal,
    /// The newest change deleted the row, and the table has forgotten it.
    Gone,
    Wrong(Wrong, Option<Place>),
    /// The table has no row, and there may be one or not.
    Nothing,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Known {
    /// With the number of times that all rows may have gone before.
    newest: Option<(Newest, u32)>,
    /// The newest change that may be there or not: a dead letter, or one that is not committed.
    optional: Option<u64>,
    found: Option<Row>,
}

impl Known {
    /// `emptied`: how often all rows may have gone, in all.
    fn judge(self, emptied: u32) -> Verdict {
        let newest = self.newest.filter(|(_, before)| *before == emptied);
        let is_optional = self.optional.is_some() || self.newest.is_some();
        let (row, newest) = match (self.found, newest) {
            (Some(row), Some((newest, _))) => (row, newest),
            (None, Some((newest, _))) if newest.is_deleted => return Verdict::Gone,
            (None, Some((newest, _))) => {
                return Verdict::Wrong(Wrong::Missing, Some(newest.place));
            }
            (None, None) => return Verdict::Nothing,
            (Some(row), None) if row.is_deleted || is_optional => return Verdict::Equal,
            (Some(_), None) => return Verdict::Wrong(Wrong::Extra, None),
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
}

/// The newest change and the newest row of each key.
#[derive(Debug)]
pub(super) struct Changes {
    keys: Gathered<Known>,
    emptied: u32,
}

impl Changes {
    /// `keys_max`: no more changes and rows than this come.
    pub(super) fn new(bytes_max: usize, keys_max: u64) -> Self {
        Changes {
            keys: Gathered::new(bytes_max, keys_max),
            emptied: 0,
        }
    }

    /// A change that is committed.
    ///
    /// # Errors
    /// The disk takes no more; so below.
    pub(super) fn add(&mut self, key: &[u8], change: Newest) -> Result<(), Failure> {
        let newest = Some((change, self.emptied));
        self.keys.add(
            key,
            Known {
                newest,
                ..Known::default()
            },
        )
    }

    /// A change that the table may have or not.
    pub(super) fn add_optional(&mut self, key: &[u8], version: u64) -> Result<(), Failure> {
        let optional = Some(version);
        self.keys.add(
            key,
            Known {
                optional,
                ..Known::default()
            },
        )
    }

    /// What was added so far may be there or not: all rows of the table may be gone.
    pub(super) fn all_optional(&mut self) {
        self.emptied = self.emptied.saturating_add(1);
    }

    /// A row of the table, whether a newer one replaces it or not.
    pub(super) fn find(&mut self, key: &[u8], row: Row) -> Result<(), Failure> {
        let found = Some(row);
        self.keys.add(
            key,
            Known {
                found,
                ..Known::default()
            },
        )
    }

    /// Hands each key and what its row is to `each`.
    pub(super) fn judge(
        self,
        mut each: impl FnMut(&[u8], Verdict) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let emptied = self.emptied;
        self.keys
            .finish(|key, known| each(key, known.judge(emptied)))
    }
}

const HAS_NEWEST: u8 = 1;
const HAS_OPTIONAL: u8 = 2;
const HAS_ROW: u8 = 4;
const IS_DELETED: u8 = 8;
const HAS_DIGEST: u8 = 16;
const ROW_IS_DELETED: u8 = 32;
const ROW_HAS_DIGEST: u8 = 64;

impl Entry for Known {
    const BYTES: usize = size_of::<Known>();

    fn merge(&mut self, later: Known) {
        let version = |newest: &Option<(Newest, u32)>| newest.map(|(newest, _)| newest.version);
        if version(&later.newest) >= version(&self.newest) {
            self.newest = later.newest;
        }
        self.optional = self.optional.max(later.optional);
        let version = |row: &Option<Row>| row.map(|row| row.version);
        if version(&later.found) >= version(&self.found) {
            self.found = later.found;
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        let (newest, row) = (self.newest.map(|(newest, _)| newest), self.found);
        let flags = flag(newest.is_some(), HAS_NEWEST)
            | flag(self.optional.is_some(), HAS_OPTIONAL)
            | flag(row.is_some(), HAS_ROW)
            | flag(newest.is_some_and(|n| n.is_deleted), IS_DELETED)
            | flag(newest.is_some_and(|n| n.digest.is_some()), HAS_DIGEST)
            | flag(row.is_some_and(|row| row.is_deleted), ROW_IS_DELETED)
            | flag(row.is_some_and(|row| row.digest.is_some()), ROW_HAS_DIGEST);
        out.push(flags);
        let mut put = |number: u64| out.extend(number.to_le_bytes());
        if let Some((newest, before)) = &self.newest {
            put(newest.version);
            put(newest.place.offset.cast_unsigned());
            put(u64::from(newest.place.partition) << 32 | u64::from(*before));
            newest.digest.into_iter().for_each(&mut put);
        }
        self.optional.into_iter().for_each(&mut put);
        if let Some(row) = row {
            put(row.version);
            row.digest.into_iter().for_each(&mut put);
        }
    }

    fn read(bytes: &[u8]) -> Option<Known> {
        let (flags, mut rest) = bytes.split_first()?;
        let has = |flag: u8| flags & flag != 0;
        let mut take = || {
            let (number, after) = rest.split_first_chunk::<8>()?;
            rest = after;
            Some(u64::from_le_bytes(*number))
        };
        let mut known = Known::default();
        if has(HAS_NEWEST) {
            let (version, offset, numbers) = (take()?, take()?, take()?);
            let place = Place {
                partition: u32::try_from(numbers >> 32).ok()?,
                offset: offset.cast_signed(),
            };
            let newest = Newest {
                version,
                is_deleted: has(IS_DELETED),
                place,
                digest: if has(HAS_DIGEST) { Some(take()?) } else { None },
            };
            known.newest = Some((newest, u32::try_from(numbers & 0xffff_ffff).ok()?));
        }
        if has(HAS_OPTIONAL) {
            known.optional = Some(take()?);
        }
        if has(HAS_ROW) {
            known.found = Some(Row {
                version: take()?,
                is_deleted: has(ROW_IS_DELETED),
                digest: if has(ROW_HAS_DIGEST) {
                    Some(take()?)
                } else {
                    None
                },
            });
        }
        Some(known)
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
            digest: Some(7),
        }
    }

    fn row(version: u64, is_deleted: bool) -> Row {
        Row {
            version,
            is_deleted,
            digest: Some(7),
        }
    }

    fn verdicts(all: Changes) -> BTreeMap<String, Verdict> {
        let mut verdicts = BTreeMap::new();
        let judged = all.judge(|key, verdict| {
            let key = String::from_utf8(key.to_vec()).unwrap();
            assert_eq!(verdicts.insert(key, verdict), None);
            Ok(())
        });
        judged.unwrap();
        verdicts
    }

    #[test]
    fn a_row_is_equal_stale_altered_missing_or_extra_whatever_fits_into_memory() {
        for bytes_max in [usize::MAX, 1] {
            let mut all = Changes::new(bytes_max, 50);
            for key in ["equal", "newer", "stale", "risen", "altered", "missing"] {
                all.add(key.as_bytes(), change(3, false)).unwrap();
                all.add(key.as_bytes(), change(5, false)).unwrap();
                all.add(key.as_bytes(), change(4, true)).unwrap();
            }
            all.add(b"deleted", change(6, true)).unwrap();
            all.add(b"not seen", change(6, true)).unwrap();
            all.add_optional(b"letter", 9).unwrap();
            all.add_optional(b"no letter", 9).unwrap();
            let mut find = |key: &str, row| all.find(key.as_bytes(), row).unwrap();
            find("equal", row(5, false));
            find("newer", row(8, false));
            find("stale", row(3, false));
            find("stale", row(2, true));
            find("risen", row(5, true));
            let altered = Row {
                digest: Some(8),
                ..row(5, false)
            };
            find("altered", altered);
            find("deleted", row(3, false));
            find("deleted", row(6, true));
            find("letter", row(9, false));
            find("nobody", row(1, false));
            find("long gone", row(1, true));
            let place = Some(change(5, false).place);
            let expected = [
                ("equal", Verdict::Equal),
                ("newer", Verdict::Equal),
                ("stale", Verdict::Wrong(Wrong::Stale, place)),
                ("risen", Verdict::Wrong(Wrong::Stale, place)),
                ("altered", Verdict::Wrong(Wrong::Altered, place)),
                ("missing", Verdict::Wrong(Wrong::Missing, place)),
                ("deleted", Verdict::Equal),
                ("not seen", Verdict::Gone),
                ("letter", Verdict::Equal),
                ("no letter", Verdict::Nothing),
                ("nobody", Verdict::Wrong(Wrong::Extra, None)),
                ("long gone", Verdict::Equal),
            ];
            let expected = expected.map(|(key, verdict)| (key.to_owned(), verdict));
            assert_eq!(verdicts(all), BTreeMap::from(expected), "{bytes_max}");
        }
    }

    #[test]
    fn what_came_before_all_rows_may_have_gone_may_be_there_or_not() {
        let mut all = Changes::new(1, 50);
        for key in ["there", "gone", "again"] {
            all.add(key.as_bytes(), change(3, false)).unwrap();
        }
        all.all_optional();
        all.add(b"again", change(5, false)).unwrap();
        all.find(b"there", row(3, false)).unwrap();
        let verdicts = verdicts(all);
        let missing = Verdict::Wrong(Wrong::Missing, Some(change(5, false).place));
        assert_eq!(verdicts["there"], Verdict::Equal);
        assert_eq!(verdicts["gone"], Verdict::Nothing);
        assert_eq!(verdicts["again"], missing);
    }

    proptest! {
        #[test]
        fn an_entry_comes_back_from_the_file_as_it_was(
            newest in prop::option::of((any::<u64>(), any::<bool>(), any::<u32>(), any::<i64>(), any::<u32>())),
            digest in any::<Option<u64>>(),
            optional in any::<Option<u64>>(),
            found in prop::option::of((any::<u64>(), any::<bool>(), any::<Option<u64>>())),
        ) {
            let newest = newest.map(|(version, is_deleted, partition, offset, before)| {
                let place = Place { partition, offset };
                (Newest { version, is_deleted, place, digest }, before)
            });
            let found = found.map(|(version, is_deleted, digest)| Row { version, is_deleted, digest });
            let known = Known { newest, optional, found };
            let mut bytes = vec![];
            known.write(&mut bytes);
            prop_assert_eq!(Known::read(&bytes), Some(known));
            prop_assert_eq!(Known::read(&bytes[..bytes.len() - 1]).filter(|read| *read == known), None);
        }
    }
}
