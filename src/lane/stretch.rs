//! When to say that the flush interval is stretched, and when that it is not any more.

use std::time::{Duration, Instant};

/// How long batches must have been written at the interval that is set before that is said: load comes in
/// waves.
const QUIET: Duration = Duration::from_secs(60);

/// What was said last.
#[derive(Debug, Default)]
pub(crate) struct Stretch {
    is_said: bool,
    /// Since when it has not been stretched.
    relaxed_since: Option<Instant>,
}

impl Stretch {
    /// Takes note of how it is now; whether to say that it is stretched, or that it is not any more.
    pub(super) fn noted(&mut self, is_stretched: bool, now: Instant) -> Option<bool> {
        if is_stretched {
            self.relaxed_since = None;
            return (!std::mem::replace(&mut self.is_said, true)).then_some(true);
        }
        if !self.is_said {
            return None;
        }
        let since = *self.relaxed_since.get_or_insert(now);
        let is_over = now.duration_since(since) >= QUIET;
        if is_over {
            *self = Stretch::default();
        }
        is_over.then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_of_load_are_said_once_and_their_end_after_a_quiet_minute() {
        let begun = Instant::now();
        let mut stretch = Stretch::default();
        let mut said = vec![];
        // Stretched for a second in every ten, for two minutes; then never again.
        for second in 0..300u64 {
            let is_stretched = second < 120 && second % 10 == 0;
            let now = begun + Duration::from_secs(second);
            said.extend(stretch.noted(is_stretched, now).map(|what| (second, what)));
        }
        assert_eq!(said, [(0, true), (171, false)]);
        assert_eq!(stretch.noted(true, begun), Some(true), "and again");
    }
}
