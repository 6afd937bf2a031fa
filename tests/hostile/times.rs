//! Times at and beyond every edge.

use crate::hostile::case::{Case, Expected, check, dead, event, row};
use crate::support::EVENT_TIME_MS;

/// 9999-12-31T23:59:59.999Z, far beyond every column.
const FAR_MS: i64 = 253_402_300_799_999;

/// The records carry a Kafka timestamp so late that no event time is ahead of it.
#[test]
fn times_at_every_edge() {
    let cases = [
        (
            "\"2016-12-31T23:59:60Z\"",
            row("timestamp", "2017-01-01 00:00:00.000"),
        ),
        (
            "\"2017-01-01T00:59:60+01:00\"",
            row("timestamp", "2017-01-01 00:00:00.000"),
        ),
        (
            "\"2016-12-31T23:59:60.999Z\"",
            row("timestamp", "2017-01-01 00:00:00.999"),
        ),
        ("\"2016-12-31T23:58:60Z\"", dead("invalid_value")),
        ("\"2016-12-31T23:59:61Z\"", dead("invalid_value")),
        ("\"2016-12-31T24:00:00Z\"", dead("invalid_value")),
        ("\"2020-02-30T00:00:00Z\"", dead("invalid_value")),
        ("\"2100-02-29T00:00:00Z\"", dead("invalid_value")),
        (
            "\"2000-02-29T00:00:00Z\"",
            row("timestamp", "2000-02-29 00:00:00.000"),
        ),
        (
            "\"1900-01-01T00:00:00Z\"",
            row("timestamp", "1900-01-01 00:00:00.000"),
        ),
        ("\"1899-12-31T23:59:59.999999999Z\"", dead("out_of_range")),
        ("\"1900-01-01T00:00:00+00:01\"", dead("out_of_range")),
        (
            "\"2299-12-31T23:59:59.999999999Z\"",
            row("timestamp", "2299-12-31 23:59:59.999"),
        ),
        ("\"2300-01-01T00:00:00Z\"", dead("out_of_range")),
        ("\"9999-12-31T23:59:59Z\"", dead("out_of_range")),
        ("\"9999-12-31T23:59:59-23:59\"", dead("out_of_range")),
        ("\"0000-01-01T00:00:00+23:59\"", dead("out_of_range")),
        ("\"-0001-01-01T00:00:00Z\"", dead("invalid_value")),
        ("\"+12025-01-01T00:00:00Z\"", dead("invalid_value")),
        (
            "\"2020-01-01T00:00:00+23:59\"",
            row("timestamp", "2019-12-31 00:01:00.000"),
        ),
        (
            "\"2020-01-01T00:00:00-23:59\"",
            row("timestamp", "2020-01-01 23:59:00.000"),
        ),
        ("\"2020-01-01T00:00:00+24:00\"", dead("invalid_value")),
        ("\"2020-01-01T00:00:00+00:60\"", dead("invalid_value")),
        ("\"2020-01-01T00:00:00.1234567890Z\"", dead("invalid_value")),
        ("\"2020-01-01T00:00:00.Z\"", dead("invalid_value")),
        ("\"2020-01-01T00:00Z\"", dead("invalid_value")),
        ("\"2020-01-01\"", dead("invalid_value")),
        ("\"2020-01-01T00:00:00 Z\"", dead("invalid_value")),
        ("\"2020-01-01T00:00:00Z\\u0000\"", dead("invalid_value")),
        (
            "\"2020-01-01T00:00:00[Europe/Berlin]\"",
            dead("invalid_value"),
        ),
        ("\"20200101T000000Z\"", dead("invalid_value")),
        ("\"1577836800000\"", dead("invalid_value")),
        ("\"\"", dead("invalid_value")),
        (
            "\"\\u0032020-01-01 00:00:00\"",
            row("timestamp", "2020-01-01 00:00:00.000"),
        ),
        ("-1", row("timestamp", "1969-12-31 23:59:59.999")),
        (
            "-2208988800000",
            row("timestamp", "1900-01-01 00:00:00.000"),
        ),
        ("-2208988800001", dead("out_of_range")),
        (
            "10413791999999",
            row("timestamp", "2299-12-31 23:59:59.999"),
        ),
        ("10413792000000", dead("out_of_range")),
        ("9223372036854775807", dead("out_of_range")),
        ("-9223372036854775808", dead("out_of_range")),
        ("9223372036854775808", dead("out_of_range")),
        ("1e12", dead("invalid_value")),
        ("999999999", row("timestamp", "1970-01-12 13:46:39.999")),
        ("1000000000", dead("implausible_time")),
        ("1763719200", dead("implausible_time")),
        ("1763719200.25", dead("implausible_time")),
        ("9999999999", dead("implausible_time")),
        ("10000000000", row("timestamp", "1970-04-26 17:46:40.000")),
        ("1577836800000.0", dead("invalid_value")),
        ("true", dead("invalid_value")),
        ("null", dead("missing_field")),
    ];
    let case = |(time, expected): (&str, Expected)| {
        let value = event("t", "").replace(&EVENT_TIME_MS.to_string(), time);
        let mut case = Case::new(format!("timestamp {time}"), value, expected);
        case.record.timestamp_ms = Some(FAR_MS);
        case
    };
    check("times", &cases.map(case));
}

#[test]
fn times_ahead_of_the_record_and_records_at_odd_times() {
    let hour = 3_600_000;
    let at = |name: &str, kafka_ms: i64, event_ms: i64, expected: Expected| {
        let value = event("t", "").replace(&EVENT_TIME_MS.to_string(), &event_ms.to_string());
        let mut case = Case::new(name, value, expected);
        case.record.timestamp_ms = Some(kafka_ms);
        case
    };
    let id = || row("event_id", "t");
    let cases = [
        at("an hour ahead", EVENT_TIME_MS, EVENT_TIME_MS + hour, id()),
        at(
            "more than an hour ahead",
            EVENT_TIME_MS,
            EVENT_TIME_MS + hour + 1,
            dead("too_far_ahead"),
        ),
        at(
            "centuries ahead",
            EVENT_TIME_MS,
            10_413_791_999_999,
            dead("too_far_ahead"),
        ),
        at(
            "ahead of a record of 1970",
            1,
            hour + 2,
            dead("too_far_ahead"),
        ),
        at("with a record of 1970", 1, hour + 1, id()),
        at("centuries behind", EVENT_TIME_MS, -2_208_988_800_000, id()),
        at(
            "with a record of the year 9999",
            FAR_MS,
            EVENT_TIME_MS,
            id(),
        ),
        at(
            "with a record at the end of time",
            i64::MAX,
            EVENT_TIME_MS,
            id(),
        ),
        at("at both ends of time", i64::MAX, 10_413_791_999_999, id()),
        at(
            "refused at the end of time",
            i64::MAX,
            10_413_792_000_000,
            dead("out_of_range"),
        ),
    ];
    check("ahead", &cases);
}
