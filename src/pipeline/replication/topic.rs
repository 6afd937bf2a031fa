//! One topic's records → the rows of its table.

use std::collections::HashSet;
use std::ffi::CStr;
use std::sync::Arc;

use super::replica::Replica;
use super::replicas::{Addition, FirstRecord, Replicas, key_names};
use crate::batch::{GapSource, Gaps, Moved};
use crate::config::{Cdc, Evolution};
use crate::crash::{Guarantee, is_broken};
use crate::decode::debezium::{
    Change, Columns, Delete, Failure, KeyReader, Outcome, Row, RowReader, Schema,
};
use crate::decode::json::{Kind, Plan, Raw, Scanner};
use crate::decode::{Path, Reason, Reject};
use crate::halt::Halt;
use crate::lane::{NotAccepted, Refusal};
use crate::progress;
use crate::sink::Stage;
use crate::source::Record;
use crate::table::ColumnType;
use crate::table::replica::{self, Fit};

/// Headers that name the other key of a change of the key.
const NEW_KEY: &CStr = c"__debezium.newkey";
const OLD_KEY: &CStr = c"__debezium.oldkey";
/// Schema blocks that are remembered to fit the table.
const FITTING_MAX: usize = 64;
/// Names that are logged once, so that a record of new names each time fills no memory.
const NAMES_MAX: usize = 1_000;

/// What one lane keeps for a topic.
#[derive(Debug)]
pub(super) struct Topic {
    name: Arc<str>,
    replica: Option<Arc<Replica>>,
    /// Of [`Replicas`] when the replica was taken from it.
    generation: u64,
    rows: RowReader,
    keys: Option<KeyReader>,
    notes: Option<Notes>,
    /// Schema blocks that fit the table.
    fitting: Vec<u64>,
    /// Whether the names of a record's key were compared with those of the table's.
    key_is_checked: bool,
    ignored: HashSet<String>,
    key: Vec<u8>,
    other_key: Vec<u8>,
}

/// Reads what tells of the record, from records with and without a schema block.
#[derive(Debug)]
struct Notes {
    bare: Scanner,
    in_block: Scanner,
}

/// Rows of a chunk.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) bytes: Vec<u8>,
    pub(super) rows: Vec<MadeRow>,
}

/// Where a row of the chunk lies.
#[derive(Debug)]
pub(super) struct MadeRow {
    pub(super) key_len: usize,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) replica: Arc<Replica>,
    /// Few rows have any, and they would make up most of what is kept here of a row.
    pub(super) gaps: Option<Box<Gaps>>,
}

/// What a record becomes.
#[derive(Debug)]
pub(super) enum Made {
    Rows(usize),
    Dropped(&'static str),
    /// All rows are gone.
    Truncated,
}

impl Topic {
    pub(super) fn new(name: &Arc<str>, config: &Cdc) -> Topic {
        Topic {
            name: name.clone(),
            replica: None,
            generation: 0,
            rows: row_reader(Columns::new(), config),
            keys: None,
            notes: None,
            fitting: vec![],
            key_is_checked: false,
            ignored: HashSet::new(),
            key: vec![],
            other_key: vec![],
        }
    }

    /// Takes over what others have found out about the table.
    fn refresh(&mut self, replicas: &Replicas, config: &Cdc) {
        let generation = replicas.generation();
        if self.generation == generation {
            return;
        }
        self.generation = generation;
        let newest = replicas.of(&self.name);
        let is_same = match (&self.replica, &newest) {
            (Some(own), Some(newest)) => Arc::ptr_eq(own, newest),
            (None, None) => true,
            _ => false,
        };
        if is_same {
            return;
        }
        self.fitting.clear();
        self.key_is_checked = false;
        let fields = newest.as_ref().map_or(Columns::new(), |r| r.fields.clone());
        self.rows = row_reader(fields, config);
        self.keys = newest
            .as_ref()
            .map(|r| KeyReader::new(r.key.clone(), config.modes));
        self.notes = newest.as_ref().and_then(|r| Notes::new(r));
        self.replica = newest;
    }

