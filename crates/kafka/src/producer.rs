//! The idempotent producer of single messages, and how sending one fails.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};

/// How long the client waits for room in its queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(30);

/// A message for one topic.
#[derive(Debug, Clone, Default)]
pub struct Outgoing<'m> {
    pub key: Option<&'m [u8]>,
    pub value: Option<&'m [u8]>,
    /// `None`: when it is sent.
    pub timestamp_ms: Option<i64>,
    pub headers: Vec<(&'m str, Option<&'m [u8]>)>,
}

/// A message was not acknowledged.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("{code}")]
pub struct SendError {
    pub code: RDKafkaErrorCode,
    pub fault: SendFault,
}

/// What a failed sending means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendFault {
    /// Larger than the client or the topic takes.
    TooLarge,
    /// The topic refuses the message's time.
    InvalidTimestamp,
    /// The topic refuses the message, for its time or for what it is made of.
    InvalidRecord,
    /// No repetition helps: a right is missing, or the client is fenced.
    Refused,
    /// It may be sent again.
    Retriable,
}

impl SendError {
    /// What it means for messages to this topic.
    pub fn at_topic(&self, topic: &str) -> String {
        match self.code {
            RDKafkaErrorCode::TopicAuthorizationFailed => {
                format!("this user lacks the right WRITE on topic {topic}: grant it")
            }
            // Said of a user who may write to no topic at all.
            RDKafkaErrorCode::ClusterAuthorizationFailed => {
                format!(
                    "this user lacks the right WRITE on topic {topic}: grant it (brokers before 2.8 ask for \
                     IDEMPOTENT_WRITE on the cluster besides)"
                )
            }
            code => code.to_string(),
        }
    }

    fn of(code: RDKafkaErrorCode) -> Self {
        let fault = match code {
            RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize => {
                SendFault::TooLarge
            }
            RDKafkaErrorCode::InvalidTimestamp => SendFault::InvalidTimestamp,
            RDKafkaErrorCode::InvalidRecord => SendFault::InvalidRecord,
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::Fatal => SendFault::Refused,
            _ => SendFault::Retriable,
        };
        SendError { code, fault }
    }
}

/// Produces to one topic. Cloning shares the client.
#[derive(Clone)]
pub struct Producer {
    producer: FutureProducer,
    topic: String,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl Producer {
    /// # Errors
    /// A configuration that librdkafka refuses.
    pub fn new(config: &ClientConfig, topic: &str) -> KafkaResult<Self> {
        Ok(Producer {
            producer: config.create()?,
            topic: topic.to_owned(),
        })
    }

    /// Sends one message once and returns when it is acknowledged.
    ///
    /// # Errors
    /// It was not acknowledged; it may have arrived all the same.
    pub async fn send(&self, message: &Outgoing<'_>) -> Result<(), SendError> {
        let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&self.topic);
        if !message.headers.is_empty() {
            let add = |headers: OwnedHeaders, (key, value): &(&str, Option<&[u8]>)| {
                headers.insert(Header { key, value: *value })
            };
            let headers = OwnedHeaders::new_with_capacity(message.headers.len());
            record = record.headers(message.headers.iter().fold(headers, add));
        }
        if let Some(timestamp_ms) = message.timestamp_ms {
            record = record.timestamp(timestamp_ms);
        }
        if let Some(key) = message.key {
            record = record.key(key);
        }
        if let Some(value) = message.value {
            record = record.payload(value);
        }
        match self.producer.send(record, QUEUE_TIMEOUT).await {
            Ok(_) => Ok(()),
            Err((error, _)) => {
                let code = error.rdkafka_error_code();
                let error = SendError::of(code.unwrap_or(RDKafkaErrorCode::Unknown));
                if error.code != RDKafkaErrorCode::Fatal {
                    return Err(error);
                }
                // What has ended the client, whatever each message was told.
                let cause = self.producer.client().fatal_error();
                let code = cause.map_or(error.code, |(code, _)| code);
                Err(SendError { code, ..error })
            }
        }
    }

    /// Asks whether the topic is there. Blocks.
    ///
    /// # Errors
    /// No broker answers within `timeout`.
    pub fn topic_answers(&self, timeout: Duration) -> KafkaResult<()> {
        let client = self.producer.client();
        client.fetch_metadata(Some(&self.topic), timeout).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_repetition_helps_against_is_told_from_what_may_be_sent_again() {
        for (code, fault) in [
            (RDKafkaErrorCode::MessageSizeTooLarge, SendFault::TooLarge),
            (RDKafkaErrorCode::InvalidMessageSize, SendFault::TooLarge),
            (
                RDKafkaErrorCode::InvalidTimestamp,
                SendFault::InvalidTimestamp,
            ),
            (RDKafkaErrorCode::InvalidRecord, SendFault::InvalidRecord),
            (
                RDKafkaErrorCode::TopicAuthorizationFailed,
                SendFault::Refused,
            ),
            (RDKafkaErrorCode::Fatal, SendFault::Refused),
            (RDKafkaErrorCode::MessageTimedOut, SendFault::Retriable),
            (RDKafkaErrorCode::NotEnoughReplicas, SendFault::Retriable),
        ] {
            let error = SendError::of(code);
            assert_eq!(error.fault, fault, "{code}");
            assert_eq!(error.to_string(), code.to_string());
        }
    }
}
