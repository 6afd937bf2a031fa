//! Which records have to be read again so that duplicates among later ones are known.
//!
//! Where nothing is stored, the next owner of a partition reads from a commit that lies before them. Whether a record
//! is a duplicate depends on records of nearly its own time alone, so older ones are not needed.

use std::collections::VecDeque;

/// Records that are known together: the fewer they are, the more exact is the answer, and the longer the list.
const RECORDS_TOGETHER: u32 = 1_024;

/// The event times of a partition's records, in runs of offsets.
#[derive(Debug, Default)]
pub struct NeededRecords {
    runs: VecDeque<Run>,
}

#[derive(Debug)]
struct Run {
    from: i64,
    /// The largest event time of the records before it.
    largest_before_ms: Option<i64>,
    /// The largest of its own.
    newest_ms: i64,
    records: u32,
}

impl NeededRecords {
    /// A record was read. `largest_before_ms`: the largest event time of those before it.
    pub fn note(&mut self, offset: i64, time_ms: i64, largest_before_ms: Option<i64>) {
        match self.runs.back_mut() {
            Some(run) if run.records < RECORDS_TOGETHER => {
                run.newest_ms = run.newest_ms.max(time_ms);
                run.records += 1;
            }
            _ => self.runs.push_back(Run {
                from: offset,
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
        let mut needed = NeededRecords::default();
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
}
