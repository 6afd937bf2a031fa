//! Days and times of any year: the text of what a String column takes, and back.
//!
//! The proleptic Gregorian calendar with a year 0, which is 1 BC. Years 0–9999 have four digits,
//! others a sign and at least as many.

use std::io::Write as _;

pub(super) const SECONDS_PER_DAY: i64 = 86_400;
/// Days of 400 years, after which the calendar repeats.
const PERIOD_DAYS: i64 = 146_097;
/// From 0000-03-01 to 1970-01-01.
const DAYS_TO_EPOCH: i64 = 719_468;
/// Later and earlier years are in no database.
const YEAR_MAX: i64 = 300_000_000;

/// A day as people name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) year: i64,
    pub(super) month: u32,
    pub(super) day: u32,
}

impl Day {
    /// The day this many days after 1970-01-01. Years begin in March here, so that the leap day is a
    /// year's last (after Howard Hinnant's `civil_from_days`).
    pub(super) fn of_epoch(days: i64) -> Day {
        // In 128 bits no sum of what 64 bits hold overflows.
        let days = i128::from(days) + i128::from(DAYS_TO_EPOCH);
        let period = days.div_euclid(PERIOD_DAYS.into()) as i64;
        let of_period = days.rem_euclid(PERIOD_DAYS.into()) as i64;
        let year_of_period =
            (of_period - of_period / 1460 + of_period / 36_524 - of_period / 146_096) / 365;
        let of_year =
            of_period - (365 * year_of_period + year_of_period / 4 - year_of_period / 100);
        let month_from_march = (5 * of_year + 2) / 153;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        Day {
            year: year_of_period + period * 400 + i64::from(month <= 2),
            month: month as u32,
            day: (of_year - (153 * month_from_march + 2) / 5 + 1) as u32,
        }
    }

    /// Days since 1970-01-01; none for a day that does not exist.
    pub(super) fn epoch_days(self) -> Option<i64> {
        if !(-YEAR_MAX..=YEAR_MAX).contains(&self.year)
            || !(1..=12).contains(&self.month)
            || self.day == 0
        {
            return None;
        }
        let year = self.year - i64::from(self.month <= 2);
        let of_period = year.rem_euclid(400);
        let month_from_march = i64::from((self.month + 9) % 12);
        let of_year = (153 * month_from_march + 2) / 5 + i64::from(self.day) - 1;
        let days = year.div_euclid(400) * PERIOD_DAYS + of_period * 365 + of_period / 4
            - of_period / 100
            + of_year
            - DAYS_TO_EPOCH;
        // The 31st of a month with 30 days comes back as another day.
        (Day::of_epoch(days) == self).then_some(days)
    }

    /// Reads `YYYY-MM-DD`, the year with a sign where it has one; also what follows it.
    pub(super) fn parse(text: &[u8]) -> Option<(Day, &[u8])> {
        let (sign, unsigned) = match text {
            [b'-', rest @ ..] => (-1, rest),
            [b'+', rest @ ..] => (1, rest),
            rest => (1, rest),
        };
        let year_len = unsigned.iter().position(|&byte| byte == b'-')?;
        if !(4..=10).contains(&year_len) {
            return None;
        }
        let (rest, behind) = unsigned[year_len..].split_first_chunk::<6>()?;
        if [rest[0], rest[3]] != *b"--" {
            return None;
        }
        let day = Day {
            year: sign * number(&unsigned[..year_len])?,
            month: number(&rest[1..3])? as u32,
            day: number(&rest[4..])? as u32,
        };
        Some((day, behind))
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, byte| {
        byte.is_ascii_digit()
            .then(|| number * 10 + i64::from(byte - b'0'))
    })
}

/// Appends the text of the day this many days after 1970-01-01.
pub(super) fn append_day(days: i64, out: &mut Vec<u8>) {
    let Day { year, month, day } = Day::of_epoch(days);
    let sign = match year {
        ..0 => "-",
        0..=9999 => "",
        _ => "+",
    };
    let year = year.unsigned_abs();
    append(out, format_args!("{sign}{year:04}-{month:02}-{day:02}"));
}

/// Appends the text of a point in time: `YYYY-MM-DD hh:mm:ss[.f…]`.
pub(super) fn append_time(epoch_seconds: i64, nanos: u32, out: &mut Vec<u8>) {
    append_day(epoch_seconds.div_euclid(SECONDS_PER_DAY), out);
    out.push(b' ');
    append_clock(epoch_seconds.rem_euclid(SECONDS_PER_DAY), nanos, out);
}

/// Appends `hh:mm:ss[.f…]` without trailing zeros.
pub(super) fn append_clock(seconds: i64, nanos: u32, out: &mut Vec<u8>) {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    append(out, format_args!("{hours:02}:{minutes:02}:{seconds:02}"));
    if nanos > 0 {
        append(out, format_args!(".{nanos:09}"));
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

pub(super) fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("memory takes every byte");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(days: i64) -> String {
        let mut out = Vec::new();
        append_day(days, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn days_have_their_names() {
        for (days, name) in [
            (0, "1970-01-01"),
            (20_512, "2026-02-28"),
            (-719_528, "0000-01-01"),
            (-735_160, "-0043-03-15"),
            (-2_440_550, "-4712-01-01"),
            (2_932_896, "9999-12-31"),
            (2_932_897, "+10000-01-01"),
            (2_145_042_905, "+5874897-12-31"),
        ] {
            assert_eq!(text(days), name);
            let (day, rest) = Day::parse(name.as_bytes()).unwrap();
            assert_eq!((day.epoch_days(), rest), (Some(days), &b""[..]), "{name}");
        }
        for name in [
            "2026-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-04-31",
            "2026-01-00",
        ] {
            let (day, _) = Day::parse(name.as_bytes()).unwrap();
            assert_eq!(day.epoch_days(), None, "{name}");
        }
        for name in [
            "",
            "-",
            "26-01-01",
            "2026-1-1",
            "20260101",
            "2026-01",
            "++2026-01-01",
        ] {
            assert_eq!(Day::parse(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn the_ends_of_64_bits_are_days_too() {
        for days in [i64::MIN, i64::MAX] {
            text(days);
        }
    }

    proptest! {
        #[test]
        fn every_day_comes_back(days in -100_000_000_000i64..100_000_000_000) {
            let name = text(days);
            prop_assert_eq!(Day::parse(name.as_bytes()).unwrap().0.epoch_days(), Some(days));
        }
    }
}
