//! Values as text: what JSON, texts and keys have of them.

use ethnum::I256;

use super::cursor::{Cursor, Read};
use super::schema::{Node, NodeId, Schema, Unit};
use crate::decode::json::{DEPTH_MAX, Kind};
use crate::decode::{Reason, Reject};
use crate::format::json_text::{
    append, append_base64, append_clock, append_day, append_float, append_integer, append_moment,
    append_padded, append_quoted,
};

/// Text that a record may become, whatever its size: names of fields are longer than their values.
const TEXT_BYTES_MAX: usize = 32 << 20;

const SECONDS_PER_DAY: i64 = 86_400;
/// Bytes of the largest number any Decimal holds.
const DECIMAL_BYTES: usize = 32;

/// How values are written that stand for something else: times, decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::format) enum Dress {
    /// As what they stand for.
    Meant,
    /// As Connect's JSON converter has them: times are numbers and decimals are bytes, which the schema block
    /// explains.
    Connect,
}

/// What stands for a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durations {
    /// `P1M2DT3.004S`
    Iso8601,
    /// Where a number is wanted.
    Seconds,
}

impl Schema {
    /// Appends a record of the schema as JSON.
    pub(in crate::format) fn append_record(
        &self,
        body: &[u8],
        dress: Dress,
        out: &mut String,
    ) -> Result<(), Reject> {
        let mut cursor = Cursor::new(body, self.len());
        let appended = self.append_json(self.root(), &mut cursor, out, dress, 0);
        let ended = appended.and_then(|_| cursor.finish());
        ended.map_err(|fault| fault.reject())
    }

    /// Appends the JSON text of a value and moves behind it.
    pub(super) fn append_json(
        &self,
        node: NodeId,
        cursor: &mut Cursor<'_>,
        out: &mut String,
        dress: Dress,
        depth: usize,
    ) -> Read<Kind> {
        let of = self.node(node);
        if depth >= DEPTH_MAX && of.has_others() {
            return Err(cursor.fault_for(Reason::TooDeep, "more than 256 levels"));
        }
        if out.len() > TEXT_BYTES_MAX {
            let what = format!("more than {TEXT_BYTES_MAX} bytes as JSON");
            return Err(cursor.fault_for(Reason::TooLarge, what));
        }
        match of {
            Node::Array(item) => {
                cursor.begin_value()?;
                out.push('[');
                let mut separator = "";
                while let Some(count) = cursor.block()? {
                    for _ in 0..count {
                        out.push_str(separator);
                        separator = ",";
                        self.append_json(*item, cursor, out, dress, depth + 1)?;
                    }
                }
                out.push(']');
                Ok(Kind::Array)
            }
            Node::Map(value) => {
                cursor.begin_value()?;
                out.push('{');
                let mut separator = "";
                while let Some(count) = cursor.block()? {
                    for _ in 0..count {
                        let name = cursor.string()?;
                        out.push_str(separator);
                        separator = ",";
                        append_quoted(name, out);
                        out.push(':');
                        let appended = self.append_json(*value, cursor, out, dress, depth + 1);
                        appended.map_err(|fault| fault.within(name))?;
                    }
                }
                out.push('}');
                Ok(Kind::Object)
            }
            Node::Record(fields) => {
                cursor.begin_value()?;
                out.push('{');
                let mut separator = "";
                for field in fields {
                    out.push_str(separator);
                    separator = ",";
                    out.push_str(&field.member);
                    let appended = self.append_json(field.node, cursor, out, dress, depth + 1);
                    appended.map_err(|fault| fault.within(&field.name))?;
                }
                out.push('}');
                Ok(Kind::Object)
            }
            Node::Union(branches) => {
                cursor.begin_value()?;
                let index = cursor.index(branches.len(), "branch")?;
                self.append_json(branches[index], cursor, out, dress, depth + 1)
            }
            Node::String => {
                cursor.begin_value()?;
                append_quoted(cursor.string()?, out);
                Ok(Kind::String)
            }
            Node::Enum(symbols) => {
                cursor.begin_value()?;
                append_quoted(&symbols[cursor.index(symbols.len(), "symbol")?], out);
                Ok(Kind::String)
            }
            of => {
                let start = out.len();
                let kind = match dress {
                    Dress::Connect if of.is_dressed() => self.append_connect(of, cursor, out)?,
                    _ => self.append_scalar(node, cursor, out, Durations::Iso8601)?,
                };
                if kind == Kind::String {
                    // None of these texts has anything to escape.
                    out.insert(start, '"');
                    out.push('"');
                }
                Ok(kind)
            }
        }
    }

