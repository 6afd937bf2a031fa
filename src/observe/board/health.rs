//! Alive and ready, judged from the board.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::status::PipelineState;
use super::stuck::Undone;
use super::{Board, PipelineBoard};

/// A sink that has been silent for longer is not ready.
pub(super) const SINK_SILENCE_MAX_MS: u64 = 30_000;

/// The answer to `/livez` or `/readyz`: no complaint, or what is wrong, one complaint each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Sentences that name the pipeline and what it waits for.
    pub complaints: Vec<String>,
}

impl Verdict {
    /// Whether there is nothing to complain about.
    pub fn is_good(&self) -> bool {
        self.complaints.is_empty()
    }
}

impl Board {
    /// Whether every lane's loop has turned within its `max.poll.interval`. Lanes of stopped and
    /// halted pipelines do not count.
    pub fn alive(&self) -> Verdict {
        let now_ms = self.clock.monotonic_ms();
        let mut complaints = Vec::new();
        for pipeline in self.pipelines() {
            if !pipeline.state().is_active() {
                continue;
            }
            for lane in pipeline.lanes().iter().filter(|lane| lane.is_stuck(now_ms)) {
                complaints.push(format!(
                    "{} lane {} has not turned for {} s",
                    pipeline.name(),
                    lane.lane(),
                    lane.turned_ms_ago(now_ms) / 1_000,
                ));
            }
        }
        Verdict { complaints }
    }

    /// Whether every running pipeline has joined its group and its sinks answered within 30 s.
    /// A pipeline that starts or has halted is not ready; one that drains or was stopped on an
    /// operator's wish does not count.
    pub fn ready(&self) -> Verdict {
        let now_ms = self.clock.monotonic_ms();
        let mut complaints = Vec::new();
        if self.shutting_down.load(Ordering::Relaxed) {
            complaints.push("shutting down".to_owned());
        }
        for pipeline in self.pipelines() {
            let name = pipeline.name();
            complaints.extend(
                pipeline
                    .unready(now_ms)
                    .into_iter()
                    .map(|why| format!("{name} {why}")),
            );
        }
        Verdict { complaints }
    }
}

impl PipelineBoard {
    fn unready(&self, now_ms: u64) -> Vec<String> {
        let state = self.state();
        match state {
            PipelineState::Draining | PipelineState::Stopped => Vec::new(),
            PipelineState::Starting | PipelineState::Halted => vec![match self.reason() {
                Some(reason) => format!("is {state}: {reason}"),
                None => format!("is {state}"),
            }],
            PipelineState::Running | PipelineState::Paused => {
                let sinks = self.silent_sinks(now_ms);
                let unready = self.unjoined().chain(self.missing());
                unready.chain(self.unbegun()).chain(sinks).collect()
            }
        }
    }

    fn unjoined(&self) -> impl Iterator<Item = String> {
        let lanes = self.lanes();
        let none = lanes.is_empty().then(|| "has no lane yet".to_owned());
        let waiting = lanes
            .into_iter()
            .filter(|lane| !lane.has_joined())
            .map(|lane| format!("lane {} has not joined its consumer group", lane.lane()));
        none.into_iter().chain(waiting)
    }

    fn missing(&self) -> impl Iterator<Item = String> {
        let lanes = self.lanes();
        let topics: BTreeSet<_> = lanes
            .iter()
            .flat_map(|lane| lane.missing_topics())
            .collect();
        let complain = |topic| format!("waits for topic {topic}, which does not exist");
        topics.into_iter().map(complain)
    }

    fn unbegun(&self) -> impl Iterator<Item = String> {
        let stuck = self.all_stuck().into_iter();
        let unbegun = stuck.filter(|stuck| stuck.what == Undone::NotBegun);
        unbegun.map(|stuck| {
            format!(
                "has not begun {}:{} since {} ({} s): {}",
                stuck.topic,
                stuck.partition.unwrap_or_default(),
                stuck.since,
                stuck.seconds,
                stuck.why
            )
        })
    }

    fn silent_sinks(&self, now_ms: u64) -> impl Iterator<Item = String> {
        self.sinks()
            .into_iter()
            .filter_map(move |sink| match sink.answered_ms_ago(now_ms) {
                None => Some(format!("sink {} has not answered yet", sink.name())),
                Some(ago_ms) if ago_ms > SINK_SILENCE_MAX_MS => Some(format!(
                    "sink {} has not answered for {} s",
                    sink.name(),
                    ago_ms / 1_000
                )),
                Some(_) => None,
            })
    }
}
