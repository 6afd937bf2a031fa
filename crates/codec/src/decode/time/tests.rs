//! Forms, ranges and calendars of times.

use super::*;
use crate::decode::Reason::{InvalidValue, OutOfRange};
use proptest::prelude::*;

fn ms(json: &str) -> Result<i64, Reason> {
    event_time_ms(Raw::parse(json).unwrap(), None).map_err(|reject| reject.reason)
}

const TEN: i64 = 1_763_719_200_000; // 2025-11-21T10:00:00Z

#[test]
fn every_accepted_form_is_read() {
    let cases = [
        ("\"2025-11-21T10:00:00.123Z\"", TEN + 123),
        ("\"2025-11-21T10:00:00\"", TEN),
        ("\"2025-11-21 10:00:00.5\"", TEN + 500),
        ("\"2025-11-21t10:00:00z\"", TEN),
        ("\"2025-11-21T12:30:00+02:30\"", TEN),
        ("\"2025-11-20T22:15:00-11:45\"", TEN),
        ("\"2025-11-21T12:00:00+0200\"", TEN),
        ("\"2025-11-21T12:00:00+02\"", TEN),
        ("\"2025-11-21T10:00:00-00:00\"", TEN),
        ("\"2025-11-21T10:00:00.1Z\"", TEN + 100),
        ("\"2025-11-21T10:00:00.12Z\"", TEN + 120),
        ("\"2025-11-21T10:00:00.1239Z\"", TEN + 123),
        ("\"2025-11-21T10:00:00.999999Z\"", TEN + 999),
        ("\"2025-11-21T10:00:00.123999999Z\"", TEN + 123),
        ("1763719200123", TEN + 123),
        ("\"2024-02-29T00:00:00Z\"", 1_709_164_800_000),
        ("\"2025-11-21T10:00\\u003a00Z\"", TEN),
        ("\"2016-12-31T23:59:60.25Z\"", 1_483_228_800_250),
        ("\"2017-01-01T01:59:60.25+02:00\"", 1_483_228_800_250),
        ("0", 0),
        ("-0", 0),
        ("-1", -1),
        ("\"1969-12-31T23:59:59.9999Z\"", -1),
        ("\"1969-12-31T23:59:59.9999+00:00\"", -1),
        ("\"1900-01-01T00:00:00Z\"", -2_208_988_800_000),
        ("\"2299-12-31T23:59:59.9999Z\"", 10_413_791_999_999),
        ("10413791999999", 10_413_791_999_999),
    ];
    for (json, expected) in cases {
        assert_eq!(ms(json), Ok(expected), "{json}");
    }
}

#[test]
fn times_outside_the_column_are_out_of_range_and_never_clamped() {
    let cases = [
        "\"1800-01-01T00:00:00Z\"",
        "\"2300-01-01T00:00:00Z\"",
        "\"2300-01-01T00:00:00.000Z\"",
        "\"9999-12-31T23:59:59Z\"",
        "\"0000-01-01T00:00:00Z\"",
        "\"0000-02-29T00:00:00.000Z\"",
        "\"1900-01-01T00:00:00+00:01\"",
        "10413792000000",
        "-2208988800001",
        "1000000000000000000000000000000",
    ];
    for json in cases {
        assert_eq!(ms(json), Err(OutOfRange), "{json}");
    }
}

#[test]
fn everything_else_is_no_time() {
    let cases = [
        "\"2025-02-30T00:00:00Z\"",
        "\"2025-02-29T00:00:00.000Z\"",
        "\"1900-02-29T00:00:00Z\"",
        "\"2025-00-10T00:00:00Z\"",
        "\"2025-13-10T00:00:00.000Z\"",
        "\"2025-11-00T00:00:00.000Z\"",
        "\"2025-11-21T24:00:00Z\"",
        "\"2025-11-21T24:00:00.000Z\"",
        "\"2025-11-21T10:60:00Z\"",
        "\"2025-11-21T10:00:61Z\"",
        "\"2025-11-21T10:00:60Z\"",
        "\"2025-11-21T23:59:60+02:00\"",
        "\"2025-11-21\"",
        "\"2025-11-21T10:00\"",
        "\"2025-11-21T10:00:00.1234567890Z\"",
        "\"2025-11-21T10:00:00.Z\"",
        "\"2025-11-21T10:00:00,5Z\"",
        "\"2025-11-21  10:00:00Z\"",
        "\"2025-11-21_10:00:00.000Z\"",
        "\"\"",
        "\"yesterday\"",
        "\"1763719200123\"",
        "\"2025-11-21T10:00:00Z \"",
        "\"2025-11-21T10:00:00+24:00\"",
        "\"2025-11-21T10:00:00+02:60\"",
        "\"2025-11-21T10:00:00+2\"",
        "\"2025-11-21T10:00:00+02:\"",
        "\"2025-11-21T10:00:00+02:0\"",
        "\"2025-11-21T10:00:00+02:000\"",
        "\"٢٠٢٥-11-21T10:00:00Z\"",
        "\"\\ud800\"",
        "1763719200123.5",
        "1.7e12",
        "false",
        "[2025,11,21]",
        "{}",
    ];
    for json in cases {
        assert_eq!(ms(json), Err(InvalidValue), "{json}");
    }
    assert_eq!(ms("null"), Err(Reason::MissingField));
}

