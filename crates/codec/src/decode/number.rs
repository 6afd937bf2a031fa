//! Integers, floats and booleans.
//!
//! An integer is a JSON integer token (no fraction, no exponent) or a string of ASCII digits with an
//! optional minus; leading zeros are fine in strings, a minus before a zero is not. `true` is 1, `false` 0.

use super::digits::eight_digits;
use super::json::{Kind, Raw, is_number};
use super::{Reject, text};

/// Longest integer worth reading: beyond it nothing fits any column, however many zeros lead.
pub(super) const INTEGER_BYTES_MAX: usize = 400;

/// An integer's sign and size; no magnitude when it needs more than 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Integer {
    negative: bool,
    magnitude: Option<u64>,
}

impl Integer {
    fn small(magnitude: u64) -> Self {
        Integer {
            negative: false,
            magnitude: Some(magnitude),
        }
    }

    /// The value, if it is in `0..=max`.
    pub fn unsigned(self, max: u64) -> Option<u64> {
        let magnitude = self.magnitude.filter(|&magnitude| magnitude <= max)?;
        (!self.negative || magnitude == 0).then_some(magnitude)
    }

    /// The value, if it is in `min..=max`.
    pub fn signed(self, min: i64, max: i64) -> Option<i64> {
        let magnitude = self.magnitude?;
        let value = if self.negative {
            0i64.checked_sub_unsigned(magnitude)?
        } else {
            i64::try_from(magnitude).ok()?
        };
        (min..=max).contains(&value).then_some(value)
    }
}

/// Reads an integer from a number, a string or a boolean.
///
/// # Errors
/// `invalid_value` for every other form.
#[inline]
pub fn integer(raw: Raw<'_>) -> Result<Integer, Reject> {
    match raw.kind() {
        Kind::Number => integer_token(raw.as_received()),
        Kind::String => integer_text(&text::to_text(raw)?),
        Kind::True => Some(Integer::small(1)),
        Kind::False => Some(Integer::small(0)),
        _ => None,
    }
    .ok_or_else(not_an_integer)
}

/// A JSON integer token; `-0` is 0.
#[inline]
pub fn integer_token(token: &str) -> Option<Integer> {
    let bytes = token.as_bytes();
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let magnitude = magnitude(digits)?;
    Some(Integer {
        negative,
        magnitude: magnitude.filter(|_| bytes.len() <= INTEGER_BYTES_MAX),
    })
}

fn integer_text(text: &str) -> Option<Integer> {
    if text.starts_with("-0") {
        None
    } else {
        integer_token(text)
    }
}

