//! Values with a range and a unit.

use std::time::Duration;

use super::tree::Value;
use super::value::{Kind, text_of};

/// `1234567` as `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

pub(super) fn format_size(bytes: u64) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes > 0 && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    format!("{bytes}B")
}

/// The shortest spelling in one unit, the same for equal durations: `90s`, `2m`, `24h`, `7days`.
pub(super) fn format_duration(duration: Duration) -> String {
    const UNITS: [(u128, &str); 6] = [
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ];
    let nanos = duration.as_nanos();
    let days = nanos / 86_400_000_000_000;
    if days >= 2 && nanos.is_multiple_of(86_400_000_000_000) {
        return format!("{days}days");
    }
    if nanos == 0 {
        return "0s".to_owned();
    }
    let exact = UNITS.iter().find(|(unit, _)| nanos.is_multiple_of(*unit));
    let (unit, name) = exact.expect("every duration is whole nanoseconds");
    format!("{}{name}", nanos / unit)
}

/// An integer in a closed range.
pub(super) struct Integer {
    pub(super) min: u64,
    pub(super) max: u64,
    pub(super) unit: &'static str,
}

impl Kind for Integer {
    type Out = u64;

    fn allowed(&self) -> String {
        let (min, max) = (grouped(self.min), grouped(self.max));
        format!("an integer from {min} to {max} ({})", self.unit)
    }

    fn read(&self, value: &Value) -> Option<u64> {
        let integer = match value {
            Value::Integer(integer) => u64::try_from(*integer).ok()?,
            Value::Variable(text) => text.trim().replace('_', "").parse().ok()?,
            _ => return None,
        };
        (self.min..=self.max).contains(&integer).then_some(integer)
    }

    fn canonical(&self, out: &u64) -> String {
        out.to_string()
    }
}

/// A number in a closed range, written as a float or an integer.
pub(super) struct Number {
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) unit: &'static str,
}

impl Kind for Number {
    type Out = f64;

    fn allowed(&self) -> String {
        format!("a number from {} to {} ({})", self.min, self.max, self.unit)
    }

    fn read(&self, value: &Value) -> Option<f64> {
        let number = match value {
            Value::Float(float) => *float,
            // Integers this small are exact as floats; larger ones are out of every range.
            Value::Integer(integer) => f64::from(i32::try_from(*integer).ok()?),
            Value::Variable(text) => text.trim().parse().ok()?,
            _ => return None,
        };
        (self.min..=self.max).contains(&number).then_some(number)
    }

    fn canonical(&self, out: &f64) -> String {
        format!("{out:?}")
    }
}

/// `5s`, `1h 30m`; none for months and years, whose length the calendar decides.
fn fixed_duration(text: &str) -> Option<Duration> {
    if has_calendar_unit(text) {
        return None;
    }
    humantime::parse_duration(text.trim()).ok()
}

fn has_calendar_unit(text: &str) -> bool {
    const CALENDAR_UNITS: [&str; 8] = ["months", "month", "M", "years", "year", "yrs", "yr", "y"];
    let mut units = text.split(|c: char| !c.is_ascii_alphabetic());
    units.any(|unit| CALENDAR_UNITS.contains(&unit))
}

/// A length of time in a closed range, as `"5s"` or `"1h 30m"`.
pub(super) struct Span {
    pub(super) min: Duration,
    pub(super) max: Duration,
}

impl Span {
    pub(super) const fn millis(min: u64, max: u64) -> Self {
        Span {
            min: Duration::from_millis(min),
            max: Duration::from_millis(max),
        }
    }

    pub(super) const fn secs(min: u64, max: u64) -> Self {
        Span {
            min: Duration::from_secs(min),
            max: Duration::from_secs(max),
        }
    }
}

impl Kind for Span {
    type Out = Duration;

    fn allowed(&self) -> String {
        let (min, max) = (format_duration(self.min), format_duration(self.max));
        format!("a duration from {min} to {max}, such as \"5s\"")
    }

    fn read(&self, value: &Value) -> Option<Duration> {
        let duration = fixed_duration(text_of(value)?)?;
        (self.min..=self.max)
            .contains(&duration)
            .then_some(duration)
    }

    fn canonical(&self, out: &Duration) -> String {
        format_duration(*out)
    }

    fn found(&self, value: &Value) -> String {
        if text_of(value).is_some_and(has_calendar_unit) {
            return format!(
                "{value}: months (M) and years have no fixed length, so write days; minutes are \"m\""
            );
        }
        value.to_string()
    }
}

/// A length of time, or 0 for no limit.
pub(super) struct SpanOrZero(pub(super) Span);

impl Kind for SpanOrZero {
    type Out = Option<Duration>;

    fn allowed(&self) -> String {
        format!("{}, or 0 for no limit", self.0.allowed())
    }

    fn read(&self, value: &Value) -> Option<Option<Duration>> {
        let zero = match value {
            Value::Integer(integer) => *integer == 0,
            value => fixed_duration(text_of(value)?)?.is_zero(),
        };
        if zero {
            Some(None)
        } else {
            self.0.read(value).map(Some)
        }
    }

    fn canonical(&self, out: &Option<Duration>) -> String {
        out.map_or("0".to_owned(), format_duration)
    }

    fn found(&self, value: &Value) -> String {
        self.0.found(value)
    }
}

/// A number of bytes in a closed range: `"64MiB"` (1024²), `"64MB"` (1000²), or an integer of bytes.
pub(super) struct Size {
    pub(super) min: u64,
    pub(super) max: u64,
}

impl Kind for Size {
    type Out = u64;

    fn allowed(&self) -> String {
        let (min, max) = (format_size(self.min), format_size(self.max));
        format!("a size from {min} to {max}, such as \"64MiB\" or an integer of bytes")
    }

    fn read(&self, value: &Value) -> Option<u64> {
        let bytes = match value {
            Value::Integer(integer) => u64::try_from(*integer).ok()?,
            value => text_of(value)?
                .trim()
                .parse::<bytesize::ByteSize>()
                .ok()?
                .as_u64(),
        };
        (self.min..=self.max).contains(&bytes).then_some(bytes)
    }

    fn canonical(&self, out: &u64) -> String {
        out.to_string()
    }
}
