//! Up to which event time a partition is complete by what is committed.

use std::collections::VecDeque;

/// Runs whose watermarks are told apart.
const RUNS_MAX: usize = 1_024;

/// Watermarks by offset, where each record makes rows of its own. What is committed decides which one counts.
#[derive(Debug, Default)]
pub(in super::super) struct Complete {
    /// By the last commit that the broker has accepted. Never falls.
    committed_ms: Option<i64>,
    /// One past the last record of a run, and the watermark behind it; both rise.
    runs: VecDeque<(i64, i64)>,
}

impl Complete {
    /// A predecessor's commit said this.
    pub(super) fn new(committed_ms: Option<i64>) -> Self {
        Complete {
            committed_ms,
            runs: VecDeque::new(),
        }
    }

    /// The records below `end` were read, and the watermark is here.
    pub(in super::super) fn read(&mut self, end: i64, watermark_ms: i64) {
        if self
            .runs
            .back()
            .is_some_and(|(_, last_ms)| *last_ms >= watermark_ms)
        {
            return;
        }
        // The later end is the safe one.
        if self.runs.len() >= RUNS_MAX {
            self.runs.pop_back();
        }
        self.runs.push_back((end, watermark_ms));
    }

    /// What a commit of this position says. `of_rows_ms`: the same by rows of many records.
    pub(super) fn at(&self, position: i64, of_rows_ms: Option<i64>) -> Option<i64> {
        let count = self.runs.partition_point(|(end, _)| *end <= position);
        let of_records_ms = count.checked_sub(1).map(|last| self.runs[last].1);
        self.committed_ms.max(of_records_ms).max(of_rows_ms)
    }

    /// The broker has accepted that commit.
    pub(super) fn committed(&mut self, position: i64, of_rows_ms: Option<i64>) {
        self.committed_ms = self.at(position, of_rows_ms);
        let count = self.runs.partition_point(|(end, _)| *end <= position);
        self.runs.drain(..count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_commit_says_the_watermark_of_the_records_before_it_and_none_that_is_lower() {
        let mut complete = Complete::new(Some(50));
        complete.read(10, 40);
        complete.read(20, 100);
        complete.read(30, 90);
        complete.read(40, 120);
        assert_eq!(complete.at(10, None), Some(50));
        assert_eq!(complete.at(19, None), Some(50));
        assert_eq!(complete.at(39, None), Some(100));
        complete.committed(20, None);
        assert_eq!(complete.at(0, None), Some(100), "it is never taken back");
        assert_eq!(complete.at(40, None), Some(120));
        assert_eq!(complete.at(40, Some(130)), Some(130));
        assert_eq!(Complete::new(None).at(5, None), None);
    }

    proptest! {
        #[test]
        fn it_never_says_more_than_the_records_before_the_commit_and_never_falls(
            steps in prop::collection::vec((1i64..50, 0i64..1_000, 0i64..80), 1..2_000)
        ) {
            let mut complete = Complete::default();
            let (mut end, mut watermark_ms, mut position, mut told) = (0, i64::MIN, 0, None);
            let mut seen = vec![];
            for (records, time_ms, committed) in steps {
                end += records;
                watermark_ms = watermark_ms.max(time_ms);
                complete.read(end, watermark_ms);
                seen.push((end, watermark_ms));
                position = end.min(position + committed);
                complete.committed(position, None);
                let most = seen.iter().rev().find(|(end, _)| *end <= position).map(|run| run.1);
                let says = complete.at(position, None);
                prop_assert!(says <= most && says >= told);
                told = says;
            }
            complete.committed(end, None);
            prop_assert_eq!(complete.at(end, None), Some(watermark_ms));
        }
    }
}
