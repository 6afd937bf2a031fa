//! Decisions about records: pure values, fed by a pipeline, one file each.

mod dedup;
pub mod join;
mod session;
mod watermark;
pub mod window;

pub use dedup::{DedupKey, DedupRules, NeededRecords, SeenKeys};
pub use session::{SessionKey, SessionRow, SessionRules, Sessions, Unreadable};
pub use watermark::Watermark;
