//! Asks the broker where the partitions of a pipeline stand, whatever its lanes do.
//!
//! librdkafka learns the end of a partition from what it fetches. A lane that is paused, that waits for a
//! server or that has halted fetches nothing, so its lag would stand still while the log grows.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::config::Pipeline;
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
    /// Of the partitions of a halted pipeline, which no lane speaks for.
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
        let state = board.state();
        if state != PipelineState::Halted {
            // The lanes speak for their partitions again.
            self.gauges.clear();
        }
        self.partitions = board.known_partitions();
        let partitions: Vec<_> = self.partitions.iter().map(place_of).collect();
        if partitions.is_empty() {
            board.lag().set(BTreeMap::new());
            return;
        }
        match self.ask(board, &partitions, state) {
            // A question may have outlived the pipeline.
            Ok(_) if self.alive.strong_count() == 0 => {}
            Ok(standings) => {
                self.target.answered();
                if state == PipelineState::Halted {
                    self.set_gauges(&standings);
                }
                board.lag().set(standings);
            }
            // What was known last stays.
            Err(error) => self.target.failed(&error),
        }
    }

    fn ask(
        &mut self,
        board: &PipelineBoard,
        partitions: &[TopicPartition],
        state: PipelineState,
    ) -> Result<BTreeMap<Place, Standing>, String> {
        let ends = self.observer()?.ends(partitions, TIMEOUT);
        let ends = ends.map_err(|error| error.to_string())?;
        // The lanes of a pipeline that runs know what they have committed.
        let committed = if state == PipelineState::Halted {
            let committed = self.observer()?.committed(partitions, TIMEOUT);
            committed.map_err(|error| error.to_string())?
        } else {
            let own = self.partitions.iter().map(|partition| partition.committed);
            own.collect()
        };
        let before = board.lag().all();
        let mut asked = 0;
        let mut standings = BTreeMap::new();
        for ((partition, end), committed) in partitions.iter().zip(ends).zip(committed) {
            let Ok(end) = end else { continue };
            let key = (partition.topic.to_string(), partition.partition);
            let last = before.get(&key);
            let mut standing = Standing {
                end,
                committed,
                oldest_ms: None,
            };
            match last.filter(|last| last.committed == committed && last.oldest_ms.is_some()) {
                Some(last) => standing.oldest_ms = last.oldest_ms,
                None if must_ask(last, &standing) && asked < RECORDS_PER_ROUND => {
                    asked += 1;
                    standing.oldest_ms = self.oldest_ms(partition, committed);
                }
                None => {}
            }
            standings.insert(key, standing);
        }
        Ok(standings)
    }

    fn oldest_ms(&mut self, partition: &TopicPartition, committed: Option<i64>) -> Option<i64> {
        let observer = self.observer().ok()?;
        observer
            .timestamp_at(partition, committed?, TIMEOUT)
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

    fn set_gauges(&mut self, standings: &BTreeMap<Place, Standing>) {
        for (place, standing) in standings {
            let gauges = self.gauges.entry(place.clone());
            let gauges = gauges.or_insert_with(|| self.metrics.partition(&place.0, place.1));
            let lag = (standing.end - standing.committed.unwrap_or(0)).max(0);
            gauges.lag_records.set(lag as f64);
            gauges.commit_lag_records.set(lag as f64);
        }
    }
}

/// Whether the time of the oldest record is worth a fetch: nothing has been committed since the last round, and
/// there is something to commit.
fn must_ask(last: Option<&Standing>, now: &Standing) -> bool {
    let has_stood = last.is_some_and(|last| last.committed == now.committed);
    has_stood && now.committed.is_some_and(|committed| committed < now.end)
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
        let at = |committed, end| Standing {
            end,
            committed,
            oldest_ms: None,
        };
        assert!(must_ask(Some(&at(Some(5), 8)), &at(Some(5), 9)));
        assert!(!must_ask(None, &at(Some(5), 9)));
        assert!(!must_ask(Some(&at(Some(4), 8)), &at(Some(5), 9)));
        assert!(!must_ask(Some(&at(Some(9), 9)), &at(Some(9), 9)));
        assert!(!must_ask(Some(&at(None, 9)), &at(None, 9)));
    }
}
