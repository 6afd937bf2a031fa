//! What a signal does: what is being filled is written and committed first; between the steps the command ends at
//! once, and goes on when it is repeated.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use crate::exit;
use crate::lane::Stop;

/// Supervisors of processes, and people at a terminal, sometimes send a signal twice.
const SAME_SIGNAL_WITHIN: Duration = Duration::from_secs(1);

/// Hears the signals of the process.
#[derive(Debug, Clone, Default)]
pub(super) struct Signals(Arc<Mutex<Option<Draining>>>);

/// What is drained by the first signal.
#[derive(Debug)]
struct Draining {
    stop: Stop,
    timeout: Duration,
    told: Option<Instant>,
}

/// Until it is dropped, a signal drains.
#[derive(Debug)]
pub(super) struct Filling<'s>(&'s Signals);

/// What becomes of a signal.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Drains,
    /// It came with the first one.
    Same,
    /// Nothing is filled, or it was told before.
    Ends,
}

impl Signals {
    /// From here on the process does not end by itself when a signal comes.
    pub(super) fn watch(runtime: &tokio::runtime::Runtime) -> Signals {
        let signals = Signals::default();
        let own = signals.clone();
        runtime.spawn(async move {
            let (Ok(mut terminate), Ok(mut interrupt)) = (
                signal(SignalKind::terminate()),
                signal(SignalKind::interrupt()),
            ) else {
                return;
            };
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                match own.hear(Instant::now()) {
                    Heard::Drains => tracing::info!("stopping: finishing what was read"),
                    Heard::Same => {}
                    Heard::Ends => {
                        tracing::warn!(
                            "stopped by a signal: repeat the command, and it goes on where it is"
                        );
                        std::process::exit(i32::from(exit::OTHER));
                    }
                }
            }
        });
        signals
    }

    /// A signal drains this, as long as the answer is kept.
    pub(super) fn drains(&self, stop: Stop, timeout: Duration) -> Filling<'_> {
        *self.lock() = Some(Draining {
            stop,
            timeout,
            told: None,
        });
        Filling(self)
    }

    fn hear(&self, now: Instant) -> Heard {
        let mut draining = self.lock();
        let Some(draining) = &mut *draining else {
            return Heard::Ends;
        };
        match draining.told {
            None => {
                draining.told = Some(now);
                draining.stop.drain(now + draining.timeout);
                Heard::Drains
            }
            Some(first) if now < first + SAME_SIGNAL_WITHIN => Heard::Same,
            Some(_) => Heard::Ends,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Draining>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Filling<'_> {
    /// Whether a signal came.
    pub(super) fn was_told(&self) -> bool {
        self.0.lock().as_ref().is_some_and(|own| own.told.is_some())
    }
}

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_drains_what_is_filled_and_ends_everything_else() {
        let signals = Signals::default();
        let now = Instant::now();
        assert_eq!(signals.hear(now), Heard::Ends);
        let stop = Stop::default();
        let filling = signals.drains(stop.clone(), Duration::from_secs(30));
        assert!(!filling.was_told() && !stop.is_draining());
        assert_eq!(signals.hear(now), Heard::Drains);
        assert!(filling.was_told() && stop.is_draining());
        let after = |ms| now + Duration::from_millis(ms);
        assert_eq!(signals.hear(after(999)), Heard::Same);
        assert_eq!(signals.hear(after(1_000)), Heard::Ends);
        drop(filling);
        assert_eq!(signals.hear(after(2_000)), Heard::Ends);
    }
}
