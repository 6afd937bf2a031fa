//! Days and points in time as Debezium writes them, and what a column makes of them.

use super::calendar::{Day, SECONDS_PER_DAY, append_day, append_time};
use super::field::Unit;
use super::texts::{self, not_representable};
use crate::decode::json::{Kind, Raw};
use crate::decode::number::{Integer, integer_token};
use crate::decode::time::{Instant, fraction, zone_offset};
use crate::decode::time_of_day::TimeOfDay;
use crate::decode::{Reject, text};
use crate::table::ColumnType;

/// What PostgreSQL's infinite dates become: its own numbers, taken for days.
const INFINITE_DAYS: (i64, i64) = (-2_147_472_691, 2_146_033_979);
/// What its infinite timestamps become where they are written in milliseconds.
const INFINITE_MS: (i64, i64) = (-9_223_372_036_832_400_000, 9_223_372_036_825_200_000);
/// 4714-11-24 BC, before which no database has days; what lies earlier overflowed on its way here.
const DAYS_MIN: i64 = -2_440_588;
/// 5874897-12-31, PostgreSQL's last date.
const DAYS_MAX: i64 = 2_145_042_905;
/// 294276-12-31, the last day of PostgreSQL's timestamps.
const TIMESTAMP_DAYS_MAX: i64 = 106_762_939;
/// 0001-01-01 00:00:00: where BC ends.
const SECONDS_AFTER_CHRIST: i64 = -62_135_596_800;

/// A point on the calendar, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment<T> {
    At(T),
    Infinity,
    MinusInfinity,
    /// A number that overflowed: no database has such a day.
    Nowhere,
}

impl<T> Moment<T> {
    /// The point, for columns that hold nothing else.
    fn point(self) -> Result<T, Reject> {
        match self {
            Moment::At(point) => Ok(point),
            Moment::Infinity | Moment::MinusInfinity => Err(not_representable("infinity")),
            Moment::Nowhere => Err(not_representable("a day that no database has")),
        }
    }

    /// Appends the text for a String column; what is nowhere stays as it was received, so that
    /// nobody takes it for a day.
    fn append(self, raw: Raw<'_>, out: &mut Vec<u8>, text: impl FnOnce(T, &mut Vec<u8>)) {
        match self {
            Moment::At(point) => text(point, out),
            Moment::Infinity => out.extend_from_slice(b"infinity"),
            Moment::MinusInfinity => out.extend_from_slice(b"-infinity"),
            Moment::Nowhere => out.extend_from_slice(raw.as_received().as_bytes()),
        }
    }

    fn infinite(positive: bool) -> Self {
        if positive {
            Moment::Infinity
        } else {
            Moment::MinusInfinity
        }
    }
}

/// A day: a number of days, or `YYYY-MM-DD` with or without the `Z` of ISO modes.
pub(super) fn day(raw: Raw<'_>) -> Result<Moment<i64>, Reject> {
    let no_day = || Reject::invalid_value("not a day: a number of days or YYYY-MM-DD");
    match raw.kind() {
        Kind::Number => Ok(day_number(integer(raw)?)),
        Kind::String => {
            let text = text::to_text(raw)?;
            if let Some(infinite) = infinity(&text) {
                return Ok(infinite);
            }
            let (day, zone) = Day::parse(text.as_bytes()).ok_or_else(no_day)?;
            if !matches!(zone, b"" | b"Z") {
                return Err(no_day());
            }
            Ok(day_number(day.epoch_days().ok_or_else(no_day)?))
        }
        Kind::Object => day_of_parts(raw).map(Moment::At).ok_or_else(no_day),
        _ => Err(no_day()),
    }
}

/// A day as Connect's converter for Protobuf writes it: the message `google.type.Date`. Without a year, a month or a
/// day it is none.
fn day_of_parts(raw: Raw<'_>) -> Option<i64> {
    let [year, month, day] = parts(raw, ["year", "month", "day"])?;
    let day = Day {
        year: Some(year).filter(|year| (1..=9999).contains(year))?,
        month: u32::try_from(month).ok()?,
        day: u32::try_from(day).ok()?,
    };
    day.epoch_days()
}

