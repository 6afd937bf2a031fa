//! The table that a topic of change records is replicated into: its columns, its statements, and what
//! may change about it. Pure.
//!
//! [`column_type_for`] gives a field of a schema block its column, [`ReplicaTable`] writes the
//! statements that make table and view, [`fit`] says whether a column still takes what records
//! declare, [`check_table`] whether a table that is there already can be a replica.

mod check;
mod ddl;
mod default;
mod fit;
mod memo;
mod moved;
#[cfg(test)]
mod tests;
mod types;

pub use check::{
    ExistingColumn, ExistingTable, NotAReplica, Replica, check_table, sorting_columns,
};
pub use ddl::{NotCreatable, ReplicaTable, create_database};
pub use default::{default_expression, implicit_default};
pub use fit::{Fit, fit, with_digits};
pub use memo::{ColumnMemo, Since};
pub use moved::{MOVED_COLUMNS, MOVED_ROWS, create_moved_rows};
pub use types::{added_column_type, column_type_for, column_type_of_value, zoned_key_columns};

/// What a replica has beside what its source has, by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnNames {
    /// The order of the changes of a key: `UInt64`, the higher wins.
    pub version: String,
    /// Whether the row is gone: `UInt8`, 1 if it is.
    pub deleted: String,
    /// The view of the rows that are there; none: the table's name and `_current`.
    pub view: Option<String>,
}

impl Default for OwnNames {
    fn default() -> Self {
        OwnNames {
            version: "_version".to_owned(),
            deleted: "_deleted".to_owned(),
            view: None,
        }
    }
}

impl OwnNames {
    /// Whether a column of this name is one of the two.
    #[must_use]
    pub fn has(&self, column: &str) -> bool {
        self.version == column || self.deleted == column
    }
}
