//! What is waited for, and whether it is reached: pure.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Serialize;

use super::PartitionWatermark;
use crate::observe::board::status::Moment;

/// The argument of `wait --committed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommittedGoal {
    /// What each partition holds when the wait begins.
    Latest,
    /// What lies before the first record whose Kafka timestamp is this time or later, epoch milliseconds.
    TimeMs(i64),
    /// This offset of each partition.
    Offset(i64),
}

/// None of these.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not \"latest\", an RFC 3339 time such as 2026-11-21T10:00:00Z, or an offset")]
pub struct CommittedGoalError(String);

impl FromStr for CommittedGoal {
    type Err = CommittedGoalError;

    fn from_str(text: &str) -> Result<Self, CommittedGoalError> {
        if text == "latest" {
            return Ok(CommittedGoal::Latest);
        }
        if let Ok(offset) = text.parse::<i64>()
            && offset >= 0
        {
            return Ok(CommittedGoal::Offset(offset));
        }
        let time: jiff::Timestamp = text
            .parse()
            .map_err(|_| CommittedGoalError(text.to_owned()))?;
        Ok(CommittedGoal::TimeMs(time.as_millisecond()))
    }
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Everything before this event time is written, epoch milliseconds.
    WatermarkMs(i64),
    /// Offsets are committed.
    Committed(CommittedGoal),
}

/// An offset that a partition is to reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionGoal {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// One past the last record that is waited for.
    pub offset: i64,
}

/// Offsets by topic and partition that are to be reached.
pub(super) type Targets = BTreeMap<(String, i32), i64>;

/// Where a partition's log begins and ends, and the first record of a time, if one was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Log {
    pub(super) begin: i64,
    pub(super) end: i64,
    pub(super) at_time: Option<i64>,
}

/// The offset that a partition is to reach; none: there is nothing to wait for.
pub(super) fn target(goal: CommittedGoal, log: Log) -> Option<i64> {
    let target = match goal {
        CommittedGoal::Latest => log.end,
        CommittedGoal::TimeMs(_) => log.at_time.unwrap_or(log.end).min(log.end),
        // Records up to it may still come, unless there are none at all.
        CommittedGoal::Offset(offset) if log.end > log.begin => offset,
        CommittedGoal::Offset(_) => log.begin,
    };
    // A group that has nothing to read commits nothing.
    (target > log.begin).then_some(target)
}

/// Whether a partition is done up to its target.
pub(super) fn is_reached(partition: &PartitionWatermark, target: Option<i64>) -> bool {
    target.is_none_or(|target| partition.done_to >= Some(target))
}

/// Whether a watermark has passed a time.
pub(super) fn has_passed(watermark: Option<Moment>, time_ms: i64) -> bool {
    watermark.is_some_and(|watermark| watermark.0 >= time_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_latest_a_time_or_an_offset() {
        let parse = |text: &str| text.parse::<CommittedGoal>().ok();
        assert_eq!(parse("latest"), Some(CommittedGoal::Latest));
        assert_eq!(parse("0"), Some(CommittedGoal::Offset(0)));
        assert_eq!(
            parse("2026-11-21T10:00:00.5+01:00"),
            Some(CommittedGoal::TimeMs(1_795_251_600_500))
        );
        for text in [
            "",
            "-1",
            "now",
            "earliest",
            "2026-11-21",
            "99999999999999999999",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_partition_without_records_before_the_goal_is_not_waited_for() {
        let log = |begin, end, at_time| Log {
            begin,
            end,
            at_time,
        };
        let time = CommittedGoal::TimeMs(7);
        assert_eq!(target(CommittedGoal::Latest, log(0, 0, None)), None);
        assert_eq!(target(CommittedGoal::Latest, log(5, 5, None)), None);
        assert_eq!(target(CommittedGoal::Latest, log(5, 9, None)), Some(9));
        assert_eq!(target(time, log(5, 9, Some(5))), None);
        assert_eq!(target(time, log(5, 9, Some(7))), Some(7));
        assert_eq!(target(time, log(5, 9, None)), Some(9));
        let offset = CommittedGoal::Offset;
        assert_eq!(target(offset(6), log(5, 9, None)), Some(6));
        assert_eq!(target(offset(12), log(5, 9, None)), Some(12));
        assert_eq!(target(offset(3), log(5, 9, None)), None);
        assert_eq!(target(offset(5), log(5, 9, None)), None);
        assert_eq!(target(offset(3), log(0, 0, None)), None);
    }

    #[test]
    fn what_is_read_and_settled_behind_an_open_window_is_reached() {
        let partition = |committed, done_to| PartitionWatermark {
            topic: "t".to_owned(),
            partition: 0,
            committed,
            watermark: None,
            done_to,
        };
        assert!(is_reached(&partition(Some(9), Some(9)), Some(9)));
        assert!(!is_reached(&partition(Some(8), Some(8)), Some(9)));
        assert!(is_reached(&partition(Some(2), Some(9)), Some(9)));
        assert!(!is_reached(&partition(None, None), Some(1)));
        assert!(is_reached(&partition(None, None), None));
        assert!(has_passed(Some(Moment(5)), 5) && !has_passed(Some(Moment(4)), 5));
        assert!(!has_passed(None, i64::MIN));
    }
}
