//! Records that are not read yet are deleted, or soon will be.

use super::prelude::*;
use crate::inspect::doctor::facts::PartitionFacts;

const WARNING_HOURS: f64 = 24.0;

/// When the first unread record of a partition is deleted.
struct Left {
    hours: f64,
    /// The property that has it deleted.
    by: &'static str,
}

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, kafka) in with_kafka(facts) {
        if kafka.partitions_unseen > 0 {
            let (unseen, seen) = (kafka.partitions_unseen, kafka.partitions.len());
            let topics: Vec<&str> = kafka.sources.iter().map(String::as_str).collect();
            found.add(
                Info,
                own.name(),
                topics.join(", "),
                format!("{unseen} of {} partitions were not looked at: what is said of lag and offsets is of the others", seen + unseen),
                "streamweir offsets show has all of them",
            );
        }
        for partition in &kafka.partitions {
            let Some(topic) = kafka.topics.get(&partition.topic) else {
                continue;
            };
            let deletes = topic.properties.get("cleanup.policy");
            if !deletes.is_none_or(|policy| policy.contains("delete")) {
                continue;
            }
            let bytes = mean_bytes(kafka, &partition.topic);
            let Some(left) = left(partition, topic, bytes, facts.now_ms) else {
                continue;
            };
            let (level, when) = if left.hours <= 0.0 {
                (Error, "are being deleted already".to_owned())
            } else if left.hours < WARNING_HOURS && !catches_up(partition, left.hours) {
                (
                    Warning,
                    format!("will be deleted in {:.1} hours", left.hours),
                )
            } else {
                continue;
            };
            let place = partition.place();
            let unread = partition.unread();
            found.add(
                level,
                own.name(),
                &place,
                format!(
                    "{unread} records of {place} are not read yet, and the first of them {when}, by {}",
                    left.by
                ),
                format!(
                    "start the pipeline or give it more consumers, and raise {} of topic {} until it has \
                     caught up",
                    left.by, partition.topic
                ),
            );
        }
    }
}

/// Whichever comes first, by time or by bytes.
fn left(
    partition: &PartitionFacts,
    topic: &TopicFacts,
    mean_bytes: Option<f64>,
    now_ms: i64,
) -> Option<Left> {
    if partition.unread() <= 0 {
        return None;
    }
    if partition.read_to()? < partition.low {
        let by = match topic.number("retention.bytes") {
            Some(bytes) if bytes >= 0 => "retention.bytes",
            _ => "retention.ms",
        };
        return Some(Left { hours: 0.0, by });
    }
    let by_time = by_time(partition, topic, now_ms);
    let by_bytes = by_bytes(partition, topic, mean_bytes);
    let both = [by_time, by_bytes].into_iter().flatten();
    both.min_by(|a, b| a.hours.total_cmp(&b.hours))
}

fn by_time(partition: &PartitionFacts, topic: &TopicFacts, now_ms: i64) -> Option<Left> {
    let retention_ms = topic.number("retention.ms").filter(|ms| *ms >= 0)?;
    let left_ms = partition.first_unread_ms? + retention_ms - now_ms;
    Some(Left {
        hours: left_ms as f64 / 3_600_000.0,
        by: "retention.ms",
    })
}

/// Segments are deleted as long as what stays is as large as the limit: the unread part alone must be.
fn by_bytes(
    partition: &PartitionFacts,
    topic: &TopicFacts,
    mean_bytes: Option<f64>,
) -> Option<Left> {
    let retention_bytes = topic
        .number("retention.bytes")
        .filter(|bytes| *bytes >= 0)?;
    let mean_bytes = mean_bytes?;
    let left_bytes = retention_bytes as f64 - partition.unread() as f64 * mean_bytes;
    let rate = partition.records_last_hour? as f64 * mean_bytes;
    let hours = if left_bytes <= 0.0 {
        0.0
    } else if rate > 0.0 {
        left_bytes / rate
    } else {
        return None;
    };
    Some(Left {
        hours,
        by: "retention.bytes",
    })
}

