//! Hostile input: what must hold whatever bytes arrive.
//!
//! Each entry point takes any bytes, runs them through a part of the daemon and panics when a
//! property does not hold. The fuzz targets under `fuzz/` call them, and so does a test that replays
//! a fixed corpus with the stable toolchain. No part of the daemon: compiled for these two only.
//!
//! | entry point | what the bytes are | what must hold |
//! |---|---|---|
//! | [`record`] | records of one partition | every record is a row that says what a plain second reading says, or a refusal with a reason of the closed list that leaves no trace |
//! | `avro`, `protobuf` of `streamweir-codec` | schemas, and records of them | `apache-avro` and `prost-reflect` read the same, or refuse it too |
//! | [`inputs`] | commit metadata, a type name, profiles, a snapshot's state, an answer of ClickHouse | no panic; what was understood is written and read back the same |

mod cell;
mod inputs;
mod json;
mod native;
mod number;
mod reading;
mod record;
mod row;
mod row_binary;
mod tables;
#[cfg(test)]
mod tests;
mod time;

#[cfg(test)]
pub(crate) use cell::Cell;
pub use inputs::inputs;
#[cfg(test)]
pub(crate) use native::block;
pub use record::record;
#[cfg(test)]
pub(crate) use row_binary::Reader;
#[cfg(fuzzing)]
pub use streamweir_codec::fuzzing::{avro, protobuf};
