//! `[pipeline.tables."topic"]`: what a topic's replica is called and made of.

use std::collections::BTreeMap;

use super::clickhouse::{TABLE, is_identifier};
use super::columns::{COLUMN, OUT_OF_RANGE};
use super::section::Section;
use super::tree::Value;
use super::value::{Boolean, Choice, Kind, List, text_of};
use crate::debezium::{FieldType, OutOfRange};
use crate::replica::OwnNames;
use crate::table::ColumnType;

/// What differs from a table called as the topic's last part, whose key is that of the records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableMapping {
    /// None: the topic's last part.
    pub table: Option<String>,
    /// What the table has beside its source's columns.
    pub own: OwnNames,
    /// Whether it may be empty where the group has read the topic already.
    pub accept_empty: bool,
    /// Whether other topics are written to the table too, whose keys are others.
    pub shared: bool,
    /// The columns that tell rows apart, in the order of the table; empty: those of the records' keys.
    pub key: Vec<String>,
    /// Types of columns, in the order of the key and then of the name. Without a schema block the table
    /// is created of them, with one they come before what it says.
    pub columns: Vec<(String, ColumnType)>,
    /// Types that the source's columns have where no schema block says so.
    pub source_types: BTreeMap<String, FieldType>,
    /// What a row has in a column that its record has no field for; none: as the evolution says.
    pub absent: Option<Absent>,
    /// What becomes of values that their columns do not hold, by column.
    pub out_of_range: BTreeMap<String, OutOfRange>,
}

/// What a row has in a column that its record has no field for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// NULL.
    Null,
    /// What the row before it has.
    Keep,
    /// Nothing: the pipeline halts.
    Halt,
}

const ABSENT: Choice<Absent> = Choice(&[
    ("null", Absent::Null),
    ("keep", Absent::Keep),
    ("halt", Absent::Halt),
]);

/// A type of the server's that the daemon writes.
struct TypeOfColumn;

impl Kind for TypeOfColumn {
    type Out = ColumnType;

    fn allowed(&self) -> String {
        "a type that the daemon writes, such as \"Nullable(Decimal(10, 2))\" (docs/configuration.md \
         lists them)"
            .to_owned()
    }

    fn read(&self, value: &Value) -> Option<ColumnType> {
        ColumnType::parse(text_of(value)?).ok()
    }

    fn canonical(&self, out: &ColumnType) -> String {
        out.to_string()
    }
}

/// A type of Debezium's or Connect's, by its name.
struct TypeOfSource;

impl Kind for TypeOfSource {
    type Out = (String, FieldType);

    fn allowed(&self) -> String {
        "the name of a type as a schema block has it, such as \"io.debezium.time.MicroTimestamp\", \
         \"org.apache.kafka.connect.data.Decimal(2)\" with its scale, or \"bytes\", but no array"
            .to_owned()
    }

    fn read(&self, value: &Value) -> Option<(String, FieldType)> {
        let name = text_of(value)?;
        Some((name.to_owned(), FieldType::named(name)?))
    }

    fn canonical(&self, (name, _): &(String, FieldType)) -> String {
        name.clone()
    }
}

/// Reads `[pipeline.tables]`.
pub(super) fn read(mut section: Section<'_>) -> BTreeMap<String, TableMapping> {
    let mut tables = BTreeMap::new();
    for topic in section.keys() {
        if let Some(entry) = section.section_if_present(&topic) {
            tables.insert(topic, TableMapping::read(entry));
        }
    }
    section.finish();
    tables
}

impl TableMapping {
    fn read(mut section: Section<'_>) -> TableMapping {
        let key = List {
            of: COLUMN,
            may_be_empty: true,
        };
        let default = OwnNames::default();
        let own = OwnNames {
            version: section.take_or("version_column", COLUMN, default.version),
            deleted: section.take_or("deleted_column", COLUMN, default.deleted),
            view: section.take("view", TABLE),
        };
        let mut mapping = TableMapping {
            table: section.take("table", TABLE),
            accept_empty: section.take_or("accept_empty", Boolean, false),
            shared: section.take_or("shared", Boolean, false),
            key: section.take_or("key", key, vec![]),
            columns: vec![],
            source_types: read_source_types(section.section("source_types"), &own),
            absent: section.take("absent", ABSENT),
            out_of_range: BTreeMap::new(),
            own,
        };
        (mapping.columns, mapping.out_of_range) =
            read_columns(section.section("columns"), &mapping.own);
        mapping.check(&section);
        let key = &mapping.key;
        let place = |column: &str| key.iter().position(|name| name == column);
        mapping
            .columns
            .sort_by_key(|(name, _)| place(name).unwrap_or(key.len()));
        section.finish();
        mapping
    }

    fn check(&self, section: &Section<'_>) {
        if self.own.version == self.own.deleted {
            section.problem("deleted_column", "must not be the version_column");
        }
        if self.own.view.is_some() && self.own.view == self.table {
            section.problem("view", "must not be the table");
        }
        for (index, column) in self.key.iter().enumerate() {
            if self.key[..index].contains(column) {
                section.problem("key", format!("must name each column once: {column}"));
            }
            if self.own.has(column) {
                section.problem(
                    "key",
                    format!("must not have {column}: the daemon fills it"),
                );
            }
        }
    }
}

type OfColumns = (Vec<(String, ColumnType)>, BTreeMap<String, OutOfRange>);

/// A type, or a table with the type or without it.
fn read_columns(mut section: Section<'_>, own: &OwnNames) -> OfColumns {
    let (mut columns, mut out_of_range) = OfColumns::default();
    for column in section.keys() {
        let column_type = match section.peek(&column) {
            Some(Value::Table(_)) => {
                let Some(mut entry) = section.section_if_present(&column) else {
                    continue;
                };
                let column_type = entry.take("type", TypeOfColumn);
                let chosen = entry.take("on_out_of_range", OUT_OF_RANGE);
                out_of_range.extend(chosen.map(|chosen| (column.clone(), chosen)));
                entry.finish();
                column_type
            }
            _ => section.take(&column, TypeOfColumn),
        };
        check_name(&column, own, &section);
        columns.extend(column_type.map(|column_type| (column, column_type)));
    }
    section.finish();
    (columns, out_of_range)
}

fn read_source_types(mut section: Section<'_>, own: &OwnNames) -> BTreeMap<String, FieldType> {
    let mut types = BTreeMap::new();
    for column in section.keys() {
        let field_type = section.take(&column, TypeOfSource);
        check_name(&column, own, &section);
        types.extend(field_type.map(|(_, field_type)| (column, field_type)));
    }
    section.finish();
    types
}

fn check_name(column: &str, own: &OwnNames, section: &Section<'_>) {
    if !is_identifier(column) {
        section.problem(column, format!("must be {}", COLUMN.allowed));
    }
    if own.has(column) {
        section.problem(
            column,
            "must not be declared: the daemon makes and fills it",
        );
    }
}
