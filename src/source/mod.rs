//! Kafka as the lane sees it: chunks of records in, commits out, rebalances as events.
//!
//! The consumer is polled from the lane's own thread. Messages of all partitions arrive on one
//! lane queue in batches (a quarter of the price of one call a message); rebalances, commit results
//! and errors arrive on another and are handled by the lane between two chunks, never in a callback.

mod cleanup;
mod client;
mod co_partitioning;
mod consumer;
pub(crate) mod context;
mod fetch;
mod member;
pub(crate) mod placement;
mod questions;
mod record;
mod refetch;
mod topics;

pub(crate) use cleanup::{cleanup_policy, table_refusal};
pub(crate) use client::{
    ClientSettings, admin_client, consumer_config, producer_config, transaction_config,
};
pub use co_partitioning::joined_keys_advice;
pub(crate) use co_partitioning::{NotCoPartitioned, check_keys};
pub(crate) use consumer::{Consumer, PartitionCommit, commit_list};
pub(crate) use context::{CommitResult, Event};
pub(crate) use fetch::record_before;
pub(crate) use member::GroupMember;
pub(crate) use questions::{Offsets, Questions};
pub(crate) use record::{Chunk, MadeRecord, Record};
pub(crate) use refetch::RecordFetcher;
pub(crate) use topics::{MISSING_RIGHT, TopicAnswer, TopicAnswers, TopicDescription};

use std::sync::Arc;

/// One partition of one topic. Cloning shares the name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TopicPartition {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.topic, self.partition)
    }
}
