//! Topics of the cluster: what they are like, made and changed.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::alter::set_properties;

/// A request that did not do what it should.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct RequestError {
    pub text: String,
    /// No broker answered, or one that could not: the same request may succeed later.
    pub is_transient: bool,
    code: Option<RDKafkaErrorCode>,
}

impl RequestError {
    pub fn refused(text: String) -> Self {
        RequestError {
            text,
            is_transient: false,
            code: None,
        }
    }

    pub(crate) fn unanswered(text: String) -> Self {
        RequestError {
            text,
            is_transient: true,
            code: None,
        }
    }

    /// `said` may be empty.
    pub(crate) fn of_code(code: RDKafkaErrorCode, said: String) -> Self {
        let text = if said.is_empty() {
            code.to_string()
        } else {
            said
        };
        RequestError {
            text,
            is_transient: is_transient(code),
            code: Some(code),
        }
    }

    /// The user lacks a right on the topic or the cluster.
    pub fn is_missing_right(&self) -> bool {
        matches!(
            self.code,
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                    | RDKafkaErrorCode::ClusterAuthorizationFailed
            )
        )
    }

    /// The cluster does not let anybody choose a topic's properties.
    fn is_about_properties(&self) -> bool {
        matches!(
            self.code,
            Some(RDKafkaErrorCode::PolicyViolation | RDKafkaErrorCode::InvalidConfig)
        )
    }
}

impl From<KafkaError> for RequestError {
    fn from(error: KafkaError) -> Self {
        if let KafkaError::AdminOp(code) = error {
            return RequestError::of_code(code, String::new());
        }
        let code = error.rdkafka_error_code();
        RequestError {
            text: error.to_string(),
            is_transient: code.is_some_and(is_transient) || matches!(error, KafkaError::Canceled),
            code,
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

/// A topic to be made.
#[derive(Debug, Clone)]
pub struct TopicSpec<'t> {
    pub name: &'t str,
    pub partitions: i32,
    /// `None`: as the cluster does by default.
    pub replication: Option<i32>,
    pub properties: Vec<(&'t str, &'t str)>,
}

/// The size of a topic that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSize {
    pub name: String,
    pub partitions: usize,
    /// Of the partition with the fewest replicas.
    pub replication: usize,
}

/// One connection for questions and changes.
pub struct Admin(AdminClient<DefaultClientContext>);

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl Admin {
    /// # Errors
    /// Properties that librdkafka refuses.
    pub fn new(config: &ClientConfig) -> KafkaResult<Self> {
        config.create().map(Admin)
    }

    /// Every topic of the cluster. To ask for one by name may create it. Blocks.
    ///
    /// # Errors
    /// No broker answers within `timeout`.
    pub fn topics(&self, timeout: Duration) -> Result<Vec<TopicSize>, RequestError> {
        let metadata = self.0.inner().fetch_metadata(None, timeout)?;
        let size = |topic: &rdkafka::metadata::MetadataTopic| {
            let copies = topic.partitions().iter().map(|p| p.replicas().len());
            TopicSize {
                name: topic.name().to_owned(),
                partitions: topic.partitions().len(),
                replication: copies.min().unwrap_or(0),
            }
        };
        Ok(metadata.topics().iter().map(size).collect())
    }

    /// The properties of a topic; empty where this user may not see them.
    ///
    /// # Errors
    /// What the broker or the client answered.
    pub async fn properties(
        &self,
        topic: &str,
        timeout: Duration,
    ) -> Result<BTreeMap<String, String>, RequestError> {
        let resource = ResourceSpecifier::Topic(topic);
        let options = options(timeout);
        let asked = self.0.describe_configs([&resource], &options).await?;
        let mut properties = BTreeMap::new();
        for answer in asked {
            let answer = answer.map_err(|code| RequestError::of_code(code, String::new()))?;
            let entries = answer.entries.into_iter();
            properties.extend(entries.filter_map(|entry| Some((entry.name, entry.value?))));
        }
        Ok(properties)
    }

    /// Makes a topic; one that exists stays as it is.
    ///
    /// # Errors
    /// What the broker or the client answered.
    pub async fn create_topic(
        &self,
        topic: &TopicSpec<'_>,
        timeout: Duration,
    ) -> Result<(), RequestError> {
        let replication = TopicReplication::Fixed(topic.replication.unwrap_or(-1));
        let new = NewTopic::new(topic.name, topic.partitions, replication);
        let properties = topic.properties.iter();
        let new = properties.fold(new, |new, (name, value)| new.set(name, value));
        for result in self.0.create_topics([&new], &options(timeout)).await? {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => return Err(RequestError::of_code(code, String::new())),
            }
        }
        Ok(())
    }

    /// The same; where the cluster keeps `wishes` to itself, without them.
    ///
    /// # Errors
    /// As [`Admin::create_topic`].
    pub async fn create_topic_wishing<'t>(
        &self,
        topic: &TopicSpec<'t>,
        wishes: &[(&'t str, &'t str)],
        timeout: Duration,
    ) -> Result<(), RequestError> {
        let mut wished = topic.clone();
        wished.properties.extend(wishes);
        match self.create_topic(&wished, timeout).await {
            Err(error) if error.is_about_properties() => self.create_topic(topic, timeout).await,
            result => result,
        }
    }

    /// Brings a topic to `count` partitions; does nothing when it has them already.
    ///
    /// # Errors
    /// What the broker or the client answered.
    pub async fn add_partitions(
        &self,
        topic: &str,
        count: usize,
        timeout: Duration,
    ) -> Result<(), RequestError> {
        let wanted = NewPartitions::new(topic, count);
        let made = self.0.create_partitions([&wanted], &options(timeout));
        for result in made.await? {
            match result {
                // An earlier request whose answer was lost; whoever asked reads the count again.
                Ok(_) | Err((_, RDKafkaErrorCode::InvalidPartitions)) => {}
                Err((_, code)) => return Err(RequestError::of_code(code, String::new())),
            }
        }
        Ok(())
    }

    /// Sets these properties and leaves the others. Blocks.
    ///
    /// # Errors
    /// What the broker or the client answered; then none of them is changed, or the outcome is unknown.
    pub fn set_properties(
        &self,
        topic: &str,
        properties: &[(&str, &str)],
        timeout: Duration,
    ) -> Result<(), RequestError> {
        set_properties(self.0.inner(), topic, properties, timeout)
    }
}

fn options(timeout: Duration) -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(timeout))
        .operation_timeout(Some(timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_repeated_only_where_another_answer_may_come() {
        let of = |code| RequestError::from(KafkaError::AdminOp(code));
        for code in [
            RDKafkaErrorCode::BrokerTransportFailure,
            RDKafkaErrorCode::RequestTimedOut,
            RDKafkaErrorCode::NotController,
        ] {
            let error = of(code);
            assert!(error.is_transient && !error.is_missing_right(), "{error}");
        }
        let denied = of(RDKafkaErrorCode::TopicAuthorizationFailed);
        assert!(!denied.is_transient && denied.is_missing_right());
        assert_eq!(
            denied.to_string(),
            RDKafkaErrorCode::TopicAuthorizationFailed.to_string()
        );
        assert!(of(RDKafkaErrorCode::PolicyViolation).is_about_properties());
        assert!(RequestError::from(KafkaError::Canceled).is_transient);
        assert!(!RequestError::refused("no".to_owned()).is_transient);
        assert!(RequestError::unanswered("no".to_owned()).is_transient);
    }
}
