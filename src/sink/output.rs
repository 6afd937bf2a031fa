//! Rows that go to a topic: idempotent, acknowledged by every replica in sync.

use std::time::Duration;

use futures_util::future::try_join_all;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::Backoff;
use crate::config::Pipeline;
use crate::source::producer_config;

/// Messages on their way at once.
const MESSAGES_AT_ONCE_MAX: usize = 1_000;
/// How long the client tries by itself before it is asked again.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(30);

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

/// A message could not be produced, and no retry mends it.
#[derive(Debug, thiserror::Error)]
#[error(
    "a row cannot be written to topic {topic}: {error}: look at the topic and at kafka.properties"
)]
pub(crate) struct OutputError {
    topic: String,
    error: RDKafkaErrorCode,
}

/// Produces to one topic.
pub(crate) struct OutputProducer {
    producer: FutureProducer,
    topic: String,
}

impl std::fmt::Debug for OutputProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutputProducer")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl OutputProducer {
    /// # Errors
    /// A client configuration that librdkafka refuses.
    pub(crate) fn new(pipeline: &Pipeline, topic: &str) -> Result<Self, KafkaError> {
        Ok(OutputProducer {
            producer: producer_config(&pipeline.kafka, &pipeline.name).create()?,
            topic: topic.to_owned(),
        })
    }

    /// Returns once every message is acknowledged, however long the cluster is away. No two of them may
    /// have one key: they arrive in any order.
    ///
    /// `retried` is told each time something had to be tried again.
    ///
    /// # Errors
    /// What no retry can mend.
    pub(crate) async fn send_all(
        &self,
        messages: &[OutputMessage],
        retried: impl Fn(&RDKafkaErrorCode),
    ) -> Result<(), OutputError> {
        for group in messages.chunks(MESSAGES_AT_ONCE_MAX) {
            try_join_all(group.iter().map(|message| self.send(message, &retried))).await?;
        }
        Ok(())
    }

    async fn send(
        &self,
        message: &OutputMessage,
        retried: impl Fn(&RDKafkaErrorCode),
    ) -> Result<(), OutputError> {
        let mut backoff = Backoff::new();
        loop {
            let mut record: FutureRecord<'_, [u8], [u8]> =
                FutureRecord::to(&self.topic).key(&message.key);
            if let Some(value) = &message.value {
                record = record.payload(value);
            }
            let Err((error, _)) = self.producer.send(record, QUEUE_TIMEOUT).await else {
                return Ok(());
            };
            let code = error
                .rdkafka_error_code()
                .unwrap_or(RDKafkaErrorCode::Unknown);
            match code {
                RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidMessageSize
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::InvalidRecord
                | RDKafkaErrorCode::Fatal => {
                    return Err(OutputError {
                        topic: self.topic.clone(),
                        error: code,
                    });
                }
                _ => retried(&code),
            }
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }
}
