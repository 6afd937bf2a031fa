//! Columns filled with what Kafka says of the record: `_timestamp`, `_key`, `_value`.

use crate::decode::Reject;
use crate::source::Record;
use crate::table::{ColumnType, append_length};

/// What of the record, besides where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KafkaField {
    /// Milliseconds since 1970-01-01 00:00:00 UTC.
    Timestamp,
    /// The bytes as received.
    Key,
    Value,
}

impl KafkaField {
    /// The field that a column of this name has where nothing else is mapped to it.
    pub(super) fn of_column(name: &str) -> Option<Self> {
        match name {
            "_timestamp" => Some(KafkaField::Timestamp),
            "_key" => Some(KafkaField::Key),
            "_value" => Some(KafkaField::Value),
            _ => None,
        }
    }

    /// Whether a column of this type can hold it.
    pub(super) fn fits(self, column_type: &ColumnType) -> bool {
        match (self, column_type) {
            (KafkaField::Timestamp, ColumnType::Array(_)) => false,
            (KafkaField::Timestamp, ColumnType::Int64 | ColumnType::UInt64) => true,
            (KafkaField::Timestamp, other) => other.has_times(),
            (KafkaField::Key | KafkaField::Value, other) => other.is_text(),
        }
    }

    /// Whether the record does not have it.
    pub(super) fn is_missing(self, record: Record<'_>) -> bool {
        match self {
            KafkaField::Timestamp => record.timestamp_ms() < 0,
            KafkaField::Key => record.key().is_none(),
            KafkaField::Value => record.value().is_none(),
        }
    }

    /// What such a column must be, for people.
    pub(super) fn expected(self) -> &'static str {
        match self {
            KafkaField::Timestamp => "DateTime64(3)",
            KafkaField::Key | KafkaField::Value => "String",
        }
    }

    /// Appends the column's value; NULL or zero for a record without it.
    ///
    /// # Errors
    /// A timestamp outside the column.
    pub(super) fn encode(
        self,
        record: Record<'_>,
        column_type: &ColumnType,
        out: &mut Vec<u8>,
    ) -> Result<(), Reject> {
        let bytes = match self {
            KafkaField::Timestamp => return encode_timestamp(record, column_type, out),
            KafkaField::Key => record.key(),
            KafkaField::Value => record.value(),
        };
        match bytes {
            None => column_type.encode_null_or_zero(out),
            Some(bytes) => {
                if column_type.is_nullable() {
                    out.push(0);
                }
                append_length(bytes.len(), out);
                out.extend_from_slice(bytes);
            }
        }
        Ok(())
    }
}

fn encode_timestamp(
    record: Record<'_>,
    column_type: &ColumnType,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    let timestamp_ms = record.timestamp_ms();
    let encoded = match column_type {
        _ if timestamp_ms < 0 => {
            column_type.encode_null_or_zero(out);
            Ok(())
        }
        ColumnType::Int64 | ColumnType::UInt64 => {
            column_type.encode_integer(timestamp_ms.into(), out)
        }
        times => times.encode_time_ms(timestamp_ms, out),
    };
    encoded.map_err(|reject| reject.about("_timestamp"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::MadeRecord;

    fn encode(name: &str, type_name: &str, timestamp_ms: i64, key: Option<&[u8]>) -> Vec<u8> {
        let field = KafkaField::of_column(name).expect("a field of Kafka");
        let column_type = ColumnType::parse(type_name).unwrap();
        assert!(field.fits(&column_type), "{name} {type_name}");
        let made = MadeRecord::new(key, Some(b"{}"), timestamp_ms, 7);
        let mut out = vec![];
        field.encode(made.record(), &column_type, &mut out).unwrap();
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
        for (name, type_name) in [
            ("_timestamp", "String"),
            ("_timestamp", "Array(DateTime)"),
            ("_timestamp", "UInt32"),
            ("_key", "UInt64"),
            ("_value", "FixedString(2)"),
        ] {
            let column_type = ColumnType::parse(type_name).unwrap();
            let field = KafkaField::of_column(name).expect("a field of Kafka");
            assert!(!field.fits(&column_type), "{name} {type_name}");
        }
    }
}
