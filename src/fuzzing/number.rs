//! Numbers read digit by digit as text, in place of any arithmetic that could round.

use ethnum::{I256, U256};

use super::reading::{string, text};
use crate::decode::Reason;

/// An integer in `min..=max`.
pub(super) fn integer(json: &str, min: i128, max: i128) -> Result<i128, Reason> {
    let digits = match string(json)? {
        Some(text) if text.starts_with("-0") => return Err(Reason::InvalidValue),
        Some(text) => text,
        None => match json {
            "true" => "1".to_owned(),
            "false" => "0".to_owned(),
            number => number.to_owned(),
        },
    };
    let unsigned = digits.strip_prefix('-').unwrap_or(&digits);
    if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Reason::InvalidValue);
    }
    let significant = unsigned.trim_start_matches('0');
    // Documented: longer texts are not read, however many zeros lead.
    if significant.len() > 38 || digits.len() > 400 {
        return Err(Reason::OutOfRange);
    }
    let magnitude: i128 = format!("0{significant}")
        .parse()
        .expect("at most 38 digits");
    let value = if digits.starts_with('-') {
        -magnitude
    } else {
        magnitude
    };
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(Reason::OutOfRange)
    }
}

/// An integer of so many bits, whatever `integer` can hold; unsigned ones as their bits.
pub(super) fn wide(json: &str, bits: u32, is_signed: bool) -> Result<I256, Reason> {
    // Its form is judged there.
    if let Err(Reason::InvalidValue) = integer(json, 0, 0) {
        return Err(Reason::InvalidValue);
    }
    let text = match json {
        "true" => "1".to_owned(),
        "false" => "0".to_owned(),
        _ => text(json)?,
    };
    let is_negative = text.starts_with('-');
    let digits = text.trim_start_matches('-').trim_start_matches('0');
    if text.len() > 400 {
        return Err(Reason::OutOfRange);
    }
    let magnitude: U256 = format!("0{digits}")
        .parse()
        .map_err(|_| Reason::OutOfRange)?;
    let half = U256::ONE << (bits - 1);
    let is_held = match (is_signed, is_negative) {
        (true, true) => magnitude <= half,
        (true, false) => magnitude < half,
        (false, true) => magnitude == 0,
        (false, false) => bits == 256 || magnitude >> bits == 0,
    };
    let value = magnitude.as_i256();
    match is_held {
        true if is_negative => Ok(value.wrapping_neg()),
        true => Ok(value),
        false => Err(Reason::OutOfRange),
    }
}

/// The text of a JSON number, or of a string that holds exactly one.
fn number_text(json: &str) -> Result<String, Reason> {
    let text = text(json)?;
    let is_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && text.ends_with(|c: char| c.is_ascii_digit())
        && serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
    if is_number {
        Ok(text)
    } else {
        Err(Reason::InvalidValue)
    }
}

pub(super) fn float64(json: &str) -> Result<f64, Reason> {
    let text = number_text(json)?;
    let value: f64 = text.parse().map_err(|_| Reason::InvalidValue)?;
    // The standard library rounds correctly; another reader must come close.
    if let Ok(other) = serde_json::from_str::<f64>(&text) {
        assert!(
            (value - other).abs() <= value.abs() * 1e-14 + 1e-300,
            "{text}: {value} {other}"
        );
    }
    if value.is_finite() {
        Ok(value)
    } else {
        Err(Reason::OutOfRange)
    }
}

pub(super) fn float32(json: &str) -> Result<f64, Reason> {
    let text = number_text(json)?;
    let value: f32 = text.parse().map_err(|_| Reason::InvalidValue)?;
    let wide: f64 = text.parse().map_err(|_| Reason::InvalidValue)?;
    let near = (f64::from(value) - wide).abs() <= wide.abs() * 1e-7 + 1e-44;
    assert!(near || !value.is_finite(), "{text}: {value} {wide}");
    if value.is_finite() {
        Ok(value.into())
    } else {
        Err(Reason::OutOfRange)
    }
}

/// The unscaled value for `Decimal(precision, scale)`: digits moved about as text.
pub(super) fn decimal(json: &str, precision: u8, scale: u8) -> Result<I256, Reason> {
    let text = number_text(json)?;
    let (coefficient, exponent) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
    let (whole, fraction) = coefficient.split_once('.').unwrap_or((coefficient, ""));
    let digits = format!("{}{fraction}", whole.trim_start_matches('-'));
    let kept = digits.trim_end_matches('0');
    let (zeros, digits) = (digits.len() - kept.len(), kept.trim_start_matches('0'));
    if digits.is_empty() {
        return Ok(I256::ZERO);
    }
    // Documented: longer texts are not read.
    if text.len() >= 5000 {
        return Err(Reason::OutOfRange);
    }
    let power = power(exponent) - fraction.len() as i64 + zeros as i64 + i64::from(scale);
    if power < 0 || digits.len() as i64 + power > i64::from(precision) {
        return Err(Reason::OutOfRange);
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    let unscaled = format!("{sign}{digits}{}", "0".repeat(power as usize));
    Ok(unscaled.parse().expect("at most 76 digits"))
}

/// A number that is not negative, times 10^`places`, rounded down; `None` for one of 40 digits and more.
pub(super) fn decimal_cut(json: &str, places: i64) -> Option<i128> {
    let (coefficient, exponent) = json.split_once(['e', 'E']).unwrap_or((json, "0"));
    let (whole, fraction) = coefficient.split_once('.').unwrap_or((coefficient, ""));
    if whole.starts_with('-') {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let dropped = power(exponent) - fraction.len() as i64 + places;
    let text = match usize::try_from(-dropped) {
        Ok(cut) => digits.get(..digits.len().saturating_sub(cut))?.to_owned(),
        Err(_) if dropped > 40 => return None,
        Err(_) => format!("{digits}{}", "0".repeat(dropped as usize)),
    };
    format!("0{text}").parse().ok().filter(|_| text.len() < 38)
}

/// An exponent; what no 12 digits hold is as good as a million million.
fn power(exponent: &str) -> i64 {
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, exponent.strip_prefix('+').unwrap_or(exponent)),
    };
    let digits = digits.trim_start_matches('0');
    let size = if digits.len() > 12 {
        1_000_000_000_000
    } else {
        format!("0{digits}").parse().unwrap_or(0)
    };
    sign * size
}
