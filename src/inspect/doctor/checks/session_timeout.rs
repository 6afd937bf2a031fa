//! The broker's rules for the session of a member.

use super::prelude::*;
use crate::config::GroupProtocol;

/// Shorter, and a pause of the process or the network costs a rebalance.
const SESSION_MS_MIN: i64 = 6_000;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, kafka) in with_kafka(facts) {
        let number = |name: &str| kafka.broker.get(name)?.parse::<i64>().ok();
        match own.pipeline.group_protocol {
            GroupProtocol::Classic => {
                let wanted = i64::try_from(own.pipeline.kafka.session_timeout().as_millis());
                let wanted = wanted.unwrap_or(i64::MAX);
                let (low, high) = (
                    "group.min.session.timeout.ms",
                    "group.max.session.timeout.ms",
                );
                let broken = match (number(low), number(high)) {
                    (Some(min), _) if wanted < min => Some((low, min)),
                    (_, Some(max)) if wanted > max => Some((high, max)),
                    _ => None,
                };
                if let Some((bound, limit)) = broken {
                    found.add(
                        Error,
                        own.name(),
                        "kafka.properties.session.timeout.ms",
                        format!(
                            "session.timeout.ms is {wanted}, and the broker takes none beyond {bound} = \
                             {limit}: it refuses the member, and the pipeline never starts"
                        ),
                        "set session.timeout.ms in [kafka.properties] within the broker's bounds",
                    );
                }
            }
            GroupProtocol::Consumer => {
                let protocols = kafka.broker.get("group.coordinator.rebalance.protocols");
                if protocols.is_some_and(|known| !known.contains("consumer")) {
                    found.add(
                        Error,
                        own.name(),
                        "pipeline.group_protocol",
                        "group_protocol is \"consumer\", and the broker does not speak it \
                         (group.coordinator.rebalance.protocols)",
                        "set group_protocol = \"classic\", or add consumer to \
                         group.coordinator.rebalance.protocols",
                    );
                }
                let session = number("group.consumer.session.timeout.ms");
                if let Some(session) = session.filter(|ms| *ms < SESSION_MS_MIN) {
                    found.add(
                        Warning,
                        own.name(),
                        "group.consumer.session.timeout.ms",
                        format!(
                            "with group_protocol = \"consumer\" the broker decides the session, and it ends \
                             after {session} ms (group.consumer.session.timeout.ms): a short pause of process or \
                             network costs a rebalance"
                        ),
                        "set group.consumer.session.timeout.ms to 45000 (the default) on every broker",
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    fn broker(facts: &mut Facts, name: &str, value: &str) {
        let broker = &mut kafka_of(facts).broker;
        broker.insert(name.to_owned(), value.to_owned());
    }

    #[test]
    fn a_session_beyond_the_brokers_bounds_is_an_error() {
        let mut facts = enrichment();
        assert_silent("session_timeout", &facts);
        broker(&mut facts, "group.min.session.timeout.ms", "60000");
        assert!(one("session_timeout", &facts).message.contains("group.min"));
        let mut facts = enrichment();
        broker(&mut facts, "group.max.session.timeout.ms", "30000");
        let finding = one("session_timeout", &facts);
        assert_eq!(finding.level, Error);
        assert!(finding.message.contains("group.max"));
    }

    #[test]
    fn with_the_new_protocol_the_brokers_own_rules_count() {
        let change = (
            "group_protocol = \"classic\" ",
            "group_protocol = \"consumer\" ",
        );
        let mut facts = shipped("clickstream", &[change]);
        assert_silent("session_timeout", &facts);
        broker(&mut facts, "group.consumer.session.timeout.ms", "1000");
        assert_eq!(one("session_timeout", &facts).level, Warning);
        broker(&mut facts, "group.consumer.session.timeout.ms", "45000");
        broker(
            &mut facts,
            "group.coordinator.rebalance.protocols",
            "classic",
        );
        assert_eq!(one("session_timeout", &facts).level, Error);
    }
}
