//! Joined records: computed again from both topics, and held against what a reader of committed records sees.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::known_from::KnownFrom;
use super::multiset::{Digest, Finding, Multiset};
use super::report::{Counts, LISTED_MAX, PartitionReport, Report, Wrong};
use super::scope::{BEGINS_ANYWHERE, Scope};
use crate::config::{Config, Delivery, Emit, Pipeline, StreamJoin};
use crate::inspect::cluster::Cluster;
use crate::inspect::log::{CUT_MEANWHILE, LogReader, Read};
use crate::inspect::progress::Progress;
use crate::inspect::{Failure, runtime};
use crate::pipeline::JoinAgain;
use crate::progress::{Frontier, JoinFrontier, Range};
use crate::source::{Record, TopicPartition, cleanup_policy};

/// Records of one side that are read before it is seen which side is behind.
const TURN: i64 = 10_000;
/// Records of a log without its beginning that tell how far in time what is gone reaches.
const FIRST_TURN: i64 = 100;

const POLICY_TIMEOUT: Duration = Duration::from_secs(10);
/// Of a topic.
const CUT: &str =
    "does not begin at its first record any more: what is not found may be gone from it";
/// The note where an event may have met records that are gone.
const INPUT_CUT: &str = "a topic of the join does not begin at its first record any more: what events of its \
     first times met is not known";

/// A partition of the output topic.
#[derive(Debug)]
pub(super) struct Output {
    partition: TopicPartition,
    range: Range,
    /// What lies before was there when the offsets of the group were asked for.
    early_to: i64,
}

/// Where the output topic ends now, which is before anything else is asked.
pub(super) fn ends(
    cluster: &Cluster,
    join: &StreamJoin,
) -> Result<Vec<(TopicPartition, i64)>, Failure> {
    let partitions = cluster.partitions_of(&join.output.topic)?;
    let ends = partitions.unwrap_or_default().into_iter().map(|partition| {
        let (_, end) = cluster.log_range(&partition)?;
        Ok((partition, end))
    });
    ends.collect()
}

/// What is needed to compare.
struct Auditor<'a> {
    pipeline: &'a Pipeline,
    join: &'a StreamJoin,
    reader: LogReader,
    output: Vec<Output>,
    /// Records that retention deleted before they were read.
    gone: Option<u64>,
    /// The right topic has offsets without records.
    has_gaps: bool,
}

