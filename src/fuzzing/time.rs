//! Times and days by a regular expression and jiff.

use std::sync::LazyLock;

use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;
use regex::Regex;

use super::number::integer;
use super::reading::string;
use crate::decode::Reason;

static TIME: LazyLock<Regex> = LazyLock::new(|| {
    let time = r"^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|z|[+-]\d\d(?::?\d\d)?)?$";
    Regex::new(&time.replace(r"\d", "[0-9]").replace('$', r"\z")).expect("an expression")
});
static OF_DAY: LazyLock<Regex> = LazyLock::new(|| {
    let time = r"^(-?)([0-9]{2,3}):([0-5][0-9]):([0-5][0-9])(?:\.([0-9]{1,9}))?\z";
    Regex::new(time).expect("an expression")
});
static DAY: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^([0-9]{4})-([0-9]{2})-([0-9]{2})\z").expect("an expression"));

/// Seconds since 1970 and the nanoseconds after them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    seconds: i64,
    nanos: u32,
}

impl Moment {
    pub(super) fn ticks(self, precision: u8) -> Result<i64, Reason> {
        let first = Date::constant(1900, 1, 1);
        let last = Date::constant(2299, 12, 31);
        if !(days(first) * 86_400..(days(last) + 1) * 86_400).contains(&self.seconds) {
            return Err(Reason::OutOfRange);
        }
        let nanos = i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos);
        let ticks = nanos.div_euclid(10i128.pow(9 - u32::from(precision)));
        i64::try_from(ticks).map_err(|_| Reason::OutOfRange)
    }

    pub(super) fn datetime(self) -> Result<u32, Reason> {
        u32::try_from(self.seconds).map_err(|_| Reason::OutOfRange)
    }
}

/// Ticks of a time of day, which may be negative and up to three digits of hours long.
pub(super) fn of_day(json: &str, precision: u8) -> Result<i64, Reason> {
    let text = string(json)?.ok_or(Reason::InvalidValue)?;
    let parts = OF_DAY.captures(&text).ok_or(Reason::InvalidValue)?;
    let part = |index: usize| parts.get(index).map_or("", |m| m.as_str());
    let number = |index: usize| part(index).parse::<i64>().unwrap_or(0);
    let fraction: String = part(5).chars().chain("000000000".chars()).collect();
    let ticks: i64 = fraction[..usize::from(precision)].parse().unwrap_or(0);
    let seconds = (number(2) * 60 + number(3)) * 60 + number(4);
    let size = seconds * 10i64.pow(precision.into()) + ticks;
    Ok(if part(1) == "-" { -size } else { size })
}

/// What a number is whose unit nobody declared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Undeclared {
    Milliseconds,
    SecondsIfLikely,
}

/// A number of seconds from 1,000,000,000 up to 10,000,000,000 as whole ones and nanoseconds.
fn likely_seconds(json: &str) -> Option<Moment> {
    let scaled = super::number::decimal_cut(json, 9)?;
    let (seconds, nanos) = (scaled / 1_000_000_000, scaled % 1_000_000_000);
    (1_000_000_000..10_000_000_000)
        .contains(&seconds)
        .then_some(Moment {
            seconds: seconds as i64,
            nanos: nanos as u32,
        })
}

pub(super) fn moment(json: &str, unit: Undeclared) -> Result<Moment, Reason> {
    let Some(text) = string(json)? else {
        let is_number = json.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        if !is_number {
            return Err(Reason::InvalidValue);
        }
        if let Some(moment) = likely_seconds(json) {
            return match unit {
                Undeclared::SecondsIfLikely => Ok(moment),
                Undeclared::Milliseconds => Err(Reason::ImplausibleTime),
            };
        }
        let ms = integer(json, i64::MIN.into(), i64::MAX.into())?;
        let nanos = (ms.rem_euclid(1000) * 1_000_000) as u32;
        return Ok(Moment {
            seconds: ms.div_euclid(1000) as i64,
            nanos,
        });
    };
    let parts = TIME.captures(&text).ok_or(Reason::InvalidValue)?;
    let part = |index: usize| parts.get(index).map_or("", |m| m.as_str());
    let number = |index: usize| part(index).parse::<i16>().unwrap_or(0);
    let day =
        Date::new(number(1), number(2) as i8, number(3) as i8).map_err(|_| Reason::InvalidValue)?;
    let leap_second = i64::from(number(6) == 60);
    let second = number(6) - leap_second as i16;
    let of_day = jiff::civil::Time::new(number(4) as i8, number(5) as i8, second as i8, 0)
        .map_err(|_| Reason::InvalidValue)?;
    let offset = offset_seconds(part(8))?;
    let after_midnight =
        of_day.hour() as i64 * 3600 + of_day.minute() as i64 * 60 + i64::from(second) + leap_second;
    if leap_second == 1 && (after_midnight - i64::from(offset)).rem_euclid(86_400) != 0 {
        return Err(Reason::InvalidValue);
    }
    let offset = Offset::from_seconds(offset).map_err(|_| Reason::InvalidValue)?;
    // Only jiff's last day has times that it cannot tell: far outside every column.
    let timestamp = offset
        .to_timestamp(DateTime::from_parts(day, of_day))
        .map_err(|_| Reason::OutOfRange)?;
    let nanos = format!("{:0<9}", part(7)).parse().unwrap_or(0);
    Ok(Moment {
        seconds: timestamp.as_second() + leap_second,
        nanos,
    })
}

fn offset_seconds(zone: &str) -> Result<i32, Reason> {
    let digits: String = zone.chars().filter(char::is_ascii_digit).collect();
    let number = |range: std::ops::Range<usize>| {
        digits
            .get(range)
            .map_or(0, |d| d.parse::<i32>().unwrap_or(0))
    };
    let (hours, minutes) = (number(0..2), number(2..4));
    if hours > 23 || minutes > 59 {
        return Err(Reason::InvalidValue);
    }
    let seconds = hours * 3600 + minutes * 60;
    Ok(if zone.starts_with('-') {
        -seconds
    } else {
        seconds
    })
}

/// Days since 1970 of a day that a Date or Date32 could be asked to hold.
pub(super) fn day(json: &str, first: &str, last: &str) -> Result<i64, Reason> {
    let text = string(json)?.ok_or(Reason::InvalidValue)?;
    let date = date(&text).ok_or(Reason::InvalidValue)?;
    let bound = |text| date_or_panic(text);
    if (bound(first)..=bound(last)).contains(&date) {
        Ok(days(date))
    } else {
        Err(Reason::OutOfRange)
    }
}

fn date_or_panic(text: &str) -> Date {
    date(text).expect("a day of ours")
}

fn date(text: &str) -> Option<Date> {
    let parts = DAY.captures(text)?;
    let number = |index: usize| parts[index].parse::<i16>().unwrap_or(0);
    let date = Date::new(number(1), number(2) as i8, number(3) as i8).ok()?;
    (date.year() >= 1).then_some(date)
}

fn days(date: Date) -> i64 {
    let midnight = DateTime::from_parts(date, jiff::civil::Time::midnight());
    let timestamp = Offset::UTC.to_timestamp(midnight).expect("years 0 to 9999");
    timestamp.as_second().div_euclid(86_400)
}
