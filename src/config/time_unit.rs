//! `time_unit` and `unit`: what one of a number is that stands for a time.

use super::value::Choice;
use crate::decode::time::TimeUnit;

pub(super) const TIME_UNITS: Choice<TimeUnit> = Choice(&[
    ("s", TimeUnit::Seconds),
    ("ms", TimeUnit::Milliseconds),
    ("us", TimeUnit::Microseconds),
    ("ns", TimeUnit::Nanoseconds),
]);
