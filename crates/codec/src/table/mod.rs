//! The target table: its columns, their types, and how a JSON value becomes RowBinary.
//!
//! [`ColumnType`] reads the type names of `system.columns` and encodes values, [`Column`] is one column
//! of the table, [`ColumnSource`] says where its value comes from and what stands in when it is missing.

mod column;
mod column_type;
mod composite_parser;
mod encode;
mod mapping;
mod nested;
pub(crate) mod steps;
mod type_parser;

pub use column::{Column, DefaultKind, UnknownDefaultKind};
pub use column_type::{ColumnType, EnumValues, TupleFields};
pub use encode::dynamic;
pub use encode::{append_length, read_length};
pub use encode::{append_unscaled, insert_length};
pub use mapping::{ColumnSource, MappingError, RawMode};
pub use nested::Nested;
pub use type_parser::UnsupportedType;