/// Bytes of a record of the sample.
fn mean_bytes(kafka: &KafkaFacts, topic: &str) -> Option<f64> {
    let records = kafka.records.iter().filter(|r| r.topic == topic);
    let (mut bytes, mut count) = (0, 0_u32);
    for record in records {
        // A record's own frame takes a dozen bytes.
        bytes += record.bytes() + 12;
        count += 1;
    }
    (count > 0).then(|| bytes as f64 / f64::from(count))
}

/// Whether the group reads the records that are there now before that.
fn catches_up(partition: &PartitionFacts, hours: f64) -> bool {
    partition.progress.is_some_and(|(records, seconds)| {
        let rate = records as f64 / seconds.max(0.001);
        rate > 0.0 && partition.unread() as f64 / rate < hours * 3_600.0
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    const HOUR_MS: i64 = 3_600_000;

    fn lagging(unread_since_hours: i64) -> Facts {
        let mut facts = enrichment();
        let own = &mut kafka_of(&mut facts).partitions[0];
        own.committed = Some(500);
        own.first_unread_ms = Some(NOW_MS - unread_since_hours * HOUR_MS);
        own.records_last_hour = Some(100);
        facts
    }

    #[test]
    fn by_time_the_hours_are_told_that_are_left() {
        assert_silent("retention_below_lag", &lagging(24));
        let finding = one("retention_below_lag", &lagging(6 * 24 + 14));
        assert_eq!((finding.level, &*finding.place), (Warning, "user-events:0"));
        assert!(
            finding.message.contains("in 10.0 hours, by retention.ms"),
            "{finding:?}"
        );
        let finding = one("retention_below_lag", &lagging(8 * 24));
        assert_eq!(finding.level, Error);
        assert!(finding.message.contains("are being deleted already"));
    }

    #[test]
    fn by_bytes_what_is_unread_must_fit() {
        let mut facts = lagging(1);
        let record = SampledRecord {
            topic: "user-events".to_owned(),
            partition: 0,
            offset: 0,
            timestamp_ms: NOW_MS,
            key: None,
            value: Some(vec![0; 988]),
            headers: vec![],
        };
        kafka_of(&mut facts).records = vec![record];
        set(&mut facts, "user-events", "retention.bytes", "10000000");
        assert_silent("retention_below_lag", &facts);
        // 500 records of 1,000 bytes are unread, and 100 come an hour.
        set(&mut facts, "user-events", "retention.bytes", "1000000");
        let finding = one("retention_below_lag", &facts);
        assert_eq!(finding.level, Warning);
        assert!(
            finding.message.contains("in 5.0 hours, by retention.bytes"),
            "{finding:?}"
        );
        set(&mut facts, "user-events", "retention.bytes", "400000");
        assert_eq!(one("retention_below_lag", &facts).level, Error);
    }

    #[test]
    fn partitions_that_were_not_looked_at_are_said() {
        let mut facts = lagging(24);
        kafka_of(&mut facts).partitions_unseen = 44;
        let finding = one("retention_below_lag", &facts);
        assert_eq!(finding.level, Info);
        let count = format!("44 of {}", 44 + kafka_of(&mut facts).partitions.len());
        assert!(finding.message.contains(&count), "{finding:?}");
    }

    #[test]
    fn a_group_that_catches_up_in_time_is_left_alone() {
        let mut facts = lagging(6 * 24 + 14);
        kafka_of(&mut facts).partitions[0].progress = Some((100, 1.0));
        assert_silent("retention_below_lag", &facts);
    }

    #[test]
    fn what_is_gone_already_is_an_error_and_a_compacted_topic_deletes_nothing() {
        let mut facts = lagging(1);
        kafka_of(&mut facts).partitions[0].low = 700;
        assert_eq!(one("retention_below_lag", &facts).level, Error);
        set(&mut facts, "user-events", "cleanup.policy", "compact");
        assert_silent("retention_below_lag", &facts);
    }
}
