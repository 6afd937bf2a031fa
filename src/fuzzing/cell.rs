//! A column's value, apart from how it is stored.

use ethnum::I256;

/// What a column holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    /// The DEFAULT of the server stands in.
    ServerDefault,
    /// Integers, enums, days, ticks, IPv4 addresses, Bool as 0 and 1, and decimals without their point.
    Integer(I256),
    Float(f64),
    /// Texts, FixedString with its padding, UUID and IPv6 in the order they are written.
    Bytes(Vec<u8>),
    /// Elements of arrays, fields of tuples, and pairs of a Map.
    List(Vec<Cell>),
    /// Of a Variant or a Dynamic: the byte of its type.
    Of(u8, Box<Cell>),
}

impl Cell {
    pub(super) fn integer(value: impl Into<i128>) -> Cell {
        Cell::Integer(I256::new(value.into()))
    }
}
