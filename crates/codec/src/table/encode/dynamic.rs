//! Values of `Dynamic`: each says its type, in the server's binary encoding of types.

use super::{ColumnType, number};
use crate::decode::json::{Kind, Raw};
use crate::decode::{Reject, wide};

/// The type `Nothing`: NULL.
pub const NULL: u8 = 0;

const BOOL: u8 = 0x2d;
const FLOAT64: u8 = 0x0e;
const INT64: u8 = 0x0a;
const INT256: u8 = 0x0c;
const STRING: u8 = 0x15;
const UINT64: u8 = 0x04;

/// The types that a JSON value becomes, and their codes, by name.
pub const TYPES: [(u8, ColumnType); 6] = [
    (BOOL, ColumnType::Bool),
    (FLOAT64, ColumnType::Float64),
    (INT64, ColumnType::Int64),
    (INT256, ColumnType::Int256),
    (STRING, ColumnType::String),
    (UINT64, ColumnType::UInt64),
];

/// Appends a scalar as the type that it is: integers as the narrowest of Int64, UInt64 and Int256.
pub(super) fn encode(raw: Raw<'_>, out: &mut Vec<u8>) -> Result<(), Reject> {
    match raw.kind() {
        Kind::True | Kind::False => {
            out.extend_from_slice(&[BOOL, (raw.kind() == Kind::True).into()])
        }
        Kind::String => {
            out.push(STRING);
            return ColumnType::String.encode(raw, out);
        }
        Kind::Number => return encode_number(raw, out),
        _ => return Err(Reject::invalid_value("not a scalar, as Dynamic takes them")),
    }
    Ok(())
}

fn encode_number(raw: Raw<'_>, out: &mut Vec<u8>) -> Result<(), Reject> {
    let Some(integer) = number::integer_token(raw.as_received()) else {
        out.push(FLOAT64);
        out.extend_from_slice(&number::float64(raw)?.to_le_bytes());
        return Ok(());
    };
    if let Some(value) = integer.signed(i64::MIN, i64::MAX) {
        out.push(INT64);
        out.extend_from_slice(&value.to_le_bytes());
    } else if let Some(value) = integer.unsigned(u64::MAX) {
        out.push(UINT64);
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        out.push(INT256);
        out.extend_from_slice(&wide::signed256(raw)?.to_le_bytes());
    }
    Ok(())
}