/// The integers of an object that has these members and no others.
fn parts<const N: usize>(raw: Raw<'_>, names: [&str; N]) -> Option<[i64; N]> {
    let mut found = [None; N];
    for (name, value) in raw.members() {
        let place = names.iter().position(|known| **known == *name)?;
        let number = integer(value).ok()?;
        found[place] = Some(number).filter(|_| value.kind() == Kind::Number);
    }
    let mut whole = [0; N];
    for (part, found) in whole.iter_mut().zip(found) {
        *part = found?;
    }
    Some(whole)
}

fn day_number(days: i64) -> Moment<i64> {
    match days {
        days if days == INFINITE_DAYS.0 || days == INFINITE_DAYS.1 => Moment::infinite(days > 0),
        DAYS_MIN..=DAYS_MAX => Moment::At(days),
        _ => Moment::Nowhere,
    }
}

/// A point in time: a number of `unit`s, or the text of ISO 8601. Without unit only a text will do.
pub(super) fn instant(raw: Raw<'_>, unit: Option<Unit>) -> Result<Moment<Instant>, Reject> {
    match (raw.kind(), unit) {
        (Kind::Number, Some(unit)) => Ok(instant_number(integer(raw)?, unit)),
        (Kind::String, _) => {
            let text = text::to_text(raw)?;
            match infinity(&text) {
                Some(infinite) => Ok(infinite),
                None => instant_text(text.as_bytes()),
            }
        }
        (Kind::Number, None) => Err(Reject::invalid_value(
            "a number where times are declared as text (time_mode)",
        )),
        _ => Err(not_a_time()),
    }
}

fn instant_number(value: i64, unit: Unit) -> Moment<Instant> {
    let infinite_ms = value == INFINITE_MS.0 || value == INFINITE_MS.1;
    if value == i64::MIN || value == i64::MAX || unit == Unit::Milliseconds && infinite_ms {
        return Moment::infinite(value > 0);
    }
    let per_second = unit.per_second();
    let part = value.rem_euclid(per_second) as u32;
    within(Instant {
        epoch_seconds: value.div_euclid(per_second),
        nanos: part * unit.nanos() as u32,
    })
}

/// Recognises what no database has.
fn within(instant: Instant) -> Moment<Instant> {
    let days = instant.epoch_seconds.div_euclid(SECONDS_PER_DAY);
    if (DAYS_MIN..=TIMESTAMP_DAYS_MAX).contains(&days) {
        Moment::At(instant)
    } else {
        Moment::Nowhere
    }
}

fn instant_text(text: &[u8]) -> Result<Moment<Instant>, Reject> {
    let (day, rest) = Day::parse(text).ok_or_else(not_a_time)?;
    let days = day.epoch_days().ok_or_else(not_a_time)?;
    let (clock, rest) = rest.split_first_chunk::<9>().ok_or_else(not_a_time)?;
    if !matches!(clock[0], b'T' | b' ') {
        return Err(not_a_time());
    }
    let clock = TimeOfDay::parse(&clock[1..]).filter(is_of_day);
    let clock = clock.ok_or_else(not_a_time)?;
    let (nanos, zone) = fraction(rest).ok_or_else(not_a_time)?;
    let epoch_seconds =
        days * SECONDS_PER_DAY + clock.nanos / Unit::Nanoseconds.per_second() - zone_offset(zone)?;
    // The connector's own spelling of infinity in ISO modes.
    if epoch_seconds == INFINITE_MS.0 / 1000 || epoch_seconds == INFINITE_MS.1 / 1000 {
        return Ok(Moment::infinite(epoch_seconds > 0));
    }
    Ok(within(Instant {
        epoch_seconds,
        nanos,
    }))
}

/// Whether a clock shows it, 24:00:00 included: hours beyond would be another day's.
fn is_of_day(time: &TimeOfDay) -> bool {
    (0..=SECONDS_PER_DAY * Unit::Nanoseconds.per_second()).contains(&time.nanos)
}

fn infinity<T>(text: &str) -> Option<Moment<T>> {
    match text {
        "infinity" => Some(Moment::Infinity),
        "-infinity" => Some(Moment::MinusInfinity),
        _ => None,
    }
}

fn integer(raw: Raw<'_>) -> Result<i64, Reject> {
    let integer: Option<Integer> = integer_token(raw.as_received());
    let integer = integer.ok_or_else(|| Reject::invalid_value("not an integer"))?;
    integer
        .signed(i64::MIN, i64::MAX)
        .ok_or_else(|| Reject::out_of_range("64 bits"))
}

