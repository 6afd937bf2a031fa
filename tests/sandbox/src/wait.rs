//! Waiting for a thing instead of for a time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Asks every few milliseconds until `ask` answers, at most `timeout` long.
///
/// # Errors
/// Names `what` when the time is over.
pub fn until<T>(what: &str, timeout: Duration, mut ask: impl FnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + timeout;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            bail!("waited {timeout:?} in vain until {what}");
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
