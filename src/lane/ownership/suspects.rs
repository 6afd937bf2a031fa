//! Ranges that were refused for unknown reasons.

use std::time::Instant;

use crate::progress::Range;

/// Ranges that were refused whole with an unclassified error, and since when.
#[derive(Debug, Default)]
pub(in super::super) struct Suspects(Vec<(Range, Instant)>);

impl Suspects {
    /// Since when rows are refused of the range that this one was split off.
    pub(in super::super) fn since(&self, range: Range) -> Option<Instant> {
        let holds = |whole: &Range| whole.from <= range.from && range.to <= whole.to;
        let found = self.0.iter().find(|(whole, _)| holds(whole));
        found.map(|(_, since)| *since)
    }

    /// The range, or part of it, was refused. Forgets ranges before `position`.
    pub(in super::super) fn note(&mut self, range: Range, position: i64, now: Instant) -> Instant {
        self.0.retain(|(whole, _)| whole.to > position);
        self.since(range).unwrap_or_else(|| {
            self.0.push((range, now));
            now
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn halves_of_a_refused_range_are_suspect_since_the_whole_was() {
        let range = |from, to| Range { from, to };
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let mut suspects = Suspects::default();
        assert_eq!(suspects.since(range(0, 100)), None);
        assert_eq!(suspects.note(range(0, 100), 0, start), start);
        assert_eq!(suspects.note(range(100, 200), 0, later), later);
        assert_eq!(suspects.note(range(50, 100), 0, later), start);
        assert_eq!(suspects.since(range(50, 75)), Some(start));
        assert_eq!(suspects.since(range(150, 151)), Some(later));
        assert_eq!(suspects.since(range(99, 101)), None);
        assert_eq!(suspects.since(range(200, 300)), None);
        // What lies before the position is settled.
        suspects.note(range(300, 400), 100, later);
        assert_eq!(suspects.since(range(50, 75)), None);
        assert_eq!(suspects.since(range(100, 150)), Some(later));
    }
}
