//! Values of binary formats as JSON has them.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::decode::json::Kind;
use crate::decode::text;
use crate::decode::time::day_of_epoch;

pub(super) fn append_base64(bytes: &[u8], out: &mut String) {
    STANDARD.encode_string(bytes, out);
}

pub(super) fn append(out: &mut String, value: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(value);
    debug_assert!(written.is_ok(), "writing into memory does not fail");
}

pub(super) fn append_quoted(text: &str, out: &mut String) {
    out.push('"');
    text::append_escaped_to(text, out);
    out.push('"');
}

/// The shortest digits that read back as the same number; JSON has none for NaN and infinities.
pub(super) fn append_float<F: Into<f64> + Copy + std::fmt::Debug>(
    value: F,
    out: &mut String,
) -> Kind {
    let wide: f64 = value.into();
    if wide.is_finite() {
        append(out, format_args!("{value:?}"));
        return Kind::Number;
    }
    out.push_str(match () {
        () if wide.is_nan() => "NaN",
        () if wide > 0.0 => "Infinity",
        () => "-Infinity",
    });
    Kind::String
}

pub(super) fn append_day(epoch_days: i64, out: &mut String) {
    let (year, month, day) = day_of_epoch(epoch_days);
    match year {
        0..=9999 => append(out, format_args!("{year:04}-{month:02}-{day:02}")),
        _ => append(out, format_args!("{year:+05}-{month:02}-{day:02}")),
    }
}
