//! What is known of a topic's table before its partitions begin, where versions decide.

use super::super::Lane;
use super::super::first_start::without_starts;
use super::super::operator::Operator;
use super::super::start::{self, ReplicaFacts};
use super::{NotYet, not_looked_up};
use crate::config::Kind;
use crate::progress::{Layout, Metadata};
use crate::source::TopicPartition;

impl<O: Operator> Lane<O> {
    /// What the versions of a topic's rows rest on, if nothing has changed it since somebody of the group
    /// last committed, and what is known of its table.
    pub(super) fn layout_and_replica(
        &mut self,
        topic: &str,
        is_first_start: bool,
    ) -> Result<(Option<Layout>, Option<ReplicaFacts>), NotYet> {
        let Some(epoch) = self.operator.version_epoch() else {
            return Ok((None, None));
        };
        // Before the commits: whoever of the group makes the first rows has committed before.
        if let Some(finding) = self.operator.find_table(topic) {
            self.runtime.block_on(finding)?;
        }
        let newest_version = if is_first_start {
            self.newest_version(topic)?
        } else {
            None
        };
        let is_empty = self.has_no_rows(topic)?;
        let timeout = self.shared.kafka_timeout;
        let partitions = self.consumer().partitions_of(topic, timeout)?;
        let partitions = partitions.ok_or_else(|| NotYet::no_partitions(topic))?;
        self.operator.note_partitions(topic, partitions.len());
        let now = Layout {
            partitions: partitions.len(),
            epoch,
        };
        let committed = without_starts(self.consumer().committed(&partitions, timeout)?);
        let skip = &self.pipeline.dead_letter.skip;
        let (mut topic_is_committed, mut was_emptied_by_hand) = (false, false);
        for (partition, offsets) in partitions.iter().zip(committed) {
            let Some(position) = offsets.position else {
                continue;
            };
            topic_is_committed = true;
            was_emptied_by_hand |= skip.iter().any(|place| {
                place.0 == topic && (place.1, place.2) == (partition.partition, position)
            });
            let metadata = Metadata::decode(&offsets.metadata, position).ok().flatten();
            if let Some(then) = metadata.and_then(|metadata| metadata.layout) {
                start::check_layout(partition, &self.pipeline.group_id, then, now)?;
            }
        }
        let newer_version = self.newer_version(newest_version, &partitions, now)?;
        let mapping = match &self.pipeline.kind {
            Kind::Cdc(cdc) => cdc.tables.get(topic),
            _ => None,
        };
        let replica = ReplicaFacts {
            is_empty,
            newest_version,
            newer_version,
            topic_is_committed,
            accepts_empty: mapping.is_some_and(|mapping| mapping.accept_empty),
            is_shared: mapping.is_some_and(|mapping| mapping.shared),
            was_emptied_by_hand,
        };
        Ok((Some(now), Some(replica)))
    }

    /// The newest version in a topic's table, if that has rows.
    fn newest_version(&self, topic: &str) -> Result<Option<u64>, NotYet> {
        let Some(target) = self.operator.versioned(topic) else {
            return Ok(None);
        };
        let newest = self
            .runtime
            .block_on(self.shared.client.newest_version(&target));
        newest.map_err(|e| not_looked_up(&target, &e))
    }

    /// Whether a topic's table is not there, or has no row.
    fn has_no_rows(&self, topic: &str) -> Result<bool, NotYet> {
        let Some(target) = self.operator.versioned(topic) else {
            return Ok(true);
        };
        let looked = self.runtime.block_on(self.shared.client.is_empty(&target));
        looked.map_err(|e| not_looked_up(&target, &e))
    }

    /// The table's newest version, where no record of the topic has one as new.
    fn newer_version(
        &self,
        newest: Option<u64>,
        partitions: &[TopicPartition],
        layout: Layout,
    ) -> Result<Option<u64>, NotYet> {
        if newest.is_none() {
            return Ok(None);
        }
        let timeout = self.shared.kafka_timeout;
        let mut longest = 0;
        for partition in partitions {
            let (_, end) = self.consumer().watermarks(partition, timeout)?;
            longest = longest.max(end);
        }
        Ok(newest.filter(|version| *version >= layout.version(longest)))
    }
}
