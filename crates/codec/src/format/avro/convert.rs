//! How a wanted value becomes what a column takes.

use super::cursor::Cursor;
use super::cursor::Read;
use super::schema::{Node, NodeId, Schema, SchemaError, Unit};
use super::text::{Dress, Durations, time_of_day, unscaled};
use super::{Natural, Place, Wanted};
use crate::decode::Reject;
use crate::decode::decimal::power_of_ten;
use crate::decode::json::{Kind, Raw};
use crate::decode::time::Instant;
use crate::decode::time_of_day::{NANOS_PER_SECOND, TimeOfDay};
use crate::table::{ColumnSource, ColumnType, RawMode, append_length, append_unscaled};

/// Texts that are asked for are copied up to this length; longer ones are validated a second time instead.
const COPIED_BYTES_MAX: usize = 256;

/// A value that is kept for a slot.
#[derive(Debug)]
pub(super) struct Take {
    pub(super) slot: usize,
    node: NodeId,
    write: Write,
    /// Whether its text is made while the record is read.
    pub(super) has_text: bool,
    durations: Durations,
}

/// How a column takes the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    /// As JSON would say it.
    Natural,
    Integer,
    Float,
    Double,
    Boolean,
    /// Bytes into a text column, as they are.
    Bytes,
    /// A text column takes JSON.
    Json,
    Instant(Unit),
    /// The day of an instant.
    DayOf(Unit),
    Day,
    Midnight,
    TimeOfDay(Unit),
    Decimal,
}

impl Take {
    /// Chooses the way from a type to a column.
    ///
    /// # Errors
    /// No value of the type fits the column.
    pub(super) fn new(
        schema: &Schema,
        node: NodeId,
        slot: usize,
        wanted: &Wanted,
    ) -> Result<Take, SchemaError> {
        let of_schema = schema.node(node);
        let write = match &wanted.column {
            None => Write::Natural,
            Some(column) if column.raw_mode() != RawMode::Off || column.has_steps() => {
                Write::Natural
            }
            Some(column) => {
                let plain = plain(&column.column().column_type);
                if !fits(of_schema, plain) {
                    return Err(misfit(schema, of_schema, wanted, column));
                }
                Write::of(of_schema, plain)
            }
        };
        let durations = match &wanted.column {
            Some(column) if is_number(plain(&column.column().column_type)) => Durations::Seconds,
            _ => Durations::Iso8601,
        };
        Ok(Take {
            slot,
            node,
            write,
            has_text: wanted.is_asked_for || matches!(write, Write::Natural | Write::Json),
            durations,
        })
    }

    /// The value as JSON has it; the cursor moves behind it. Long texts of the record itself stay where they
    /// are.
    pub(super) fn append_natural(
        &self,
        schema: &Schema,
        cursor: &mut Cursor<'_>,
        text: &mut String,
    ) -> Read<Natural> {
        let from = text.len();
        let kind = match schema.node(self.node) {
            Node::String => {
                cursor.begin_value()?;
                let string = cursor.string()?;
                return Ok(self.keep_string(string, cursor.at(), text));
            }
            Node::Enum(symbols) => {
                cursor.begin_value()?;
                let index = cursor.index(symbols.len(), "symbol")?;
                text.push_str(&symbols[index]);
                Kind::String
            }
            Node::Array(_) | Node::Map(_) | Node::Record(_) | Node::Union(_) => {
                schema.append_json(self.node, cursor, text, Dress::Meant, 0)?
            }
            _ => schema.append_scalar(self.node, cursor, text, self.durations)?,
        };
        Ok(Natural {
            kind,
            place: Place::Text,
            from,
            end: text.len(),
        })
    }

