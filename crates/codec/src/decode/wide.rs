//! Integers of 128 and 256 bits, in the forms that all integers have ([`super::number`]).

use ethnum::{I256, U256};

use super::json::{Kind, Raw};
use super::number::{INTEGER_BYTES_MAX, not_an_integer};
use super::{Reject, text};

/// Sign and size; no size when it needs more than 256 bits.
struct Integer {
    is_negative: bool,
    magnitude: Option<U256>,
}

/// An integer for UInt128.
///
/// # Errors
/// `invalid_value` for other forms, `out_of_range` for other integers.
pub fn unsigned128(raw: Raw<'_>) -> Result<u128, Reject> {
    let value = integer(raw)?
        .unsigned()
        .and_then(|v| u128::try_from(v).ok());
    value.ok_or_else(|| Reject::out_of_range("UInt128"))
}

/// An integer for UInt256.
///
/// # Errors
/// `invalid_value` for other forms, `out_of_range` for other integers.
pub fn unsigned256(raw: Raw<'_>) -> Result<U256, Reject> {
    let value = integer(raw)?.unsigned();
    value.ok_or_else(|| Reject::out_of_range("UInt256"))
}

/// An integer for Int128.
///
/// # Errors
/// `invalid_value` for other forms, `out_of_range` for other integers.
pub fn signed128(raw: Raw<'_>) -> Result<i128, Reject> {
    let value = integer(raw)?.signed().and_then(|v| i128::try_from(v).ok());
    value.ok_or_else(|| Reject::out_of_range("Int128"))
}

/// An integer for Int256.
///
/// # Errors
/// `invalid_value` for other forms, `out_of_range` for other integers.
pub fn signed256(raw: Raw<'_>) -> Result<I256, Reject> {
    let value = integer(raw)?.signed();
    value.ok_or_else(|| Reject::out_of_range("Int256"))
}

impl Integer {
    fn unsigned(&self) -> Option<U256> {
        let magnitude = self.magnitude?;
        (!self.is_negative || magnitude == U256::ZERO).then_some(magnitude)
    }

    fn signed(&self) -> Option<I256> {
        let magnitude = self.magnitude?;
        let smallest = U256::ONE << 255;
        match self.is_negative {
            true if magnitude <= smallest => Some(magnitude.as_i256().wrapping_neg()),
            false if magnitude < smallest => Some(magnitude.as_i256()),
            _ => None,
        }
    }
}

fn integer(raw: Raw<'_>) -> Result<Integer, Reject> {
    let text = match raw.kind() {
        Kind::Number => raw.as_received().into(),
        Kind::String => text::to_text(raw)?,
        Kind::True => "1".into(),
        Kind::False => "0".into(),
        _ => return Err(not_an_integer()),
    };
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, &*text),
    };
    let is_signed_zero = raw.kind() == Kind::String && is_negative && digits.starts_with('0');
    if digits.is_empty() || is_signed_zero || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(not_an_integer());
    }
    let digit = |value: U256, byte: u8| {
        let tens = value.checked_mul(U256::new(10))?;
        tens.checked_add(U256::new((byte - b'0').into()))
    };
    // Beyond that nothing fits, however many zeros lead.
    let is_short = text.len() <= INTEGER_BYTES_MAX;
    let magnitude = is_short.then(|| digits.bytes().try_fold(U256::ZERO, digit));
    Ok(Integer {
        is_negative,
        magnitude: magnitude.flatten(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Reason;

    fn raw(json: &str) -> Raw<'_> {
        Raw::parse(json).expect("JSON")
    }

    #[test]
    fn each_width_ends_where_its_bits_end() {
        let two_to = |bits: u32| (U256::ONE << bits).to_string();
        let less = |bits: u32| ((U256::ONE << bits) - 1).to_string();
        assert_eq!(unsigned128(raw(&less(128))), Ok(u128::MAX));
        assert!(unsigned128(raw(&two_to(128))).is_err());
        assert_eq!(signed128(raw(&less(127))), Ok(i128::MAX));
        assert_eq!(signed128(raw(&format!("-{}", two_to(127)))), Ok(i128::MIN));
        assert!(signed128(raw(&two_to(127))).is_err());
        assert_eq!(unsigned256(raw(&U256::MAX.to_string())), Ok(U256::MAX));
        assert_eq!(signed256(raw(&less(255))), Ok(I256::MAX));
        let smallest = format!("\"-{}\"", two_to(255));
        assert_eq!(signed256(raw(&smallest)), Ok(I256::MIN));
        for json in [two_to(255), format!("-{}1", two_to(255)), "9".repeat(79)] {
            let reject = signed256(raw(&json)).unwrap_err();
            assert_eq!(reject.reason, Reason::OutOfRange, "{json}");
        }
        assert!(unsigned256(raw(&"9".repeat(78))).is_err());
        assert!(unsigned256(raw("-1")).is_err());
    }

    #[test]
    fn the_forms_are_those_of_all_integers() {
        for (json, value) in [
            ("0", 0),
            ("-0", 0),
            ("true", 1),
            ("false", 0),
            ("\"007\"", 7),
            ("\"-7\"", -7),
        ] {
            assert_eq!(signed128(raw(json)), Ok(value), "{json}");
        }
        for json in [
            "1.0", "1e3", "\"\"", "\"-0\"", "\"-\"", "\"+7\"", "\" 7\"", "{}", "null",
        ] {
            let reject = signed128(raw(json)).unwrap_err();
            assert_eq!(reject.reason, Reason::InvalidValue, "{json}");
        }
    }
}
