//! What the daemon tells the outside: metrics, the status board behind the HTTP pages, and logs.
//!
//! Lanes write here on their way (counters once a chunk, the board about once a second); `http`
//! reads. Nothing here decides anything about a record or an offset.

pub mod board;
pub mod clock;
pub mod log;
pub mod metrics;
pub mod process;
