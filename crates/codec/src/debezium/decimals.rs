//! Exact numbers as Debezium writes them: bytes with a scale, digits, or floats.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ethnum::{I256, U256};

use super::calendar::append;
use super::field::member;
use super::texts::not_representable;
use crate::decode::decimal::power_of_ten;
use crate::decode::json::{Kind, Raw};
use crate::decode::number::integer_token;
use crate::decode::{Reject, text};
use crate::table::{ColumnType, append_unscaled};

/// Bytes of the largest number any Decimal holds.
const SMALL_BYTES: usize = 32;
/// Larger numbers are read up to about 9,800 digits: their text costs time quadratic in its length.
const LARGE_BYTES_MAX: usize = 4096;
/// More digits behind the point than any database has.
const SCALE_MAX: i32 = 20_000;

/// Appends an unscaled number in base64 to a column.
pub(super) fn encode_unscaled(
    raw: Raw<'_>,
    scale: i32,
    target: &ColumnType,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    with_bytes(raw, |bytes| {
        let number = small(bytes).ok_or_else(|| too_many_digits(target))?;
        match target {
            ColumnType::Decimal {
                precision,
                scale: wanted,
            } => {
                let unscaled = rescaled(number, scale, i32::from(*wanted), *precision);
                let unscaled = unscaled.ok_or_else(|| too_many_digits(target))?;
                append_unscaled(unscaled, *precision, out);
                Ok(())
            }
            _ => {
                let whole = rescaled(number, scale, 0, 38).and_then(|n| i128::try_from(n).ok());
                let whole = whole.ok_or_else(|| too_many_digits(target))?;
                target.encode_integer(whole, out)
            }
        }
    })
}

/// Appends an unscaled number in base64 as plain digits.
pub(super) fn append_unscaled_text(
    raw: Raw<'_>,
    scale: i32,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    if !(-SCALE_MAX..=SCALE_MAX).contains(&scale) {
        return Err(Reject::out_of_range("a decimal with such a scale"));
    }
    with_bytes(raw, |bytes| {
        let start = out.len();
        let negative = match small(bytes) {
            Some(number) => {
                append(out, format_args!("{}", number.unsigned_abs()));
                number < 0
            }
            None => append_large(bytes, out),
        };
        place_point(scale, start, out);
        if negative {
            out.insert(start, b'-');
        }
        Ok(())
    })
}

/// Appends the digits of a JSON number plainly, with at least `scale` of them behind the point: converters
/// that write decimals as numbers (`decimal.format=NUMERIC`) write zero at scale 10 as `0E-10`.
pub(super) fn append_number_text(
    raw: Raw<'_>,
    scale: i32,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    let token = raw.as_received();
    let (mantissa, exponent) = token.split_once(['e', 'E']).unwrap_or((token, "0"));
    let exponent: Option<i32> = exponent.strip_prefix('+').unwrap_or(exponent).parse().ok();
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let behind = exponent.and_then(|e| i32::try_from(fraction.len()).ok()?.checked_sub(e));
    let behind = behind.filter(|behind| (-SCALE_MAX..=SCALE_MAX).contains(behind));
    let behind = behind.ok_or_else(|| Reject::out_of_range("a decimal with such an exponent"))?;
    let mut digits = [whole, fraction].concat();
    let zeros = scale.clamp(0, SCALE_MAX) - behind;
    // Zeros at the end say no more than the scale does.
    let spare = digits.len() - digits.trim_end_matches('0').len();
    let cut = usize::try_from(-zeros).unwrap_or(0).min(spare);
    digits.truncate(digits.len() - cut);
    digits.push_str(&"0".repeat(usize::try_from(zeros).unwrap_or(0)));
    let digits = digits.trim_start_matches('0');
    let point = match digits {
        "" => scale.clamp(0, SCALE_MAX),
        _ => behind + zeros.max(0) - i32::try_from(cut).unwrap_or(0),
    };
    let start = out.len();
    out.extend_from_slice(if digits.is_empty() {
        b"0"
    } else {
        digits.as_bytes()
    });
    place_point(point, start, out);
    if negative && !digits.is_empty() {
        out.insert(start, b'-');
    }
    Ok(())
}

