//! The table that rows go to.

use bytes::Bytes;

use super::clickhouse::ColumnInfo;
use crate::table::ColumnType;

/// A table, as statements need it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// `database.table`, for people, metrics and tokens.
    pub(crate) label: String,
    /// Quoted, for statements.
    pub(crate) sql: String,
    /// `INSERT INTO … (columns) FORMAT …`.
    pub(crate) insert_sql: String,
    /// What stands before the rows, compressed: names and types, where the format wants them.
    pub(crate) head: Bytes,
    /// The table's columns when the rows were mapped to them.
    pub(crate) columns: Vec<ColumnInfo>,
    /// A table in which versions decide: names and types of the key's columns.
    pub(crate) key: Vec<(String, ColumnType)>,
    /// The same of the columns behind `_deleted`: names.
    pub(crate) other_names: Vec<String>,
    /// Types of the columns behind `_deleted`.
    pub(crate) others: Vec<ColumnType>,
    /// Whether other replicas may have acknowledged what this one does not show yet.
    pub(crate) replicated: bool,
}

impl Target {
    /// Whether versions decide which of its rows counts.
    pub(crate) fn is_replica(&self) -> bool {
        !self.key.is_empty()
    }

    /// No table at all.
    pub(crate) fn nowhere() -> Self {
        Target {
            label: String::new(),
            sql: String::new(),
            insert_sql: String::new(),
            head: Bytes::new(),
            columns: vec![],
            key: vec![],
            other_names: vec![],
            others: vec![],
            replicated: false,
        }
    }
}
