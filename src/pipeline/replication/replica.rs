//! One table as rows are made for it: which field goes to which column, in which order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::config::{self, Cdc, ColumnMapping, InsertCompression};
use crate::debezium::{Columns, OutOfRange};
use crate::decode::Path;
use crate::replica::{ColumnMemo, OwnNames, Since};
use crate::sink::{ColumnInfo, RowFormat, TableInfo, Target};
use crate::table::{Column, ColumnSource, ColumnType, DefaultKind, RawMode};

/// A table in which versions decide. Its rows are the key's columns, `_version`, `_deleted`, the columns
/// of the source's row, and those filled from the record around it.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) target: Arc<Target>,
    /// The key's columns.
    pub(super) key: Columns,
    /// The key's columns and those of the source's row behind it.
    pub(super) fields: Columns,
    /// What a row has whose record has no field for the column, by its place among the fields: records of
    /// before the column came are read after those that have it, from another partition or once more.
    defaults: Vec<Option<Bytes>>,
    /// What the comments of the columns say, by the same places.
    memos: Vec<ColumnMemo>,
    /// Columns whose fields stopped coming, by the same places, and the first record without.
    stopped: Vec<(usize, Since)>,
    /// Columns that the source dropped and made anew, by the same places, and the first record between.
    cleared: Vec<(usize, Since)>,
    /// Columns with a DEFAULT of which nothing says that records have had a field, by the same places.
    unmarked: Vec<usize>,
    /// Columns filled from the record around the row.
    pub(super) notes: Vec<Note>,
    /// The columns that the source does not have.
    own: OwnNames,
    /// Every column the table has, filled by us or not.
    known: HashSet<String>,
    /// Columns that are left to their expressions, or to the server where we do not know their type, since no
    /// record has had a field of the name, as far as this process and the columns' comments know.
    left_out: HashSet<String>,
}

/// A column filled from the record around the row.
#[derive(Debug, Clone)]
pub(super) struct Note {
    pub(super) path: Path,
    pub(super) column: ColumnSource,
}

/// The columns of a table, by what fills them.
#[derive(Default)]
struct Sorted {
    key: Vec<(String, ColumnType)>,
    others: Vec<(String, ColumnType)>,
    notes: Vec<Note>,
    known: HashSet<String>,
    left_out: HashSet<String>,
}

impl Sorted {
    fn of(
        info: &TableInfo,
        key: &[String],
        config: &Cdc,
        own: &OwnNames,
        has_field: impl Fn(&str) -> bool,
    ) -> Result<Sorted, String> {
        let mut sorted = Sorted::default();
        let is_unfilled = |name: &str| {
            let is_of_key = key.iter().any(|key| *key == *name);
            !is_of_key && !has_field(name) && config.note(name).is_none()
        };
        for column in &info.columns {
            sorted.known.insert(column.name.clone());
            let default_kind = DefaultKind::parse(&column.default_kind)
                .map_err(|error| format!("column {}: {error}", column.name))?;
            let is_ours = own.has(&column.name);
            let is_left_out = default_kind == DefaultKind::Default && is_unfilled(&column.name);
            if is_left_out {
                sorted.left_out.insert(column.name.clone());
            }
            if is_ours || is_left_out || !default_kind.is_insertable() {
                continue;
            }
            let parsed = ColumnType::parse(&column.type_name);
            // The server fills it as it likes, as long as no record has a field for it: nobody here reads
            // the type, or a row without the field could have no NULL.
            if parsed.as_ref().map_or(true, has_parts) && is_unfilled(&column.name) {
                sorted.left_out.insert(column.name.clone());
                continue;
            }
            let column_type = parsed.map_err(|error| format!("column {}: {error}", column.name))?;
            sorted.take(column, column_type, key, config)?;
        }
        let order = |name: &String| key.iter().position(|k| k == name);
        sorted.key.sort_by_key(|(name, _)| order(name));
        let has = |name: &String| sorted.key.iter().any(|(n, _)| n == name);
        match key.iter().find(|name| !has(name)) {
            None => Ok(sorted),
            Some(missing) => Err(format!(
                "column {missing} of the key is not one that can be written"
            )),
        }
    }

