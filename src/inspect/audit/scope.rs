//! Which offsets of each partition an audit looks at.

use std::collections::HashSet;
use std::str::FromStr;

use crate::config::{Pipeline, StartOffset};
use crate::inspect::Failure;
use crate::inspect::cluster::Cluster;
use crate::progress::Metadata;
use crate::source::TopicPartition;

/// The argument of `--from` and `--to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// An offset.
    Offset(i64),
    /// The first record of this time or later, epoch milliseconds.
    TimeMs(i64),
}

/// Neither of them.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is neither an offset such as 1234 nor an RFC 3339 time such as 2026-11-21T10:00:00Z"
)]
pub struct BoundError(String);

impl FromStr for Bound {
    type Err = BoundError;

    fn from_str(text: &str) -> Result<Self, BoundError> {
        let error = || BoundError(text.to_owned());
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Bound::Offset).map_err(|_| error());
        }
        let time: jiff::Timestamp = text.parse().map_err(|_| error())?;
        Ok(Bound::TimeMs(time.as_millisecond()))
    }
}

/// The note where nobody knows whether a record is lost or was never read.
pub(super) const BEGINS_ANYWHERE: &str = "start_offset is latest: where the pipeline began to read is not known, \
     and what is missing may lie before that (--from says where)";

/// What is looked at of one partition.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub(super) partition: TopicPartition,
    pub(super) from: i64,
    /// At most the committed offset.
    pub(super) to: i64,
    /// Where the log begins, and where it ended for a reader of committed records.
    pub(super) log: (i64, i64),
    /// Offsets from `to` on that are not committed yet and were asked for.
    pub(super) uncommitted: u64,
    /// What stands beside the committed offset, where it is ours.
    pub(super) metadata: Option<Metadata>,
    /// Offsets that the configuration says to pass by.
    pub(super) skipped: HashSet<i64>,
    /// Where the pipeline began to read is not known: it was not the beginning of the log.
    pub(super) begins_anywhere: bool,
}

pub(super) fn scopes(
    cluster: &Cluster,
    pipeline: &Pipeline,
    topic: Option<&str>,
    bounds: (Option<Bound>, Option<Bound>),
) -> Result<Vec<Scope>, Failure> {
    let partitions = cluster.partitions(topic)?;
    let committed = cluster.committed(&partitions)?;
    let offsets_of = |bound: Option<Bound>| -> Result<Vec<Option<i64>>, Failure> {
        match bound {
            None => Ok(vec![None; partitions.len()]),
            Some(Bound::Offset(offset)) => Ok(vec![Some(offset); partitions.len()]),
            // Behind the last record where there is none of that time.
            Some(Bound::TimeMs(time_ms)) => Ok(cluster
                .offsets_at(&partitions, time_ms)?
                .into_iter()
                .map(|offset| Some(offset.unwrap_or(i64::MAX)))
                .collect()),
        }
    };
    let (from, to) = (offsets_of(bounds.0)?, offsets_of(bounds.1)?);
    let mut scopes = vec![];
    for (index, partition) in partitions.into_iter().enumerate() {
        let log = cluster.log_range(&partition)?;
        let (from, to) = (from[index], to[index]);
        let span = span(log, committed[index].position, from, to);
        let offsets = &committed[index];
        let metadata = offsets
            .position
            .and_then(|position| Metadata::decode(&offsets.metadata, position).ok()?);
        let skip = pipeline.dead_letter.skip.iter();
        let own = skip.filter(|(topic, number, _)| {
            **topic == *partition.topic && *number == partition.partition
        });
        scopes.push(Scope {
            metadata,
            skipped: own.map(|(_, _, offset)| *offset).collect(),
            partition,
            from: span.0,
            to: span.1,
            log,
            uncommitted: span.2,
            begins_anywhere: from.is_none() && pipeline.start_offset == StartOffset::Latest,
        });
    }
    Ok(scopes)
}

/// Where to begin, where to end, and how many offsets behind that are not committed.
fn span(
    log: (i64, i64),
    committed: Option<i64>,
    from: Option<i64>,
    to: Option<i64>,
) -> (i64, i64, u64) {
    let from = from.unwrap_or(log.0).clamp(log.0, log.1);
    let asked = to.unwrap_or(log.1).clamp(from, log.1);
    let end = committed.unwrap_or(log.0).clamp(from, asked);
    (from, end, (asked - end).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_ends_at_the_committed_offset_and_counts_what_is_behind() {
        assert_eq!(span((5, 100), Some(80), None, None), (5, 80, 20));
        assert_eq!(span((5, 100), None, None, None), (5, 5, 95));
        assert_eq!(span((5, 100), Some(80), Some(10), Some(50)), (10, 50, 0));
        assert_eq!(span((5, 100), Some(80), Some(0), Some(90)), (5, 80, 10));
        assert_eq!(span((5, 100), Some(80), Some(85), None), (85, 85, 15));
        assert_eq!(
            span((5, 100), Some(80), Some(i64::MAX), None),
            (100, 100, 0)
        );
        // The log was cut behind what is committed.
        assert_eq!(span((90, 100), Some(80), None, None), (90, 90, 10));
    }

    #[test]
    fn a_bound_is_an_offset_or_a_time() {
        assert_eq!("17".parse::<Bound>().unwrap(), Bound::Offset(17));
        let time = "2026-11-21T10:00:00Z".parse::<Bound>().unwrap();
        assert_eq!(time, Bound::TimeMs(1_795_255_200_000));
        assert!("".parse::<Bound>().is_err() && "-5".parse::<Bound>().is_err());
    }
}
