//! Joined records: computed again from both topics, and held against what a reader of committed records sees.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::multiset::{Digest, ENTRY_BYTES, Miscount, Multiset};
use super::report::{Counts, LISTED_MAX, PartitionReport, Report, Wrong, address};
use super::scope::{BEGINS_ANYWHERE, Scope};
use crate::config::{Config, Emit, Pipeline, StreamJoin};
use crate::inspect::Failure;
use crate::inspect::cluster::Cluster;
use crate::inspect::log::{CUT_MEANWHILE, LogReader, Read};
use crate::inspect::progress::Progress;
use crate::pipeline::JoinAgain;
use crate::progress::{Frontier, Range};
use crate::source::{Record, TopicPartition};

/// Records of one side that are read before it is seen which side is behind.
const TURN: i64 = 10_000;

/// What is needed to compare.
struct Auditor<'a> {
    pipeline: &'a Pipeline,
    join: &'a StreamJoin,
    reader: LogReader,
    /// Of the output topic.
    output: Vec<(TopicPartition, Range)>,
    /// Digests that leave this remainder when they are divided by the other number.
    part: (u64, u64),
    /// Records that retention deleted before they were read.
    gone: Option<u64>,
}

pub(super) fn audit(
    config: &Config,
    pipeline: &Arc<Pipeline>,
    join: &StreamJoin,
    cluster: &Cluster,
    scopes: &[Scope],
    report: &mut Report,
) -> Result<(), Failure> {
    if join.emit == Emit::Eager {
        return Err(Failure::Refused(format!(
            "pipeline {} has pipeline.join.emit = \"eager\": which profile an event meets depends on when it \
             came, so nobody can compute it again",
            pipeline.name
        )));
    }
    let mut output = vec![];
    for partition in cluster
        .partitions_of(&join.output.topic)?
        .unwrap_or_default()
    {
        let (from, to) = cluster.log_range(&partition)?;
        output.push((partition, Range { from, to }));
    }
    let lefts: Vec<&Scope> = of_side(scopes, &join.left.topic).collect();
    let records: u64 = lefts.iter().map(|s| (s.to - s.from).unsigned_abs()).sum();
    let parts = records * ENTRY_BYTES / (config.service.memory_max_bytes / 3).max(1) + 1;
    let mut auditor = Auditor {
        pipeline,
        join,
        reader: LogReader::new(&config.service, pipeline)?,
        output,
        part: (0, parts),
        gone: None,
    };
    for part in 0..parts {
        auditor.part = (part, parts);
        let mut set = Multiset::default();
        for left in &lefts {
            let mut rights = of_side(scopes, &join.right.topic);
            let right = rights.find(|s| s.partition.partition == left.partition.partition);
            let right = right.ok_or_else(|| {
                Failure::Refused(format!(
                    "{} has no partition of its number in topic {}: audit both topics",
                    left.partition, join.right.topic
                ))
            })?;
            let records = auditor.expect(left, right, lefts.len(), &mut set)?;
            if part == 0 {
                for (scope, records) in [(*left, records.0), (right, records.1)] {
                    report.partitions.push(partition_report(scope, records));
                }
            }
        }
        auditor.compare(&lefts, scopes, set, report)?;
        if let Some(gone) = auditor.gone {
            report.note(CUT_MEANWHILE.to_owned());
            report.counts.not_checkable += if part == 0 { gone } else { 0 };
        }
    }
    Ok(())
}

fn of_side<'s>(scopes: &'s [Scope], topic: &'s str) -> impl Iterator<Item = &'s Scope> {
    scopes
        .iter()
        .filter(move |scope| *scope.partition.topic == *topic)
}

fn partition_report(scope: &Scope, records: u64) -> PartitionReport {
    PartitionReport {
        topic: scope.partition.topic.to_string(),
        partition: scope.partition.partition,
        from: scope.from,
        to: scope.to,
        counts: Counts {
            records,
            uncommitted: scope.uncommitted,
            ..Counts::default()
        },
    }
}

