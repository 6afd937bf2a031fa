//! Steps on texts.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use memchr::memmem::Finder;
use regex::Regex;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::TEXT_BYTES_MAX;
use super::value::{Scratch, Text};
use crate::decode::Reject;

/// A step on the text of a value: a string's characters, of other scalars their JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextStep {
    /// White space at both ends goes.
    Trim,
    /// Lower case, by Unicode.
    Lower,
    /// Upper case, by Unicode.
    Upper,
    /// Of each run of letters and digits the first in upper case, the others in lower case.
    Title,
    /// White space at both ends goes, every other run of it becomes one space.
    NormalizeSpace,
    /// Unicode's normalization form C.
    UnicodeNfc,
    /// Every occurrence of one text becomes another.
    Replace {
        /// What is looked for.
        from: Sought,
        /// What takes its place.
        to: Box<str>,
    },
    /// The first group of the first match, the whole match where there is no group.
    Extract(Pattern),
    /// Another text for a known one.
    Map(Mapped),
    /// One of the parts between separators.
    Split {
        /// Not empty.
        separator: Box<str>,
        /// From 0 on; from the end where it is negative.
        index: i64,
    },
}

/// A text that is looked for in others.
#[derive(Debug, Clone)]
pub struct Sought(Box<Finder<'static>>);

impl PartialEq for Sought {
    fn eq(&self, other: &Self) -> bool {
        self.0.needle() == other.0.needle()
    }
}

impl Eq for Sought {}

impl Sought {
    /// `None`: nothing is looked for.
    #[must_use]
    pub fn new(text: &str) -> Option<Sought> {
        (!text.is_empty()).then(|| Sought(Box::new(Finder::new(text).into_owned())))
    }

    fn is_in(&self, text: &str) -> bool {
        self.0.find(text.as_bytes()).is_some()
    }
}

/// A regular expression that is searched in linear time.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// # Errors
    /// What is wrong with the expression.
    pub fn new(expression: &str) -> Result<Pattern, String> {
        Regex::new(expression)
            .map(Pattern)
            .map_err(|error| error.to_string())
    }

    /// The expression.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    fn first(&self, text: &str) -> Option<Range<usize>> {
        if self.0.captures_len() == 1 {
            return self.0.find(text).map(|found| found.range());
        }
        Some(self.0.captures(text)?.get(1)?.range())
    }
}

/// `map` and `map_file`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// `map` or `map_file`.
    pub name: &'static str,
    /// What becomes of which text.
    pub entries: Arc<HashMap<Box<str>, Box<str>>>,
    /// What becomes of every other; none: it stays.
    pub default: Option<Box<str>>,
}

impl TextStep {
    /// The name that the configuration has for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            TextStep::Trim => "trim",
            TextStep::Lower => "lower",
            TextStep::Upper => "upper",
            TextStep::Title => "title",
            TextStep::NormalizeSpace => "normalize_space",
            TextStep::UnicodeNfc => "unicode_nfc",
            TextStep::Replace { .. } => "replace",
            TextStep::Extract(_) => "extract",
            TextStep::Map(mapped) => mapped.name,
            TextStep::Split { .. } => "split",
        }
    }

    /// A missing text stays missing.
    pub(super) fn apply<'a>(
        &'a self,
        text: Text<'a>,
        scratch: &mut Scratch,
    ) -> Result<Text<'a>, TooLong> {
        if text.is_missing() {
            return Ok(text);
        }
        match self {
            TextStep::Trim => Ok(scratch.narrow(text, |text| Some(trimmed(text)))),
            TextStep::Lower => changed(text, scratch, is_lower, lower),
            TextStep::Upper => changed(text, scratch, is_upper, upper),
            TextStep::Title => changed(text, scratch, |_| false, title),
            TextStep::NormalizeSpace => changed(text, scratch, has_normal_space, normalize_space),
            TextStep::UnicodeNfc => changed(text, scratch, is_nfc, |text, out| {
                out.extend(text.nfc());
            }),
            TextStep::Replace { from, .. } if !from.is_in(text.as_str(scratch)) => Ok(text),
            TextStep::Replace { from, to } => {
                scratch.rewrite(text, |text, out| replace(text, from, to, out))
            }
            TextStep::Extract(pattern) => Ok(scratch.narrow(text, |text| pattern.first(text))),
            TextStep::Map(mapped) => {
                let known = mapped.entries.get(text.as_str(scratch));
                let other = known.or(mapped.default.as_ref());
                Ok(other.map_or(text, |text| Text::Plain(text)))
            }
            TextStep::Split { separator, index } => {
                Ok(scratch.narrow(text, |text| part(text, separator, *index)))
            }
        }
    }
}

