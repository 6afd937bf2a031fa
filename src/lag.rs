//! Asks the broker where the partitions of a pipeline stand, whatever its lanes do.
//!
//! librdkafka learns the end of a partition from what it fetches. A lane that is paused, that waits for a
//! server or that has halted fetches nothing, so its lag would stand still while the log grows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::config::{Pipeline, StartOffset, TopicSelector};
use crate::observe::board::lag::{Place, Standing};
use crate::observe::board::{PartitionStatus, PipelineBoard, PipelineState, TargetBoard};
use crate::observe::metrics::{PartitionMetrics, PipelineMetrics};
use crate::source::{TopicPartition, admin_client};
use streamweir_kafka::Observer;

/// How often the ends are asked for.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is looked whether the pipeline is still there.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Records whose time is asked for in one round.
const RECORDS_PER_ROUND: usize = 16;

/// What is committed of a partition, and the first offset that is not written and committed; `None`: its end.
type Unread = (Option<i64>, Option<i64>);

/// For as long as it lives, ends are asked for.
#[derive(Debug)]
pub(crate) struct Watching {
    _alive: Arc<()>,
}

/// Asks for as long as what is returned lives, by a thread of its own.
///
/// # Errors
/// The machine has no room for the thread.
pub(crate) fn watch(
    pipeline: Arc<Pipeline>,
    board: &Arc<PipelineBoard>,
) -> std::io::Result<Watching> {
    let alive = Arc::new(());
    let watch = Watch {
        target: board.target("kafka"),
        metrics: PipelineMetrics::new(&pipeline.name),
        alive: Arc::downgrade(&alive),
        board: Arc::clone(board),
        observer: None,
        partitions: vec![],
        gauges: BTreeMap::new(),
        pipeline,
    };
    let thread = std::thread::Builder::new().name("lag".to_owned());
    thread.spawn(|| watch.run())?;
    Ok(Watching { _alive: alive })
}

struct Watch {
    pipeline: Arc<Pipeline>,
    alive: Weak<()>,
    board: Arc<PipelineBoard>,
    target: Arc<TargetBoard>,
    metrics: PipelineMetrics,
    /// Made when there is first something to ask.
    observer: Option<Observer>,
    /// Those that are read, or were read until the pipeline halted.
    partitions: Vec<PartitionStatus>,
    /// Of partitions that no lane speaks for: those of a halted pipeline, and those that have not begun.
    gauges: BTreeMap<Place, PartitionMetrics>,
}

impl Watch {
    fn run(mut self) {
        loop {
            for _ in 0..INTERVAL.as_millis() / LOOK_INTERVAL.as_millis() {
                std::thread::sleep(LOOK_INTERVAL);
                if self.alive.strong_count() == 0 {
                    return;
                }
            }
            let board = Arc::clone(&self.board);
            self.round(&board);
        }
    }

    fn round(&mut self, board: &PipelineBoard) {
        let has_halted = board.state() == PipelineState::Halted;
        self.partitions = board.known_partitions();
        if self.partitions.is_empty() && has_halted {
            match self.never_assigned() {
                Ok(partitions) => self.partitions = partitions,
                // What was known last stays.
                Err(error) => return self.target.failed(&error),
            }
        }
        let partitions: Vec<_> = self.partitions.iter().map(place_of).collect();
        if partitions.is_empty() {
            self.set_gauges(&BTreeMap::new());
            board.lag().set(BTreeMap::new());
            return;
        }
        match self.ask(board, &partitions, has_halted) {
            // A question may have outlived the pipeline.
            Ok(_) if self.alive.strong_count() == 0 => {}
            Ok(standings) => {
                self.target.answered();
                let silent = self.partitions.iter().filter(|p| is_silent(p, has_halted));
                let silent = silent.map(|p| (p.topic.clone(), p.partition));
                let lags = silent.filter_map(|place| Some((standings.get(&place)?.lag(), place)));
                let lags = lags.map(|(lag, place)| (place, lag)).collect();
                self.set_gauges(&lags);
                board.lag().set(standings);
            }
            // What was known last stays.
            Err(error) => self.target.failed(&error),
        }
    }

