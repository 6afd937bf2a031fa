//! Kafka as the lane sees it: chunks of records in, commits out, rebalances as events.
//!
//! The consumer itself is of the crate `streamweir-kafka`; here stand the clients that the configuration
//! describes, and what is asked of topics before and beside the reading.

mod cleanup;
mod client;
mod co_partitioning;
mod fetch;
mod refetch;
mod rights;

pub(crate) use cleanup::{cleanup_policy, table_refusal};
pub(crate) use client::{
    ClientSettings, admin_client, consumer_config, producer_config, transaction_config,
};
pub use co_partitioning::joined_keys_advice;
pub(crate) use co_partitioning::{NotCoPartitioned, check_keys};
pub(crate) use fetch::record_before;
pub(crate) use refetch::RecordFetcher;
pub(crate) use rights::{lacks_right, newest_trouble, refused_user};
#[cfg(test)]
pub(crate) use streamweir_kafka::PartitionError;
pub(crate) use streamweir_kafka::{
    Chunk, CommitResult, Consumer, Event, GroupMember, MISSING_RIGHT, MadeRecord, Offsets, Opened,
    PartitionCommit, Questions, Record, TimestampType, TopicAnswer, TopicAnswers, TopicDescription,
    TopicPartition, placement,
};