fn trimmed(text: &str) -> Range<usize> {
    // Most texts have nothing to trim, which their ends say.
    if let [first, .., last] = text.as_bytes()
        && first.is_ascii_graphic()
        && last.is_ascii_graphic()
    {
        return 0..text.len();
    }
    let start = text.len() - text.trim_start().len();
    start..start + text.trim().len()
}

/// Writes another text, unless the text is as it shall be.
fn changed<'a>(
    text: Text<'a>,
    scratch: &mut Scratch,
    is_done: impl Fn(&str) -> bool,
    write: impl Fn(&str, &mut String),
) -> Result<Text<'a>, TooLong> {
    if is_done(text.as_str(scratch)) {
        return Ok(text);
    }
    scratch.rewrite(text, |text, out| {
        write(text, out);
        Ok(())
    })
}

/// Whether no byte is one of these; all are looked at, many at once.
fn none_is(text: &str, is: impl Fn(u8) -> bool) -> bool {
    !text.bytes().fold(false, |found, byte| found | is(byte))
}

fn is_lower(text: &str) -> bool {
    none_is(text, |byte| byte >= 0x80 || byte.is_ascii_uppercase())
}

fn is_upper(text: &str) -> bool {
    none_is(text, |byte| byte >= 0x80 || byte.is_ascii_lowercase())
}

/// Whether it is ASCII whose white space is single spaces between words.
fn has_normal_space(text: &str) -> bool {
    let mut before = b' ';
    for byte in text.bytes() {
        let is_odd = byte >= 0x80 || (b'\t'..=b'\r').contains(&byte);
        if is_odd || (byte == b' ' && before == b' ') {
            return false;
        }
        before = byte;
    }
    before != b' ' || text.is_empty()
}

fn normalize_space(text: &str, out: &mut String) {
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
}

fn is_nfc(text: &str) -> bool {
    text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes
}

fn lower(text: &str, out: &mut String) {
    out.push_str(text);
    match text.is_ascii() {
        true => out.make_ascii_lowercase(),
        false => *out = text.to_lowercase(),
    }
}

fn upper(text: &str, out: &mut String) {
    out.push_str(text);
    match text.is_ascii() {
        true => out.make_ascii_uppercase(),
        false => *out = text.to_uppercase(),
    }
}

fn title(text: &str, out: &mut String) {
    let mut is_within = false;
    for character in text.chars() {
        if is_within {
            out.extend(character.to_lowercase());
        } else {
            match character {
                // Two letters in one, of which the first is large.
                '\u{1c4}'..='\u{1c6}' => out.push('\u{1c5}'),
                '\u{1c7}'..='\u{1c9}' => out.push('\u{1c8}'),
                '\u{1ca}'..='\u{1cc}' => out.push('\u{1cb}'),
                '\u{1f1}'..='\u{1f3}' => out.push('\u{1f2}'),
                _ => {
                    let mut upper = character.to_uppercase();
                    out.extend(upper.next());
                    out.extend(upper.flat_map(char::to_lowercase));
                }
            }
        }
        is_within = character.is_alphanumeric();
    }
}

fn replace(text: &str, from: &Sought, to: &str, out: &mut String) -> Result<(), TooLong> {
    let mut rest = 0;
    for at in from.0.find_iter(text.as_bytes()) {
        out.push_str(&text[rest..at]);
        out.push_str(to);
        rest = at + from.0.needle().len();
        if out.len() > TEXT_BYTES_MAX {
            return Err(TooLong);
        }
    }
    out.push_str(&text[rest..]);
    Ok(())
}

/// A step would make a text of more than [`TEXT_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

impl From<TooLong> for Reject {
    #[cold]
    fn from(_: TooLong) -> Self {
        Reject::invalid_value(format!("a text of more than {TEXT_BYTES_MAX} bytes"))
    }
}

/// Where a part of a text is, by its number.
fn part(text: &str, separator: &str, index: i64) -> Option<Range<usize>> {
    let place = usize::try_from(index.unsigned_abs()).ok()?;
    let part = match index {
        0.. => text.split(separator).nth(place),
        _ => text.rsplit(separator).nth(place - 1),
    }?;
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    Some(start..start + part.len())
}
