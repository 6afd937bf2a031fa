//! Which records are safe, and therefore what may be committed: pure values, no clock, no socket.
//!
//! [`Range`] is a part of one partition, [`Claim`] the duty to make it durable, [`Receipt`] the proof
//! that it is, [`Ledger`] the contiguous settled prefix and the only source of commits,
//! [`Metadata`] what a commit says about the ranges after it, and [`insert::Attempts`] the order in
//! which one range is looked up, sent and settled. `docs/adr/0002` explains the protocol.

mod claim;
mod fence;
mod frontier;
pub mod insert;
mod ledger;
mod metadata;
#[cfg(test)]
mod model;

pub use claim::{Claim, OwnershipId, Receipt, Settlement};
pub use fence::SwapFence;
pub use frontier::{CommitPoint, FirstRead, Frontier, JoinFrontier, WindowFrontier};
pub use ledger::Ledger;
pub use metadata::{Epoch, Layout, Metadata, MetadataError, version};

/// Half-open offsets `[from, to)` of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Range {
    /// First offset of the range.
    pub from: i64,
    /// The offset after its last one: what Kafka must be told to resume from.
    pub to: i64,
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.from, self.to)
    }
}
