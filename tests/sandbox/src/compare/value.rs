//! Values in one spelling, whoever wrote them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

/// How a source column's values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Character by character.
    Text,
    /// Text whose blanks at the end mean nothing: `char(n)`.
    Padded,
    /// Decimals and whole numbers, by value.
    Number,
    /// Floating point, by value.
    Float,
    /// `t`, `true` and 1 are one.
    Boolean,
    /// Dates and times: no zeros at the end of the fraction, UTC without a zone.
    Instant,
    /// JSON text, by what it means.
    Json,
    /// An array, which the source writes as JSON: elements by their text.
    Array,
    /// The same with elements that are numbers, by value.
    NumberArray,
    /// Bytes, which source and replica are read as hexadecimal.
    Bytes,
}

/// What the replica's text column holds for bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Binary {
    /// The bytes themselves.
    Raw,
    /// Their base64 text.
    Base64,
    /// Their hexadecimal text.
    Hex,
}

impl Kind {
    /// The one spelling of what the source has.
    pub(super) fn of_source(self, text: &str) -> String {
        match self {
            Self::Text => text.to_owned(),
            Self::Padded => text.trim_end_matches(' ').to_owned(),
            Self::Number => number(text),
            Self::Float => text
                .parse()
                .map_or(text.to_owned(), |f: f64| format!("{f:?}")),
            Self::Boolean => match text {
                "t" | "true" | "1" => "true".to_owned(),
                "f" | "false" | "0" => "false".to_owned(),
                other => other.to_owned(),
            },
            Self::Instant => instant(text),
            Self::Json => json(text),
            Self::Array => array(text, str::to_owned),
            Self::NumberArray => array(text, number),
            Self::Bytes => text.to_ascii_lowercase(),
        }
    }

    /// The one spelling of what the replica has; `None` is NULL.
    pub(super) fn of_replica(self, value: &Value, binary: Binary) -> Option<String> {
        let text = match value {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if self != Self::Bytes {
            return Some(self.of_source(&text));
        }
        let inner = || unhex(&text).and_then(|bytes| String::from_utf8(bytes).ok());
        let decoded = match binary {
            Binary::Raw => Some(text.clone()),
            Binary::Base64 => {
                inner().and_then(|text| Some(hex(&BASE64_STANDARD.decode(text).ok()?)))
            }
            Binary::Hex => inner(),
        };
        // What cannot be decoded is shown as it is: no bytes look like that.
        Some(decoded.map_or(format!("not decodable: {text}"), |hex| {
            hex.to_ascii_lowercase()
        }))
    }
}

/// Without leading zeros, and without zeros at the end of the fraction.
fn number(text: &str) -> String {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return text.to_owned();
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (whole, fraction) = (
        whole.trim_start_matches('0'),
        fraction.trim_end_matches('0'),
    );
    let whole = if whole.is_empty() { "0" } else { whole };
    match (whole, fraction) {
        ("0", "") => "0".to_owned(),
        (whole, "") => format!("{sign}{whole}"),
        (whole, fraction) => format!("{sign}{whole}.{fraction}"),
    }
}

fn instant(text: &str) -> String {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let text = text.strip_suffix("+00:00").unwrap_or(text);
    let text = text.strip_suffix("+00").unwrap_or(text);
    let text = text.replacen('T', " ", 1);
    match text.split_once('.') {
        Some((whole, fraction)) => match fraction.trim_end_matches('0') {
            "" => whole.to_owned(),
            fraction => format!("{whole}.{fraction}"),
        },
        None => text,
    }
}

/// Members in order of their names, no white space. Text that is no JSON stays what it is.
fn json(text: &str) -> String {
    serde_json::from_str::<Value>(text).map_or(text.to_owned(), |value| value.to_string())
}

fn array(text: &str, canonical: impl Fn(&str) -> String) -> String {
    let element = |element: Value| match element {
        Value::Null | Value::Array(_) => element,
        Value::String(text) => Value::String(canonical(&text)),
        other => Value::String(canonical(&other.to_string())),
    };
    match serde_json::from_str(text) {
        Ok(Value::Array(elements)) => {
            Value::Array(elements.into_iter().map(element).collect()).to_string()
        }
        _ => text.to_owned(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn spellings_of_one_value_are_one() {
        let same = [
            (Kind::Number, "1.50", json!("1.5")),
            (Kind::Number, "-0.00", json!(0)),
            (
                Kind::Number,
                "9223372036854775807",
                json!("9223372036854775807"),
            ),
            (Kind::Float, "1e16", json!(10_000_000_000_000_000.0_f64)),
            (Kind::Padded, "X", json!("X  ")),
            (Kind::Boolean, "t", json!(true)),
            (Kind::Boolean, "false", json!(0)),
            (
                Kind::Instant,
                "2026-01-02 03:04:05.12",
                json!("2026-01-02 03:04:05.120000"),
            ),
            (
                Kind::Instant,
                "2026-01-02 03:04:05+00",
                json!("2026-01-02 03:04:05.000"),
            ),
            (
                Kind::Json,
                r#"{"b": 1, "a": [null]}"#,
                json!(r#"{"a":[null],"b":1}"#),
            ),
            (
                Kind::NumberArray,
                "[2, null, 1.50]",
                json!(r#"["2",null,"1.5"]"#),
            ),
            (Kind::Array, r#"["a", null]"#, json!(["a", null])),
        ];
        for (kind, source, replica) in same {
            let replica = kind.of_replica(&replica, Binary::Raw);
            assert_eq!(Some(kind.of_source(source)), replica, "{kind:?}");
        }
    }

    #[test]
    fn different_values_are_different() {
        let different = [
            (Kind::Number, "1.50", json!("1.05")),
            (Kind::Number, "-1", json!(1)),
            (Kind::Number, "10", json!("1")),
            (Kind::Text, "X", json!("X ")),
            (Kind::Text, "1.50", json!("1.5")),
            (Kind::Text, "", json!(null)),
            (Kind::Padded, "", json!(null)),
            (
                Kind::Instant,
                "2026-01-02 03:04:05.12",
                json!("2026-01-02 03:04:05.012"),
            ),
            (
                Kind::Instant,
                "2026-01-02 03:04:10",
                json!("2026-01-02 03:04:1"),
            ),
            (Kind::Json, r#"{"a":null}"#, json!("{}")),
            (Kind::Array, r#"["NULL"]"#, json!([null])),
            (Kind::Array, r#"[""]"#, json!([])),
            (Kind::Array, r#"["1.50"]"#, json!(["1.5"])),
        ];
        for (kind, source, replica) in different {
            let replica = kind.of_replica(&replica, Binary::Raw);
            assert_ne!(Some(kind.of_source(source)), replica, "{kind:?}");
        }
    }

    #[test]
    fn bytes_are_found_in_every_form_that_a_text_column_has_for_them() {
        let hex_of = |text: &str| json!(hex(text.as_bytes()));
        for (binary, column) in [
            (Binary::Raw, json!("00FF")),
            (Binary::Base64, hex_of("AP8=")),
            (Binary::Hex, hex_of("00ff")),
        ] {
            let replica = Kind::Bytes.of_replica(&column, binary);
            assert_eq!(replica.as_deref(), Some("00ff"), "{binary:?}");
        }
        let placeholder = Kind::Bytes.of_replica(&hex_of("__none"), Binary::Base64);
        assert!(placeholder.unwrap().starts_with("not decodable"));
    }
}
