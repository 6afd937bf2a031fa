//! Kafka record values → typed values: strict JSON, times, numbers, exact decimals.
//!
//! A [`json::Scanner`] walks a record once and hands out a [`json::Raw`] per [`Path`] asked for; the
//! conversions in [`text`], [`number`], [`decimal`], [`time`], [`address`], [`uuid`] and [`wide`] turn a `Raw` into
//! the value a column takes. Whatever cannot be converted is a [`Reject`] with one of the closed list
//! of [`Reason`]s. Everything here is pure, and a warm scanner allocates nothing per record.

pub mod address;
pub mod decimal;
mod digits;
pub(crate) mod guise;
pub mod json;
pub mod number;
mod path;
mod reject;
pub mod text;
pub mod time;
pub mod time_of_day;
pub mod uuid;
pub mod wide;

pub use path::{Path, PathError, Step};
pub use reject::{Reason, Reject};
