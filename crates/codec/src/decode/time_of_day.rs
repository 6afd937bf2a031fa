//! Times of day, and the lengths of time that columns and databases of that name also hold.

use super::json::{Kind, Raw};
use super::{Reject, number, text};

pub(crate) const NANOS_PER_SECOND: i64 = 1_000_000_000;
/// 999:59:59.999999999, either side of zero: where Time and Time64 end.
const NANOS_MAX: i64 = (1000 * 3600) * NANOS_PER_SECOND - 1;

/// A time since midnight, before it is cut to a column's precision; may be negative or above a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay {
    /// Nanoseconds since midnight.
    pub nanos: i64,
}

impl TimeOfDay {
    /// Reads `[-]hh:mm:ss` or `[-]hhh:mm:ss`, optionally with a point and 1–9 digits.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<TimeOfDay> {
        let (sign, text) = match text {
            [b'-', rest @ ..] => (-1, rest),
            rest => (1, rest),
        };
        let hours_len = text.iter().position(|&byte| byte == b':')?;
        if !(2..=3).contains(&hours_len) {
            return None;
        }
        let hours = digits(&text[..hours_len])?;
        let (clock, rest) = text[hours_len..].split_first_chunk::<6>()?;
        if [clock[0], clock[3]] != *b"::" {
            return None;
        }
        let (minutes, seconds) = (digits(&clock[1..3])?, digits(&clock[4..])?);
        if minutes > 59 || seconds > 59 {
            return None;
        }
        let nanos = fraction(rest)?;
        let seconds = (hours * 60 + minutes) * 60 + seconds;
        Some(TimeOfDay {
            nanos: sign * (seconds * NANOS_PER_SECOND + nanos),
        })
    }

    /// Ticks of `10^-precision` seconds for Time64(precision), digits beyond dropped.
    ///
    /// # Errors
    /// `out_of_range` beyond 999:59:59 on either side.
    pub fn ticks(self, precision: u8) -> Result<i64, Reject> {
        if self.nanos.unsigned_abs() > NANOS_MAX as u64 {
            return Err(Reject::out_of_range(format!("Time64({precision})")));
        }
        Ok(self.nanos / 10i64.pow(9 - u32::from(precision.min(9))))
    }
}

/// Reads a string as [`TimeOfDay::parse`] does, and an integer as so many times `unit_nanos`.
///
/// # Errors
/// `invalid_value` for everything else, `out_of_range` for an integer that no column holds.
pub fn time_of_day(raw: Raw<'_>, unit_nanos: i64) -> Result<TimeOfDay, Reject> {
    let no_time = || Reject::invalid_value("not a time of day: hh:mm:ss[.fff], or an integer");
    match raw.kind() {
        Kind::String => TimeOfDay::parse(text::to_text(raw)?.as_bytes()).ok_or_else(no_time),
        Kind::Number => {
            let count = number::signed(raw, i64::MIN, i64::MAX, "Time")?;
            let nanos = count.checked_mul(unit_nanos);
            let nanos = nanos.ok_or_else(|| Reject::out_of_range("Time"))?;
            Ok(TimeOfDay { nanos })
        }
        _ => Err(no_time()),
    }
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |number, byte| {
        byte.is_ascii_digit()
            .then(|| number * 10 + i64::from(byte - b'0'))
    })
}

/// Nanoseconds of nothing at all or of a point and 1–9 digits.
fn fraction(text: &[u8]) -> Option<i64> {
    match text {
        [] => Some(0),
        [b'.', rest @ ..] if (1..=9).contains(&rest.len()) => {
            Some(digits(rest)? * 10i64.pow(9 - rest.len() as u32))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_may_be_negative_and_longer_than_a_day() {
        for (text, nanos) in [
            ("00:00:00", 0),
            ("24:00:00", 86_400 * NANOS_PER_SECOND),
            ("00:00:01.5", 1_500_000_000),
            (
                "-838:59:59.000001",
                -(838 * 3600 + 3599) * NANOS_PER_SECOND - 1000,
            ),
        ] {
            assert_eq!(
                TimeOfDay::parse(text.as_bytes()),
                Some(TimeOfDay { nanos }),
                "{text}"
            );
        }
        for text in [
            "",
            "1:00:00",
            "00:00",
            "00:60:00",
            "00:00:60",
            "00:00:00.",
            "00:00:00Z",
            "+01:00:00",
            "00:00:00.1234567890",
            "0000:00:00",
            "٠٠:00:00",
            "-",
            "--01:00:00",
        ] {
            assert_eq!(TimeOfDay::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn ticks_end_at_a_thousand_hours() {
        let time = |text: &str| TimeOfDay::parse(text.as_bytes()).unwrap();
        assert_eq!(time("999:59:59.999").ticks(3), Ok(3_599_999_999));
        assert_eq!(time("-00:00:00.0019").ticks(3), Ok(-1));
        for nanos in [NANOS_MAX + 1, -NANOS_MAX - 1, i64::MIN, i64::MAX] {
            assert!(TimeOfDay { nanos }.ticks(0).is_err(), "{nanos}");
        }
    }
}
