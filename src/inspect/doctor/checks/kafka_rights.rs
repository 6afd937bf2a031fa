//! An operation on a topic or the group that this user is refused.

use std::collections::BTreeSet;

use streamweir_kafka::{Operation, Operations};

use super::super::gather::kafka::output_topic;
use super::prelude::*;
use crate::config::Pipeline;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, kafka) in with_kafka(facts) {
        let needed = needed(&own.pipeline, &kafka.sources);
        let mut refused = |operation: Operation, resource: String, level| {
            let name = operation.name();
            let (kind, of) = resource.split_once(' ').unwrap_or((&resource, ""));
            let grant = format!(
                "grant it: kafka-acls --bootstrap-server {} --add --allow-principal User:{} --operation {name} \
                 --{kind} {of}; all that the pipeline needs is {needed}",
                own.pipeline.kafka.bootstrap_servers.join(","),
                user(&own.pipeline),
            );
            let message = format!("this user lacks the right {name} on {resource}");
            found.add(level, own.name(), resource, message, grant);
        };
        let written = [
            Some(&*own.pipeline.dead_letter.topic),
            output_topic(&own.pipeline),
        ];
        for (name, topic) in &kafka.topics {
            let resource = || format!("topic {name}");
            let is_source = kafka.sources.contains(name);
            if is_denied(topic.rights.error) {
                refused(Operation::Describe, resource(), Error);
                continue;
            }
            if !topic.exists() {
                continue;
            }
            let operations = &topic.rights.operations;
            if is_source && lacks(operations, Operation::Read) {
                refused(Operation::Read, resource(), Error);
            }
            if written.contains(&Some(&**name)) && lacks(operations, Operation::Write) {
                refused(Operation::Write, resource(), Error);
            }
            if is_source && topic.properties.is_empty() {
                refused(Operation::DescribeConfigs, resource(), Info);
            }
        }
        let group = || format!("group {}", own.pipeline.group_id);
        let operations = kafka.group.as_ref();
        let group_lacks = operations.is_some_and(|group| {
            is_denied(group.error) || lacks(&group.operations, Operation::Read)
        });
        if group_lacks {
            refused(Operation::Read, group(), Error);
        }
    }
}

/// More topics of a pattern than this are counted.
const NAMED_MAX: usize = 20;

/// The smallest set of rights, for people. READ and WRITE include DESCRIBE.
fn needed(pipeline: &Pipeline, sources: &BTreeSet<String>) -> String {
    let named = sources.iter().take(NAMED_MAX);
    let mut rights: Vec<String> = named
        .map(|topic| format!("READ on topic {topic}"))
        .collect();
    if let more @ 1.. = sources.len().saturating_sub(NAMED_MAX) {
        rights.push(format!("READ on {more} topics more"));
    }
    rights.push(format!("READ on group {}", pipeline.group_id));
    rights.push(format!("WRITE on topic {}", pipeline.dead_letter.topic));
    rights.extend(output_topic(pipeline).map(|topic| format!("WRITE on topic {topic}")));
    if pipeline.is_transactional() {
        rights.push(format!(
            "WRITE on the transactional ids that begin with {} (--transactional-id {} --resource-pattern-type \
             prefixed)",
            pipeline.group_id, pipeline.group_id
        ));
    }
    rights.join(", ")
}

/// Who asks, as far as the configuration tells: a certificate, a token or a ticket has a name of its own.
fn user(pipeline: &Pipeline) -> &str {
    let name = pipeline.kafka.properties.get("sasl.username");
    name.map_or("…", |name| name.value())
}

fn is_denied(error: Option<RDKafkaErrorCode>) -> bool {
    matches!(
        error,
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
        )
    )
}

/// Nothing is known where the broker does not say.
fn lacks(operations: &Operations, operation: Operation) -> bool {
    operations
        .as_ref()
        .is_some_and(|known| !known.contains(&operation))
}

#[cfg(test)]
mod tests {
    use streamweir_kafka::Operation;

    use super::super::testing::*;

    #[test]
    fn each_operation_that_is_refused_is_named_with_its_resource() {
        let mut facts = enrichment();
        assert_silent("kafka_rights", &facts);
        let source = topic(&mut facts, "user-events");
        source.rights.operations = Some([Operation::Describe].into());
        let letters = topic(&mut facts, "streamweir-dead-letters");
        letters.rights.operations = Some([Operation::Describe, Operation::Read].into());
        let group = kafka_of(&mut facts).group.as_mut().expect("a group");
        group.operations = Some([Operation::Describe].into());
        let found = found("kafka_rights", &facts);
        let seen: Vec<_> = found.iter().map(|f| (f.level, &*f.message)).collect();
        assert_eq!(
            seen,
            [
                (
                    Error,
                    "this user lacks the right WRITE on topic streamweir-dead-letters"
                ),
                (Error, "this user lacks the right READ on topic user-events"),
                (
                    Error,
                    "this user lacks the right READ on group clickstream-processor"
                ),
            ]
        );
    }

    #[test]
    fn a_topic_that_may_not_be_described_and_a_group_that_is_refused_are_errors() {
        let mut facts = enrichment();
        topic(&mut facts, "user-events").rights.error =
            Some(RDKafkaErrorCode::TopicAuthorizationFailed);
        assert!(
            one("kafka_rights", &facts)
                .message
                .contains("DESCRIBE on topic user-events")
        );
        let mut facts = enrichment();
        let group = kafka_of(&mut facts).group.as_mut().expect("a group");
        group.error = Some(RDKafkaErrorCode::GroupAuthorizationFailed);
        assert!(
            one("kafka_rights", &facts)
                .message
                .contains("READ on group")
        );
    }

    #[test]
    fn where_the_broker_does_not_say_nothing_is_claimed() {
        let mut facts = enrichment();
        topic(&mut facts, "user-events").rights.operations = None;
        kafka_of(&mut facts).group = None;
        assert_silent("kafka_rights", &facts);
    }
}
