//! The group has committed offsets, and there is no snapshot of the state that belongs to them.

use super::prelude::*;
use crate::config::OnMissingState;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, kafka) in with_kafka(facts) {
        let Kind::Enrichment(config) = &own.pipeline.kind else {
            continue;
        };
        let halts = config.state.on_missing_state == OnMissingState::Halt;
        let missing = kafka.partitions.iter().filter(|partition| {
            let place = (partition.topic.clone(), partition.partition);
            // What was never deleted is read again instead, and another program's commit has no state.
            partition.low > 0
                && partition.metadata.is_some()
                && own.snapshots.get(&place) == Some(&false)
        });
        let missing: Vec<String> = missing.map(|partition| partition.place()).collect();
        let Some(first) = missing.first() else {
            continue;
        };
        let place = match config.state.url.is_empty() {
            true => facts
                .service
                .state_dir
                .join(own.name())
                .display()
                .to_string(),
            false => config.state.url.clone(),
        };
        let (level, effect) = match halts {
            true => (
                Error,
                "the pipeline halts unless the topic reaches back far enough",
            ),
            false => (
                Warning,
                "sessions begin anew, and duplicates of earlier records are not found",
            ),
        };
        found.add(
            level,
            own.name(),
            &place,
            format!(
                "{place} has no snapshot for {} partitions that group {} has committed, such as {first}: {effect}",
                missing.len(),
                own.pipeline.group_id
            ),
            "bring the state directory back, point service.state_dir or pipeline.state.url to where the snapshots \
             are, or set pipeline.state.on_missing_state = \"start_empty\"",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use crate::progress::{Epoch, Metadata};

    fn without_snapshot(low: i64) -> Facts {
        let mut facts = enrichment();
        let own = &mut kafka_of(&mut facts).partitions[3];
        own.low = low;
        own.metadata = Some(Metadata {
            topic_id: "-".to_owned(),
            epoch: Epoch(1),
            is_set_back: false,
            counter: 1,
            table: "analytics.clickstream_events".to_owned(),
            range_ends: vec![],
            layout: None,
            made_no_rows: false,
            frontier: None,
            watermark_ms: None,
            insert_span_ms: None,
        });
        facts.pipelines[0].snapshots = [(("user-events".to_owned(), 3), false)].into();
        facts
    }

    #[test]
    fn without_a_snapshot_a_log_that_was_cut_does_not_tell_the_state() {
        let finding = one("state_missing", &without_snapshot(10));
        assert_eq!(finding.level, Error);
        assert!(finding.message.contains("user-events:3"));
        assert_silent("state_missing", &without_snapshot(0));
        let mut facts = without_snapshot(10);
        facts.pipelines[0]
            .snapshots
            .insert(("user-events".to_owned(), 3), true);
        assert_silent("state_missing", &facts);
        let mut facts = without_snapshot(10);
        kafka_of(&mut facts).partitions[3].metadata = None;
        assert_silent("state_missing", &facts);
    }
}
