//! What the session columns of an undisturbed run are: contract §6.1, written as plainly as it can
//! be, without a look at the daemon's own.

use super::Job;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// The session columns of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionColumns {
    pub event_count: u64,
    pub pages_viewed: u64,
    pub duration_seconds: u64,
}

/// When sessions end, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct SessionRules {
    timeout_ms: i64,
    duration_max_ms: i64,
    watermark_delay_ms: i64,
}

/// The sessions of one partition; its events are shown in the order of their offsets.
pub struct Sessions {
    rules: SessionRules,
    largest_ms: Option<i64>,
    known: HashMap<String, Session>,
}

struct Session {
    first_ms: i64,
    last_ms: i64,
    events: u64,
    pages: BTreeSet<String>,
}

impl SessionRules {
    /// Those of the job's configuration.
    pub fn of(job: &Job) -> SessionRules {
        SessionRules {
            timeout_ms: job.milliseconds("pipeline.session.timeout"),
            duration_max_ms: job.milliseconds("pipeline.session.duration_max"),
            watermark_delay_ms: job.milliseconds("pipeline.watermark_delay"),
        }
    }
}

impl Sessions {
    pub fn new(rules: SessionRules) -> Sessions {
        Sessions {
            rules,
            largest_ms: None,
            known: HashMap::new(),
        }
    }

    /// The next event of the partition that is no dead letter; `page` where it views one.
    pub fn judge(&mut self, id: &str, time_ms: i64, page: Option<&str>) -> SessionColumns {
        let rules = self.rules;
        let watermark_ms = self.largest_ms.map(|t| t - rules.watermark_delay_ms);
        self.largest_ms = self.largest_ms.max(Some(time_ms));
        let is_gone = |s: &Session| watermark_ms.is_some_and(|w| s.last_ms + rules.timeout_ms < w);
        if self.known.get(id).is_some_and(is_gone) {
            self.known.remove(id);
        }
        if let Some(session) = self.known.get(id) {
            let length_ms = session.last_ms.max(time_ms) - session.first_ms.min(time_ms);
            let is_too_long = length_ms > rules.duration_max_ms;
            let is_before = time_ms < session.first_ms
                && (is_too_long || time_ms < session.first_ms - rules.timeout_ms);
            if is_before {
                return SessionColumns {
                    event_count: 1,
                    pages_viewed: u64::from(page.is_some()),
                    duration_seconds: 0,
                };
            }
            if is_too_long || time_ms > session.last_ms + rules.timeout_ms {
                self.known.remove(id);
            }
        }
        let session = self.known.entry(id.to_owned()).or_insert(Session {
            first_ms: time_ms,
            last_ms: time_ms,
            events: 0,
            pages: BTreeSet::new(),
        });
        session.first_ms = session.first_ms.min(time_ms);
        session.last_ms = session.last_ms.max(time_ms);
        session.events += 1;
        session.pages.extend(page.map(str::to_owned));
        let length = Duration::from_millis((session.last_ms - session.first_ms).unsigned_abs());
        SessionColumns {
            event_count: session.events,
            pages_viewed: session.pages.len() as u64,
            duration_seconds: length.as_secs(),
        }
    }
}