/// None: not all digits. `Some(None)`: more than 64 bits.
#[inline]
fn magnitude(digits: &[u8]) -> Option<Option<u64>> {
    if digits.len() <= SHORT_DIGITS {
        return short_magnitude(digits).map(Some);
    }
    let mut value = Some(0u64);
    for (i, &byte) in digits.iter().enumerate() {
        let digit = u64::from(byte.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        value = match value {
            Some(value) if i < SHORT_DIGITS => Some(value * 10 + digit),
            Some(value) => value
                .checked_mul(10)
                .and_then(|value| value.checked_add(digit)),
            None => None,
        };
    }
    Some(value)
}

/// So many digits always fit into 64 bits.
const SHORT_DIGITS: usize = 19;

#[inline]
fn short_magnitude(mut digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let mut value = 0;
    while let Some((eight, rest)) = digits.split_first_chunk() {
        value = value * 100_000_000 + eight_digits(*eight)?;
        digits = rest;
    }
    for byte in digits {
        let digit = u64::from(byte.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        value = value * 10 + digit;
    }
    Some(value)
}

#[cold]
pub(super) fn not_an_integer() -> Reject {
    Reject::invalid_value("not an integer")
}

/// An integer in `0..=max`; `type_name` is for the detail.
///
/// # Errors
/// `invalid_value` for other forms, `out_of_range` for other integers.
#[inline]
pub fn unsigned(raw: Raw<'_>, max: u64, type_name: &'static str) -> Result<u64, Reject> {
    integer(raw)?
        .unsigned(max)
        .ok_or_else(|| Reject::out_of_range(type_name))
}

/// An integer in `min..=max`; `type_name` is for the detail.
///
/// # Errors
/// `invalid_value` for other forms, `out_of_range` for other integers.
#[inline]
pub fn signed(raw: Raw<'_>, min: i64, max: i64, type_name: &'static str) -> Result<i64, Reject> {
    integer(raw)?
        .signed(min, max)
        .ok_or_else(|| Reject::out_of_range(type_name))
}

/// The nearest double to a JSON number, or to a string that holds one.
///
/// # Errors
/// `invalid_value` for other forms, `out_of_range` where the nearest is infinite.
pub fn float64(raw: Raw<'_>) -> Result<f64, Reject> {
    let text = text::to_text(raw)?;
    let value: f64 = json_number(raw, &text)?
        .parse()
        .map_err(|_| not_a_number())?;
    if value.is_finite() {
        Ok(value)
    } else {
        Err(Reject::out_of_range("Float64"))
    }
}

/// The nearest single-precision number, rounded once, from the digits.
///
/// # Errors
/// `invalid_value` for other forms, `out_of_range` where the nearest is infinite.
pub fn float32(raw: Raw<'_>) -> Result<f32, Reject> {
    let text = text::to_text(raw)?;
    let value: f32 = json_number(raw, &text)?
        .parse()
        .map_err(|_| not_a_number())?;
    if value.is_finite() {
        Ok(value)
    } else {
        Err(Reject::out_of_range("Float32"))
    }
}

fn json_number<'t>(raw: Raw<'_>, text: &'t str) -> Result<&'t str, Reject> {
    let is_number = raw.kind() == Kind::Number || is_number(text.as_bytes());
    if is_number {
        Ok(text)
    } else {
        Err(not_a_number())
    }
}

#[cold]
pub fn not_a_number() -> Reject {
    Reject::invalid_value("not a number")
}

/// `true`, `false`, 0, 1, or the strings "true" and "false".
///
/// # Errors
/// `out_of_range` for other integers, `invalid_value` for everything else.
pub fn boolean(raw: Raw<'_>) -> Result<bool, Reject> {
    let not_a_boolean = || Reject::invalid_value("not a boolean");
    match raw.kind() {
        Kind::True => Ok(true),
        Kind::False => Ok(false),
        Kind::Number => {
            let integer = integer_token(raw.as_received()).ok_or_else(not_a_boolean)?;
            let value = integer
                .unsigned(1)
                .ok_or_else(|| Reject::out_of_range("Bool"))?;
            Ok(value == 1)
        }
        Kind::String => match &*text::to_text(raw)? {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(not_a_boolean()),
        },
        _ => Err(not_a_boolean()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Reason;

    fn raw(json: &str) -> Raw<'_> {
        Raw::parse(json).unwrap()
    }

    fn user_id(json: &str) -> Result<u64, Reason> {
        unsigned(raw(json), u64::MAX, "UInt64").map_err(|reject| reject.reason)
    }

    #[test]
    fn integers_are_tokens_or_strings_of_digits() {
        let accepted = [
            ("0", 0),
            ("true", 1),
            ("false", 0),
            ("-0", 0),
            ("7", 7),
            ("\"7\"", 7),
            ("\"007\"", 7),
            ("\"\\u0037\"", 7),
            ("9007199254740993", 9_007_199_254_740_993),
            ("18446744073709551615", u64::MAX),
            ("\"18446744073709551615\"", u64::MAX),
            (
                "\"0000000000000000000000000018446744073709551615\"",
                u64::MAX,
            ),
        ];
        for (json, expected) in accepted {
            assert_eq!(user_id(json), Ok(expected), "{json}");
        }
    }

    #[test]
    fn integers_that_do_not_fit_are_out_of_range() {
        for json in [
            "18446744073709551616",
            "-1",
            "\"-1\"",
            "99999999999999999999999999",
        ] {
            assert_eq!(user_id(json), Err(Reason::OutOfRange), "{json}");
        }
        let zeros = |count: usize| format!("\"{}7\"", "0".repeat(count));
        assert_eq!(user_id(&zeros(399)), Ok(7));
        assert_eq!(user_id(&zeros(400)), Err(Reason::OutOfRange));
        assert_eq!(signed(raw("-128"), -128, 127, "Int8"), Ok(-128));
        assert_eq!(
            signed(raw("-129"), -128, 127, "Int8"),
            Err(Reject::out_of_range("Int8"))
        );
        assert_eq!(
            signed(raw("-9223372036854775808"), i64::MIN, i64::MAX, "Int64"),
            Ok(i64::MIN)
        );
        assert!(signed(raw("9223372036854775808"), i64::MIN, i64::MAX, "Int64").is_err());
    }

    #[test]
    fn other_forms_are_no_integers() {
        let forms = [
            "1.0",
            "1e3",
            "\"abc\"",
            "\"\"",
            "\" 7\"",
            "\"7 \"",
            "\"+7\"",
            "\"-\"",
            "\"-0\"",
            "\"-07\"",
            "\"true\"",
            "{}",
            "[]",
            "null",
            "\"\\ud800\"",
            "\"٧\"",
            "\"1.0\"",
        ];
        for json in forms {
            assert_eq!(user_id(json), Err(Reason::InvalidValue), "{json}");
        }
    }

    #[test]
    fn floats_are_rounded_once_and_never_infinite() {
        assert_eq!(float64(raw("0.1")), Ok(0.1));
        assert_eq!(float64(raw("\"-1.5E2\"")), Ok(-150.0));
        assert_eq!(float64(raw("1e-400")), Ok(0.0));
        assert_eq!(float64(raw("1e309")), Err(Reject::out_of_range("Float64")));
        // Rounding to a double first would give the neighbour.
        assert_eq!(float32(raw("1.00000005960464477540")), Ok(1.000_000_1));
        assert_eq!(float32(raw("3.5e38")), Err(Reject::out_of_range("Float32")));
        for json in [
            "\"NaN\"", "\"inf\"", "\"1.\"", "\".5\"", "\"+1\"", "\" 1\"", "true", "[1]",
        ] {
            assert_eq!(
                float64(raw(json)).unwrap_err().reason,
                Reason::InvalidValue,
                "{json}"
            );
        }
    }

    #[test]
    fn booleans_are_words_or_zero_and_one() {
        for (json, expected) in [
            ("true", true),
            ("false", false),
            ("1", true),
            ("0", false),
            ("\"true\"", true),
        ] {
            assert_eq!(boolean(raw(json)), Ok(expected), "{json}");
        }
        assert_eq!(boolean(raw("2")).unwrap_err().reason, Reason::OutOfRange);
        for json in ["1.0", "\"1\"", "\"TRUE\"", "\"\"", "{}"] {
            assert_eq!(
                boolean(raw(json)).unwrap_err().reason,
                Reason::InvalidValue,
                "{json}"
            );
        }
    }
}
