//! Why a partition cannot begin yet.

use streamweir_kafka::KafkaError;

use super::super::operator::NotFound;
use crate::halt::Halt;
use crate::sink::{InsertError, Remedy, Target};
use crate::source::TopicPartition;

/// Why a partition cannot begin yet.
#[derive(Debug)]
pub(in super::super) enum NotYet {
    /// Something does not answer.
    Later(String),
    Never(Halt),
}

impl NotYet {
    /// The broker that was asked knows no partitions of a topic now, which does not say that it has none.
    pub(in super::super) fn no_partitions(topic: &str) -> Self {
        NotYet::Later(format!("topic {topic}: its partitions are not known"))
    }

    pub(in super::super) fn leaderless(partition: &TopicPartition) -> Self {
        NotYet::Later(format!(
            "kafka: {partition} has no leader: the brokers that have its replicas are away"
        ))
    }
}

impl From<Halt> for NotYet {
    fn from(halt: Halt) -> Self {
        NotYet::Never(halt)
    }
}

impl From<NotFound> for NotYet {
    fn from(reason: NotFound) -> Self {
        match reason {
            NotFound::Later(why) => NotYet::Later(why),
            NotFound::Never(halt) => NotYet::Never(halt),
        }
    }
}

impl From<KafkaError> for NotYet {
    fn from(error: KafkaError) -> Self {
        NotYet::Later(format!("kafka: {error}"))
    }
}

/// Asks something whose answer has to be waited for, on a thread that may wait.
///
/// # Errors
/// The process ends.
pub(in super::super) async fn off_thread<T: Send + 'static>(
    question: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NotYet> {
    let answer = tokio::task::spawn_blocking(question).await;
    answer.map_err(|error| NotYet::Later(format!("not asked: {error}")))
}

pub(super) fn not_looked_up(target: &Target, error: &InsertError) -> NotYet {
    match error.remedy {
        Remedy::Halt(reason) => NotYet::Never(crate::sink::refused(reason, &target.label, error)),
        _ => NotYet::Later(format!("clickhouse: table {}: {error}", target.label)),
    }
}
