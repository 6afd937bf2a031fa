//! Owns the pipelines of the process: starts them, moves them on an operator's wish, and notices how
//! they end.
//!
//! Which move is possible is decided by [`crate::life`]; here it is carried out. A pipeline's thread
//! reports its own end, so nobody waits for one while a lock is held.

mod created;
mod halted;
mod kept;
mod member;
mod order;
mod outcome;
mod short_form;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

pub(crate) use self::halted::read as halted;
use self::kept::Keep;
use self::member::Member;
pub(crate) use self::order::{Fault, Ignored, Order};
pub(crate) use self::outcome::{Declined, Moved};
use crate::config::{Base, Pipeline, ReadLimits, Service};
use crate::exit;
use crate::halt::Halt;
use crate::life::{self, End, Move, Refused, State, Step};
use crate::memory::MemoryBudget;
use crate::observe::board::{Board, PipelineState};
use crate::pipeline::{Ended, Until};

/// Leaving the group takes a moment of its own.
const DRAIN_SHARE: f64 = 0.8;
/// How long the others may take once a pipeline has not reached its dependencies in time.
const UNREACHABLE_DRAIN: Duration = Duration::from_secs(30);

/// What all pipelines of the process share.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) service: Arc<Service>,
    pub(crate) board: Arc<Board>,
    pub(crate) memory: Arc<MemoryBudget>,
    pub(crate) runtime: Handle,
    pub(crate) until: Option<Until>,
    /// How many records each pipeline reads at all.
    pub(crate) records_max: Option<u64>,
    pub(crate) closes_windows: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Supervisor {
    ground: Ground,
    /// What created pipelines take from the configuration file.
    base: Mutex<Base>,
    /// Where created pipelines are kept.
    keep: Keep,
    /// Held while one is created, replaced or removed: files and pipelines change together.
    orders: Mutex<()>,
    fleet: Mutex<Fleet>,
    /// A pipeline has ended, or the process is to end.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Fleet {
    /// In the order in which they were added.
    members: Vec<Member>,
    /// Created pipelines whose files cannot be used, and why.
    unusable: Vec<(String, String)>,
    /// Every name that the configuration file has, whether it runs here or not.
    of_file: Vec<String>,
    /// Somebody can start, create and end pipelines: there is a token.
    takes_orders: bool,
    is_ending: bool,
    is_unreachable: bool,
}

impl Supervisor {
    pub(crate) fn new(ground: Ground, base: Base) -> Arc<Self> {
        let fleet = Fleet {
            takes_orders: ground.service.admin_token.is_some(),
            ..Fleet::default()
        };
        Arc::new(Supervisor {
            keep: Keep::new(&ground.service),
            ground,
            base: Mutex::new(base),
            orders: Mutex::default(),
            fleet: Mutex::new(fleet),
            changed: Condvar::new(),
        })
    }

    /// Takes pipelines of the configuration file in, and the created ones that are kept, and starts them.
    ///
    /// `of_file` are all names of the file, `named` those that were asked for; none: all.
    ///
    /// # Errors
    /// The kept ones cannot be listed.
    pub(crate) fn start_all(
        self: &Arc<Self>,
        pipelines: Vec<Pipeline>,
        of_file: &[String],
        named: &[String],
    ) -> std::io::Result<()> {
        let mut fleet = self.lock();
        if fleet.is_ending {
            return Ok(());
        }
        fleet.of_file = of_file.to_vec();
        let board = &self.ground.board;
        for pipeline in pipelines {
            let member = Member::of_file(Arc::new(pipeline), board);
            let start_timeout = self.ground.service.start_timeout;
            fleet.members.push(member.with_start_timeout(start_timeout));
        }
        self.take_kept(&mut fleet, of_file, named)?;
        // All are counted before the memory is divided among them.
        let mut beginning = vec![];
        for (index, member) in fleet.members.iter_mut().enumerate() {
            if member.starts() && member.life.request(Move::Start) == Ok(Step::Begin) {
                beginning.push(index);
            }
        }
        for index in beginning {
            self.begin(&mut fleet, index);
        }
        Ok(())
    }

