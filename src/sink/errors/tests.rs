//! What ClickHouse, and what stands before it, has been seen to answer.

use super::*;

fn remedy(text: &str) -> Remedy {
    InsertError::from(Error::BadResponse(text.to_owned())).remedy
}

#[test]
fn each_kind_of_answer_has_one_remedy() {
    let cases = [
        (
            "Code: 241. DB::Exception: Memory limit",
            Remedy::Retry("memory"),
        ),
        (
            "Code: 252. DB::Exception: Too many parts (300)",
            Remedy::Retry("too_many_parts"),
        ),
        (
            "Code: 252. DB::Exception: Too many partitions for single INSERT block",
            Remedy::Split,
        ),
        (
            "Code: 53. DB::Exception: Cannot convert: Int64 to UInt32: While executing Native.",
            Remedy::Halt("schema"),
        ),
        (
            "Code: 53. DB::Exception: Cannot convert: Int64 to Enum8",
            Remedy::Split,
        ),
        (
            "Code: 117. DB::Exception: Unknown column with name zz found while reading data in Native \
             format: While executing Native.",
            Remedy::Halt("schema"),
        ),
        (
            "Code: 115. DB::Exception: Unknown setting 'deduplicate_insert'. (UNKNOWN_SETTING)",
            Remedy::Retry("interrupted"),
        ),
        (
            "Code: 115. DB::Exception: Setting use_query_cache is neither a builtin setting nor started with \
             the prefix 'SQL_' registered for user-defined settings",
            Remedy::Retry("interrupted"),
        ),
        (
            "Code: 73. DB::Exception: Unknown format RowBinaryWithNamesAndTypesAndDefaults. (UNKNOWN_FORMAT)",
            Remedy::Retry("interrupted"),
        ),
        (
            "Code: 115. DB::Exception: Unknown setting 'insert_qorum'. Maybe you meant ['deduplicate_insert']",
            Remedy::Halt("schema"),
        ),
        (
            "Code: 469. DB::Exception: Constraint `c` is violated",
            Remedy::Split,
        ),
        (
            "Code: 60. DB::Exception: Table x does not exist",
            Remedy::Halt("missing_table"),
        ),
        (
            "Code: 516. DB::Exception: Authentication failed",
            Remedy::Halt("authentication"),
        ),
        (
            "Code: 6. DB::Exception: Cannot parse string 'x' as UInt32: while pushing to view d.v.",
            Remedy::Halt(VIEW_FAILED),
        ),
        (
            "Code: 4711. DB::Exception: of tomorrow: while pushing to view d.v (0ce5)",
            Remedy::Halt(VIEW_FAILED),
        ),
        (
            "Code: 241. DB::Exception: Memory limit: while pushing to view d.v.",
            Remedy::Retry("memory"),
        ),
        (
            "Code: 319. DB::Exception: Unknown status of part all_4_4_0",
            Remedy::Retry("replication"),
        ),
        (
            "Code: 4711. DB::Exception: of tomorrow",
            Remedy::Unclassified,
        ),
        (
            "Code: 49. DB::Exception: Logical error",
            Remedy::Unclassified,
        ),
        (
            "Code: 190. DB::Exception: Elements 'items.sku' and 'items.qty' of Nested have different sizes",
            Remedy::Split,
        ),
        (
            "Code: 32. DB::Exception: Attempt to read after eof: while converting '' to UInt16: while executing 'FUNCTION toUInt16(port_text)'",
            Remedy::Split,
        ),
        (
            "Code: 32. DB::Exception: Attempt to read after eof",
            Remedy::Unclassified,
        ),
        (
            "Code: 33. DB::Exception: Cannot read all data. Bytes read: 9: (while reading header): While executing BinaryRowInputFormat",
            Remedy::Unclassified,
        ),
        (
            "Code: 33. DB::Exception: Cannot read all data: while executing 'FUNCTION reinterpretAsUUID(x)'",
            Remedy::Split,
        ),
        (
            "Code: 376. DB::Exception: Cannot parse uuid x",
            Remedy::Split,
        ),
        (
            "Code: 675. DB::Exception: Invalid IPv4 value",
            Remedy::Split,
        ),
        (
            "Code: 676. DB::Exception: Invalid IPv6 value",
            Remedy::Split,
        ),
        (
            "Code: 201. DB::Exception: Quota for user has been exceeded",
            Remedy::Retry("quota"),
        ),
        (
            "Code: 745. DB::Exception: Server is overloaded",
            Remedy::Retry("too_many_queries"),
        ),
        (
            "Code: 307. DB::Exception: Limit for bytes exceeded",
            Remedy::TooLarge,
        ),
        ("<html><title>413</title></html>", Remedy::TooLarge),
        ("413 Payload Too Large", Remedy::TooLarge),
        (
            "<html><h1>414 Request-URI Too Large</h1></html>",
            Remedy::Halt(ADDRESS_FAILED),
        ),
        (
            "431 Request Header Fields Too Large",
            Remedy::Halt(ADDRESS_FAILED),
        ),
        ("Request Entity Too Large", Remedy::TooLarge),
        (
            "<html>upstream request timeout 4130</html>",
            Remedy::Retry("bad_response"),
        ),
        ("503 Service Unavailable", Remedy::Retry("bad_response")),
        (
            "no healthy upstream: unavailable",
            Remedy::Retry("bad_response"),
        ),
        ("403 Forbidden", Remedy::Unclassified),
        (
            "200 with a body, which no insert has: <html>413</html>",
            Remedy::Retry("bad_response"),
        ),
        (
            "<html>502 Bad Gateway</html>",
            Remedy::Retry("bad_response"),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(remedy(text), expected, "{text}");
    }
    assert_eq!(
        InsertError::from(Error::TimedOut).remedy,
        Remedy::Retry("timeout")
    );
}

#[test]
fn a_view_that_fails_is_named_however_long_the_message_is() {
    let text = format!(
        "Code: 6. DB::Exception: {}: while pushing to view analytics.per_minute. (CANNOT_PARSE_TEXT)",
        "x".repeat(2_000)
    );
    let error = InsertError::from(Error::BadResponse(text));
    assert!(
        error
            .message
            .starts_with("view analytics.per_minute fails behind"),
        "{error}"
    );
    let older = "while pushing to view analytics.`per minute` (6f1c-…)";
    assert_eq!(failed_view(older), Some("analytics.`per minute`"));
    for text in [
        "pushing to view v: more",
        "pushing to view v.",
        "pushing to view v",
    ] {
        assert_eq!(failed_view(&format!("while {text}")), Some("v"), "{text}");
    }
    assert_eq!(failed_view("Code: 6. DB::Exception: no number"), None);
}

#[test]
fn an_insert_that_nobody_has_ended_may_be_running_on() {
    let may_run = |text: &str| InsertError::from(Error::BadResponse(text.to_owned())).may_run_on();
    for text in [
        "502 Bad Gateway: <html>",
        "500 Internal Server Error",
        "408 Request Timeout",
        "<html>oops</html>",
        "",
    ] {
        assert!(may_run(text), "{text}");
    }
    assert!(InsertError::from(Error::TimedOut).may_run_on());
    assert!(may_run(
        "Code: 319. DB::Exception: Unknown status of part all_4_4_0"
    ));
    let of_several = |text: &str| {
        let error = InsertError::from(Error::BadResponse(text.to_owned()));
        let message = format!("http://clickhouse-2:8123: {}", error.message);
        InsertError { message, ..error }.may_run_on()
    };
    assert!(of_several("502 Bad Gateway"));
    assert!(!of_several("413 Payload Too Large"));
    assert!(InsertError::from(Error::Other("200 with a body".into())).may_run_on());
    for text in [
        "Code: 469. DB::Exception: Constraint",
        "500 Internal Server Error: Code: 4711. DB::Exception: of tomorrow",
        "413 Payload Too Large: <html>",
        "403 Forbidden",
    ] {
        assert!(!may_run(text), "{text}");
    }
}

#[test]
fn a_limit_of_one_statement_is_told_from_one_of_the_server() {
    let of_one =
        |text: &str| InsertError::from(Error::BadResponse(text.to_owned())).is_of_one_statement();
    assert!(of_one(
        "Code: 241. DB::Exception: Memory limit (for query) exceeded"
    ));
    assert!(of_one(
        "Code: 241. DB::Exception: Query memory limit exceeded"
    ));
    assert!(!of_one(
        "Code: 241. DB::Exception: Memory limit (total) exceeded"
    ));
    assert!(of_one(
        "Code: 159. DB::Exception: Timeout exceeded: elapsed 60000.5 ms, maximum: 60000 ms. (TIMEOUT_EXCEEDED)"
    ));
    assert!(!of_one(
        "Code: 159. DB::Exception: Wait for async insert timeout (120000 ms) exceeded. (TIMEOUT_EXCEEDED)"
    ));
}

#[test]
fn the_code_is_found_inside_a_longer_text() {
    assert_eq!(code_of("bad response: Code: 27. DB::Exception"), Some(27));
    assert_eq!(code_of("connection closed"), None);
}