    /// Appends a value of a type that Connect's JSON has otherwise.
    fn append_connect(&self, node: &Node, cursor: &mut Cursor<'_>, out: &mut String) -> Read<Kind> {
        cursor.begin_value()?;
        match node {
            Node::Date => append_integer(cursor.int()?, out),
            Node::TimeOfDay(unit) => append_integer(time_of_day(*unit, cursor)?, out),
            Node::Decimal { size, .. } => {
                let bytes = match size {
                    None => cursor.bytes()?,
                    Some(size) => cursor.fixed(*size)?,
                };
                append_base64(bytes, out);
                return Ok(Kind::String);
            }
            Node::BigDecimal => {
                append_big_decimal(cursor, out)?;
                return Ok(Kind::String);
            }
            _ => append_integer(cursor.long()?, out),
        }
        Ok(Kind::Number)
    }

    /// Appends the text of a value that is neither made of others nor a string: without quotes.
    pub(super) fn append_scalar(
        &self,
        node: NodeId,
        cursor: &mut Cursor<'_>,
        out: &mut String,
        durations: Durations,
    ) -> Read<Kind> {
        cursor.begin_value()?;
        match self.node(node) {
            Node::Null => {
                out.push_str("null");
                return Ok(Kind::Null);
            }
            Node::Boolean => {
                let value = cursor.boolean()?;
                out.push_str(if value { "true" } else { "false" });
                return Ok(if value { Kind::True } else { Kind::False });
            }
            Node::Int => append_integer(cursor.int()?, out),
            Node::Long => append_integer(cursor.long()?, out),
            Node::Float => return Ok(append_float(f32::from_le_bytes(cursor.array()?), out)),
            Node::Double => return Ok(append_float(f64::from_le_bytes(cursor.array()?), out)),
            Node::Decimal { scale, size } => {
                let bytes = match size {
                    None => cursor.bytes()?,
                    Some(size) => cursor.fixed(*size)?,
                };
                append_decimal(bytes, (*scale).into(), cursor, out)?;
            }
            Node::BigDecimal => append_big_decimal(cursor, out)?,
            Node::Duration => return append_duration(cursor, durations, out),
            _ => {
                self.append_text(node, cursor, out)?;
                return Ok(Kind::String);
            }
        }
        Ok(Kind::Number)
    }

    fn append_text(&self, node: NodeId, cursor: &mut Cursor<'_>, out: &mut String) -> Read<()> {
        match self.node(node) {
            Node::Bytes => append_base64(cursor.bytes()?, out),
            Node::Fixed(size) => append_base64(cursor.fixed(*size)?, out),
            Node::UuidBytes { size } => append_uuid(uuid(*size, cursor)?, out),
            Node::Date => append_day(cursor.int()?.into(), out),
            Node::TimeOfDay(unit) => append_time_of_day(time_of_day(*unit, cursor)?, *unit, out),
            Node::Timestamp { unit, is_local } => {
                let ticks = cursor.long()?;
                let seconds = ticks.div_euclid(unit.per_second());
                let part = ticks.rem_euclid(unit.per_second()) as u32;
                let zone = if *is_local { "" } else { "Z" };
                append_moment(seconds, (part, unit.digits()), zone, out);
            }
            other => return Err(cursor.fault(format!("{} is no text", other.type_name()))),
        }
        Ok(())
    }
}

impl Node {
    /// Whether it is made of other types.
    fn has_others(&self) -> bool {
        matches!(
            self,
            Node::Array(_) | Node::Map(_) | Node::Record(_) | Node::Union(_)
        )
    }

    fn is_dressed(&self) -> bool {
        matches!(
            self,
            Node::Date
                | Node::TimeOfDay(_)
                | Node::Timestamp { .. }
                | Node::Decimal { .. }
                | Node::BigDecimal
        )
    }
}

fn append_time_of_day(ticks: i64, unit: Unit, out: &mut String) {
    if ticks < 0 {
        out.push('-');
    }
    let (ticks, per_second) = (ticks.unsigned_abs(), unit.per_second().unsigned_abs());
    let (seconds, part) = (ticks / per_second, ticks % per_second);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    append_clock(hours, minutes, seconds, out);
    out.push('.');
    append_padded(part, unit.digits(), out);
}

