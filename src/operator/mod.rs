//! Decisions about records: pure values, fed by a pipeline, one file each.

pub(crate) mod join;
mod session;
mod watermark;
pub(crate) mod window;

pub(crate) use session::{SessionKey, SessionRow, SessionRules, Sessions, Unreadable};
pub(crate) use watermark::Watermark;
