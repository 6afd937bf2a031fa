//! One thread, one consumer: poll → judge → look up → batch → seal → name → write → settle → commit.
//!
//! [`Lane::turn`] is the loop; the files beside it are its rooms, in the order a record meets them:
//! `rebalance` (partitions come and go), `begin`, `first_start` and `start` (where one is read from), `restore`
//! (what its last owner knew), `chunk` (records are judged and batched), `parking` (what a record has to
//! wait for), `lookups`, `writes` (ranges
//! are sealed, named, written, settled, committed), `emission` (rows of many records), `transaction` (the same, with their
//! offsets in one Kafka transaction), `refused` (the row that the server does not take),
//! `topic_watch` (a topic that is created again), `keeping` (snapshots), `stop` (drain, `--until`), `report`,
//! `stuck` (what does not get on). Nothing in the loop blocks for longer
//! than a poll; whatever waits for another system runs as a task and answers through a channel.

mod begin;
mod chunk;
mod commit;
mod committing;
mod context;
mod emission;
mod first_start;
mod inbox;
mod keeping;
mod lookups;
mod operator;
mod ownership;
mod parking;
mod ratio;
mod rebalance;
mod records_max;
mod refused;
mod renewal;
mod report;
mod restore;
mod shared;
mod start;
mod stop;
mod stretch;
mod stuck;
mod tasks;
mod topic_watch;
mod transaction;
mod writes;

use std::time::{Duration, Instant};

use self::chunk::HeldRun;
use self::commit::Committer;
use self::context::Context;
use self::emission::Emission;
use self::inbox::{Inbox, Message};
pub(crate) use self::lookups::LookupAccess;
use self::lookups::Lookups;
pub(crate) use self::operator::{
    Accepted, After, Appends, BlockingTask, CoPartitioned, Emission as EmissionPart, Emit, Finding,
    Lookups as LookupPart, NoRows, NotAccepted, NotFound, Operator, PartitionCount, RecordRows,
    Refusal, Settling, SnapshotSpec, Snapshots, TableNames, TableRules, TimedState, Together,
    Versions,
};
use self::ownership::Ownership;
pub(crate) use self::ratio::DeadLetterRatio;
use self::rebalance::Group;
pub(crate) use self::records_max::RecordsMax;
use self::report::Reporting;
pub(crate) use self::shared::{End, LaneParts, PipelineShared, Stop};
pub(crate) use self::tasks::panicked;
use self::topic_watch::TopicWatch;
use self::transaction::Transacting;
use crate::config::Delivery;
use crate::halt::Halt;
use crate::limits::Allowance;
use crate::observe::metrics::Stage;
use crate::progress::OwnershipId;
use crate::source::{Consumer, TopicPartition};

/// Longest sleep in one turn: bounds how late a rebalance or a signal is seen.
const IDLE_WAIT: Duration = Duration::from_millis(100);
/// The same while an acknowledgement or a profile is awaited.
const BUSY_WAIT: Duration = Duration::from_millis(5);
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// `/readyz` wants to have heard from every sink within 30 s.
const SINK_CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Why nothing is taken in, as a metric has it, where somebody asked for that.
const PAUSED_BY_OPERATOR: &str = "operator";
/// The same where the configuration limits how fast it reads.
const PAUSED_BY_RATE: &str = "rate";

/// See the module.
pub(crate) struct Lane<O: Operator> {
    context: Context,
    /// `None` only while a chunk borrowed from it is judged.
    consumer: Option<Consumer>,
    group: Group<O::Partition>,
    owned: Vec<Ownership<O::Partition>>,
    operator: O,
    lookups: Option<Lookups>,
    /// Records that were judged, and wait for look-ups.
    held: Vec<HeldRun>,
    /// Where the operator makes rows of many records.
    emission: Option<Emission>,
    /// The same, where offsets are committed by transactions.
    transacting: Option<Transacting>,
    committer: Committer,
    topic_watch: TopicWatch,
    inbox: Inbox,
    reporting: Reporting,
}

