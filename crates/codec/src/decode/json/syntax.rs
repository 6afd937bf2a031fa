//! The grammar of RFC 8259 over bytes already known to be UTF-8. Positions in, positions out.

use super::bytes::find_special;
use super::fault::{Expected, Fault};
use super::{DEPTH_MAX, Kind, Raw};
use crate::decode::digits::leading_digits;

/// A value that was read: where it ends and what it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value {
    pub(super) end: usize,
    pub(super) kind: Kind,
    pub(super) escaped: bool,
}

impl Value {
    /// The value as a slice of the text it was read from at `from`.
    pub(super) fn raw(self, text: &str, from: usize) -> Raw<'_> {
        let quotes = usize::from(self.kind == Kind::String);
        let (from, end) = (from + quotes, self.end - quotes);
        Raw::new(self.kind, self.escaped, &text[from..], end - from)
    }
}

/// Where a string ends: the position of its closing quote.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quoted {
    pub(super) quote: usize,
    pub(super) escaped: bool,
}

#[inline(always)]
pub(super) fn skip_space(bytes: &[u8], at: usize) -> usize {
    let is_text = |at: usize| bytes.get(at).is_none_or(|&byte| byte > b' ');
    if is_text(at) {
        at
    } else if bytes[at] == b' ' && is_text(at + 1) {
        at + 1
    } else {
        skip_more_space(bytes, at)
    }
}

#[inline(never)]
fn skip_more_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// Nothing but white space from here on.
pub(super) fn end_of_text(bytes: &[u8], at: usize) -> Result<(), Fault> {
    let at = skip_space(bytes, at);
    if at == bytes.len() {
        Ok(())
    } else {
        Err(Fault::new(Expected::EndOfRecord, at))
    }
}

/// Reads any value at `at`, `level` containers being open around it.
#[inline(always)]
pub(super) fn value(bytes: &[u8], at: usize, level: usize) -> Result<Value, Fault> {
    let plain = |end, kind| Value {
        end,
        kind,
        escaped: false,
    };
    match bytes.get(at) {
        Some(b'"') => {
            let string = string_after_quote(bytes, at + 1)?;
            Ok(Value {
                end: string.quote + 1,
                kind: Kind::String,
                escaped: string.escaped,
            })
        }
        Some(b'-' | b'0'..=b'9') => Ok(plain(number(bytes, at)?, Kind::Number)),
        Some(b'{') => Ok(plain(container(bytes, at, level)?, Kind::Object)),
        Some(b'[') => Ok(plain(container(bytes, at, level)?, Kind::Array)),
        Some(b't') => Ok(plain(literal(bytes, at, b"true")?, Kind::True)),
        Some(b'f') => Ok(plain(literal(bytes, at, b"false")?, Kind::False)),
        Some(b'n') => Ok(plain(literal(bytes, at, b"null")?, Kind::Null)),
        _ => Err(Fault::new(Expected::Value, at)),
    }
}

fn literal(bytes: &[u8], at: usize, word: &[u8]) -> Result<usize, Fault> {
    match bytes.get(at..at + word.len()) {
        Some(found) if found == word => Ok(at + word.len()),
        _ => Err(Fault::new(Expected::Value, at)),
    }
}

/// Reads a string whose opening quote lies before `at`.
#[inline(always)]
pub(super) fn string_after_quote(bytes: &[u8], at: usize) -> Result<Quoted, Fault> {
    let special = find_special(bytes, at);
    if bytes.get(special) == Some(&b'"') {
        return Ok(Quoted {
            quote: special,
            escaped: false,
        });
    }
    string_with_escapes(bytes, special)
}

#[inline(never)]
fn string_with_escapes(bytes: &[u8], mut at: usize) -> Result<Quoted, Fault> {
    loop {
        match bytes.get(at) {
            Some(b'"') => {
                return Ok(Quoted {
                    quote: at,
                    escaped: true,
                });
            }
            Some(b'\\') => at = find_special(bytes, escape(bytes, at)?),
            Some(_) => return Err(Fault::new(Expected::NoControlCharacter, at)),
            None => return Err(Fault::new(Expected::EndOfString, at)),
        }
    }
}

