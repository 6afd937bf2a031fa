//! JSON values as RowBinary.

mod composite;
mod computed;
pub mod dynamic;

use super::{ColumnType, EnumValues};
use crate::decode::decimal::decimal;
use crate::decode::json::{BLOCK_BYTES, Kind, Raw};
use crate::decode::time::{NumberUnit, TimeRules};
use crate::decode::time_of_day::{NANOS_PER_SECOND, time_of_day};
use crate::decode::{Reject, address, number, text, time, uuid, wide};
use ethnum::I256;

/// Days from 1970-01-01 to the default of a Date32, 1900-01-01.
const DATE32_DEFAULT: i32 = -25_567;
// A short text's length is one byte of LEB128.
const _: () = assert!(BLOCK_BYTES < 0x80);
const NULL: u8 = 1;
const NOT_NULL: u8 = 0;

/// Appends a length as RowBinary has it: LEB128.
#[inline]
pub fn append_length(len: usize, out: &mut Vec<u8>) {
    let mut len = len;
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
}

/// Reads the length that a value begins with.
#[must_use]
pub fn read_length(value: &[u8]) -> usize {
    let bytes = value.iter().take_while(|byte| **byte >= 0x80).count() + 1;
    let bytes = value.iter().take(bytes).rev();
    bytes.fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f))
}

impl ColumnType {
    /// Appends a value that is there and not null.
    ///
    /// # Errors
    /// `invalid_value` and `out_of_range`, the detail without the column's name. `out` may then end in
    /// part of the value: cut it back to the row's start.
    #[inline(always)]
    pub fn encode(&self, raw: Raw<'_>, out: &mut Vec<u8>) -> Result<(), Reject> {
        match self {
            ColumnType::String => string(raw, out),
            ColumnType::UInt64 => {
                let value = number::unsigned(raw, u64::MAX, "UInt64")?;
                out.extend_from_slice(&value.to_le_bytes());
                Ok(())
            }
            ColumnType::DateTime64 { precision, .. } => {
                let time = time::instant(raw, NumberUnit::Milliseconds)?;
                out.extend_from_slice(&time.ticks(*precision)?.to_le_bytes());
                Ok(())
            }
            ColumnType::LowCardinality(inner) if matches!(**inner, ColumnType::String) => {
                string(raw, out)
            }
            other => other.encode_rarer(raw, out),
        }
    }

    #[inline(never)]
    fn encode_rarer(&self, raw: Raw<'_>, out: &mut Vec<u8>) -> Result<(), Reject> {
        match self {
            ColumnType::String | ColumnType::UInt64 | ColumnType::DateTime64 { .. } => {
                return self.encode(raw, out);
            }
            ColumnType::FixedString(len) => return fixed_string(raw, *len as usize, out),
            ColumnType::UInt8 | ColumnType::UInt16 | ColumnType::UInt32 => {
                let (max, name) = self.unsigned_range();
                self.append_integer(number::unsigned(raw, max, name)?, out);
            }
            ColumnType::Int8 | ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64 => {
                let (min, max, name) = self.signed_range();
                self.append_integer(number::signed(raw, min, max, name)? as u64, out);
            }
            ColumnType::UInt128 => out.extend_from_slice(&wide::unsigned128(raw)?.to_le_bytes()),
            ColumnType::UInt256 => out.extend_from_slice(&wide::unsigned256(raw)?.to_le_bytes()),
            ColumnType::Int128 => out.extend_from_slice(&wide::signed128(raw)?.to_le_bytes()),
            ColumnType::Int256 => out.extend_from_slice(&wide::signed256(raw)?.to_le_bytes()),
            ColumnType::Float32 => out.extend_from_slice(&number::float32(raw)?.to_le_bytes()),
            ColumnType::Float64 => out.extend_from_slice(&number::float64(raw)?.to_le_bytes()),
            ColumnType::Bool => out.push(number::boolean(raw)?.into()),
            ColumnType::Decimal { .. } => return self.encode_decimal(decimal(raw)?, out),
            ColumnType::Date => out.extend_from_slice(&time::date(raw)?.to_le_bytes()),
            ColumnType::Date32 => out.extend_from_slice(&time::date32(raw)?.to_le_bytes()),
            ColumnType::DateTime { .. } => {
                let time = time::instant(raw, NumberUnit::SecondsIfLikely)?;
                return self.encode_instant(time, out);
            }
            ColumnType::Time => {
                return self.encode_time_of_day(time_of_day(raw, NANOS_PER_SECOND)?, out);
            }
            ColumnType::Time64 { precision } => {
                let unit_nanos = NANOS_PER_SECOND / 10i64.pow(u32::from(*precision).min(9));
                return self.encode_time_of_day(time_of_day(raw, unit_nanos)?, out);
            }
            ColumnType::Uuid => append_uuid(uuid::uuid(raw)?, out),
            ColumnType::Enum8(values) => out.push(enum_value(raw, values)? as u8),
            ColumnType::Enum16(values) => {
                out.extend_from_slice(&enum_value(raw, values)?.to_le_bytes());
            }
            ColumnType::Ipv4 => {
                out.extend_from_slice(&address::ipv4(raw)?.to_bits().to_le_bytes());
            }
            ColumnType::Ipv6 => out.extend_from_slice(&address::ipv6(raw)?.octets()),
            ColumnType::LowCardinality(inner) => return inner.encode(raw, out),
            ColumnType::Nullable(inner) => {
                out.push(NOT_NULL);
                return inner.encode(raw, out);
            }
            ColumnType::Array(inner) => {
                return array(raw, inner, out, |element, out| inner.encode(element, out));
            }
            ColumnType::Map(_)
            | ColumnType::Tuple(_)
            | ColumnType::Json(_)
            | ColumnType::Variant(_)
            | ColumnType::Dynamic(_) => {
                return self.encode_composite(raw, TimeRules::default(), out);
            }
        }
        Ok(())
    }

