//! Times that are JSON numbers: counted from 1970-01-01 00:00:00 UTC in a unit that somebody declared,
//! or in the one that the value and its column suggest.

use super::{Instant, not_a_time};
use crate::decode::number::integer_token;
use crate::decode::{Reason, Reject};

/// Integers that, read as milliseconds, lie in the first months of 1970 and, read as seconds, between
/// 2001-09-09 and 2286-11-20: nearly always seconds.
const LIKELY_SECONDS: std::ops::RangeInclusive<i64> = 1_000_000_000..=9_999_999_999;
/// No time of any column needs so many digits before the point, whatever the unit.
const DIGITS_MAX: i64 = 30;

/// What one of a number is, in a declared unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeUnit {
    /// 1 s.
    Seconds,
    /// 10^-3 s.
    Milliseconds,
    /// 10^-6 s.
    Microseconds,
    /// 10^-9 s.
    Nanoseconds,
}

impl TimeUnit {
    /// Nanoseconds of one.
    #[must_use]
    pub fn nanos(self) -> i64 {
        match self {
            TimeUnit::Seconds => 1_000_000_000,
            TimeUnit::Milliseconds => 1_000_000,
            TimeUnit::Microseconds => 1_000,
            TimeUnit::Nanoseconds => 1,
        }
    }
}

/// How a number is read as a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NumberUnit {
    /// In this unit; fractions are allowed.
    Declared(TimeUnit),
    /// Integers are milliseconds; those that look like seconds are refused.
    Milliseconds,
    /// Numbers that look like seconds are seconds, other integers are milliseconds.
    SecondsIfLikely,
}

impl NumberUnit {
    /// The declared unit, or milliseconds.
    #[must_use]
    pub fn of_event_time(declared: Option<TimeUnit>) -> Self {
        declared.map_or(NumberUnit::Milliseconds, NumberUnit::Declared)
    }
}

impl TimeUnit {
    /// Of a unit's ten-thousands and so on: nanoseconds are 10^this of it.
    fn nanosecond_digits(self) -> i64 {
        match self {
            TimeUnit::Seconds => 9,
            TimeUnit::Milliseconds => 6,
            TimeUnit::Microseconds => 3,
            TimeUnit::Nanoseconds => 0,
        }
    }
}

/// Reads a JSON number.
pub(super) fn number(token: &str, unit: NumberUnit) -> Result<Instant, Reject> {
    if let NumberUnit::Declared(unit) = unit {
        return in_unit(token, unit);
    }
    let Some(integer) = integer_token(token) else {
        return undeclared_fraction(token, unit);
    };
    let out_of_range = || Reject::out_of_range("epoch milliseconds");
    let number = integer
        .signed(i64::MIN, i64::MAX)
        .ok_or_else(out_of_range)?;
    if !LIKELY_SECONDS.contains(&number) {
        return Ok(Instant::from_epoch_ms(number));
    }
    match unit {
        NumberUnit::SecondsIfLikely => Ok(Instant {
            epoch_seconds: number,
            nanos: 0,
        }),
        _ => Err(looks_like_seconds()),
    }
}

/// Without a declared unit only what looks like seconds may have a fraction.
#[cold]
fn undeclared_fraction(token: &str, unit: NumberUnit) -> Result<Instant, Reject> {
    let seconds = in_unit(token, TimeUnit::Seconds).ok();
    let likely = seconds.filter(|time| LIKELY_SECONDS.contains(&time.epoch_seconds));
    match (likely, unit) {
        (Some(time), NumberUnit::SecondsIfLikely) => Ok(time),
        (Some(_), _) => Err(looks_like_seconds()),
        (None, _) => Err(not_a_time()),
    }
}

#[cold]
fn looks_like_seconds() -> Reject {
    Reject::new(Reason::ImplausibleTime, "looks like seconds: set time_unit")
}

/// Any JSON number in this unit, digits beyond nanoseconds dropped.
fn in_unit(token: &str, unit: TimeUnit) -> Result<Instant, Reject> {
    let nanos = epoch_nanos(token, unit.nanosecond_digits())?;
    let epoch_seconds = i64::try_from(nanos.div_euclid(1_000_000_000));
    Ok(Instant {
        epoch_seconds: epoch_seconds.map_err(|_| Reject::out_of_range("epoch time"))?,
        nanos: nanos.rem_euclid(1_000_000_000) as u32,
    })
}

