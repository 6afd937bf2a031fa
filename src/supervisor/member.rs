//! One pipeline of the process, and the thread that runs it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::order::Order;
use super::{Supervisor, no_thread};
use crate::config::{Kind, Pipeline};
use crate::halt::Halt;
use crate::lag::Watching;
use crate::lane::{Stop, panicked};
use crate::life::{Life, Standing};
use crate::limits::Limits;
use crate::observe::board::{Board, PipelineBoard, PipelineState};
use crate::observe::metrics::PipelineMetrics;
use crate::pipeline::{self, Began, Ended, Environment};

#[derive(Debug)]
pub(super) struct Member {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) life: Life,
    pub(super) board: Arc<PipelineBoard>,
    /// Of the lanes that run now; new with each start.
    pub(super) stop: Stop,
    /// How fast its lanes read: as configured, until somebody changes it.
    pub(super) limits: Arc<Limits>,
    /// Takes the place of `pipeline` with the next start.
    pub(super) next: Option<Arc<Pipeline>>,
    /// What created it; none: the configuration file.
    pub(super) order: Option<Order>,
    /// How long the next start waits for its dependencies; none: for ever.
    start_timeout: Option<Duration>,
    /// What its consumers prefetch together, while they are there.
    queue_bytes: u64,
    /// Asks where its partitions end, from its first start on.
    lag: Option<Watching>,
}

impl Member {
    /// One of the configuration file that has not been started.
    pub(super) fn of_file(pipeline: Arc<Pipeline>, board: &Board) -> Self {
        Member::new(pipeline, None, board)
    }

    /// One that this order created.
    pub(super) fn created(pipeline: Arc<Pipeline>, order: Order, board: &Board) -> Self {
        Member::new(pipeline, Some(order), board)
    }

    fn new(pipeline: Arc<Pipeline>, order: Option<Order>, board: &Board) -> Self {
        let member = Member {
            board: board.add_pipeline(&pipeline.name, pipeline.kind.name()),
            limits: Arc::new(Limits::new(pipeline.limits)),
            pipeline,
            life: Life::stopped(),
            stop: Stop::default(),
            next: None,
            order,
            start_timeout: None,
            queue_bytes: 0,
            lag: None,
        };
        member.board.set_created(member.order.is_some());
        member.board.set_limits(member.limits.clone());
        member.board.set_state(PipelineState::Stopped, None);
        member
    }

    /// Whether it starts together with the process.
    pub(super) fn starts(&self) -> bool {
        self.order.as_ref().is_none_or(|order| order.starts)
    }

    /// Whether snapshots of its state are written.
    pub(super) fn keeps_state(&self) -> bool {
        matches!(&self.pipeline.kind, Kind::Enrichment(config) if config.keeps_state())
    }

    /// Its first start ends the process when a dependency is not there in time. Later ones wait: they are
    /// an operator's, who sees it.
    pub(super) fn with_start_timeout(mut self, start_timeout: Option<Duration>) -> Self {
        self.start_timeout = start_timeout;
        self
    }

    pub(super) fn standing(&self) -> Standing {
        Standing {
            life: self.life,
            is_created: self.order.is_some(),
        }
    }

    pub(super) fn queue_bytes(&self) -> u64 {
        self.queue_bytes
    }

    /// Takes the newest configuration.
    pub(super) fn adopt(&mut self, board: &Board) {
        let Some(next) = self.next.take() else {
            return;
        };
        if next.kind.name() != self.pipeline.kind.name() {
            self.forget_series();
            self.board = board.add_pipeline(&next.name, next.kind.name());
            self.board.set_created(self.order.is_some());
            self.board.set_limits(self.limits.clone());
        }
        self.board.reconfigured();
        if next.limits != self.pipeline.limits {
            self.limits.set(next.limits, Instant::now());
        }
        self.pipeline = next;
    }

