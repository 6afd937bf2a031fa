//! A record becomes rows of the chunk.

use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::sync::Arc;

use super::super::halted_behind;
use super::super::replica::Replica;
use super::super::replicas::Replicas;
use super::absent::Value;
use super::evolving::Evolving;
use super::notes::Notes;
use super::{Made, MadeRow, Rows, failed, has_field, refused};
use crate::batch::{GapSource, Gaps, Moved};
use crate::debezium::{Delete, Failure, KeyReader, Outcome, Row};
use crate::decode::json::Kind;
use crate::decode::{Reason, Reject};
use crate::lane::NotAccepted;
use crate::sink::Stage;
use crate::source::Record;

/// Headers that name the other key of a change of the key.
const NEW_KEY: &CStr = c"__debezium.newkey";
const OLD_KEY: &CStr = c"__debezium.oldkey";
/// A record while its row, or two, are put into the chunk.
pub(super) struct Making<'m, 'c> {
    pub(super) record: Record<'c>,
    pub(super) version: u64,
    pub(super) replicas: &'m Replicas,
    pub(super) topic: &'m str,
    pub(super) replica: &'m Arc<Replica>,
    pub(super) deleted: &'m mut HashMap<i32, Vec<u8>>,
    pub(super) keys: &'m mut KeyReader,
    pub(super) notes: Option<&'m mut Notes>,
    pub(super) key: &'m mut Vec<u8>,
    pub(super) other_key: &'m mut Vec<u8>,
    /// Columns of which was said that their fields are not there.
    pub(super) missed: &'m mut HashSet<String>,
    pub(super) out: &'m mut Rows,
    /// The record's key does not name the row.
    pub(super) key_is_of_row: bool,
}

impl Making<'_, '_> {
    pub(super) fn row(
        &mut self,
        row: &Row<'_, '_>,
        evolution: &Evolving<'_>,
    ) -> Result<usize, NotAccepted> {
        let start = self.out.bytes.len();
        let made = self.row_and_before(row, evolution);
        if made.is_err() {
            self.out.bytes.truncate(start);
            self.out.rows.retain(|made| made.end <= start);
        }
        made
    }

    fn row_and_before(
        &mut self,
        row: &Row<'_, '_>,
        evolution: &Evolving<'_>,
    ) -> Result<usize, NotAccepted> {
        let mut rows = 1;
        if self.key_is_of_row && row.before().kind() == Kind::Object {
            rows += usize::from(self.left_key(row)?);
        }
        self.append_row(row, evolution)?;
        Ok(rows)
    }

    /// Reads the key of the record, or of its row where the configuration names columns that the record's
    /// key does not.
    pub(super) fn key_of_row(&mut self, row: &Row<'_, '_>) -> Result<(), NotAccepted> {
        self.key.clear();
        if self.read_key()? {
            return self.check_whole_key(|name| has_field(row.schema(), row.after(), name));
        }
        self.key_is_of_row = true;
        for column in 0..self.replica.key_len() {
            let outcome = row.encode(column, self.key);
            self.written(outcome, column)?;
        }
        Ok(())
    }

    /// Of a table without key an update may change what tells its rows apart: the row is gone where it
    /// was. True when a row says so.
    fn left_key(&mut self, row: &Row<'_, '_>) -> Result<bool, NotAccepted> {
        self.other_key.clear();
        for column in 0..self.replica.key_len() {
            let outcome = row.encode_before(column, self.other_key);
            self.written(outcome, column)?;
        }
        if self.other_key == self.key {
            return Ok(false);
        }
        std::mem::swap(self.key, self.other_key);
        let appended = self.append_deleted(None);
        std::mem::swap(self.key, self.other_key);
        appended.map(|()| true)
    }

