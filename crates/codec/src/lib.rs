//! Bytes to values to columns: what streamweir knows of JSON, of Debezium's change records, of times
//! and decimals, and of ClickHouse's types and their encoding in rows and in columns.
//!
//! Nothing here does I/O or asks for the time. A value that cannot be converted is a
//! [`decode::Reject`] with a reason of a closed list; nothing panics on input.
//!
//! Each module uses only those above it:
//!
//! | module | what it does |
//! |---|---|
//! | [`decode`] | bytes to values: strict JSON, numbers, times, decimals |
//! | [`table`] | columns, types, and their encoding |
//! | [`steps`] | what is done to a field before it is a column: texts, numbers, times, masks |
//! | [`mod@format`] | readers of records: JSON and text; bytes to the values that columns take |
//! | [`native`] | rows into the columns of ClickHouse's Native format |
//! | [`debezium`] | change records of databases, encoded as the columns of a table |
//! | [`replica`] | the tables of change records: columns, statements, what may change |
//! | [`rules`] | conditions on the fields of records, made ready once |

pub mod debezium;
pub mod decode;
pub mod format;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod native;
pub mod replica;
pub mod rules;
pub mod steps;
pub mod table;
