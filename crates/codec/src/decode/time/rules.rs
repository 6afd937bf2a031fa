//! What a pipeline declares of its times: the unit of numbers, the form of texts, the zone of texts
//! without one.

use std::fmt;

use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{Timestamp, Zoned};

use super::{Instant, TimeUnit, has_leap_second, leap, parts, time_text, utc_milliseconds};
use crate::decode::Reject;

/// How times are read. The default is that of formats without declarations.
#[derive(Debug, Clone, Copy, Default)]
pub struct TimeRules<'r> {
    /// What numbers are that stand for times.
    pub unit: Option<TimeUnit>,
    /// What numbers are that stand for times of day: what is declared of the column itself.
    pub unit_of_day: Option<TimeUnit>,
    /// What texts are.
    pub texts: Option<&'r TextRules>,
}

impl TimeRules<'_> {
    /// Whether nothing is declared.
    #[must_use]
    pub fn are_default(&self) -> bool {
        self.unit.is_none() && self.unit_of_day.is_none() && self.texts.is_none()
    }
}

impl From<Option<TimeUnit>> for TimeRules<'_> {
    fn from(unit: Option<TimeUnit>) -> Self {
        TimeRules {
            unit,
            unit_of_day: unit,
            texts: None,
        }
    }
}

impl From<TimeUnit> for TimeRules<'_> {
    fn from(unit: TimeUnit) -> Self {
        Some(unit).into()
    }
}

/// How texts are read that stand for times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextRules {
    /// Of texts that are not RFC 3339, as strptime has it.
    format: Option<Box<str>>,
    /// Of texts without zone; none: UTC.
    zone: Option<TimeZone>,
}

impl TextRules {
    /// `format` as strptime has it, `zone` as the IANA database names it; none where neither is given.
    ///
    /// # Errors
    /// A format that no time can be read by; a zone that is not in the database.
    pub fn new(format: Option<&str>, zone: Option<&str>) -> Result<Option<TextRules>, String> {
        let zone = zone.map(TimeZone::get).transpose();
        let zone = zone.map_err(|error| error.to_string())?;
        format.map_or(Ok(()), check)?;
        let rules = TextRules {
            format: format.map(Box::from),
            zone,
        };
        let is_default = rules.format.is_none() && rules.zone.is_none();
        Ok((!is_default).then_some(rules))
    }

    /// The same without the format: how texts of the configuration are read.
    #[must_use]
    pub fn without_format(&self) -> TextRules {
        TextRules {
            format: None,
            zone: self.zone.clone(),
        }
    }

    /// Reads a text: by the format, else as RFC 3339 has it.
    pub(super) fn instant(&self, text: &str) -> Result<Instant, Reject> {
        if let Some(format) = &self.format
            && let Ok(read) = BrokenDownTime::parse(&**format, text.as_bytes())
        {
            let instant = self.of_format(&read)?;
            return match is_leap(format, text, &read) {
                true => leap(instant.epoch_seconds + 1, instant.nanos),
                false => Ok(instant),
            };
        }
        if let Some(instant) = utc_milliseconds(text.as_bytes()) {
            return Ok(instant);
        }
        let read = parts(text.as_bytes()).map_err(|reject| self.explained(reject))?;
        let (Some(zone), (local, None)) = (&self.zone, read) else {
            return time_text(text.as_bytes());
        };
        let utc = Timestamp::from_second(local.epoch_seconds).map_err(|_| no_such_time())?;
        let instant = of_zone(
            zone,
            zone.iana_name().unwrap_or("the zone"),
            Offset::UTC.to_datetime(utc),
        )?;
        match has_leap_second(text.as_bytes()) {
            true => leap(instant.epoch_seconds, local.nanos),
            false => Ok(Instant {
                nanos: local.nanos,
                ..instant
            }),
        }
    }

    /// A text that has been read by the format.
    fn of_format(&self, read: &BrokenDownTime) -> Result<Instant, Reject> {
        // What jiff says of a text has parts of it, and the text may be private.
        let zone = match (read.iana_time_zone(), read.offset()) {
            // The two must agree.
            (Some(_), Some(_)) => {
                let disagree = "no such time, or its zone and its offset do not agree";
                let zoned = read
                    .to_zoned()
                    .map_err(|_| Reject::invalid_value(disagree))?;
                return Ok(of_timestamp(zoned.timestamp()));
            }
            (Some(name), None) => {
                let no_zone = |_| Reject::invalid_value("no such time zone");
                let zone = TimeZone::get(name).map_err(no_zone)?;
                let local = read.to_datetime().map_err(|_| no_such_time())?;
                return of_zone(&zone, "the zone of the text", local);
            }
            (None, Some(_)) => {
                let timestamp = read.to_timestamp().map_err(|_| no_such_time())?;
                return Ok(of_timestamp(timestamp));
            }
            (None, None) => match read.to_timestamp() {
                Ok(timestamp) => return Ok(of_timestamp(timestamp)),
                Err(_) => self.zone.clone().unwrap_or(TimeZone::UTC),
            },
        };
        // A format of days alone means their beginning.
        let local = read.to_datetime().map_err(|_| no_such_time())?;
        of_zone(&zone, zone.iana_name().unwrap_or("the zone"), local)
    }

