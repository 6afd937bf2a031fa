//! What a batch carries to Kafka beside its rows: dead letters, and messages of output topics.

use crate::decode::Reason;
use crate::source::{Record, TopicPartition};

/// Where a record failed, the header `streamweir-stage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Decode,
    Operate,
    Encode,
    Write,
}

impl Stage {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Stage::Decode => "decode",
            Stage::Operate => "operate",
            Stage::Encode => "encode",
            Stage::Write => "write",
        }
    }
}

/// The original record and why it is here.
#[derive(Debug)]
pub(crate) struct DeadLetter {
    pub(crate) partition: TopicPartition,
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) stage: Stage,
    pub(crate) reason: Reason,
    pub(crate) detail: String,
}

impl DeadLetter {
    /// Copies what the record holds.
    pub(crate) fn new(
        partition: &TopicPartition,
        record: Record<'_>,
        stage: Stage,
        reason: Reason,
        detail: String,
    ) -> Self {
        DeadLetter {
            partition: partition.clone(),
            offset: record.offset(),
            timestamp_ms: record.timestamp_ms(),
            key: record.key().map(<[u8]>::to_vec),
            value: record.value().map(<[u8]>::to_vec),
            headers: record.headers(),
            stage,
            reason,
            detail,
        }
    }

    /// What it takes of the process's memory, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers: usize = self
            .headers
            .iter()
            .map(|(n, v)| n.len() + length(v) + 48)
            .sum();
        length(&self.key) + length(&self.value) + headers + self.detail.len() + size_of::<Self>()
    }
}

/// One message. In a compacted topic the last one of a key stays; without value it deletes the key.
#[derive(Debug, Clone)]
pub(crate) struct OutputMessage {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
}

impl OutputMessage {
    /// What it takes of the process's memory, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len) + size_of::<Self>()
    }
}