/// The parts of an object `{"scale":…,"value":…}`, to which messages of Protobuf add the number of digits: none
/// where it is another object.
pub(super) fn variable_scale<'a>(raw: Raw<'a>) -> Option<(i32, Raw<'a>)> {
    let (scale, value) = (member(raw, "scale"), member(raw, "value"));
    let is_it = scale.kind() == Kind::Number && value.kind() == Kind::String;
    let scale = integer_token(scale.as_received())?.signed(i32::MIN.into(), i32::MAX.into())?;
    let mut members = raw.members();
    let is_alone = members.all(|(name, value)| match &*name {
        "scale" | "value" => true,
        "precision" => value.kind() == Kind::Number,
        _ => false,
    });
    (is_it && is_alone).then_some((scale as i32, value))
}

/// Appends a number of digits, in a string or bare, to a column.
pub(super) fn encode_digits(
    raw: Raw<'_>,
    target: &ColumnType,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    if raw.kind() == Kind::String && special(&text::to_text(raw)?).is_some() {
        return Err(not_representable("NaN or infinity"));
    }
    target.encode(raw, out)
}

/// Appends a float, which may be a word, to a Float column.
pub(super) fn encode_float(
    raw: Raw<'_>,
    target: &ColumnType,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    let word = match raw.kind() {
        Kind::String => special(&text::to_text(raw)?),
        _ => None,
    };
    match (word, target) {
        (None, _) => return target.encode(raw, out),
        (Some(value), ColumnType::Float32) => {
            out.extend_from_slice(&(value as f32).to_le_bytes());
        }
        (Some(value), _) => out.extend_from_slice(&value.to_le_bytes()),
    }
    Ok(())
}

