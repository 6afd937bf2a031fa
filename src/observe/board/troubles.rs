//! Failures that last: the log has each once, then once a minute with the count, and when it is over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::lock;
use super::stuck::{SAY_AGAIN_AFTER_MS, Said};
use crate::observe::clock::Clock;

/// What only fails from time to time is over after this time without a failure.
const QUIET_MS: u64 = 30_000;

/// What else is tried again, beside questions to a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Kafka's client has reported an error; nothing reports its end.
    KafkaReports,
    /// A commit was not sent, not answered, or is not read back.
    Commits,
}

impl Trouble {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::KafkaReports => "kafka reports trouble",
            Self::Commits => "commits fail and are repeated",
        }
    }
}

#[derive(Debug)]
struct Lasting {
    since_ms: u64,
    failed_ms: u64,
    said_ms: u64,
    count: u64,
    lasts: bool,
    /// Whether the log has it; one that comes back within a minute waits.
    is_said: bool,
}

/// What fails, by what is said of it.
#[derive(Debug, Default)]
struct Troubles(BTreeMap<&'static str, Lasting>);

impl Troubles {
    /// It failed once more. What is to be said of it, when it is time.
    fn failed(&mut self, what: &'static str, now_ms: u64) -> Option<Said> {
        let Some(known) = self.0.get_mut(what) else {
            let trouble = Lasting {
                since_ms: now_ms,
                failed_ms: now_ms,
                said_ms: now_ms,
                count: 1,
                lasts: true,
                is_said: true,
            };
            self.0.insert(what, trouble);
            return Some(Said {
                count: 1,
                ..Said::default()
            });
        };
        if !known.lasts && known.is_said {
            // The last time was said to be over.
            (known.since_ms, known.count, known.is_said) = (now_ms, 0, false);
        }
        (known.lasts, known.failed_ms) = (true, now_ms);
        known.count += 1;
        let is_due = now_ms.saturating_sub(known.said_ms) >= SAY_AGAIN_AFTER_MS;
        is_due.then(|| {
            (known.said_ms, known.is_said) = (now_ms, true);
            known.said(now_ms)
        })
    }

    /// It works again: what there is to say, if the log has the failure.
    fn over(&mut self, what: &str, now_ms: u64) -> Option<Said> {
        let known = self.0.get_mut(what).filter(|known| known.lasts)?;
        known.lasts = false;
        known.is_said.then(|| known.said(now_ms))
    }

    /// The same of what has not failed for a while.
    fn over_if_quiet(&mut self, what: &str, now_ms: u64) -> Option<Said> {
        let known = self.0.get(what)?;
        let is_quiet = now_ms.saturating_sub(known.failed_ms) >= QUIET_MS;
        if is_quiet {
            self.over(what, now_ms)
        } else {
            None
        }
    }
}

impl Lasting {
    fn said(&self, now_ms: u64) -> Said {
        Said {
            seconds: now_ms.saturating_sub(self.since_ms) / 1_000,
            count: self.count,
            others: 0,
        }
    }
}

/// What is said of a system that does not answer.
pub(super) fn silence_of(target: &str) -> &'static str {
    match target {
        "clickhouse" => "clickhouse does not answer",
        "redis" => "redis does not answer",
        _ => "kafka does not answer",
    }
}

/// Speaks of the failures of one pipeline.
#[derive(Debug)]
pub(super) struct Voice {
    pipeline: String,
    clock: Arc<dyn Clock>,
    troubles: Mutex<Troubles>,
}

impl Voice {
    pub(super) fn new(pipeline: &str, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Voice {
            pipeline: pipeline.to_owned(),
            clock,
            troubles: Mutex::default(),
        })
    }

    pub(super) fn failed(&self, what: &'static str, error: &str) {
        let said = lock(&self.troubles).failed(what, self.clock.monotonic_ms());
        let Some(said) = said else { return };
        tracing::warn!(
            pipeline = self.pipeline,
            since_s = said.seconds,
            count = said.count,
            error,
            "{what}",
        );
    }

    pub(super) fn over(&self, what: &str) {
        let said = lock(&self.troubles).over(what, self.clock.monotonic_ms());
        self.say_over(what, said);
    }

    pub(super) fn over_if_quiet(&self, what: &str) {
        let said = lock(&self.troubles).over_if_quiet(what, self.clock.monotonic_ms());
        self.say_over(what, said);
    }

    fn say_over(&self, what: &str, said: Option<Said>) {
        let Some(said) = said else { return };
        tracing::info!(
            pipeline = self.pipeline,
            count = said.count,
            "{what}: recovered after {} s",
            said.seconds,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHAT: &str = "clickhouse does not answer";

    fn said(seconds: u64, count: u64) -> Option<Said> {
        Some(Said {
            seconds,
            count,
            others: 0,
        })
    }

    #[test]
    fn an_outage_is_said_once_then_once_a_minute_and_at_its_end() {
        let mut troubles = Troubles::default();
        assert_eq!(troubles.over(WHAT, 0), None);
        let spoken: Vec<_> = (0..150)
            .filter_map(|second| Some((second, troubles.failed(WHAT, second * 1_000)?)))
            .collect();
        let expected = [(0, said(0, 1)), (60, said(60, 61)), (120, said(120, 121))];
        let expected = expected.map(|(second, said)| (second, said.expect("said")));
        assert_eq!(spoken, expected);
        assert_eq!(troubles.over(WHAT, 150_000), said(150, 150));
        assert_eq!(troubles.over(WHAT, 151_000), None);
    }

    #[test]
    fn a_server_that_comes_and_goes_is_spoken_of_once_a_minute() {
        let mut troubles = Troubles::default();
        let mut lines = 0;
        for second in 0..600 {
            let now_ms = second * 1_000;
            let said = if second % 2 == 0 {
                troubles.failed(WHAT, now_ms)
            } else {
                troubles.over(WHAT, now_ms)
            };
            lines += usize::from(said.is_some());
        }
        // A beginning and an end a minute.
        assert!(lines <= 20, "{lines}");
        assert!(lines >= 10, "{lines}");
    }

    #[test]
    fn what_fails_from_time_to_time_is_over_after_half_a_minute_of_silence() {
        let mut troubles = Troubles::default();
        assert_eq!(troubles.over_if_quiet(WHAT, 0), None);
        troubles.failed(WHAT, 1_000);
        troubles.failed(WHAT, 11_000);
        assert_eq!(troubles.over_if_quiet(WHAT, 40_000), None);
        assert_eq!(troubles.over_if_quiet(WHAT, 41_000), said(40, 2));
        assert_eq!(troubles.over_if_quiet(WHAT, 42_000), None);
    }

    #[test]
    fn each_failure_is_spoken_of_by_itself() {
        let mut troubles = Troubles::default();
        assert!(troubles.failed("redis does not answer", 0).is_some());
        assert!(troubles.failed(WHAT, 0).is_some());
        assert_eq!(troubles.over("redis does not answer", 1_000), said(1, 1));
        assert_eq!(troubles.failed(WHAT, 2_000), None);
    }
}