/// A JSON number times 10^`shift`, rounded down: its digits with the point moved, never through a float.
fn epoch_nanos(token: &str, shift: i64) -> Result<i128, Reject> {
    let (coefficient, exponent) = token.split_once(['e', 'E']).unwrap_or((token, "0"));
    let (is_negative, coefficient) = match coefficient.strip_prefix('-') {
        Some(coefficient) => (true, coefficient),
        None => (false, coefficient),
    };
    let (whole, fraction) = coefficient.split_once('.').unwrap_or((coefficient, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    let leading_zeros = digits().take_while(|digit| *digit == b'0').count();
    if leading_zeros == whole.len() + fraction.len() {
        return Ok(0);
    }
    // An exponent that does not fit is beyond every time, or below every nanosecond.
    let exponent = exponent.trim_start_matches('+').parse().unwrap_or({
        if exponent.starts_with('-') {
            i64::MIN
        } else {
            i64::MAX
        }
    });
    let before_point = (whole.len() as i64 - leading_zeros as i64)
        .saturating_add(exponent)
        .saturating_add(shift);
    if before_point > DIGITS_MAX {
        return Err(Reject::out_of_range("epoch time"));
    }
    let kept = usize::try_from(before_point).unwrap_or(0);
    let mut rest = digits().skip(leading_zeros);
    let mut magnitude = 0;
    for _ in 0..kept {
        magnitude = magnitude * 10 + i128::from(rest.next().unwrap_or(b'0') - b'0');
    }
    let has_more = rest.any(|digit| digit != b'0');
    Ok(if is_negative {
        -magnitude - i128::from(has_more)
    } else {
        magnitude
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(token: &str, unit: NumberUnit) -> Result<(i64, u32), Reason> {
        let read = number(token, unit);
        read.map(|time| (time.epoch_seconds, time.nanos))
            .map_err(|reject| reject.reason)
    }

    const TEN: i64 = 1_763_719_200; // 2025-11-21T10:00:00Z

    #[test]
    fn a_declared_unit_reads_integers_and_fractions_exactly() {
        use TimeUnit::{Microseconds, Milliseconds, Nanoseconds, Seconds};
        let cases = [
            ("1763719200", Seconds, (TEN, 0)),
            ("1763719200.25", Seconds, (TEN, 250_000_000)),
            ("1763719200.0", Seconds, (TEN, 0)),
            ("1763719200.1234567899", Seconds, (TEN, 123_456_789)),
            ("1.76371920025E9", Seconds, (TEN, 250_000_000)),
            ("17637192000e-1", Seconds, (TEN, 0)),
            ("1.7637192e+9", Seconds, (TEN, 0)),
            ("12", Seconds, (12, 0)),
            ("0", Seconds, (0, 0)),
            ("-0.0", Seconds, (0, 0)),
            ("0e99999999999999999999", Seconds, (0, 0)),
            ("1e-99999999999999999999", Seconds, (0, 0)),
            ("-1", Seconds, (-1, 0)),
            ("-0.25", Seconds, (-1, 750_000_000)),
            ("-0.00000000001", Seconds, (-1, 999_999_999)),
            ("-1e-99999999999999999999", Seconds, (-1, 999_999_999)),
            ("1763719200123", Milliseconds, (TEN, 123_000_000)),
            ("1763719200123.456", Milliseconds, (TEN, 123_456_000)),
            ("1763719200", Milliseconds, (1_763_719, 200_000_000)),
            ("1763719200123456", Microseconds, (TEN, 123_456_000)),
            ("1763719200123456789", Nanoseconds, (TEN, 123_456_789)),
            ("1763719200123456789.9", Nanoseconds, (TEN, 123_456_789)),
            ("-1", Nanoseconds, (-1, 999_999_999)),
        ];
        for (token, unit, expected) in cases {
            let seen = read(token, NumberUnit::Declared(unit));
            assert_eq!(seen, Ok(expected), "{token} {unit:?}");
        }
        for token in ["1e22", "1e400", "1e99999999999999999999", &"9".repeat(50)] {
            let seen = read(token, NumberUnit::Declared(Seconds));
            assert_eq!(seen, Err(Reason::OutOfRange), "{token}");
        }
    }

    #[test]
    fn without_a_unit_what_looks_like_seconds_is_never_read_as_milliseconds() {
        for token in ["1000000000", "1763719200", "9999999999", "1763719200.25"] {
            let seen = number(token, NumberUnit::Milliseconds).unwrap_err();
            assert_eq!(seen.reason, Reason::ImplausibleTime, "{token}");
            assert_eq!(seen.detail, "looks like seconds: set time_unit");
        }
        let seconds = |token| read(token, NumberUnit::SecondsIfLikely);
        assert_eq!(seconds("1000000000"), Ok((1_000_000_000, 0)));
        assert_eq!(seconds("9999999999"), Ok((9_999_999_999, 0)));
        assert_eq!(seconds("1763719200.25"), Ok((TEN, 250_000_000)));
        assert_eq!(seconds("1.7637192E9"), Ok((TEN, 0)));
        for unit in [NumberUnit::Milliseconds, NumberUnit::SecondsIfLikely] {
            assert_eq!(read("999999999", unit), Ok((999_999, 999_000_000)));
            assert_eq!(read("10000000000", unit), Ok((10_000_000, 0)));
            assert_eq!(read("-1763719200", unit), Ok((-1_763_720, 800_000_000)));
            assert_eq!(read("1763719200123", unit), Ok((TEN, 123_000_000)));
            assert_eq!(read("0", unit), Ok((0, 0)));
            for token in ["1763719200123.5", "1.7e12", "0.5", "-1.5"] {
                assert_eq!(read(token, unit), Err(Reason::InvalidValue), "{token}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_moved_point_changes_no_time(nanos in -2_208_988_800_000_000_000i64..9_000_000_000_000_000_000) {
            let sign = if nanos < 0 { "-" } else { "" };
            let size = nanos.unsigned_abs();
            let units = [
                (TimeUnit::Seconds, 1_000_000_000),
                (TimeUnit::Milliseconds, 1_000_000),
                (TimeUnit::Microseconds, 1000),
            ];
            let expected = Ok((nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000) as u32));
            for (unit, per_unit) in units {
                let digits = per_unit.to_string().len() - 1;
                let token = format!("{sign}{}.{:0digits$}", size / per_unit, size % per_unit);
                prop_assert_eq!(read(&token, NumberUnit::Declared(unit)), expected, "{}", token);
            }
            prop_assert_eq!(read(&nanos.to_string(), NumberUnit::Declared(TimeUnit::Nanoseconds)), expected);
        }
    }
}
