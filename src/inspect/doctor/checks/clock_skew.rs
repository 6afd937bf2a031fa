//! Clocks that differ: of this machine, of ClickHouse, and of those who write to Kafka.

use super::prelude::*;

/// Network and scheduling aside.
const SERVER_MS: i64 = 10_000;
const RECORD_MS: i64 = 60_000;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for own in &facts.pipelines {
        for (url, server) in with_facts(own) {
            let ahead = server.clock_ahead_ms;
            if ahead.abs() > SERVER_MS {
                let direction = if ahead > 0 { "ahead of" } else { "behind" };
                found.add(
                    Warning,
                    own.name(),
                    url,
                    format!(
                        "the clock of {url} is {} s {direction} this machine's",
                        ahead.abs() / 1000
                    ),
                    ADVICE,
                );
            }
        }
    }
    for (own, kafka) in with_kafka(facts) {
        let ahead = |record: &&crate::inspect::doctor::facts::SampledRecord| {
            record.timestamp_ms - facts.now_ms > RECORD_MS
        };
        let records = kafka.records.iter().filter(ahead);
        if let Some(record) = records.max_by_key(|record| record.timestamp_ms) {
            let place = record.address();
            let seconds = (record.timestamp_ms - facts.now_ms) / 1000;
            found.add(
                Warning,
                own.name(),
                &place,
                format!("{place} has a Kafka timestamp that is {seconds} s ahead of this machine's clock"),
                ADVICE,
            );
        }
    }
}

const ADVICE: &str = "synchronise the clocks (NTP): event times too far ahead are judged by Kafka's timestamps, \
                      and retention, freshness and lag in seconds by the clocks";

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn a_server_whose_clock_is_off_is_named() {
        for (ahead_ms, words) in [
            (9_000, None),
            (-9_000, None),
            (120_000, Some("120 s ahead of")),
            (-30_000, Some("30 s behind")),
        ] {
            let mut facts = enrichment();
            server(&mut facts).clock_ahead_ms = ahead_ms;
            let found = found("clock_skew", &facts);
            match words {
                Some(words) => assert!(found[0].message.contains(words), "{found:?}"),
                None => assert_eq!(found, []),
            }
        }
    }

    #[test]
    fn a_record_of_the_future_is_named_by_its_address() {
        let mut facts = enrichment();
        let record = |offset, ahead_ms| SampledRecord {
            topic: "user-events".to_owned(),
            partition: 1,
            offset,
            timestamp_ms: NOW_MS + ahead_ms,
            key: None,
            value: None,
            headers: vec![],
        };
        kafka_of(&mut facts).records = vec![record(4, 1_000), record(5, 7_200_000)];
        let finding = one("clock_skew", &facts);
        assert_eq!(
            (finding.level, &*finding.place),
            (Warning, "user-events:1:5")
        );
    }
}