    /// A string of the record as JSON has it: `end` is its end in the record.
    #[inline(always)]
    pub(super) fn keep_string(&self, string: &str, end: usize, text: &mut String) -> Natural {
        let kind = Kind::String;
        if string.len() > COPIED_BYTES_MAX {
            let (place, from) = (Place::Record, end - string.len());
            return Natural {
                kind,
                place,
                from,
                end,
            };
        }
        let from = text.len();
        text.push_str(string);
        Natural {
            kind,
            place: Place::Text,
            from,
            end: text.len(),
        }
    }

    /// Appends the value to a row. `natural`: its text, where it has one.
    #[inline(always)]
    pub(super) fn append<'n>(
        &self,
        schema: &Schema,
        cursor: Cursor<'_>,
        natural: impl FnOnce() -> Raw<'n>,
        column: &ColumnSource,
        out: &mut Vec<u8>,
        with_default_flag: bool,
    ) -> Result<(), Reject> {
        match self.write {
            Write::Natural => column.encode_value(natural(), out, with_default_flag),
            _ => column.encode_with(out, with_default_flag, |column_type, out| {
                if column_type.is_nullable() {
                    out.push(0);
                }
                self.write(schema, cursor, natural, plain(column_type), out)
            }),
        }
    }

    #[inline(always)]
    fn write<'n>(
        &self,
        schema: &Schema,
        mut cursor: Cursor<'_>,
        natural: impl FnOnce() -> Raw<'n>,
        column: &ColumnType,
        out: &mut Vec<u8>,
    ) -> Result<(), Reject> {
        let cursor = &mut cursor;
        match self.write {
            Write::Integer => integer(read(cursor.long())?, column, out),
            Write::Float => {
                out.extend_from_slice(&read(cursor.array::<4>())?);
                Ok(())
            }
            Write::Double => {
                let bytes = match schema.node(self.node) {
                    Node::Float => {
                        f64::from(f32::from_le_bytes(read(cursor.array())?)).to_le_bytes()
                    }
                    _ => read(cursor.array())?,
                };
                out.extend_from_slice(&bytes);
                Ok(())
            }
            Write::Boolean => {
                out.push(read(cursor.boolean())?.into());
                Ok(())
            }
            Write::Bytes => match schema.node(self.node) {
                Node::Fixed(size) => text(read(cursor.fixed(*size))?, column, out),
                _ if *column == ColumnType::String => read(cursor.append_bytes(out)),
                _ => text(read(cursor.bytes())?, column, out),
            },
            Write::Json => text(natural().as_received().as_bytes(), column, out),
            Write::Instant(unit) => column.encode_instant(instant(read(cursor.long())?, unit), out),
            Write::DayOf(unit) => {
                let seconds = read(cursor.long())?.div_euclid(unit.per_second());
                column.encode_epoch_days(seconds.div_euclid(SECONDS_PER_DAY), out)
            }
            Write::Day => column.encode_epoch_days(read(cursor.int())?.into(), out),
            Write::Midnight => {
                let epoch_seconds = i64::from(read(cursor.int())?) * SECONDS_PER_DAY;
                let midnight = Instant {
                    epoch_seconds,
                    nanos: 0,
                };
                column.encode_instant(midnight, out)
            }
            Write::TimeOfDay(unit) => {
                let ticks = read(time_of_day(unit, cursor))?;
                let nanos = ticks.checked_mul(NANOS_PER_SECOND / unit.per_second());
                let nanos = nanos.ok_or_else(|| Reject::out_of_range("Time"))?;
                column.encode_time_of_day(TimeOfDay { nanos }, out)
            }
            Write::Decimal => self.decimal(schema, cursor, column, out),
            Write::Natural => column.encode(natural(), out),
        }
    }

    fn decimal(
        &self,
        schema: &Schema,
        cursor: &mut Cursor<'_>,
        column: &ColumnType,
        out: &mut Vec<u8>,
    ) -> Result<(), Reject> {
        let (
            Node::Decimal { scale, size },
            ColumnType::Decimal {
                precision,
                scale: wanted,
            },
        ) = (schema.node(self.node), column)
        else {
            return Err(Reject::invalid_value("not a decimal"));
        };
        let bytes = match size {
            None => read(cursor.bytes())?,
            Some(size) => read(cursor.fixed(*size))?,
        };
        let rescaled = unscaled(bytes).and_then(|number| {
            if *wanted >= *scale {
                return number.checked_mul(power_of_ten(wanted - scale)?);
            }
            let power = power_of_ten(scale - wanted)?;
            (number % power == 0).then(|| number / power)
        });
        let bound = power_of_ten(*precision).map(|bound| -bound + 1..=bound - 1);
        match (rescaled, bound) {
            (Some(number), Some(bound)) if bound.contains(&number) => {
                append_unscaled(number, *precision, out);
                Ok(())
            }
            _ => Err(Reject::out_of_range(format!(
                "too many digits for {column}"
            ))),
        }
    }
}

