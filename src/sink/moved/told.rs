//! Rows of the table of moved rows, as they are written and as they are answered.

use std::collections::{HashMap, HashSet};

use crate::batch::{GappedRow, Moved, Walker};
use crate::sink::Target;
use crate::table::append_length;

/// A row as it was when its key changed.
#[derive(Debug)]
pub(in crate::sink) struct ToldRow<'a> {
    /// Of the deleted row.
    pub(in crate::sink) version: u64,
    /// Name, type and encoded value of each column.
    names: Vec<&'a [u8]>,
    types: Vec<&'a [u8]>,
    values: &'a [u8],
}

/// What the table has of some changes.
#[derive(Debug, Default)]
pub(in crate::sink) struct LookedUp<'a> {
    /// Whether there is such a table.
    pub(in crate::sink) is_there: bool,
    /// By old key, new key and change, as they are asked for.
    rows: HashMap<Vec<u8>, ToldRow<'a>>,
    /// Old keys, and versions of deleted rows of theirs that have left in a change that is told.
    versions: HashSet<(Vec<u8>, u64)>,
}

impl<'a> LookedUp<'a> {
    /// Of the answers to [`MovedTable::rows`] and [`MovedTable::versions`]; `None` where they are not such.
    pub(in crate::sink) fn read(rows: &'a [u8], versions: &[u8], is_there: bool) -> Option<Self> {
        let mut found = LookedUp {
            is_there,
            ..LookedUp::default()
        };
        let mut rest = Walker(rows);
        while !rest.0.is_empty() {
            let start = rest.0;
            let _ = (rest.text()?, rest.text()?, rest.text()?);
            let place = start[..start.len() - rest.0.len()].to_vec();
            let row = ToldRow {
                version: rest.number()?,
                names: rest.texts()?,
                types: rest.texts()?,
                values: rest.text()?,
            };
            found.rows.insert(place, row);
        }
        let mut rest = Walker(versions);
        while !rest.0.is_empty() {
            found
                .versions
                .insert((rest.text()?.to_vec(), rest.number()?));
        }
        Some(found)
    }

    /// The row that left its key in this very change.
    pub(in crate::sink) fn of(&self, moved: &Moved) -> Option<&ToldRow<'a>> {
        moved.lsn?;
        self.rows.get(&place(moved, &change_of(moved)))
    }

    /// Whether a row has changed from this key to that one in a change whose delete says not which.
    pub(in crate::sink) fn has_unnamed(&self, moved: &Moved) -> bool {
        self.rows.contains_key(&place(moved, ""))
    }

    /// Whether the deleted row of this version has left the key in a change that is told.
    pub(in crate::sink) fn is_told(&self, old: &[u8], version: u64) -> bool {
        self.versions.contains(&(old.to_vec(), version))
    }
}

impl<'a> ToldRow<'a> {
    /// Encoded values of columns by their names and types.
    pub(in crate::sink) fn columns(&self) -> Option<HashMap<&'a str, (&'a str, &'a [u8])>> {
        let mut rest = Walker(self.values);
        let columns = self.names.iter().zip(&self.types).map(|(name, type_name)| {
            let type_name = std::str::from_utf8(type_name).ok()?;
            let column_type = crate::table::ColumnType::parse(type_name).ok()?;
            let value = rest.value(&column_type)?;
            Some((std::str::from_utf8(name).ok()?, (type_name, value)))
        });
        columns.collect()
    }
}

/// The table's row for a deleted row of the replica `table_name` that has left its key.
pub(super) fn row_of(table_name: &str, table: &Target, row: &GappedRow, moved: &Moved) -> Vec<u8> {
    let mut out = vec![];
    append_text(table_name.as_bytes(), &mut out);
    out.extend(place(moved, &change_of(moved)));
    out.extend_from_slice(&row.version().to_le_bytes());
    append_length(table.other_names.len(), &mut out);
    for name in &table.other_names {
        append_text(name.as_bytes(), &mut out);
    }
    append_length(table.others.len(), &mut out);
    for column_type in &table.others {
        append_text(column_type.to_string().as_bytes(), &mut out);
    }
    append_text(row.others(), &mut out);
    out
}

/// What both records of a change share; empty where they do not say.
pub(super) fn change_of(moved: &Moved) -> String {
    moved.lsn.map_or(String::new(), |lsn| lsn.to_string())
}

/// Old key, new key and change, in RowBinary.
pub(super) fn place(moved: &Moved, change: &str) -> Vec<u8> {
    let mut out = vec![];
    for text in [&moved.old, &moved.new, change.as_bytes()] {
        append_text(text, &mut out);
    }
    out
}

pub(super) fn append_text(text: &[u8], out: &mut Vec<u8>) {
    append_length(text.len(), out);
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{GapSource, Gaps};
    use crate::table::ColumnType;

    fn moved(lsn: Option<u64>) -> Moved {
        Moved {
            old: [1].into(),
            new: [2].into(),
            lsn,
        }
    }

    /// What the server answers with: the rows without the table's name.
    fn answer(lsn: Option<u64>, version: u64, value: &[u8]) -> Vec<u8> {
        let target = Target {
            other_names: vec!["n".to_owned(), "big".to_owned()],
            others: ["Int8", "String"]
                .map(|t| ColumnType::parse(t).unwrap())
                .into(),
            ..Target::nowhere()
        };
        let mut bytes = vec![1];
        bytes.extend(version.to_le_bytes());
        bytes.extend([1, 7]);
        append_text(value, &mut bytes);
        let row = GappedRow {
            offset: 0,
            bytes,
            key_len: 1,
            gaps: Gaps {
                kept: vec![],
                columns: vec![],
                source: GapSource::None,
                needed: false,
                moved: None,
            },
        };
        row_of("", &target, &row, &moved(lsn))[1..].to_vec()
    }

    #[test]
    fn what_is_written_of_a_row_is_read_again() {
        let rows = [answer(Some(5), 9, b"large"), answer(None, 3, b"")].concat();
        let mut versions = vec![1, 1];
        versions.extend(9_u64.to_le_bytes());
        let told = LookedUp::read(&rows, &versions, true).unwrap();
        let row = told.of(&moved(Some(5))).unwrap();
        assert_eq!(row.version, 9);
        let columns = row.columns().unwrap();
        assert_eq!(columns["n"], ("Int8", &[7][..]));
        assert_eq!(columns["big"], ("String", &b"\x05large"[..]));
        assert!(told.of(&moved(Some(6))).is_none() && told.of(&moved(None)).is_none());
        assert!(told.has_unnamed(&moved(Some(6))));
        assert!(told.is_told(&[1], 9) && !told.is_told(&[1], 3));
        for end in 1..rows.len() {
            let cut = LookedUp::read(&rows[..end], &[], true);
            assert!(cut.is_none_or(|cut| cut.rows.len() == 1), "{end}");
        }
    }
}