    /// All partitions of the topics, for a pipeline that halted before any was assigned to it: nobody else
    /// says how far it is behind. Topics that a pattern names are not known.
    fn never_assigned(&mut self) -> Result<Vec<PartitionStatus>, String> {
        let pipeline = Arc::clone(&self.pipeline);
        let named = pipeline.topics.iter().map(TopicSelector::as_str);
        let mut all = vec![];
        for topic in named.filter(|name| !name.starts_with('^')) {
            // A topic that is missing has no partitions.
            let found = self.observer()?.partitions_of(topic, TIMEOUT);
            let partitions = found.map_err(|error| error.to_string())?.into_iter();
            all.extend(partitions.map(|p| PartitionStatus::new(&p.topic, p.partition, -1, -1, -1)));
        }
        Ok(all)
    }

    fn ask(
        &mut self,
        board: &PipelineBoard,
        partitions: &[TopicPartition],
        has_halted: bool,
    ) -> Result<BTreeMap<Place, Standing>, String> {
        let ends = self.observer()?.ends(partitions, TIMEOUT);
        let ends = ends.map_err(|error| error.to_string())?;
        let unread = self.unread(partitions, has_halted)?;
        let before = board.lag().all();
        let mut asked = 0;
        let mut standings = BTreeMap::new();
        for ((partition, end), (committed, from)) in partitions.iter().zip(ends).zip(unread) {
            let Ok(end) = end else { continue };
            let key = (partition.topic.to_string(), partition.partition);
            let last = before.get(&key);
            let mut standing = Standing {
                end,
                committed,
                from: from.unwrap_or(end),
                oldest_ms: None,
            };
            match last.filter(|last| last.from == standing.from && last.oldest_ms.is_some()) {
                Some(last) => standing.oldest_ms = last.oldest_ms,
                None if must_ask(last, &standing) && asked < RECORDS_PER_ROUND => {
                    asked += 1;
                    standing.oldest_ms = self.oldest_ms(partition, standing.from);
                }
                None => {}
            }
            standings.insert(key, standing);
        }
        Ok(standings)
    }

    /// Where each partition stands.
    fn unread(
        &mut self,
        partitions: &[TopicPartition],
        has_halted: bool,
    ) -> Result<Vec<Unread>, String> {
        // The lanes know what they have committed of the partitions that they read.
        let silent: Vec<bool> = self
            .partitions
            .iter()
            .map(|partition| is_silent(partition, has_halted))
            .collect();
        let of_lanes = self.partitions.iter().map(|partition| partition.committed);
        let mut committed: Vec<Option<i64>> = of_lanes.collect();
        if silent.contains(&true) {
            let answered = self.observer()?.committed(partitions, TIMEOUT);
            let answered = answered.map_err(|error| error.to_string())?;
            for (index, answered) in answered.into_iter().enumerate() {
                if silent[index] {
                    committed[index] = answered;
                }
            }
        }
        let mut begins = vec![None; partitions.len()];
        let is_new = |index: &usize| silent[*index] && committed[*index].is_none();
        let new: Vec<usize> = (0..partitions.len()).filter(is_new).collect();
        // Only the very first start of a group may begin at the end.
        let may_begin_at_end = self.pipeline.start_offset == StartOffset::Latest
            && committed.iter().all(Option::is_none);
        let begins_at_end =
            may_begin_at_end && !new.is_empty() && !self.group_has_committed(partitions)?;
        if !begins_at_end && !new.is_empty() {
            let asked: Vec<_> = new.iter().map(|index| partitions[*index].clone()).collect();
            let answered = self.observer()?.begins(&asked, TIMEOUT);
            let answered = answered.map_err(|error| error.to_string())?;
            for (index, begin) in new.into_iter().zip(answered) {
                begins[index] = begin.ok();
            }
        }
        let places = self.partitions.iter().zip(committed).zip(begins);
        let places = places.map(|((partition, committed), begin)| {
            (committed, committed.or(begin).or(partition.position))
        });
        Ok(places.collect())
    }