    /// Whether numbers in the column stand for times.
    pub fn has_times(&self) -> bool {
        self.any(&|part| {
            matches!(
                part,
                ColumnType::DateTime { .. } | ColumnType::DateTime64 { .. }
            )
        })
    }

    /// Whether numbers in the column stand for times of day.
    pub fn has_times_of_day(&self) -> bool {
        self.any(&|part| matches!(part, ColumnType::Time | ColumnType::Time64 { .. }))
    }

    /// As [`ColumnType::encode`], times by these rules.
    ///
    /// # Errors
    /// As [`ColumnType::encode`].
    pub fn encode_times<'r>(
        &self,
        raw: Raw<'_>,
        rules: impl Into<TimeRules<'r>>,
        out: &mut Vec<u8>,
    ) -> Result<(), Reject> {
        self.encode_by(raw, rules.into(), out)
    }

    fn encode_by(
        &self,
        raw: Raw<'_>,
        rules: TimeRules<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Reject> {
        let number = |undeclared| rules.unit.map_or(undeclared, NumberUnit::Declared);
        match self {
            ColumnType::DateTime { .. } => {
                let unit = number(NumberUnit::SecondsIfLikely);
                self.encode_instant(time::instant_by(raw, unit, rules.texts)?, out)
            }
            ColumnType::DateTime64 { .. } => {
                let unit = number(NumberUnit::Milliseconds);
                self.encode_instant(time::instant_by(raw, unit, rules.texts)?, out)
            }
            ColumnType::Time | ColumnType::Time64 { .. } => match rules.unit_of_day {
                Some(unit) => self.encode_time_of_day(time_of_day(raw, unit.nanos())?, out),
                None => self.encode(raw, out),
            },
            ColumnType::LowCardinality(inner) => inner.encode_by(raw, rules, out),
            ColumnType::Nullable(inner) => {
                out.push(NOT_NULL);
                inner.encode_by(raw, rules, out)
            }
            ColumnType::Array(inner) => array(raw, inner, out, |element, out| {
                inner.encode_by(element, rules, out)
            }),
            ColumnType::Map(_) | ColumnType::Tuple(_) | ColumnType::Variant(_) => {
                self.encode_composite(raw, rules, out)
            }
            other => other.encode(raw, out),
        }
    }

    /// As [`ColumnType::encode_times`] where something is declared, else as [`ColumnType::encode`].
    #[inline]
    pub(super) fn encode_in(
        &self,
        raw: Raw<'_>,
        rules: TimeRules<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Reject> {
        match rules.are_default() {
            true => self.encode(raw, out),
            false => self.encode_by(raw, rules, out),
        }
    }

    /// Appends values that stand in several places as the elements of an Array.
    ///
    /// # Errors
    /// As [`ColumnType::encode`]; `invalid_value` where the type is no Array.
    pub fn encode_elements<'r>(
        &self,
        values: &[Raw<'_>],
        rules: impl Into<TimeRules<'r>>,
        out: &mut Vec<u8>,
    ) -> Result<(), Reject> {
        let rules = rules.into();
        let ColumnType::Array(inner) = self else {
            return Err(Reject::invalid_value(format!("{self} holds no elements")));
        };
        elements(values.iter().copied(), inner, out, |element, out| {
            inner.encode_in(element, rules, out)
        })
    }

    /// Appends NULL where the type has it, else what the server would store for a missing value: zero,
    /// the empty text, the smallest declared value of an enum, 1900-01-01 for Date32.
    pub fn encode_null_or_zero(&self, out: &mut Vec<u8>) {
        let zeros = match self {
            ColumnType::LowCardinality(inner) => return inner.encode_null_or_zero(out),
            ColumnType::Nullable(_) => return out.push(NULL),
            ColumnType::Enum8(values) => return out.push(values.smallest() as u8),
            ColumnType::Enum16(values) => {
                return out.extend_from_slice(&values.smallest().to_le_bytes());
            }
            ColumnType::Date32 => return out.extend_from_slice(&DATE32_DEFAULT.to_le_bytes()),
            ColumnType::Tuple(fields) => {
                let types = fields.types().iter();
                return types.for_each(|field| field.encode_null_or_zero(out));
            }
            ColumnType::Json(_) => return out.extend_from_slice(b"\x02{}"),
            ColumnType::Variant(_) => return out.push(composite::NO_TYPE),
            ColumnType::Dynamic(_) => return out.push(dynamic::NULL),
            ColumnType::UInt128 | ColumnType::Int128 => 16,
            ColumnType::UInt256 | ColumnType::Int256 => 32,
            ColumnType::String | ColumnType::Array(_) | ColumnType::Map(_) => 1,
            ColumnType::FixedString(len) => *len as usize,
            ColumnType::UInt8 | ColumnType::Int8 | ColumnType::Bool => 1,
            ColumnType::UInt16 | ColumnType::Int16 | ColumnType::Date => 2,
            ColumnType::UInt32 | ColumnType::Int32 | ColumnType::Float32 => 4,
            ColumnType::Ipv4 | ColumnType::DateTime { .. } | ColumnType::Time => 4,
            ColumnType::UInt64 | ColumnType::Int64 | ColumnType::Float64 => 8,
            ColumnType::DateTime64 { .. } | ColumnType::Time64 { .. } => 8,
            ColumnType::Uuid | ColumnType::Ipv6 => 16,
            ColumnType::Decimal { precision, .. } => decimal_bytes(*precision),
        };
        out.resize(out.len() + zeros, 0);
    }

    /// Appends a configured default: read as the content of a JSON string or, where the type takes no
    /// such string (arrays, 0 and 1 for Bool, epoch milliseconds), as a JSON value.
    ///
    /// # Errors
    /// As [`ColumnType::encode`].
    pub fn encode_text_default(&self, default: &str, out: &mut Vec<u8>) -> Result<(), Reject> {
        self.encode_text_default_in(default, TimeRules::default(), out)
    }

    /// The same, times by these rules.
    ///
    /// # Errors
    /// As [`ColumnType::encode`].
    pub fn encode_text_default_in<'r>(
        &self,
        default: &str,
        rules: impl Into<TimeRules<'r>>,
        out: &mut Vec<u8>,
    ) -> Result<(), Reject> {
        let rules = rules.into();
        let encode = |value: Raw<'_>, out: &mut Vec<u8>| self.encode_in(value, rules, out);
        let start = out.len();
        encode(Raw::string(default), out).or_else(|as_string| {
            out.truncate(start);
            let value = Raw::parse(default).ok().filter(|value| !value.is_missing());
            value.map_or(Err(as_string), |value| encode(value, out))
        })
    }

    /// Appends a text, as [`ColumnType::encode`] appends a JSON string.
    ///
    /// # Errors
    /// As [`ColumnType::encode`].
    pub fn encode_text(&self, text: &str, out: &mut Vec<u8>) -> Result<(), Reject> {
        self.encode(Raw::string(text), out)
    }

    fn unsigned_range(&self) -> (u64, &'static str) {
        match self {
            ColumnType::UInt8 => (u8::MAX.into(), "UInt8"),
            ColumnType::UInt16 => (u16::MAX.into(), "UInt16"),
            ColumnType::UInt32 => (u32::MAX.into(), "UInt32"),
            _ => (u64::MAX, "UInt64"),
        }
    }

    fn signed_range(&self) -> (i64, i64, &'static str) {
        match self {
            ColumnType::Int8 => (i8::MIN.into(), i8::MAX.into(), "Int8"),
            ColumnType::Int16 => (i16::MIN.into(), i16::MAX.into(), "Int16"),
            ColumnType::Int32 => (i32::MIN.into(), i32::MAX.into(), "Int32"),
            _ => (i64::MIN, i64::MAX, "Int64"),
        }
    }

    /// The low bytes of an integer known to be in the type's range.
    fn append_integer(&self, value: u64, out: &mut Vec<u8>) {
        let len = match self {
            ColumnType::UInt8 | ColumnType::Int8 => 1,
            ColumnType::UInt16 | ColumnType::Int16 => 2,
            ColumnType::UInt32 | ColumnType::Int32 => 4,
            _ => 8,
        };
        out.extend_from_slice(&value.to_le_bytes()[..len]);
    }
}

