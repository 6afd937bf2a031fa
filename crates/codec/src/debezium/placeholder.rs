//! The stand-ins for large values that an update did not change.
//!
//! The placeholder is a text; a column of another type has its bytes in that type's own form.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::calendar::append;
use super::modes::BinaryMode;
use crate::decode::json::{Kind, Raw};
use crate::decode::text;

/// The forms of one placeholder.
#[derive(Debug, Clone)]
pub(super) struct Placeholder {
    text: Box<str>,
    /// The text itself and its bytes as the connector's binary modes write them.
    texts: Vec<Box<str>>,
    /// Bit n is set where a form has n bytes, the last bit for all longer ones: most values have another
    /// length.
    lengths: u64,
    /// In JSON each byte of a longer form takes six at most.
    json_bytes_max: usize,
}

impl Placeholder {
    /// The forms under one binary mode; every form where none is declared.
    pub(super) fn new(placeholder: &str, mode: Option<BinaryMode>) -> Placeholder {
        let bytes = placeholder.as_bytes();
        let mut hex = Vec::new();
        for byte in bytes {
            append(&mut hex, format_args!("{byte:02x}"));
        }
        let encoded = |mode| match mode {
            BinaryMode::Bytes | BinaryMode::Base64 => STANDARD.encode(bytes),
            BinaryMode::Base64UrlSafe => URL_SAFE.encode(bytes),
            BinaryMode::Hex => String::from_utf8_lossy(&hex).into_owned(),
        };
        let modes = match mode {
            Some(mode) => vec![mode],
            None => vec![
                BinaryMode::Bytes,
                BinaryMode::Base64UrlSafe,
                BinaryMode::Hex,
            ],
        };
        let mut texts: Vec<Box<str>> = vec![placeholder.into()];
        texts.extend(modes.into_iter().map(|mode| encoded(mode).into_boxed_str()));
        texts.dedup();
        let longest = texts.iter().map(|text| text.len()).max();
        Placeholder {
            text: placeholder.into(),
            lengths: texts.iter().fold(0, |all, text| all | length_bit(text)),
            json_bytes_max: 6 * longest.unwrap_or_default(),
            texts,
        }
    }

    /// Whether a value is the placeholder in the form of any type.
    #[inline]
    pub(super) fn stands_for(&self, raw: Raw<'_>) -> bool {
        match raw.kind() {
            Kind::String => self.is_text(raw),
            Kind::Array => self.is_array(raw),
            Kind::Object => self.is_map(raw),
            _ => false,
        }
    }

    #[inline]
    fn is_text(&self, raw: Raw<'_>) -> bool {
        let received = raw.as_received();
        if raw.is_escaped() {
            return received.len() <= self.json_bytes_max && self.is_escaped_text(raw);
        }
        self.is_form(received)
    }

    /// Nearly every text with an escape begins or ends otherwise: only a likely one is unescaped.
    fn is_escaped_text(&self, raw: Raw<'_>) -> bool {
        let (begin, end) = plain_ends(raw.as_received());
        let is_likely = |form: &str| form.starts_with(begin) && form.ends_with(end);
        self.texts.iter().any(|form| is_likely(form))
            && text::to_text(raw).is_ok_and(|text| self.is_form(&text))
    }

    #[inline]
    fn is_form(&self, received: &str) -> bool {
        self.lengths & length_bit(received) != 0
            && self.texts.iter().any(|form| **form == *received)
    }

    /// `["placeholder"]`, or the placeholder's bytes as numbers.
    fn is_array(&self, raw: Raw<'_>) -> bool {
        let mut elements = raw.elements();
        let Some(first) = elements.next() else {
            return false;
        };
        if first.kind() == Kind::String {
            return self.is_text(first) && elements.next().is_none();
        }
        let mut bytes = self.text.bytes();
        raw.elements().all(|element| {
            let byte = bytes.next();
            element.kind() == Kind::Number
                && byte.is_some_and(|byte| is_number(element.as_received(), byte))
        }) && bytes.next().is_none()
    }

    /// `{"placeholder":"placeholder"}`.
    fn is_map(&self, raw: Raw<'_>) -> bool {
        let mut members = raw.members();
        let Some((name, value)) = members.next() else {
            return false;
        };
        *name == *self.text
            && value.kind() == Kind::String
            && self.is_text(value)
            && members.next().is_none()
    }
}

fn length_bit(text: &str) -> u64 {
    1 << text.len().min(63)
}

/// What stands before the first and behind the last escape of a string.
fn plain_ends(received: &str) -> (&str, &str) {
    let begin = received.split('\\').next().unwrap_or_default();
    let end = received.rsplit('\\').next().unwrap_or_default();
    let letters = if end.starts_with('u') { 5 } else { 1 };
    (begin, end.get(letters..).unwrap_or_default())
}

/// Whether a JSON number is this byte; arrays of floats write `95.0`.
fn is_number(token: &str, byte: u8) -> bool {
    token.strip_suffix(".0").unwrap_or(token).parse() == Ok(byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debezium::UNAVAILABLE_VALUE;

    fn stands(placeholder: &Placeholder, json: &str) -> bool {
        placeholder.stands_for(Raw::parse(json).unwrap())
    }

    #[test]
    fn every_type_has_its_form_of_the_placeholder() {
        let placeholder = Placeholder::new(UNAVAILABLE_VALUE, Some(BinaryMode::Bytes));
        for json in [
            r#""__debezium_unavailable_value""#,
            r#""\u005f_debezium_unavailable_value""#,
            r#""__debezium_unavailable_valu\u0065""#,
            r#""X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==""#,
            r#"["__debezium_unavailable_value"]"#,
            "[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,118,97,108,117,101]",
            r#"{"__debezium_unavailable_value":"__debezium_unavailable_value"}"#,
        ] {
            assert!(stands(&placeholder, json), "{json}");
        }
        for json in [
            r#""__debezium_unavailable_value ""#,
            r#""5f5f646562657a69756d5f756e617661696c61626c655f76616c7565""#,
            "[95,95,100]",
            "[]",
            "{}",
            "null",
            "95",
            r#"["__debezium_unavailable_value",null]"#,
            r#"[null]"#,
            r#"{"__debezium_unavailable_value":null}"#,
            "[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,118,97,108,117,101,1]",
        ] {
            assert!(!stands(&placeholder, json), "{json}");
        }
    }

    #[test]
    fn the_binary_mode_decides_how_bytes_are_written() {
        let custom = Placeholder::new("?>", Some(BinaryMode::Hex));
        assert!(stands(&custom, r#""?>""#) && stands(&custom, r#""3f3e""#));
        assert!(!stands(&custom, r#""Pz4=""#));
        let url_safe = Placeholder::new("?>?>?>", Some(BinaryMode::Base64UrlSafe));
        assert!(stands(&url_safe, r#""Pz4_Pj8-""#));
        let undeclared = Placeholder::new("?>", None);
        for json in [r#""?>""#, r#""3f3e""#, r#""Pz4=""#] {
            assert!(stands(&undeclared, json), "{json}");
        }
    }
}
