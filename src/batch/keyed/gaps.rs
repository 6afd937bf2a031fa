//! Values that records left out, and where they are to be found.

use super::VERSION_LEN;
use crate::batch::row_binary::Walker;
use crate::table::ColumnType;

/// Values that a record left out, because they did not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gaps {
    /// The columns, by their number behind `_deleted`, ascending. They hold their types' defaults so far.
    pub(crate) columns: Vec<u16>,
    /// Those of them whose fields the record does not have: they take whatever a living row before has, also
    /// the type's default, and do without where there is none.
    pub(crate) kept: Vec<u16>,
    /// Whose row has them.
    pub(crate) source: GapSource,
    /// Whether the row means nothing without them. A deleted row can do without.
    pub(crate) needed: bool,
    /// The row's key was changed to this one: whoever gets the new row may ask for the values.
    pub(crate) moved: Option<Moved>,
}

impl Gaps {
    /// Of a row that has all its values.
    pub(super) fn none() -> Gaps {
        Gaps {
            columns: vec![],
            kept: vec![],
            source: GapSource::None,
            needed: false,
            moved: None,
        }
    }
}

/// Where values that were left out are to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GapSource {
    /// The newest row of this key that was written before this batch: its own key, or one of the same
    /// partition.
    Key(Box<[u8]>),
    /// The row of the old key, which may lie in another partition and be written later.
    Moved(Moved),
    /// Nowhere: the row before it does not have them.
    None,
}

/// A change of a row's key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Moved {
    pub(crate) old: Box<[u8]>,
    pub(crate) new: Box<[u8]>,
    /// The position in the source's log, the same in all records of one change.
    pub(crate) lsn: Option<u64>,
}

/// A row with gaps that could not be closed within its batch, or one that has to wait for such a row.
#[derive(Debug, Clone)]
pub(crate) struct GappedRow {
    pub(crate) offset: i64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) key_len: usize,
    pub(crate) gaps: Gaps,
}

impl GappedRow {
    pub(crate) fn key(&self) -> &[u8] {
        &self.bytes[..self.key_len]
    }

    pub(crate) fn version(&self) -> u64 {
        let bytes = self.bytes.get(self.key_len..self.key_len + 8);
        bytes
            .and_then(|b| b.try_into().ok())
            .map_or(0, u64::from_le_bytes)
    }

    /// What stands behind `_deleted`.
    pub(crate) fn others(&self) -> &[u8] {
        &self.bytes[self.key_len + VERSION_LEN..]
    }
}

/// Appends the values of `row`, except those for which `takes` says true of the value that `other` has:
/// of them the other's. False, with nothing appended, when either is no row of these types.
pub(super) fn splice(
    row: &[u8],
    other: &[u8],
    types: &[ColumnType],
    out: &mut Vec<u8>,
    mut takes: impl FnMut(u16, &[u8]) -> bool,
) -> bool {
    let start = out.len();
    let (mut row, mut other) = (Walker(row), Walker(other));
    for (index, column_type) in (0..).zip(types) {
        let (Some(own), Some(others)) = (row.value(column_type), other.value(column_type)) else {
            out.truncate(start);
            return false;
        };
        let value = if takes(index, others) { others } else { own };
        out.extend_from_slice(value);
    }
    true
}
