//! A consumer as its group knows it.

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, ConsumerGroupMetadata};
use rdkafka_sys as sys;

/// One membership in one generation of the group. The broker refuses offsets in a transaction that name
/// another one than it knows.
pub struct GroupMember {
    metadata: ConsumerGroupMetadata,
    generation: i32,
}

impl std::fmt::Debug for GroupMember {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupMember")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl GroupMember {
    /// `None` outside of a generation: offsets without one are taken from anybody.
    pub(crate) fn of<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Option<Self> {
        let metadata = consumer.group_metadata()?;
        // SAFETY: the client is alive; what the first call returns is destroyed by the last.
        let generation = unsafe {
            let raw = sys::rd_kafka_consumer_group_metadata(consumer.client().native_ptr());
            if raw.is_null() {
                return None;
            }
            let generation = sys::rd_kafka_consumer_group_metadata_generation_id(raw);
            sys::rd_kafka_consumer_group_metadata_destroy(raw);
            generation
        };
        (generation >= 0).then_some(GroupMember {
            metadata,
            generation,
        })
    }

    pub fn metadata(&self) -> &ConsumerGroupMetadata {
        &self.metadata
    }
}