    fn take(
        &mut self,
        column: &ColumnInfo,
        column_type: ColumnType,
        key: &[String],
        config: &Cdc,
    ) -> Result<(), String> {
        let name = column.name.clone();
        if key.contains(&name) {
            self.key.push((name, column_type));
        } else if let Some(mapping) = config.note(&name) {
            let column = Column {
                name,
                column_type,
                default_kind: DefaultKind::None,
            };
            self.notes.push(note(column, mapping, self.notes.len())?);
        } else {
            self.others.push((name, column_type));
        }
        Ok(())
    }
}

/// How columns are read, by their types and by what the configuration says of them.
fn columns(all: &[(String, ColumnType)], key: &[String], config: &Cdc, topic: &str) -> Columns {
    let mapping = config.tables.get(topic);
    let declared = mapping.map(|mapping| &mapping.source_types);
    all.iter()
        .fold(Columns::new(), |columns, (name, column_type)| {
            let columns = match declared.and_then(|types| types.get(name)) {
                Some(field) => columns.with_declared(name, column_type.clone(), field.clone()),
                None => columns.with(name, column_type.clone()),
            };
            // Another value in the key would be another row's.
            let out_of_range = match key.contains(name) {
                true => OutOfRange::DeadLetter,
                false => config.out_of_range(topic, name),
            };
            columns.with_out_of_range(out_of_range)
        })
}

impl Replica {
    /// `key`: names of the key's columns, in the order of the table. `fields_seen`: whether a record has
    /// had a field of this name; a column with an expression is left to it as long as none has.
    ///
    /// # Errors
    /// What is wrong with the table, and what to do.
    pub(super) fn new(
        label: &str,
        sql: &str,
        info: &TableInfo,
        key: &[String],
        config: &Cdc,
        topic: &str,
        has_field: impl Fn(&str) -> bool,
    ) -> Result<Replica, String> {
        let own = config.own_names(topic);
        let Sorted {
            key: key_columns,
            others,
            notes,
            known,
            left_out,
        } = Sorted::of(info, key, config, &own, has_field)?;
        let columns = |all: &[(String, ColumnType)]| columns(all, key, config, topic);
        let fields = columns(&[&key_columns[..], &others[..]].concat());
        let key = columns(&key_columns);
        let note_columns = notes.iter().map(|note| note.column.column());
        let behind: Vec<(String, ColumnType)> = others
            .into_iter()
            .chain(note_columns.map(|c| (c.name.clone(), c.column_type.clone())))
            .collect();
        let target = target(label, sql, info, key_columns, &own, behind);
        Ok(Replica {
            own,
            target: Arc::new(target),
            key,
            fields,
            defaults: vec![],
            memos: vec![],
            stopped: vec![],
            cleared: vec![],
            unmarked: vec![],
            notes,
            known,
            left_out,
        })
    }

    /// The same with these values for columns that have a DEFAULT.
    pub(super) fn with_defaults(mut self, defaults: &HashMap<String, Bytes>) -> Replica {
        let names = self.fields.iter().map(|(name, _)| name);
        self.defaults = names.map(|name| defaults.get(name).cloned()).collect();
        self
    }

    /// The same with rows that are sent compressed so.
    pub(super) fn compressed_by(mut self, compression: InsertCompression) -> Replica {
        self.target = Arc::new(Arc::unwrap_or_clone(self.target).compressed_by(compression));
        self
    }

    /// The same with what is remembered of the columns. Their defaults are known by then.
    pub(super) fn with_memos(mut self, memo_of: impl Fn(&str) -> ColumnMemo) -> Replica {
        let names = self.fields.iter().map(|(name, _)| name);
        self.memos = names.map(memo_of).collect();
        let memos = || self.memos.iter().enumerate();
        let stopped = memos().filter_map(|(field, memo)| Some((field, memo.stopped?)));
        let cleared = memos().filter_map(|(field, memo)| Some((field, memo.cleared?)));
        let is_unmarked = |(field, memo): &(usize, &ColumnMemo)| {
            let has_mark = memo.added.is_some() || memo.stopped.is_some();
            *field >= self.key_len() && self.has_default(*field) && !has_mark
        };
        let unmarked = memos().filter(is_unmarked).map(|(field, _)| field);
        let (stopped, cleared, unmarked) =
            (stopped.collect(), cleared.collect(), unmarked.collect());
        (self.stopped, self.cleared, self.unmarked) = (stopped, cleared, unmarked);
        self
    }

