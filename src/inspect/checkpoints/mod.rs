//! `streamweir checkpoints`: the snapshots of what operators remember.

mod keep;
mod names;
mod stores;

use serde::Serialize;

pub use self::keep::{Kept, create};
use self::names::Names;
use self::stores::{Store, stores};
use super::cluster::Cluster;
use super::offsets::refuse_members;
use super::{Failure, runtime};
use crate::clock::wall_ms;
use crate::config::Config;
use crate::observe::board::status::Moment;
use crate::source::TopicPartition;
use crate::state::{Refused, StoreError, StoredSnapshot, open};

/// One snapshot.
#[derive(Debug, Serialize)]
pub struct Checkpoint {
    /// The pipeline.
    pub pipeline: String,
    /// The name under which it is kept; `null`: its partition begins from it.
    pub name: Option<String>,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The first offset that it has not seen.
    pub offset: i64,
    /// When it was written.
    pub taken_at: Moment,
    /// Seconds since then.
    pub age_seconds: i64,
    /// Its size.
    pub bytes: u64,
    /// The rules by which the state came about; `null` where it cannot be read.
    pub rules: Option<String>,
    /// Why it cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Of a snapshot whose name does not count.
const HALF_MADE: &str = "not all of this name is there: streamweir checkpoints create was interrupted, or is \
     under way; repeat it under the same name";
/// A name that is still half made after this, in milliseconds, was given up.
const GIVEN_UP_MS: i64 = 3_600_000;

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::Unreachable(format!(
            "the store of snapshots: {error} (pipeline.state.url)"
        ))
    }
}

/// Every snapshot of the pipelines that keep any.
///
/// # Errors
/// No such pipeline, or a store that does not answer.
pub fn list(config: &Config, pipeline: Option<&str>) -> Result<Vec<Checkpoint>, Failure> {
    let runtime = runtime()?;
    let names = Names::read(&runtime, &stores(&runtime, config, None)?)?;
    let is_half = |name: &Option<String>| name.as_ref().is_some_and(|name| !names.is_whole(name));
    let mut all = vec![];
    for Store {
        pipeline, store, ..
    } in stores(&runtime, config, pipeline)?
    {
        let now_ms = wall_ms();
        for snapshot in runtime.block_on(store.list_all())? {
            let Some(bytes) = runtime.block_on(store.read_if_there(&snapshot))? else {
                continue;
            };
            let read = open(&bytes).map(|(label, _)| label.rules().to_owned());
            all.push(Checkpoint {
                pipeline: pipeline.name.clone(),
                topic: snapshot.partition.topic.to_string(),
                partition: snapshot.partition.partition,
                offset: snapshot.offset,
                taken_at: Moment(snapshot.taken_ms),
                age_seconds: (now_ms - snapshot.taken_ms).max(0) / 1000,
                bytes: snapshot.bytes,
                problem: match is_half(&snapshot.name) {
                    true => Some(HALF_MADE.to_owned()),
                    false => read.as_ref().err().map(ToString::to_string),
                },
                name: snapshot.name,
                rules: read.ok(),
            });
        }
    }
    Ok(all)
}

/// What a partition begins from now.
#[derive(Debug, Serialize)]
pub struct Restored {
    /// The pipeline.
    pub pipeline: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The snapshot's offset.
    pub offset: i64,
    /// The committed offset, which stays.
    pub committed: Option<i64>,
    /// What that means.
    pub meaning: String,
    /// Newer snapshots that were removed.
    pub removed: usize,
}

