//! What a JSON value means to a column: a plain second reading, from the documentation alone.

use std::net::{IpAddr, Ipv4Addr};

use super::cell::Cell;
use super::{json, number, time};
use crate::decode::Reason;
use crate::table::ColumnType;

/// The content of a string; `None` for every other value.
pub(super) fn string(json: &str) -> Result<Option<String>, Reason> {
    if !json.starts_with('"') {
        return Ok(None);
    }
    // What is valid and yet no text has a lone surrogate.
    serde_json::from_str(json)
        .map(Some)
        .map_err(|_| Reason::InvalidValue)
}

/// A scalar's text.
pub(super) fn text(json: &str) -> Result<String, Reason> {
    match string(json)? {
        Some(text) => Ok(text),
        None if json.starts_with(['{', '[']) => Err(Reason::InvalidValue),
        None => Ok(json.to_owned()),
    }
}

fn required_string(json: &str) -> Result<String, Reason> {
    string(json)?.ok_or(Reason::InvalidValue)
}

/// The column's value for a JSON value that is not null.
pub(super) fn cell(column_type: &ColumnType, json: &str) -> Result<Cell, Reason> {
    let integer = |min: i128, max: i128| number::integer(json, min, max).map(Cell::integer);
    match column_type {
        ColumnType::String => Ok(Cell::Bytes(text(json)?.into_bytes())),
        ColumnType::FixedString(len) => {
            let mut bytes = text(json)?.into_bytes();
            if bytes.len() > *len as usize {
                return Err(Reason::OutOfRange);
            }
            bytes.resize(*len as usize, 0);
            Ok(Cell::Bytes(bytes))
        }
        ColumnType::UInt8 => integer(0, u8::MAX.into()),
        ColumnType::UInt16 => integer(0, u16::MAX.into()),
        ColumnType::UInt32 => integer(0, u32::MAX.into()),
        ColumnType::UInt64 => integer(0, u64::MAX.into()),
        ColumnType::Int8 => integer(i8::MIN.into(), i8::MAX.into()),
        ColumnType::Int16 => integer(i16::MIN.into(), i16::MAX.into()),
        ColumnType::Int32 => integer(i32::MIN.into(), i32::MAX.into()),
        ColumnType::Int64 => integer(i64::MIN.into(), i64::MAX.into()),
        ColumnType::UInt128 => number::wide(json, 128, false).map(Cell::Integer),
        ColumnType::UInt256 => number::wide(json, 256, false).map(Cell::Integer),
        ColumnType::Int128 => number::wide(json, 128, true).map(Cell::Integer),
        ColumnType::Int256 => number::wide(json, 256, true).map(Cell::Integer),
        ColumnType::Float32 => number::float32(json).map(Cell::Float),
        ColumnType::Float64 => number::float64(json).map(Cell::Float),
        ColumnType::Bool => boolean(json),
        ColumnType::Decimal { precision, scale } => {
            number::decimal(json, *precision, *scale).map(Cell::Integer)
        }
        ColumnType::Date => time::day(json, "1970-01-01", "2149-06-06").map(Cell::integer),
        ColumnType::Date32 => time::day(json, "1900-01-01", "2299-12-31").map(Cell::integer),
        ColumnType::DateTime { .. } => {
            let moment = time::moment(json, time::Undeclared::SecondsIfLikely)?;
            Ok(Cell::integer(moment.datetime()?))
        }
        ColumnType::DateTime64 { precision, .. } => {
            let moment = time::moment(json, time::Undeclared::Milliseconds)?;
            Ok(Cell::integer(moment.ticks(*precision)?))
        }
        ColumnType::Time => time::of_day(json, 0).map(Cell::integer),
        ColumnType::Time64 { precision } => time::of_day(json, *precision).map(Cell::integer),
        ColumnType::Uuid => uuid(&required_string(json)?),
        ColumnType::Enum8(values) | ColumnType::Enum16(values) => match string(json)? {
            Some(name) => values
                .by_name(&name)
                .map(Cell::integer)
                .ok_or(Reason::OutOfRange),
            None => {
                let value = number::integer(json, i16::MIN.into(), i16::MAX.into())?;
                let is_declared = values.is_declared(value as i16);
                is_declared
                    .then(|| Cell::integer(value))
                    .ok_or(Reason::OutOfRange)
            }
        },
        ColumnType::Ipv4 => {
            let address: Result<Ipv4Addr, _> = required_string(json)?.parse();
            address
                .map(|a| Cell::integer(a.to_bits()))
                .map_err(|_| Reason::InvalidValue)
        }
        ColumnType::Ipv6 => match required_string(json)?.parse() {
            Ok(IpAddr::V6(address)) => Ok(Cell::Bytes(address.octets().to_vec())),
            Ok(IpAddr::V4(address)) => Ok(Cell::Bytes(address.to_ipv6_mapped().octets().to_vec())),
            Err(_) => Err(Reason::InvalidValue),
        },
        ColumnType::LowCardinality(inner) | ColumnType::Nullable(inner) => cell(inner, json),
        ColumnType::Array(inner) => {
            if !json.starts_with('[') {
                return Err(Reason::InvalidValue);
            }
            let elements = json::elements(json).expect("judged to be JSON");
            let element = |element: &&serde_json::value::RawValue| match element.get() {
                "null" if inner.is_nullable() => Ok(Cell::Null),
                "null" => Err(Reason::InvalidValue),
                element => cell(inner, element),
            };
            elements
                .iter()
                .map(element)
                .collect::<Result<_, _>>()
                .map(Cell::List)
        }
        ColumnType::Map(pair) => {
            let mut pairs: Vec<(String, Cell)> = vec![];
            for (name, member) in json::members(json).ok_or(Reason::InvalidValue)? {
                let value = match member.get() {
                    "null" if pair.1.is_nullable() => Cell::Null,
                    "null" => return Err(Reason::InvalidValue),
                    member => cell(&pair.1, member)?,
                };
                let key = cell(&pair.0, &serde_json::Value::from(&*name).to_string())?;
                pairs.retain(|(known, _)| *known != name);
                pairs.push((name, Cell::List(vec![key, value])));
            }
            Ok(Cell::List(
                pairs.into_iter().map(|(_, pair)| pair).collect(),
            ))
        }
        ColumnType::Tuple(fields) => {
            let names = fields.names().expect("the tables have named tuples");
            let members = json::members(json).ok_or(Reason::InvalidValue)?;
            let field = |(name, field): (&str, &ColumnType)| {
                let member = members.iter().rev().find(|(known, _)| **known == *name);
                match member.map_or("null", |(_, member)| member.get()) {
                    "null" => Ok(zero(field)),
                    member => cell(field, member),
                }
            };
            let fields = names
                .iter()
                .map(|name| &**name)
                .zip(fields.types())
                .map(field);
            fields.collect::<Result<_, _>>().map(Cell::List)
        }
        ColumnType::Json(_) => match json.starts_with('{') {
            true => Ok(Cell::Bytes(json.as_bytes().to_vec())),
            false => Err(Reason::InvalidValue),
        },
        // In no table here.
        ColumnType::Variant(_) | ColumnType::Dynamic(_) => Err(Reason::InvalidValue),
    }
}

