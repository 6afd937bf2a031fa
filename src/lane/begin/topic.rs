//! What is known of a topic before its partitions begin, its table among it where versions decide.

use std::sync::Arc;
use std::time::Duration;

use super::super::first_start::without_starts;
use super::super::operator::{Finding, TableRules};
use super::super::start::{self, ReplicaFacts};
use super::{NotYet, not_looked_up, off_thread};
use crate::config::Pipeline;
use crate::progress::{Layout, Metadata};
use crate::sink::{ClickHouseClient, Target};
use crate::source::{Offsets, Questions, TopicDescription, TopicPartition};

/// What is known about a topic.
#[derive(Debug)]
pub(in super::super) struct TopicFacts {
    pub(super) id: String,
    /// How many partitions it has.
    pub(super) partitions: usize,
    /// Partitions that no broker serves.
    pub(super) leaderless: Vec<i32>,
    pub(super) layout: Option<Layout>,
    pub(super) replica: Option<ReplicaFacts>,
}

/// Finds them out, beside the lane.
pub(super) struct TopicInquiry {
    pub(super) topic: Arc<str>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) client: ClickHouseClient,
    pub(super) questions: Questions,
    pub(super) timeout: Duration,
    /// The highest of the epochs that versions are of.
    pub(super) version_epoch: Option<u16>,
    pub(super) rules: TableRules,
}

impl TopicInquiry {
    /// `finding`: the look at the topic's table.
    pub(super) async fn facts(self, finding: Option<Finding>) -> Result<TopicFacts, NotYet> {
        let (questions, topic, timeout) =
            (self.questions.clone(), self.topic.clone(), self.timeout);
        let described = off_thread(move || questions.topic(&topic, timeout)).await?;
        let TopicDescription {
            id,
            partitions,
            leaderless,
        } = described.map_err(NotYet::Later)?;
        if partitions == 0 {
            return Err(NotYet::no_partitions(&self.topic));
        }
        let mut facts = TopicFacts {
            id,
            partitions,
            leaderless,
            layout: None,
            replica: None,
        };
        if let Some(epoch) = self.version_epoch {
            let layout = Layout { partitions, epoch };
            facts.replica = Some(self.replica(&facts, layout, finding).await?);
            facts.layout = Some(layout);
        }
        Ok(facts)
    }

    /// What the versions of a topic's rows rest on, if nothing has changed it since somebody of the group
    /// last committed, and what is known of its table.
    async fn replica(
        &self,
        facts: &TopicFacts,
        now: Layout,
        finding: Option<Finding>,
    ) -> Result<ReplicaFacts, NotYet> {
        let count = i32::try_from(now.partitions).unwrap_or(i32::MAX);
        let partition = |partition| TopicPartition {
            topic: self.topic.clone(),
            partition,
        };
        let partitions: Vec<_> = (0..count).map(partition).collect();
        let committed = self.committed(&partitions).await?;
        let is_first_start = committed.iter().any(|offsets| offsets.position.is_none());
        // The table is read before the commits: the member that makes the first rows commits first.
        let table = match finding {
            Some(finding) => finding.await?,
            None => None,
        };
        let newest_version = match &table {
            Some(table) if is_first_start => self.newest_version(table).await?,
            _ => None,
        };
        let is_empty = match &table {
            Some(table) => self.is_empty(table).await?,
            None => true,
        };
        let committed = self.committed(&partitions).await?;
        for (partition, offsets) in partitions.iter().zip(&committed) {
            self.check_layout(partition, offsets, now)?;
        }
        let committed = || partitions.iter().zip(&committed);
        let newer_version = match newest_version {
            Some(version) => self.newer_version(version, &partitions, facts, now).await?,
            None => None,
        };
        Ok(ReplicaFacts {
            is_empty,
            newest_version,
            newer_version,
            topic_is_committed: committed().any(|(_, offsets)| offsets.position.is_some()),
            accepts_empty: self.rules.accepts_empty,
            is_shared: self.rules.is_shared,
            was_emptied_by_hand: committed()
                .any(|(partition, offsets)| self.skips(partition, offsets)),
        })
    }

    /// Whether the configuration passes the record by that a partition is committed up to.
    fn skips(&self, partition: &TopicPartition, offsets: &Offsets) -> bool {
        let committed = (partition.partition, offsets.position);
        let mut skip = self.pipeline.dead_letter.skip.iter();
        skip.any(|place| *place.0 == *self.topic && (place.1, Some(place.2)) == committed)
    }

    fn check_layout(
        &self,
        partition: &TopicPartition,
        offsets: &Offsets,
        now: Layout,
    ) -> Result<(), NotYet> {
        let metadata = offsets
            .position
            .and_then(|position| Metadata::decode(&offsets.metadata, position).ok().flatten());
        if let Some(then) = metadata.and_then(|metadata| metadata.layout) {
            start::check_layout(partition, &self.pipeline.group_id, then, now)?;
        }
        Ok(())
    }

    async fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<Offsets>, NotYet> {
        let (questions, timeout) = (self.questions.clone(), self.timeout);
        let partitions = partitions.to_vec();
        let committed = off_thread(move || questions.committed(&partitions, timeout)).await?;
        Ok(without_starts(committed?))
    }

    /// The newest version in a topic's table, if that has rows.
    async fn newest_version(&self, table: &Target) -> Result<Option<u64>, NotYet> {
        let newest = self.client.newest_version(table).await;
        newest.map_err(|e| not_looked_up(table, &e))
    }

    async fn is_empty(&self, table: &Target) -> Result<bool, NotYet> {
        let looked = self.client.is_empty(table).await;
        looked.map_err(|e| not_looked_up(table, &e))
    }

    /// The table's newest version, where no record of the topic has one as new. A partition that nobody
    /// serves matters only where none of the others has a record as new.
    async fn newer_version(
        &self,
        newest: u64,
        partitions: &[TopicPartition],
        facts: &TopicFacts,
        layout: Layout,
    ) -> Result<Option<u64>, NotYet> {
        let (mut longest, mut unknown) = (0, None);
        for partition in partitions {
            if facts.leaderless.contains(&partition.partition) {
                unknown = Some(NotYet::leaderless(partition));
                continue;
            }
            let (questions, timeout) = (self.questions.clone(), self.timeout);
            let asked = partition.clone();
            match off_thread(move || questions.watermarks(&asked, timeout)).await? {
                Ok((_, end)) => longest = longest.max(end),
                Err(error) => unknown = Some(error.into()),
            }
        }
        if newest < layout.version(longest) {
            return Ok(None);
        }
        unknown.map_or(Ok(Some(newest)), Err)
    }
}
