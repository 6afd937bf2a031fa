//! Values that the daemon computed, as RowBinary.

use ethnum::I256;

use super::super::ColumnType;
use super::{NOT_NULL, append_unscaled};
use crate::decode::Reject;
use crate::decode::decimal::Decimal;
use crate::decode::time::{self, Instant};
use crate::decode::time_of_day::TimeOfDay;

impl ColumnType {
    /// Appends an integer that the daemon computed.
    ///
    /// # Errors
    /// `out_of_range` when the column cannot hold it; `invalid_value` when it holds no integers.
    pub fn encode_integer(&self, value: i128, out: &mut Vec<u8>) -> Result<(), Reject> {
        let range = match self {
            ColumnType::LowCardinality(inner) => return inner.encode_integer(value, out),
            ColumnType::Nullable(inner) => {
                out.push(NOT_NULL);
                return inner.encode_integer(value, out);
            }
            ColumnType::UInt8 | ColumnType::UInt16 | ColumnType::UInt32 | ColumnType::UInt64 => {
                0..=i128::from(self.unsigned_range().0)
            }
            ColumnType::Int8 | ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64 => {
                let (min, max, _) = self.signed_range();
                min.into()..=max.into()
            }
            ColumnType::Int128 | ColumnType::Int256 => i128::MIN..=i128::MAX,
            ColumnType::UInt128 | ColumnType::UInt256 => 0..=i128::MAX,
            other => return Err(Reject::invalid_value(format!("{other} holds no integers"))),
        };
        if !range.contains(&value) {
            return Err(Reject::out_of_range(format!("{value} does not fit {self}")));
        }
        match self.fixed_size() {
            Some(16 | 32) => {
                let wide = I256::new(value).to_le_bytes();
                out.extend_from_slice(&wide[..self.fixed_size().unwrap_or(0)]);
            }
            _ => self.append_integer(value as u64, out),
        }
        Ok(())
    }

    /// Appends a time in epoch milliseconds that the daemon computed.
    ///
    /// # Errors
    /// `out_of_range` when the column cannot hold it; `invalid_value` when it holds no times.
    pub fn encode_time_ms(&self, epoch_ms: i64, out: &mut Vec<u8>) -> Result<(), Reject> {
        self.encode_instant(Instant::from_epoch_ms(epoch_ms), out)
    }

    /// Appends a time of day, digits beyond the column's precision dropped.
    pub fn encode_time_of_day(&self, time: TimeOfDay, out: &mut Vec<u8>) -> Result<(), Reject> {
        match self {
            ColumnType::Time => {
                let seconds = time.ticks(0)? as i32;
                out.extend_from_slice(&seconds.to_le_bytes());
            }
            ColumnType::Time64 { precision } => {
                out.extend_from_slice(&time.ticks(*precision)?.to_le_bytes());
            }
            other => {
                let detail = format!("{other} holds no times of day");
                return Err(Reject::invalid_value(detail));
            }
        }
        Ok(())
    }

    /// Appends a day, as days since 1970-01-01.
    pub fn encode_epoch_days(&self, days: i64, out: &mut Vec<u8>) -> Result<(), Reject> {
        match self {
            ColumnType::Date => {
                let days = u16::try_from(days).map_err(|_| Reject::out_of_range("Date"))?;
                out.extend_from_slice(&days.to_le_bytes());
            }
            ColumnType::Date32 => {
                out.extend_from_slice(&time::date32_of_days(days)?.to_le_bytes());
            }
            other => return Err(Reject::invalid_value(format!("{other} holds no days"))),
        }
        Ok(())
    }

    pub fn encode_instant(&self, instant: Instant, out: &mut Vec<u8>) -> Result<(), Reject> {
        match self {
            ColumnType::DateTime64 { precision, .. } => {
                out.extend_from_slice(&instant.ticks(*precision)?.to_le_bytes());
            }
            ColumnType::DateTime { .. } => {
                out.extend_from_slice(&instant.datetime_seconds()?.to_le_bytes());
            }
            ColumnType::LowCardinality(inner) => return inner.encode_instant(instant, out),
            ColumnType::Nullable(inner) => {
                out.push(NOT_NULL);
                return inner.encode_instant(instant, out);
            }
            other => return Err(Reject::invalid_value(format!("{other} holds no times"))),
        }
        Ok(())
    }

    /// Appends an exact decimal that the daemon computed.
    ///
    /// # Errors
    /// `out_of_range` when a digit would be lost; `invalid_value` when the column holds no decimals.
    pub fn encode_decimal(&self, value: Decimal, out: &mut Vec<u8>) -> Result<(), Reject> {
        match self {
            ColumnType::Decimal { precision, scale } => {
                append_unscaled(value.unscaled(*precision, *scale)?, *precision, out);
                Ok(())
            }
            ColumnType::LowCardinality(inner) => inner.encode_decimal(value, out),
            ColumnType::Nullable(inner) => {
                out.push(NOT_NULL);
                inner.encode_decimal(value, out)
            }
            other => Err(Reject::invalid_value(format!("{other} holds no decimals"))),
        }
    }
}