/// Position after the escape whose backslash is at `at`. Surrogates are not paired here.
fn escape(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match bytes.get(at + 2..at + 6) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => Ok(at + 6),
            _ => Err(Fault::new(Expected::HexDigits, at + 2)),
        },
        _ => Err(Fault::new(Expected::Escape, at)),
    }
}

/// Position after the number at `at`.
#[inline(always)]
pub(super) fn number(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    let from = at + usize::from(bytes.get(at) == Some(&b'-'));
    let mut at = match bytes.get(from) {
        Some(b'0') => from + 1,
        _ => digits(bytes, from)?,
    };
    if bytes.get(at) == Some(&b'.') {
        at = digits(bytes, at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        at = digits(bytes, at + 1 + sign)?;
    }
    Ok(at)
}

/// Position after one or more digits.
#[inline(always)]
fn digits(bytes: &[u8], from: usize) -> Result<usize, Fault> {
    let mut at = from;
    loop {
        let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) else {
            let rest = bytes.get(at..).unwrap_or_default().iter();
            at += rest.take_while(|byte| byte.is_ascii_digit()).count();
            break;
        };
        let count = leading_digits(*eight);
        at += count;
        if count < eight.len() {
            break;
        }
    }
    if at == from {
        Err(Fault::new(Expected::Digit, at))
    } else {
        Ok(at)
    }
}

/// Whether the whole text is one JSON number.
pub fn is_number(text: &[u8]) -> bool {
    matches!(number(text, 0), Ok(end) if end == text.len())
}

/// The kinds of the open containers, one bit a level.
struct Containers([u64; DEPTH_MAX / 64]);

impl Containers {
    /// `level` counts from 1.
    fn set(&mut self, level: usize, is_object: bool) {
        let (word, bit) = ((level - 1) / 64, (level - 1) % 64);
        self.0[word] = self.0[word] & !(1 << bit) | u64::from(is_object) << bit;
    }

    fn is_object(&self, level: usize) -> bool {
        self.0[(level - 1) / 64] >> ((level - 1) % 64) & 1 == 1
    }
}

/// Position after the object or array that opens at `at`, `outer` containers being open around it.
/// Calls [`value`] for scalars only, so that nothing recurses.
#[inline(never)]
fn container(bytes: &[u8], mut at: usize, outer: usize) -> Result<usize, Fault> {
    let mut open = Containers([0; DEPTH_MAX / 64]);
    let mut level = outer;
    'open: loop {
        if level == DEPTH_MAX {
            return Err(Fault::new(Expected::FewerLevels, at));
        }
        level += 1;
        let mut is_object = bytes[at] == b'{';
        open.set(level, is_object);
        at = skip_space(bytes, at + 1);
        let mut complete = bytes.get(at) == Some(&closing(is_object));
        'member: loop {
            if !complete {
                if is_object {
                    at = name_and_colon(bytes, at)?;
                }
                match bytes.get(at) {
                    Some(b'{' | b'[') => continue 'open,
                    _ => at = skip_space(bytes, value(bytes, at, level)?.end),
                }
            }
            loop {
                match bytes.get(at) {
                    Some(b',') if !complete => {
                        at = skip_space(bytes, at + 1);
                        continue 'member;
                    }
                    Some(&byte) if byte == closing(is_object) => at += 1,
                    _ => return Err(Fault::new(Expected::CommaOrEnd, at)),
                }
                level -= 1;
                if level == outer {
                    return Ok(at);
                }
                complete = false;
                is_object = open.is_object(level);
                at = skip_space(bytes, at);
            }
        }
    }
}

#[inline]
fn closing(is_object: bool) -> u8 {
    if is_object { b'}' } else { b']' }
}

/// Position of the value after a member's name.
fn name_and_colon(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    if bytes.get(at) != Some(&b'"') {
        return Err(Fault::new(Expected::Name, at));
    }
    colon(bytes, string_after_quote(bytes, at + 1)?.quote + 1)
}

/// Position of the value after the colon that must stand at or after `at`.
#[inline(always)]
pub(super) fn colon(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    let at = skip_space(bytes, at);
    if bytes.get(at) != Some(&b':') {
        return Err(Fault::new(Expected::Colon, at));
    }
    Ok(skip_space(bytes, at + 1))
}
