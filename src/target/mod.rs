//! The table that rows go to, as batches and statements need it.

mod columns;
mod frame;
mod provenance;
mod quote;

use bytes::Bytes;

pub(crate) use self::columns::{ColumnInfo, TableColumns, TableInfo, is_replicated};
pub(crate) use self::frame::{Frames, compress, compress_by, compressed, decompress};
pub(crate) use self::provenance::Provenance;
pub(crate) use self::quote::{quote_name, quote_text};
use crate::config::InsertCompression;
use crate::native::{BlockColumn, BlockPlan};
use crate::replica::OwnNames;
use crate::table::{ColumnType, append_length};

/// How the values of a row stand one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowFormat {
    /// Values alone.
    Values,
    /// A byte before each value says whether the column's own default takes its place.
    ValuesOrDefaults,
}

impl RowFormat {
    fn name(self) -> &'static str {
        match self {
            RowFormat::Values => "RowBinaryWithNamesAndTypes",
            RowFormat::ValuesOrDefaults => "RowBinaryWithNamesAndTypesAndDefaults",
        }
    }
}

/// A table, as statements need it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// `database.table`, for people, metrics and tokens.
    pub(crate) label: String,
    /// Quoted, for statements.
    pub(crate) sql: String,
    /// `INSERT INTO … (columns) FORMAT Native`.
    pub(crate) insert_sql: String,
    /// The same for what cannot be sent so: rows as rows.
    pub(crate) rows_sql: String,
    /// The same for servers on which such rows cannot state the types that they were made for, where there
    /// are such; nothing stands before the rows then.
    pub(crate) unstated_sql: Option<String>,
    /// What stands before the rows, compressed: names and types, where the format wants them.
    pub(crate) head: Bytes,
    /// How its rows become columns.
    pub(crate) plan: BlockPlan,
    /// How these are compressed.
    pub(crate) compression: InsertCompression,
    /// The table's columns when the rows were mapped to them.
    pub(crate) columns: Vec<ColumnInfo>,
    /// How often a replicated table had been altered by then.
    pub(crate) metadata_version: u64,
    /// A table in which versions decide: names and types of the key's columns.
    pub(crate) key: Vec<(String, ColumnType)>,
    /// What the columns of the version and of the mark of deleted rows are called.
    pub(crate) own: OwnNames,
    /// The same of the columns behind `_deleted`: names.
    pub(crate) other_names: Vec<String>,
    /// Types of the columns behind `_deleted`.
    pub(crate) others: Vec<ColumnType>,
    /// Whether other replicas may have acknowledged what this one does not show yet.
    pub(crate) replicated: bool,
    /// Whether the table remembers the tokens of inserts.
    pub(crate) has_tokens: bool,
    /// Whether a record makes several rows, which the column `_index` tells apart.
    pub(crate) has_index: bool,
    /// The columns that say which record a row came from, where rows are appended.
    pub(crate) provenance: Provenance,
}

impl Target {
    /// Whether versions decide which of its rows counts.
    pub(crate) fn is_replica(&self) -> bool {
        !self.key.is_empty()
    }

    /// A table that takes rows of these columns, in this order. The server compares the types with those of
    /// the table: rows that were made for the table as it was before somebody altered it are refused, not
    /// misread.
    pub(crate) fn of_columns(
        label: String,
        sql: String,
        info: &TableInfo,
        names: &[String],
        format: RowFormat,
    ) -> Self {
        let list: Vec<String> = names.iter().map(|name| quote_name(name)).collect();
        let insert = format!("INSERT INTO {sql} ({}) FORMAT", list.join(", "));
        let has_flags = format == RowFormat::ValuesOrDefaults;
        Target {
            label,
            insert_sql: format!("{insert} Native"),
            rows_sql: format!("{insert} {}", format.name()),
            unstated_sql: has_flags.then(|| format!("{insert} RowBinaryWithDefaults")),
            sql,
            head: Bytes::from(compressed(&names_and_types(names, &info.columns))),
            plan: BlockPlan::new(block_columns(names, &info.columns), has_flags),
            columns: info.columns.clone(),
            metadata_version: info.metadata_version,
            replicated: info.is_replicated(),
            has_tokens: info.has_tokens,
            ..Target::nowhere()
        }
    }

