//! What is known about one partition before it begins, and so where it is read from.

use std::path::PathBuf;
use std::sync::Arc;

use super::super::first_start::{read_marker, without_starts};
use super::super::operator::SnapshotSpec;
use super::super::restore::{Past, Saved};
use super::super::shared::PipelineShared;
use super::super::start::{self, Facts, SeenBefore, Start};
use super::topic::TopicFacts;
use super::{NotYet, not_looked_up, off_thread};
use crate::config::{Pipeline, StartOffset};
use crate::progress::{Metadata, Range};
use crate::sink::Target;
use crate::source::{Offsets, Questions, TopicPartition};

/// Where a partition begins, and from what its state comes.
#[derive(Debug)]
pub(in super::super) struct Found {
    pub(super) topic: Arc<TopicFacts>,
    pub(super) start: Start,
    pub(super) log_end: i64,
    /// What is committed says the same of the table as is so now.
    pub(super) was_committed: bool,
    pub(super) saved: Saved,
}

/// Finds it out, beside the lane.
pub(in super::super) struct PartitionInquiry {
    pub(in super::super) partition: TopicPartition,
    pub(super) topic: Arc<TopicFacts>,
    pub(in super::super) pipeline: Arc<Pipeline>,
    pub(in super::super) shared: Arc<PipelineShared>,
    pub(in super::super) questions: Questions,
    pub(super) start_offset: StartOffset,
    pub(super) names_ranges: bool,
    /// `database.table`.
    pub(super) table: String,
    /// The table whose rows tell which record each came from.
    pub(super) traceable: Option<Arc<Target>>,
    /// What the topic has forgotten is forgotten.
    pub(super) may_forget: bool,
    pub(in super::super) snapshot_spec: Option<SnapshotSpec>,
    /// A state that has seen nothing, as bytes.
    pub(in super::super) empty_state: Vec<u8>,
    /// Snapshots from here on are known to be unreadable.
    pub(in super::super) snapshots_below: i64,
    /// The file that an earlier run has left.
    pub(super) marker: PathBuf,
}

impl PartitionInquiry {
    pub(super) async fn found(self) -> Result<Found, NotYet> {
        let partition = &self.partition;
        let topic = self.topic.clone();
        let number = partition.partition;
        if topic.leaderless.contains(&number) || is_leaderless(number) {
            return Err(NotYet::leaderless(partition));
        }
        let offsets = self.committed().await?;
        let log = self.watermarks().await?;
        let facts = Facts {
            partition,
            group_id: &self.pipeline.group_id,
            table: &self.table,
            start_offset: self.start_offset,
            first_position: offsets
                .start
                .clone()
                .filter(|(_, id)| *id == topic.id)
                .map(|s| s.0),
            is_traceable: self.traceable.is_some(),
            committed: offsets.position,
            metadata: &offsets.metadata,
            topic_id: &topic.id,
            log,
            highest_written: self.highest_written(&offsets).await?,
            seen_before: self.seen_before(&topic.id),
            layout: topic.layout,
            replica: topic.replica,
            deleted_part_is_written: self.deleted_part_is_written(&offsets, log.0).await?,
        };
        let start = start::decide(&facts)?;
        // What a commit says of the table is committed anew where it is not so any more.
        let metadata = offsets
            .position
            .and_then(|p| Metadata::decode(&offsets.metadata, p).ok()?);
        let is_told_otherwise = topic.replica.is_some_and(|replica| {
            metadata.is_some_and(|metadata| metadata.made_no_rows != replica.is_empty)
        });
        let saved = self
            .saved(Past {
                topic_id: &topic.id,
                start: &start,
                log_start: log.0,
                is_first_start: offsets.position.is_none(),
                is_our_commit: !offsets.metadata.is_empty(),
            })
            .await?;
        Ok(Found {
            start,
            log_end: log.1,
            was_committed: offsets.position.is_some() && !is_told_otherwise,
            saved,
            topic,
        })
    }

    /// Of this partition alone: an answer that is refused for another one says nothing of it.
    async fn committed(&self) -> Result<Offsets, NotYet> {
        let (questions, timeout) = (self.questions.clone(), self.shared.kafka_timeout);
        let asked = [self.partition.clone()];
        let committed = off_thread(move || questions.committed(&asked, timeout)).await??;
        let mut committed = without_starts(committed).into_iter();
        committed
            .next()
            .ok_or_else(|| NotYet::Later("kafka: an empty answer".to_owned()))
    }

    async fn watermarks(&self) -> Result<(i64, i64), NotYet> {
        let (questions, timeout) = (self.questions.clone(), self.shared.kafka_timeout);
        let asked = self.partition.clone();
        Ok(off_thread(move || questions.watermarks(&asked, timeout)).await??)
    }

    /// The highest offset in the table, from the end of the named ranges on. There are no rows there, unless
    /// the group's offset was set back. Where the commit does not carry metadata of ours for this very table, any row counts.
    async fn highest_written(&self, offsets: &Offsets) -> Result<Option<i64>, NotYet> {
        let ours = offsets.position.and_then(|p| {
            let metadata = Metadata::decode(&offsets.metadata, p).ok()??;
            let end = metadata.range_ends.last().copied().unwrap_or(p);
            metadata.is_for_table(&self.table).then_some(end)
        });
        let is_blind = !self.names_ranges && ours.is_some();
        let Some(target) = self.traceable.as_ref().filter(|_| !is_blind) else {
            return Ok(None);
        };
        let (client, from) = (&self.shared.client, ours.unwrap_or(0));
        let highest = client.highest_offset(target, &self.partition, from);
        highest.await.map_err(|e| not_looked_up(target, &e))
    }

    async fn deleted_part_is_written(&self, offsets: &Offsets, low: i64) -> Result<bool, NotYet> {
        let Some(position) = offsets.position.filter(|p| *p < low) else {
            return Ok(false);
        };
        if self.may_forget {
            let metadata = Metadata::decode(&offsets.metadata, position).ok().flatten();
            let frontier = metadata.and_then(|metadata| metadata.frontier);
            return Ok(frontier.is_some_and(|frontier| frontier.read_to() >= low));
        }
        // Of a record that makes several rows some may be missing.
        let Some(target) = self.traceable.as_ref().filter(|target| !target.has_index) else {
            return Ok(false);
        };
        let range = Range {
            from: position,
            to: low,
        };
        let client = &self.shared.client;
        let query = client.offsets_of(target, &self.partition, range);
        let mut found = query.await.map_err(|e| not_looked_up(target, &e))?;
        found.sort_unstable();
        found.dedup();
        Ok(i64::try_from(found.len()).is_ok_and(|count| count == low - position))
    }

    /// What the marker of an earlier run says: the topic's id and the group that committed.
    fn seen_before(&self, topic_id: &str) -> SeenBefore {
        let marker = std::fs::read_to_string(&self.marker).unwrap_or_default();
        let Some((id, group, epoch)) = read_marker(&marker) else {
            return SeenBefore::Never;
        };
        if id == topic_id && group == self.pipeline.group_id {
            SeenBefore::ThisTopic
        } else if id != topic_id && id != "-" && topic_id != "-" {
            SeenBefore::AnotherTopic { epoch }
        } else {
            SeenBefore::Never
        }
    }
}

/// For tests: no broker serves the partition.
fn is_leaderless(_partition: i32) -> bool {
    fail::fail_point!(&format!("leaderless_{_partition}"), |_| true);
    false
}
