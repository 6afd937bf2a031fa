//! librdkafka as the daemon uses it: all of its calls, its callbacks and its error codes.
//!
//! The consumer is polled from the thread that owns it. Messages of all partitions arrive on one queue in
//! batches (a quarter of the price of one call a message); rebalances, commit results and errors arrive on
//! another and are handled between two chunks, never in a callback.
//!
//! | module | what it does |
//! |---|---|
//! | `consumer` | [`Consumer`]: polls, assigns, seeks, pauses, commits |
//! | `lists` | lists of partitions as librdkafka takes them |
//! | `record` | [`Chunk`] and [`Record`]: messages borrowed from librdkafka |
//! | `context` | rebalances, commit results and errors as [`Event`]s |
//! | `questions` | [`Questions`] about offsets and ends, asked from other threads |
//! | `reader` | [`Reader`]: single records by their offsets, outside of any group |
//! | `producer` | [`Producer`]: single messages, idempotent |
//! | `transaction` | [`TransactionalProducer`]: [`Messages`] and offsets, all or nothing |
//! | `rights` | what this user may do with topics and groups, and who the members are |
//! | `observer` | [`Observer`]: ends and committed offsets, asked by a client outside every group |
//! | `member` | [`GroupMember`]: who commits, for transactions |
//! | `admin` | [`Admin`]: topics listed, made and changed |
//! | `topics` | ids, partitions and leaders of topics |
//! | `property` | what librdkafka says of a property, before anything connects |
//! | [`placement`] | which partition a key belongs to |
//! | `reply` | queues on which librdkafka answers requests |

mod admin;
mod alter;
mod consumer;
mod context;
mod lists;
mod member;
mod messages;
mod observer;
pub mod placement;
mod producer;
mod property;
mod questions;
mod reader;
mod record;
mod reply;
mod rights;
mod topics;
mod transaction;

pub use admin::{Admin, RequestError, TopicSize, TopicSpec};
pub use consumer::Consumer;
pub use context::{CommitResult, Context, Event, PartitionError};
pub use lists::PartitionCommit;
pub use member::GroupMember;
pub use messages::{Message, MessageSource, Messages};
pub use observer::Observer;
pub use placement::Partitioner;
pub use producer::{Outgoing, Producer, SendError, SendFault};
pub use property::{PropertyFault, check_config, property_fault, refused_property};
pub use questions::{Offsets, Questions};
pub use rdkafka::ClientConfig;
pub use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
pub use reader::{Found, FoundRecord, OwnedRecord, Reader};
pub use record::{Chunk, MadeRecord, Opened, Record, TimestampType, headers};
pub use rights::{
    GroupMemberDescription, GroupRights, Operation, Operations, TopicRights, group_rights,
    topic_rights,
};
pub use topics::{MISSING_RIGHT, TopicAnswer, TopicAnswers, TopicDescription, TopicId};
pub use transaction::{
    MissingRight, Transaction, TransactionError, TransactionSettings, TransactionStep,
    TransactionalProducer,
};

use std::sync::Arc;

/// One partition of one topic. Cloning shares the name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.topic, self.partition)
    }
}
