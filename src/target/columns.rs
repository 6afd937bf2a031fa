//! A table's engine and columns, as its server tells them.

use crate::replica::{ExistingColumn, ExistingTable};

/// A column as `system.columns` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ColumnInfo {
    pub(crate) name: String,
    pub(crate) type_name: String,
    /// Empty, or DEFAULT, MATERIALIZED, ALIAS, EPHEMERAL.
    pub(crate) default_kind: String,
}

/// What the daemon needs to know of a target table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableInfo {
    pub(crate) engine: String,
    /// The engine clause with its settings.
    pub(crate) engine_full: String,
    /// Expressions with commas between them.
    pub(crate) sorting_key: String,
    /// Empty without partitions.
    pub(crate) partition_key: String,
    pub(crate) columns: Vec<ColumnInfo>,
    /// How often a replicated table had been altered.
    pub(crate) metadata_version: u64,
    /// Whether the table remembers the tokens of inserts.
    pub(crate) has_tokens: bool,
}

/// A table's columns, as one server has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableColumns {
    /// How often a replicated table has been altered as far as this server knows; else 0.
    pub(crate) version: u64,
    /// An ALTER of a replicated table has reached this server and is not carried out here yet.
    pub(crate) is_behind: bool,
    pub(crate) columns: Vec<ColumnInfo>,
}

impl TableInfo {
    /// Whether inserts go through Keeper, which remembers their tokens for every replica.
    pub(crate) fn is_replicated(&self) -> bool {
        is_replicated(&self.engine)
    }

    /// As the checks of replicas take it; `name` is what messages call the table.
    pub(crate) fn existing<'a>(&'a self, name: &'a str) -> ExistingTable<'a> {
        let column = |column: &'a ColumnInfo| ExistingColumn {
            name: &column.name,
            type_name: &column.type_name,
            default_kind: &column.default_kind,
        };
        ExistingTable {
            name,
            engine: &self.engine,
            engine_full: &self.engine_full,
            sorting_key: &self.sorting_key,
            partition_key: &self.partition_key,
            columns: self.columns.iter().map(column).collect(),
        }
    }
}

/// Whether an engine of this name goes through Keeper.
pub(crate) fn is_replicated(engine: &str) -> bool {
    engine.starts_with("Replicated") || engine.starts_with("Shared")
}
