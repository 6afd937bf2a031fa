//! The cluster that is asked about its topics, and told to change them.

use std::collections::BTreeMap;
use std::time::Duration;

use streamweir_kafka::{Admin, RequestError, TopicSpec};

use super::difference::Existing;
use crate::config::{DeclaredTopic, Kafka};
use crate::source::admin_client;

/// One connection for questions and changes. Each call blocks.
pub(super) struct Cluster {
    admin: Admin,
    /// For the answers, which arrive as futures.
    runtime: tokio::runtime::Runtime,
}

impl Cluster {
    /// # Errors
    /// Properties that librdkafka refuses.
    pub(super) fn new(kafka: &Kafka) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let admin = Admin::new(&admin_client(kafka, "topics"))?;
        Ok(Cluster { admin, runtime })
    }

    /// Those of the topics that exist.
    pub(super) fn existing(
        &self,
        topics: &[DeclaredTopic],
        timeout: Duration,
    ) -> Result<BTreeMap<String, Existing>, RequestError> {
        let mut found = BTreeMap::new();
        for topic in self.admin.topics(timeout)? {
            let is_declared = topics.iter().any(|t| t.name == topic.name);
            if !is_declared || topic.partitions == 0 {
                continue;
            }
            let existing = Existing {
                partitions: number(topic.partitions),
                replication: number(topic.replication),
                properties: self.properties(&topic.name, timeout)?,
            };
            found.insert(topic.name, existing);
        }
        Ok(found)
    }

    fn properties(
        &self,
        topic: &str,
        timeout: Duration,
    ) -> Result<BTreeMap<String, String>, RequestError> {
        let properties = self
            .runtime
            .block_on(self.admin.properties(topic, timeout))?;
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
        let properties = declared.properties.iter();
        let spec = TopicSpec {
            name: &declared.name,
            partitions: declared.partitions,
            replication: declared.replication,
            properties: properties
                .map(|(p, value)| (p.as_str(), value.as_str()))
                .collect(),
        };
        self.runtime
            .block_on(self.admin.create_topic(&spec, timeout))
    }

    /// Brings the topic to `count` partitions; does nothing when it has them already.
    pub(super) fn add_partitions(
        &self,
        topic: &str,
        count: i32,
        timeout: Duration,
    ) -> Result<(), RequestError> {
        let count = usize::try_from(count).expect("a declared count is positive");
        self.runtime
            .block_on(self.admin.add_partitions(topic, count, timeout))
    }

    /// Sets these properties and leaves the others.
    pub(super) fn set(
        &self,
        topic: &str,
        properties: &[(&str, &str)],
        timeout: Duration,
    ) -> Result<(), RequestError> {
        self.admin.set_properties(topic, properties, timeout)
    }
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
