//! The topic of dead letters loses some of them, or cannot be made.

use super::prelude::*;

const DAY_MS: i64 = 86_400_000;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, kafka) in with_kafka(facts) {
        let name = &own.pipeline.dead_letter.topic;
        if let Some(why) = &kafka.dead_letter_refusal {
            found.add(
                Error,
                own.name(),
                name,
                format!("dead-letter topic {name} does not exist and cannot be created: {why}"),
                "create it by hand (retention.ms=-1, max.message.bytes above that of the source topics), or \
                 grant this user CREATE on it",
            );
        }
        let Some(topic) = kafka.topics.get(name).filter(|topic| topic.exists()) else {
            continue;
        };
        for (level, message, advice) in problems(name, topic, kafka) {
            found.add(level, own.name(), name, message, advice);
        }
    }
}

type Problem = (super::super::finding::Level, String, String);

fn problems(name: &str, topic: &TopicFacts, kafka: &KafkaFacts) -> Vec<Problem> {
    let mut problems = vec![];
    let sources = || {
        let topics = kafka.topics.iter();
        topics.filter(|(name, _)| kafka.sources.contains(*name))
    };
    let policy = topic.properties.get("cleanup.policy");
    if policy.is_some_and(|policy| policy.contains("compact")) {
        problems.push((
            Error,
            format!("dead-letter topic {name} is compacted: of the dead letters of one key only the newest stays"),
            format!("set cleanup.policy=delete and retention.ms=-1 on {name}"),
        ));
    }
    let largest = |(name, topic): (&String, &TopicFacts)| {
        Some((topic.number("max.message.bytes")?, name.clone()))
    };
    if let (Some(bytes_max), Some((source_max, source))) = (
        topic.number("max.message.bytes"),
        sources().filter_map(largest).max(),
    ) && bytes_max < source_max
    {
        problems.push((
            Warning,
            format!(
                "dead-letter topic {name} takes messages of {bytes_max} bytes (max.message.bytes) and topic \
                 {source} has some of up to {source_max}: a larger dead letter halts the pipeline"
            ),
            format!(
                "set max.message.bytes on {name} to more than {source_max}: a dead letter has headers besides"
            ),
        ));
    }
    problems.extend(retention(name, topic, sources().map(|(_, topic)| topic)));
    problems
}

/// Dead letters keep their records' own timestamps.
fn retention<'t>(
    name: &str,
    topic: &TopicFacts,
    sources: impl Iterator<Item = &'t TopicFacts>,
) -> Option<Problem> {
    let own_ms = topic.number("retention.ms").filter(|ms| *ms >= 0)?;
    let span = |ms: i64| if ms < 0 { i64::MAX } else { ms };
    let longest = sources
        .filter_map(|t| t.number("retention.ms"))
        .map(span)
        .max();
    let longest = longest.unwrap_or(0);
    (own_ms < longest || own_ms < DAY_MS).then(|| {
        (
            Warning,
            format!(
                "dead-letter topic {name} keeps messages for {} h (retention.ms), and dead letters keep the \
                 timestamps of their records: those of older records are deleted at once",
                own_ms / 3_600_000
            ),
            format!("set retention.ms=-1 on {name}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    const LETTERS: &str = "streamweir-dead-letters";

    #[test]
    fn a_topic_that_cannot_be_made_is_an_error() {
        let mut facts = enrichment();
        assert_silent("dead_letter_topic", &facts);
        kafka_of(&mut facts).dead_letter_refusal = Some("policy".to_owned());
        let finding = one("dead_letter_topic", &facts);
        assert_eq!((finding.level, &*finding.place), (Error, LETTERS));
    }

    #[test]
    fn compaction_loses_dead_letters() {
        let mut facts = enrichment();
        set(&mut facts, LETTERS, "cleanup.policy", "compact,delete");
        let finding = one("dead_letter_topic", &facts);
        assert_eq!(finding.level, Error);
        assert!(finding.message.contains("compacted"));
    }

    #[test]
    fn messages_may_not_be_smaller_than_the_sources() {
        let mut facts = enrichment();
        set(&mut facts, "user-events", "max.message.bytes", "16777216");
        assert_silent("dead_letter_topic", &facts);
        set(&mut facts, LETTERS, "max.message.bytes", "1048588");
        let finding = one("dead_letter_topic", &facts);
        assert_eq!(finding.level, Warning);
        assert!(finding.message.contains("max.message.bytes"));
    }

    #[test]
    fn retention_may_not_be_shorter_than_the_sources() {
        let mut facts = enrichment();
        set(&mut facts, LETTERS, "retention.ms", "604800000");
        assert_silent("dead_letter_topic", &facts);
        set(&mut facts, "user-events", "retention.ms", "-1");
        assert!(one("dead_letter_topic", &facts).message.contains("168 h"));
        set(&mut facts, "user-events", "retention.ms", "1000");
        set(&mut facts, LETTERS, "retention.ms", "3600000");
        assert!(
            one("dead_letter_topic", &facts)
                .advice
                .contains("retention.ms=-1")
        );
    }
}