const SECONDS_PER_DAY: i64 = 86_400;

impl Write {
    fn of(node: &Node, column: &ColumnType) -> Write {
        let is_time = is_time(column);
        let is_day = matches!(column, ColumnType::Date | ColumnType::Date32);
        match node {
            Node::Int | Node::Long if is_integer(column) => Write::Integer,
            Node::Date | Node::TimeOfDay(_) | Node::Timestamp { .. } if is_integer(column) => {
                Write::Integer
            }
            Node::Float if *column == ColumnType::Float32 => Write::Float,
            Node::Float | Node::Double if *column == ColumnType::Float64 => Write::Double,
            Node::Boolean if *column == ColumnType::Bool => Write::Boolean,
            Node::String if column.is_text() => Write::Bytes,
            Node::Bytes | Node::Fixed(_) if is_bytes(column) => Write::Bytes,
            Node::Array(_) | Node::Map(_) | Node::Record(_) if column.is_text() => Write::Json,
            Node::Timestamp {
                unit,
                is_local: false,
            } if is_time => Write::Instant(*unit),
            Node::Timestamp { unit, .. } if is_day => Write::DayOf(*unit),
            Node::Date if is_day => Write::Day,
            Node::Date if is_time => Write::Midnight,
            Node::TimeOfDay(unit) if is_time_of_day(column) => Write::TimeOfDay(*unit),
            Node::Decimal { .. } if matches!(column, ColumnType::Decimal { .. }) => Write::Decimal,
            _ => Write::Natural,
        }
    }
}

/// The type itself, without what stands around it.
fn plain(column_type: &ColumnType) -> &ColumnType {
    match column_type {
        ColumnType::LowCardinality(inner) | ColumnType::Nullable(inner) => plain(inner),
        plain => plain,
    }
}

fn is_integer(column: &ColumnType) -> bool {
    column.encode_integer(0, &mut vec![]).is_ok()
}

fn is_number(column: &ColumnType) -> bool {
    is_integer(column)
        || matches!(
            column,
            ColumnType::Float32 | ColumnType::Float64 | ColumnType::Decimal { .. }
        )
}

fn is_bytes(column: &ColumnType) -> bool {
    column.is_text() || matches!(column, ColumnType::FixedString(_))
}

/// Whether the type itself is one of times, and not what is in it.
fn is_time(column: &ColumnType) -> bool {
    matches!(
        column,
        ColumnType::DateTime { .. } | ColumnType::DateTime64 { .. }
    )
}

fn is_time_of_day(column: &ColumnType) -> bool {
    matches!(column, ColumnType::Time | ColumnType::Time64 { .. })
}

/// Whether the column holds one plain value, and not several or any.
fn is_scalar(column: &ColumnType) -> bool {
    is_number(column)
        || is_bytes(column)
        || is_time(column)
        || is_time_of_day(column)
        || matches!(
            column,
            ColumnType::Bool
                | ColumnType::Date
                | ColumnType::Date32
                | ColumnType::Uuid
                | ColumnType::Enum8(_)
                | ColumnType::Enum16(_)
                | ColumnType::Ipv4
                | ColumnType::Ipv6
        )
}

