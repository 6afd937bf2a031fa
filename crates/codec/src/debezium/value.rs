//! One value into one column, as its [`Reading`] says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::calendar::append;
use super::composite::{append_compact, append_point, append_untyped};
use super::placeholder::Placeholder;
use super::reading::{Reading, Way};
use super::texts::{encode_text, is_text};
use super::{decimals, moment};
use crate::decode::json::{Kind, Raw};
use crate::decode::number::integer_token;
use crate::decode::{Reason, Reject, text};
use crate::table::{ColumnType, insert_length};

/// What became of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The column's value was appended.
    Written,
    /// The record has no such field; nothing was appended.
    Absent,
    /// The field is there, but its value did not change and was left out; nothing was appended.
    Unavailable,
}

/// What a value's column does not say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings<'r> {
    /// None where every value is there.
    pub(super) placeholder: Option<&'r Placeholder>,
    /// The connector writes unsigned integers of 64 bits as if they were signed.
    pub(super) unsigned_as_signed: bool,
}

impl Reading {
    /// Appends the column's value.
    #[inline]
    pub(super) fn encode(
        &self,
        raw: Raw<'_>,
        around: Surroundings<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Outcome, Reject> {
        if raw.kind() == Kind::Absent {
            return Ok(Outcome::Absent);
        }
        if around
            .placeholder
            .is_some_and(|stand_in| stand_in.stands_for(raw))
        {
            return Ok(Outcome::Unavailable);
        }
        let start = out.len();
        let written = self.encode_value(raw, around, out);
        let written = written.or_else(|reject| {
            out.truncate(start);
            self.replace(raw, reject, out)
        });
        if written.is_err() {
            out.truncate(start);
        }
        written.map(|()| Outcome::Written)
    }

    /// The same for a value that is there.
    fn encode_value(
        &self,
        raw: Raw<'_>,
        around: Surroundings<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Reject> {
        let is_null = raw.kind() == Kind::Null;
        if self.is_nullable {
            out.push(is_null.into());
        } else if is_null {
            return Err(Reject::new(
                Reason::MissingField,
                "null, but the column is not Nullable",
            ));
        }
        if is_null {
            return Ok(());
        }
        let target = &self.target;
        match &self.way {
            Way::Plain => target.encode(raw, out),
            Way::Untyped if !matches!(raw.kind(), Kind::Object | Kind::Array) => {
                target.encode(raw, out)
            }
            Way::UnknownType(name) => Err(unknown_type(name)),
            Way::Mismatch(name) => Err(Reject::invalid_value(format!("{name} into {target}"))),
            Way::Array(element) => encode_array(raw, element, around, out),
            _ if is_text(target) => encode_text(target, out, |out| self.append_text(raw, out)),
            Way::Float => decimals::encode_float(raw, target, out),
            Way::Unsigned64 { is_known } => {
                encode_unsigned(raw, target, *is_known || around.unsigned_as_signed, out)
            }
            Way::Day => moment::encode_day(raw, target, out),
            Way::TimeOfDay(unit) => moment::encode_time_of_day(raw, *unit, target, out),
            Way::Instant(unit) => moment::encode_instant(raw, *unit, target, out),
            Way::Unscaled(scale) => encode_unscaled(raw, *scale, target, out),
            Way::VariableScale => match decimals::variable_scale(raw) {
                Some((scale, value)) => decimals::encode_unscaled(value, scale, target, out),
                None => Err(no_variable_scale()),
            },
            Way::Digits => decimals::encode_digits(raw, target, out),
            Way::Bits => encode_bits(raw, target, out),
            _ => Err(Reject::invalid_value(format!("not a value for {target}"))),
        }
    }

    /// Appends the text of a value that is there, without a length.
    pub(super) fn append_text(&self, raw: Raw<'_>, out: &mut Vec<u8>) -> Result<(), Reject> {
        match &self.way {
            Way::Untyped => append_untyped(raw, out),
            Way::Day => moment::append_day_text(raw, out),
            Way::TimeOfDay(unit) => moment::append_time_of_day_text(raw, *unit, out),
            Way::Instant(unit) => moment::append_instant_text(raw, *unit, out),
            Way::Unscaled(scale) if raw.kind() == Kind::Number => {
                decimals::append_number_text(raw, *scale, out)
            }
            Way::VariableScale if raw.kind() == Kind::Number => {
                decimals::append_number_text(raw, 0, out)
            }
            Way::Unsigned64 { is_known: true } => match wrapped(raw) {
                Some(unsigned) => {
                    append(out, format_args!("{unsigned}"));
                    Ok(())
                }
                None => text::append_text(raw, out),
            },
            Way::Unscaled(scale) => decimals::append_unscaled_text(raw, *scale, out),
            Way::VariableScale => match decimals::variable_scale(raw) {
                Some((scale, value)) => decimals::append_unscaled_text(value, scale, out),
                None => Err(no_variable_scale()),
            },
            Way::Bits => {
                append(out, format_args!("{}", decimals::bits(raw)?));
                Ok(())
            }
            Way::Bytes => append_bytes(raw, out),
            Way::Point if append_point(raw, out) => Ok(()),
            Way::Point | Way::Composite => {
                append_compact(raw, out);
                Ok(())
            }
            Way::ArrayText(element) => append_array(raw, element, out),
            _ => text::append_text(raw, out),
        }
    }

    /// Appends one element of an array that becomes text: numbers and booleans as JSON's own, everything
    /// else as a string with the text its own column would have.
    fn append_element(&self, raw: Raw<'_>, out: &mut Vec<u8>) -> Result<(), Reject> {
        match &self.way {
            _ if raw.kind() == Kind::Null => out.extend_from_slice(b"null"),
            Way::Day
            | Way::TimeOfDay(_)
            | Way::Instant(_)
            | Way::Unscaled(_)
            | Way::VariableScale
            | Way::Bits
            | Way::Point => {
                out.push(b'"');
                self.append_text(raw, out)?;
                out.push(b'"');
            }
            Way::ArrayText(element) => append_array(raw, element, out)?,
            Way::UnknownType(name) => return Err(unknown_type(name)),
            _ => append_compact(raw, out),
        }
        Ok(())
    }
}

fn encode_array(
    raw: Raw<'_>,
    element: &Reading,
    around: Surroundings<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    if raw.kind() != Kind::Array {
        return Err(Reject::invalid_value("not an array"));
    }
    let (start, mut len) = (out.len(), 0);
    for value in raw.elements() {
        element.encode_value(value, around, out)?;
        len += 1;
    }
    insert_length(len, start, out);
    Ok(())
}

fn append_array(raw: Raw<'_>, element: &Reading, out: &mut Vec<u8>) -> Result<(), Reject> {
    if raw.kind() != Kind::Array {
        return Err(Reject::invalid_value("not an array"));
    }
    out.push(b'[');
    for (index, value) in raw.elements().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        element.append_element(value, out)?;
    }
    out.push(b']');
    Ok(())
}

/// A number where the converter writes decimals as numbers, else the unscaled number's bytes.
fn encode_unscaled(
    raw: Raw<'_>,
    scale: i32,
    target: &ColumnType,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    match raw.kind() {
        Kind::Number => decimals::encode_digits(raw, target, out),
        Kind::Object => match decimals::variable_scale(raw) {
            Some((scale, value)) => decimals::encode_unscaled(value, scale, target, out),
            None => Err(no_variable_scale()),
        },
        _ => decimals::encode_unscaled(raw, scale, target, out),
    }
}

fn no_variable_scale() -> Reject {
    Reject::invalid_value("not a decimal of scale and value")
}

fn encode_unsigned(
    raw: Raw<'_>,
    target: &ColumnType,
    unsigned_as_signed: bool,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    match wrapped(raw).filter(|_| unsigned_as_signed) {
        Some(unsigned) => target.encode_text(&unsigned.to_string(), out),
        None => target.encode(raw, out),
    }
}

/// The number without a sign that a negative one stands for.
fn wrapped(raw: Raw<'_>) -> Option<u64> {
    let is_number = raw.kind() == Kind::Number;
    let token = integer_token(raw.as_received()).filter(|_| is_number)?;
    Some(token.signed(i64::MIN, -1)?.cast_unsigned())
}

fn encode_bits(raw: Raw<'_>, target: &ColumnType, out: &mut Vec<u8>) -> Result<(), Reject> {
    let bits = u64::try_from(decimals::bits(raw)?);
    let bits = bits.map_err(|_| Reject::out_of_range(format!("more bits than {target}")))?;
    target.encode_integer(bits.into(), out)
}

fn unknown_type(name: &str) -> Reject {
    Reject::new(Reason::UnknownType, format!("unknown type {name}"))
}

/// The bytes themselves.
fn append_bytes(raw: Raw<'_>, out: &mut Vec<u8>) -> Result<(), Reject> {
    let no_bytes = || Reject::invalid_value("not base64");
    if raw.kind() != Kind::String {
        return Err(no_bytes());
    }
    let text = text::to_text(raw)?;
    let decoded = STANDARD.decode_vec(text.as_bytes(), out);
    decoded.map_err(|_| no_bytes())
}