    /// Before its thread starts.
    pub(super) fn prepare(&mut self, board: &Board, queue_bytes_of_lane: u64) {
        self.adopt(board);
        self.forget_series();
        self.stop = Stop::default();
        self.queue_bytes = queue_bytes_of_lane * u64::from(self.pipeline.consumers);
    }

    /// What the page and the metrics still say of its last life.
    pub(super) fn forget_series(&self) {
        let left = self.board.begins_again();
        let metrics = PipelineMetrics::new(&self.pipeline.name);
        if let Some(reason) = left.halt_reason {
            metrics.not_halted(reason);
        }
        for partition in left.partitions {
            // Made anew it is silent until its lane speaks for it.
            metrics.partition(&partition.topic, partition.partition);
        }
        metrics.state_bytes.set(0.0);
        metrics.state_disk_bytes.set(0.0);
        metrics.windows_open.set(0.0);
    }

    /// Starts its thread, which tells the supervisor how it ends.
    ///
    /// # Errors
    /// There is no room for the thread, or for the pipeline's files.
    pub(super) fn spawn(
        &mut self,
        supervisor: &Arc<Supervisor>,
        queue_bytes: u64,
    ) -> Result<(), Halt> {
        let ground = &supervisor.ground;
        let name = self.pipeline.name.clone();
        let directory = ground.service.state_dir.join(&name);
        std::fs::create_dir_all(&directory).map_err(|error| {
            let directory = directory.display();
            Halt::new(
                "state_store",
                format!(
                    "service.state_dir: {directory} cannot be made: {error}: name a directory that \
                     this user may write"
                ),
            )
        })?;
        let began = {
            let (supervisor, name) = (supervisor.clone(), name.clone());
            Began::new(move || supervisor.began(&name))
        };
        let lag = crate::lag::watch(self.pipeline.clone(), &self.board);
        self.lag = Some(lag.map_err(|error| no_thread(&error))?);
        let environment = Environment {
            service: ground.service.clone(),
            pipeline: self.pipeline.clone(),
            board: self.board.clone(),
            memory: ground.memory.clone(),
            queue_bytes,
            runtime: ground.runtime.clone(),
            stop: self.stop.clone(),
            start_timeout: self.start_timeout.take(),
            began,
            until: ground.until,
            ends: None,
            records_max: ground.records_max,
            limits: self.limits.clone(),
            closes_windows: ground.closes_windows,
            leaves_out_cut_windows: false,
        };
        let supervisor = supervisor.clone();
        let thread =
            std::thread::Builder::new().name(format!("pipeline-{name}").chars().take(15).collect());
        let run = move || {
            let run = AssertUnwindSafe(|| pipeline::run(environment));
            let ended = catch_unwind(run).unwrap_or_else(|_| Ended::Halted(panicked()));
            supervisor.ended(&name, &ended);
        };
        thread.spawn(run).map_err(|error| no_thread(&error))?;
        Ok(())
    }

    /// Tells its lanes to end; what is not written by then is read again by the next start.
    pub(super) fn end_by(&self, deadline: Instant) {
        self.board.set_state(PipelineState::Draining, None);
        self.stop.drain(deadline);
    }

    /// Says how it ended.
    pub(super) fn note_end(&mut self, ended: &Ended) {
        self.queue_bytes = 0;
        let (name, board) = (&self.pipeline.name, &self.board);
        board.say_rest();
        match ended {
            Ended::Done => board.set_state(PipelineState::Stopped, None),
            Ended::Unreachable(why) => {
                tracing::error!(pipeline = name, "{why} (service.start_timeout)");
                board.error(why);
                board.set_state(PipelineState::Stopped, Some(why));
            }
            Ended::Halted(halt) => {
                tracing::error!(
                    pipeline = name,
                    reason = halt.reason,
                    address = halt
                        .address
                        .clone()
                        .unwrap_or_else(|| self.pipeline.address()),
                    "halted to protect data: {halt}"
                );
                board.error(&halt.advice);
                board.halted(halt);
                PipelineMetrics::new(name).halted(halt.reason);
            }
        }
    }
}
