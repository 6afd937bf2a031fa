//! The parts of a value that was already validated: elements of arrays, members of objects.

use std::borrow::Cow;

use super::{Kind, Raw, syntax};
use crate::decode::text;

/// The elements of an array, in order.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    rest: Rest<'a>,
}

/// The members of an object, in order, duplicates included. Names come unescaped, a lone surrogate in
/// one as U+FFFD.
#[derive(Debug, Clone)]
pub struct Members<'a> {
    rest: Rest<'a>,
}

/// A container's text from the next part on.
#[derive(Debug, Clone)]
struct Rest<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    fn new(container: &'a str) -> Self {
        Rest {
            text: container,
            at: syntax::skip_space(container.as_bytes(), 1),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The value that starts here; steps over it and over the comma behind it. None at the closing
    /// bracket, where no value can start.
    fn value(&mut self) -> Option<Raw<'a>> {
        let bytes = self.text.as_bytes();
        // Depth was judged when the record was scanned: none of the levels around it counts here.
        let value = syntax::value(bytes, self.at, 0).ok()?;
        let raw = value.raw(self.text, self.at);
        self.at = syntax::skip_space(bytes, value.end);
        if self.peek() == Some(b',') {
            self.at = syntax::skip_space(bytes, self.at + 1);
        }
        Some(raw)
    }
}

impl<'a> Elements<'a> {
    pub(super) fn new(array: &'a str) -> Self {
        Elements {
            rest: Rest::new(array),
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Raw<'a>;

    fn next(&mut self) -> Option<Raw<'a>> {
        self.rest.value()
    }
}

impl<'a> Members<'a> {
    pub(super) fn new(object: &'a str) -> Self {
        Members {
            rest: Rest::new(object),
        }
    }

    /// Where the next member begins in the object's text; behind the last, where the object ends.
    pub fn position(&self) -> usize {
        self.rest.at
    }

    /// The next member, its name as a string value, escapes and all.
    pub fn next_as_received(&mut self) -> Option<(Raw<'a>, Raw<'a>)> {
        if self.rest.peek() != Some(b'"') {
            return None;
        }
        let bytes = self.rest.text.as_bytes();
        let from = self.rest.at + 1;
        let name = syntax::string_after_quote(bytes, from).ok()?;
        self.rest.at = syntax::colon(bytes, name.quote + 1).ok()?;
        let len = name.quote - from;
        let name = Raw::new(Kind::String, name.escaped, &self.rest.text[from..], len);
        Some((name, self.rest.value()?))
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, Raw<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.next_as_received()?;
        let as_received = name.as_received();
        let name = if name.is_escaped() {
            Cow::Owned(text::unescape_lossy(as_received))
        } else {
            Cow::Borrowed(as_received)
        };
        Some((name, value))
    }
}
