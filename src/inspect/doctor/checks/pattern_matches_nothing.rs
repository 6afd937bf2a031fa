//! A pattern of `topics` that no topic matches.

use super::prelude::*;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, kafka) in with_kafka(facts) {
        for pattern in &kafka.empty_patterns {
            found.add(
                Warning,
                own.name(),
                "pipeline.topics",
                format!("no topic of the cluster matches the pattern {pattern}"),
                "correct the pattern (it is a regular expression: a dot in a name is [.]), or grant this user \
                 DESCRIBE on the topics; topics that come later are taken up",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn a_pattern_without_topics_is_a_warning_since_they_may_come_later() {
        let mut facts = cdc();
        assert_silent("pattern_matches_nothing", &facts);
        kafka_of(&mut facts).empty_patterns = vec!["^shop[.]x$".to_owned()];
        let finding = one("pattern_matches_nothing", &facts);
        assert_eq!(finding.level, Warning);
        assert!(finding.message.contains("^shop[.]x$"));
    }
}