    /// Appends the rows of one record to `out`.
    pub(super) fn read(
        &mut self,
        record: Record<'_>,
        replicas: &Arc<Replicas>,
        config: &Cdc,
        out: &mut Rows,
    ) -> Result<Made, NotAccepted> {
        self.refresh(replicas, config);
        let version = version(config, record);
        let Topic {
            name,
            replica,
            rows,
            keys,
            notes,
            fitting,
            key_is_checked,
            ignored,
            key,
            other_key,
            ..
        } = self;
        let change = rows
            .read(name, record.key(), record.value())
            .map_err(|failure| failed(failure, Stage::Decode))?;
        let (change, replica, keys) = match (change, replica, keys) {
            (Change::None(why), ..) => return Ok(Made::Dropped(why.as_str())),
            (Change::Truncate(_), ..) => return Ok(Made::Truncated),
            (change, Some(replica), Some(keys)) => (change, &*replica, keys),
            (Change::Row(row), ..) => {
                let first = FirstRecord {
                    schema: row.schema().cloned(),
                    key_names: key_names(record.key()),
                    fields: row
                        .after()
                        .members()
                        .map(|(name, _)| name.into_owned())
                        .collect(),
                    is_delete: false,
                };
                return Err(NotAccepted::Later(replicas.clone().open(name, first)));
            }
            (Change::Delete(_), ..) if replicas.is_missing(name) => {
                return Ok(Made::Dropped("no_table"));
            }
            (Change::Delete(_), ..) => {
                let first = FirstRecord {
                    key_names: key_names(record.key()),
                    is_delete: true,
                    ..FirstRecord::default()
                };
                return Err(NotAccepted::Later(replicas.clone().open(name, first)));
            }
        };
        if !*key_is_checked {
            replicas.check_key(name, replica, record.key())?;
            *key_is_checked = true;
        }
        let mut making = Making {
            record,
            version,
            replica,
            keys,
            notes: notes.as_mut(),
            key,
            other_key,
            out,
        };
        match change {
            Change::Row(row) => {
                let evolution = Evolving {
                    replicas,
                    topic: name,
                    policy: config.evolution,
                    replica,
                };
                evolution.check(&row, fitting, ignored)?;
                making.row(&row, &evolution).map(Made::Rows)
            }
            Change::Delete(delete) => making.delete(&delete).map(Made::Rows),
            Change::None(_) | Change::Truncate(_) => unreachable!("dealt with above"),
        }
    }

    /// The version of a record.
    pub(super) fn version_of(config: &Cdc, record: Record<'_>) -> u64 {
        version(config, record)
    }
}

fn version(config: &Cdc, record: Record<'_>) -> u64 {
    if is_broken(Guarantee::Version) {
        return 0;
    }
    progress::version(config.epoch_at(record.timestamp_ms()), record.offset())
}

fn row_reader(fields: Columns, config: &Cdc) -> RowReader {
    RowReader::new(fields, config.modes).with_placeholder(&config.placeholder)
}

/// A row, or two, on its way into the chunk.
struct Making<'m, 'c> {
    record: Record<'c>,
    version: u64,
    replica: &'m Arc<Replica>,
    keys: &'m mut KeyReader,
    notes: Option<&'m mut Notes>,
    key: &'m mut Vec<u8>,
    other_key: &'m mut Vec<u8>,
    out: &'m mut Rows,
}

impl Making<'_, '_> {
    fn row(&mut self, row: &Row<'_, '_>, evolution: &Evolving<'_>) -> Result<usize, NotAccepted> {
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
        self.key.clear();
        let is_keyed = self.record.key().is_some();
        if is_keyed {
            self.read_key()?;
        } else {
            for column in 0..self.replica.key_len() {
                let outcome = row.encode(column, self.key);
                written(outcome, self.replica, column)?;
            }
        }
        let mut rows = 1;
        if !is_keyed && row.before().kind() == Kind::Object {
            rows += usize::from(self.left_key(row)?);
        }
        self.append_row(row, evolution)?;
        Ok(rows)
    }

