//! Rows that go to a topic: idempotent, acknowledged by every replica in sync.

use std::time::Duration;

use futures_util::future::try_join_all;
use streamweir_kafka::{KafkaError, Outgoing, Producer, SendError, SendFault};

use super::{Backoff, Membership};
use crate::config::{Kafka, Pipeline};
use crate::message::OutputMessage;
use crate::source::producer_config;

/// Messages on their way at once.
const MESSAGES_AT_ONCE_MAX: usize = 1_000;
/// How long the topic may take to answer.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);

/// A message could not be produced, and no retry mends it.
#[derive(Debug, thiserror::Error)]
#[error(
    "a row cannot be written to topic {topic}: {}: look at the topic and at kafka.properties",
    error.at_topic(topic)
)]
pub(crate) struct OutputError {
    topic: String,
    error: SendError,
}

/// How long after a commit was sent that the broker accepts what is sent may still be under way, twice:
/// once before it is handed to the client, and once by the client. Both end within a session.
pub(crate) fn membership_lasts(kafka: &Kafka) -> Duration {
    kafka.session_timeout() / 3
}

/// Produces to one topic.
pub(crate) struct OutputProducer {
    producer: Producer,
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
        let mut config = producer_config(&pipeline.kafka, &pipeline.name);
        // What is not acknowledged by then is asked for again, and only a member may.
        let timeout = membership_lasts(&pipeline.kafka).as_millis();
        // Another name of the same property.
        config.remove("delivery.timeout.ms");
        config.set("message.timeout.ms", timeout.to_string());
        Ok(OutputProducer {
            producer: Producer::new(&config, topic)?,
            topic: topic.to_owned(),
        })
    }

    /// Asks whether the topic is there.
    ///
    /// # Errors
    /// No broker answers.
    pub(crate) async fn is_there(&self) -> Result<(), KafkaError> {
        let producer = self.producer.clone();
        let asked = tokio::task::spawn_blocking(move || producer.topic_answers(QUESTION_TIMEOUT));
        asked.await.expect("asking does not panic")
    }

    /// Returns once every message is acknowledged, however long the cluster is away. No two of them may
    /// have one key: they arrive in any order. Nothing is sent that the membership does not cover.
    ///
    /// `retried` is told each time something had to be tried again.
    ///
    /// # Errors
    /// What no retry can mend.
    pub(crate) async fn send_all(
        &self,
        messages: &[OutputMessage],
        membership: &Membership,
        retried: impl Fn(&SendError),
    ) -> Result<(), OutputError> {
        for group in messages.chunks(MESSAGES_AT_ONCE_MAX) {
            let sends = group
                .iter()
                .map(|message| self.send(message, membership, &retried));
            try_join_all(sends).await?;
        }
        Ok(())
    }

    async fn send(
        &self,
        message: &OutputMessage,
        membership: &Membership,
        retried: impl Fn(&SendError),
    ) -> Result<(), OutputError> {
        let mut backoff = Backoff::new();
        loop {
            membership.confirmed().await;
            let outgoing = Outgoing {
                key: Some(&message.key),
                value: message.value.as_deref(),
                ..Outgoing::default()
            };
            let Err(error) = self.producer.send(&outgoing).await else {
                return Ok(());
            };
            match error.fault {
                SendFault::TooLarge | SendFault::InvalidRecord | SendFault::Refused => {
                    return Err(OutputError {
                        topic: self.topic.clone(),
                        error,
                    });
                }
                SendFault::InvalidTimestamp | SendFault::Retriable => retried(&error),
            }
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }
}
