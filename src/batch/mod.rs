//! Rows of one table on their way to one insert.

mod columns;
mod keyed;
mod open;
mod pace;
mod row_binary;
mod sealed;

pub(crate) use keyed::{GapSource, GappedRow, Gaps, KeyedRow, Moved, VERSION_LEN};
pub(crate) use open::OpenBatch;
pub(crate) use pace::{Paces, PartitionPace};
pub(crate) use row_binary::{Walker, is_default};
pub(crate) use sealed::{ROW_ID_INDEX_BITS, SealedBatch};
pub(crate) use streamweir_kafka::{Message, MessageSource, Messages};
