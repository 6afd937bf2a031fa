//! Strict JSON (RFC 8259 in UTF-8), scanned once, values kept as the text received.
//!
//! [`Plan`] says which paths are wanted, [`Scanner`] validates a whole record and finds them,
//! [`Raw`] is one value found. Depth is counted, never recursed into: a record of any size and shape
//! costs time linear in its bytes and no stack.

mod bytes;
mod fault;
mod names;
mod plan;
mod raw;
mod scanner;
mod spans;
mod syntax;
#[cfg(test)]
mod tests;
mod walk;

pub use plan::Plan;
pub use raw::{Kind, Raw};
pub use scanner::{Fields, Scanned, Scanner};
pub use walk::{Elements, Members};

pub use bytes::find_special;
pub use raw::BLOCK_BYTES;
pub use syntax::is_number;

/// Most levels of objects and arrays a record may have; the top-level object is level 1.
pub const DEPTH_MAX: usize = 256;