    /// Of a table without key an update may change what tells its rows apart: the row is gone where it
    /// was. True when a row says so.
    fn left_key(&mut self, row: &Row<'_, '_>) -> Result<bool, NotAccepted> {
        self.other_key.clear();
        for column in 0..self.replica.key_len() {
            let outcome = row.encode_before(column, self.other_key);
            written(outcome, self.replica, column)?;
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
        let mut gaps = vec![];
        let key_len = self.replica.key_len();
        let fields = self.replica.fields.iter().enumerate().skip(key_len);
        for (column, (_, column_type)) in fields {
            let outcome = row.encode(column, &mut self.out.bytes).map_err(|reject| {
                evolution
                    .of_null(row, column, &reject)
                    .unwrap_or_else(|| refused(Stage::Encode, reject))
            })?;
            match outcome {
                Outcome::Written => {}
                Outcome::Absent => {
                    let bytes = &mut self.out.bytes;
                    self.replica.append_absent(column, column_type, bytes);
                }
                Outcome::Unavailable => {
                    column_type.encode_null_or_zero(&mut self.out.bytes);
                    gaps.push(number(column - key_len));
                }
            }
        }
        self.append_notes()?;
        let gaps = (!gaps.is_empty()).then(|| self.gaps_of(row, gaps));
        self.end(start, gaps);
        Ok(())
    }

    /// Where the values are that a row left out.
    fn gaps_of(&mut self, row: &Row<'_, '_>, columns: Vec<u16>) -> Gaps {
        self.other_key.clear();
        let old = self.record.header(OLD_KEY);
        let has_moved = self.keys.encode_header(old, self.other_key);
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
            source,
            needed: true,
            moved: None,
        }
    }

