//! The cluster that is asked about its topics, and told to change them.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::alter::set_properties;
use super::difference::Existing;
use crate::config::{DeclaredTopic, Kafka};
use crate::source::admin_client;

/// A request that did not do what it should.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct RequestError {
    pub(super) text: String,
    /// Nobody answered, or somebody who could not: the same request may succeed later.
    pub(super) is_transient: bool,
}

impl RequestError {
    pub(super) fn refused(text: String) -> Self {
        RequestError {
            text,
            is_transient: false,
        }
    }

    pub(super) fn unanswered(text: String) -> Self {
        RequestError {
            text,
            is_transient: true,
        }
    }

    /// `said` may be empty.
    pub(super) fn of_code(code: RDKafkaErrorCode, said: String) -> Self {
        let text = if said.is_empty() {
            code.to_string()
        } else {
            said
        };
        RequestError {
            text,
            is_transient: is_transient(code),
        }
    }
}

impl From<KafkaError> for RequestError {
    fn from(error: KafkaError) -> Self {
        let is_transient = error.rdkafka_error_code().is_some_and(is_transient)
            || matches!(error, KafkaError::Canceled);
        RequestError {
            text: error.to_string(),
            is_transient,
        }
    }
}

fn is_transient(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::Resolve
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::TimedOutQueue
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::NetworkException
            | RDKafkaErrorCode::NotController
            | RDKafkaErrorCode::LeaderNotAvailable
            | RDKafkaErrorCode::BrokerNotAvailable
            | RDKafkaErrorCode::ThrottlingQuotaExceeded
    )
}

/// One connection for questions and changes. Each call blocks.
pub(super) struct Cluster {
    admin: AdminClient<DefaultClientContext>,
    /// For the answers, which arrive as futures.
    runtime: tokio::runtime::Runtime,
}

impl Cluster {
    /// # Errors
    /// Properties that librdkafka refuses.
    pub(super) fn new(kafka: &Kafka) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let admin = admin_client(kafka, "topics").create()?;
        Ok(Cluster { admin, runtime })
    }

    /// Those of the topics that exist.
    pub(super) fn existing(
        &self,
        topics: &[DeclaredTopic],
        timeout: Duration,
    ) -> Result<BTreeMap<String, Existing>, RequestError> {
        // All of them: to ask for one by name may create it.
        let metadata = self.admin.inner().fetch_metadata(None, timeout)?;
        let mut found = BTreeMap::new();
        for topic in metadata.topics() {
            let is_declared = topics.iter().any(|t| t.name == topic.name());
            if !is_declared || topic.partitions().is_empty() {
                continue;
            }
            let copies = topic.partitions().iter().map(|p| p.replicas().len());
            let existing = Existing {
                partitions: number(topic.partitions().len()),
                replication: number(copies.min().unwrap_or(0)),
                properties: BTreeMap::new(),
            };
            found.insert(topic.name().to_owned(), existing);
        }
        for (name, topic) in &mut found {
            topic.properties = self.properties(name, timeout)?;
        }
        Ok(found)
    }

    fn properties(
        &self,
        topic: &str,
        timeout: Duration,
    ) -> Result<BTreeMap<String, String>, RequestError> {
        let resource = ResourceSpecifier::Topic(topic);
        let asked = self.admin.describe_configs([&resource], &options(timeout));
        let mut properties = BTreeMap::new();
        for answer in self.runtime.block_on(asked)? {
            let answer = answer.map_err(|code| RequestError::of_code(code, String::new()))?;
            let entries = answer.entries.into_iter();
            properties.extend(entries.filter_map(|entry| Some((entry.name, entry.value?))));
        }
        if properties.is_empty() {
            let text = format!(
                "topic {topic}: its properties cannot be read: grant this user DESCRIBE_CONFIGS on it"
            );
            return Err(RequestError::refused(text));
        }
        Ok(properties)
    }

    /// Does nothing when the topic is there already.
    pub(super) fn create(
        &self,
        declared: &DeclaredTopic,
        timeout: Duration,
    ) -> Result<(), RequestError> {
        let replication = TopicReplication::Fixed(declared.replication.unwrap_or(-1));
        let mut topic = NewTopic::new(&declared.name, declared.partitions, replication);
        for (property, value) in &declared.properties {
            topic = topic.set(property, value);
        }
        let made = self.admin.create_topics([&topic], &options(timeout));
        for result in self.runtime.block_on(made)? {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => return Err(RequestError::of_code(code, String::new())),
            }
        }
        Ok(())
    }

    /// Brings the topic to `count` partitions; does nothing when it has them already.
    pub(super) fn add_partitions(
        &self,
        topic: &str,
        count: i32,
        timeout: Duration,
    ) -> Result<(), RequestError> {
        let count = usize::try_from(count).expect("a declared count is positive");
        let wanted = NewPartitions::new(topic, count);
        let made = self.admin.create_partitions([&wanted], &options(timeout));
        for result in self.runtime.block_on(made)? {
            match result {
                // An earlier request whose answer was lost; whoever asked reads the count again.
                Ok(_) | Err((_, RDKafkaErrorCode::InvalidPartitions)) => {}
                Err((_, code)) => return Err(RequestError::of_code(code, String::new())),
            }
        }
        Ok(())
    }

    /// Sets these properties and leaves the others.
    pub(super) fn set(
        &self,
        topic: &str,
        properties: &[(&str, &str)],
        timeout: Duration,
    ) -> Result<(), RequestError> {
        set_properties(self.admin.inner(), topic, properties, timeout)
    }
}

fn options(timeout: Duration) -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(timeout))
        .operation_timeout(Some(timeout))
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
