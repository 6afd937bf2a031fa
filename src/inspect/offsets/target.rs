//! Where offsets are to be set, and what becomes of the metadata beside them.

use std::str::FromStr;

use super::behind_fence;
use crate::config::Kind;
use crate::inspect::Failure;
use crate::inspect::cluster::{Cluster, LogRange};
use crate::progress::{Metadata, SwapFence};
use crate::source::{Offsets, TopicPartition};

/// The argument of `offsets reset --to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetTarget {
    /// The first record of the log.
    Earliest,
    /// Behind the last record.
    Latest,
    /// The first record of this time or later, epoch milliseconds.
    TimeMs(i64),
    /// This offset.
    Offset(i64),
}

/// Neither of them.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is neither earliest nor latest, an offset such as 1234, or an RFC 3339 time such as \
     2026-11-21T10:00:00Z"
)]
pub struct ResetTargetError(String);

impl FromStr for ResetTarget {
    type Err = ResetTargetError;

    fn from_str(text: &str) -> Result<Self, ResetTargetError> {
        match text {
            "earliest" => return Ok(ResetTarget::Earliest),
            "latest" => return Ok(ResetTarget::Latest),
            _ => {}
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let offset = text
                .parse()
                .map_err(|_| ResetTargetError(text.to_owned()))?;
            return Ok(ResetTarget::Offset(offset));
        }
        let time: jiff::Timestamp = text
            .parse()
            .map_err(|_| ResetTargetError(text.to_owned()))?;
        Ok(ResetTarget::TimeMs(time.as_millisecond()))
    }
}

/// What is to be set in one partition, and what there is.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    pub(super) partition: TopicPartition,
    pub(super) committed: Option<i64>,
    /// What stands beside the committed offset, where it is ours.
    pub(super) metadata: Option<Metadata>,
    /// What stands beside it is of a later version, is a rebuild's mark, or names a range behind the end of the
    /// log: no start gets past it.
    pub(super) is_unreadable: bool,
    pub(super) log: LogRange,
    /// Whether the metadata is of the topic as it is.
    pub(super) is_same_topic: bool,
    pub(super) to: i64,
}

impl Resolved {
    pub(super) fn is_unchanged(&self) -> bool {
        self.committed == Some(self.to) && !self.is_unreadable
    }
}

/// Finds the offsets.
///
/// # Errors
/// One that is not in its log; every such is named.
pub(super) fn resolve(
    cluster: &Cluster,
    partitions: &[TopicPartition],
    committed: &[Offsets],
    target: ResetTarget,
) -> Result<Vec<Resolved>, Failure> {
    let by_time = match target {
        ResetTarget::TimeMs(time_ms) => cluster.offsets_at(partitions, time_ms)?,
        _ => vec![None; partitions.len()],
    };
    let (mut resolved, mut outside) = (vec![], vec![]);
    let mut ids: Vec<(String, Option<String>)> = vec![];
    for ((partition, offsets), by_time) in partitions.iter().zip(committed).zip(by_time) {
        let log = cluster.log_range(partition)?;
        let to = match target {
            ResetTarget::Earliest => log.0,
            ResetTarget::Latest => log.1,
            ResetTarget::TimeMs(_) => by_time.unwrap_or(log.1).clamp(log.0, log.1),
            ResetTarget::Offset(offset) => offset,
        };
        if to < log.0 || to > log.1 {
            outside.push(format!("{partition} holds offsets {} to {}", log.0, log.1));
        }
        if ids
            .last()
            .is_none_or(|(topic, _)| *topic != *partition.topic)
        {
            ids.push((
                partition.topic.to_string(),
                cluster.topic_id(&partition.topic),
            ));
        }
        let id = ids.last().and_then(|(_, id)| id.clone());
        let decode = |position| Metadata::decode(behind_fence(offsets), position);
        let decoded = offsets.position.map_or(Ok(None), decode);
        let is_marked = SwapFence::decode(&offsets.metadata).is_some();
        let is_unreadable = match &decoded {
            Ok(metadata) => is_marked || metadata.as_ref().is_some_and(|m| names_past(m, log.1)),
            Err(_) => true,
        };
        let metadata = decoded.ok().flatten();
        let is_known = |id: &&str| *id != "-";
        let then = metadata.as_ref().map(|m| &*m.topic_id).filter(is_known);
        let now = id.as_deref().filter(is_known);
        resolved.push(Resolved {
            partition: partition.clone(),
            committed: offsets.position,
            is_same_topic: then.is_none() || now.is_none() || then == now,
            metadata,
            is_unreadable,
            log,
            to,
        });
    }
    if outside.is_empty() {
        return Ok(resolved);
    }
    Err(Failure::Refused(format!(
        "nothing was changed: the offset is not in every log: {} (use --topic and --partition to set one \
         partition, or earliest, latest or a time)",
        outside.join("; ")
    )))
}

