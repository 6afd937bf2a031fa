//! librdkafka as the daemon uses it: chunks of records in, commits out, rebalances as events.
//!
//! The consumer is polled from the thread that owns it. Messages of all partitions arrive on one queue in
//! batches (a quarter of the price of one call a message); rebalances, commit results and errors arrive on
//! another and are handled between two chunks, never in a callback.
//!
//! | module | what it does |
//! |---|---|
//! | `consumer` | [`Consumer`]: polls, assigns, seeks, pauses, commits |
//! | `record` | [`Chunk`] and [`Record`]: messages borrowed from librdkafka |
//! | `context` | rebalances, commit results and errors as [`Event`]s |
//! | `questions` | [`Questions`] about offsets and ends, asked from other threads |
//! | `rights` | what this user may do with topics and groups, and who the members are |
//! | `observer` | [`Observer`]: ends and committed offsets, asked by a client outside every group |
//! | `topics` | ids, partitions and leaders of topics, by the admin interface |
//! | `groups` | [`GroupPeer`]: who is in a group, asked without joining it |
//! | `member` | [`GroupMember`]: who commits, for transactions |
//! | [`placement`] | which partition a key belongs to |

mod consumer;
mod context;
mod groups;
mod member;
mod observer;
pub mod placement;
mod questions;
mod record;
mod rights;
mod topics;

pub use consumer::{Consumer, PartitionCommit, commit_list};
pub use context::{CommitResult, Context, Event, PartitionError};
pub use groups::GroupPeer;
pub use member::GroupMember;
pub use observer::Observer;
pub use placement::Partitioner;
pub use questions::{Offsets, Questions};
pub use record::{Chunk, MadeRecord, Record, TimestampType};
pub use rights::{
    GroupMemberDescription, GroupRights, Operation, Operations, TopicRights, group_rights,
    topic_rights,
};
pub use topics::{MISSING_RIGHT, TopicAnswer, TopicAnswers, TopicDescription, TopicId};

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
