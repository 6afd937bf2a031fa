//! Exact decimals: read from the digits, never through a float, never rounded.

use std::sync::LazyLock;

use ethnum::I256;

use super::json::{Kind, Raw, is_number};
use super::number::not_a_number;
use super::{Reject, text};

/// Most digits of any Decimal column.
pub const DIGITS_MAX: u8 = 76;
/// Longer texts are not read: nothing that needs them fits a column.
const TEXT_BYTES_MAX: usize = 5000;

/// An exact value: `mantissa / 10^scale`, without trailing zeros behind the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decimal {
    mantissa: I256,
    scale: u8,
}

impl Decimal {
    /// Zero.
    pub const ZERO: Decimal = Decimal {
        mantissa: I256::ZERO,
        scale: 0,
    };

    /// `mantissa / 10^scale`; none where more than 76 digits matter, or more than 76 stand behind the point.
    #[must_use]
    pub fn new(mantissa: I256, scale: u16) -> Option<Decimal> {
        let (mut mantissa, mut scale) = (mantissa, scale);
        if mantissa == I256::ZERO {
            return Some(Decimal::ZERO);
        }
        // Division of 256 bits costs ten times as much, and few values need it.
        if let Ok(mut narrow) = i64::try_from(mantissa) {
            while scale > 0 && narrow % 10 == 0 {
                (narrow, scale) = (narrow / 10, scale - 1);
            }
            mantissa = narrow.into();
        }
        while scale > 0 && mantissa % 10 == I256::ZERO {
            (mantissa, scale) = (mantissa / 10, scale - 1);
        }
        let scale = u8::try_from(scale).ok().filter(|s| *s <= DIGITS_MAX)?;
        let bound = power_of_ten(DIGITS_MAX)?;
        (mantissa < bound && mantissa > -bound).then_some(Decimal { mantissa, scale })
    }

    /// The unscaled value; at most 76 digits.
    #[must_use]
    pub fn mantissa(self) -> I256 {
        self.mantissa
    }

    /// Digits behind the point; at most 76, and the last of them is not 0.
    #[must_use]
    pub fn scale(self) -> u8 {
        self.scale
    }

    /// The unscaled value for a column `Decimal(precision, scale)`.
    ///
    /// # Errors
    /// `out_of_range` when a digit would be lost on either side of the point.
    pub fn unscaled(self, precision: u8, scale: u8) -> Result<I256, Reject> {
        let too_many_digits =
            || Reject::out_of_range(format!("too many digits for Decimal({precision}, {scale})"));
        let shift = scale.checked_sub(self.scale).ok_or_else(too_many_digits)?;
        let digits_max = precision.checked_sub(shift).ok_or_else(too_many_digits)?;
        let bound = power_of_ten(digits_max).ok_or_else(too_many_digits)?;
        if self.mantissa >= bound || self.mantissa <= -bound {
            return Err(too_many_digits());
        }
        Ok(self.mantissa * power_of_ten(shift).ok_or_else(too_many_digits)?)
    }
}

/// 10 to the power `exponent`, up to 76.
#[inline]
pub fn power_of_ten(exponent: u8) -> Option<I256> {
    static POWERS: LazyLock<[I256; DIGITS_MAX as usize + 1]> =
        LazyLock::new(|| std::array::from_fn(|exponent| I256::new(10).pow(exponent as u32)));
    POWERS.get(usize::from(exponent)).copied()
}

/// Reads a JSON number, or a string that holds exactly one. Trailing zeros count for nothing.
///
/// # Errors
/// `invalid_value` for other forms; `out_of_range` for what fits no Decimal column: more than 76 digits
/// from the first to the last that matters, or a text of 5,000 bytes and more.
pub fn decimal(raw: Raw<'_>) -> Result<Decimal, Reject> {
    match raw.kind() {
        Kind::Number => exact(raw.as_received().as_bytes()),
        Kind::String => {
            let text = text::to_text(raw)?;
            if !is_number(text.as_bytes()) {
                return Err(not_a_number());
            }
            exact(text.as_bytes())
        }
        _ => Err(not_a_number()),
    }
}

/// The value of a well-formed JSON number.
fn exact(number: &[u8]) -> Result<Decimal, Reject> {
    let (negative, unsigned) = match number {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let exponent_at = unsigned.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (coefficient, exponent) = match exponent_at {
        Some(at) => (&unsigned[..at], exponent(&unsigned[at + 1..])),
        None => (unsigned, 0),
    };
    let Some(digits) = Digits::of(coefficient) else {
        return Ok(Decimal::ZERO);
    };
    let fits_none = || Reject::out_of_range("too many digits for a decimal");
    if number.len() >= TEXT_BYTES_MAX {
        return Err(fits_none());
    }
    // The value is the digits, read as an integer, times ten to this power.
    let power = exponent.saturating_sub(digits.behind_point);
    let zeros = u8::try_from(power.max(0)).map_err(|_| fits_none())?;
    let scale = u8::try_from(power.min(0).unsigned_abs()).map_err(|_| fits_none())?;
    if digits.len + usize::from(zeros) > usize::from(DIGITS_MAX) || scale > DIGITS_MAX {
        return Err(fits_none());
    }
    let magnitude = digits.value() * power_of_ten(zeros).ok_or_else(fits_none)?;
    Ok(Decimal {
        mantissa: if negative { -magnitude } else { magnitude },
        scale,
    })
}

/// An exponent, without its letter; huge ones saturate far beyond every column.
fn exponent(text: &[u8]) -> i64 {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let size = digits.iter().fold(0i64, |size, digit| {
        (size * 10 + i64::from(digit - b'0')).min(1_000_000_000)
    });
    if negative { -size } else { size }
}

/// The digits that matter: from the first to the last that is not 0.
struct Digits<'a> {
    /// With the point among them, maybe.
    text: &'a [u8],
    len: usize,
    /// How many of the text's digits stand behind the point; negative where zeros before it were cut.
    behind_point: i64,
}