/// The metadata that the next owner needs at the new offset; `None`: without any, it looks at the table
/// and begins with a new epoch.
pub(super) fn kept_metadata(kind: &Kind, resolved: &Resolved) -> Option<String> {
    let metadata = resolved.metadata.as_ref()?;
    if !resolved.is_same_topic || names_past(metadata, resolved.log.1) {
        return None;
    }
    let to = resolved.to;
    if resolved.committed == Some(to) {
        // A rebuild's mark alone is taken away.
        return metadata.encode(to).ok();
    }
    let cuts = match kind {
        // Versions rest on the number of partitions, which must not be forgotten.
        Kind::Cdc(_) => vec![],
        // The rest of what was named may be on its way under its tokens still.
        _ if metadata.frontier.is_none() && metadata.range_ends.contains(&to) => metadata
            .range_ends
            .iter()
            .copied()
            .filter(|cut| *cut > to)
            .collect(),
        _ => return None,
    };
    let kept = Metadata {
        counter: metadata.counter + 1,
        range_ends: cuts,
        // What is read again, or passed by, says anew how far it is complete.
        watermark_ms: None,
        // Nothing before the beginning of the log was left out.
        made_no_rows: metadata.layout.is_some() && (metadata.made_no_rows || to <= resolved.log.0),
        ..metadata.clone()
    };
    kept.encode(to).ok()
}

/// Whether a range is named that ends behind the end of the log.
fn names_past(metadata: &Metadata, log_end: i64) -> bool {
    metadata.range_ends.last().is_some_and(|end| *end > log_end)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::Config;
    use crate::progress::{Epoch, Layout};

    pub(in super::super) fn kind(text: &str) -> Kind {
        let text =
            format!("[[pipeline]]\nname = \"p\"\ntopics = [\"t\"]\ngroup_id = \"g\"\n{text}\n");
        let loaded = Config::parse(&text, "config.toml", std::path::Path::new("/"), []);
        let mut loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
        loaded.config.pipelines.remove(0).kind
    }

    fn resolved(to: i64, layout: Option<Layout>) -> Resolved {
        Resolved {
            partition: TopicPartition {
                topic: "t".into(),
                partition: 0,
            },
            committed: Some(100),
            metadata: Some(Metadata {
                topic_id: "id".to_owned(),
                epoch: Epoch(7),
                is_set_back: false,
                counter: 3,
                table: "db.t".to_owned(),
                range_ends: if layout.is_none() {
                    vec![150, 170]
                } else {
                    vec![]
                },
                layout,
                made_no_rows: false,
                frontier: None,
                watermark_ms: None,
                insert_span_ms: None,
            }),
            is_unreadable: false,
            log: (10, 200),
            is_same_topic: true,
            to,
        }
    }

    #[test]
    fn a_target_is_an_end_of_the_log_an_offset_or_a_time() {
        let parse = |text: &str| text.parse::<ResetTarget>().ok();
        assert_eq!(parse("earliest"), Some(ResetTarget::Earliest));
        assert_eq!(parse("latest"), Some(ResetTarget::Latest));
        assert_eq!(parse("0"), Some(ResetTarget::Offset(0)));
        let time = parse("2026-11-21T10:00:00.5+01:00");
        assert_eq!(time, Some(ResetTarget::TimeMs(1_795_251_600_500)));
        for text in ["", "-1", "now", "2026-11-21", "99999999999999999999"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn metadata_stays_where_what_it_says_is_still_true() {
        let enrichment = kind("kind = \"enrichment\"\n[pipeline.clickhouse]\ntable = \"t\"");
        let kept = |to| kept_metadata(&enrichment, &resolved(to, None));
        // At the end of a named range the ranges behind it are as they were.
        let text = kept(150).expect("kept");
        let metadata = Metadata::decode(&text, 150).unwrap().expect("ours");
        assert_eq!((metadata.range_ends, metadata.epoch), (vec![170], Epoch(7)));
        assert_eq!(metadata.counter, 4);
        for to in [10, 99, 120, 200] {
            assert_eq!(kept(to), None, "{to}");
        }
        // Where the offset stays, a rebuild's mark may have stood before it.
        let text = kept(100).expect("kept");
        let metadata = Metadata::decode(&text, 100).unwrap().expect("ours");
        assert_eq!((metadata.range_ends, metadata.counter), (vec![150, 170], 3));
        let recreated = Resolved {
            is_same_topic: false,
            ..resolved(150, None)
        };
        assert_eq!(kept_metadata(&enrichment, &recreated), None);
        let cut = Resolved {
            log: (10, 169),
            ..resolved(150, None)
        };
        assert_eq!(kept_metadata(&enrichment, &cut), None);
    }

    #[test]
    fn a_replica_keeps_what_its_versions_rest_on() {
        let cdc = kind("kind = \"cdc\"\n[pipeline.debezium]\ndecimal_mode = \"precise\"");
        let layout = Some(Layout {
            partitions: 4,
            epoch: 1,
        });
        for (to, made_no_rows) in [(10, true), (50, false), (200, false)] {
            let text = kept_metadata(&cdc, &resolved(to, layout)).expect("kept");
            let metadata = Metadata::decode(&text, to).unwrap().expect("ours");
            assert_eq!(metadata.layout, layout);
            assert_eq!(metadata.made_no_rows, made_no_rows, "{to}");
        }
    }
}