#[inline(always)]
fn string(raw: Raw<'_>, out: &mut Vec<u8>) -> Result<(), Reject> {
    match raw.short() {
        Some((block, len)) if raw.is_plain_scalar() => {
            out.push(len as u8);
            let end = out.len() + len;
            out.extend_from_slice(block);
            out.truncate(end);
            Ok(())
        }
        _ => any_string(raw, out),
    }
}

#[inline(never)]
fn any_string(raw: Raw<'_>, out: &mut Vec<u8>) -> Result<(), Reject> {
    if raw.is_escaped() {
        return escaped_string(raw, out);
    }
    let text = text::plain(raw)?;
    append_length(text.len(), out);
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn escaped_string(raw: Raw<'_>, out: &mut Vec<u8>) -> Result<(), Reject> {
    let start = out.len();
    text::append_text(raw, out)?;
    insert_length(out.len() - start, start, out);
    Ok(())
}

/// Puts a length before what `out` has from `start` on: for parts whose length shows when they are done.
pub fn insert_length(len: usize, start: usize, out: &mut Vec<u8>) {
    let end = out.len();
    append_length(len, out);
    let length_bytes = out.len() - end;
    out[start..].rotate_right(length_bytes);
}

fn fixed_string(raw: Raw<'_>, len: usize, out: &mut Vec<u8>) -> Result<(), Reject> {
    let end = out.len() + len;
    text::append_text(raw, out)?;
    if out.len() > end {
        return Err(Reject::out_of_range(format!(
            "longer than FixedString({len})"
        )));
    }
    out.resize(end, 0);
    Ok(())
}

/// Appends the unscaled value of a Decimal column, known to have at most `precision` digits.
pub fn append_unscaled(unscaled: I256, precision: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&unscaled.to_le_bytes()[..decimal_bytes(precision)]);
}

