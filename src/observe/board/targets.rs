//! The systems that a pipeline depends on, as far as they have answered.

use std::sync::{Arc, Mutex};

use super::lock;
use super::status::{Moment, TargetStatus};
use super::troubles::{Voice, silence_of};
use crate::observe::clock::Clock;

/// What one system last said. Its newest word counts: a system that nobody asks stays as it was.
#[derive(Debug)]
pub struct TargetBoard {
    target: String,
    clock: Arc<dyn Clock>,
    said: Mutex<Said>,
    voice: Arc<Voice>,
}

#[derive(Debug, Default)]
struct Said {
    answered_at: Option<Moment>,
    failed: Option<(String, Moment)>,
    /// Whether the newest word is an answer.
    is_up: Option<bool>,
}

impl TargetBoard {
    pub(super) fn new(target: &str, clock: Arc<dyn Clock>, voice: Arc<Voice>) -> Self {
        TargetBoard {
            target: target.to_owned(),
            clock,
            said: Mutex::default(),
            voice,
        }
    }

    /// It has answered.
    pub fn answered(&self) {
        let mut said = lock(&self.said);
        said.answered_at = Some(Moment(self.clock.unix_ms()));
        said.is_up = Some(true);
        drop(said);
        self.voice.over(silence_of(&self.target));
    }

    /// It has not answered, or cannot serve.
    pub fn failed(&self, error: &str) {
        let error = super::pipeline::shortened(error);
        self.voice.failed(silence_of(&self.target), &error);
        let mut said = lock(&self.said);
        said.failed = Some((error, Moment(self.clock.unix_ms())));
        said.is_up = Some(false);
    }

    /// `clickhouse`, `kafka` or `redis`.
    pub fn name(&self) -> &str {
        &self.target
    }

    /// What it last said; `None` where it has said nothing yet.
    pub(super) fn status(&self) -> Option<TargetStatus> {
        let said = lock(&self.said);
        let (last_error, last_error_at) = said.failed.clone().unzip();
        Some(TargetStatus {
            target: self.target.clone(),
            up: said.is_up?,
            last_answer: said.answered_at,
            last_error,
            last_error_at,
        })
    }
}
