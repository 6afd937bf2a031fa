//! What the encoder writes for the types of time and for wide decimals, read by the real server.

use std::fmt::Write as _;

use sandbox::shared;
use streamweir::decode::json::Raw;
use streamweir::table::ColumnType;

/// The server's text of a value encoded for this type.
fn read_back(type_name: &str, json: &str) -> String {
    let column_type = ColumnType::parse(type_name).expect("a type");
    let mut bytes = Vec::new();
    let raw = Raw::parse(json).expect("JSON");
    column_type.encode(raw, &mut bytes).expect("a value");
    let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("memory");
        hex
    });
    // As a literal: the type's quotes end none of it.
    let type_name = type_name.replace('\'', "\\'");
    let answer = shared().clickhouse.query(&format!(
        "SELECT toString(v) FROM format('RowBinary', 'v {type_name}', unhex('{hex}')) \
         SETTINGS enable_time_time64_type = 1"
    ));
    answer.trim_end().to_owned()
}

#[test]
fn times_of_day_are_the_servers_own() {
    for (type_name, json, text) in [
        ("Time", r#""00:00:01""#, "00:00:01"),
        ("Time", r#""-838:59:59""#, "-838:59:59"),
        ("Time64(3)", r#""12:34:56.789""#, "12:34:56.789"),
        ("Time64(6)", r#""24:00:00""#, "24:00:00.000000"),
        ("Time64(6)", r#""999:59:59.999999""#, "999:59:59.999999"),
        ("Time64(6)", r#""-00:00:00.000001""#, "-00:00:00.000001"),
        (
            "Nullable(Time64(9))",
            r#""23:59:59.123456789""#,
            "23:59:59.123456789",
        ),
    ] {
        assert_eq!(read_back(type_name, json), text, "{type_name}");
    }
}

#[test]
fn days_instants_and_wide_decimals_are_the_servers_own() {
    for (type_name, json, text) in [
        ("Date32", r#""1900-01-01""#, "1900-01-01"),
        ("Date32", r#""2299-12-31""#, "2299-12-31"),
        (
            "DateTime64(6, 'UTC')",
            r#""1900-01-01 00:00:00.000001""#,
            "1900-01-01 00:00:00.000001",
        ),
        (
            "Decimal(20, 4)",
            "-9999999999999999.9999",
            "-9999999999999999.9999",
        ),
        (
            "Decimal(76, 38)",
            "-12345678901234567890123456789012345678.5",
            "-12345678901234567890123456789012345678.5",
        ),
    ] {
        assert_eq!(read_back(type_name, json), text, "{type_name}");
    }
}