impl<'a> Digits<'a> {
    /// None where all digits are 0.
    fn of(coefficient: &'a [u8]) -> Option<Self> {
        let matters = |byte: &u8| matches!(byte, b'1'..=b'9');
        let first = coefficient.iter().position(matters)?;
        let last = coefficient.iter().rposition(matters)?;
        let text = &coefficient[first..=last];
        let point = coefficient
            .iter()
            .position(|&byte| byte == b'.')
            .unwrap_or(coefficient.len());
        let len = text.len() - usize::from((first..last).contains(&point));
        // One less for every zero cut between the last digit and the point.
        let behind_point = if last > point {
            (last - point) as i64
        } else {
            -((point - last - 1) as i64)
        };
        Some(Digits {
            text,
            len,
            behind_point,
        })
    }

    /// The digits as an integer; at most 76 of them.
    fn value(&self) -> I256 {
        let mut digits = self
            .text
            .iter()
            .filter(|&&byte| byte != b'.')
            .map(|digit| digit - b'0');
        let mut value = I256::ZERO;
        let mut left = self.len;
        // A 256-bit multiplication for every 18 digits only.
        while left > 0 {
            let count = left.min(18);
            let chunk = digits
                .by_ref()
                .take(count)
                .fold(0u64, |n, digit| n * 10 + u64::from(digit));
            value = value * I256::from(10u64.pow(count as u32)) + I256::from(chunk);
            left -= count;
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Reason;
    use proptest::prelude::*;

    fn unscaled(json: &str, precision: u8, scale: u8) -> Result<I256, Reason> {
        decimal(Raw::parse(json).unwrap())
            .and_then(|decimal| decimal.unscaled(precision, scale))
            .map_err(|reject| reject.reason)
    }

    #[test]
    fn decimals_are_exact_whatever_way_they_are_written() {
        let cases = [
            ("0", 0),
            ("-0.000", 0),
            ("0e999999999999999999999", 0),
            ("1", 100),
            ("-1.5", -150),
            ("\"12.34\"", 1234),
            ("1.2300000", 123),
            ("0.01", 1),
            ("1e-2", 1),
            ("100e-4", 1),
            ("12E1", 12000),
            ("1.5e+1", 1500),
            ("0.0015e3", 150),
            ("1000", 100_000),
            ("100.10", 10010),
            ("\"\\u0031\"", 100),
        ];
        for (json, expected) in cases {
            assert_eq!(unscaled(json, 38, 2), Ok(I256::new(expected)), "{json}");
        }
    }

    #[test]
    fn what_would_lose_a_digit_is_out_of_range() {
        let cases = [
            ("0.001", 5, 2),
            ("1000", 5, 2),
            ("-1000", 5, 2),
            ("999.995", 5, 2),
            ("1e3", 5, 2),
            ("1e-1000000000000000000000", 76, 76),
            ("1e1000000000000000000000", 76, 0),
            ("1e76", 76, 0),
            ("1e255", 76, 0),
            ("1e256", 76, 0),
            ("1e-77", 76, 76),
            ("1e-256", 76, 76),
            ("1", 2, 2),
        ];
        for (json, precision, scale) in cases {
            assert_eq!(
                unscaled(json, precision, scale),
                Err(Reason::OutOfRange),
                "{json}"
            );
        }
        let nines = "9".repeat(77);
        assert_eq!(unscaled(&nines, 76, 0), Err(Reason::OutOfRange));
        assert_eq!(
            unscaled(&format!("1.{}", "0".repeat(4998)), 5, 2),
            Err(Reason::OutOfRange)
        );
        assert_eq!(
            unscaled(&format!("1.{}", "0".repeat(4990)), 5, 2),
            Ok(I256::new(100))
        );
    }

    #[test]
    fn the_largest_decimals_fit() {
        let nines = "9".repeat(76);
        let largest = I256::new(10).pow(76) - 1;
        assert_eq!(unscaled(&nines, 76, 0), Ok(largest));
        assert_eq!(unscaled(&format!("-0.{nines}"), 76, 76), Ok(-largest));
        assert_eq!(unscaled("1e75", 76, 0), Ok(I256::new(10).pow(75)));
        assert_eq!(unscaled("999.99", 5, 2), Ok(I256::new(99999)));
        assert_eq!(unscaled("0.99", 2, 2), Ok(I256::new(99)));
    }

    #[test]
    fn other_forms_are_no_decimals() {
        for json in [
            "\"\"", "\"1,5\"", "\"1.\"", "\" 1\"", "\"NaN\"", "true", "[1]", "{}", "\"+1\"",
            "\"01\"",
        ] {
            assert_eq!(unscaled(json, 38, 9), Err(Reason::InvalidValue), "{json}");
        }
    }

    proptest! {
        #[test]
        fn any_integer_and_scale_come_back(mantissa in any::<i64>(), scale in 0usize..30) {
            let digits = format!("{:031}", mantissa.unsigned_abs());
            let (whole, fraction) = digits.split_at(31 - scale);
            let whole = whole.trim_start_matches('0');
            let point = if scale == 0 { "" } else { "." };
            let sign = if mantissa < 0 { "-" } else { "" };
            let whole = if whole.is_empty() { "0" } else { whole };
            let text = format!("{sign}{whole}{point}{fraction}");
            prop_assert_eq!(unscaled(&text, 76, scale as u8), Ok(I256::from(mantissa)));
            let scientific = format!("{mantissa}e-{scale}");
            prop_assert_eq!(unscaled(&scientific, 76, scale as u8), Ok(I256::from(mantissa)));
        }
    }
}
