//! Records near every limit of size.

use crate::hostile::case::{Case, check, dead, event, row};

/// What a broker takes unless told otherwise.
const MESSAGE_BYTES_MAX: usize = 1_048_588;

#[test]
fn records_of_every_size() {
    let noise = noise(MESSAGE_BYTES_MAX);
    let filling = |total: usize| {
        let room = total - event("full", r#","referrer":"""#).len();
        &noise[..room]
    };
    let with = |column: &str, value: &str| event("size", &format!(",\"{column}\":{value}"));
    let text = "x".repeat(1 << 20);
    let digits = "9".repeat(900 << 10);
    let full = filling(MESSAGE_BYTES_MAX - 200);
    let large = "y".repeat(5 << 20);
    let escapes = "\\u0041".repeat(100_000);
    let cases = [
        Case::new(
            "1 MiB of text",
            with("page_url", &format!("{text:?}")),
            row("page_url", &*text),
        ),
        Case::new(
            "900 KiB of digits as a number",
            with("user_id", &digits),
            dead("out_of_range"),
        ),
        Case::new(
            "the same as a string",
            with("user_id", &format!("{digits:?}")),
            dead("out_of_range"),
        ),
        Case::new(
            "the same as a time",
            with("timestamp", &digits),
            dead("out_of_range"),
        ),
        Case::new(
            "the same as a text",
            with("referrer", &digits),
            row("referrer", &*digits),
        ),
        Case::new(
            "as much behind a point",
            with("user_id", &format!("1.{digits}")),
            dead("invalid_value"),
        ),
        Case::new(
            "as large an exponent",
            with("referrer", &format!("1e{digits}")),
            row("referrer", format!("1e{digits}")),
        ),
        Case::new(
            "an event id of 500 KiB",
            event(&noise[..500 << 10], ""),
            row("event_id", &noise[..500 << 10]),
        ),
        Case::new(
            "600 KiB of escapes",
            with("city", &format!("\"{escapes}\"")),
            row("city", "A".repeat(100_000)),
        ),
        Case::new(
            "a record as large as a broker takes",
            event("full", &format!(",\"referrer\":{full:?}")),
            row("referrer", full),
        ),
        Case::new(
            "the same without its end",
            event("full", &format!(",\"referrer\":{full:?}")).trim_end_matches('}'),
            dead("invalid_json"),
        ),
        Case::new(
            "noise as large as a broker takes",
            &noise[..MESSAGE_BYTES_MAX - 200],
            dead("invalid_json"),
        ),
        Case::new(
            "5 MiB of one text",
            with("page_url", &format!("{large:?}")),
            row("page_url", &*large),
        ),
        Case::new(
            "20 MiB of zero bytes",
            vec![0; 20 << 20],
            dead("invalid_json"),
        ),
        Case::new(
            "1 MiB of white space",
            format!("{}{}", " ".repeat(1 << 20), event("spaced", "")),
            row("event_id", "spaced"),
        ),
        Case::new(
            "a name of 1 MiB",
            event("named", &format!(",{text:?}:1")),
            row("event_id", "named"),
        ),
    ];
    check("sizes", &cases);
}

/// Letters that no compression makes much smaller than three quarters.
fn noise(len: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = 1u64;
    let letters = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(LETTERS[(state >> 58) as usize])
    });
    letters.take(len).collect()
}
