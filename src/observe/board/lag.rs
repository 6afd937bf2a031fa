//! Where the partitions of a pipeline end, asked beside its lanes: a lane that is paused, halted or cut
//! off learns nothing of new records.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::lock;
use super::status::PartitionStatus;

/// Topic and partition.
pub type Place = (String, i32);

/// Where a partition stands in the group, by the broker's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// One past the last readable record.
    pub end: i64,
    /// `None`: the group has committed nothing.
    pub committed: Option<i64>,
    /// The first offset that is not written and committed: the committed one, or where the partition begins.
    pub from: i64,
    /// Kafka timestamp in milliseconds of the record there; `None` where it is not known or there is no such
    /// record yet.
    pub oldest_ms: Option<i64>,
}

impl Standing {
    /// Offsets that are not written and committed.
    pub fn lag(&self) -> i64 {
        (self.end - self.from).max(0)
    }
}

/// What was last answered of each partition that this process reads, or read until its pipeline halted.
#[derive(Debug, Default)]
pub struct LagBoard {
    standings: Mutex<BTreeMap<Place, Standing>>,
}

impl LagBoard {
    /// Replaces what is known of the partitions.
    pub fn set(&self, standings: BTreeMap<Place, Standing>) {
        *lock(&self.standings) = standings;
    }

    /// The end of a partition, as it was last answered.
    pub fn end(&self, topic: &str, partition: i32) -> Option<i64> {
        let standings = lock(&self.standings);
        standings
            .get(&(topic.to_owned(), partition))
            .map(|standing| standing.end)
    }

    /// Moves the end that a lane has seen to the one that was answered, where that is further on.
    pub(super) fn update(&self, partition: &mut PartitionStatus) {
        let answered = self.end(&partition.topic, partition.partition);
        let end = partition.end.max(answered);
        partition.end = end;
        let from = partition.position.or_else(|| self.unbegun(partition));
        let behind = from.zip(end);
        partition.lag = behind.map(|(from, end)| (end - from).max(0));
    }

    /// Where a partition would begin that has not begun.
    fn unbegun(&self, partition: &PartitionStatus) -> Option<i64> {
        let standings = lock(&self.standings);
        let place = (partition.topic.clone(), partition.partition);
        standings.get(&place).map(|standing| standing.from)
    }

    /// Everything that is known.
    pub fn all(&self) -> BTreeMap<Place, Standing> {
        lock(&self.standings).clone()
    }
}