/// Bytes of a Decimal column's unscaled value.
fn decimal_bytes(precision: u8) -> usize {
    match precision {
        ..=9 => 4,
        10..=18 => 8,
        19..=38 => 16,
        39.. => 32,
    }
}

/// Two little-endian halves, the first first.
fn append_uuid(bytes: [u8; 16], out: &mut Vec<u8>) {
    out.extend(bytes[..8].iter().rev());
    out.extend(bytes[8..].iter().rev());
}

/// By name, or by integer when the value is a number. The server takes undeclared integers unseen.
fn enum_value(raw: Raw<'_>, values: &EnumValues) -> Result<i16, Reject> {
    match raw.kind() {
        Kind::String => {
            let name = text::to_text(raw)?;
            values
                .by_name(&name)
                .ok_or_else(|| Reject::out_of_range("no such name in the Enum"))
        }
        Kind::Number => {
            let value = number::signed(raw, i16::MIN.into(), i16::MAX.into(), "Enum")? as i16;
            let declared = values.is_declared(value).then_some(value);
            declared.ok_or_else(|| Reject::out_of_range("no such value in the Enum"))
        }
        _ => Err(Reject::invalid_value("not a name or value of the Enum")),
    }
}

fn array(
    raw: Raw<'_>,
    inner: &ColumnType,
    out: &mut Vec<u8>,
    encode: impl FnMut(Raw<'_>, &mut Vec<u8>) -> Result<(), Reject>,
) -> Result<(), Reject> {
    if raw.kind() != Kind::Array {
        return Err(Reject::invalid_value("not an array"));
    }
    elements(raw.elements(), inner, out, encode)
}

fn elements<'a>(
    elements: impl Iterator<Item = Raw<'a>>,
    inner: &ColumnType,
    out: &mut Vec<u8>,
    mut encode: impl FnMut(Raw<'_>, &mut Vec<u8>) -> Result<(), Reject>,
) -> Result<(), Reject> {
    let (start, mut len) = (out.len(), 0);
    for element in elements {
        len += 1;
        if !element.is_missing() {
            encode(element, out)?;
        } else if inner.is_nullable() {
            inner.encode_null_or_zero(out);
        } else {
            return Err(Reject::invalid_value(format!("null in an Array({inner})")));
        }
    }
    insert_length(len, start, out);
    Ok(())
}

#[cfg(test)]
mod tests;