    /// Whether the group has committed anything, also where other processes read.
    fn group_has_committed(&mut self, partitions: &[TopicPartition]) -> Result<bool, String> {
        let named = self.pipeline.topics.iter().map(TopicSelector::as_str);
        let named = named.filter(|name| !name.starts_with('^'));
        let read = partitions.iter().map(|partition| &*partition.topic);
        let topics: BTreeSet<String> = named.chain(read).map(str::to_owned).collect();
        let observer = self.observer()?;
        let mut all = vec![];
        for topic in topics {
            let found = observer.partitions_of(&topic, TIMEOUT);
            all.extend(found.map_err(|error| error.to_string())?);
        }
        let committed = observer.committed(&all, TIMEOUT);
        let committed = committed.map_err(|error| error.to_string())?;
        Ok(committed.iter().any(Option::is_some))
    }

    fn oldest_ms(&mut self, partition: &TopicPartition, from: i64) -> Option<i64> {
        let observer = self.observer().ok()?;
        observer
            .timestamp_at(partition, from, TIMEOUT)
            .unwrap_or_else(|error| {
                tracing::debug!(%partition, %error, "the time of the oldest record is not known");
                None
            })
    }

    fn observer(&mut self) -> Result<&Observer, String> {
        if self.observer.is_none() {
            let config = admin_client(&self.pipeline.kafka, &self.pipeline.name);
            let made = Observer::new(&config, &self.pipeline.group_id);
            self.observer = Some(made.map_err(|error| error.to_string())?);
        }
        self.observer.as_ref().ok_or_else(|| "no client".to_owned())
    }

    /// Shows these lags, and takes back those of partitions that are not this process's any more. Where a
    /// lane has begun to speak for one, what it says stands.
    fn set_gauges(&mut self, lags: &BTreeMap<Place, i64>) {
        let known = |place: &Place| {
            let mut known = self.partitions.iter();
            known.any(|p| p.topic == place.0 && p.partition == place.1)
        };
        self.gauges.retain(|place, gauges| {
            if !lags.contains_key(place) && !known(place) {
                gauges.forget();
            }
            lags.contains_key(place)
        });
        for (place, lag) in lags {
            let gauges = self.gauges.entry(place.clone());
            let gauges = gauges.or_insert_with(|| self.metrics.partition(&place.0, place.1));
            gauges.lag_records.set(*lag as f64);
            gauges.commit_lag_records.set(*lag as f64);
        }
    }
}

/// Whether no lane speaks for the partition: its pipeline has halted, or it has not begun.
fn is_silent(partition: &PartitionStatus, has_halted: bool) -> bool {
    has_halted || partition.position.is_none()
}

/// Whether the time of the oldest record is worth a fetch: nothing has been committed since the last round, and
/// there is something to commit.
fn must_ask(last: Option<&Standing>, now: &Standing) -> bool {
    let has_stood = last.is_some_and(|last| last.from == now.from);
    has_stood && now.from < now.end
}

fn place_of(partition: &PartitionStatus) -> TopicPartition {
    TopicPartition {
        topic: partition.topic.as_str().into(),
        partition: partition.partition,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_fetched_where_nothing_moves_and_something_waits() {
        let at = |from, end| Standing {
            end,
            committed: None,
            from,
            oldest_ms: None,
        };
        assert!(must_ask(Some(&at(5, 8)), &at(5, 9)));
        assert!(!must_ask(None, &at(5, 9)));
        assert!(!must_ask(Some(&at(4, 8)), &at(5, 9)));
        assert!(!must_ask(Some(&at(9, 9)), &at(9, 9)));
        assert_eq!((at(4, 9).lag(), at(9, 7).lag()), (5, 0));
    }
}
