//! The topics that a configuration declares: compared with the cluster, made and changed, never deleted.

mod cluster;
mod difference;
mod movement;

use std::fmt;
use std::time::{Duration, Instant};

pub use difference::{Change, Difference};

use streamweir_core::backoff::Backoff;
use streamweir_kafka::{RequestError, refused_property};

use crate::config::Config;
use cluster::Cluster;
use difference::differences;

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the brokers may take to agree on what was changed.
const SETTLED_TIMEOUT: Duration = Duration::from_secs(60);
const SETTLED_INTERVAL: Duration = Duration::from_millis(200);

/// The topics could not be compared, or not be made.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// What is declared cannot be had, or needs to be said twice; nothing was changed. A line each.
    #[error("{0}")]
    Configuration(String),
    /// Not within `service.start_timeout`.
    #[error("kafka could not be reached: {0} (kafka.bootstrap_servers)")]
    Unreachable(String),
    /// The cluster refuses a request; what was done before it stays.
    #[error("kafka refuses it: {step}: {error}")]
    Refused {
        /// What was asked.
        step: String,
        /// What it said.
        error: String,
    },
    /// All was acknowledged, and it is not there.
    #[error("kafka acknowledged every change, and a minute later {0}: look at the brokers' logs")]
    NotSettled(String),
}

/// What differs between the declared topics and the cluster's; waits for the cluster.
///
/// # Errors
/// It does not answer in time, or does not let its topics be read.
pub fn plan(config: &Config) -> Result<Vec<Difference>, TopicsError> {
    if config.topics.is_empty() {
        return Ok(vec![]);
    }
    let cluster = connect(config)?;
    compare(config, &cluster, &Patience::new(config))
}

/// Makes the cluster's topics as they are declared, and reads them back; returns what differed.
/// `report` gets a line for each step. Nothing is changed when a single difference is refused.
///
/// Keys of a topic that gets more partitions move to others. Where a pipeline relies on their place that
/// is done with `allow_more_partitions` only.
///
/// # Errors
/// The first that fails; what was done before it stays.
pub fn apply(
    config: &Config,
    allow_more_partitions: bool,
    mut report: impl FnMut(&str),
) -> Result<Vec<Difference>, TopicsError> {
    if config.topics.is_empty() {
        return Ok(vec![]);
    }
    let cluster = connect(config)?;
    let patience = Patience::new(config);
    let found = compare(config, &cluster, &patience)?;
    refuse(&found, allow_more_partitions)?;
    for topic in &found {
        make(&cluster, &patience, topic, &mut report)?;
    }
    if !found.is_empty() {
        settle(config, &cluster)?;
    }
    Ok(found)
}

fn connect(config: &Config) -> Result<Cluster, TopicsError> {
    let refused = |error: anyhow::Error| {
        let why = error.downcast_ref().map(refused_property);
        let why = why.unwrap_or_else(|| error.to_string());
        TopicsError::Configuration(format!("kafka.properties: {why}"))
    };
    Cluster::new(&config.kafka).map_err(refused)
}

fn compare(
    config: &Config,
    cluster: &Cluster,
    patience: &Patience,
) -> Result<Vec<Difference>, TopicsError> {
    let existing = patience.ask("the declared topics", |timeout| {
        cluster.existing(&config.topics, timeout)
    })?;
    Ok(differences(config, &existing))
}

/// Everything that stands against the change, not only the first.
fn refuse(found: &[Difference], allow_more_partitions: bool) -> Result<(), TopicsError> {
    let mut against = vec![];
    for Difference { topic, changes } in found {
        for change in changes {
            match change {
                Change::Refused { key, advice } => {
                    against.push(format!("topics.{topic}.{key}: {advice}"));
                }
                Change::AddPartitions { from, to, breaks } if !allow_more_partitions => {
                    let line = |broken| {
                        format!(
                            "topics.{topic}.partitions: {from} -> {to} moves keys to other \
                             partitions: {broken}; with --allow-more-partitions it is done"
                        )
                    };
                    against.extend(breaks.iter().map(line));
                }
                _ => {}
            }
        }
    }
    if against.is_empty() {
        return Ok(());
    }
    against.push("nothing was changed".to_owned());
    Err(TopicsError::Configuration(against.join("\n")))
}

