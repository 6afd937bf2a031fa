//! Runs the pipeline up to where each partition ends.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::RebuildError;
use super::positions::reached;
use super::signals::Signals;
use crate::config::{Config, Kind, Pipeline, Service};
use crate::inspect::Failure;
use crate::inspect::cluster::Cluster;
use crate::lane::{End, Stop};
use crate::limits::Limits;
use crate::memory::{MemoryBudget, bound_allocator};
use crate::observe::board::Board;
use crate::pipeline::{self, Began, Ended, Environment};
use crate::source::{Offsets, TopicPartition};

/// How often the log says how far it is.
const SAID_EVERY: Duration = Duration::from_secs(5);
const BETWEEN: Duration = Duration::from_millis(500);

/// Where each partition begins and ends.
pub(super) type Ends = BTreeMap<TopicPartition, (i64, i64)>;

/// A pipeline that is run to its end, without a daemon around it.
pub(super) struct Filler {
    service: Arc<Service>,
    pipeline: Arc<Pipeline>,
    is_shadow: bool,
    /// Whether it runs although every record was read: windows that those have closed may not be written.
    ends_again: bool,
    /// Of windows: by when another group has closed them, in each partition.
    closed_through_ms: Option<HashMap<TopicPartition, i64>>,
}

impl Filler {
    pub(super) fn new(config: &Config, pipeline: &Arc<Pipeline>) -> Filler {
        Filler {
            service: Arc::new(config.service.clone()),
            pipeline: pipeline.clone(),
            is_shadow: false,
            ends_again: false,
            closed_through_ms: None,
        }
    }

    /// The same, with every window written at the end: those that another group has closed, as they are then, and
    /// those that are open, as far as they have come.
    pub(super) fn closing(self, closed_through_ms: HashMap<TopicPartition, i64>) -> Filler {
        Filler {
            closed_through_ms: Some(closed_through_ms),
            ..self
        }
    }

    /// The same for a group that has the live pipeline's name and is another. A commit says how far the records
    /// of windows were read; whoever was killed then has perhaps not written all that those had closed.
    pub(super) fn of_shadow(config: &Config, pipeline: &Arc<Pipeline>) -> Filler {
        Filler {
            is_shadow: true,
            ends_again: matches!(pipeline.kind, Kind::Aggregation(_)),
            ..Filler::new(config, pipeline)
        }
    }

    /// Runs until the group has committed every end, whoever reads for it; returns how many offsets that were.
    ///
    /// # Errors
    /// A halt, a dependency that is away, or a signal.
    pub(super) fn fill(
        &self,
        runtime: &tokio::runtime::Runtime,
        signals: &Signals,
        cluster: &Cluster,
        ends: &Ends,
    ) -> Result<u64, RebuildError> {
        let mut pace = Pace::new(ends, position_sum(cluster, ends)?);
        if pace.is_done() && self.closed_through_ms.is_none() && !self.ends_again {
            return Ok(0);
        }
        let directory = self.service.state_dir.join(&self.pipeline.name);
        std::fs::create_dir_all(&directory).map_err(|error| {
            Failure::Usage(format!(
                "service.state_dir: {} cannot be made: {error}: name a directory that this user may write",
                directory.display()
            ))
        })?;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let stop = Stop::default();
        let environment = self.environment(runtime, stop.clone(), ends);
        let filling = signals.drains(stop, self.service.shutdown_timeout);
        let running = std::thread::Builder::new()
            .name("rebuild".to_owned())
            .spawn(move || pipeline::run(environment));
        let running = running
            .map_err(|error| Failure::Refused(format!("no thread for the pipeline: {error}")))?;
        while !running.is_finished() {
            std::thread::sleep(BETWEEN);
            if pace.is_due() {
                match position_sum(cluster, ends) {
                    Ok(done) => pace.say(done),
                    Err(error) => tracing::warn!("how far the rebuild is cannot be asked: {error}"),
                }
            }
        }
        let ended = running.join();
        if filling.was_told() {
            return Err(RebuildError::Stopped);
        }
        match ended {
            Ok(Ended::Done) => Ok(pace.ended(position_sum(cluster, ends)?)),
            Ok(Ended::Halted(halt)) => Err(RebuildError::Halted {
                reason: halt.reason.to_owned(),
                advice: advice(halt.to_string(), self.is_shadow, &self.pipeline.group_id),
            }),
            Ok(Ended::Unreachable(why)) => Err(Failure::Unreachable(why).into()),
            Err(_) => {
                Err(Failure::Refused("the pipeline panicked: look at the log".to_owned()).into())
            }
        }
    }