    fn delete(&mut self, delete: &Delete<'_, '_>) -> Result<usize, NotAccepted> {
        self.key.clear();
        if self.record.key().is_some() {
            self.read_key()?;
        } else {
            for column in 0..self.replica.key_len() {
                let outcome = delete.encode_before(column, self.key);
                written(outcome, self.replica, column)?;
            }
        }
        self.other_key.clear();
        let new = self.record.header(NEW_KEY);
        let moves = self.keys.encode_header(new, self.other_key);
        let moved = (moves && self.other_key != self.key).then(|| Moved {
            old: self.key.as_slice().into(),
            new: self.other_key.as_slice().into(),
            lsn: delete.provenance().lsn(),
        });
        self.append_deleted(moved)?;
        Ok(1)
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
            source: GapSource::Key(self.key.as_slice().into()),
            needed: false,
            moved: Some(moved),
        });
        self.end(start, gaps);
        Ok(())
    }

    fn read_key(&mut self) -> Result<(), NotAccepted> {
        let read = self.keys.encode(self.record.key(), self.key);
        read.map_err(|failure| failed(failure, Stage::Decode))
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

impl Notes {
    fn new(replica: &Replica) -> Option<Notes> {
        let paths = || replica.notes.iter().map(|note| &note.path);
        let in_payload = |path: &Path| {
            let payload = Path::field("payload");
            path.names().fold(payload, |path, name| path.member(name))
        };
        let bare: Vec<Path> = paths().cloned().collect();
        let in_block: Vec<Path> = paths().map(in_payload).collect();
        (!bare.is_empty()).then(|| Notes {
            bare: Scanner::new(Plan::new(&bare)),
            in_block: Scanner::new(Plan::new(&in_block)),
        })
    }

    fn append(
        &mut self,
        value: Option<&[u8]>,
        replica: &Replica,
        out: &mut Vec<u8>,
    ) -> Result<(), Reject> {
        let is_in_block = value.is_some_and(|value| value.starts_with(br#"{"schema":"#));
        let scanner = if is_in_block {
            &mut self.in_block
        } else {
            &mut self.bare
        };
        let is_nothing = value.is_none_or(|value| value.trim_ascii() == b"null");
        if is_nothing {
            for note in &replica.notes {
                note.column.column().column_type.encode_null_or_zero(out);
            }
            return Ok(());
        }
        let scanned = scanner.read(value)?;
        let fields = scanner.fields(scanned);
        for note in &replica.notes {
            note.column.encode(&fields, out, false)?;
        }
        Ok(())
    }
}

/// What becomes of records that do not fit their table.
struct Evolving<'e> {
    replicas: &'e Arc<Replicas>,
    topic: &'e Arc<str>,
    policy: Evolution,
    replica: &'e Arc<Replica>,
}

impl Evolving<'_> {
    fn check(
        &self,
        row: &Row<'_, '_>,
        fitting: &mut Vec<u64>,
        ignored: &mut HashSet<String>,
    ) -> Result<(), NotAccepted> {
        let number = row.schema_number();
        if let (Some(schema), Some(number)) = (row.schema(), number)
            && !fitting.contains(&number)
        {
            self.check_schema(schema)?;
            if fitting.len() >= FITTING_MAX {
                fitting.clear();
            }
            fitting.push(number);
        }
        if row.has_others() {
            self.check_others(row, ignored)?;
        }
        Ok(())
    }

    /// Whether every column can take what the block declares.
    fn check_schema(&self, schema: &Schema) -> Result<(), NotAccepted> {
        let mut wider = vec![];
        for field in schema.fields() {
            let Some(column_type) = self.replica.column_type(&field.name) else {
                continue;
            };
            let table = &self.replica.target.label;
            let is_key = self.replica.is_key(&field.name);
            match replica::fit(&field.field_type, column_type, is_key) {
                Fit::Fits => {}
                Fit::Widen(to) if self.policy == Evolution::AddColumns => {
                    wider.push(Addition::widened(&field.name, column_type, &to));
                }
                Fit::Widen(to) if self.policy == Evolution::Strict => {
                    return Err(schema_changed(format!(
                        "table {table}: column {} {column_type} would have to be {to} to take what \
                         the records have now: ALTER TABLE {table} MODIFY COLUMN `{}` {to}, then \
                         start again, or set pipeline.evolution = \"add_columns\"",
                        field.name, field.name
                    )));
                }
                // What does not fit becomes dead letters, record by record.
                Fit::Widen(_) => {}
                Fit::Never(_) if self.policy == Evolution::Ignore => {}
                Fit::Never(why) => {
                    return Err(schema_changed(format!(
                        "table {table}: column {} {column_type} cannot take what the records have \
                         now: {why}: alter the column or write to another table \
                         ([pipeline.tables.{:?}] table), then start again",
                        field.name, self.topic
                    )));
                }
            }
        }
        if wider.is_empty() {
            return Ok(());
        }
        Err(self.alter(wider))
    }

    /// Fields that no column takes.
    fn check_others(
        &self,
        row: &Row<'_, '_>,
        ignored: &mut HashSet<String>,
    ) -> Result<(), NotAccepted> {
        let mut added = vec![];
        for (name, value) in row.others() {
            if self.replica.is_left_out(&name) {
                added.push(Addition::filled(&name));
                continue;
            }
            if self.replica.has(&name) {
                continue;
            }
            if ignored.contains(&*name) {
                self.replicas.note_ignored_field();
                continue;
            }
            match self.policy {
                Evolution::Ignore => {
                    if ignored.len() < NAMES_MAX {
                        tracing::warn!(
                            topic = &**self.topic,
                            field = &*name,
                            table = self.replica.target.label,
                            "the table has no column for this field, and pipeline.evolution = \
                             \"ignore\" drops it"
                        );
                        ignored.insert(name.into_owned());
                    }
                    self.replicas.note_ignored_field();
                }
                Evolution::Strict => {
                    let table = &self.replica.target.label;
                    return Err(schema_changed(format!(
                        "table {table}: the records have a field {name} that no column takes: add \
                         the column, then start again, or set pipeline.evolution = \"add_columns\" \
                         or \"ignore\""
                    )));
                }
                Evolution::AddColumns => {
                    added.extend(self.addition(row, &name, value)?);
                }
            }
        }
        if added.is_empty() {
            return Ok(());
        }
        Err(self.alter(added))
    }

    /// The column for a field that has none.
    fn addition(
        &self,
        row: &Row<'_, '_>,
        name: &str,
        value: Raw<'_>,
    ) -> Result<Option<Addition>, NotAccepted> {
        let fields = row.schema().map_or(&[][..], Schema::fields);
        let Some(field) = fields.iter().rfind(|field| *field.name == *name) else {
            // Null tells nothing about its type, and a column of nulls says the same as none.
            let has_type = value.kind() != Kind::Null;
            let column_type = || replica::column_type_of_value(value);
            return Ok(has_type.then(|| Addition::new(name, &column_type(), None)));
        };
        let has_default = replica::default_expression(field).is_some();
        let column_type = replica::added_column_type(&field.field_type, has_default);
        let column_type = column_type.map_err(|why| {
            schema_changed(format!(
                "table {}: no column can be made for the field {name}: {why}",
                self.replica.target.label
            ))
        })?;
        Ok(Some(Addition::new(name, &column_type, Some(field))))
    }

    /// NULL in a column that has no NULL.
    fn of_null(&self, row: &Row<'_, '_>, column: usize, reject: &Reject) -> Option<NotAccepted> {
        let is_null =
            reject.reason == Reason::MissingField && row.field(column).kind() == Kind::Null;
        let (name, column_type) = self.replica.fields.iter().nth(column)?;
        let may_widen = self.policy == Evolution::AddColumns && !self.replica.is_key(name);
        if !is_null || !may_widen {
            return None;
        }
        let nullable = nullable(column_type)?;
        Some(self.alter(vec![Addition::widened(name, column_type, &nullable)]))
    }

    fn alter(&self, additions: Vec<Addition>) -> NotAccepted {
        NotAccepted::Later(self.replicas.clone().alter(self.topic, additions))
    }
}

fn number(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}

/// Key columns must be there.
fn written(
    outcome: Result<Outcome, Reject>,
    replica: &Replica,
    column: usize,
) -> Result<(), NotAccepted> {
    match outcome {
        Ok(Outcome::Written) => Ok(()),
        Ok(Outcome::Absent | Outcome::Unavailable) => {
            let name = &replica.target.key[column].0;
            let detail =
                format!("{name}: part of the key, and neither the record's key nor its row has it");
            Err(refused(
                Stage::Decode,
                Reject::new(Reason::MissingField, detail),
            ))
        }
        Err(reject) => Err(refused(Stage::Decode, reject)),
    }
}

fn failed(failure: Failure, stage: Stage) -> NotAccepted {
    match failure {
        Failure::Rejected(reject) => refused(stage, reject),
        Failure::UndeclaredModes => {
            NotAccepted::Halted(Halt::new("undeclared_modes", failure.to_string()))
        }
    }
}

fn refused(stage: Stage, reject: Reject) -> NotAccepted {
    NotAccepted::Refused(Refusal { stage, reject })
}

fn schema_changed(advice: String) -> NotAccepted {
    NotAccepted::Halted(Halt::new("schema", advice))
}

/// The type with NULL; an array has none.
fn nullable(column_type: &ColumnType) -> Option<ColumnType> {
    match column_type {
        ColumnType::LowCardinality(inner) => {
            Some(ColumnType::LowCardinality(Box::new(nullable(inner)?)))
        }
        ColumnType::Array(_) | ColumnType::Nullable(_) => None,
        plain => Some(ColumnType::Nullable(Box::new(plain.clone()))),
    }
}
