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

/// The order of the changes of a key: `UInt64`, the higher wins.
pub const VERSION_COLUMN: &str = "_version";
/// Whether the row is gone: `UInt8`, 1 if it is.
pub const DELETED_COLUMN: &str = "_deleted";
