//! Topics: creating them, writing records exactly as told, reading everything back.

mod admin;
mod produce;
mod read;

pub use admin::{
    add_partitions, create, create_all, delete, delete_group, delete_records_before, own_settings,
    partition_count, set,
};
pub(crate) use produce::{Deliveries, producer_config, send_patiently};
pub use produce::{produce, produce_to_many, produce_transaction};
pub use read::{
    Committed, Received, commit, committed, end_offsets, is_stable, read_all, read_each,
    read_uncommitted,
};

use std::time::Duration;

use rdkafka::ClientConfig;

/// How long one request to the broker may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A record to write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// `None`: by the key, as Java producers do it.
    pub partition: Option<i32>,
    /// `None` is no key, which differs from an empty one.
    pub key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// In order; names may repeat.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Milliseconds since 1970; `None`: now.
    pub timestamp_ms: Option<i64>,
}

impl Record {
    /// A record with this value and nothing else.
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self {
            value: Some(value.into()),
            ..Self::default()
        }
    }

    /// A record that deletes its key.
    pub fn tombstone(key: impl Into<Vec<u8>>) -> Self {
        Self {
            key: Some(key.into()),
            ..Self::default()
        }
    }

    /// The same with a key.
    pub fn key(self, key: impl Into<Vec<u8>>) -> Self {
        Self {
            key: Some(key.into()),
            ..self
        }
    }

    /// The same for exactly this partition.
    pub fn partition(self, partition: i32) -> Self {
        Self {
            partition: Some(partition),
            ..self
        }
    }

    /// The same with this timestamp, in milliseconds since 1970.
    pub fn timestamp_ms(self, timestamp_ms: i64) -> Self {
        Self {
            timestamp_ms: Some(timestamp_ms),
            ..self
        }
    }

    /// The same with one more header.
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), Some(value.into())));
        self
    }
}

fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "500")
        .set("log_level", "3");
    config
}