    /// A refusal that says which form was wanted.
    #[cold]
    fn explained(&self, reject: Reject) -> Reject {
        match &self.format {
            None => reject,
            Some(format) => {
                Reject::invalid_value(format!("not a time by time_format {format:?} or RFC 3339"))
            }
        }
    }
}

impl fmt::Display for TextRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = self.zone.as_ref().and_then(|zone| zone.iana_name());
        write!(f, "format {:?} zone {zone:?}", self.format)
    }
}

/// Whether the second of a text is 60, which reading by a format makes 59.
fn is_leap(format: &str, text: &str, read: &BrokenDownTime) -> bool {
    if read.second() != Some(59) {
        return false;
    }
    text.match_indices("60").any(|(at, sixty)| {
        let other = format!("{}59{}", &text[..at], &text[at + sixty.len()..]);
        BrokenDownTime::parse(format, other.as_bytes()).is_ok_and(|other| {
            let same_time = matches!((other.to_time(), read.to_time()), (Ok(a), Ok(b)) if a == b);
            let same_day = matches!((other.to_date(), read.to_date()), (Ok(a), Ok(b)) if a == b);
            same_time && same_day && other.offset() == read.offset()
        })
    })
}

/// A format must read what it writes.
fn check(format: &str) -> Result<(), String> {
    let sample: Timestamp = "2025-11-21T10:20:30Z".parse().expect("a time");
    let sample: Zoned = sample.to_zoned(TimeZone::UTC);
    let refused = |why: &dyn fmt::Display| format!("is no strptime format of a time: {why}");
    let text = jiff::fmt::strtime::format(format, &sample).map_err(|e| refused(&e))?;
    let read = BrokenDownTime::parse(format, text.as_bytes()).map_err(|e| refused(&e))?;
    if read.to_timestamp().is_ok() {
        return Ok(());
    }
    read.to_date().map_err(|_| refused(&"it says no day"))?;
    read.to_time().map_err(|error| refused(&error))?;
    Ok(())
}

/// The first of the instants at which clocks show a local time. A refusal calls the zone by `name`.
fn of_zone(zone: &TimeZone, name: &str, local: DateTime) -> Result<Instant, Reject> {
    let offset = match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset,
        AmbiguousOffset::Fold { before, .. } => before,
        AmbiguousOffset::Gap { .. } => {
            let detail = format!("no such local time in {name}: clocks were set forward over it");
            return Err(Reject::invalid_value(detail));
        }
    };
    let timestamp = offset.to_timestamp(local).map_err(|_| no_such_time())?;
    Ok(of_timestamp(timestamp))
}

fn of_timestamp(timestamp: Timestamp) -> Instant {
    let nanos = timestamp.as_nanosecond();
    Instant {
        epoch_seconds: nanos.div_euclid(1_000_000_000) as i64,
        nanos: nanos.rem_euclid(1_000_000_000) as u32,
    }
}

