//! Reading the letters that are meant, each once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasher as _;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::letter::{Letter, Selection};
use crate::config::{Config, Pipeline};
use crate::inspect::cluster::Cluster;
use crate::inspect::log::{LogReader, Read};
use crate::inspect::progress::Progress;
use crate::inspect::{Failure, pipeline_named};
use crate::progress::Range;
use crate::source::{Record, TopicPartition};

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
        let mut ids = TopicIds::default();
        for (partition, mut range) in ranges {
            let mut take = |record: Record<'_>| {
                progress.add(1);
                let Some(mut letter) = Letter::read(record) else {
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
                letter.is_of_before = ids.differs(&cluster, &letter);
                each(letter, pipeline)
            };
            // Letters that retention deletes meanwhile are passed by: what was done with others took its time.
            let is_enough = loop {
                match reader.read_or_cut(&partition, range, &mut take)? {
                    Read::Whole => break false,
                    Read::Enough => break true,
                    Read::Cut(gone) => range.from = gone.to,
                }
            };
            if is_enough || left == 0 {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What the dead-letter topic holds now; nothing where it does not exist.
pub(crate) fn ranges(
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

/// Kafka's ids of topics, as they are now.
#[derive(Debug, Default)]
struct TopicIds(HashMap<Arc<str>, Option<String>>);

impl TopicIds {
    /// Whether the letter's topic was deleted since, and another one has its name.
    fn differs(&mut self, cluster: &Cluster, letter: &Letter) -> bool {
        let Some(own) = &letter.topic_id else {
            return false;
        };
        let topic = &letter.partition.topic;
        let now = self.0.entry(topic.clone());
        let now = now.or_insert_with(|| cluster.topic_id(topic));
        now.as_ref().is_some_and(|now| now != own && now != "-")
    }
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
        let Letter {
            pipeline,
            partition,
            offset,
            topic_id,
            ..
        } = letter;
        let place = (pipeline, partition, offset, topic_id);
        self.hashes.insert(self.state.hash_one(place))
    }
}
