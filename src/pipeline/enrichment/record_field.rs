//! Columns that take what Kafka says of the record instead of a value in it: where it lies, its key,
//! its timestamp.

use super::PartitionState;
use crate::decode::Reject;
use crate::source::Record;
use crate::table::{Column, ColumnType, DefaultKind, append_length};

/// In formats of rows with defaults: a value follows.
const VALUE_FOLLOWS: u8 = 0;
/// In formats of rows with defaults: the column's DEFAULT takes the value's place.
const SERVER_DEFAULT: u8 = 1;

/// A part of a Kafka record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordField {
    Topic,
    Partition,
    Offset,
    /// Milliseconds since 1970-01-01 00:00:00 UTC.
    Timestamp,
    /// The bytes as received.
    Key,
    Value,
}

/// A column that takes a part of the record.
#[derive(Debug)]
pub(super) struct RecordColumn {
    name: String,
    field: RecordField,
    column_type: ColumnType,
    /// Whether a record without it takes the column's DEFAULT.
    needs_server_default: bool,
}

impl RecordField {
    /// The field that a column of this name has where nothing else is mapped to it.
    pub(super) fn of_column(name: &str) -> Option<Self> {
        match name {
            "_topic" => Some(RecordField::Topic),
            "_partition" => Some(RecordField::Partition),
            "_offset" => Some(RecordField::Offset),
            "_timestamp" => Some(RecordField::Timestamp),
            "_key" => Some(RecordField::Key),
            "_value" => Some(RecordField::Value),
            _ => None,
        }
    }

    /// Whether it says where the record lies. Every record has these.
    pub(super) fn is_provenance(self) -> bool {
        matches!(
            self,
            RecordField::Topic | RecordField::Partition | RecordField::Offset
        )
    }

    /// Whether a column of this type can hold it.
    fn fits(self, column_type: &ColumnType) -> bool {
        match (self, column_type) {
            (RecordField::Topic, other) => other.is_text() && !other.is_nullable(),
            (RecordField::Partition, other) => matches!(
                other,
                ColumnType::UInt32 | ColumnType::Int32 | ColumnType::UInt64
            ),
            (RecordField::Offset, other) => {
                matches!(other, ColumnType::UInt64 | ColumnType::Int64)
            }
            (RecordField::Timestamp, ColumnType::Array(_)) => false,
            (RecordField::Timestamp, ColumnType::Int64 | ColumnType::UInt64) => true,
            (RecordField::Timestamp, other) => other.has_times(),
            (RecordField::Key | RecordField::Value, other) => other.is_text(),
        }
    }

    /// Whether the record does not have it.
    fn is_missing(self, record: Record<'_>) -> bool {
        match self {
            RecordField::Topic | RecordField::Partition | RecordField::Offset => false,
            RecordField::Timestamp => record.timestamp_ms() < 0,
            RecordField::Key => record.key().is_none(),
            RecordField::Value => record.value().is_none(),
        }
    }

    /// What such a column must be, for people.
    fn expected(self) -> &'static str {
        match self {
            RecordField::Topic => "LowCardinality(String)",
            RecordField::Partition => "UInt32",
            RecordField::Offset => "UInt64",
            RecordField::Timestamp => "DateTime64(3)",
            RecordField::Key | RecordField::Value => "String",
        }
    }
}

