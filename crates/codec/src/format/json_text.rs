//! Values of binary formats as JSON has them.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::decode::json::Kind;
use crate::decode::text;
use crate::decode::time::day_of_epoch;

const SECONDS_PER_DAY: i64 = 86_400;

pub(super) fn append_base64(bytes: &[u8], out: &mut String) {
    STANDARD.encode_string(bytes, out);
}

/// Bytes of a text that are copied as a block and cut back: cheaper than a copy of a length that no branch
/// predictor can know.
const BLOCK_BYTES: usize = 32;
/// The numbers below 100, two digits each.
const PAIRS: &str = "00010203040506070809101112131415161718192021222324252627282930313233343536373839\
                     40414243444546474849505152535455565758596061626364656667686970717273747576777879\
                     8081828384858687888990919293949596979899";

/// The text that the bytes are, if they are UTF-8. Most are ASCII and short, which shows faster.
#[inline(always)]
pub(super) fn utf8(bytes: &[u8]) -> Option<&str> {
    match is_ascii(bytes) {
        // SAFETY: ASCII is UTF-8.
        true => Some(unsafe { std::str::from_utf8_unchecked(bytes) }),
        false => simdutf8::basic::from_utf8(bytes).ok(),
    }
}

#[inline(always)]
fn is_ascii(bytes: &[u8]) -> bool {
    let mut seen = 0;
    match bytes.last_chunk() {
        None => bytes.iter().for_each(|byte| seen |= u64::from(*byte)),
        Some(last) => {
            let (chunks, _) = bytes.as_chunks();
            seen = u64::from_ne_bytes(*last);
            chunks
                .iter()
                .for_each(|chunk| seen |= u64::from_ne_bytes(*chunk));
        }
    }
    seen & 0x8080_8080_8080_8080 == 0
}

/// Appends a part of a record.
#[inline(always)]
pub(super) fn append_part(record: &[u8], from: usize, end: usize, out: &mut Vec<u8>) {
    let (part, start) = (&record[from..end], out.len());
    match record[from..].first_chunk::<BLOCK_BYTES>() {
        Some(block) if part.len() <= BLOCK_BYTES => {
            out.extend_from_slice(block);
            out.truncate(start + part.len());
        }
        _ => out.extend_from_slice(part),
    }
}

pub(super) fn append_integer(number: impl itoa::Integer, out: &mut String) {
    out.push_str(itoa::Buffer::new().format(number));
}

/// Appends a point in time as RFC 3339 has it, with so many digits of a second: `part` in units of the last.
pub(super) fn append_moment(
    seconds: i64,
    (part, digits): (u32, usize),
    zone: &str,
    out: &mut String,
) {
    let of_day = seconds.rem_euclid(SECONDS_PER_DAY) as u32;
    let (year, month, day) = day_of_epoch(seconds.div_euclid(SECONDS_PER_DAY));
    let Ok(year @ ..=9999) = u32::try_from(year) else {
        append_day(seconds.div_euclid(SECONDS_PER_DAY), out);
        out.push('T');
        let of_day = u64::from(of_day);
        append_clock(of_day / 3600, of_day / 60 % 60, of_day % 60, out);
        append_fraction(part, digits, out);
        out.push_str(zone);
        return;
    };
    let mut text = *b"0000-00-00T00:00:00";
    let parts = [
        (0, year / 100),
        (2, year % 100),
        (5, month),
        (8, day),
        (11, of_day / 3600),
        (14, of_day / 60 % 60),
        (17, of_day % 60),
    ];
    for (at, part) in parts {
        text[at] += (part / 10) as u8;
        text[at + 1] += (part % 10) as u8;
    }
    out.push_str(utf8(&text).unwrap_or_default());
    append_fraction(part, digits, out);
    out.push_str(zone);
}

/// Appends digits behind the point; none where there are none.
fn append_fraction(part: u32, digits: usize, out: &mut String) {
    if digits > 0 {
        out.push('.');
        append_padded(part.into(), digits, out);
    }
}

/// Appends two digits of a number below 100.
#[inline(always)]
fn append_pair(number: usize, out: &mut String) {
    out.push_str(&PAIRS[2 * number..2 * number + 2]);
}

/// Appends `hh:mm:ss`; more than 99 hours have more digits.
pub(super) fn append_clock(hours: u64, minutes: u64, seconds: u64, out: &mut String) {
    match usize::try_from(hours) {
        Ok(hours @ ..100) => append_pair(hours, out),
        _ => append_integer(hours, out),
    }
    for part in [minutes, seconds] {
        out.push(':');
        append_pair((part % 100) as usize, out);
    }
}

/// Appends a number with at least so many digits.
pub(super) fn append_padded(number: u64, digits: usize, out: &mut String) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(number);
    (text.len()..digits).for_each(|_| out.push('0'));
    out.push_str(text);
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

/// How a member of an object begins.
pub(super) fn member_of(name: &str) -> Box<str> {
    let mut member = String::new();
    append_quoted(name, &mut member);
    member.push(':');
    member.into()
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
        0..=9999 => {
            let year = year as usize;
            append_pair(year / 100, out);
            append_pair(year % 100, out);
            for part in [month, day] {
                out.push('-');
                append_pair(part as usize, out);
            }
        }
        _ => append(out, format_args!("{year:+05}-{month:02}-{day:02}")),
    }
}
