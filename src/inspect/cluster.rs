//! Questions to Kafka about one pipeline, asked again for a while where nobody answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};

use super::Failure;
use super::failure::is_refusal;
use crate::config::{Pipeline, Service, TopicSelector};
use crate::source::{
    ClientSettings, Consumer, Offsets, PartitionCommit, Questions, TopicPartition, consumer_config,
};

/// How long one request may take, and how long a cluster that does not answer is asked.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(20);
const BETWEEN: Duration = Duration::from_millis(300);
/// What the client may hold of fetched records.
const QUEUE_BYTES: u64 = 32 << 20;

/// First offset in the log, and the last stable offset.
pub(crate) type LogRange = (i64, i64);

/// The properties of a client that reads what it is told to, as a member of no group: it knows the name of
/// the pipeline's group, whose offsets it may ask for, and never subscribes.
pub(super) fn reader_config(service: &Service, pipeline: &Pipeline) -> ClientConfig {
    let mut config = consumer_config(ClientSettings {
        service,
        pipeline,
        lane: 0,
        queue_bytes: QUEUE_BYTES,
    });
    config.remove("group.protocol");
    config.remove("group.instance.id");
    // One assignment replaces the other.
    config.set("partition.assignment.strategy", "range");
    config
}

/// One client of a pipeline's cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    questions: Questions,
    pipeline: Arc<Pipeline>,
    patience: Duration,
    // Dropped last: it waits for the answers to questions.
    _consumer: Option<Consumer>,
}

impl Cluster {
    /// Connects; nothing is asked yet.
    ///
    /// # Errors
    /// Properties that librdkafka refuses.
    pub(crate) fn connect(service: &Service, pipeline: &Arc<Pipeline>) -> Result<Self, Failure> {
        let config = reader_config(service, pipeline);
        let consumer = Consumer::new(&config).map_err(|error| Failure::client(&error))?;
        Ok(Cluster {
            questions: consumer.questions(),
            pipeline: pipeline.clone(),
            patience: PATIENCE,
            _consumer: Some(consumer),
        })
    }

    /// Gives up sooner, or later, where nobody answers.
    pub(crate) fn with_patience(self, patience: Duration) -> Self {
        Cluster { patience, ..self }
    }

    /// From now on.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    fn request_timeout(&self) -> Duration {
        REQUEST_TIMEOUT.min(self.patience)
    }

    fn ask<T>(
        &self,
        what: &str,
        mut question: impl FnMut(&Questions) -> KafkaResult<T>,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + self.patience;
        loop {
            // Lets the client say what happened meanwhile.
            if let Some(consumer) = &self._consumer {
                consumer.events();
            }
            let error = match question(&self.questions) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if is_refusal(&error) || Instant::now() + BETWEEN >= deadline {
                return Err(Failure::kafka(&self.pipeline.kafka, what, &error));
            }
            std::thread::sleep(BETWEEN);
        }
    }

    /// The partitions of the pipeline's topics, or of one of them, in order.
    ///
    /// # Errors
    /// A topic that the pipeline does not read, or that does not exist.
    pub(crate) fn partitions(&self, only: Option<&str>) -> Result<Vec<TopicPartition>, Failure> {
        let pipeline = &self.pipeline;
        let mut names: Vec<String> = vec![];
        if let Some(topic) = only {
            if !pipeline.topics.iter().any(|known| known.matches(topic)) {
                return Err(Failure::Usage(format!(
                    "pipeline {} does not read topic {topic}",
                    pipeline.name
                )));
            }
            names.push(topic.to_owned());
        } else {
            for selector in &pipeline.topics {
                match selector {
                    TopicSelector::Name(name) => names.push(name.clone()),
                    TopicSelector::Pattern(_) => {
                        let all =
                            self.ask("the topics", |q| q.topic_names(self.request_timeout()))?;
                        names.extend(all.into_iter().filter(|name| selector.matches(name)));
                    }
                }
            }
        }
        names.sort();
        names.dedup();
        let mut all = vec![];
        for name in names {
            let found = self.partitions_of(&name)?;
            all.extend(found.ok_or_else(|| {
                Failure::NoTopic(format!(
                    "topic {name} of pipeline {} does not exist",
                    pipeline.name
                ))
            })?);
        }
        all.sort();
        Ok(all)
    }

    /// The partitions of any topic; `None` when it does not exist.
    pub(crate) fn partitions_of(
        &self,
        topic: &str,
    ) -> Result<Option<Vec<TopicPartition>>, Failure> {
        let what = format!("topic {topic}");
        self.ask(&what, |q| q.partitions_of(topic, self.request_timeout()))
    }

    /// Kafka's id of a topic, where the cluster tells one.
    pub(crate) fn topic_id(&self, topic: &str) -> Option<String> {
        let described = self.questions.topic(topic, self.request_timeout()).ok()?;
        Some(described.id)
    }

    /// What the pipeline's group has committed.
    pub(crate) fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<Offsets>, Failure> {
        let what = format!("the offsets of group {}", self.pipeline.group_id);
        self.ask(&what, |q| q.committed(partitions, self.request_timeout()))
    }

    pub(crate) fn log_range(&self, partition: &TopicPartition) -> Result<LogRange, Failure> {
        let what = format!("the ends of {partition}");
        self.ask(&what, |q| q.watermarks(partition, self.request_timeout()))
    }

    /// For each partition the first offset of a record of this time or later.
    pub(crate) fn offsets_at(
        &self,
        partitions: &[TopicPartition],
        time_ms: i64,
    ) -> Result<Vec<Option<i64>>, Failure> {
        self.ask("the offsets of a time", |q| {
            q.offsets_at(partitions, time_ms, self.request_timeout())
        })
    }

    /// The members of the pipeline's group, for people.
    pub(crate) fn members(&self) -> Result<Vec<String>, Failure> {
        let deadline = Instant::now() + self.patience;
        loop {
            let asked = self
                .questions
                .members_of(&self.pipeline.group_id, self.request_timeout());
            match asked {
                Ok(members) => return Ok(members.iter().map(ToString::to_string).collect()),
                Err(error) if Instant::now() + BETWEEN >= deadline => {
                    return Err(Failure::unreached(
                        &self.pipeline.kafka,
                        "the group",
                        &error,
                    ));
                }
                Err(_) => std::thread::sleep(BETWEEN),
            }
        }
    }

    /// Sets offsets of the pipeline's group. The coordinator refuses that while the group has members.
    pub(crate) fn commit(&self, commits: &[PartitionCommit]) -> Result<(), Failure> {
        let answer: Result<(), KafkaError> = self
            .questions
            .commit_and_wait(commits, self.request_timeout());
        let what = format!("the offsets of group {}", self.pipeline.group_id);
        answer.map_err(|error| Failure::kafka(&self.pipeline.kafka, &what, &error))
    }
}
