//! Exact numbers, quick where they are short.

use std::cmp::Ordering;

use ethnum::I256;

use crate::decode::decimal::{DIGITS_MAX, Decimal, decimal, power_of_ten};
use crate::decode::json::{Kind, Raw};

/// Digits of a short number: two of them, multiplied or brought to one scale, fit 128 bits.
const SHORT_DIGITS_MAX: usize = 18;

/// `mantissa / 10^scale`, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    /// At most 18 digits, behind the point too.
    Short { mantissa: i64, scale: u8 },
    /// At most 76 on either side of the point.
    Long { mantissa: I256, scale: u8 },
}

impl Number {
    pub(super) const ZERO: Number = Number::Short {
        mantissa: 0,
        scale: 0,
    };

    /// A JSON number, or a text that is one; `None` for everything else, and for numbers that no decimal
    /// column holds.
    pub(super) fn read(raw: Raw<'_>) -> Option<Number> {
        let is_plain =
            raw.kind() == Kind::Number || raw.kind() == Kind::String && !raw.is_escaped();
        if is_plain && let Some(number) = short(raw.as_received().as_bytes()) {
            return Some(number);
        }
        decimal(raw).ok().map(Number::from)
    }

    /// The text of a JSON number.
    pub(super) fn parse(text: &str) -> Option<Number> {
        Number::read(Raw::string(text))
    }

    fn long(self) -> (I256, u8) {
        match self {
            Number::Short { mantissa, scale } => (I256::from(mantissa), scale),
            Number::Long { mantissa, scale } => (mantissa, scale),
        }
    }

    pub(super) fn is_whole(self) -> bool {
        match self {
            Number::Short { mantissa, scale } => mantissa % 10i64.pow(u32::from(scale)) == 0,
            Number::Long { scale, .. } => scale == 0,
        }
    }

    /// `None` where the result has more digits than are counted.
    pub(super) fn times(self, other: Number) -> Option<Number> {
        let ((a, a_scale), (b, b_scale)) = (self.long(), other.long());
        let scale = a_scale.checked_add(b_scale)?;
        let mantissa = a.checked_mul(b)?;
        (scale <= DIGITS_MAX).then_some(Number::Long { mantissa, scale })
    }

    /// The same of a sum.
    pub(super) fn plus(self, other: Number) -> Option<Number> {
        let (a, b, scale) = self.aligned(other)?;
        let mantissa = a.checked_add(b)?;
        Some(Number::Long { mantissa, scale })
    }

    /// How far apart the two are; `None` as above.
    pub(super) fn distance(self, other: Number) -> Option<Number> {
        let (a, b, scale) = self.aligned(other)?;
        let mantissa = a.checked_sub(b)?.checked_abs()?;
        Some(Number::Long { mantissa, scale })
    }

    /// Both mantissas at the larger scale.
    fn aligned(self, other: Number) -> Option<(I256, I256, u8)> {
        let ((a, a_scale), (b, b_scale)) = (self.long(), other.long());
        let scale = a_scale.max(b_scale);
        let a = a.checked_mul(power_of_ten(scale - a_scale)?)?;
        let b = b.checked_mul(power_of_ten(scale - b_scale)?)?;
        Some((a, b, scale))
    }

    pub(super) fn compare(self, other: Number) -> Ordering {
        use Number::Short;
        if let (
            Short {
                mantissa: a,
                scale: a_scale,
            },
            Short {
                mantissa: b,
                scale: b_scale,
            },
        ) = (self, other)
        {
            let scaled = |mantissa: i64, by: u8| i128::from(mantissa) * 10i128.pow(u32::from(by));
            return scaled(a, b_scale).cmp(&scaled(b, a_scale));
        }
        let ((a, a_scale), (b, b_scale)) = (self.long(), other.long());
        let by_sign = a.signum().cmp(&b.signum());
        if by_sign.is_ne() {
            return by_sign;
        }
        parts(a, a_scale).cmp(&parts(b, b_scale))
    }
}

impl From<Decimal> for Number {
    fn from(decimal: Decimal) -> Self {
        Number::Long {
            mantissa: decimal.mantissa(),
            scale: decimal.scale(),
        }
    }
}

