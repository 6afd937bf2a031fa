//! How long a partition has had nothing to say.

use std::time::{Duration, Instant};

/// Since when a partition has had no records although it was read to its end.
#[derive(Debug, Default)]
pub(in super::super) struct Quiet {
    since: Option<Instant>,
    spoken_to: i64,
    is_at_end: bool,
}

impl Quiet {
    /// Records that say nothing of time interrupt a silence while they are waited for, and do not end it.
    pub(in super::super) fn note(
        &mut self,
        spoken_to: i64,
        is_at_end: bool,
        is_read: bool,
        now: Instant,
    ) {
        self.is_at_end = is_at_end && is_read;
        if !is_read {
            self.since = None;
        } else if spoken_to != self.spoken_to {
            self.since = is_at_end.then_some(now);
        } else if is_at_end {
            self.since = self.since.or(Some(now));
        }
        self.spoken_to = spoken_to;
    }

    pub(in super::super) fn lasts(&self, now: Instant) -> Option<Duration> {
        let since = self.since.filter(|_| self.is_at_end)?;
        Some(now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_quiet_from_when_it_was_read_to_its_end() {
        let mut quiet = Quiet::default();
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        quiet.note(10, false, true, begun);
        assert_eq!(quiet.lasts(at(9)), None);
        quiet.note(20, true, true, at(9));
        quiet.note(20, true, true, at(12));
        assert_eq!(quiet.lasts(at(12)), Some(Duration::from_secs(3)));
        quiet.note(21, true, true, at(13));
        assert_eq!(quiet.lasts(at(13)), Some(Duration::ZERO), "it has spoken");
        quiet.note(22, false, true, at(14));
        assert_eq!(quiet.lasts(at(20)), None, "there is more to read");
        quiet.note(22, true, true, at(21));
        quiet.note(22, true, false, at(23));
        assert_eq!(quiet.lasts(at(23)), None, "it is paused");
        quiet.note(22, true, true, at(24));
        assert_eq!(quiet.lasts(at(24)), Some(Duration::ZERO), "and was");
    }

    #[test]
    fn records_that_say_nothing_of_time_do_not_end_a_silence() {
        let mut quiet = Quiet::default();
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        quiet.note(7, true, true, begun);
        // A tombstone has arrived, and is read.
        quiet.note(7, false, true, at(4));
        assert_eq!(quiet.lasts(at(4)), None);
        quiet.note(7, true, true, at(5));
        assert_eq!(quiet.lasts(at(5)), Some(Duration::from_secs(5)));
    }
}
