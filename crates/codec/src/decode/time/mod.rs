//! Points in time and days.
//!
//! A time is `YYYY-MM-DD`, then `T`, `t` or one space, `hh:mm:ss`, optionally a point and 1–9 digits,
//! then nothing (UTC), `Z`, `z`, `±hh:mm`, `±hhmm` or `±hh`; or a JSON number, counted from the epoch in
//! the unit that is declared, milliseconds without one ([`NumberUnit`]).
//! `:60` stands only where UTC is 23:59:60 and is the next midnight. Digits beyond a precision are
//! dropped, also before 1970, so that text and time agree in the digits kept.

mod epoch;
mod rules;

pub use self::epoch::{NumberUnit, TimeUnit};
pub use self::rules::{TextRules, TimeRules};
use super::json::{Kind, Raw};
use super::{Reason, Reject, text};

/// 1900-01-01 00:00:00 UTC in epoch seconds: where DateTime64 and Date32 begin.
const SECONDS_MIN: i64 = -2_208_988_800;
/// 2299-12-31 23:59:59 UTC in epoch seconds: where DateTime64 and Date32 end.
const SECONDS_MAX: i64 = 10_413_791_999;
const SECONDS_PER_DAY: i64 = 86_400;

/// A point in time, before it is cut to a column's precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant {
    /// Whole seconds since 1970-01-01 00:00:00 UTC, rounded down.
    pub epoch_seconds: i64,
    /// Nanoseconds after them, below 10^9.
    pub nanos: u32,
}

impl Instant {
    /// From milliseconds since 1970-01-01 00:00:00 UTC.
    #[must_use]
    pub fn from_epoch_ms(epoch_ms: i64) -> Self {
        let nanos = epoch_ms.rem_euclid(1000) as u32 * 1_000_000;
        Instant {
            epoch_seconds: epoch_ms.div_euclid(1000),
            nanos,
        }
    }

    /// Ticks of `10^-precision` seconds for DateTime64(precision), digits beyond dropped.
    ///
    /// # Errors
    /// `out_of_range` outside 1900-01-01 … 2299-12-31, and where 64 bits do not hold the ticks
    /// (DateTime64(9) ends at 2262-04-11 23:47:16).
    #[inline]
    pub fn ticks(self, precision: u8) -> Result<i64, Reject> {
        let out_of_range = || Reject::out_of_range(format!("DateTime64({precision})"));
        if !(SECONDS_MIN..=SECONDS_MAX).contains(&self.epoch_seconds) {
            return Err(out_of_range());
        }
        let per_second = 10i64.pow(u32::from(precision));
        let part = i64::from(self.nanos) / (1_000_000_000 / per_second);
        let whole = self.epoch_seconds.checked_mul(per_second);
        whole
            .and_then(|whole| whole.checked_add(part))
            .ok_or_else(out_of_range)
    }

    /// Seconds for DateTime, the rest dropped.
    ///
    /// # Errors
    /// `out_of_range` outside 1970-01-01 … 2106-02-07 06:28:15.
    pub fn datetime_seconds(self) -> Result<u32, Reject> {
        u32::try_from(self.epoch_seconds).map_err(|_| Reject::out_of_range("DateTime"))
    }
}

/// The event time of a record in epoch milliseconds, whatever precision its column has.
///
/// # Errors
/// `missing_field` when absent or null, `invalid_value` for other forms, `implausible_time` for numbers
/// that are seconds where none are declared, `out_of_range` outside DateTime64(3).
#[inline]
pub fn event_time_ms<'r>(raw: Raw<'_>, rules: impl Into<TimeRules<'r>>) -> Result<i64, Reject> {
    if raw.is_missing() {
        return Err(Reject::new(Reason::MissingField, "event time"));
    }
    let rules = rules.into();
    instant_by(raw, NumberUnit::of_event_time(rules.unit), rules.texts)?.ticks(3)
}

/// Reads a time in any of the accepted forms.
///
/// # Errors
/// `invalid_value` for other forms and for days or times of day that do not exist, `implausible_time` for
/// numbers that are seconds where none are declared, `out_of_range` for numbers far outside every column.
#[inline]
pub fn instant(raw: Raw<'_>, unit: NumberUnit) -> Result<Instant, Reject> {
    match raw.kind() {
        Kind::String => {
            if let Some(instant) = utc_milliseconds(raw.as_received().as_bytes()) {
                return Ok(instant);
            }
            time_text(text::to_text(raw)?.as_bytes())
        }
        Kind::Number => epoch::number(raw.as_received(), unit),
        _ => Err(not_a_time()),
    }
}