pub(super) fn audit(
    config: &Config,
    pipeline: &Arc<Pipeline>,
    join: &StreamJoin,
    (cluster, early): (&Cluster, Vec<(TopicPartition, i64)>),
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
    for (partition, early_to) in early {
        let (from, to) = cluster.log_range(&partition)?;
        output.push(Output {
            range: Range { from, to },
            partition,
            early_to,
        });
    }
    let lefts: Vec<&Scope> = of_side(scopes, &join.left.topic).collect();
    let expected = lefts.iter().map(|s| (s.log.1 - s.from).unsigned_abs());
    let found = output
        .iter()
        .map(|o| (o.range.to - o.range.from).unsigned_abs());
    let records_max = expected.sum::<u64>() + found.sum::<u64>();
    let bytes_max = usize::try_from(config.service.memory_max_bytes / 3).unwrap_or(usize::MAX);
    let mut set = Multiset::new(bytes_max, records_max);
    let mut auditor = Auditor {
        pipeline,
        join,
        reader: LogReader::new(&config.service, pipeline)?,
        output,
        gone: None,
        has_gaps: false,
    };
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
        for (scope, records) in [(*left, records.0), (right, records.1)] {
            report.partitions.push(partition_report(scope, records));
        }
    }
    auditor.compare(&lefts, scopes, set, report)?;
    if let Some(gone) = auditor.gone {
        report.note(CUT_MEANWHILE.to_owned());
        report.counts.not_checkable += gone;
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
        let again = JoinAgain::new(self.join, self.pipeline, sides.0, sides.1, of);
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
        let name = &self.join.output.join_time_field;
        let mut known = KnownFrom::new(self.join, scopes);
        let mut decided = |again: &mut JoinAgain, known: &KnownFrom, all| {
            let mut noted = Ok(());
            let decided = again.decided(all, known.wants_times(), |message, time_ms| {
                let digest = digest(message.key, message.value, name);
                let offset = message.source.offset;
                let mut note = || match offset < left.to {
                    true if known.has_all_of(time_ms) => {
                        set.expect(digest, (message.source.partition, offset))
                    }
                    true => set.suppose(digest),
                    false => set.allow(digest),
                };
                if noted.is_ok() {
                    noted = note();
                }
            });
            decided.map_err(refused)?;
            noted
        };
        while (0..2).any(|side| next[side] < ends[side]) {
            // The side that is behind in time, so that little waits in memory.
            let has_more = |side: usize| next[side] < ends[side];
            let side = match (has_more(0), has_more(1)) {
                (true, true) => usize::from(times[1] < times[0]),
                (true, false) => 0,
                _ => 1,
            };
            let turn = match known.is_untold(side) {
                true => FIRST_TURN,
                false => TURN,
            };
            let range = Range {
                from: next[side],
                to: (next[side] + turn).min(ends[side]),
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
                    known.cut(side);
                    *self.gone.get_or_insert(0) += read.gone_below(scopes[side].to);
                    gone.to
                }
                _ => {
                    known.tell(side, again.largest_ms(side == 0));
                    range.to
                }
            };
            decided(&mut again, &known, false)?;
        }
        decided(&mut again, &known, true)?;
        self.has_gaps |= records[1] < (right.to - right.from).unsigned_abs();
        Ok((records[0], records[1]))
    }

    fn compare(
        &mut self,
        lefts: &[&Scope],
        scopes: &[Scope],
        mut set: Multiset,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let name = &self.join.output.join_time_field;
        let mut begins_first = true;
        for output in &self.output {
            begins_first &= output.range.from == 0;
            let number = output.partition.partition;
            let mut each = |record: Record<'_>| {
                let Some(value) = record.value() else {
                    return Ok(ControlFlow::Continue(()));
                };
                let digest = digest(record.key(), value, name);
                let in_time = record.offset() < output.early_to;
                set.find(digest, (number, record.offset()), in_time)?;
                Ok(ControlFlow::Continue(()))
            };
            let mut range = output.range;
            while let Read::Cut(gone) =
                self.reader
                    .read_or_cut(&output.partition, range, &mut each)?
            {
                begins_first = false;
                range.from = gone.to;
            }
        }
        let why_not = if scopes.iter().any(|scope| scope.begins_anywhere) {
            Some(BEGINS_ANYWHERE.to_owned())
        } else if !begins_first {
            Some(format!("topic {} {CUT}", self.join.output.topic))
        } else if self.has_forgotten()? {
            let topic = &self.join.right.topic;
            Some(format!(
                "topic {topic} is compacted: an event may have met a profile that is gone from it by now"
            ))
        } else {
            None
        };
        let reaches_back =
            self.gone.is_none() && why_not.is_none() && scopes.iter().all(|scope| scope.from == 0);
        // What the commits say is decided is in the output with them, or all of it is.
        let is_told = self.pipeline.delivery == Delivery::ExactlyOnce
            && lefts.iter().all(|scope| frontier(scope).is_some());
        let is_all_decided = scopes.iter().all(|scope| scope.uncommitted == 0);
        let topic = &self.join.output.topic;
        let at = |(partition, offset)| json!({ "topic": topic, "partition": partition, "offset": offset });
        set.judge(|finding| match (finding, &why_not) {
            (Finding::Right(count), _) => report.counts.rows += count,
            (Finding::Lost(count, _), Some(why)) => {
                report.counts.not_checkable += count;
                report.note(why.clone());
            }
            (Finding::Unsure(count), _) => {
                report.counts.not_checkable += count;
                report.note(INPUT_CUT.to_owned());
            }
            (Finding::Lost(count, (partition, offset)), None) => {
                report.counts.lost += count;
                let of = lefts.iter().find(|s| s.partition.partition == partition);
                let topic = of.map_or(&*self.join.left.topic, |s| &*s.partition.topic);
                report.list(
                    Wrong::Lost,
                    || json!({ "topic": topic, "partition": partition, "offset": offset }),
                );
            }
            (Finding::Doubled(count, place), _) => {
                report.counts.doubled += count;
                report.list(Wrong::Doubled, || at(place));
            }
            (Finding::Unknown(count, place), _) if reaches_back && (is_told || is_all_decided) => {
                report.counts.differs += count;
                if report.differs.len() < LISTED_MAX {
                    report.differs.push(at(place));
                }
            }
            (Finding::Unknown(..), _) => {}
        })
    }

    /// Whether the right side is a table whose topic has forgotten older profiles of its keys.
    fn has_forgotten(&self) -> Result<bool, Failure> {
        if self.join.before.is_some() || !self.has_gaps {
            return Ok(false);
        }
        let asked = cleanup_policy(&self.pipeline.kafka, &self.join.right.topic, POLICY_TIMEOUT);
        let policy = runtime()?.block_on(asked);
        // Where nobody says: it is what a table's topic should be.
        Ok(!matches!(policy, Ok(Some(policy)) if !policy.contains("compact")))
    }
}

/// What the commit says is decided.
fn frontier(scope: &Scope) -> Option<JoinFrontier> {
    match scope.metadata.as_ref()?.frontier? {
        Frontier::Join(frontier) => Some(frontier),
        Frontier::Windows(_) => None,
    }
}

/// How far a partition had been read when its offset was committed.
fn read_to(scope: &Scope) -> i64 {
    let read_to = frontier(scope).map_or(scope.to, |frontier| frontier.read_to);
    read_to.clamp(scope.to, scope.log.1.max(scope.to))
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
