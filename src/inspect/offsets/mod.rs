//! `streamweir offsets`: where a pipeline's group stands, and setting it elsewhere.

mod meaning;
mod target;

use std::sync::Arc;

use serde::Serialize;

use self::meaning::{effects, meaning};
pub use self::target::ResetTarget;
use self::target::{Resolved, kept_metadata};
use super::cluster::Cluster;
use super::{Failure, pipeline_named};
use crate::config::Config;
use crate::progress::{Metadata, SwapFence};
use crate::source::{Offsets, PartitionCommit, TopicPartition};

/// Where the group stands in one partition.
#[derive(Debug, Serialize)]
pub struct PartitionOffsets {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The committed offset, `null` where nothing is committed.
    pub committed: Option<i64>,
    /// One past the last record that a reader of committed records sees.
    pub end: i64,
    /// Records between them.
    pub lag: i64,
    /// Ranges that are named and perhaps not yet written.
    pub ranges: Vec<(i64, i64)>,
    /// The first offset of the log.
    pub log_start: i64,
    /// What the commit says, for people.
    pub meaning: Vec<String>,
}

/// Where the group of a pipeline stands.
#[derive(Debug, Serialize)]
pub struct GroupOffsets {
    /// The pipeline.
    pub pipeline: String,
    /// Its consumer group.
    pub group: String,
    /// Every partition of its topics.
    pub partitions: Vec<PartitionOffsets>,
}

/// Reads where the group of a pipeline stands.
///
/// # Errors
/// No such pipeline, or Kafka does not answer.
pub fn show(config: &Config, name: &str) -> Result<GroupOffsets, Failure> {
    let pipeline = Arc::new(pipeline_named(config, name)?.clone());
    let cluster = Cluster::connect(&config.service, &pipeline)?;
    let all = cluster.partitions(None)?;
    let committed = cluster.committed(&all)?;
    let mut partitions = vec![];
    for (partition, offsets) in all.iter().zip(&committed) {
        let log = cluster.log_range(partition)?;
        partitions.push(shown(partition, offsets, log));
    }
    Ok(GroupOffsets {
        pipeline: pipeline.name.clone(),
        group: pipeline.group_id.clone(),
        partitions,
    })
}

fn shown(partition: &TopicPartition, offsets: &Offsets, log: (i64, i64)) -> PartitionOffsets {
    let (log_start, end) = log;
    let metadata = offsets
        .position
        .and_then(|position| Metadata::decode(behind_fence(offsets), position).ok()?);
    let from = offsets.position.unwrap_or(log_start);
    let range_ends = metadata.as_ref().map_or(&[][..], |m| &m.range_ends);
    let mut ranges = vec![];
    let mut start = from;
    for &end in range_ends {
        ranges.push((start, end));
        start = end;
    }
    PartitionOffsets {
        topic: partition.topic.to_string(),
        partition: partition.partition,
        committed: offsets.position,
        end,
        lag: (end - from).max(0),
        meaning: meaning(offsets, metadata.as_ref(), log),
        ranges,
        log_start,
    }
}

/// What stands beside the offset; while a rebuild exchanges the table, it is behind its mark.
fn behind_fence(offsets: &Offsets) -> &str {
    let fence = SwapFence::decode(&offsets.metadata);
    fence.map_or(&*offsets.metadata, |fence| fence.metadata)
}

/// What is to be set.
#[derive(Debug)]
pub struct ResetOptions {
    /// The pipeline whose group it is.
    pub pipeline: String,
    /// Where to.
    pub to: ResetTarget,
    /// Only this topic.
    pub topic: Option<String>,
    /// Only this partition of it.
    pub partition: Option<i32>,
    /// Nothing is changed.
    pub dry_run: bool,
}

/// What was, or would be, set in one partition.
#[derive(Debug, Serialize)]
pub struct PartitionReset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// What was committed.
    pub from: Option<i64>,
    /// What is committed now.
    pub to: i64,
    /// What became of the metadata beside the offset: `kept` or `dropped`.
    pub metadata: &'static str,
}

/// What a reset did, or would do.
#[derive(Debug, Serialize)]
pub struct Reset {
    /// The pipeline.
    pub pipeline: String,
    /// Its consumer group.
    pub group: String,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Each partition that was asked for.
    pub partitions: Vec<PartitionReset>,
    /// What the target does with records that it already has, and what becomes of those passed over.
    pub effects: Vec<String>,
}

/// Sets the offsets of a pipeline's group.
///
/// # Errors
/// The group has members, an offset is not in the log, or Kafka does not answer; then nothing is changed.
pub fn reset(config: &Config, options: &ResetOptions) -> Result<Reset, Failure> {
    let pipeline = Arc::new(pipeline_named(config, &options.pipeline)?.clone());
    let cluster = Cluster::connect(&config.service, &pipeline)?;
    let mut partitions = cluster.partitions(options.topic.as_deref())?;
    if let Some(number) = options.partition {
        partitions.retain(|p| p.partition == number);
        if partitions.is_empty() {
            let topic = options.topic.as_deref().unwrap_or_default();
            return Err(Failure::Usage(format!(
                "topic {topic} has no partition {number}"
            )));
        }
    }
    // First: a member could still commit behind what is read here.
    refuse_members(&cluster, &pipeline.group_id, &pipeline.name)?;
    let committed = cluster.committed(&partitions)?;
    let resolved = target::resolve(&cluster, &partitions, &committed, options.to)?;
    let plan = resolved.iter().map(|resolved| {
        let kept = kept_metadata(&pipeline.kind, resolved);
        let is_kept = resolved.is_unchanged() || kept.is_some();
        let commit = PartitionCommit {
            partition: resolved.partition.clone(),
            position: resolved.to,
            leader_epoch: -1,
            metadata: kept.unwrap_or_default(),
        };
        (commit, if is_kept { "kept" } else { "dropped" })
    });
    let plan: Vec<(PartitionCommit, &'static str)> = plan.collect();
    let changed = plan
        .iter()
        .zip(&resolved)
        .filter(|(_, r)| !r.is_unchanged());
    let commits: Vec<PartitionCommit> = changed.map(|((commit, _), _)| commit.clone()).collect();
    if !options.dry_run && !commits.is_empty() {
        cluster.commit(&commits)?;
    }
    Ok(Reset {
        pipeline: pipeline.name.clone(),
        group: pipeline.group_id.clone(),
        dry_run: options.dry_run,
        effects: effects(&pipeline, &resolved),
        partitions: resolved.iter().zip(&plan).map(done).collect(),
    })
}

fn done(
    (resolved, (_, metadata)): (&Resolved, &(PartitionCommit, &'static str)),
) -> PartitionReset {
    PartitionReset {
        topic: resolved.partition.topic.to_string(),
        partition: resolved.partition.partition,
        from: resolved.committed,
        to: resolved.to,
        metadata,
    }
}

/// Members would go on where they are and overwrite what is set.
pub(super) fn refuse_members(
    cluster: &Cluster,
    group: &str,
    pipeline: &str,
) -> Result<(), Failure> {
    let members = cluster.members()?;
    if members.is_empty() {
        return Ok(());
    }
    let count = match members.len() {
        1 => "1 member".to_owned(),
        count => format!("{count} members"),
    };
    Err(Failure::Refused(format!(
        "group {group} has {count} ({}): nothing was changed, because they would go on where they are; stop \
         every process that runs pipeline {pipeline}, wait until the group is empty (a process that was \
         killed leaves it after session.timeout.ms), then repeat this",
        members.join(", ")
    )))
}