    fn append_row(
        &mut self,
        row: &Row<'_, '_>,
        evolution: &Evolving<'_>,
    ) -> Result<(), NotAccepted> {
        let start = self.begin(false);
        let (mut gaps, mut kept) = (vec![], vec![]);
        let key_len = self.replica.key_len();
        let fields = self.replica.fields.iter().enumerate().skip(key_len);
        for (column, (_, column_type)) in fields {
            if evolution.is_of_former(column) {
                let bytes = &mut self.out.bytes;
                self.replica.append_absent(column, column_type, bytes);
                continue;
            }
            let outcome = row.encode(column, &mut self.out.bytes).map_err(|reject| {
                evolution
                    .of_null(row, column, &reject)
                    .or_else(|| evolution.of_digits(row, column, &reject))
                    .unwrap_or_else(|| refused(Stage::Encode, reject))
            })?;
            match outcome {
                Outcome::Written => {}
                Outcome::Absent => match evolution.absent(row, column, self.missed)? {
                    Value::Default => {
                        let bytes = &mut self.out.bytes;
                        self.replica.append_absent(column, column_type, bytes);
                    }
                    Value::Null => column_type.encode_null_or_zero(&mut self.out.bytes),
                    value @ (Value::Kept | Value::KeptOrDefault) => {
                        let bytes = &mut self.out.bytes;
                        match value {
                            Value::KeptOrDefault => {
                                self.replica.append_absent(column, column_type, bytes);
                            }
                            _ => column_type.encode_null_or_zero(bytes),
                        }
                        gaps.push(number(column - key_len));
                        kept.push(number(column - key_len));
                    }
                },
                Outcome::Unavailable => {
                    column_type.encode_null_or_zero(&mut self.out.bytes);
                    gaps.push(number(column - key_len));
                }
            }
        }
        self.append_notes()?;
        let gaps = (!gaps.is_empty()).then(|| self.gaps_of(row, gaps, kept));
        self.end(start, gaps);
        Ok(())
    }

    /// Where the values are that a row left out.
    fn gaps_of(&mut self, row: &Row<'_, '_>, columns: Vec<u16>, kept: Vec<u16>) -> Gaps {
        self.other_key.clear();
        let old = self.record.header(OLD_KEY);
        let of_row = row.schema().filter(|_| self.key_is_of_row);
        let has_moved = self.keys.encode_header(old, of_row, self.other_key);
        let source = if has_moved && self.other_key != self.key {
            GapSource::Moved(Moved {
                old: self.other_key.as_slice().into(),
                new: self.key.as_slice().into(),
                lsn: row.provenance().lsn(),
            })
        } else {
            GapSource::Key(self.key.as_slice().into())
        };
        Gaps {
            columns,
            kept,
            source,
            needed: true,
            moved: None,
        }
    }

    pub(super) fn delete(&mut self, delete: &Delete<'_, '_>) -> Result<Made, NotAccepted> {
        self.key.clear();
        if self.read_key()? {
            self.check_whole_key(|name| has_field(delete.schema(), delete.before(), name))?;
        } else {
            self.key_is_of_row = true;
            let key = self.record.key().unwrap_or_default();
            let partition = self.record.partition();
            if delete.before().kind() != Kind::Object {
                // It follows the delete that said which row is gone.
                let is_told = self
                    .deleted
                    .remove(&partition)
                    .is_some_and(|last| last == key);
                if is_told {
                    return Ok(Made::Dropped("tombstone"));
                }
                return Err(refused(Stage::Decode, no_row()));
            }
            self.deleted.insert(partition, key.to_vec());
            for column in 0..self.replica.key_len() {
                let outcome = delete.encode_before(column, self.key);
                self.written(outcome, column)?;
            }
        }
        self.other_key.clear();
        let new = self.record.header(NEW_KEY);
        let of_row = delete.schema().filter(|_| self.key_is_of_row);
        let moves = self.keys.encode_header(new, of_row, self.other_key);
        let moved = (moves && self.other_key != self.key).then(|| Moved {
            old: self.key.as_slice().into(),
            new: self.other_key.as_slice().into(),
            lsn: delete.provenance().lsn(),
        });
        self.append_deleted(moved)?;
        Ok(Made::Rows(1))
    }

