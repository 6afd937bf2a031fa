//! Blocks of ClickHouse's Native format: the rows of an insert, column by column.
//!
//! The format is that of `NativeReader` and of the serializations of ClickHouse: the number of columns
//! and of rows, then of each column its name, its type and its values. Over HTTP no revision of the
//! protocol is agreed upon, so nothing stands between a type and the values.
//!
//! Operators make rows in RowBinary. A [`BlockPlan`] turns the rows of a [`Chunk`] into *streams*: runs
//! of bytes of which the column consists. The streams of all chunks of a batch, one behind the other,
//! are the block, so that chunks can be compressed as they come, and the block needs no second pass:
//!
//! | type | its streams |
//! |---|---|
//! | of a fixed size | the values |
//! | `String` | of each value its length (LEB128) and its bytes |
//! | `Nullable` | a byte for each value, 1 for NULL; the streams of the inner type, zero for NULL |
//! | `Array` | the number of elements up to each value (UInt64); the streams of the elements |
//! | `Map` | those of an `Array` of tuples of a key and a value |
//! | `Tuple` | the streams of its fields |
//! | `JSON` | those of its text, which the server takes apart |
//! | `Variant`, `Dynamic` | a byte for each value that says its type; the streams of all types |
//! | `LowCardinality` | of each chunk a dictionary and the places of the values in it |
//!
//! A value that is left to the server's DEFAULT is in no stream; one more stream marks its row. A column
//! that all rows of a block leave out is not in the block, and the server fills it. What is absent from
//! some rows alone cannot be stated in this format: [`BlockPlan::parts`] says so, and the rows are sent
//! as rows.

mod chunk;
mod dictionary;
mod plan;
mod prefix;
mod restore;
#[cfg(test)]
mod tests;

pub use chunk::{BlockState, Chunk};
pub use plan::{BlockColumn, BlockPlan, Part};
