//! A topic has more partitions than when the group committed last, where the place of keys matters.

use super::prelude::*;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, kafka) in with_kafka(facts) {
        let depends = match &own.pipeline.kind {
            Kind::Cdc(_) | Kind::StreamJoin(_) => true,
            Kind::Aggregation(aggregation) => aggregation.partitioned_by.is_some(),
            Kind::Enrichment(_) | Kind::Raw(_) => false,
        };
        if !depends {
            continue;
        }
        for topic in &kafka.sources {
            let Some(now) = kafka.topics.get(topic).filter(|t| t.exists()) else {
                continue;
            };
            let now = now.rights.partitions;
            let Some(then) = known(own, kafka, topic, now).filter(|then| *then != now) else {
                continue;
            };
            found.add(
                Error,
                own.name(),
                topic,
                format!(
                    "topic {topic} has {now} partitions, and had {then} when group {} committed last: keys lie \
                     on other partitions now, and the pipeline halts with reason partitions_changed",
                    own.pipeline.group_id
                ),
                "see docs/halts.md, partitions_changed: replicas need a version epoch, windows are closed \
                 first (`streamweir run --until latest --close`)",
            );
        }
    }
}

/// How many partitions the topic had, as far as the commits say.
fn known(own: &PipelineFacts, kafka: &KafkaFacts, topic: &str, now: usize) -> Option<usize> {
    let partitions = kafka.partitions.iter().filter(|p| p.topic == topic);
    if let Kind::Cdc(cdc) = &own.pipeline.kind {
        let epoch = cdc.version_epochs.iter().map(|epoch| epoch.epoch).max();
        let layouts = partitions.filter_map(|p| p.metadata.as_ref()?.layout);
        let mut layouts = layouts.filter(|layout| layout.epoch >= epoch.unwrap_or(0));
        return layouts.find(|l| l.partitions != now).map(|l| l.partitions);
    }
    // Partitions that the group has never read, beside others with open windows or undecided events.
    let committed = partitions.clone().filter(|p| p.committed.is_some());
    let is_open = committed.clone().any(|p| {
        let metadata = p.metadata.as_ref();
        metadata.is_some_and(|metadata| metadata.frontier.is_some()) && p.lag() > 0
    });
    let count = committed.count();
    (is_open && count > 0 && count < now).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use crate::progress::{Epoch, Layout, Metadata};

    fn metadata(partitions: usize, epoch: u16) -> Metadata {
        Metadata {
            topic_id: "-".to_owned(),
            epoch: Epoch(1),
            is_set_back: false,
            counter: 1,
            table: "replica.orders".to_owned(),
            range_ends: vec![],
            layout: Some(Layout { partitions, epoch }),
            made_no_rows: false,
            frontier: None,
            watermark_ms: None,
            insert_span_ms: None,
        }
    }

    #[test]
    fn a_replicas_topic_with_another_number_of_partitions_is_an_error() {
        let mut facts = cdc();
        assert_silent("partitions_changed", &facts);
        kafka_of(&mut facts).partitions[0].metadata = Some(metadata(6, 0));
        assert_silent("partitions_changed", &facts);
        kafka_of(&mut facts).partitions[1].metadata = Some(metadata(3, 0));
        let finding = one("partitions_changed", &facts);
        assert_eq!(
            (finding.level, &*finding.place),
            (Error, "shop.public.orders")
        );
        assert!(finding.message.contains("6 partitions, and had 3"));
    }

    #[test]
    fn an_epoch_that_was_declared_since_takes_care_of_it() {
        let change = (
            "version_epochs = [] ",
            "version_epochs = [{ since = \"2026-11-21T02:00:00Z\", epoch = 1 }] ",
        );
        let mut facts = shipped("shop", &[change]);
        kafka_of(&mut facts).partitions[1].metadata = Some(metadata(3, 0));
        assert_silent("partitions_changed", &facts);
    }

    #[test]
    fn events_may_lie_on_as_many_partitions_as_there_are() {
        let mut facts = enrichment();
        kafka_of(&mut facts).partitions[0].committed = None;
        assert_silent("partitions_changed", &facts);
    }
}
