//! What offsets and the metadata beside them mean, for people.

use super::behind_fence;
use super::target::Resolved;
use crate::config::{Delivery, Kind, Pipeline};
use crate::progress::{Frontier, Metadata, SwapFence};
use crate::source::Offsets;

/// What a commit says besides its offset.
pub(super) fn meaning(
    offsets: &Offsets,
    metadata: Option<&Metadata>,
    log: (i64, i64),
) -> Vec<String> {
    let Some(position) = offsets.position else {
        return vec!["nothing is committed: the next start begins by start_offset".to_owned()];
    };
    let mut lines = vec![];
    if SwapFence::decode(&offsets.metadata).is_some() {
        lines.push(
            "streamweir rebuild is exchanging the table, and no start gets past this: wait until it has ended, or, if \
             it has died, repeat it with the same --swap or --undo"
                .to_owned(),
        );
    }
    if position < log.0 {
        lines.push(format!(
            "the log begins at {} now: offsets {position} to {} were deleted before they were read",
            log.0,
            log.0 - 1
        ));
    }
    if position > log.1 {
        lines.push(format!(
            "the log ends at {}, before the committed offset",
            log.1
        ));
    }
    let Some(metadata) = metadata else {
        let text = behind_fence(offsets);
        lines.push(match text.is_empty() {
            true => "set by another program or a reset: the next start looks at the table first"
                .to_owned(),
            false => format!("beside it stands what is not read here: {text:?}"),
        });
        return lines;
    };
    if !metadata.range_ends.is_empty() {
        lines.push(format!(
            "the ranges are named and perhaps not yet written to {}: the next owner sends them again under \
             the same tokens, and the table stores them once",
            metadata.table
        ));
    }
    if metadata.is_set_back {
        lines.push(
            "rows of the ranges may be in the table already: a look comes before they are sent"
                .to_owned(),
        );
    }
    if let Some(layout) = metadata.layout {
        lines.push(format!(
            "versions rest on {} partitions and epoch {}",
            layout.partitions, layout.epoch
        ));
    }
    match metadata.frontier {
        Some(Frontier::Windows(windows)) => lines.push(format!(
            "read to {}: records from the committed offset on are read again for windows that are open",
            windows.read_to
        )),
        Some(Frontier::Join(join)) => lines.push(format!(
            "read to {}: records from the committed offset on are read again for events that are not \
             decided",
            join.read_to
        )),
        None => {}
    }
    lines
}

/// What the target does with records that it already has, and what becomes of those passed over.
pub(super) fn effects(pipeline: &Pipeline, resolved: &[Resolved]) -> Vec<String> {
    let back = |r: &&Resolved| r.committed.is_some_and(|committed| r.to < committed);
    let mut lines = vec![];
    if resolved.iter().any(|r| back(&r)) {
        lines.push(read_again(pipeline));
    }
    for r in resolved {
        let from = r.committed.unwrap_or(r.log.0).max(r.log.0);
        if r.to > from {
            lines.push(format!(
                "{}: offsets {from} to {} are passed over: {}",
                r.partition,
                r.to - 1,
                passed_over(&pipeline.kind)
            ));
        }
    }
    if lines.is_empty() {
        lines.push("no record is read again or passed over".to_owned());
    }
    lines
}

fn read_again(pipeline: &Pipeline) -> String {
    let table = format!("{}.{}", pipeline.clickhouse.database, pipeline.table);
    match &pipeline.kind {
        Kind::Cdc(_) => "records are read again under the versions that they had: rows of the tables \
                         replace themselves, and none is doubled"
            .to_owned(),
        Kind::Aggregation(_) => "windows are computed again from there: of two rows of a window the one of \
                                 more records wins, so a window that began before the new offset keeps the \
                                 row that it has"
            .to_owned(),
        Kind::StreamJoin(join) => format!(
            "events are decided and sent again: readers of topic {} see them twice",
            join.output.topic
        ),
        _ => match pipeline.delivery {
            Delivery::ExactlyOnce => format!(
                "records that table {table} has already are recognised by topic, partition and offset \
                 and not written again; the others are written"
            ),
            Delivery::AtLeastOnce => format!(
                "records are written again: table {table} gets rows that it has a second time \
                 (delivery = \"at_least_once\")"
            ),
        },
    }
}

