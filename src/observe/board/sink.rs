//! The part of the board that belongs to one sink.

use std::sync::{Arc, Mutex};

use super::health::SINK_SILENCE_MAX_MS;
use super::lock;
use super::pipeline::shortened;
use super::status::{Moment, SinkStatus, TargetStatus};
use super::troubles::{Voice, silence_of};
use crate::observe::clock::Clock;

/// What is shown of one sink.
#[derive(Debug)]
pub struct SinkBoard {
    sink: String,
    clock: Arc<dyn Clock>,
    /// By the monotonic and by the wall clock.
    answered: Mutex<Option<(u64, Moment)>>,
    failed: Mutex<Option<(u64, Moment, String)>>,
    voice: Arc<Voice>,
}

impl SinkBoard {
    pub(super) fn new(sink: &str, clock: Arc<dyn Clock>, voice: Arc<Voice>) -> Self {
        Self {
            sink: sink.to_owned(),
            clock,
            answered: Mutex::default(),
            failed: Mutex::default(),
            voice,
        }
    }

    /// The sink has acknowledged something: an insert, a produce, or the probe that is sent while
    /// there is nothing to write. An error is no answer.
    pub fn answered(&self) {
        let now = (self.clock.monotonic_ms(), Moment(self.clock.unix_ms()));
        *lock(&self.answered) = Some(now);
        self.voice.over(silence_of(system_of(&self.sink)));
    }

    /// The sink has not answered, or not as it should.
    pub(crate) fn failed(&self, why: &str) {
        let (at_ms, at) = (self.clock.monotonic_ms(), Moment(self.clock.unix_ms()));
        let why = shortened(why);
        self.voice.failed(silence_of(system_of(&self.sink)), &why);
        *lock(&self.failed) = Some((at_ms, at, why));
    }

    /// `is_asked`: whether it is probed while there is nothing to write, so that silence says something.
    pub(super) fn target(&self, now_ms: u64, is_asked: bool) -> TargetStatus {
        let answered = *lock(&self.answered);
        let failed = lock(&self.failed).clone();
        let failed_ms = failed.as_ref().map_or(0, |(at_ms, ..)| *at_ms);
        let is_up = |(at_ms, _): (u64, Moment)| {
            let is_silent = now_ms.saturating_sub(at_ms) > SINK_SILENCE_MAX_MS;
            !(is_asked && is_silent) && at_ms >= failed_ms
        };
        let (last_error_at, last_error) = failed.map(|(_, at, why)| (at, why)).unzip();
        TargetStatus {
            target: system_of(&self.sink).to_owned(),
            up: answered.is_some_and(is_up),
            last_answer: answered.map(|(_, at)| at),
            last_error,
            last_error_at,
        }
    }

    pub(super) fn status(&self, now_ms: u64) -> SinkStatus {
        SinkStatus {
            sink: self.sink.clone(),
            answered_ms_ago: self.answered_ms_ago(now_ms),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.sink
    }

    pub(super) fn answered_ms_ago(&self, now_ms: u64) -> Option<u64> {
        lock(&self.answered).map(|(answered_ms, _)| now_ms.saturating_sub(answered_ms))
    }
}

/// A sink is named by its table, its database or its topic.
fn system_of(sink: &str) -> &'static str {
    if sink.starts_with("topic:") {
        "kafka"
    } else {
        "clickhouse"
    }
}
