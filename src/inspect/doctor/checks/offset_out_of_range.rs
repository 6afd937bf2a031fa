//! The group's committed offset is not in the log any more, or not yet.

use super::prelude::*;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, kafka) in with_kafka(facts) {
        for partition in &kafka.partitions {
            let Some(committed) = partition.committed else {
                continue;
            };
            let (low, high) = (partition.low, partition.high);
            let read_to = partition.read_to().unwrap_or(committed);
            let (why, advice) = if read_to < low {
                (
                    "older records are deleted",
                    format!(
                        "records are lost unless another copy has them: restore them, or accept the loss by \
                         setting the group's offset to the start of the log (`streamweir offsets reset \
                         --pipeline {} --topic {} --partition {} --to {low}`)",
                        own.name(),
                        partition.topic,
                        partition.partition
                    ),
                )
            } else if committed > high {
                (
                    "the log is shorter, as of a topic that was deleted and made again",
                    "see docs/halts.md, topic_changed and out_of_range, before the group's offset is \
                     set anew"
                        .to_owned(),
                )
            } else {
                continue;
            };
            let place = format!("{}:{committed}", partition.place());
            found.add(
                Error,
                own.name(),
                &place,
                format!(
                    "group {} has committed {place}, and the log goes from {low} to {high}: {why}, and the \
                     pipeline halts",
                    own.pipeline.group_id
                ),
                advice,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use crate::progress::{Epoch, Frontier, Metadata, WindowFrontier};

    fn read_to_of(read_to: i64) -> Metadata {
        Metadata {
            topic_id: "id".to_owned(),
            epoch: Epoch(1),
            counter: 1,
            table: "db.t".to_owned(),
            range_ends: vec![],
            is_set_back: false,
            layout: None,
            made_no_rows: false,
            watermark_ms: None,
            insert_span_ms: None,
            frontier: Some(Frontier::Windows(WindowFrontier {
                rules: 1,
                largest_ms: None,
                closed_through_ms: None,
                read_to,
                settled_to: read_to,
                partitions: None,
                first_read: None,
            })),
        }
    }

    #[test]
    fn an_offset_before_or_behind_the_log_is_an_error_with_its_address() {
        for (low, high, is_found) in [
            (0, 1000, false),
            (1000, 1000, false),
            (1001, 2000, true),
            (0, 999, true),
        ] {
            let mut facts = enrichment();
            let own = &mut kafka_of(&mut facts).partitions[2];
            (own.low, own.high) = (low, high);
            let found = found("offset_out_of_range", &facts);
            assert_eq!(!found.is_empty(), is_found, "{low} {high}");
            assert!(
                found
                    .iter()
                    .all(|f| f.level == Error && f.place == "user-events:2:1000")
            );
            let command = "--topic user-events --partition 2 --to 1001`";
            let is_cut = low == 1001;
            assert!(found.iter().all(|f| f.advice.contains(command) == is_cut));
        }
    }

    #[test]
    fn what_windows_were_read_to_may_lie_behind_a_beginning_that_the_commit_does_not() {
        for (read_to, is_found) in [(1500, false), (1501, false), (1499, true)] {
            let mut facts = enrichment();
            let own = &mut kafka_of(&mut facts).partitions[2];
            (own.low, own.high) = (1500, 2000);
            own.metadata = Some(read_to_of(read_to));
            let found = found("offset_out_of_range", &facts);
            assert_eq!(!found.is_empty(), is_found, "{read_to}");
        }
    }

    #[test]
    fn a_group_that_has_committed_nothing_is_fine() {
        let mut facts = enrichment();
        let own = &mut kafka_of(&mut facts).partitions[0];
        (own.low, own.committed) = (500, None);
        assert_silent("offset_out_of_range", &facts);
    }
}
