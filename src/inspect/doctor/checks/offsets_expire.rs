//! The broker forgets the group's offsets sooner than the pipeline may stand still.

use super::prelude::*;

/// A group that is empty over a weekend and a day must find its offsets again.
const MINUTES_MIN: i64 = 3 * 24 * 60;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, kafka) in with_kafka(facts) {
        let retention = kafka.broker.get("offsets.retention.minutes");
        let Some(minutes) = retention.and_then(|n| n.parse::<i64>().ok()) else {
            continue;
        };
        let is_empty = kafka.group.as_ref().is_some_and(|g| g.members.is_empty());
        let newest = kafka.records.iter().map(|record| record.timestamp_ms).max();
        let idle = newest.map_or(0, |newest| (facts.now_ms - newest) / 60_000);
        let has_offsets = kafka.partitions.iter().any(|p| p.committed.is_some());
        let why = if minutes < MINUTES_MIN {
            "a group that stands still for longer, as over a weekend, loses them".to_owned()
        } else if is_empty && has_offsets && idle > minutes {
            format!(
                "the newest record is {} h old and the group has no member: they may be gone soon",
                idle / 60
            )
        } else {
            continue;
        };
        found.add(
            Warning,
            own.name(),
            "offsets.retention.minutes",
            format!(
                "the broker forgets the offsets of group {} after {minutes} minutes without a member \
                 (offsets.retention.minutes): {why}",
                own.pipeline.group_id
            ),
            "set offsets.retention.minutes to 10080 (7 days, the default) or more on every broker, or keep the \
             pipeline running",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn offsets_must_outlive_a_weekend() {
        for (minutes, is_found) in [
            ("10080", false),
            ("4320", false),
            ("1440", true),
            ("1", true),
        ] {
            let mut facts = enrichment();
            let broker = &mut kafka_of(&mut facts).broker;
            broker.insert("offsets.retention.minutes".to_owned(), minutes.to_owned());
            let found = found("offsets_expire", &facts);
            assert_eq!(!found.is_empty(), is_found, "{minutes}");
            assert!(found.iter().all(|f| f.level == Warning));
        }
    }

    #[test]
    fn an_empty_group_of_a_topic_that_has_long_been_silent_may_lose_them() {
        let mut facts = enrichment();
        let record = SampledRecord {
            topic: "user-events".to_owned(),
            partition: 0,
            offset: 999,
            timestamp_ms: NOW_MS - 8 * 86_400_000,
            key: None,
            value: None,
            headers: vec![],
        };
        kafka_of(&mut facts).records = vec![record];
        assert!(one("offsets_expire", &facts).message.contains("192 h old"));
    }
}
