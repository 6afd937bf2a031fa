//! What the missing values of a row come to, by what is known. Decisions only.

use std::borrow::Cow;
use std::collections::HashMap;

use super::super::Target;
use super::super::moved::{MovedRows, ToldRow};
use super::known::{Found, Known};
use crate::batch::{GapSource, GappedRow, Moved, VERSION_LEN, Walker, is_default};

/// What a row's values come to.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Complete, or as complete as it must be.
    Whole(Vec<u8>),
    /// The same, from a row of the old key that may have been of another life.
    Assumed(Vec<u8>),
    /// A later change of the row is in the table already.
    Superseded,
    /// The row it was before is not there yet.
    Later,
    /// Nobody knows them.
    Unknown(String),
}

/// What a verdict rests upon.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judge<'j> {
    pub(super) target: &'j Target,
    pub(super) known: &'j Known<'j>,
    pub(super) remembered: &'j MovedRows,
    /// It is not waited any longer.
    pub(super) is_last: bool,
}

/// By offset: what a row comes to unless its old key is left once more within the time it waits.
pub(super) type Doubtful = HashMap<i64, Verdict>;

impl<'j> Judge<'j> {
    pub(super) fn verdict(self, row: &GappedRow, doubtful: &mut Doubtful) -> Verdict {
        let gaps = &row.gaps;
        if gaps.columns.is_empty() {
            return Verdict::Whole(row.bytes.clone());
        }
        let own = self.known.of(row.key());
        // What an earlier life of the process has written of it may still be asked for.
        let written = own.deleted.as_ref();
        let written = written.filter(|written| written.version == row.version());
        if written.is_some() && gaps.moved.is_some() {
            return self.fill(row, written);
        }
        match own.newest() {
            Some(newest) if newest.version > row.version() => match (&gaps.moved, &gaps.source) {
                // Written by a version that did not yet keep back what follows a row that has left.
                (Some(_), GapSource::Moved(_)) => {}
                _ => return Verdict::Superseded,
            },
            // Written before, from what the old key had then: it may have another row by now.
            Some(own) if own.version == row.version() && own.has_all(self.target, gaps) => {
                return self.fill(row, Some(own));
            }
            _ => {}
        }
        match &gaps.source {
            GapSource::None => self.fill(row, None),
            GapSource::Key(key) => {
                let of_key = self.known.of(key);
                match &gaps.moved {
                    Some(moved) if self.is_named(moved) && of_key.is_gone() => {
                        // It is told once more, or the row that has left is not known.
                        match self.known.told.of(moved) {
                            Some(told) => self.fill_from_told(row, moved, told),
                            None => self.fill(row, None),
                        }
                    }
                    _ => self.filled(row, |column| {
                        let from = match gaps.kept.contains(&column) {
                            true => of_key.now(),
                            false => of_key.newest(),
                        };
                        from.and_then(|from| from.value(column)).map(Cow::Borrowed)
                    }),
                }
            }
            GapSource::Moved(moved) => self.of_moved(row, moved, doubtful),
        }
    }

    /// Whether what a row was before this change is told by the change's position in the log.
    fn is_named(self, moved: &Moved) -> bool {
        self.known.told.is_there && moved.lsn.is_some()
    }

    /// A row under its new key.
    fn of_moved(self, row: &GappedRow, moved: &Moved, doubtful: &mut Doubtful) -> Verdict {
        if let Some(values) = self.remembered.of(self.target, moved) {
            return self.fill_from_row(row, &values);
        }
        if let Some(told) = self.known.told.of(moved) {
            return self.fill_from_told(row, moved, told);
        }
        // What the delete has been told with, or will be.
        let is_named = self.is_named(moved) && !self.known.told.has_unnamed(moved);
        match is_named {
            true if !self.is_last => Verdict::Later,
            true => self.assume_last(row, moved),
            false => self.assume(row, moved, doubtful),
        }
    }

    /// Nothing tells in which change the old key's rows have left it.
    fn assume(self, row: &GappedRow, moved: &Moved, doubtful: &mut Doubtful) -> Verdict {
        if let Some(values) = self.remembered.likely_of(self.target, moved) {
            return self.fill_from_row(row, &values);
        }
        let of_old = self.known.of(&moved.old);
        match self.left(row, moved) {
            // While the old key lives, it may have been left earlier and be about to be left again.
            Some(left) if !of_old.lives_after(left) => self.fill(row, Some(left)),
            Some(left) if !self.is_last => {
                // Merges may take it away meanwhile.
                let filled = || assumed(self.fill(row, Some(left)));
                doubtful.entry(row.offset).or_insert_with(filled);
                Verdict::Later
            }
            _ if !self.is_last => Verdict::Later,
            left => match doubtful.remove(&row.offset) {
                Some(verdict) => verdict,
                None => assumed(self.fill(row, left.or(of_old.living.as_ref()))),
            },
        }
    }