impl<O: Operator> Lane<O> {
    /// A lane that has not joined its group yet.
    ///
    /// # Errors
    /// The machine has no room for its threads.
    pub(crate) fn new(parts: LaneParts<O>) -> Result<Self, Halt> {
        let context = Context::new(&parts);
        let mut lane = Lane {
            reporting: Reporting::new(&context.shared.memory),
            context,
            consumer: Some(parts.consumer),
            group: Group::default(),
            owned: vec![],
            operator: parts.operator,
            lookups: parts.lookup.map(Lookups::new),
            held: vec![],
            emission: None,
            transacting: None,
            committer: Committer::default(),
            topic_watch: TopicWatch::default(),
            inbox: Inbox::new(),
        };
        lane.restart_emission();
        lane.start_transactions(parts.transactions)?;
        Ok(lane)
    }

    /// Runs until it is told to stop, has reached its `--until` targets, or must halt.
    ///
    /// # Errors
    /// What only an operator can fix. The group has been left either way.
    pub(crate) fn run(mut self) -> Result<(), Halt> {
        self.await_assignment(Instant::now());
        if let Err(error) = self.consumer().subscribe(&self.topics()) {
            return Err(Halt::new(
                "subscription",
                format!("kafka refuses the topics: {error}"),
            ));
        }
        let ended = loop {
            match self.turn() {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(halt) => break Err(halt),
            }
        };
        let ended = ended.map_err(|halt| self.write_letters_first(halt));
        if ended.is_err() {
            self.show_last_partitions();
        }
        self.leave(ended.is_ok());
        ended
    }

    /// One turn of the loop; false when the lane is done.
    fn turn(&mut self) -> Result<bool, Halt> {
        self.context.board.turned();
        let now = Instant::now();
        self.handle_events(now)?;
        self.watch_topics(now)?;
        self.begin_assigned(now)?;
        self.handle_messages()?;
        self.apply_settlements()?;
        self.check_state_fits()?;
        if let Some(allowance) = self.may_consume(now) {
            if let Err(halt) = self.consume(allowance, now) {
                self.count_before_halt(halt, now)?;
            }
        } else if self.held.is_empty() {
            self.rest(now);
        }
        self.finish_held(now)?;
        self.seal_by_time(now);
        self.emit(now)?;
        self.move_commit_points(now);
        self.transact(now)?;
        self.commit(now)?;
        self.write_named(now);
        self.keep_state(now);
        self.run_blocking_tasks();
        self.halt_for_sick(now)?;
        self.pause_partitions_ahead();
        self.try_let_go(now)?;
        self.renew_client(now);
        self.report(now);
        self.operator.note_time(self.now_ms());
        self.is_still_wanted(now)
    }

    /// Looks up what is missing from the held records, then batches them.
    fn finish_held(&mut self, now: Instant) -> Result<(), Halt> {
        if self.held.is_empty() {
            return Ok(());
        }
        if self.resolve_lookups(now) {
            self.batch_held()
        } else {
            Ok(())
        }
    }

    /// How much may be taken in now; otherwise says why the lane pauses.
    fn may_consume(&mut self, now: Instant) -> Option<Allowance> {
        let mut allowance = None;
        let reason = if self.context.stop.is_draining() {
            return None;
        } else if self.context.stop.is_paused() {
            Some(PAUSED_BY_OPERATOR)
        } else if !self.held.is_empty() {
            Some("lookup")
        } else if self
            .owned
            .iter()
            .any(|o| self.appends() && o.ranges_open() >= ownership::RANGES_MAX)
        {
            Some("sink")
        } else if self.waits_for_memory() {
            Some("memory")
        } else {
            allowance = self.context.shared.limits.allowance(now);
            allowance.is_none().then_some(PAUSED_BY_RATE)
        };
        self.note_pause(reason);
        allowance
    }

    fn waits_for_memory(&self) -> bool {
        let memory = &self.context.shared.memory;
        let may_shrink = || memory.is_full_of_state() && self.may_give_state_back();
        memory.is_full() && (self.will_shrink() || may_shrink())
    }

    /// Whether waiting gives memory back. Where it would not, reading on must: what is full may be
    /// the queue of fetched records, or a range that is sealed only where a predecessor named its end.
    fn will_shrink(&self) -> bool {
        let is_well = |own: &&Ownership<_>| self.appends() || !own.writing.is_stuck();
        let mut well = self.owned.iter().filter(is_well);
        self.context.shared.memory.has_in_flight() || well.any(Ownership::will_shrink)
    }