#[cold]
fn no_such_time() -> Reject {
    Reject::invalid_value("no such day or time of day")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: Option<&str>, zone: Option<&str>, text: &str) -> Result<String, String> {
        let rules = TextRules::new(format, zone)
            .expect("rules")
            .expect("declared ones");
        let instant = rules.instant(text).map_err(|reject| reject.to_string())?;
        let nanos = i128::from(instant.epoch_seconds) * 1_000_000_000 + i128::from(instant.nanos);
        Ok(Timestamp::from_nanosecond(nanos)
            .expect("a time")
            .to_string())
    }

    #[test]
    fn a_format_reads_its_texts_and_rfc_3339() {
        let german = Some("%d.%m.%Y %H:%M:%S%.f");
        for (format, text, expected) in [
            (german, "21.11.2025 10:00:00.25", "2025-11-21T10:00:00.25Z"),
            (german, "21.11.2025 10:00:00", "2025-11-21T10:00:00Z"),
            (german, "2025-11-21T10:00:00Z", "2025-11-21T10:00:00Z"),
            (german, "2025-11-21 10:00:00+01:00", "2025-11-21T09:00:00Z"),
            (
                Some("%d/%b/%Y:%H:%M:%S %z"),
                "21/Nov/2025:10:00:00 +0200",
                "2025-11-21T08:00:00Z",
            ),
            (Some("%Y%m%d"), "20251121", "2025-11-21T00:00:00Z"),
            (Some("%s"), "1763719200", "2025-11-21T10:00:00Z"),
        ] {
            assert_eq!(read(format, None, text).as_deref(), Ok(expected), "{text}");
        }
        let refused = read(german, None, "21.11. 10 Uhr").unwrap_err();
        assert_eq!(
            refused,
            "invalid_value: not a time by time_format \"%d.%m.%Y %H:%M:%S%.f\" or RFC 3339"
        );
        assert!(read(german, None, "30.02.2025 10:00:00").is_err());
    }

    #[test]
    fn a_zone_in_a_text_that_says_no_time_is_not_that_of_the_pipeline() {
        let (format, berlin) = (Some("%Y-%m-%d %H:%M %Q"), Some("Europe/Berlin"));
        for (format, text, expected) in [
            (
                format,
                "2025-07-01 12:00 America/New_York",
                "2025-07-01T16:00:00Z",
            ),
            (
                Some("%Y-%m-%d %H:%M %z %Q"),
                "2025-07-01 12:00 -0400 America/New_York",
                "2025-07-01T16:00:00Z",
            ),
        ] {
            assert_eq!(
                read(format, berlin, text).as_deref(),
                Ok(expected),
                "{text}"
            );
        }
        for (format, text) in [
            (format, "2025-07-01 12:00 Mars/Olympus"),
            (format, "2025-03-09 02:30 America/New_York"),
            (
                Some("%Y-%m-%d %H:%M %z %Q"),
                "2025-07-01 12:00 +0100 America/New_York",
            ),
        ] {
            let refused = read(format, berlin, text).unwrap_err();
            assert!(refused.starts_with("invalid_value: no such "), "{refused}");
            for part in ["2025", "02", "30", "York", "Olympus", "+01"] {
                assert!(!refused.contains(part), "{refused}");
            }
        }
    }

    #[test]
    fn a_leap_second_is_the_last_of_a_day_in_utc_by_a_zone_and_by_a_format_too() {
        let berlin = Some("Europe/Berlin");
        let format = Some("%d.%m.%Y %H:%M:%S%.f");
        for (format, zone, text, expected) in [
            (
                None,
                berlin,
                "2017-01-01T00:59:60",
                Ok("2017-01-01T00:00:00Z"),
            ),
            (None, berlin, "2025-11-21T10:00:60", Err(())),
            (None, berlin, "2016-12-31T23:59:60", Err(())),
            (
                format,
                berlin,
                "01.01.2017 00:59:60.5",
                Ok("2017-01-01T00:00:00.5Z"),
            ),
            (format, berlin, "31.12.2016 23:59:60", Err(())),
            (
                format,
                None,
                "31.12.2016 23:59:60",
                Ok("2017-01-01T00:00:00Z"),
            ),
            (
                format,
                None,
                "31.12.1960 23:58:59.60",
                Ok("1960-12-31T23:58:59.6Z"),
            ),
        ] {
            let read = read(format, zone, text);
            match expected {
                Ok(expected) => assert_eq!(read.as_deref(), Ok(expected), "{text}"),
                Err(()) => {
                    let refused = read.unwrap_err();
                    assert!(refused.contains("a leap second is the last"), "{refused}");
                }
            }
        }
    }

    #[test]
    fn a_zone_is_that_of_texts_without_one_and_a_time_that_is_twice_is_the_first() {
        let berlin = Some("Europe/Berlin");
        let format = Some("%d.%m.%Y %H:%M");
        for (format, text, expected) in [
            (None, "2025-07-01T12:00:00", "2025-07-01T10:00:00Z"),
            (
                None,
                "2025-11-21 10:00:00.123456789",
                "2025-11-21T09:00:00.123456789Z",
            ),
            (None, "2025-11-21T10:00:00Z", "2025-11-21T10:00:00Z"),
            (None, "2025-11-21T10:00:00.000Z", "2025-11-21T10:00:00Z"),
            (None, "2025-11-21T10:00:00-05:00", "2025-11-21T15:00:00Z"),
            (None, "2025-10-26T02:30:00", "2025-10-26T00:30:00Z"),
            (format, "26.10.2025 02:30", "2025-10-26T00:30:00Z"),
            (None, "1899-12-31T23:00:00.5", "1899-12-31T22:00:00.5Z"),
        ] {
            assert_eq!(
                read(format, berlin, text).as_deref(),
                Ok(expected),
                "{text}"
            );
        }
        for (format, text) in [(None, "2025-03-30T02:30:00"), (format, "30.03.2025 02:30")] {
            let refused = read(format, berlin, text).unwrap_err();
            let expected = "invalid_value: no such local time in Europe/Berlin";
            assert!(refused.starts_with(expected), "{refused}");
        }
    }

    #[test]
    fn what_is_no_format_and_no_zone_is_refused() {
        for format in ["%Q", "%H:%M", "%", "%Y-%m-%d %M"] {
            assert!(TextRules::new(Some(format), None).is_err(), "{format}");
        }
        assert!(TextRules::new(None, Some("Mars/Olympus")).is_err());
        assert_eq!(TextRules::new(None, None), Ok(None));
    }
}
