//! A topic that is read by its name, or written to by a name that nobody makes, is not there.

use super::prelude::*;
use crate::config::TopicSelector;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, kafka) in with_kafka(facts) {
        let named = own.pipeline.topics.iter();
        let named = named.filter_map(|selector| match selector {
            TopicSelector::Name(name) => Some(name),
            TopicSelector::Pattern(_) => None,
        });
        for name in named {
            let Some(topic) = kafka.topics.get(name) else {
                continue;
            };
            let is_missing = match topic.rights.error {
                Some(
                    RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic,
                ) => true,
                Some(_) => false,
                None => topic.rights.partitions == 0,
            };
            if is_missing {
                found.add(
                    Error,
                    own.name(),
                    name,
                    format!("topic {name} does not exist: the pipeline waits for it"),
                    format!(
                        "create it, declare it in [topics.\"{name}\"] and run `streamweir topics apply`, or \
                         correct pipeline.topics"
                    ),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn a_topic_that_is_read_and_not_there_is_an_error() {
        let mut facts = enrichment();
        assert_silent("topic_missing", &facts);
        let topic = topic(&mut facts, "user-events");
        topic.rights.error = Some(RDKafkaErrorCode::UnknownTopicOrPartition);
        topic.rights.partitions = 0;
        let finding = one("topic_missing", &facts);
        assert_eq!((finding.level, &*finding.place), (Error, "user-events"));
        assert!(finding.advice.contains("topics apply"));
    }

    #[test]
    fn a_topic_that_may_not_be_described_is_not_called_missing() {
        let mut facts = enrichment();
        let topic = topic(&mut facts, "user-events");
        topic.rights.error = Some(RDKafkaErrorCode::TopicAuthorizationFailed);
        assert_silent("topic_missing", &facts);
    }
}