/// The same, texts by what is declared of them.
///
/// # Errors
/// As [`instant`].
#[inline]
pub fn instant_by(
    raw: Raw<'_>,
    unit: NumberUnit,
    texts: Option<&TextRules>,
) -> Result<Instant, Reject> {
    match texts {
        Some(rules) if raw.kind() == Kind::String => rules.instant(&text::to_text(raw)?),
        _ => instant(raw, unit),
    }
}

#[cold]
fn not_a_time() -> Reject {
    Reject::invalid_value("not a time: YYYY-MM-DDThh:mm:ss[.fff][zone] or epoch milliseconds")
}

/// `YYYY-MM-DDThh:mm:ss.mmmZ` where every field is in its plainest range; the rest takes the long way.
#[inline]
fn utc_milliseconds(text: &[u8]) -> Option<Instant> {
    let text: &[u8; 24] = text.try_into().ok()?;
    let mut worst = 0;
    let mut digit = |at: usize| {
        let digit = text[at].wrapping_sub(b'0');
        worst = digit.max(worst);
        u32::from(digit)
    };
    let year = digit(0) * 1000 + digit(1) * 100 + digit(2) * 10 + digit(3);
    let month = digit(5) * 10 + digit(6);
    let day = digit(8) * 10 + digit(9);
    let hour = digit(11) * 10 + digit(12);
    let minute = digit(14) * 10 + digit(15);
    let second = digit(17) * 10 + digit(18);
    let ms = digit(20) * 100 + digit(21) * 10 + digit(22);
    let separators = [
        text[4], text[7], text[10], text[13], text[16], text[19], text[23],
    ];
    let plain = worst <= 9
        && separators == *b"--T::.Z"
        && month.wrapping_sub(1) < 12
        && day.wrapping_sub(1) < 28
        && hour < 24
        && minute < 60
        && second < 60;
    plain.then(|| Instant {
        epoch_seconds: epoch_day(year, month, day) * SECONDS_PER_DAY
            + i64::from(hour * 3600 + minute * 60 + second),
        nanos: ms * 1_000_000,
    })
}

/// Every accepted form of a time as text; one without zone is UTC.
fn time_text(text: &[u8]) -> Result<Instant, Reject> {
    let (local, offset_seconds) = parts(text)?;
    let epoch_seconds = local.epoch_seconds - offset_seconds.unwrap_or(0);
    match has_leap_second(text) {
        true => leap(epoch_seconds, local.nanos),
        false => Ok(Instant {
            epoch_seconds,
            ..local
        }),
    }
}

fn has_leap_second(text: &[u8]) -> bool {
    text.get(17..19) == Some(b"60")
}

/// A time whose second is 60, counted as the first of the next minute.
fn leap(epoch_seconds: i64, nanos: u32) -> Result<Instant, Reject> {
    if epoch_seconds.rem_euclid(SECONDS_PER_DAY) != 0 {
        return Err(Reject::invalid_value(
            "a leap second is the last of a UTC day",
        ));
    }
    Ok(Instant {
        epoch_seconds,
        nanos,
    })
}

/// A time as its clock shows it, counted as if that were UTC, and how many seconds that clock is ahead.
fn parts(text: &[u8]) -> Result<(Instant, Option<i64>), Reject> {
    let (head, rest) = text.split_first_chunk::<19>().ok_or_else(not_a_time)?;
    let separators = [head[13], head[16]];
    if !matches!(head[10], b'T' | b't' | b' ') || separators != *b"::" {
        return Err(not_a_time());
    }
    let form = |number: Option<u32>| number.ok_or_else(not_a_time);
    let (year, month, day) = year_month_day(&head[..10]).ok_or_else(not_a_time)?;
    let hour = form(two_digits(&head[11..13]))?;
    let minute = form(two_digits(&head[14..16]))?;
    let second = form(two_digits(&head[17..19]))?;
    let (nanos, zone) = fraction(rest).ok_or_else(not_a_time)?;
    let offset_seconds = match zone {
        [] => None,
        zone => Some(zone_offset(zone)?),
    };
    if !is_day(year, month, day) {
        return Err(Reject::invalid_value("no such day"));
    }
    if hour > 23 || minute > 59 || second > 60 {
        return Err(Reject::invalid_value("no such time of day"));
    }
    let epoch_seconds = epoch_day(year, month, day) * SECONDS_PER_DAY
        + i64::from(hour * 3600 + minute * 60 + second);
    let local = Instant {
        epoch_seconds,
        nanos,
    };
    Ok((local, offset_seconds))
}

/// Splits an optional fraction off, as nanoseconds.
pub(crate) fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let [b'.', rest @ ..] = text else {
        return Some((0, text));
    };
    let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&len) {
        return None;
    }
    let digits = rest[..len]
        .iter()
        .fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
    Some((digits * 10u32.pow(9 - len as u32), &rest[len..]))
}