/// Ticks since midnight.
pub(super) fn time_of_day(unit: Unit, cursor: &mut Cursor<'_>) -> Read<i64> {
    match unit {
        Unit::Millis => Ok(cursor.int()?.into()),
        Unit::Micros | Unit::Nanos => cursor.long(),
    }
}

pub(super) fn uuid(size: Option<usize>, cursor: &mut Cursor<'_>) -> Read<[u8; 16]> {
    let start = cursor.at();
    let bytes = match size {
        None => cursor.bytes()?,
        Some(size) => cursor.fixed(size)?,
    };
    let len = bytes.len();
    bytes.try_into().map_err(|_| {
        cursor
            .moved_to(start)
            .fault(format!("a UUID of {len} bytes"))
    })
}

fn append_uuid(bytes: [u8; 16], out: &mut String) {
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        append(out, format_args!("{byte:02x}"));
    }
}

/// The number of big-endian bytes in two's complement; none for one that no column holds.
pub(super) fn unscaled(bytes: &[u8]) -> Option<I256> {
    let sign = match bytes.first() {
        Some(byte) if byte & 0x80 != 0 => 0xff,
        _ => 0,
    };
    let spare = bytes.len().saturating_sub(DECIMAL_BYTES);
    let (spare, bytes) = bytes.split_at(spare);
    let is_sign = |byte: &u8| *byte == sign;
    let same_sign = bytes
        .first()
        .is_none_or(|byte| (byte & 0x80) == (sign & 0x80));
    if !spare.iter().all(is_sign) || !(spare.is_empty() || same_sign) {
        return None;
    }
    let mut wide = [sign; DECIMAL_BYTES];
    wide[DECIMAL_BYTES - bytes.len()..].copy_from_slice(bytes);
    Some(I256::from_be_bytes(wide))
}

fn append_decimal(bytes: &[u8], scale: usize, cursor: &Cursor<'_>, out: &mut String) -> Read<()> {
    let Some(number) = unscaled(bytes) else {
        let what = "a decimal of more than 256 bits";
        return Err(cursor.fault_for(Reason::OutOfRange, what));
    };
    if number < 0 {
        out.push('-');
    }
    let start = out.len();
    append(out, format_args!("{}", number.unsigned_abs()));
    if scale > 0 {
        let zeros = (scale + 1).saturating_sub(out.len() - start);
        out.insert_str(start, &"0".repeat(zeros));
        out.insert(out.len() - scale, '.');
    }
    Ok(())
}

/// Its bytes are the number and its scale.
fn append_big_decimal(cursor: &mut Cursor<'_>, out: &mut String) -> Read<()> {
    let mut inner = Cursor::new(cursor.bytes()?, 1);
    let number = inner.bytes();
    let (Ok(number), Ok(scale), Ok(())) = (number, inner.long(), inner.finish()) else {
        return Err(cursor.fault("no big-decimal"));
    };
    match usize::try_from(scale) {
        Ok(scale) if scale <= 1000 => append_decimal(number, scale, cursor, out),
        _ => Err(cursor.fault_for(Reason::OutOfRange, format!("a decimal of scale {scale}"))),
    }
}

fn append_duration(cursor: &mut Cursor<'_>, durations: Durations, out: &mut String) -> Read<Kind> {
    let part = |bytes: [u8; 4]| u32::from_le_bytes(bytes);
    let (months, days) = (part(cursor.array()?), part(cursor.array()?));
    let millis = part(cursor.array()?);
    let (seconds, millis) = (millis / 1000, millis % 1000);
    if durations == Durations::Seconds {
        if months != 0 {
            let what = "a duration of months has no number of seconds";
            return Err(cursor.fault_for(Reason::InvalidValue, what));
        }
        let seconds = i64::from(days) * SECONDS_PER_DAY + i64::from(seconds);
        append(out, format_args!("{seconds}"));
        append_millis(millis, out);
        return Ok(Kind::Number);
    }
    out.push('P');
    if months != 0 {
        append(out, format_args!("{months}M"));
    }
    if days != 0 {
        append(out, format_args!("{days}D"));
    }
    if (months, days) == (0, 0) || (seconds, millis) != (0, 0) {
        append(out, format_args!("T{seconds}"));
        append_millis(millis, out);
        out.push('S');
    }
    Ok(Kind::String)
}

fn append_millis(millis: u32, out: &mut String) {
    if millis != 0 {
        append(out, format_args!(".{millis:03}"));
        out.truncate(out.trim_end_matches('0').len());
    }
}
