//! Objects and arrays as the text of a column.

use super::calendar::append;
use super::decimals;
use super::field::member;
use crate::decode::json::{Kind, Raw};
use crate::decode::{Reject, text};

/// Appends what a value of no known type becomes in a text column: strings as they are, numbers, true
/// and false by their JSON text, decimals and points in their own, other objects and arrays as compact
/// JSON.
pub(super) fn append_untyped(raw: Raw<'_>, out: &mut Vec<u8>) -> Result<(), Reject> {
    match raw.kind() {
        Kind::Object => {
            if let Some((scale, value)) = decimals::variable_scale(raw) {
                return decimals::append_unscaled_text(value, scale, out);
            }
            if !append_point(raw, out) {
                append_compact(raw, out);
            }
            Ok(())
        }
        Kind::Array => {
            append_compact(raw, out);
            Ok(())
        }
        _ => text::append_text(raw, out),
    }
}

/// Appends `(x,y)`; false where the object is no point.
pub(super) fn append_point(raw: Raw<'_>, out: &mut Vec<u8>) -> bool {
    let (x, y) = (member(raw, "x"), member(raw, "y"));
    let is_point = is_float(x) && is_float(y) && member(raw, "wkb").kind() != Kind::Absent;
    if is_point {
        append(
            out,
            format_args!("({},{})", x.as_received(), y.as_received()),
        );
    }
    is_point
}

fn is_float(raw: Raw<'_>) -> bool {
    let is_word = || matches!(raw.as_received(), "NaN" | "Infinity" | "-Infinity");
    raw.kind() == Kind::Number || raw.kind() == Kind::String && is_word()
}

/// Appends a value's JSON without white space between its parts.
pub(super) fn append_compact(raw: Raw<'_>, out: &mut Vec<u8>) {
    if !matches!(raw.kind(), Kind::Object | Kind::Array) {
        return text::append_json(raw, out);
    }
    let (mut in_string, mut escaped) = (false, false);
    let received = raw.as_received().bytes();
    out.extend(received.filter(|&byte| {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            return true;
        }
        in_string = byte == b'"';
        !matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn untyped(json: &str) -> String {
        let mut out = Vec::new();
        append_untyped(Raw::parse(json).unwrap(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_of_no_known_type_become_text() {
        for (json, text) in [
            (r#""a\n""#, "a\n"),
            ("1.50", "1.50"),
            ("true", "true"),
            (r#"{"scale":1,"value":"EA=="}"#, "1.6"),
            (
                r#"{"x":1.5,"y":"NaN","wkb":"AQ==","srid":null}"#,
                "(1.5,NaN)",
            ),
            (
                r#"{ "scale" : "1", "value":"x" }"#,
                r#"{"scale":"1","value":"x"}"#,
            ),
            (r#"[ 1 , "a \" b\\" , null ]"#, r#"[1,"a \" b\\",null]"#),
            (r#"{"x":1}"#, r#"{"x":1}"#),
            ("[]", "[]"),
        ] {
            assert_eq!(untyped(json), text, "{json}");
        }
    }
}