/// Seconds that a zone's clocks are ahead of UTC.
pub(crate) fn zone_offset(zone: &[u8]) -> Result<i64, Reject> {
    let (sign, digits) = match zone {
        [] | [b'Z' | b'z'] => return Ok(0),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return Err(not_a_time()),
    };
    let (hours, minutes) = match *digits {
        [a, b] => ([a, b], *b"00"),
        [a, b, c, d] | [a, b, b':', c, d] => ([a, b], [c, d]),
        _ => return Err(not_a_time()),
    };
    let hours = two_digits(&hours).ok_or_else(not_a_time)?;
    let minutes = two_digits(&minutes).ok_or_else(not_a_time)?;
    if hours > 23 || minutes > 59 {
        return Err(Reject::invalid_value("no such zone offset"));
    }
    Ok(sign * i64::from(hours * 3600 + minutes * 60))
}

fn two_digits(text: &[u8]) -> Option<u32> {
    match *text {
        [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some(u32::from((a - b'0') * 10 + (b - b'0'))),
        _ => None,
    }
}

/// The numbers of `YYYY-MM-DD`, whether or not there is such a day.
fn year_month_day(text: &[u8]) -> Option<(u32, u32, u32)> {
    let text: &[u8; 10] = text.try_into().ok()?;
    if [text[4], text[7]] != *b"--" {
        return None;
    }
    let year = two_digits(&text[..2])? * 100 + two_digits(&text[2..4])?;
    Some((year, two_digits(&text[5..7])?, two_digits(&text[8..])?))
}

fn is_day(year: u32, month: u32, day: u32) -> bool {
    let leap = if year.is_multiple_of(100) {
        year.is_multiple_of(400)
    } else {
        year.is_multiple_of(4)
    };
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// Days since 1970-01-01 of a day of the proleptic Gregorian calendar, years 0–9999. Years begin in
/// March here, so that the leap day is a year's last (after Howard Hinnant's `days_from_civil`).
#[inline]
fn epoch_day(year: u32, month: u32, day: u32) -> i64 {
    // 400 years more, the calendar's period, keep January of year 0 above zero.
    let year = year + 400 - u32::from(month <= 2);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
    i64::from(days) - DAYS_TO_EPOCH
}

/// Year, month and day of a number of days since 1970-01-01, in the proleptic Gregorian calendar (after
/// Howard Hinnant's `civil_from_days`).
#[must_use]
pub fn day_of_epoch(days: i64) -> (i128, u32, u32) {
    // In 128 bits no sum of what 64 bits hold overflows.
    let days = i128::from(days) + 719_468;
    let (period, of_period) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_period - of_period / 1460 + of_period / 36_524 - of_period / 146_096) / 365;
    let of_year = of_period - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let month = (month_from_march + 2) % 12 + 1;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let year = year + period * 400 + i128::from(month <= 2);
    (year, month as u32, day as u32)
}

/// From 0000-03-01 to 1970-01-01, and one period of 400 years.
const DAYS_TO_EPOCH: i64 = 719_468 + 146_097;

/// Days since 1970-01-01 of a string `YYYY-MM-DD`, years 1–9999.
fn day(raw: Raw<'_>) -> Result<i64, Reject> {
    let form = || Reject::invalid_value("not a day: YYYY-MM-DD");
    if raw.kind() != Kind::String {
        return Err(form());
    }
    let text = text::to_text(raw)?;
    let (year, month, day) = year_month_day(text.as_bytes()).ok_or_else(form)?;
    if year == 0 || !is_day(year, month, day) {
        return Err(Reject::invalid_value("no such day"));
    }
    Ok(epoch_day(year, month, day))
}

/// Days since 1970-01-01 for Date.
///
/// # Errors
/// `invalid_value` unless a string `YYYY-MM-DD`; `out_of_range` outside 1970-01-01 … 2149-06-06.
pub fn date(raw: Raw<'_>) -> Result<u16, Reject> {
    u16::try_from(day(raw)?).map_err(|_| Reject::out_of_range("Date"))
}

/// Days since 1970-01-01 for Date32.
///
/// # Errors
/// `invalid_value` unless a string `YYYY-MM-DD`; `out_of_range` outside 1900-01-01 … 2299-12-31.
pub fn date32(raw: Raw<'_>) -> Result<i32, Reject> {
    date32_of_days(day(raw)?)
}

/// Days since 1970-01-01 for Date32.
pub fn date32_of_days(day: i64) -> Result<i32, Reject> {
    let days = SECONDS_MIN / SECONDS_PER_DAY..=SECONDS_MAX / SECONDS_PER_DAY;
    let day = days
        .contains(&day)
        .then_some(day)
        .and_then(|day| i32::try_from(day).ok());
    day.ok_or_else(|| Reject::out_of_range("Date32"))
}

#[cfg(test)]
mod tests;