    /// The same, with columns compressed so.
    pub(crate) fn compressed_by(self, compression: InsertCompression) -> Self {
        Target {
            compression,
            ..self
        }
    }

    /// No table at all.
    pub(crate) fn nowhere() -> Self {
        Target {
            label: String::new(),
            sql: String::new(),
            insert_sql: String::new(),
            rows_sql: String::new(),
            unstated_sql: None,
            head: Bytes::new(),
            plan: BlockPlan::default(),
            compression: InsertCompression::default(),
            columns: vec![],
            metadata_version: 0,
            key: vec![],
            own: OwnNames::default(),
            other_names: vec![],
            others: vec![],
            replicated: false,
            has_tokens: false,
            has_index: false,
            provenance: Provenance::default(),
        }
    }
}

/// The columns of these names.
fn block_columns(names: &[String], columns: &[ColumnInfo]) -> Vec<BlockColumn> {
    let stated = |name: &String| {
        let column = columns.iter().find(|column| column.name == *name)?;
        let column_type = ColumnType::parse(&column.type_name).ok()?;
        Some(BlockColumn {
            name: name.clone(),
            type_name: column.type_name.clone(),
            column_type,
            has_default: ["DEFAULT", "EPHEMERAL"].contains(&&*column.default_kind),
        })
    };
    let made = |name| stated(name).expect("rows are made for columns whose types are known");
    names.iter().map(made).collect()
}

/// How many columns, their names, their types as the server spells them.
fn names_and_types(names: &[String], columns: &[ColumnInfo]) -> Vec<u8> {
    let type_of = |name: &String| {
        let column = columns.iter().find(|column| column.name == *name);
        column.map_or("", |column| &*column.type_name)
    };
    let mut head = vec![];
    append_length(names.len(), &mut head);
    for text in names
        .iter()
        .map(|name| &**name)
        .chain(names.iter().map(type_of))
    {
        append_length(text.len(), &mut head);
        head.extend_from_slice(text.as_bytes());
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(format: RowFormat) -> Target {
        let column = |name: &str, type_name: &str| ColumnInfo {
            name: name.to_owned(),
            type_name: type_name.to_owned(),
            default_kind: String::new(),
        };
        let info = TableInfo {
            engine: "MergeTree".to_owned(),
            engine_full: String::new(),
            sorting_key: String::new(),
            partition_key: String::new(),
            columns: vec![column("v", "Decimal(18, 2)"), column("a`b", "String")],
            metadata_version: 0,
            has_tokens: true,
        };
        let names = ["a`b".to_owned(), "v".to_owned()];
        Target::of_columns("d.t".into(), "`d`.`t`".into(), &info, &names, format)
    }

    #[test]
    fn rows_state_the_names_and_types_that_they_were_made_for() {
        let plain = target(RowFormat::Values);
        assert_eq!(
            plain.insert_sql,
            "INSERT INTO `d`.`t` (`a\\`b`, `v`) FORMAT Native"
        );
        assert!(
            plain
                .rows_sql
                .ends_with(" FORMAT RowBinaryWithNamesAndTypes")
        );
        let columns = [
            b"\x02\x03a`b\x01v".as_slice(),
            b"\x06String\x0eDecimal(18, 2)",
        ];
        assert_eq!(plain.head, compressed(&columns.concat()));
        let flagged = target(RowFormat::ValuesOrDefaults);
        assert!(flagged.rows_sql.ends_with("NamesAndTypesAndDefaults"));
        assert_eq!(flagged.head, plain.head);
        let unstated = flagged.unstated_sql.expect("for older servers");
        assert!(unstated.ends_with(" FORMAT RowBinaryWithDefaults"));
        assert_eq!(plain.unstated_sql, None);
    }
}