impl RecordColumn {
    /// # Errors
    /// The column cannot hold the field.
    pub(super) fn new(field: RecordField, column: Column) -> Result<Self, String> {
        let Column {
            name,
            column_type,
            default_kind,
        } = column;
        if !field.fits(&column_type) {
            let expected = field.expected();
            return Err(format!(
                "column {name} must be {expected}, not {column_type}"
            ));
        }
        let has_default = matches!(default_kind, DefaultKind::Default | DefaultKind::Ephemeral);
        // A null is a value where the column holds it.
        let needs_server_default =
            has_default && !field.is_provenance() && !column_type.is_nullable();
        Ok(RecordColumn {
            name,
            field,
            column_type,
            needs_server_default,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether a missing value has to be left to the server.
    pub(super) fn needs_server_default(&self) -> bool {
        self.needs_server_default
    }

    /// Appends the column's value; for a record without it the column's DEFAULT, NULL or zero.
    /// `with_default_flag`: a byte before each value.
    ///
    /// # Errors
    /// A timestamp outside the column.
    pub(super) fn encode(
        &self,
        state: &PartitionState,
        record: Record<'_>,
        out: &mut Vec<u8>,
        with_default_flag: bool,
    ) -> Result<(), Reject> {
        if self.needs_server_default && self.field.is_missing(record) {
            out.push(SERVER_DEFAULT);
            return Ok(());
        }
        if with_default_flag {
            out.push(VALUE_FOLLOWS);
        }
        match self.field {
            RecordField::Topic => out.extend_from_slice(&state.topic),
            RecordField::Partition if self.column_type == ColumnType::UInt64 => {
                out.extend_from_slice(&i64::from(state.partition).to_le_bytes());
            }
            RecordField::Partition => out.extend_from_slice(&state.partition.to_le_bytes()),
            RecordField::Offset => out.extend_from_slice(&record.offset().to_le_bytes()),
            RecordField::Timestamp => return self.encode_timestamp(record.timestamp_ms(), out),
            RecordField::Key => self.encode_bytes(record.key(), out),
            RecordField::Value => self.encode_bytes(record.value(), out),
        }
        Ok(())
    }

    fn encode_bytes(&self, bytes: Option<&[u8]>, out: &mut Vec<u8>) {
        let Some(bytes) = bytes else {
            return self.column_type.encode_null_or_zero(out);
        };
        if self.column_type.is_nullable() {
            out.push(0);
        }
        append_length(bytes.len(), out);
        out.extend_from_slice(bytes);
    }

    fn encode_timestamp(&self, timestamp_ms: i64, out: &mut Vec<u8>) -> Result<(), Reject> {
        let encoded = match &self.column_type {
            column_type if timestamp_ms < 0 => {
                column_type.encode_null_or_zero(out);
                Ok(())
            }
            integer @ (ColumnType::Int64 | ColumnType::UInt64) => {
                integer.encode_integer(timestamp_ms.into(), out)
            }
            times => times.encode_time_ms(timestamp_ms, out),
        };
        encoded.map_err(|reject| reject.about(&self.name))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::operator::Watermark;
    use crate::source::MadeRecord;

    fn column(name: &str, type_name: &str) -> Result<RecordColumn, String> {
        let column = Column {
            name: name.to_owned(),
            column_type: ColumnType::parse(type_name).unwrap(),
            default_kind: DefaultKind::None,
        };
        RecordColumn::new(RecordField::of_column(name).expect("a field"), column)
    }

    fn encode(name: &str, type_name: &str, timestamp_ms: i64, key: Option<&[u8]>) -> Vec<u8> {
        let column = column(name, type_name).unwrap();
        let made = MadeRecord::new(key, Some(b"{}"), timestamp_ms, 7);
        let state = PartitionState {
            topic: b"\x01t".to_vec(),
            partition: 3,
            watermark: Watermark::new(Duration::ZERO),
            sessions: None,
        };
        let mut out = vec![];
        let encoded = column.encode(&state, made.record(), &mut out, false);
        encoded.unwrap();
        out
    }

    #[test]
    fn timestamps_keys_and_values_are_as_received() {
        let time = 1_763_719_200_123;
        let ticks = |ticks: i64| ticks.to_le_bytes().to_vec();
        assert_eq!(
            encode("_timestamp", "DateTime64(3, 'UTC')", time, None),
            ticks(time)
        );
        assert_eq!(
            encode("_timestamp", "DateTime64(6)", time, None),
            ticks(time * 1000)
        );
        assert_eq!(encode("_timestamp", "Int64", time, None), ticks(time));
        assert_eq!(
            encode("_timestamp", "DateTime", time, None),
            b"\x20\x38\x20\x69"
        );
        assert_eq!(
            encode("_timestamp", "Nullable(DateTime64(3))", -1, None),
            b"\x01"
        );
        assert_eq!(encode("_timestamp", "DateTime64(3)", -1, None), ticks(0));
        assert_eq!(
            encode("_key", "String", time, Some(b"\xff\0k")),
            b"\x03\xff\0k"
        );
        assert_eq!(encode("_key", "Nullable(String)", time, Some(b"")), b"\0\0");
        assert_eq!(encode("_key", "Nullable(String)", time, None), b"\x01");
        assert_eq!(encode("_key", "LowCardinality(String)", time, None), b"\0");
        assert_eq!(encode("_value", "String", time, None), b"\x02{}");
        assert_eq!(encode("_topic", "String", time, None), b"\x01t");
        assert_eq!(encode("_partition", "UInt32", time, None), b"\x03\0\0\0");
        assert_eq!(encode("_offset", "UInt64", time, None), ticks(7));
        for (name, type_name) in [
            ("_topic", "Nullable(String)"),
            ("_offset", "UInt32"),
            ("_timestamp", "String"),
            ("_timestamp", "Array(DateTime)"),
            ("_timestamp", "UInt32"),
            ("_key", "UInt64"),
            ("_value", "FixedString(2)"),
        ] {
            assert!(column(name, type_name).is_err(), "{name} {type_name}");
        }
    }
}