    /// The delete has not come in time: it may be one of before there was a table for it, or be late.
    fn assume_last(self, row: &GappedRow, moved: &Moved) -> Verdict {
        let left = self.left(row, moved);
        let left = left.filter(|left| !self.known.told.is_told(&moved.old, left.version));
        let living = self.known.of(&moved.old).living.as_ref();
        assumed(self.fill(row, left.or(living)))
    }

    /// The newest deleted row of the old key, if it has the values and may have left in this change.
    fn left(self, row: &GappedRow, moved: &Moved) -> Option<&'j Found<'j>> {
        let left = self.known.of(&moved.old).deleted.as_ref();
        left.filter(|left| {
            let remembered = self.remembered;
            left.has_all(self.target, &row.gaps)
                && !remembered.is_of_another(self.target, moved, left.version)
        })
    }

    fn fill(self, row: &GappedRow, from: Option<&Found<'_>>) -> Verdict {
        self.filled(row, |column| {
            from.and_then(|from| from.value(column)).map(Cow::Borrowed)
        })
    }

    fn fill_from_row(self, row: &GappedRow, values: &[u8]) -> Verdict {
        let mut rest = Walker(values);
        let values = self.target.others.iter();
        let values: Option<Vec<&[u8]>> = values.map(|t| rest.value(t)).collect();
        let Some(values) = values else {
            return Verdict::Unknown("the row has had other columns".to_owned());
        };
        self.filled(row, |column| {
            values.get(usize::from(column)).copied().map(Cow::Borrowed)
        })
    }

    /// The table may have been altered since it was told. What has another type now, or was not told, is
    /// taken from the deleted row, which the server has altered too, as long as that is there.
    fn fill_from_told(self, row: &GappedRow, moved: &Moved, told: &ToldRow<'_>) -> Verdict {
        let columns = told.columns().unwrap_or_default();
        let left = self.known.of(&moved.old).deleted.as_ref();
        let left = left.filter(|left| left.version == told.version);
        self.filled(row, |column| {
            let name = &*self.target.other_names[usize::from(column)];
            let wanted = self.target.others[usize::from(column)].to_string();
            if let Some(&(type_name, value)) = columns.get(name) {
                if type_name == wanted {
                    return Some(Cow::Borrowed(value));
                }
                if wanted == format!("Nullable({type_name})") {
                    return Some(Cow::Owned([&[0], value].concat()));
                }
            }
            left?.value(column).map(Cow::Borrowed)
        })
    }

    /// The row with the missing values of another. A deleted row does without: a delete must not be lost
    /// for want of values.
    fn filled<'v>(
        self,
        row: &GappedRow,
        value_of: impl Fn(u16) -> Option<Cow<'v, [u8]>>,
    ) -> Verdict {
        let head = row.key_len + VERSION_LEN;
        let mut bytes = row.bytes[..head].to_vec();
        let mut own = Walker(&row.bytes[head..]);
        for (index, column_type) in (0..).zip(&self.target.others) {
            let Some(value) = own.value(column_type) else {
                return Verdict::Unknown("the row is not readable".to_owned());
            };
            let is_gap = row.gaps.columns.contains(&index);
            let is_kept = row.gaps.kept.contains(&index);
            let found = is_gap.then(|| value_of(index)).flatten();
            match found.filter(|found| is_kept || !is_default(found, column_type)) {
                Some(found) => bytes.extend_from_slice(&found),
                None if is_gap && !is_kept && row.gaps.needed => return self.unknown(index),
                None => bytes.extend_from_slice(value),
            }
        }
        Verdict::Whole(bytes)
    }

    fn unknown(self, column: u16) -> Verdict {
        let name = &self.target.other_names[usize::from(column)];
        Verdict::Unknown(format!(
            "{name}: the source left the unchanged value out, and table {} has no row with it: let the \
             connector take a snapshot of the row (incremental snapshot, or an update of the column)",
            self.target.label
        ))
    }
}

fn assumed(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Whole(bytes) => Verdict::Assumed(bytes),
        other => other,
    }
}
