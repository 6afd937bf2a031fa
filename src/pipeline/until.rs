//! Where a bounded run ends.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use streamweir_kafka::KafkaError;

use crate::lane::End;
use crate::source::{Consumer, TopicPartition};

/// The argument of `run --until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// What each partition holds when the run starts (its last stable offset).
    Latest,
    /// The first record whose Kafka timestamp is at or after this time, epoch milliseconds.
    TimeMs(i64),
}

/// Neither `latest` nor a time.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is neither \"latest\" nor an RFC 3339 time such as 2026-11-21T10:00:00Z")]
pub struct UntilError(String);

impl FromStr for Until {
    type Err = UntilError;

    fn from_str(text: &str) -> Result<Self, UntilError> {
        if text == "latest" {
            return Ok(Until::Latest);
        }
        let time: jiff::Timestamp = text.parse().map_err(|_| UntilError(text.to_owned()))?;
        Ok(Until::TimeMs(time.as_millisecond()))
    }
}

impl Until {
    /// What it means for each partition now.
    pub(super) fn targets(
        self,
        consumer: &Consumer,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<HashMap<TopicPartition, End>, KafkaError> {
        let by_time = match self {
            Until::Latest => vec![None; partitions.len()],
            Until::TimeMs(time_ms) => consumer
                .questions()
                .offsets_at(partitions, time_ms, timeout)?,
        };
        let mut targets = HashMap::new();
        for (partition, by_time) in partitions.iter().zip(by_time) {
            let (log_start, end) = consumer.questions().watermarks(partition, timeout)?;
            let offset = by_time.unwrap_or(end).min(end);
            let end = End {
                offset,
                log_start,
                closed_through_ms: None,
            };
            targets.insert(partition.clone(), end);
        }
        Ok(targets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latest_and_times_are_understood_and_nothing_else() {
        assert_eq!("latest".parse::<Until>().unwrap(), Until::Latest);
        let time = "2026-11-21T10:00:00.5+01:00".parse::<Until>().unwrap();
        assert_eq!(time, Until::TimeMs(1_795_251_600_500));
        for text in ["", "now", "2026-11-21", "Latest"] {
            assert!(text.parse::<Until>().is_err(), "{text}");
        }
    }
}
