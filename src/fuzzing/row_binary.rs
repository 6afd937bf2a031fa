//! A plain reader of RowBinary, to see what a row says.

use ethnum::I256;

use super::cell::Cell;
use crate::table::{ColumnType, dynamic};

/// Bytes that are still to be read. `None` anywhere: they end too early.
#[derive(Debug)]
pub(crate) struct Reader<'b>(pub(crate) &'b [u8]);

impl<'b> Reader<'b> {
    pub(super) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    /// FORMAT RowBinaryWithDefaults: a flag, and a value if it is 0.
    pub(crate) fn flagged(&mut self, column_type: &ColumnType) -> Option<Cell> {
        match self.take(1)? {
            [0] => self.cell(column_type),
            [1] => Some(Cell::ServerDefault),
            _ => None,
        }
    }

    pub(crate) fn cell(&mut self, column_type: &ColumnType) -> Option<Cell> {
        match column_type {
            ColumnType::String | ColumnType::Json(_) => {
                let len = self.length()?;
                self.bytes(len)
            }
            ColumnType::FixedString(len) => self.bytes(*len as usize),
            ColumnType::UInt8
            | ColumnType::UInt16
            | ColumnType::UInt32
            | ColumnType::UInt64
            | ColumnType::UInt128
            | ColumnType::UInt256
            | ColumnType::Date
            | ColumnType::DateTime { .. }
            | ColumnType::Ipv4 => self.unsigned(width(column_type)?),
            ColumnType::Bool => self
                .unsigned(1)
                .filter(|cell| [Cell::integer(0), Cell::integer(1)].contains(cell)),
            ColumnType::Int8
            | ColumnType::Int16
            | ColumnType::Int32
            | ColumnType::Int64
            | ColumnType::Int128
            | ColumnType::Int256
            | ColumnType::Date32
            | ColumnType::DateTime64 { .. }
            | ColumnType::Time
            | ColumnType::Time64 { .. }
            | ColumnType::Enum8(_)
            | ColumnType::Enum16(_)
            | ColumnType::Decimal { .. } => self.signed(width(column_type)?),
            ColumnType::Float32 => {
                let bytes = self.take(4)?.try_into().ok()?;
                Some(Cell::Float(f32::from_le_bytes(bytes).into()))
            }
            ColumnType::Float64 => {
                let bytes = self.take(8)?.try_into().ok()?;
                Some(Cell::Float(f64::from_le_bytes(bytes)))
            }
            ColumnType::Uuid => {
                let (high, low) = self.take(16)?.split_at(8);
                Some(Cell::Bytes(
                    high.iter().rev().chain(low.iter().rev()).copied().collect(),
                ))
            }
            ColumnType::Ipv6 => self.bytes(16),
            ColumnType::LowCardinality(inner) => self.cell(inner),
            ColumnType::Nullable(inner) => match self.take(1)? {
                [0] => self.cell(inner),
                [1] => Some(Cell::Null),
                _ => None,
            },
            ColumnType::Array(inner) => {
                let len = self.length()?;
                (0..len)
                    .map(|_| self.cell(inner))
                    .collect::<Option<_>>()
                    .map(Cell::List)
            }
            ColumnType::Map(pair) => {
                let len = self.length()?;
                (0..len)
                    .map(|_| Some(Cell::List(vec![self.cell(&pair.0)?, self.cell(&pair.1)?])))
                    .collect::<Option<_>>()
                    .map(Cell::List)
            }
            ColumnType::Tuple(fields) => {
                let fields = fields.types().iter().map(|field| self.cell(field));
                fields.collect::<Option<_>>().map(Cell::List)
            }
            ColumnType::Variant(types) => match self.take(1)? {
                [255] => Some(Cell::Null),
                [place] => {
                    let value = self.cell(types.get(usize::from(*place))?)?;
                    Some(Cell::Of(*place, Box::new(value)))
                }
                _ => None,
            },
            ColumnType::Dynamic(_) => match self.take(1)? {
                [dynamic::NULL] => Some(Cell::Null),
                [code] => {
                    let (_, one) = dynamic::TYPES
                        .into_iter()
                        .find(|(known, _)| known == code)?;
                    Some(Cell::Of(*code, Box::new(self.cell(&one)?)))
                }
                _ => None,
            },
        }
    }

    /// UInt64.
    pub(super) fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    /// A text with its length.
    pub(super) fn text(&mut self) -> Option<String> {
        let len = self.length()?;
        String::from_utf8(self.take(len)?.to_vec()).ok()
    }

    pub(super) fn take(&mut self, len: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn bytes(&mut self, len: usize) -> Option<Cell> {
        Some(Cell::Bytes(self.take(len)?.to_vec()))
    }

    /// LEB128.
    pub(super) fn length(&mut self) -> Option<usize> {
        let mut length = 0usize;
        for shift in (0..usize::BITS).step_by(7) {
            let byte = self.take(1)?[0];
            length |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(length);
            }
        }
        None
    }

    fn unsigned(&mut self, width: usize) -> Option<Cell> {
        self.little_endian(width, 0)
    }

    fn signed(&mut self, width: usize) -> Option<Cell> {
        let is_negative = self.0.get(width - 1)? & 0x80 != 0;
        self.little_endian(width, if is_negative { 0xff } else { 0 })
    }

    fn little_endian(&mut self, width: usize, fill: u8) -> Option<Cell> {
        let mut wide = [fill; 32];
        wide[..width].copy_from_slice(self.take(width)?);
        Some(Cell::Integer(I256::from_le_bytes(wide)))
    }
}

fn width(column_type: &ColumnType) -> Option<usize> {
    Some(match column_type {
        ColumnType::UInt128 | ColumnType::Int128 => 16,
        ColumnType::UInt256 | ColumnType::Int256 => 32,
        ColumnType::UInt8 | ColumnType::Int8 | ColumnType::Enum8(_) => 1,
        ColumnType::UInt16 | ColumnType::Int16 | ColumnType::Enum16(_) | ColumnType::Date => 2,
        ColumnType::UInt32 | ColumnType::Int32 | ColumnType::Ipv4 => 4,
        ColumnType::DateTime { .. } | ColumnType::Date32 | ColumnType::Time => 4,
        ColumnType::Time64 { .. } => 8,
        ColumnType::UInt64 | ColumnType::Int64 | ColumnType::DateTime64 { .. } => 8,
        ColumnType::Decimal { precision, .. } => match precision {
            ..=9 => 4,
            10..=18 => 8,
            19..=38 => 16,
            39.. => 32,
        },
        _ => return None,
    })
}
