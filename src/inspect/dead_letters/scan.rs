//! Reading the letters that are meant, each once.

use std::collections::{BTreeMap, HashSet};
use std::hash::BuildHasher as _;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::letter::{Letter, Selection};
use crate::config::{Config, Pipeline};
use crate::inspect::cluster::Cluster;
use crate::inspect::log::LogReader;
use crate::inspect::progress::Progress;
use crate::inspect::{Failure, pipeline_named};
use crate::progress::Range;
use crate::source::TopicPartition;

/// Letters whose address is remembered, to tell one that was written again after a crash; then it is begun
/// anew.
const REMEMBERED_MAX: usize = 4_000_000;

/// Hands each letter of the selection to `each`, which is told its pipeline.
///
/// # Errors
/// No such pipeline, Kafka does not answer, or what `each` returned.
pub(crate) fn letters(
    config: &Config,
    selection: &Selection,
    mut each: impl FnMut(Letter, &Arc<Pipeline>) -> Result<ControlFlow<()>, Failure>,
) -> Result<(), Failure> {
    for name in &selection.pipelines {
        pipeline_named(config, name)?;
    }
    let is_meant =
        |p: &&Pipeline| selection.pipelines.is_empty() || selection.pipelines.contains(&p.name);
    // Pipelines may share a topic, which is read once.
    let mut places: BTreeMap<(Vec<String>, String), Vec<Arc<Pipeline>>> = BTreeMap::new();
    for pipeline in config.pipelines.iter().filter(is_meant) {
        let servers = pipeline.kafka.bootstrap_servers.clone();
        let place = (servers, pipeline.dead_letter.topic.clone());
        places
            .entry(place)
            .or_default()
            .push(Arc::new(pipeline.clone()));
    }
    let mut left = selection.limit.unwrap_or(u64::MAX);
    let mut seen = Seen::default();
    for ((_, topic), pipelines) in places {
        let first = &pipelines[0];
        let cluster = Cluster::connect(&config.service, first)?;
        let ranges = ranges(&cluster, &topic)?;
        let total = ranges
            .iter()
            .map(|(_, range)| (range.to - range.from).unsigned_abs());
        let mut progress = Progress::new("dead letters", total.sum());
        let mut reader = LogReader::new(&config.service, first)?;
        for (partition, range) in ranges {
            let read = reader.read(&partition, range, |record| {
                progress.add(1);
                let Some(letter) = Letter::read(record) else {
                    return Ok(ControlFlow::Continue(()));
                };
                let Some(pipeline) = pipelines.iter().find(|p| p.name == letter.pipeline) else {
                    return Ok(ControlFlow::Continue(()));
                };
                if !selection.takes(&letter) || !seen.is_first(&letter) {
                    return Ok(ControlFlow::Continue(()));
                }
                if left == 0 {
                    return Ok(ControlFlow::Break(()));
                }
                left -= 1;
                each(letter, pipeline)
            })?;
            if read.is_break() || left == 0 {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What the dead-letter topic holds now; nothing where it does not exist.
pub(super) fn ranges(
    cluster: &Cluster,
    topic: &str,
) -> Result<Vec<(TopicPartition, Range)>, Failure> {
    let mut ranges = vec![];
    for partition in cluster.partitions_of(topic)?.unwrap_or_default() {
        let (from, to) = cluster.log_range(&partition)?;
        ranges.push((partition, Range { from, to }));
    }
    Ok(ranges)
}

/// Which letters came already, by hashes of what identifies them.
#[derive(Debug, Default)]
struct Seen {
    hashes: HashSet<u64>,
    state: foldhash::fast::RandomState,
}

impl Seen {
    fn is_first(&mut self, letter: &Letter) -> bool {
        if self.hashes.len() >= REMEMBERED_MAX {
            self.hashes.clear();
        }
        let place = (&letter.pipeline, &letter.partition, letter.offset);
        self.hashes.insert(self.state.hash_one(place))
    }
}