#[test]
fn precisions_drop_digits_and_end_where_64_bits_do() {
    let at = |text| instant(Raw::string(text), NumberUnit::Milliseconds).unwrap();
    let time = at("2025-11-21T10:00:00.123456789Z");
    let ticks = [
        1_763_719_200,
        17_637_192_001,
        1_763_719_200_123_456,
        1_763_719_200_123_456_789,
    ];
    assert_eq!(
        [0, 1, 6, 9].map(|precision| time.ticks(precision).unwrap()),
        ticks
    );
    assert_eq!(at("1969-12-31T23:59:59.9Z").ticks(0), Ok(-1));
    assert_eq!(at("2262-04-11T23:47:16.854775807Z").ticks(9), Ok(i64::MAX));
    assert!(at("2262-04-11T23:47:16.854775808Z").ticks(9).is_err());
    assert!(at("1900-01-01T00:00:00Z").ticks(9).is_ok());
    assert!(at("2299-12-31T23:59:59.999999Z").ticks(8).is_ok());
    assert_eq!(
        at("2106-02-07T06:28:15.9Z").datetime_seconds(),
        Ok(u32::MAX)
    );
    assert!(at("2106-02-07T06:28:16Z").datetime_seconds().is_err());
    assert!(at("1969-12-31T23:59:59Z").datetime_seconds().is_err());
}

#[test]
fn days_have_one_form_and_the_range_of_their_column() {
    assert_eq!(date(Raw::string("1970-01-01")), Ok(0));
    assert_eq!(date(Raw::string("2149-06-06")), Ok(65535));
    assert_eq!(
        date(Raw::string("2149-06-07")),
        Err(Reject::out_of_range("Date"))
    );
    assert_eq!(
        date(Raw::string("1969-12-31")),
        Err(Reject::out_of_range("Date"))
    );
    assert_eq!(date32(Raw::string("1900-01-01")), Ok(-25567));
    assert_eq!(date32(Raw::string("2299-12-31")), Ok(120_529));
    assert_eq!(
        date32(Raw::string("1899-12-31")),
        Err(Reject::out_of_range("Date32"))
    );
    assert_eq!(
        date32(Raw::string("2300-01-01")),
        Err(Reject::out_of_range("Date32"))
    );
    for text in [
        "2025-02-29",
        "0000-01-01",
        "2025-1-01",
        "20250101",
        "2025-01-01T00:00:00Z",
        "",
    ] {
        assert_eq!(
            date(Raw::string(text)).unwrap_err().reason,
            InvalidValue,
            "{text}"
        );
    }
    assert_eq!(
        date(Raw::parse("0").unwrap()).unwrap_err().reason,
        InvalidValue
    );
}

#[test]
fn the_days_of_ten_thousand_years_are_consecutive() {
    let mut expected = epoch_day(0, 1, 1);
    for (year, month) in (0..=9999).flat_map(|year| (1..=12).map(move |month| (year, month))) {
        for day in (1..=31).take_while(|&day| is_day(year, month, day)) {
            assert_eq!(
                epoch_day(year, month, day),
                expected,
                "{year}-{month}-{day}"
            );
            expected += 1;
        }
    }
    assert_eq!(epoch_day(1970, 1, 1), 0);
    assert_eq!(epoch_day(2000, 3, 1), 11_017);
}

proptest! {
    #[test]
    fn the_short_way_and_the_long_way_agree(text in "[0-2][0-9]{3}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9]\\.[0-9]{3}[Zz]") {
        if let Some(instant) = utc_milliseconds(text.as_bytes()) {
            prop_assert_eq!(time_text(text.as_bytes()), Ok(instant));
        }
    }

    #[test]
    fn no_text_panics(text in "[-+:.TZ0-9 ]{0,36}") {
        let _ = instant(Raw::string(&text), NumberUnit::Milliseconds);
        let _ = date(Raw::string(&text));
    }
}
