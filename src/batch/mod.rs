//! Rows of one table on their way to one insert.

mod frame;
mod open;
mod pace;
mod sealed;

pub(crate) use open::OpenBatch;
pub(crate) use pace::Pace;
pub(crate) use sealed::SealedBatch;
