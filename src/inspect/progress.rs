//! How far a long command is: records, rate and time left, on a terminal only.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(500);

/// One line on stderr that is written over; nothing where stdout is no terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    is_shown: bool,
    what: &'static str,
    total: u64,
    done: u64,
    begun: Instant,
    said: Instant,
}

impl Progress {
    /// `total` of 0: not known.
    pub(crate) fn new(what: &'static str, total: u64) -> Self {
        let now = Instant::now();
        Progress {
            is_shown: std::io::stdout().is_terminal() && std::io::stderr().is_terminal(),
            what,
            total,
            done: 0,
            begun: now,
            said: now,
        }
    }

    pub(crate) fn add(&mut self, count: u64) {
        self.done += count;
        if self.is_shown && self.said.elapsed() >= EVERY {
            self.said = Instant::now();
            let line = line(self.what, self.done, self.total, self.begun.elapsed());
            eprint!("\r\x1b[K{line}");
            let _ = std::io::stderr().flush();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            eprint!("\r\x1b[K");
        }
    }
}

fn line(what: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let rate = done as f64 / seconds;
    if total == 0 || rate < 0.1 {
        return format!("{done} {what}, {rate:.0}/s");
    }
    let left = total.saturating_sub(done) as f64 / rate;
    format!("{done} of {total} {what}, {rate:.0}/s, {left:.0} s left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_records_rate_and_time_left() {
        let two = Duration::from_secs(2);
        assert_eq!(
            line("records", 100, 300, two),
            "100 of 300 records, 50/s, 4 s left"
        );
        assert_eq!(line("records", 100, 0, two), "100 records, 50/s");
    }
}