    /// Caches shrink and batches drain; operator state does neither.
    fn check_state_fits(&self) -> Result<(), Halt> {
        if !self.context.shared.memory.is_full_of_state() || self.may_give_state_back() {
            return Ok(());
        }
        let advice = "sessions, windows, keys of duplicates, records that wait to be joined and profiles \
                      alone fill service.memory_max: raise it, or shorten pipeline.session.timeout, \
                      pipeline.dedup.within, pipeline.window or pipeline.join before and after, or put windows \
                      on disk (pipeline.state.backend = \"disk\"), or spread \
                      the partitions over more processes";
        Err(Halt::new("state_too_large", advice))
    }

    /// Waits a moment for an answer.
    fn rest(&mut self, now: Instant) {
        let wait = self.poll_wait(now).min(Duration::from_millis(20));
        match self.inbox.messages.1.recv_timeout(wait) {
            Ok(message) => {
                let _ = self.inbox.messages.0.send(message);
            }
            Err(_timeout) => {}
        }
        let is_limited = self
            .reporting
            .pausing
            .is_some_and(|(_, why)| why == PAUSED_BY_RATE);
        let stage = if is_limited {
            Stage::Idle
        } else {
            Stage::WaitSink
        };
        self.context.metrics.lane_time(stage, now.elapsed());
    }

    /// How long a poll may sleep.
    fn poll_wait(&self, now: Instant) -> Duration {
        let is_busy = !self.committer.is_idle()
            || self.group.assigning.is_under_way()
            || self.group.revoking.is_some()
            || self.is_emitting()
            || self.is_transacting()
            || self.owned.iter().any(|o| o.ranges_open() > 0);
        if is_busy {
            return BUSY_WAIT;
        }
        let sealable = self
            .owned
            .iter()
            .filter(|o| !o.reading.revoking && !o.writing.is_replaying());
        let due = sealable.filter_map(|own| own.writing.due_at());
        let due = due.chain(self.transaction_due()).min();
        let until_due = due.map(|at| at.saturating_duration_since(now));
        until_due.map_or(IDLE_WAIT, |until| {
            until.clamp(Duration::from_millis(1), IDLE_WAIT)
        })
    }

    /// Whether rows are appended, so that a range must be named before it is written to arrive once.
    fn appends(&self) -> bool {
        self.operator.appends().is_some()
    }

    /// The highest of the epochs that versions are of; `None` where rows have none.
    fn version_epoch(&self) -> Option<u16> {
        let versions = self.operator.versions();
        versions.map(|versions| versions.highest_epoch())
    }

    /// Tells the operator that a partition is not ours any more, or begins anew.
    fn end(&mut self, own: &mut Ownership<O::Partition>) {
        if let Some(operator) = self.operator.emission() {
            operator.ended(&mut own.state);
        }
    }

    /// Whether ranges are named before they are written, so that their rows arrive once.
    fn names_ranges(&self) -> bool {
        self.appends() && self.context.pipeline.delivery == Delivery::ExactlyOnce
    }

    fn consumer(&self) -> &Consumer {
        self.consumer
            .as_ref()
            .expect("the consumer is away only while a chunk is judged")
    }

    fn owned_index(&self, topic: &str, partition: i32) -> Option<usize> {
        let is_it = |o: &Ownership<O::Partition>| {
            o.partition.partition == partition && &*o.partition.topic == topic
        };
        self.owned.iter().position(is_it)
    }

    fn owned_by(&mut self, id: OwnershipId) -> Option<&mut Ownership<O::Partition>> {
        self.owned.iter_mut().find(|o| o.ledger.ownership() == id)
    }

    /// Forgets partitions that are not ours any more.
    fn disown(&mut self, goes: impl Fn(&TopicPartition) -> bool) {
        let mut index = 0;
        while index < self.owned.len() {
            if goes(&self.owned[index].partition) {
                let mut own = self.owned.swap_remove(index);
                self.end(&mut own);
                let partition = own.partition.clone();
                // Its tasks end first: they might say something more.
                drop(own);
                self.unsay(&partition);
            } else {
                index += 1;
            }
        }
    }

    /// Milliseconds since the lane was made.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.context.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
