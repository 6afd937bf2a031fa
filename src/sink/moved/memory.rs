//! Rows that this process has seen leave their keys not long ago.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use super::super::Target;
use crate::batch::Moved;

/// What is remembered.
const BYTES_MAX: usize = 8 << 20;
const ROWS_MAX: usize = BYTES_MAX / 256;

#[derive(Debug, Default)]
pub(in crate::sink) struct MovedRows(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    /// By table and old key.
    rows: HashMap<Place, Vec<MovedRow>>,
    /// Where they are, in the order in which they came.
    order: VecDeque<Place>,
    bytes: usize,
}

/// A table's name and a key.
type Place = (String, Box<[u8]>);

#[derive(Debug)]
pub(in crate::sink) struct MovedRow {
    pub(in crate::sink) target: Arc<Target>,
    pub(in crate::sink) moved: Moved,
    /// Of the deleted row.
    pub(in crate::sink) version: u64,
    /// Of the columns behind `_deleted`.
    pub(in crate::sink) values: Arc<[u8]>,
}

impl MovedRows {
    /// Remembers a row. A change that is told once more, as a connector does after a restart, adds
    /// nothing: its old key may have had another life meanwhile.
    pub(in crate::sink) fn put(&self, row: MovedRow) {
        let mut all = self.0.lock().expect("no holder of this lock panics");
        let place = row.place();
        let known = all.rows.entry(place.clone()).or_default();
        let is_same = |known: &MovedRow| {
            row.moved.lsn.is_some() && known.moved == row.moved && known.version < row.version
        };
        if known.iter().any(is_same) {
            return;
        }
        all.bytes += row.bytes();
        all.rows.entry(place.clone()).or_default().push(row);
        all.order.push_back(place);
        all.forget_oldest();
    }

    /// The row that left its key in this very change. Values of before the table was altered are not to
    /// be read any more.
    pub(in crate::sink) fn of(&self, target: &Target, moved: &Moved) -> Option<Arc<[u8]>> {
        moved.lsn?;
        self.newest(target, moved, |row| row.moved.lsn == moved.lsn)
    }

    /// The newest row that has changed from this key to that one, where either record does not say in
    /// which change.
    pub(in crate::sink) fn likely_of(&self, target: &Target, moved: &Moved) -> Option<Arc<[u8]>> {
        let is_open = |row: &MovedRow| row.moved.lsn.is_none() || moved.lsn.is_none();
        self.newest(target, moved, is_open)
    }

    fn newest(
        &self,
        target: &Target,
        moved: &Moved,
        is_it: impl Fn(&MovedRow) -> bool,
    ) -> Option<Arc<[u8]>> {
        let all = self.0.lock().expect("no holder of this lock panics");
        let mut rows = all.rows.get(&place(target, &moved.old))?.iter().rev();
        let found =
            rows.find(|row| row.moved.new == moved.new && row.has_form_of(target) && is_it(row));
        found.map(|row| row.values.clone())
    }

    /// Whether the deleted row of this version is known to have left its key in another change.
    pub(in crate::sink) fn is_of_another(
        &self,
        target: &Target,
        moved: &Moved,
        version: u64,
    ) -> bool {
        let all = self.0.lock().expect("no holder of this lock panics");
        let rows = all.rows.get(&place(target, &moved.old));
        let row = rows.and_then(|rows| rows.iter().rev().find(|row| row.version == version));
        row.is_some_and(|row| {
            let lsns = (row.moved.lsn, moved.lsn);
            let is_other_change = matches!(lsns, (Some(own), Some(other)) if own != other);
            row.moved.new != moved.new || is_other_change
        })
    }
}

impl Remembered {
    fn forget_oldest(&mut self) {
        while self.bytes > BYTES_MAX || self.order.len() > ROWS_MAX {
            let Some(place) = self.order.pop_front() else {
                break;
            };
            let Some(rows) = self.rows.get_mut(&place) else {
                continue;
            };
            self.bytes -= rows.remove(0).bytes();
            if rows.is_empty() {
                self.rows.remove(&place);
            }
        }
    }
}

impl MovedRow {
    fn place(&self) -> Place {
        place(&self.target, &self.moved.old)
    }

    fn bytes(&self) -> usize {
        self.values.len() + self.moved.new.len() + 2 * self.moved.old.len()
    }

    fn has_form_of(&self, target: &Target) -> bool {
        self.target.other_names == target.other_names && self.target.others == target.others
    }
}

fn place(target: &Target, old: &[u8]) -> Place {
    (target.label.clone(), old.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Arc<Target> {
        Arc::new(Target::nowhere())
    }

    fn moved(lsn: Option<u64>) -> Moved {
        Moved {
            old: [1].into(),
            new: [2].into(),
            lsn,
        }
    }

    fn put(rows: &MovedRows, lsn: Option<u64>, version: u64, values: &[u8]) {
        rows.put(MovedRow {
            target: target(),
            moved: moved(lsn),
            version,
            values: values.into(),
        });
    }

    #[test]
    fn each_change_has_the_values_it_was_told_with_first() {
        let rows = MovedRows::default();
        put(&rows, Some(7), 1, b"a");
        put(&rows, Some(8), 2, b"b");
        put(&rows, Some(7), 3, b"of a later life");
        let of = |lsn| rows.of(&target(), &moved(lsn));
        assert_eq!(of(Some(7)).as_deref(), Some(&b"a"[..]));
        assert_eq!(of(Some(8)).as_deref(), Some(&b"b"[..]));
        assert_eq!((of(Some(9)), of(None)), (None, None));
        assert!(rows.is_of_another(&target(), &moved(Some(8)), 1));
        assert!(!rows.is_of_another(&target(), &moved(Some(7)), 1));
    }

    #[test]
    fn where_no_position_is_said_the_newest_row_counts() {
        let rows = MovedRows::default();
        put(&rows, None, 1, b"a");
        put(&rows, None, 2, b"b");
        for lsn in [None, Some(9)] {
            let likely = rows.likely_of(&target(), &moved(lsn));
            assert_eq!(likely.as_deref(), Some(&b"b"[..]));
        }
    }

    #[test]
    fn what_is_remembered_has_a_limit() {
        let rows = MovedRows::default();
        for lsn in 0..20 {
            put(&rows, Some(lsn), lsn, &[1; 1 << 20]);
        }
        let known = (0..20).filter(|lsn| rows.of(&target(), &moved(Some(*lsn))).is_some());
        assert_eq!(known.collect::<Vec<_>>(), [13, 14, 15, 16, 17, 18, 19]);
        let all = rows.0.lock().unwrap();
        assert!(all.bytes <= BYTES_MAX);
    }
}
