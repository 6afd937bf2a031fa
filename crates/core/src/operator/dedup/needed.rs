//! Which records have to be read again so that duplicates among later ones are known.
//!
//! Where nothing is stored, the next owner of a partition reads from a commit that lies before them. Whether a record
//! is a duplicate depends on records of nearly its own time alone, so older ones are not needed.

use std::collections::VecDeque;

/// Records that are known together: the fewer they are, the more exact is the answer, and the longer the list.
const RECORDS_TOGETHER: u32 = 1_024;

/// Nor are records known together that are further apart than this part of the time in which duplicates lie: where few
/// records come, a thousand of them are weeks.
const SPANS_WITHIN: i64 = 16;

/// The event times of a partition's records, in runs of offsets.
#[derive(Debug)]
pub struct NeededRecords {
    runs: VecDeque<Run>,
    span_ms: i64,
    records_together: u32,
    /// Offset behind the newest record.
    next: i64,
}

#[derive(Debug)]
struct Run {
    from: i64,
    first_ms: i64,
    /// The largest event time of the records before it.
    largest_before_ms: Option<i64>,
    /// The largest of its own.
    newest_ms: i64,
    records: u32,
}

impl NeededRecords {
    /// Of records whose duplicates lie within this time.
    #[must_use]
    pub fn new(within_ms: i64) -> Self {
        NeededRecords {
            runs: VecDeque::new(),
            span_ms: within_ms / SPANS_WITHIN,
            records_together: RECORDS_TOGETHER,
            next: 0,
        }
    }

    /// As many are known together at most.
    #[must_use]
    pub fn by(self, records_together: u32) -> Self {
        NeededRecords {
            records_together,
            ..self
        }
    }

    /// A record was read. `largest_before_ms`: the largest event time of those before it.
    pub fn note(&mut self, offset: i64, time_ms: i64, largest_before_ms: Option<i64>) {
        self.next = offset.saturating_add(1);
        let (records, span_ms) = (self.records_together, self.span_ms);
        let is_near = |run: &Run| time_ms.saturating_sub(run.first_ms) <= span_ms;
        match self.runs.back_mut() {
            Some(run) if run.records < records && is_near(run) => {
                run.newest_ms = run.newest_ms.max(time_ms);
                run.records += 1;
            }
            _ => self.runs.push_back(Run {
                from: offset,
                first_ms: time_ms,
                largest_before_ms,
                newest_ms: time_ms,
                records: 1,
            }),
        }
    }

    /// An offset at or before the first record that is younger than this, and the largest event time of the records
    /// before that offset; `None` where there is no such record.
    #[must_use]
    pub fn first_after(&self, time_ms: i64) -> Option<(i64, Option<i64>)> {
        let run = self.runs.iter().find(|run| run.newest_ms > time_ms)?;
        Some((run.from, run.largest_before_ms))
    }

    /// Records of this time and older are not asked for any more.
    pub fn forget(&mut self, time_ms: i64) {
        while self
            .runs
            .front()
            .is_some_and(|run| run.newest_ms <= time_ms)
        {
            self.runs.pop_front();
        }
    }

    /// The next owner reads from `position`, and nobody asks for what lies before it: false where some record behind it
    /// was read already.
    pub fn end(&mut self, position: i64) -> bool {
        let is_behind_all = position >= self.next;
        if is_behind_all {
            self.runs.clear();
        }
        is_behind_all
    }

    /// What it takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.runs.capacity() * size_of::<Run>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_again_begins_at_or_before_the_first_record_that_is_needed() {
        let mut needed = NeededRecords::new(1_000_000);
        assert_eq!(needed.first_after(0), None);
        let mut largest = None;
        for offset in 0..5_000 {
            // A hundred of them are late.
            let time_ms = if offset % 50 == 7 {
                offset - 300
            } else {
                offset
            };
            needed.note(offset, time_ms, largest);
            largest = largest.max(Some(time_ms));
        }
        assert_eq!(needed.first_after(i64::MIN), Some((0, None)));
        for time_ms in (0..4_999).step_by(17) {
            let (from, largest_ms) = needed.first_after(time_ms).unwrap();
            // The late one of offset 4,957 is younger than 4,000 too, and is no earlier than this.
            let first = time_ms + 1;
            assert!(
                from <= first && from > first - 2 * 1_024,
                "{time_ms}: {from}"
            );
            assert_eq!(largest_ms, (from > 0).then(|| from - 1), "{time_ms}");
        }
        assert_eq!(needed.first_after(4_999), None);
        let before = needed.first_after(3_000);
        needed.forget(3_000);
        assert_eq!(needed.first_after(3_000), before);
        assert_eq!(needed.first_after(i64::MIN), before, "gone");
        needed.forget(4_999);
        assert_eq!(needed.runs.len(), 0);
        needed.note(5_000, 6_000, Some(4_999));
        assert_eq!(needed.first_after(5_999), Some((5_000, Some(4_999))));
    }

    #[test]
    fn few_records_are_known_together_where_few_come() {
        let mut needed = NeededRecords::new(1_600);
        for offset in 0..1_000 {
            let before_ms = (offset > 0).then(|| (offset - 1) * 50);
            needed.note(offset, offset * 50, before_ms);
            if offset >= 100 {
                let (from, _) = needed.first_after(offset * 50 - 1_600).unwrap();
                assert!(
                    from > offset - 32 - 4 && from <= offset - 31,
                    "{offset}: {from}"
                );
                needed.forget(offset * 50 - 1_600);
                assert!(needed.runs.len() <= 17, "{}", needed.runs.len());
            }
        }
        // Late ones begin no runs of their own.
        for offset in 1_000..1_100 {
            needed.note(offset, 49_950 - offset % 7 * 1_000, Some(49_950));
        }
        assert!(needed.runs.len() <= 18, "{}", needed.runs.len());
        assert!(!needed.end(1_099));
        assert!(needed.first_after(0).is_some());
        assert!(needed.end(1_100));
        assert_eq!(needed.first_after(i64::MIN), None);
    }
}
