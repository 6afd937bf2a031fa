//! Why a command could not answer.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::config::Kafka;
use crate::exit;
use crate::pipeline::ReplayError;
use crate::sink::{InsertError, Remedy};

/// Why a command could not do what it should; each kind has an exit code.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line or the configuration: exit 2.
    #[error("{0}")]
    Usage(String),
    /// A system was not reached: exit 3.
    #[error("{0}")]
    Unreachable(String),
    /// A system refuses, or the command does: exit 1.
    #[error("{0}")]
    Refused(String),
    /// A topic does not exist, or not yet: exit 1.
    #[error("{0}")]
    NoTopic(String),
}

impl Failure {
    /// The exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Failure::Usage(_) => exit::CONFIGURATION,
            Failure::Unreachable(_) => exit::UNREACHABLE,
            Failure::Refused(_) | Failure::NoTopic(_) => exit::OTHER,
        }
    }

    /// The same failure, behind what is to be said first.
    pub(super) fn behind(self, first: &str) -> Self {
        let text = |why: String| format!("{first}: {why}");
        match self {
            Failure::Usage(why) => Failure::Usage(text(why)),
            Failure::Unreachable(why) => Failure::Unreachable(text(why)),
            Failure::Refused(why) => Failure::Refused(text(why)),
            Failure::NoTopic(why) => Failure::NoTopic(text(why)),
        }
    }

    /// A client that cannot be made of `kafka.properties`.
    pub(super) fn client(error: &KafkaError) -> Self {
        Failure::Usage(format!(
            "kafka.properties: {}",
            streamweir_kafka::refused_property(error)
        ))
    }

    /// What Kafka answered, or that it did not.
    pub(super) fn kafka(kafka: &Kafka, what: &str, error: &KafkaError) -> Self {
        if is_refusal(error) {
            let why = format!("kafka refuses it: {what}: {error}");
            return match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::UnknownTopicOrPartition) => Failure::NoTopic(why),
                _ => Failure::Refused(why),
            };
        }
        Failure::unreached(kafka, what, &error.to_string())
    }

    pub(super) fn unreached(kafka: &Kafka, what: &str, error: &str) -> Self {
        Failure::Unreachable(format!(
            "kafka could not be reached at {}: {what}: {error} (kafka.bootstrap_servers)",
            kafka.bootstrap_servers.join(", ")
        ))
    }

    /// What ClickHouse answered, or that it did not.
    pub(super) fn clickhouse(urls: &[String], what: &str, error: &InsertError) -> Self {
        match error.remedy {
            Remedy::Retry(_) => Failure::Unreachable(format!(
                "clickhouse could not be reached at {}: {what}: {error} (clickhouse.url)",
                urls.join(", ")
            )),
            _ => Failure::Refused(format!("clickhouse refuses it: {what}: {error}")),
        }
    }
}

impl From<ReplayError> for Failure {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Unreachable(why) => Failure::Unreachable(why),
            ReplayError::Refused(why) => Failure::Refused(why),
        }
    }
}

/// Whether somebody has answered, so that asking again changes nothing.
pub(super) fn is_refusal(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownMemberId
                | RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::RebalanceInProgress
                | RDKafkaErrorCode::OffsetMetadataTooLarge
                | RDKafkaErrorCode::InvalidTopic
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_its_exit_code_and_a_message_names_the_address() {
        assert_eq!(Failure::Usage(String::new()).code(), 2);
        assert_eq!(Failure::Unreachable(String::new()).code(), 3);
        assert_eq!(Failure::Refused(String::new()).code(), 1);
        let kafka = Kafka {
            bootstrap_servers: vec!["broker:9092".to_owned()],
            properties: std::collections::BTreeMap::new(),
        };
        let away = KafkaError::MetadataFetch(RDKafkaErrorCode::BrokerTransportFailure);
        let failure = Failure::kafka(&kafka, "topic t", &away);
        assert_eq!(failure.code(), 3);
        assert!(failure.to_string().contains("broker:9092"), "{failure}");
        let denied = KafkaError::MetadataFetch(RDKafkaErrorCode::TopicAuthorizationFailed);
        assert_eq!(Failure::kafka(&kafka, "topic t", &denied).code(), 1);
        // It may be there in a moment, which a command that waits asks again.
        let absent = KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition);
        let failure = Failure::kafka(&kafka, "topic t", &absent);
        assert!(matches!(failure, Failure::NoTopic(_)) && failure.code() == 1);
    }
}