/// What stands in where there is neither a value nor a default.
pub(super) fn zero(column_type: &ColumnType) -> Cell {
    match column_type {
        ColumnType::LowCardinality(inner) => zero(inner),
        ColumnType::Nullable(_) => Cell::Null,
        ColumnType::String => Cell::Bytes(vec![]),
        ColumnType::FixedString(len) => Cell::Bytes(vec![0; *len as usize]),
        ColumnType::Uuid | ColumnType::Ipv6 => Cell::Bytes(vec![0; 16]),
        ColumnType::Array(_) | ColumnType::Map(_) => Cell::List(vec![]),
        ColumnType::Tuple(fields) => Cell::List(fields.types().iter().map(zero).collect()),
        ColumnType::Json(_) => Cell::Bytes(b"{}".to_vec()),
        ColumnType::Variant(_) | ColumnType::Dynamic(_) => Cell::Null,
        ColumnType::Float32 | ColumnType::Float64 => Cell::Float(0.0),
        ColumnType::Enum8(values) | ColumnType::Enum16(values) => Cell::integer(values.smallest()),
        ColumnType::Date32 => cell(column_type, "\"1900-01-01\"").expect("a day of the column"),
        _ => Cell::integer(0),
    }
}

fn boolean(json: &str) -> Result<Cell, Reason> {
    let text = string(json)?;
    match text.as_deref().unwrap_or(json) {
        "true" => Ok(Cell::integer(1)),
        "false" => Ok(Cell::integer(0)),
        _ if text.is_some() => Err(Reason::InvalidValue),
        number => number::integer(number, 0, 1).map(Cell::integer),
    }
}

fn uuid(text: &str) -> Result<Cell, Reason> {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    let digits = text.replace('-', "");
    let has_form = groups == [8, 4, 4, 4, 12] && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if !has_form {
        return Err(Reason::InvalidValue);
    }
    let value = u128::from_str_radix(&digits, 16).map_err(|_| Reason::InvalidValue)?;
    Ok(Cell::Bytes(value.to_be_bytes().to_vec()))
}
