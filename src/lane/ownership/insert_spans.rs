//! How long inserts of named ranges may be running.

use std::time::Duration;

/// So long after a commit that names a range an insert of it may be running: of ours by our configuration, of the
/// ranges that a predecessor named by what it said, where that is longer.
#[derive(Debug)]
pub(in super::super) struct InsertSpans {
    own: Duration,
    earlier: Duration,
    /// Ranges from here on were named by nobody else.
    earlier_below: i64,
}

impl InsertSpans {
    pub(super) fn new(own: Duration, earlier: Duration, named_ends: &[i64]) -> Self {
        InsertSpans {
            own,
            earlier,
            earlier_below: named_ends.last().copied().unwrap_or(i64::MIN),
        }
    }

    /// That of a range, or of several, that begin at `offset`. Others must hold to it as well until the last range
    /// of the predecessor is settled, whatever their own configuration says.
    pub(in super::super) fn from(&self, offset: i64) -> Duration {
        if offset < self.earlier_below {
            return self.own.max(self.earlier);
        }
        self.own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_predecessors_longer_span_holds_for_the_ranges_that_it_named() {
        let (short, long) = (Duration::from_secs(2), Duration::from_secs(60));
        let spans = InsertSpans::new(short, long, &[60, 80]);
        assert_eq!((spans.from(50), spans.from(79)), (long, long));
        assert_eq!((spans.from(80), spans.from(200)), (short, short));
        let spans = InsertSpans::new(long, short, &[60]);
        assert_eq!(spans.from(50), long);
        assert_eq!(InsertSpans::new(short, long, &[]).from(0), short);
    }
}