    /// A deleted row has its key and nothing else, unless it lives on under another key: then that one's
    /// row may need its values.
    fn append_deleted(&mut self, moved: Option<Moved>) -> Result<(), NotAccepted> {
        let start = self.begin(true);
        let key_len = self.replica.key_len();
        for (_, column_type) in self.replica.fields.iter().skip(key_len) {
            column_type.encode_null_or_zero(&mut self.out.bytes);
        }
        self.append_notes()
            .inspect_err(|_| self.out.bytes.truncate(start))?;
        let columns = self.replica.fields.iter().len() - key_len;
        let gaps = moved.map(|moved| Gaps {
            columns: (0..number(columns)).collect(),
            kept: vec![],
            source: GapSource::Key(self.key.as_slice().into()),
            needed: false,
            moved: Some(moved),
        });
        self.end(start, gaps);
        Ok(())
    }

    /// False where the row says which it is: the configuration names columns that the record's key, if
    /// there is one, does not.
    fn read_key(&mut self) -> Result<bool, NotAccepted> {
        let key = self.record.key();
        let is_named = || !self.replicas.key_of(self.topic).is_empty();
        if key.is_none() {
            let check = self.replicas.check_first_key(self.topic, None);
            return check.map(|()| false).map_err(halted_behind);
        }
        match self.keys.encode(key, self.key) {
            Ok(()) => Ok(true),
            Err(Failure::OtherKey) if is_named() => Ok(false),
            Err(Failure::OtherKey) => {
                let halt = self.replicas.other_key(self.topic, self.replica, key);
                Err(halted_behind(halt))
            }
            Err(Failure::NullInKey(column)) => Err(self.null_in_key(&column)),
            Err(failure) => Err(failed(failure, Stage::Decode)),
        }
    }

    /// A key that names more of the row's columns than the configuration does tells rows apart that would be
    /// one row here.
    fn check_whole_key(&self, is_in_row: impl Fn(&str) -> bool) -> Result<(), NotAccepted> {
        if !self.keys.had_others() {
            return Ok(());
        }
        let check = self
            .replicas
            .check_whole_key(self.topic, self.record.key(), is_in_row);
        check.map_err(halted_behind)
    }

    /// Key columns must be there.
    fn written(&self, outcome: Result<Outcome, Reject>, column: usize) -> Result<(), NotAccepted> {
        let name = &self.replica.target.key[column].0;
        match outcome {
            Ok(Outcome::Written) => Ok(()),
            Ok(Outcome::Absent | Outcome::Unavailable) => {
                let detail = format!(
                    "{name}: part of the key, and neither the record's key nor its row has it"
                );
                let reject = Reject::new(Reason::MissingField, detail);
                Err(refused(Stage::Decode, reject))
            }
            // Absent it is no error.
            Err(reject) if reject.reason == Reason::MissingField => Err(self.null_in_key(name)),
            Err(reject) => Err(refused(Stage::Decode, reject)),
        }
    }

    fn null_in_key(&self, column: &str) -> NotAccepted {
        let halt = self.replicas.null_in_key(self.topic, self.replica, column);
        halted_behind(halt)
    }

    fn begin(&mut self, is_deleted: bool) -> usize {
        let start = self.out.bytes.len();
        self.out.bytes.extend_from_slice(self.key);
        self.out
            .bytes
            .extend_from_slice(&self.version.to_le_bytes());
        self.out.bytes.push(u8::from(is_deleted));
        start
    }

    fn end(&mut self, start: usize, gaps: Option<Gaps>) {
        self.out.rows.push(MadeRow {
            key_len: self.key.len(),
            start,
            end: self.out.bytes.len(),
            replica: self.replica.clone(),
            gaps: gaps.map(Box::new),
        });
    }

    fn append_notes(&mut self) -> Result<(), NotAccepted> {
        let Some(notes) = &mut self.notes else {
            return Ok(());
        };
        let appended = notes.append(self.record.value(), self.replica, &mut self.out.bytes);
        appended.map_err(|reject| refused(Stage::Encode, reject))
    }
}

fn number(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}

fn no_row() -> Reject {
    let detail = "a delete whose key is not the table's, without the row that it is about: have the \
                  connector send deletes with their rows";
    Reject::new(Reason::MissingField, detail)
}