impl Auditor<'_> {
    /// Joins two partitions again; returns how many records of each are committed.
    fn expect(
        &mut self,
        left: &Scope,
        right: &Scope,
        of: usize,
        set: &mut Multiset,
    ) -> Result<(u64, u64), Failure> {
        let refused = |halt: crate::halt::Halt| Failure::Refused(halt.advice);
        let sides = ((&left.partition, left.from), (&right.partition, right.from));
        let again = JoinAgain::new(self.join, &self.pipeline.name, sides.0, sides.1, of);
        let mut again = again.map_err(refused)?;
        let scopes = [left, right];
        let ends = scopes.map(read_to);
        let mut next = scopes.map(|scope| scope.from);
        let mut times = [i64::MIN; 2];
        let mut records = [0u64; 2];
        let total = (0..2)
            .map(|side| (ends[side] - next[side]).unsigned_abs())
            .sum();
        let mut progress = Progress::new("records", total);
        let part = self.part;
        let name = &self.join.output.join_time_field;
        let mut note = |message: crate::batch::Message<'_>| {
            let digest = digest(message.key, message.value, name);
            if !is_of(part, digest) {
                return;
            }
            let offset = message.source.offset;
            match offset < left.to {
                true => set.expect(digest, (message.source.partition, offset)),
                false => set.allow(digest),
            }
        };
        while (0..2).any(|side| next[side] < ends[side]) {
            // The side that is behind in time, so that little waits in memory.
            let has_more = |side: usize| next[side] < ends[side];
            let side = match (has_more(0), has_more(1)) {
                (true, true) => usize::from(times[1] < times[0]),
                (true, false) => 0,
                _ => 1,
            };
            let range = Range {
                from: next[side],
                to: (next[side] + TURN).min(ends[side]),
            };
            let mut halted = None;
            let read = self
                .reader
                .read_or_cut(&scopes[side].partition, range, |record| {
                    progress.add(1);
                    records[side] += u64::from(record.offset() < scopes[side].to);
                    times[side] = times[side].max(record.timestamp_ms());
                    if scopes[side].skipped.contains(&record.offset()) {
                        return Ok(ControlFlow::Continue(()));
                    }
                    match again.add(side == 0, record) {
                        Ok(()) => Ok(ControlFlow::Continue(())),
                        Err(halt) => {
                            halted = Some(halt);
                            Ok(ControlFlow::Break(()))
                        }
                    }
                })?;
            if let Some(halt) = halted {
                return Err(refused(halt));
            }
            next[side] = match read {
                Read::Cut(gone) => {
                    *self.gone.get_or_insert(0) += read.gone_below(scopes[side].to);
                    gone.to
                }
                _ => range.to,
            };
            again.decided(false, &mut note).map_err(refused)?;
        }
        again.decided(true, &mut note).map_err(refused)?;
        Ok((records[0], records[1]))
    }

    fn compare(
        &mut self,
        lefts: &[&Scope],
        scopes: &[Scope],
        mut set: Multiset,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let reaches_back = self.gone.is_none()
            && scopes
                .iter()
                .all(|scope| scope.log.0 == 0 && scope.from == 0 && !scope.begins_anywhere);
        let is_all_decided = scopes.iter().all(|scope| scope.uncommitted == 0);
        let begins_first = self.output.iter().all(|(_, range)| range.from == 0);
        let (part, name) = (self.part, &self.join.output.join_time_field);
        for (partition, range) in &self.output {
            let _ = self.reader.read(partition, *range, |record: Record<'_>| {
                let Some(value) = record.value() else {
                    return Ok(ControlFlow::Continue(()));
                };
                let digest = digest(record.key(), value, name);
                let at = (partition.partition, record.offset());
                if is_of(part, digest) && !set.find(digest, at) && reaches_back && is_all_decided {
                    report.counts.differs += 1;
                    if report.differs.len() < LISTED_MAX {
                        report.differs.push(address(partition, record.offset()));
                    }
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        let (right, wrong) = set.judge();
        report.counts.rows += right;
        for miscount in wrong {
            match miscount {
                Miscount::Lost(count, _) if !reaches_back || !begins_first => {
                    report.counts.not_checkable += count;
                    match scopes.iter().any(|scope| scope.begins_anywhere) {
                        true => report.note(BEGINS_ANYWHERE.to_owned()),
                        false => report.note(
                            "a topic does not begin at its first record any more: what is not found may \
                             be gone from it"
                                .to_owned(),
                        ),
                    }
                }
                Miscount::Lost(count, (partition, offset)) => {
                    report.counts.lost += count;
                    let of = lefts.iter().find(|s| s.partition.partition == partition);
                    let topic = of.map_or(&*self.join.left.topic, |s| &*s.partition.topic);
                    report.list(
                        Wrong::Lost,
                        || json!({ "topic": topic, "partition": partition, "offset": offset }),
                    );
                }
                Miscount::Doubled(count, (partition, offset)) => {
                    report.counts.doubled += count;
                    report.list(Wrong::Doubled, || {
                        json!({ "topic": self.join.output.topic, "partition": partition, "offset": offset })
                    });
                }
            }
        }
        Ok(())
    }
}

/// How far a partition had been read when its offset was committed.
fn read_to(scope: &Scope) -> i64 {
    let read_to = match scope
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.frontier)
    {
        Some(Frontier::Join(frontier)) => frontier.read_to,
        _ => scope.to,
    };
    read_to.clamp(scope.to, scope.log.1.max(scope.to))
}

fn is_of((remainder, of): (u64, u64), digest: Digest) -> bool {
    digest % u128::from(of) == u128::from(remainder)
}

/// Of key and value without the time of joining, which stands last.
fn digest(key: Option<&[u8]>, value: &[u8], join_time: &str) -> Digest {
    let member = format!(",\"{join_time}\":");
    let at = value
        .windows(member.len())
        .rposition(|window| window == member.as_bytes());
    let value = at.map_or(value, |at| &value[..at]);
    let mut hash = Sha256::new();
    let length = key.map_or(u64::MAX, |key| key.len() as u64);
    hash.update(length.to_le_bytes());
    hash.update(key.unwrap_or_default());
    hash.update(value);
    let hash = hash.finalize();
    Digest::from_le_bytes(hash[..16].try_into().expect("a digest has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_joining_makes_no_other_record() {
        let value = |time: &str| format!(r#"{{"a":1,"t":"{time}"}}"#);
        let of = |key: Option<&[u8]>, value: &str| digest(key, value.as_bytes(), "t");
        assert_eq!(of(Some(b"k"), &value("1")), of(Some(b"k"), &value("2")));
        assert_ne!(of(Some(b"k"), &value("1")), of(Some(b"l"), &value("1")));
        assert_ne!(of(Some(b""), &value("1")), of(None, &value("1")));
        assert_ne!(
            of(None, r#"{"a":1,"t":"1"}"#),
            of(None, r#"{"a":2,"t":"1"}"#)
        );
    }
}