/// The words for numbers that have no digits, as floats and as decimals in string mode spell them.
fn special(word: &str) -> Option<f64> {
    match word {
        "NaN" | "NAN" => Some(f64::NAN),
        "Infinity" | "POSITIVE_INFINITY" => Some(f64::INFINITY),
        "-Infinity" | "NEGATIVE_INFINITY" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// Decodes base64, small numbers without allocation.
fn with_bytes(raw: Raw<'_>, then: impl FnOnce(&[u8]) -> Result<(), Reject>) -> Result<(), Reject> {
    let no_bytes = || Reject::invalid_value("not the base64 of a decimal");
    if raw.kind() != Kind::String {
        return Err(no_bytes());
    }
    let text = text::to_text(raw)?;
    let mut buffer = [0; 2 * SMALL_BYTES];
    if text.len() <= buffer.len() {
        let len = STANDARD.decode_slice(text.as_bytes(), &mut buffer);
        return then(&buffer[..len.map_err(|_| no_bytes())?]);
    }
    if text.len() > LARGE_BYTES_MAX.div_ceil(3) * 4 {
        return Err(Reject::out_of_range("too many digits for a decimal"));
    }
    then(&STANDARD.decode(text.as_bytes()).map_err(|_| no_bytes())?)
}

/// The number of big-endian bytes, if it is no larger than any Decimal.
fn small(bytes: &[u8]) -> Option<I256> {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let sign = if negative { 0xff } else { 0 };
    let zeros = bytes.iter().take_while(|&&byte| byte == sign).count();
    let mut wide = [sign; SMALL_BYTES];
    let digits = &bytes[zeros..];
    // The first bit is the sign's: a number of all 32 bytes must keep it.
    let fits = digits.len() < SMALL_BYTES
        || digits.len() == SMALL_BYTES && (digits[0] & 0x80 != 0) == negative;
    if !fits {
        return None;
    }
    wide[SMALL_BYTES - digits.len()..].copy_from_slice(digits);
    Some(I256::from_be_bytes(wide))
}

/// The same number at another scale, if no digit is lost and `precision` digits hold it.
fn rescaled(number: I256, from: i32, to: i32, precision: u8) -> Option<I256> {
    if number == 0 {
        return Some(I256::ZERO);
    }
    let shift = to.checked_sub(from)?;
    let bound = power_of_ten(precision)?;
    if shift == 0 {
        return (number < bound && number > -bound).then_some(number);
    }
    let power = power_of_ten(u8::try_from(shift.unsigned_abs()).ok()?)?;
    let unscaled = if shift < 0 {
        (number % power == 0).then(|| number / power)?
    } else if number.unsigned_abs() >= (bound / power).unsigned_abs() {
        return None;
    } else {
        number * power
    };
    (unscaled < bound && unscaled > -bound).then_some(unscaled)
}

/// Appends the digits of a number of any size; whether it is negative.
fn append_large(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    const CHUNK_DIGITS: usize = 19;
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let mut limbs = limbs(bytes, negative);
    let mut chunks = Vec::new();
    while !limbs.is_empty() {
        let mut rest = 0u128;
        for limb in limbs.iter_mut().rev() {
            let part = rest << 64 | u128::from(*limb);
            *limb = (part / 10u128.pow(CHUNK_DIGITS as u32)) as u64;
            rest = part % 10u128.pow(CHUNK_DIGITS as u32);
        }
        chunks.push(rest);
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
    }
    append(out, format_args!("{}", chunks.pop().unwrap_or_default()));
    for chunk in chunks.iter().rev() {
        append(out, format_args!("{chunk:019}"));
    }
    negative
}

/// The magnitude of a big-endian number, the lowest 64 bits first.
fn limbs(bytes: &[u8], negative: bool) -> Vec<u64> {
    let sign = if negative { 0xff } else { 0 };
    let mut carry = negative;
    let of_chunk = |chunk: &[u8]| {
        let mut wide = [sign; 8];
        wide[8 - chunk.len()..].copy_from_slice(chunk);
        let limb = u64::from_be_bytes(wide) ^ if negative { u64::MAX } else { 0 };
        let (limb, over) = limb.overflowing_add(u64::from(carry));
        carry = over;
        limb
    };
    let mut limbs: Vec<u64> = bytes.rchunks(8).map(of_chunk).collect();
    if carry {
        limbs.push(1);
    }
    limbs
}

/// Sets the point `scale` digits before the end of the digits from `start` on.
fn place_point(scale: i32, start: usize, out: &mut Vec<u8>) {
    let scale_digits = scale.unsigned_abs() as usize;
    let len = out.len() - start;
    if scale < 0 && out[start..] != *b"0" {
        out.resize(out.len() + scale_digits, b'0');
    } else if scale > 0 {
        let zeros = (scale_digits + 1).saturating_sub(len);
        out.splice(start..start, std::iter::repeat_n(b'0', zeros));
        out.insert(out.len() - scale_digits, b'.');
    }
}

/// Appends the number of some bits, whose lowest byte comes first.
pub(super) fn bits(raw: Raw<'_>) -> Result<U256, Reject> {
    let mut number = U256::ZERO;
    with_bytes(raw, |bytes| {
        let len = bytes.len() - bytes.iter().rev().take_while(|&&byte| byte == 0).count();
        if len > SMALL_BYTES {
            return Err(Reject::out_of_range("more than 256 bits"));
        }
        let mut wide = [0; SMALL_BYTES];
        wide[..len].copy_from_slice(&bytes[..len]);
        number = U256::from_le_bytes(wide);
        Ok(())
    })?;
    Ok(number)
}

fn too_many_digits(target: &ColumnType) -> Reject {
    Reject::out_of_range(format!("too many digits for {target}"))
}
