//! Exit codes, as the contract has them.

/// Done, or a clean shutdown.
pub const DONE: u8 = 0;
/// Anything else.
pub const OTHER: u8 = 1;
/// Usage or configuration.
pub const CONFIGURATION: u8 = 2;
/// A dependency could not be reached in time.
pub const UNREACHABLE: u8 = 3;
/// Halted to protect data; the message says what to do.
pub const HALTED: u8 = 4;
