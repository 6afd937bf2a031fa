//! One JSON value as received.

use std::fmt;

use super::syntax;
use super::walk::{Elements, Members};
use crate::decode::Reject;

/// What a value is, by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The record has no such member.
    Absent,
    /// `null`
    Null,
    /// A string.
    String,
    /// A number.
    Number,
    /// `true`
    True,
    /// `false`
    False,
    /// An object.
    Object,
    /// An array.
    Array,
}

/// A value of a record: its kind and its text as received; a string without its quotes.
#[derive(Clone, Copy)]
pub struct Raw<'a> {
    /// The value's text and whatever the record has after it.
    from_here: &'a str,
    len: usize,
    kind: Kind,
    escaped: bool,
}

/// Bytes of a short value's block.
pub const BLOCK_BYTES: usize = 64;

impl<'a> Raw<'a> {
    /// No such member.
    pub const ABSENT: Raw<'static> = Raw {
        from_here: "",
        len: 0,
        kind: Kind::Absent,
        escaped: false,
    };

    /// A null.
    pub const NULL: Raw<'static> = Raw {
        from_here: "null",
        len: 4,
        kind: Kind::Null,
        escaped: false,
    };

    /// A JSON value that this program wrote, or of a string the characters.
    #[must_use]
    pub fn written(kind: Kind, text: &'a str) -> Self {
        Raw::new(kind, false, text, text.len())
    }

    /// The first `len` bytes of `from_here`.
    #[inline(always)]
    pub(super) fn new(kind: Kind, escaped: bool, from_here: &'a str, len: usize) -> Self {
        Raw {
            from_here,
            len,
            kind,
            escaped,
        }
    }

    /// A string value that never was JSON: a configured default, a field of a Redis hash.
    #[must_use]
    pub fn string(content: &'a str) -> Self {
        Raw::new(Kind::String, false, content, content.len())
    }

    /// A value that never was JSON and has no quotes: a number, true or false where it reads as one, else a
    /// string.
    #[must_use]
    pub fn bare(content: &'a str) -> Self {
        let kind = match content {
            "true" => Kind::True,
            "false" => Kind::False,
            number if syntax::is_number(number.as_bytes()) => Kind::Number,
            _ => Kind::String,
        };
        Raw::new(kind, false, content, content.len())
    }

    /// Reads one JSON value with nothing but white space around it.
    ///
    /// # Errors
    /// `invalid_json` and `too_deep`, as for records.
    pub fn parse(json: &'a str) -> Result<Self, Reject> {
        let bytes = json.as_bytes();
        let from = syntax::skip_space(bytes, 0);
        let value = syntax::value(bytes, from, 0).map_err(|fault| fault.reject(0))?;
        syntax::end_of_text(bytes, value.end).map_err(|fault| fault.reject(0))?;
        Ok(value.raw(json, from))
    }

    /// What the value is.
    #[must_use]
    pub fn kind(self) -> Kind {
        self.kind
    }

    /// Absent or null: the default applies.
    #[must_use]
    pub fn is_missing(self) -> bool {
        matches!(self.kind, Kind::Absent | Kind::Null)
    }

    /// The text as received: of a string what stands between the quotes, escapes and all; of
    /// everything else the JSON text. Empty when absent.
    #[must_use]
    #[inline]
    pub fn as_received(self) -> &'a str {
        &self.from_here[..self.len]
    }

    /// The text as received, when it is short and the record goes on behind it: a block to copy whole
    /// and cut back to the length given, which costs less than a copy of a length that no branch
    /// predictor can know.
    #[inline(always)]
    pub fn short(self) -> Option<(&'a [u8; BLOCK_BYTES], usize)> {
        let block = self.from_here.as_bytes().first_chunk()?;
        (self.len <= BLOCK_BYTES).then_some((block, self.len))
    }

    /// A string without escapes, a number, true or false: its text is the text as received.
    #[inline(always)]
    pub fn is_plain_scalar(self) -> bool {
        matches!(
            self.kind,
            Kind::String | Kind::Number | Kind::True | Kind::False
        ) && !self.escaped
    }

    /// Whether this is a string with a backslash in it.
    #[must_use]
    pub fn is_escaped(self) -> bool {
        self.escaped
    }

    /// The elements of an array in order; nothing for any other kind.
    #[must_use]
    pub fn elements(self) -> Elements<'a> {
        Elements::new(if self.kind == Kind::Array {
            self.as_received()
        } else {
            "[]"
        })
    }

    /// The members of an object in order, duplicates included; nothing for any other kind.
    #[must_use]
    pub fn members(self) -> Members<'a> {
        Members::new(if self.kind == Kind::Object {
            self.as_received()
        } else {
            "{}"
        })
    }
}

impl PartialEq for Raw<'_> {
    fn eq(&self, other: &Self) -> bool {
        let parts = |raw: &Self| (raw.kind, raw.escaped);
        parts(self) == parts(other) && self.as_received() == other.as_received()
    }
}

impl Eq for Raw<'_> {}

impl fmt::Debug for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({})", self.kind, self.as_received())
    }
}
