//! What operators remember: between two owners of a partition as snapshots in an object store, and what does not
//! fit into memory on the disk of the process ([`Scratch`]).
//!
//! A snapshot is labelled with the offset up to which it has seen the partition, so that any owner
//! may take the newest one at or below the first record whose row it has to make, and replay from
//! there silently. It is a function of the log and of the operator's rules: who wrote it does not
//! matter, and a late write of a former owner does no harm.

mod scratch;
mod snapshot;
mod store;

pub(crate) use scratch::Scratch;
pub(crate) use snapshot::{Label, Refused, open};
pub(crate) use store::{CompleteNames, SnapshotStore, StoreError, StoredSnapshot};