    /// Columns that the source dropped and made anew, and the first record between.
    pub(super) fn cleared(&self) -> &[(usize, Since)] {
        &self.cleared
    }

    /// Columns with a DEFAULT of which nothing says yet that records have had a field.
    pub(super) fn unmarked(&self) -> &[usize] {
        &self.unmarked
    }

    /// What is remembered of a field's column.
    pub(super) fn memo(&self, field: usize) -> ColumnMemo {
        self.memos.get(field).copied().unwrap_or_default()
    }

    /// Columns whose fields stopped coming, and the first record without.
    pub(super) fn stopped(&self) -> &[(usize, Since)] {
        &self.stopped
    }

    /// Whether the field's column has a DEFAULT.
    pub(super) fn has_default(&self, field: usize) -> bool {
        self.defaults.get(field).is_some_and(Option::is_some)
    }

    /// Appends what the field's column has in a row of a record without the field.
    pub(super) fn append_absent(&self, field: usize, column_type: &ColumnType, out: &mut Vec<u8>) {
        match self.defaults.get(field) {
            Some(Some(value)) => out.extend_from_slice(value),
            _ => column_type.encode_null_or_zero(out),
        }
    }

    /// Whether the table has a column of this name, filled by us or not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.known.contains(name)
    }

    /// Whether a column of this name is one that the source does not have.
    pub(super) fn is_own(&self, name: &str) -> bool {
        self.own.has(name)
    }

    /// Whether the column is left to its expression so far.
    pub(super) fn is_left_out(&self, name: &str) -> bool {
        self.left_out.contains(name)
    }

    /// The type of a column that is filled from the row.
    pub(super) fn column_type(&self, name: &str) -> Option<&ColumnType> {
        let mut fields = self.fields.iter();
        fields.find(|(field, _)| *field == name).map(|(_, t)| t)
    }

    pub(super) fn key_len(&self) -> usize {
        self.target.key.len()
    }

    pub(super) fn is_key(&self, name: &str) -> bool {
        self.target.key.iter().any(|(key, _)| key == name)
    }
}

fn note(column: Column, mapping: &ColumnMapping, slot: usize) -> Result<Note, String> {
    let name = column.name.clone();
    let wrong = |error: String| format!("pipeline.columns.{name}: {error}");
    let path = mapping.path.clone().unwrap_or_else(|| format!("$.{name}"));
    let path = Path::parse(&path).map_err(|error| wrong(error.to_string()))?;
    let default = mapping.default.as_deref();
    let raw = match mapping.raw {
        config::RawMode::No => RawMode::Off,
        config::RawMode::Object => RawMode::Object,
        config::RawMode::Any => RawMode::Any,
    };
    let column = ColumnSource::new(column, slot, mapping.required, None, raw)
        .and_then(|column| column.with_unit(mapping.unit, None))
        .and_then(|column| column.with_default(default))
        .map_err(|error| wrong(error.to_string()))?;
    Ok(Note { path, column })
}

fn target(
    label: &str,
    sql: &str,
    info: &TableInfo,
    key: Vec<(String, ColumnType)>,
    own: &OwnNames,
    behind: Vec<(String, ColumnType)>,
) -> Target {
    let ours = [&*own.version, &*own.deleted];
    let names = key.iter().map(|(name, _)| &**name).chain(ours);
    let names = names.chain(behind.iter().map(|(name, _)| &**name));
    let names: Vec<String> = names.map(str::to_owned).collect();
    let (label, sql) = (label.to_owned(), sql.to_owned());
    Target {
        own: own.clone(),
        other_names: behind.iter().map(|(name, _)| name.clone()).collect(),
        others: behind
            .into_iter()
            .map(|(_, column_type)| column_type)
            .collect(),
        key,
        ..Target::of_columns(label, sql, info, &names, RowFormat::Values)
    }
}

fn has_parts(column_type: &ColumnType) -> bool {
    use ColumnType::{Json, Map, Tuple};
    matches!(column_type, Map(_) | Tuple(_) | Json(_))
}