fn passed_over(kind: &Kind) -> &'static str {
    match kind {
        Kind::Cdc(_) => "their rows stay as they are until they change again",
        Kind::Aggregation(_) => "no window counts them",
        Kind::StreamJoin(_) => "they take no part in the join",
        _ => "their rows are never written",
    }
}

#[cfg(test)]
mod tests {
    use super::super::shown;
    use super::*;
    use crate::progress::Epoch;
    use crate::source::TopicPartition;

    fn partition() -> TopicPartition {
        TopicPartition {
            topic: "t".into(),
            partition: 0,
        }
    }

    fn offsets(position: Option<i64>, metadata: &str) -> Offsets {
        Offsets {
            position,
            metadata: metadata.to_owned(),
            start: None,
        }
    }

    #[test]
    fn what_is_committed_is_explained() {
        let said = |position, metadata: &str, log| {
            let offsets = offsets(position, metadata);
            let read = position.and_then(|p| Metadata::decode(metadata, p).ok()?);
            meaning(&offsets, read.as_ref(), log).join("; ")
        };
        assert!(said(None, "", (0, 9)).contains("nothing is committed"));
        assert!(said(Some(5), "", (0, 9)).contains("reset"));
        assert!(said(Some(5), "other", (0, 9)).contains("\"other\""));
        assert!(said(Some(5), "", (7, 9)).contains("5 to 6 were deleted"));
        assert!(said(Some(50), "", (7, 9)).contains("ends at 9"));
        let named = Metadata {
            topic_id: "-".to_owned(),
            epoch: Epoch(1),
            is_set_back: true,
            counter: 1,
            table: "db.t".to_owned(),
            range_ends: vec![7],
            layout: None,
            made_no_rows: false,
            frontier: None,
            watermark_ms: None,
            insert_span_ms: None,
        };
        let named = named.encode(5).unwrap();
        let fence = SwapFence {
            id: "1f",
            metadata: &named,
        };
        for (metadata, is_exchanging) in [(&named, false), (&fence.encode(), true)] {
            let shown = shown(&partition(), &offsets(Some(5), metadata), (0, 9));
            let said = shown.meaning.join("; ");
            assert!(
                said.contains("db.t") && said.contains("a look comes before"),
                "{said}"
            );
            assert_eq!(said.contains("streamweir rebuild"), is_exchanging, "{said}");
            assert_eq!(shown.ranges, [(5, 7)]);
        }
    }

    #[test]
    fn effects_tell_what_is_read_again_and_what_is_passed_over() {
        let resolved = |committed, to| Resolved {
            partition: partition(),
            committed,
            metadata: None,
            is_unreadable: false,
            log: (10, 200),
            is_same_topic: true,
            to,
        };
        let text = |more: &str| {
            let text =
                format!("[[pipeline]]\nname = \"p\"\ntopics = [\"t\"]\ngroup_id = \"g\"\n{more}");
            let loaded = crate::config::Config::parse(&text, "c", std::path::Path::new("/"), []);
            loaded
                .unwrap_or_else(|p| panic!("{p}"))
                .config
                .pipelines
                .remove(0)
        };
        let exact = text("kind = \"enrichment\"\n[pipeline.clickhouse]\ntable = \"t\"");
        let said = |p: &Pipeline, r| effects(p, &[r]).join("; ");
        assert!(said(&exact, resolved(Some(100), 50)).contains("not written again"));
        assert!(said(&exact, resolved(Some(100), 150)).contains("100 to 149 are passed over"));
        assert!(said(&exact, resolved(None, 150)).contains("10 to 149 are passed over"));
        assert!(said(&exact, resolved(Some(100), 100)).contains("no record"));
        let twice = text(
            "kind = \"enrichment\"\ndelivery = \"at_least_once\"\n[pipeline.clickhouse]\ntable = \"t\"",
        );
        assert!(said(&twice, resolved(Some(100), 50)).contains("a second time"));
    }
}