/// Makes the snapshots of this name those that their partitions begin from.
///
/// # Errors
/// There are none of that name, or a group has members; then nothing is changed.
pub fn restore(
    config: &Config,
    name: &str,
    pipeline: Option<&str>,
) -> Result<Vec<Restored>, Failure> {
    let runtime = runtime()?;
    let names = Names::read(&runtime, &stores(&runtime, config, None)?)?;
    let mut plans = vec![];
    for Store {
        pipeline, store, ..
    } in stores(&runtime, config, pipeline)?
    {
        let all = runtime.block_on(store.list_all())?;
        let is_named = |s: &&StoredSnapshot| s.name.as_deref() == Some(name);
        let named: Vec<StoredSnapshot> = all.iter().filter(is_named).cloned().collect();
        if named.is_empty() {
            continue;
        }
        if !names.is_whole(name) {
            return Err(Failure::Refused(format!("{name:?}: {HALF_MADE}")));
        }
        let cluster = Cluster::connect(&config.service, &pipeline)?;
        refuse_members(&cluster, &pipeline.group_id, &pipeline.name)?;
        let partitions: Vec<TopicPartition> = named.iter().map(|s| s.partition.clone()).collect();
        let committed = cluster.committed(&partitions)?;
        plans.push((pipeline, store, all, named, committed));
    }
    if plans.is_empty() {
        return Err(Failure::Refused(format!(
            "no snapshot is kept under the name {name:?}: streamweir checkpoints list"
        )));
    }
    let mut restored = vec![];
    for (pipeline, store, all, named, committed) in plans {
        for (snapshot, offsets) in named.into_iter().zip(committed) {
            let newer = all.iter().filter(|s| {
                s.name.is_none() && s.partition == snapshot.partition && s.offset > snapshot.offset
            });
            let mut removed = 0;
            // First the one, then the others: at every moment there is something to begin from.
            runtime.block_on(store.copy(&snapshot, None))?;
            for old in newer {
                runtime.block_on(store.delete(old))?;
                removed += 1;
            }
            restored.push(Restored {
                pipeline: pipeline.name.clone(),
                topic: snapshot.partition.topic.to_string(),
                partition: snapshot.partition.partition,
                offset: snapshot.offset,
                committed: offsets.position,
                meaning: meaning(snapshot.offset, offsets.position),
                removed,
            });
        }
    }
    Ok(restored)
}

fn meaning(offset: i64, committed: Option<i64>) -> String {
    match committed {
        Some(committed) if offset < committed => format!(
            "the committed offset stays: records {offset} to {} are read into the state again and make no \
             row",
            committed - 1
        ),
        Some(committed) if offset > committed => format!(
            "the committed offset stays at {committed}, which the snapshot is ahead of: it is used once the \
             offset has passed it; to begin before it, set the offset (streamweir offsets reset)"
        ),
        Some(_) => "the next start goes on right behind it".to_owned(),
        None => "nothing is committed: the next start begins by start_offset".to_owned(),
    }
}

/// What was removed.
#[derive(Debug, Serialize)]
pub struct Pruned {
    /// The pipeline.
    pub pipeline: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The snapshot's offset.
    pub offset: i64,
    /// Its size.
    pub bytes: u64,
    /// Why nothing can use it.
    pub why: &'static str,
}

impl Pruned {
    fn of(pipeline: &str, snapshot: &StoredSnapshot, why: &'static str) -> Self {
        Pruned {
            pipeline: pipeline.to_owned(),
            topic: snapshot.partition.topic.to_string(),
            partition: snapshot.partition.partition,
            offset: snapshot.offset,
            bytes: snapshot.bytes,
            why,
        }
    }
}

/// Removes the snapshots that nothing can use; those of a whole name stay. `keep` newest of each partition, at
/// or before the committed offset, stay [default: `pipeline.state.keep`].
///
/// # Errors
/// A system that does not answer.
pub fn prune(
    config: &Config,
    pipeline: Option<&str>,
    keep: Option<usize>,
) -> Result<Vec<Pruned>, Failure> {
    let runtime = runtime()?;
    let names = Names::read(&runtime, &stores(&runtime, config, None)?)?;
    let mut pruned = vec![];
    for Store {
        pipeline,
        store,
        keep: configured,
    } in stores(&runtime, config, pipeline)?
    {
        let mut all = runtime.block_on(store.list_all())?;
        let is_given_up = |snapshot: &StoredSnapshot| {
            let name = snapshot.name.as_ref();
            let is_half = name.is_some_and(|name| !names.is_whole(name));
            is_half && wall_ms() - snapshot.taken_ms > GIVEN_UP_MS
        };
        for snapshot in all.iter().filter(|snapshot| is_given_up(snapshot)) {
            runtime.block_on(store.delete(snapshot))?;
            pruned.push(Pruned::of(
                &pipeline.name,
                snapshot,
                "its name is half made",
            ));
        }
        all.retain(|snapshot| snapshot.name.is_none());
        if all.is_empty() {
            continue;
        }
        let cluster = Cluster::connect(&config.service, &pipeline)?;
        let known = cluster.partitions(None)?;
        let committed = cluster.committed(&known)?;
        let (mut there, mut conditions) = (vec![], vec![]);
        for snapshot in all {
            if let Some(bytes) = runtime.block_on(store.read_if_there(&snapshot))? {
                conditions.push(Condition::of(&bytes));
                there.push(snapshot);
            }
        }
        let position_of = |partition: &TopicPartition| {
            let index = known.iter().position(|p| p == partition)?;
            Some(committed[index].position)
        };
        let keep = keep.unwrap_or(configured);
        for (index, why) in useless(&there, &conditions, keep, position_of) {
            let snapshot = &there[index];
            runtime.block_on(store.delete(snapshot))?;
            pruned.push(Pruned::of(&pipeline.name, snapshot, why));
        }
    }
    Ok(pruned)
}