fn make(
    cluster: &Cluster,
    patience: &Patience,
    found: &Difference,
    report: &mut impl FnMut(&str),
) -> Result<(), TopicsError> {
    let topic = &found.topic;
    let mut properties = vec![];
    for change in &found.changes {
        let step = format!("{topic}: {change}");
        match change {
            Change::Create(declared) => {
                patience.ask(&step, |timeout| cluster.create(declared, timeout))?;
                report(&step);
            }
            Change::AddPartitions { to, breaks, .. } => {
                tracing::warn!(
                    topic,
                    breaks = breaks.join("; "),
                    "keys move to other partitions: the order of a key's records is lost across the change"
                );
                patience.ask(&step, |timeout| cluster.add_partitions(topic, *to, timeout))?;
                report(&step);
            }
            Change::Set { property, to, .. } => properties.push((property.as_str(), to.as_str())),
            Change::Refused { .. } => {}
        }
    }
    if properties.is_empty() {
        return Ok(());
    }
    // In one request: all of them or none.
    let is_set = |change: &&Change| matches!(change, Change::Set { .. });
    let steps = found.changes.iter().filter(is_set);
    let steps: Vec<String> = steps.map(|change| format!("{topic}: {change}")).collect();
    patience.ask(&steps.join(", "), |timeout| {
        cluster.set(topic, &properties, timeout)
    })?;
    steps.iter().for_each(|step| report(step));
    Ok(())
}

/// Reads the topics until nothing differs any more: brokers learn of a change one after the other.
fn settle(config: &Config, cluster: &Cluster) -> Result<(), TopicsError> {
    let deadline = Instant::now() + SETTLED_TIMEOUT;
    loop {
        let remains = match cluster.existing(&config.topics, REQUEST_TIMEOUT) {
            Ok(existing) => {
                let remains = differences(config, &existing);
                if remains.is_empty() {
                    return Ok(());
                }
                let lines: Vec<String> = remains.iter().map(ToString::to_string).collect();
                format!("this is still to do: {}", lines.join("; "))
            }
            Err(error) => format!("the topics could not be read: {error}"),
        };
        if Instant::now() >= deadline {
            return Err(TopicsError::NotSettled(remains));
        }
        std::thread::sleep(SETTLED_INTERVAL);
    }
}

/// Repeats what nobody answers, until `service.start_timeout`; a cluster that answers has the last word.
struct Patience {
    deadline: Option<Instant>,
}

impl Patience {
    fn new(config: &Config) -> Self {
        let timeout = config.service.start_timeout;
        Patience {
            deadline: timeout.map(|timeout| Instant::now() + timeout),
        }
    }

    fn ask<T>(
        &self,
        step: &str,
        mut attempt: impl FnMut(Duration) -> Result<T, RequestError>,
    ) -> Result<T, TopicsError> {
        let mut backoff = Backoff::new();
        loop {
            let left = self.deadline.map_or(REQUEST_TIMEOUT, |d| {
                d.saturating_duration_since(Instant::now())
            });
            let timeout = left.clamp(Duration::from_secs(1), REQUEST_TIMEOUT);
            let error = match attempt(timeout) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !error.is_transient {
                let (step, error) = (step.to_owned(), error.text);
                return Err(TopicsError::Refused { step, error });
            }
            let wait = backoff.next_wait().max(Duration::from_millis(200));
            if self.deadline.is_some_and(|d| Instant::now() + wait >= d) {
                return Err(TopicsError::Unreachable(format!("{step}: {error}")));
            }
            tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "kafka is not ready, waiting");
            std::thread::sleep(wait);
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes: Vec<String> = self.changes.iter().map(ToString::to_string).collect();
        write!(f, "{}: {}", self.topic, changes.join(", "))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Create(topic) => {
                write!(f, "create with {} partitions", topic.partitions)?;
                match topic.replication {
                    Some(replication) => write!(f, ", {replication} replicas")?,
                    None => f.write_str(", the broker's replication")?,
                }
                let mut properties = topic.properties.iter();
                properties.try_for_each(|(property, value)| write!(f, ", {property} = {value}"))
            }
            Change::AddPartitions { from, to, .. } => {
                write!(f, "partitions {from} -> {to}, keys move to others")
            }
            Change::Set { property, from, to } => write!(f, "{property} {from} -> {to}"),
            Change::Refused { key, advice } => write!(f, "refused: {key}: {advice}"),
        }
    }
}