fn not_a_time() -> Reject {
    Reject::invalid_value("not a time: a number or YYYY-MM-DDThh:mm:ss[.fff]Z")
}

/// Appends a day to a Date or Date32 column.
pub(super) fn encode_day(
    raw: Raw<'_>,
    target: &ColumnType,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    let days = day(raw)?.point()?;
    if days < SECONDS_AFTER_CHRIST / SECONDS_PER_DAY {
        return Err(not_representable("a day before Christ"));
    }
    target.encode_epoch_days(days, out)
}

pub(super) fn append_day_text(raw: Raw<'_>, out: &mut Vec<u8>) -> Result<(), Reject> {
    day(raw)?.append(raw, out, append_day);
    Ok(())
}

/// Appends a point in time to a DateTime or DateTime64 column; no digit of it is dropped.
pub(super) fn encode_instant(
    raw: Raw<'_>,
    unit: Option<Unit>,
    target: &ColumnType,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    let instant = instant(raw, unit)?.point()?;
    if instant.epoch_seconds < SECONDS_AFTER_CHRIST {
        return Err(not_representable("a time before Christ"));
    }
    texts::keeps_digits(i64::from(instant.nanos), target)?;
    target.encode_instant(instant, out)
}

pub(super) fn append_instant_text(
    raw: Raw<'_>,
    unit: Option<Unit>,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    instant(raw, unit)?.append(raw, out, |instant, out| {
        append_time(instant.epoch_seconds, instant.nanos, out);
    });
    Ok(())
}

/// A time of day: a number of `unit`s since midnight, or `hh:mm:ss[.f…]` with or without `Z`.
pub(super) fn time_of_day(raw: Raw<'_>, unit: Option<Unit>) -> Result<TimeOfDay, Reject> {
    let no_time = || Reject::invalid_value("not a time of day: a number or hh:mm:ss[.fff]");
    match (raw.kind(), unit) {
        (Kind::Number, Some(unit)) => {
            let nanos = integer(raw)?.checked_mul(unit.nanos());
            let nanos = nanos.ok_or_else(|| Reject::out_of_range("a time of day"))?;
            Ok(TimeOfDay { nanos })
        }
        (Kind::String, _) => {
            let text = text::to_text(raw)?;
            let text = text.strip_suffix('Z').unwrap_or(&text);
            TimeOfDay::parse(text.as_bytes()).ok_or_else(no_time)
        }
        (Kind::Object, _) => time_of_parts(raw).ok_or_else(no_time),
        _ => Err(no_time()),
    }
}

/// A time of day as Connect's converter for Protobuf writes it: the message `google.type.TimeOfDay`.
fn time_of_parts(raw: Raw<'_>) -> Option<TimeOfDay> {
    let [hours, minutes, seconds, nanos] = parts(raw, ["hours", "minutes", "seconds", "nanos"])?;
    let is_clock = (0..=24).contains(&hours)
        && (0..60).contains(&minutes)
        && (0..60).contains(&seconds)
        && (0..Unit::Nanoseconds.per_second()).contains(&nanos);
    let seconds = || (hours * 60 + minutes) * 60 + seconds;
    let time = is_clock.then(|| TimeOfDay {
        nanos: seconds() * Unit::Nanoseconds.per_second() + nanos,
    });
    time.filter(is_of_day)
}

/// Appends a time of day to a Time or Time64 column; no digit of it is dropped.
pub(super) fn encode_time_of_day(
    raw: Raw<'_>,
    unit: Option<Unit>,
    target: &ColumnType,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    let time = time_of_day(raw, unit)?;
    texts::keeps_digits(time.nanos, target)?;
    target.encode_time_of_day(time, out)
}

pub(super) fn append_time_of_day_text(
    raw: Raw<'_>,
    unit: Option<Unit>,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    let nanos = time_of_day(raw, unit)?.nanos;
    if nanos < 0 {
        out.push(b'-');
    }
    let (nanos, per_second) = (nanos.unsigned_abs(), 1_000_000_000);
    super::calendar::append_clock(
        (nanos / per_second) as i64,
        (nanos % per_second) as u32,
        out,
    );
    Ok(())
}

impl Unit {
    fn per_second(self) -> i64 {
        1_000_000_000 / self.nanos()
    }

    fn nanos(self) -> i64 {
        match self {
            Unit::Milliseconds => 1_000_000,
            Unit::Microseconds => 1_000,
            Unit::Nanoseconds => 1,
        }
    }
}