/// Whether a snapshot can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Usable,
    /// By a later version, which has written it.
    UsableLater,
    Damaged,
}

impl Condition {
    fn of(bytes: &[u8]) -> Self {
        match open(bytes) {
            Ok(_) => Condition::Usable,
            Err(Refused::Later) => Condition::UsableLater,
            Err(_) => Condition::Damaged,
        }
    }
}

/// Which of these, in the order of offsets within a partition, nothing can use. `position_of`: `None` where
/// the pipeline has no such partition.
fn useless(
    all: &[StoredSnapshot],
    conditions: &[Condition],
    keep: usize,
    position_of: impl Fn(&TopicPartition) -> Option<Option<i64>>,
) -> Vec<(usize, &'static str)> {
    let mut found = vec![];
    for (index, snapshot) in all.iter().enumerate() {
        let Some(position) = position_of(&snapshot.partition) else {
            found.push((index, "the pipeline does not read this partition"));
            continue;
        };
        match conditions[index] {
            Condition::Usable => {}
            Condition::UsableLater => continue,
            Condition::Damaged => {
                found.push((index, "it is damaged"));
                continue;
            }
        }
        let Some(position) = position else {
            continue;
        };
        let replaces = |(other, s): &(usize, &StoredSnapshot)| {
            conditions[*other] == Condition::Usable
                && s.partition == snapshot.partition
                && s.offset > snapshot.offset
                && s.offset <= position
        };
        let newer = all.iter().enumerate().filter(replaces).count();
        if newer >= keep.max(1) {
            found.push((index, "newer ones replace it"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(partition: i32, offset: i64) -> StoredSnapshot {
        StoredSnapshot {
            name: None,
            partition: TopicPartition {
                topic: "t".into(),
                partition,
            },
            offset,
            bytes: 9,
            taken_ms: 0,
        }
    }

    #[test]
    fn what_is_newest_at_or_before_the_commit_stays() {
        let offsets = [10, 20, 30, 40, 50];
        let mut all: Vec<_> = offsets.map(|offset| snapshot(0, offset)).into();
        all.push(snapshot(7, 5));
        let mut conditions = [Condition::Usable; 6];
        conditions[2] = Condition::Damaged;
        let position = |p: &TopicPartition| (p.partition == 0).then_some(Some(40));
        let of = |conditions: &[Condition], keep| {
            let found = useless(&all, conditions, keep, position);
            found
                .into_iter()
                .map(|(index, _)| index)
                .collect::<Vec<_>>()
        };
        let indices = |keep| of(&conditions, keep);
        // 50 is not usable yet, 30 is damaged, and the partition 7 is nobody's.
        assert_eq!(indices(1), [0, 1, 2, 5]);
        assert_eq!(indices(2), [0, 2, 5]);
        assert_eq!(indices(3), [2, 5]);
        let nowhere = |_: &TopicPartition| Some(None);
        assert_eq!(useless(&all, &[Condition::Usable; 6], 1, nowhere), []);
        // What a later version has written stays, and replaces none that this one can use.
        let mut later = [Condition::Usable; 6];
        later[3] = Condition::UsableLater;
        assert_eq!(of(&later, 1), [0, 1, 5]);
    }

    #[test]
    fn a_committed_offset_stays_where_it_is() {
        assert!(meaning(10, Some(30)).contains("10 to 29"));
        assert!(meaning(40, Some(30)).contains("ahead"));
        assert!(meaning(30, Some(30)).contains("goes on"));
        assert!(meaning(30, None).contains("start_offset"));
    }
}