    fn environment(
        &self,
        runtime: &tokio::runtime::Runtime,
        stop: Stop,
        ends: &Ends,
    ) -> Environment {
        let (service, pipeline) = (self.service.clone(), self.pipeline.clone());
        let lanes = u64::from(pipeline.consumers);
        bound_allocator(lanes);
        let memory = Arc::new(MemoryBudget::new(service.memory_max_bytes));
        let queue_bytes = memory.queue_bytes_of_lane(lanes);
        memory.share(lanes, queue_bytes * lanes);
        let board = Board::new().add_pipeline(&pipeline.name, pipeline.kind.name());
        let targets: HashMap<TopicPartition, End> = ends
            .iter()
            .map(|(partition, &(log_start, offset))| {
                let closed = self.closed_through_ms.as_ref();
                let end = End {
                    offset,
                    log_start,
                    closed_through_ms: closed.and_then(|all| all.get(partition).copied()),
                };
                (partition.clone(), end)
            })
            .collect();
        Environment {
            start_timeout: service.start_timeout,
            limits: Arc::new(Limits::new(pipeline.limits)),
            records_max: None,
            service,
            pipeline,
            board,
            memory,
            queue_bytes,
            runtime: runtime.handle().clone(),
            stop,
            began: Began::new(|| {}),
            until: None,
            ends: Some(Arc::new(targets)),
            closes_windows: self.closed_through_ms.is_some(),
            leaves_out_cut_windows: self.is_shadow,
        }
    }
}

/// Commands that name the pipeline mean the live group.
fn advice(halt: String, is_shadow: bool, group: &str) -> String {
    let is_of_offsets = halt.contains("offset") && halt.contains("reset");
    if !is_shadow || !is_of_offsets {
        return halt;
    }
    format!(
        "group {group}, which fills the rebuilt table, cannot go on; do not reset the offsets of the pipeline, which \
         are those of the live table; drop the rebuilt table and begin the rebuild again (after --undo where the \
         pipeline halts with metadata); the halt was: {halt}"
    )
}

/// How many offsets of the ends are committed.
fn position_sum(cluster: &Cluster, ends: &Ends) -> Result<u64, Failure> {
    let partitions: Vec<TopicPartition> = ends.keys().cloned().collect();
    let committed = cluster.committed(&partitions)?;
    Ok(done(ends, &committed))
}

fn done(ends: &Ends, committed: &[Offsets]) -> u64 {
    let read = |(&(from, to), offsets): (&(i64, i64), &Offsets)| {
        let position = reached(offsets).unwrap_or(from).min(to);
        (position - from).max(0).unsigned_abs()
    };
    ends.values().zip(committed).map(read).sum()
}

/// How far the rebuild is, for people.
struct Pace {
    total: u64,
    at_first: u64,
    begun: Instant,
    said: Instant,
}

impl Pace {
    fn new(ends: &Ends, done: u64) -> Pace {
        let length = |&(from, to): &(i64, i64)| (to - from).max(0).unsigned_abs();
        let now = Instant::now();
        Pace {
            total: ends.values().map(length).sum(),
            at_first: done,
            begun: now,
            said: now,
        }
    }

    fn is_done(&self) -> bool {
        self.at_first >= self.total
    }

    fn is_due(&self) -> bool {
        self.said.elapsed() >= SAID_EVERY
    }

    fn say(&mut self, done: u64) {
        self.said = Instant::now();
        let (rate, left_s) = rate_and_left(self.total, self.at_first, done, self.begun.elapsed());
        tracing::info!(
            records = done,
            of = self.total,
            records_per_second = rate,
            left_s,
            "rebuilding"
        );
    }

    /// The offsets that were read since it began.
    fn ended(&self, done: u64) -> u64 {
        tracing::info!(records = done, of = self.total, "rebuilt");
        done.saturating_sub(self.at_first)
    }
}

/// Records a second since this process began, and the seconds that the rest takes at this rate.
fn rate_and_left(total: u64, at_first: u64, done: u64, elapsed: Duration) -> (u64, Option<u64>) {
    let rate = done.saturating_sub(at_first) as f64 / elapsed.as_secs_f64().max(0.001);
    let left = total.saturating_sub(done) as f64 / rate;
    (rate as u64, left.is_finite().then_some(left as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_from_what_this_process_has_seen() {
        let two = Duration::from_secs(2);
        assert_eq!(rate_and_left(1_000, 400, 600, two), (100, Some(4)));
        assert_eq!(rate_and_left(1_000, 400, 400, two), (0, None));
        assert_eq!(rate_and_left(1_000, 0, 1_000, two), (500, Some(0)));
    }

    #[test]
    fn a_halt_of_the_shadow_does_not_send_anybody_to_the_live_group() {
        let halt = || "t:0: run `streamweir offsets reset --pipeline p`".to_owned();
        assert_eq!(advice(halt(), false, "g"), halt());
        assert!(advice(halt(), true, "g-rebuild-1f").starts_with("group g-rebuild-1f"));
        let cut = "t:0: offsets 5 to 9 were deleted before group g-rebuild-1f read them: raise the topic's \
                   retention; to go on without them reset the group's offset to 10";
        assert!(advice(cut.to_owned(), true, "g").contains("begin the rebuild again"));
        assert_eq!(advice("table".to_owned(), true, "g"), "table");
    }

    #[test]
    fn what_is_committed_counts_between_both_ends() {
        let partition = |partition| TopicPartition {
            topic: "t".into(),
            partition,
        };
        let ends: Ends = [(0, (10, 20)), (1, (10, 20)), (2, (10, 20)), (3, (5, 5))]
            .map(|(number, ends)| (partition(number), ends))
            .into();
        let committed = [None, Some(15), Some(30), Some(5)].map(|position| Offsets {
            position,
            metadata: String::new(),
            start: None,
        });
        assert_eq!(done(&ends, &committed), 15);
    }
}
