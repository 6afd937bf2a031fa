//! Decisions about records: pure values, fed by a pipeline, one file each.

pub mod join;
mod session;
mod watermark;
pub mod window;

pub use session::{SessionKey, SessionRow, SessionRules, Sessions, Unreadable};
pub use watermark::Watermark;