/// Whether some value of the type may fit the column.
fn fits(node: &Node, column: &ColumnType) -> bool {
    let takes = |json: &str| {
        let value = Raw::parse(json).unwrap_or(Raw::ABSENT);
        column.encode(value, &mut vec![]).is_ok()
    };
    if !is_scalar(column) {
        return match (node, column) {
            (Node::Array(_) | Node::Map(_) | Node::Record(_), _) => true,
            (_, ColumnType::Array(_)) => false,
            _ => true,
        };
    }
    let is_day_or_time =
        || is_time(column) || matches!(column, ColumnType::Date | ColumnType::Date32);
    match node {
        Node::Null | Node::Union(_) | Node::String => true,
        Node::Boolean => takes("true"),
        Node::Int | Node::Long => takes("0") || takes("1") || is_time(column) || column.has_enum(),
        Node::Float | Node::Double | Node::Decimal { .. } | Node::BigDecimal => {
            takes("0") || takes("1.5") || is_time(column)
        }
        Node::Bytes | Node::Fixed(_) => is_bytes(column),
        Node::Enum(symbols) => {
            let mut symbols = symbols.iter();
            symbols.any(|symbol| column.encode(Raw::string(symbol), &mut vec![]).is_ok())
        }
        Node::Array(_) | Node::Map(_) | Node::Record(_) => column.is_text(),
        Node::UuidBytes { .. } => is_bytes(column) || *column == ColumnType::Uuid,
        Node::Date | Node::Timestamp { .. } => {
            is_day_or_time() || is_integer(column) || is_bytes(column)
        }
        Node::TimeOfDay(_) => is_time_of_day(column) || is_integer(column) || is_bytes(column),
        Node::Duration => is_number(column) || is_bytes(column),
    }
}

fn misfit(schema: &Schema, node: &Node, wanted: &Wanted, column: &ColumnSource) -> SchemaError {
    let column = column.column();
    SchemaError(format!(
        "column {} {} cannot hold the field {} of schema {}, which is of Avro's type {}",
        column.name,
        column.column_type,
        wanted.names.join("."),
        schema.name(),
        node.type_name()
    ))
}

/// The record was walked before: what it says now is no surprise.
#[inline(always)]
fn read<T>(read: Read<T>) -> Result<T, Reject> {
    read.map_err(|fault| fault.reject())
}

#[inline(always)]
fn integer(value: i64, column: &ColumnType, out: &mut Vec<u8>) -> Result<(), Reject> {
    match column {
        ColumnType::Int64 => out.extend_from_slice(&value.to_le_bytes()),
        ColumnType::UInt64 if value >= 0 => out.extend_from_slice(&value.to_le_bytes()),
        ColumnType::UInt32 if (0..=i64::from(u32::MAX)).contains(&value) => {
            out.extend_from_slice(&value.to_le_bytes()[..4]);
        }
        ColumnType::Int32 if i32::try_from(value).is_ok() => {
            out.extend_from_slice(&value.to_le_bytes()[..4]);
        }
        other => return other.encode_integer(value.into(), out),
    }
    Ok(())
}

#[inline(always)]
fn text(bytes: &[u8], column: &ColumnType, out: &mut Vec<u8>) -> Result<(), Reject> {
    if let ColumnType::FixedString(len) = column {
        let len = *len as usize;
        if bytes.len() > len {
            return Err(Reject::out_of_range(format!("longer than {column}")));
        }
        out.extend_from_slice(bytes);
        out.resize(out.len() + len - bytes.len(), 0);
        return Ok(());
    }
    append_length(bytes.len(), out);
    out.extend_from_slice(bytes);
    Ok(())
}

fn instant(ticks: i64, unit: Unit) -> Instant {
    let per_second = unit.per_second();
    Instant {
        epoch_seconds: ticks.div_euclid(per_second),
        nanos: (ticks.rem_euclid(per_second) * (NANOS_PER_SECOND / per_second)) as u32,
    }
}
