//! The client is recreated if a rejoin yields no assignment.
//!
//! librdkafka 2.12 has been seen to stand still after its only broker had died twice within seconds,
//! connected and without ever joining. All that a user would see is lag.

use std::time::Instant;

use super::Lane;
use super::operator::Operator;
use crate::config::{GroupProtocol, TopicSelector};

impl<O: Operator> Lane<O> {
    /// The group owes us an assignment from now on.
    pub(super) fn await_assignment(&mut self, now: Instant) {
        self.group.joining_since = Some(now);
    }

    /// Replaces the client when the group has owed us an assignment for longer than a rebalance can take.
    pub(super) fn renew_client(&mut self, now: Instant) {
        let Some(since) = self.group.joining_since.filter(|_| self.owned.is_empty()) else {
            return;
        };
        let patience = self.consumer().rebalance_max();
        if self.context.stop.is_draining() || now < since + patience {
            return;
        }
        // It has no partitions.
        self.group.joining_since = Some(now);
        let renewed = self.consumer().renewed(&self.topics());
        let renewed = match renewed {
            Ok(renewed) => renewed,
            Err(error) => {
                tracing::warn!(pipeline = self.context.pipeline.name, %error, "cannot create a replacement client");
                return;
            }
        };
        tracing::warn!(
            pipeline = self.context.pipeline.name,
            lane = self.context.number,
            waited_ms = patience.as_millis() as u64,
            "the group has not given this member an assignment; another client tries"
        );
        self.context
            .shared
            .board
            .error("kafka: no assignment from the group");
        let old = self.consumer.replace(renewed);
        for partition in self.group.assigning.take().partitions() {
            self.unsay(partition);
        }
        self.group.revoking = None;
        self.group.member = None;
        self.committer.retain(|_| false);
        self.topic_watch.restart();
        // Closing it may never end, so the lane does not wait for it.
        let leaving = std::thread::Builder::new().name("leaving".to_owned());
        if let Err(error) = leaving.spawn(move || drop(old)) {
            tracing::warn!(%error, "no thread for the client that leaves");
        }
    }

    pub(super) fn topics(&self) -> Vec<String> {
        let topics = self.context.pipeline.topics.iter();
        let protocol = self.context.pipeline.group_protocol;
        topics.map(|topic| subscribed(topic, protocol)).collect()
    }
}

/// What is subscribed to. The broker of a group of the protocol `consumer` wants a pattern to match a topic's
/// whole name; clients of the other one, and we, look for it anywhere.
fn subscribed(topic: &TopicSelector, protocol: GroupProtocol) -> String {
    match (topic, protocol) {
        (TopicSelector::Pattern(pattern), GroupProtocol::Consumer) => format!("^.*({pattern}).*"),
        _ => topic.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_anywhere_by_either_protocol() {
        let selector = TopicSelector::Pattern("^a|b$".into());
        assert_eq!(subscribed(&selector, GroupProtocol::Classic), "^a|b$");
        let whole = format!("^(?:{})$", subscribed(&selector, GroupProtocol::Consumer));
        let whole = regex::Regex::new(&whole).unwrap();
        for topic in ["a", "ax", "xb", "b", "x", "xa", "bx"] {
            assert_eq!(whole.is_match(topic), selector.matches(topic), "{topic}");
        }
        let name = TopicSelector::Name("a".into());
        assert_eq!(subscribed(&name, GroupProtocol::Consumer), "a");
    }
}