/// What stands before the point and, as digits of one length, behind it.
fn parts(mantissa: I256, scale: u8) -> (I256, I256) {
    let scale = scale.min(DIGITS_MAX);
    let unit = power_of_ten(scale).unwrap_or(I256::ONE);
    let shift = power_of_ten(DIGITS_MAX - scale).unwrap_or(I256::ONE);
    (mantissa / unit, mantissa % unit * shift)
}

/// `[-]digits[.digits]` of few digits.
fn short(text: &[u8]) -> Option<Number> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    if digits.len() > SHORT_DIGITS_MAX + 1 {
        return None;
    }
    let (mut mantissa, mut count, mut point) = (0i64, 0usize, None);
    for (at, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' if count < SHORT_DIGITS_MAX => {
                mantissa = mantissa * 10 + i64::from(byte - b'0');
                count += 1;
            }
            b'.' if point.is_none() && at > 0 => point = Some(at),
            _ => return None,
        }
    }
    let whole = point.unwrap_or(digits.len());
    let is_json = whole == 1 || digits.first() != Some(&b'0');
    let scale = point.map_or(0, |point| digits.len() - point - 1);
    if count == 0 || !is_json || point.is_some() && scale == 0 {
        return None;
    }
    Some(Number::Short {
        mantissa: if negative { -mantissa } else { mantissa },
        scale: scale as u8,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn only_json_numbers_are_numbers() {
        for text in [
            "", "-", ".", "1.", ".5", "01", "-01", "+1", "1 ", "0x1", "1e", "NaN", "1_0",
        ] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
        for text in [
            "0",
            "-0",
            "0.0",
            "0.5",
            "-0.5",
            "10",
            "1e3",
            "999999999999999999.9",
            "1E-2",
        ] {
            assert!(Number::parse(text).is_some(), "{text}");
        }
    }

    #[test]
    fn arithmetic_is_exact() {
        let product = number("0.1").times(number("3")).unwrap();
        assert!(product.compare(number("0.3")).is_eq());
        let product = number("12345678901234567890.12")
            .times(number("-2"))
            .unwrap();
        assert!(product.compare(number("-24691357802469135780.24")).is_eq());
        let sum = number("0.1").plus(number("0.2")).unwrap();
        assert!(sum.compare(number("0.30")).is_eq());
        let apart = number("1.005").distance(number("1.01")).unwrap();
        assert!(apart.compare(number("0.005")).is_eq());
        assert!(number("2.00").is_whole() && !number("2.01").is_whole());
        assert!(number("1e3").is_whole());
        let large = number("9e75");
        assert_eq!(large.times(large), None);
    }

    #[test]
    fn the_longest_short_number_and_the_next_are_read() {
        for text in [
            "999999999999999999",
            "0.99999999999999999",
            "9223372036854775807",
            "9223372036854775808",
            "9999999999999999999",
            "-9999999999999999999",
            "999999999.9999999999",
        ] {
            let expected = Number::from(decimal(Raw::string(text)).unwrap());
            assert!(number(text).compare(expected).is_eq(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn short_and_long_numbers_have_one_order(
            a in -1_000_000i64..1_000_000, a_scale in 0u8..9, b in -1_000_000i64..1_000_000, b_scale in 0u8..9,
        ) {
            let short = |mantissa, scale| Number::Short { mantissa, scale };
            let long = |mantissa, scale| Number::Long { mantissa: I256::from(mantissa), scale };
            let expected = (i128::from(a) * 10i128.pow(u32::from(b_scale)))
                .cmp(&(i128::from(b) * 10i128.pow(u32::from(a_scale))));
            for one in [short(a, a_scale), long(a, a_scale)] {
                for other in [short(b, b_scale), long(b, b_scale)] {
                    prop_assert_eq!(one.compare(other), expected);
                }
            }
        }

        #[test]
        fn a_number_is_read_as_decimals_are(text in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?") {
            let read = Number::parse(&text);
            let expected = decimal(Raw::string(&text)).ok().map(Number::from);
            match (read, expected) {
                (Some(read), Some(expected)) => prop_assert!(read.compare(expected).is_eq()),
                (read, expected) => prop_assert_eq!(read, expected),
            }
        }
    }
}