    /// Moves a pipeline, or says why not. Returns at once: the state tells when the move has ended.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub(crate) fn request(self: &Arc<Self>, name: &str, wanted: Move) -> Result<Moved, Declined> {
        let mut fleet = self.lock();
        let index = fleet.may_move(name)?;
        self.move_member(&mut fleet, index, wanted)
    }

    fn move_member(
        self: &Arc<Self>,
        fleet: &mut Fleet,
        index: usize,
        wanted: Move,
    ) -> Result<Moved, Declined> {
        let name = fleet.members[index].pipeline.name.clone();
        let step = fleet.members[index].life.request(wanted);
        let step = step.map_err(|refused| Declined::Refused {
            name: name.clone(),
            refused,
        })?;
        let has_changed = step != Step::Nothing;
        if has_changed {
            tracing::info!(pipeline = name, "{} on an operator's wish", wanted.as_str());
        }
        self.take(fleet, index, step);
        // What rests is moved at once.
        let state = match (step, fleet.index_of(&name)) {
            (Step::Nothing | Step::Begin | Step::Adopt, Ok(index)) => {
                fleet.members[index].life.state()
            }
            (Step::Forget, _) => State::Stopped,
            _ => wanted.leads_to(),
        };
        Ok(Moved { state, has_changed })
    }

    /// Has the lanes of a pipeline write a snapshot of each partition now.
    pub(crate) fn checkpoint(&self, name: &str) -> Result<Moved, Declined> {
        let fleet = self.lock();
        let index = fleet.may_move(name)?;
        let member = &fleet.members[index];
        if !member.keeps_state() {
            return Err(Declined::NoState(name.to_owned()));
        }
        let state = member.life.state();
        if !matches!(state, State::Running | State::Paused) {
            let advice = "only a pipeline that runs writes snapshots";
            let refused = Refused::NotFrom { state, advice };
            let name = name.to_owned();
            return Err(Declined::Refused { name, refused });
        }
        member.stop.ask_for_checkpoint();
        Ok(Moved {
            state,
            has_changed: true,
        })
    }

    /// The pipelines that there are, in the order in which they were added.
    pub(crate) fn pipelines(&self) -> Vec<Arc<Pipeline>> {
        let fleet = self.lock();
        fleet.members.iter().map(|m| m.pipeline.clone()).collect()
    }

    /// Changes how fast a pipeline reads, from now on, whether it runs or not. Holds until the process ends.
    pub(crate) fn limit(
        &self,
        name: &str,
        change: impl FnOnce(ReadLimits) -> Result<ReadLimits, Vec<Fault>>,
    ) -> Result<ReadLimits, Declined> {
        let fleet = self.lock();
        let member = &fleet.members[fleet.may_move(name)?];
        let limits = change(member.limits.get()).map_err(Declined::Invalid)?;
        member.limits.set(limits, Instant::now());
        tracing::info!(
            pipeline = name,
            records_per_second_max = limits.records_per_second_max,
            bytes_per_second_max = limits.bytes_per_second_max,
            "reading is limited anew on an operator's wish"
        );
        Ok(limits)
    }

    /// Does what a move needs.
    fn take(self: &Arc<Self>, fleet: &mut Fleet, index: usize, step: Step) {
        let member = &mut fleet.members[index];
        match step {
            Step::Nothing => {}
            Step::Begin => self.begin(fleet, index),
            Step::Pause => {
                member.stop.set_paused(true);
                let board = &member.board;
                board.set_state(PipelineState::Paused, Some("by an operator"));
            }
            Step::Resume => {
                member.stop.set_paused(false);
                member.board.set_state(PipelineState::Running, None);
            }
            Step::End { at_once } => {
                let timeout = self.ground.service.shutdown_timeout.mul_f64(DRAIN_SHARE);
                let timeout = if at_once { Duration::ZERO } else { timeout };
                member.end_by(Instant::now() + timeout);
            }
            Step::Adopt => {
                member.adopt(&self.ground.board);
                member.forget_series();
                member.board.set_state(PipelineState::Stopped, None);
            }
            Step::Forget => {
                let member = fleet.members.remove(index);
                self.ground.board.remove_pipeline(&member.pipeline.name);
                member.forget_series();
            }
        }
    }

    /// Starts a pipeline's thread. Its share of the memory, and those of the others, follow.
    fn begin(self: &Arc<Self>, fleet: &mut Fleet, index: usize) {
        // Its lanes are counted as the newest configuration has them.
        fleet.members[index].adopt(&self.ground.board);
        let memory = &self.ground.memory;
        let queue_bytes = memory.queue_bytes_of_lane(fleet.lanes());
        fleet.members[index].prepare(&self.ground.board, queue_bytes);
        self.share_memory(fleet);
        let member = &mut fleet.members[index];
        let (state_dir, name) = (&self.ground.service.state_dir, &member.pipeline.name);
        halted::forget(state_dir, name);
        if let Err(halt) = member.spawn(self, queue_bytes) {
            halted::note(&self.ground.service.state_dir, &member.pipeline.name, &halt);
            member.life.ended(End::Halted);
            member.note_end(&Ended::Halted(halt));
            self.changed.notify_all();
        }
    }

    /// Its lanes are about to turn.
    fn began(&self, name: &str) {
        let mut fleet = self.lock();
        let Ok(index) = fleet.index_of(name) else {
            return;
        };
        let member = &mut fleet.members[index];
        if member.life.began() {
            member.board.set_state(PipelineState::Running, None);
        }
    }

    /// A pipeline's thread has nothing left to do.
    fn ended(self: &Arc<Self>, name: &str, ended: &Ended) {
        let mut fleet = self.lock();
        let Ok(index) = fleet.index_of(name) else {
            return;
        };
        let member = &mut fleet.members[index];
        let end = match ended {
            Ended::Halted(_) => End::Halted,
            Ended::Done | Ended::Unreachable(_) => End::Done,
        };
        let step = member.life.ended(end);
        if let Ended::Halted(halt) = ended {
            halted::note(&self.ground.service.state_dir, name, halt);
        }
        member.note_end(ended);
        self.share_memory(&mut fleet);
        self.take(&mut fleet, index, step);
        if matches!(ended, Ended::Unreachable(_)) {
            fleet.is_unreachable = true;
            self.end_all(&mut fleet, Instant::now() + UNREACHABLE_DRAIN);
        }
        self.changed.notify_all();
    }

    fn share_memory(&self, fleet: &mut Fleet) {
        let queue_bytes = fleet.members.iter().map(Member::queue_bytes).sum();
        self.ground.memory.share(fleet.lanes(), queue_bytes);
    }

    /// Ends every pipeline: what was read is finished within the time for a shutdown.
    pub(crate) fn shut_down(&self) {
        let timeout = self.ground.service.shutdown_timeout.mul_f64(DRAIN_SHARE);
        let mut fleet = self.lock();
        self.end_all(&mut fleet, Instant::now() + timeout);
        self.changed.notify_all();
    }

    fn end_all(&self, fleet: &mut Fleet, deadline: Instant) {
        fleet.is_ending = true;
        for member in &mut fleet.members {
            if member.life.shut_down() {
                member.end_by(deadline);
            }
        }
    }

    /// Returns once nothing is left to do.
    pub(crate) fn wait(&self) {
        let has_targets = self.ground.until.is_some() || self.ground.records_max.is_some();
        let mut fleet = self.lock();
        loop {
            let standing = fleet.members.iter().map(Member::standing);
            let takes_orders = fleet.takes_orders && !fleet.is_ending;
            if life::is_over(standing, has_targets, takes_orders) {
                fleet.is_ending = true;
                return;
            }
            let woken = self.changed.wait(fleet);
            fleet = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// From here on somebody can start pipelines over HTTP, or nobody can any more.
    pub(crate) fn set_takes_orders(&self, takes_orders: bool) {
        self.lock().takes_orders = takes_orders;
        self.changed.notify_all();
    }

    /// Takes the secrets of a configuration that was read again; each pipeline uses them from its next
    /// start on. How many pipelines that are.
    pub(crate) fn renew_secrets(&self, pipelines: Vec<Pipeline>, base: &Base) -> usize {
        let mut own = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        own.renew_secrets(base);
        drop(own);
        let mut fleet = self.lock();
        fleet.of_file = pipelines.iter().map(|p| p.name.clone()).collect();
        let mut renewed = 0;
        for pipeline in pipelines {
            let mut members = fleet.members.iter_mut().filter(|m| m.order.is_none());
            // Only secrets may differ: they are no part of the effective configuration.
            let member = members.find(|m| {
                m.pipeline.name == pipeline.name && m.pipeline.effective == pipeline.effective
            });
            if let Some(member) = member {
                member.next = Some(Arc::new(pipeline));
                renewed += 1;
            }
        }
        renewed + self.renew_created(&mut fleet)
    }

    /// The exit code of a process that ends like this.
    pub(crate) fn exit_code(&self) -> u8 {
        let fleet = self.lock();
        let has_halted = |member: &Member| member.life.state() == State::Halted;
        if fleet.is_unreachable {
            exit::UNREACHABLE
        } else if fleet.members.iter().any(has_halted) {
            exit::HALTED
        } else {
            exit::DONE
        }
    }

    /// What a panic leaves behind is good enough to end the rest in order.
    fn lock(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fleet {
    fn index_of(&self, name: &str) -> Result<usize, Declined> {
        let mut members = self.members.iter();
        let index = members.position(|member| member.pipeline.name == name);
        index.ok_or_else(|| Declined::Unknown(name.to_owned()))
    }

    /// Where the pipeline is, if it may be moved.
    fn may_move(&self, name: &str) -> Result<usize, Declined> {
        if self.is_ending {
            return Err(Declined::ShuttingDown);
        }
        if let Some((name, why)) = self.unusable.iter().find(|(other, _)| other == name) {
            let (name, why) = (name.clone(), why.clone());
            return Err(Declined::Unusable { name, why });
        }
        self.index_of(name)
    }

    /// Lanes of the pipelines that are at work.
    fn lanes(&self) -> u64 {
        let active = self.members.iter().filter(|m| m.life.state().is_active());
        active.map(|m| u64::from(m.pipeline.consumers)).sum()
    }
}

/// Whether a created pipeline of this name is kept.
pub(crate) fn is_created(service: &Service, name: &str) -> bool {
    Keep::new(service).path(name).exists()
}

/// The names of the created pipelines that are kept, as far as they can be listed.
pub(crate) fn created_names(service: &Service) -> Vec<String> {
    let kept = Keep::new(service).load().unwrap_or_default();
    kept.into_iter().map(|kept| kept.name).collect()
}

/// What the files of created pipelines say, by name: their tables, or why one cannot be read. Instances that share
/// the state directory are all meant.
pub(crate) fn created_tables(
    service: &Service,
) -> std::io::Result<Vec<(String, Result<serde_json::Value, String>)>> {
    let kept = Keep::load_all(service)?.into_iter();
    let told = kept.map(|kept| (kept.name, kept.order.map(|order| order.pipeline)));
    Ok(told.collect())
}

/// The machine has no room for a thread.
fn no_thread(error: &std::io::Error) -> Halt {
    Halt::new("threads", format!("no thread for the pipeline: {error}"))
}
