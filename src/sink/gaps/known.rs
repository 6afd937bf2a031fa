//! What the tables have of the keys that a few rows build upon.

use std::collections::HashMap;

use super::super::Target;
use super::super::moved::LookedUp;
use crate::batch::{GapSource, GappedRow, Gaps, Moved, VERSION_LEN, Walker, is_default};

/// Keys of one query, before they are spelled out: the server takes statements of 256 KiB.
const KEY_BYTES_AT_ONCE: usize = 40 << 10;

/// The answers to the questions about a few rows.
#[derive(Debug)]
pub(super) struct Known<'a> {
    keys: HashMap<&'a [u8], KnownKey<'a>>,
    /// What is told of changes of keys.
    pub(super) told: LookedUp<'a>,
}

/// What the table has of one key.
#[derive(Debug, Default)]
pub(super) struct KnownKey<'a> {
    pub(super) living: Option<Found<'a>>,
    pub(super) deleted: Option<Found<'a>>,
}

/// A row of the table.
#[derive(Debug, Clone)]
pub(super) struct Found<'a> {
    pub(super) version: u64,
    /// The columns that were asked for, by their number.
    values: Vec<(u16, &'a [u8])>,
}

impl<'a> Known<'a> {
    /// Of the answer of [`ClickHouseClient::newest_rows`](super::super::ClickHouseClient::newest_rows).
    pub(super) fn read(
        answer: &'a [u8],
        told: LookedUp<'a>,
        target: &Target,
        columns: &[u16],
    ) -> Option<Self> {
        let mut keys: HashMap<&[u8], KnownKey<'_>> = HashMap::new();
        let mut rest = Walker(answer);
        while !rest.0.is_empty() {
            let row = rest.0;
            for (_, column_type) in &target.key {
                rest.value(column_type)?;
            }
            let key = &row[..row.len() - rest.0.len()];
            let version = u64::from_le_bytes(rest.0.get(..8)?.try_into().ok()?);
            let is_deleted = *rest.0.get(8)? != 0;
            rest.0 = &rest.0[VERSION_LEN..];
            let mut values = Vec::with_capacity(columns.len());
            for &column in columns {
                let column_type = &target.others[usize::from(column)];
                values.push((column, rest.value(column_type)?));
            }
            let of_key = keys.entry(key).or_default();
            let place = if is_deleted {
                &mut of_key.deleted
            } else {
                &mut of_key.living
            };
            *place = Some(Found { version, values });
        }
        Some(Known { keys, told })
    }

    pub(super) fn of(&self, key: &[u8]) -> &KnownKey<'a> {
        const NOTHING: &KnownKey<'static> = &KnownKey {
            living: None,
            deleted: None,
        };
        self.keys.get(key).unwrap_or(NOTHING)
    }
}

impl Known<'_> {
    /// Whether nothing is left to be told of a row that has left its key: the change was told before, or
    /// no row was there to leave.
    pub(super) fn has_told(&self, row: &GappedRow, moved: &Moved) -> bool {
        if moved.lsn.is_none() {
            return !row.gaps.columns.is_empty() && self.of(row.key()).is_gone();
        }
        let told = self.told.of(moved);
        told.is_some_and(|told| told.version <= row.version())
    }
}

impl<'a> KnownKey<'a> {
    pub(super) fn newest(&self) -> Option<&Found<'a>> {
        let rows = [&self.living, &self.deleted];
        rows.into_iter().flatten().max_by_key(|found| found.version)
    }

    /// The row that the key has now.
    pub(super) fn now(&self) -> Option<&Found<'a>> {
        self.living.as_ref().filter(|_| !self.is_gone())
    }

    /// Whether the key has no row now, and had one.
    pub(super) fn is_gone(&self) -> bool {
        let is_newest = |deleted: &Found<'_>| {
            let living = self.living.as_ref();
            living.is_none_or(|living| living.version < deleted.version)
        };
        self.deleted.as_ref().is_some_and(is_newest)
    }

    /// The deleted row, while the key has a newer one: it may have been left once more since.
    pub(super) fn lives_after(&self, left: &Found<'_>) -> bool {
        let mut living = self.living.iter();
        living.any(|living| living.version > left.version)
    }
}

impl<'a> Found<'a> {
    pub(super) fn value(&self, column: u16) -> Option<&'a [u8]> {
        let found = self.values.iter().find(|(index, _)| *index == column);
        found.map(|(_, value)| *value)
    }

    /// Whether it has a value in each of the columns; a deleted row that was never anything but deleted
    /// has none.
    pub(super) fn has_all(&self, target: &Target, gaps: &Gaps) -> bool {
        gaps.columns.iter().all(|&column| {
            let column_type = &target.others[usize::from(column)];
            self.value(column)
                .is_some_and(|value| !is_default(value, column_type))
        })
    }
}

/// How many rows from the front on go into one query.
pub(super) fn fitting(rows: &[GappedRow], rows_max: usize) -> usize {
    let mut key_bytes = 0;
    let fits = |row: &&GappedRow| {
        let keys = keys_of(row).map(<[u8]>::len).sum::<usize>();
        let changes = changes_of(row).map(|(moved, _)| moved.old.len() + moved.new.len() + 24);
        key_bytes += keys.max(2 * changes.sum::<usize>());
        key_bytes <= KEY_BYTES_AT_ONCE
    };
    let count = rows.iter().take(rows_max).take_while(fits).count();
    count.max(1)
}

/// Whose rows tell of the missing values and, where that is another key, its own.
fn keys_of(row: &GappedRow) -> impl Iterator<Item = &[u8]> {
    let source: Option<&[u8]> = match &row.gaps.source {
        _ if row.gaps.columns.is_empty() => None,
        GapSource::None => None,
        GapSource::Key(key) => Some(key),
        GapSource::Moved(moved) => Some(&moved.old),
    };
    let own = source.map(|_| row.key());
    source.into_iter().chain(own)
}

/// The keys whose rows are wanted, each once.
pub(super) fn sought(rows: &[GappedRow]) -> Vec<&[u8]> {
    let mut keys: Vec<&[u8]> = rows.iter().flat_map(keys_of).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// The columns that are wanted of them, each once.
pub(super) fn wanted(rows: &[GappedRow]) -> Vec<u16> {
    let looked_up = rows.iter().filter(|row| keys_of(row).next().is_some());
    let mut columns: Vec<u16> = looked_up
        .flat_map(|row| row.gaps.columns.iter().copied())
        .collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// Changes of keys that a row builds upon, or is the first or a later record of; of the former it is
/// asked too whether they were told without a position in the log.
fn changes_of(row: &GappedRow) -> impl Iterator<Item = (&Moved, bool)> {
    let has_gaps = !row.gaps.columns.is_empty();
    let source = match &row.gaps.source {
        GapSource::Moved(moved) if has_gaps => Some((moved, true)),
        _ => None,
    };
    let left = row.gaps.moved.as_ref().map(|moved| (moved, false));
    let is_named = |(moved, _): &(&Moved, bool)| moved.lsn.is_some();
    source.into_iter().chain(left).filter(is_named)
}

/// The changes of keys that are asked for.
pub(super) fn changes(rows: &[GappedRow]) -> Vec<(&Moved, bool)> {
    rows.iter().flat_map(changes_of).collect()
}

/// The keys that rows have had before and wait for.
pub(super) fn old_keys(rows: &[GappedRow]) -> Vec<&[u8]> {
    let sources = rows.iter().flat_map(changes_of);
    let sources = sources.filter(|(_, is_source)| *is_source);
    sources.map(|(moved, _)| &*moved.old).collect()
}
