//! JSON values as text: what a text column, a key or a group takes.
//!
//! A string gives its characters; a number, true or false its JSON text as received; objects, arrays
//! and strings with a lone surrogate are `invalid_value`.

use std::borrow::Cow;

use super::Reject;
use super::json::{Kind, Raw, find_special};

/// A surrogate escape without its other half: no character, so no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoneSurrogate;

impl From<LoneSurrogate> for Reject {
    #[cold]
    fn from(_: LoneSurrogate) -> Self {
        Reject::invalid_value("lone surrogate")
    }
}

/// The text of a value, borrowed where it has no escapes, else unescaped into `scratch`.
///
/// # Errors
/// `invalid_value` for objects, arrays, null, absent, and strings with a lone surrogate.
pub fn text<'t>(raw: Raw<'t>, scratch: &'t mut Vec<u8>) -> Result<&'t str, Reject> {
    if !raw.is_escaped() {
        return plain(raw);
    }
    scratch.clear();
    unescape(raw.as_received().as_bytes(), scratch)?;
    Ok(str::from_utf8(scratch).expect("unescaping UTF-8 without lone surrogates gives UTF-8"))
}

/// The text of a value, allocated only where it has escapes.
///
/// # Errors
/// As [`text`].
pub fn to_text(raw: Raw<'_>) -> Result<Cow<'_, str>, Reject> {
    if !raw.is_escaped() {
        return plain(raw).map(Cow::Borrowed);
    }
    let mut scratch = Vec::new();
    text(raw, &mut scratch).map(|text| Cow::Owned(text.to_owned()))
}

/// Appends the text of a value.
///
/// # Errors
/// As [`text`]; `out` may then end in part of the text.
#[inline]
pub fn append_text(raw: Raw<'_>, out: &mut Vec<u8>) -> Result<(), Reject> {
    if raw.is_escaped() {
        return Ok(unescape(raw.as_received().as_bytes(), out)?);
    }
    out.extend_from_slice(plain(raw)?.as_bytes());
    Ok(())
}

/// Appends the JSON text of a value as received; nothing when absent.
pub fn append_json(raw: Raw<'_>, out: &mut Vec<u8>) {
    let as_received = raw.as_received().as_bytes();
    if raw.kind() != Kind::String {
        return out.extend_from_slice(as_received);
    }
    out.push(b'"');
    if raw.is_escaped() {
        out.extend_from_slice(as_received);
    } else {
        append_escaped(as_received, out);
    }
    out.push(b'"');
}

/// Appends a text as the content of a JSON string.
pub fn append_escaped_to(text: &str, out: &mut String) {
    let mut from = 0;
    loop {
        let special = find_special(text.as_bytes(), from);
        out.push_str(&text[from..special]);
        match text.as_bytes().get(special) {
            None => return,
            Some(b'"') => out.push_str("\\\""),
            Some(b'\\') => out.push_str("\\\\"),
            Some(&byte) => out.push_str(&format!("\\u{byte:04x}")),
        }
        from = special + 1;
    }
}

/// A text that came in as JSON has nothing to escape; a configured one may.
fn append_escaped(content: &[u8], out: &mut Vec<u8>) {
    let mut from = 0;
    loop {
        let special = find_special(content, from);
        out.extend_from_slice(&content[from..special]);
        match content.get(special) {
            None => return,
            Some(&byte @ (b'"' | b'\\')) => out.extend_from_slice(&[b'\\', byte]),
            Some(&byte) => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
        from = special + 1;
    }
}

#[inline]
pub fn plain(raw: Raw<'_>) -> Result<&str, Reject> {
    match raw.kind() {
        Kind::String | Kind::Number | Kind::True | Kind::False => Ok(raw.as_received()),
        kind => Err(no_scalar(kind)),
    }
}

#[cold]
fn no_scalar(kind: Kind) -> Reject {
    Reject::invalid_value(match kind {
        Kind::Object => "an object is no scalar",
        Kind::Array => "an array is no scalar",
        _ => "there is no value",
    })
}

/// Appends the characters of a string's content, whose escapes are known to be well formed.
pub fn unescape(content: &[u8], out: &mut Vec<u8>) -> Result<(), LoneSurrogate> {
    unescape_with(content, out, || Err(LoneSurrogate))
}

/// The same, with U+FFFD for each lone surrogate.
pub fn unescape_lossy(content: &str) -> String {
    let mut out = Vec::with_capacity(content.len());
    let replaced = unescape_with(content.as_bytes(), &mut out, || {
        Ok(char::REPLACEMENT_CHARACTER)
    });
    debug_assert_eq!(replaced, Ok(()));
    String::from_utf8(out).expect("unescaping UTF-8 without lone surrogates gives UTF-8")
}

fn unescape_with(
    content: &[u8],
    out: &mut Vec<u8>,
    lone_surrogate: impl Fn() -> Result<char, LoneSurrogate>,
) -> Result<(), LoneSurrogate> {
    let mut from = 0;
    loop {
        let backslash = find_special(content, from);
        out.extend_from_slice(&content[from..backslash]);
        let Some(&letter) = content.get(backslash + 1) else {
            return Ok(());
        };
        from = backslash + 2;
        let plain = match letter {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (character, len) = unicode_escape(&content[backslash..]);
                from = backslash + len;
                let character = character.map_or_else(&lone_surrogate, Ok)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            itself => itself,
        };
        out.push(plain);
    }
}

/// The character of the `\uXXXX` or surrogate pair that `content` starts with, if it is one, and the
/// bytes it takes.
fn unicode_escape(content: &[u8]) -> (Option<char>, usize) {
    let high = code_unit(content);
    if !(0xd800..0xdc00).contains(&high) {
        return (char::from_u32(high), 6);
    }
    match content.get(6..12) {
        Some(next) if next.starts_with(b"\\u") && (0xdc00..0xe000).contains(&code_unit(next)) => (
            char::from_u32(0x10000 + ((high - 0xd800) << 10) + (code_unit(next) - 0xdc00)),
            12,
        ),
        _ => (None, 6),
    }
}

/// The code unit of a well-formed `\uXXXX`.
fn code_unit(escape: &[u8]) -> u32 {
    let digits = escape.get(2..6).unwrap_or_default();
    digits.iter().fold(0, |unit, &digit| {
        unit << 4 | char::from(digit).to_digit(16).unwrap_or(0)
    })
}
