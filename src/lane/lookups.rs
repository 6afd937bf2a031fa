//! The profiles of a chunk are looked up. If Redis does not answer, rows wait or take the defaults.

use std::time::Instant;

use tokio::task::AbortHandle;

use super::operator::Operator;
use super::tasks::spawn;
use super::{Lane, Message};
use crate::config::OnUnavailable;
use crate::lookup::{Breaker, Found, LookupError, ProfileReader};
use crate::observe::board::PipelineBoard;
use crate::observe::metrics::{LookupResult, PipelineMetrics, Stage};
use crate::sink::Backoff;

/// Under what name it is known what the server of profiles said last.
pub(super) const LOOKUPS: &str = "redis";

/// How a lane gets its profiles.
#[derive(Debug, Clone)]
pub(crate) struct LookupAccess {
    pub(crate) reader: ProfileReader,
    pub(crate) on_unavailable: OnUnavailable,
}

/// The answer to the request under way.
#[derive(Debug)]
pub(super) struct Answer {
    request: u64,
    found: Result<Vec<Found>, LookupError>,
}

#[derive(Debug)]
pub(super) struct Lookups {
    access: LookupAccess,
    breaker: Breaker,
    under_way: Option<Request>,
    requests: u64,
    answer: Option<Result<Vec<Found>, LookupError>>,
}

#[derive(Debug)]
struct Request {
    number: u64,
    keys: u64,
    asked_at: Instant,
    task: AbortHandle,
}

impl Drop for Request {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lookups {
    pub(super) fn new(access: LookupAccess) -> Self {
        let breaker = Breaker::new();
        Lookups {
            access,
            breaker,
            under_way: None,
            requests: 0,
            answer: None,
        }
    }

    /// Whether rows take the defaults if there is no answer.
    fn may_give_up(&self) -> bool {
        self.access.on_unavailable == OnUnavailable::UseDefaults
    }
}

impl<O: Operator> Lane<O> {
    /// True once the held records have everything they need.
    pub(super) fn resolve_lookups(&mut self, now: Instant) -> bool {
        let now_ms = self.now_ms();
        let is_awaited = |l: &Lookups| l.under_way.is_some() && l.answer.is_none();
        if self.lookups.as_ref().is_some_and(is_awaited) {
            self.wait_for_profiles();
        }
        let (Some(lookups), Some(operator)) = (&mut self.lookups, self.operator.lookups()) else {
            return true;
        };
        if lookups.under_way.is_some() {
            let Some(answer) = lookups.answer.take() else {
                return false;
            };
            let request = lookups.under_way.take().expect("just seen");
            self.context
                .metrics
                .lane_time(Stage::WaitLookup, request.asked_at.elapsed());
            self.context
                .metrics
                .lookup_seconds
                .record(request.asked_at.elapsed().as_secs_f64());
            self.apply(answer, request.keys, now_ms);
            return true;
        }
        let keys = operator.lookup_keys(now_ms);
        if keys.is_empty() {
            return true;
        }
        if lookups.may_give_up() && !lookups.breaker.allows(now_ms) {
            let metrics = &self.context.metrics;
            metrics.lookup(LookupResult::Unavailable, keys.len() as u64);
            operator.apply_defaults();
            return true;
        }
        self.ask_for(keys, now);
        self.wait_for_profiles();
        // Answered while we waited, in the usual case.
        self.lookups.as_ref().is_some_and(|l| l.answer.is_some()) && self.resolve_lookups(now)
    }

    fn ask_for(&mut self, keys: Vec<Vec<u8>>, now: Instant) {
        let Some(lookups) = &mut self.lookups else {
            return;
        };
        lookups.requests += 1;
        let number = lookups.requests;
        let key_count = keys.len() as u64;
        let may_give_up = lookups.may_give_up();
        let reader = lookups.access.reader.clone();
        let messages = self.inbox.messages.0.clone();
        let metrics = self.context.metrics.clone();
        let board = self.context.shared.board.clone();
        let task = spawn(&self.context.runtime, &self.inbox.messages.0, async move {
            let found = if may_give_up {
                reader.fetch(&keys).await
            } else {
                Ok(fetch_until_answered(&reader, &keys, &metrics, &board).await)
            };
            let _ = messages.send(Message::Profiles(Answer {
                request: number,
                found,
            }));
        });
        lookups.under_way = Some(Request {
            number,
            keys: key_count,
            asked_at: now,
            task,
        });
    }

    /// Gives the operator the answer, or tells it to use the defaults.
    fn apply(&mut self, answer: Result<Vec<Found>, LookupError>, keys: u64, now_ms: u64) {
        let (Some(lookups), Some(operator)) = (&mut self.lookups, self.operator.lookups()) else {
            return;
        };
        let error = match answer {
            Ok(found) => {
                lookups.breaker.succeeded();
                self.context.shared.board.target(LOOKUPS).answered();
                operator.apply_lookup(found, now_ms);
                return;
            }
            Err(error) => error,
        };
        let pause = lookups.breaker.failed(now_ms);
        operator.apply_defaults();
        self.context.metrics.lookup(LookupResult::Unavailable, keys);
        let board = &self.context.shared.board;
        board.error(&error.to_string());
        let pause_ms = pause.as_millis();
        let why = format!("{error}: rows take the defaults, asked again in {pause_ms} ms");
        board.target(LOOKUPS).failed(&why);
    }

    /// A round trip takes less than a turn: worth waiting for, but not for long. When it takes longer
    /// this is where the turns rest.
    fn wait_for_profiles(&mut self) {
        let deadline = Instant::now() + super::BUSY_WAIT;
        let mut others = vec![];
        while let Ok(message) = self
            .inbox
            .messages
            .1
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            match message {
                Message::Profiles(answer) => {
                    self.profiles_answered(answer);
                    break;
                }
                other => others.push(other),
            }
        }
        for message in others {
            let _ = self.inbox.messages.0.send(message);
        }
    }

    pub(super) fn profiles_answered(&mut self, answer: Answer) {
        let Some(lookups) = &mut self.lookups else {
            return;
        };
        // The answer to a request that was given up with its records means nothing.
        if lookups
            .under_way
            .as_ref()
            .is_some_and(|request| request.number == answer.request)
        {
            lookups.answer = Some(answer.found);
        }
    }

    /// Forgets the held records and whatever was asked for them.
    pub(super) fn drop_held(&mut self) {
        self.held.clear();
        if let Some(lookups) = &mut self.lookups {
            lookups.under_way = None;
            lookups.answer = None;
        }
        let now_ms = self.now_ms();
        if let Some(operator) = self.operator.lookups() {
            operator.apply_defaults();
        }
        self.operator.clear(now_ms);
    }
}

async fn fetch_until_answered(
    reader: &ProfileReader,
    keys: &[Vec<u8>],
    metrics: &PipelineMetrics,
    board: &PipelineBoard,
) -> Vec<Found> {
    let mut backoff = Backoff::new();
    loop {
        match reader.fetch(keys).await {
            Ok(found) => return found,
            Err(error) => {
                let wait = backoff.next_wait();
                metrics.retry("redis", "unavailable");
                board.table_failed(LOOKUPS, &error.to_string());
                let why = format!("{error}: waiting (pipeline.lookup.on_unavailable = \"wait\")");
                board.target(LOOKUPS).failed(&why);
                tokio::time::sleep(wait).await;
            }
        }
    }
}
