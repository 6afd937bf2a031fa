//! Steps on times.

use std::fmt::Write as _;

use super::value::{Scratch, Value};
use super::zone::Zone;
use crate::decode::Reject;
use crate::decode::time::{Instant, NumberUnit, TimeRules, TimeUnit};

const SECONDS_PER_DAY: i64 = 86_400;
/// 1970-01-05 was a Monday.
const FIRST_MONDAY: i64 = 4;

/// A step on a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeStep {
    /// Numbers are times in this unit.
    Unit(TimeUnit),
    /// A part of what clocks and calendars show.
    Part {
        /// Which.
        part: Part,
        /// Whose clocks.
        zone: Zone,
    },
    /// The beginning of the span that the time lies in.
    Truncate {
        /// A divisor of a day, or whole days.
        span_seconds: i64,
        /// Whose clocks.
        zone: Zone,
    },
}

/// A part of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// 0 to 23.
    Hour,
    /// 1, Monday, to 7.
    DayOfWeek,
    /// 1 to 31.
    DayOfMonth,
    /// 1 to 12.
    Month,
    /// 1 to 4.
    Quarter,
    /// Saturday and Sunday.
    IsWeekend,
    /// Monday to Friday, within these hours.
    IsBusinessHours(BusinessHours),
}

/// Hours from which and before which business is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusinessHours {
    /// The first hour, 0 to 23.
    pub from: u8,
    /// The hour behind the last, 1 to 24.
    pub before: u8,
}

impl Default for BusinessHours {
    fn default() -> Self {
        BusinessHours {
            from: 9,
            before: 17,
        }
    }
}

/// A time and the clocks that it is read by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment<'a> {
    pub(super) instant: Instant,
    /// None: UTC.
    pub(super) zone: Option<&'a Zone>,
}

impl Moment<'_> {
    /// What the clocks show, as if that were epoch seconds, and how far they are ahead.
    fn local(&self) -> (i64, i64) {
        let epoch_seconds = self.instant.epoch_seconds;
        let offset = self.zone.map_or(0, |zone| zone.offset(epoch_seconds));
        (epoch_seconds.saturating_add(offset), offset)
    }

    /// The day that the calendar shows, as days since 1970-01-01.
    pub(super) fn epoch_days(&self) -> i64 {
        self.local().0.div_euclid(SECONDS_PER_DAY)
    }
}

impl TimeStep {
    /// The name that the configuration has for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            TimeStep::Unit(_) => "unit",
            TimeStep::Part { .. } => "part",
            TimeStep::Truncate { .. } => "truncate_time",
        }
    }

    pub(super) fn apply<'a>(
        &'a self,
        value: Value<'a>,
        times: TimeRules<'_>,
        scratch: &mut Scratch,
    ) -> Result<Value<'a>, Reject> {
        let unit = match self {
            TimeStep::Unit(unit) => NumberUnit::Declared(*unit),
            _ => NumberUnit::of_event_time(times.unit),
        };
        let instant = value.to_instant(unit, times, scratch)?;
        Ok(match self {
            TimeStep::Unit(_) => Value::Time(Moment {
                instant,
                zone: None,
            }),
            TimeStep::Part { part, zone } => part.of(Moment {
                instant,
                zone: Some(zone),
            }),
            TimeStep::Truncate { span_seconds, zone } => Value::Time(Moment {
                instant: truncated(instant, *span_seconds, zone),
                zone: Some(zone),
            }),
        })
    }
}

impl Part {
    fn of(self, moment: Moment<'_>) -> Value<'static> {
        let local = moment.local().0;
        let hour = local.rem_euclid(SECONDS_PER_DAY) / 3600;
        let days = local.div_euclid(SECONDS_PER_DAY);
        let weekday = (days - FIRST_MONDAY).rem_euclid(7) + 1;
        let month = || i64::from(month_and_day(days).0);
        Value::Integer(match self {
            Part::Hour => hour,
            Part::DayOfWeek => weekday,
            Part::DayOfMonth => i64::from(month_and_day(days).1),
            Part::Month => month(),
            Part::Quarter => (month() + 2) / 3,
            Part::IsWeekend => return Value::Boolean(weekday > 5),
            Part::IsBusinessHours(BusinessHours { from, before }) => {
                let hours = i64::from(from)..i64::from(before);
                return Value::Boolean(weekday <= 5 && hours.contains(&hour));
            }
        })
    }
}

/// Month and day of a number of days since 1970-01-01 (after Howard Hinnant's `civil_from_days`).
fn month_and_day(days: i64) -> (u32, u32) {
    let of_period = (days + 719_468).rem_euclid(146_097) as u32;
    let year = (of_period - of_period / 1460 + of_period / 36_524 - of_period / 146_096) / 365;
    let of_year = of_period - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    ((month_from_march + 2) % 12 + 1, day)
}

/// The beginning of a span on the clocks of a zone. Spans below a day begin at midnight, those of whole
/// weeks on Mondays, others of days on 1970-01-01.
fn truncated(instant: Instant, span_seconds: i64, zone: &Zone) -> Instant {
    let moment = Moment {
        instant,
        zone: Some(zone),
    };
    let (local, offset) = moment.local();
    let into = if span_seconds < SECONDS_PER_DAY {
        local.rem_euclid(SECONDS_PER_DAY) % span_seconds
    } else {
        let is_weeks = span_seconds % (7 * SECONDS_PER_DAY) == 0;
        let first = if is_weeks { FIRST_MONDAY } else { 0 };
        (local - first * SECONDS_PER_DAY).rem_euclid(span_seconds)
    };
    let begin = instant.epoch_seconds - into;
    // Clocks may have been changed since the span began. Where they go back over midnight a day has two
    // beginnings of one offset each: the first counts.
    let is_part_of_day = span_seconds < SECONDS_PER_DAY;
    let epoch_seconds = match is_part_of_day && zone.offset(begin) == offset {
        true => begin,
        false => zone.of_local(local - into),
    };
    Instant {
        epoch_seconds,
        nanos: 0,
    }
}

/// RFC 3339, as the clocks show it where they are whole minutes off UTC: `Z` for UTC, a fraction where there
/// is one.
pub(super) fn write_moment(moment: Moment<'_>, out: &mut String) {
    let (local, offset) = match moment.local() {
        // RFC 3339 has no seconds of an offset, as mean times of the years before 1972 have them.
        (_, offset) if offset % 60 != 0 => (moment.instant.epoch_seconds, 0),
        local => local,
    };
    let (year, month, day) = crate::decode::time::day_of_epoch(local.div_euclid(SECONDS_PER_DAY));
    let of_day = local.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    );
    match moment.instant.nanos {
        0 => {}
        nanos if nanos % 1_000_000 == 0 => {
            let _ = write!(out, ".{:03}", nanos / 1_000_000);
        }
        nanos if nanos % 1000 == 0 => {
            let _ = write!(out, ".{:06}", nanos / 1000);
        }
        nanos => {
            let _ = write!(out, ".{nanos:09}");
        }
    }
    if offset == 0 {
        return out.push('Z');
    }
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.abs() / 60;
    let _ = write!(out, "{sign}{:02}:{:02}", minutes / 60, minutes % 60);
}
