//! Days, times of day and points in time with a schema block.

use super::*;

#[test]
fn days_are_dates_or_text() {
    for name in [
        "io.debezium.time.Date",
        "org.apache.kafka.connect.data.Date",
    ] {
        let field = named("int32", name);
        check_texts(
            &field,
            &[
                ("20512", "2026-02-28"),
                ("2932897", "+10000-01-01"),
                ("-719528", "0000-01-01"),
                ("-735160", "-0043-03-15"),
                ("2146033979", "infinity"),
                ("-2147472691", "-infinity"),
                // What a snapshot makes of infinity is no day: it stays a number.
                ("-622191234", "-622191234"),
            ],
        );
        check_columns(
            &field,
            "Date32",
            &[
                ("-25567", Ok("\"1900-01-01\"")),
                ("120529", Ok("\"2299-12-31\"")),
                ("120530", Err(Reason::OutOfRange)),
                ("-25568", Err(Reason::OutOfRange)),
                ("-735160", NOT),
                ("2146033979", NOT),
                ("-622191234", NOT),
                ("1.5", Err(Reason::InvalidValue)),
                ("true", Err(Reason::InvalidValue)),
                ("99999999999999999999", Err(Reason::OutOfRange)),
            ],
        );
        check_columns(
            &field,
            "Date",
            &[("0", Ok("\"1970-01-01\"")), ("-1", Err(Reason::OutOfRange))],
        );
    }
    let iso = named("string", "io.debezium.time.IsoDate");
    check_texts(
        &iso,
        &[
            (r#""2026-02-28Z""#, "2026-02-28"),
            (r#""-0043-03-15Z""#, "-0043-03-15"),
            (r#""+5877611-06-21Z""#, "infinity"),
        ],
    );
    check_columns(
        &iso,
        "Date32",
        &[
            (r#""2026-02-28Z""#, Ok("\"2026-02-28\"")),
            (r#""2026-02-30Z""#, Err(Reason::InvalidValue)),
            (r#""2026-02-28+01:00""#, Err(Reason::InvalidValue)),
        ],
    );
}

#[test]
fn timestamps_keep_every_digit_or_are_refused() {
    let ms = named("int64", "io.debezium.time.Timestamp");
    let us = named("int64", "io.debezium.time.MicroTimestamp");
    let ns = named("int64", "io.debezium.time.NanoTimestamp");
    check_columns(
        &ms,
        "DateTime64(3)",
        &[
            ("1772600767123", Ok("\"2026-03-04 05:06:07.123\"")),
            ("-1", Ok("\"1969-12-31 23:59:59.999\"")),
            ("9223372036825200000", NOT),
            ("-9223372036832400000", NOT),
            ("-63517780799999", NOT),
            ("10413792000000", Err(Reason::OutOfRange)),
        ],
    );
    check_columns(
        &us,
        "DateTime64(6, 'UTC')",
        &[
            ("1772600767123456", Ok("\"2026-03-04 05:06:07.123456\"")),
            ("9223372036854775807", NOT),
            ("-9223372036854775808", NOT),
            // The year 294276, overflowed.
            ("-9223372036853775810", NOT),
            ("9223372036854775808", Err(Reason::OutOfRange)),
        ],
    );
    check_columns(
        &us,
        "DateTime64(3)",
        &[
            ("1772600767123000", Ok("\"2026-03-04 05:06:07.123\"")),
            ("1772600767123456", Err(Reason::OutOfRange)),
        ],
    );
    check_columns(
        &us,
        "DateTime",
        &[
            ("60000000", Ok("\"1970-01-01 00:01:00\"")),
            ("60000001", Err(Reason::OutOfRange)),
            ("-1000000", Err(Reason::OutOfRange)),
        ],
    );
    check_columns(
        &ns,
        "DateTime64(9)",
        &[("1", Ok("\"1970-01-01 00:00:00.000000001\""))],
    );
    check_texts(
        &us,
        &[
            ("1772600767120000", "2026-03-04 05:06:07.12"),
            ("1772600767000000", "2026-03-04 05:06:07"),
            ("-63517780799999999", "-0043-03-15 12:00:00.000001"),
            ("253402300800000000", "+10000-01-01 00:00:00"),
            ("9223372036854775807", "infinity"),
            ("-9223372036854775808", "-infinity"),
            ("-9223372036853775810", "-9223372036853775810"),
        ],
    );
    check_texts(&ms, &[("9224318015999999", "+294276-12-31 23:59:59.999")]);
    assert_eq!(
        typed(&ms, "Int64", "7").unwrap().unwrap(),
        plain("Int64", "7")
    );
}

#[test]
fn times_with_a_zone_are_instants() {
    let field = named("string", "io.debezium.time.ZonedTimestamp");
    check_columns(
        &field,
        "DateTime64(6, 'UTC')",
        &[
            (
                r#""2026-03-04T05:06:07.123456Z""#,
                Ok("\"2026-03-04 05:06:07.123456\""),
            ),
            (
                r#""2026-03-04T05:06:07+02:30""#,
                Ok("\"2026-03-04 02:36:07\""),
            ),
            (r#""infinity""#, NOT),
            (r#""-0043-03-15T12:00:00Z""#, NOT),
            (r#""2026-03-04""#, Err(Reason::InvalidValue)),
            (r#""2026-03-04T25:61:00Z""#, Err(Reason::InvalidValue)),
            (r#""2026-03-04T25:00:00Z""#, Err(Reason::InvalidValue)),
            (r#""2026-03-04T24:00:00Z""#, Ok("\"2026-03-05 00:00:00\"")),
            ("1", Err(Reason::InvalidValue)),
        ],
    );
    check_columns(
        &field,
        "DateTime64(3)",
        &[
            (
                r#""2026-03-04T05:06:07.500000Z""#,
                Ok("\"2026-03-04 05:06:07.5\""),
            ),
            (r#""2026-03-04T05:06:07.1234Z""#, Err(Reason::OutOfRange)),
        ],
    );
    check_texts(
        &field,
        &[
            (r#""2026-10-25T00:30:00.000000Z""#, "2026-10-25 00:30:00"),
            (
                r#""+294276-12-31T23:59:59.999999Z""#,
                "+294276-12-31 23:59:59.999999",
            ),
            (r#""-infinity""#, "-infinity"),
        ],
    );
    let iso = named("string", "io.debezium.time.IsoTimestamp");
    check_texts(
        &iso,
        &[
            (r#""+292278994-08-16T23:00:00Z""#, "infinity"),
            (r#""-292275055-05-16T23:00:00Z""#, "-infinity"),
            (r#""2026-03-04T05:06:07.5Z""#, "2026-03-04 05:06:07.5"),
        ],
    );
}

#[test]
fn times_of_day_end_after_midnight_too() {
    let ms = named("int32", "io.debezium.time.Time");
    let us = named("int64", "io.debezium.time.MicroTime");
    check_columns(
        &ms,
        "Time64(3)",
        &[
            ("45296789", Ok("\"12:34:56.789\"")),
            ("-3020399000", Ok("\"-838:59:59\"")),
            ("3600000000", Err(Reason::OutOfRange)),
        ],
    );
    check_columns(&us, "Time64(6)", &[("86400000000", Ok("\"24:00:00\""))]);
    check_columns(&us, "Time64(3)", &[("1", Err(Reason::OutOfRange))]);
    check_columns(&us, "Time", &[("1000000", Ok("\"00:00:01\""))]);
    check_texts(
        &us,
        &[
            ("86400000000", "24:00:00"),
            ("1", "00:00:00.000001"),
            ("-3020399000000", "-838:59:59"),
        ],
    );
    let zoned = named("string", "io.debezium.time.ZonedTime");
    check_texts(&zoned, &[(r#""23:59:59.5Z""#, "23:59:59.5Z")]);
    let iso = named("string", "io.debezium.time.IsoTime");
    check_texts(&iso, &[(r#""23:59:59.500Z""#, "23:59:59.5")]);
    check_columns(&iso, "Time64(3)", &[(r#""00:00:01Z""#, Ok("\"00:00:01\""))]);
}
