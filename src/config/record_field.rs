//! `{ from = … }`: what Kafka says of a record, in place of a value in it.

use std::ffi::CString;

use super::tree::Value;
use super::value::{Kind, text_of};

/// A part of a Kafka record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordField {
    /// The key's bytes.
    Key,
    /// The value's bytes.
    Value,
    /// Milliseconds since 1970-01-01 00:00:00 UTC.
    Timestamp,
    /// `create_time` or `log_append_time`.
    TimestampType,
    /// The topic's name.
    Topic,
    /// The partition's number.
    Partition,
    /// The offset in the partition.
    Offset,
    /// The value of the last header of this name.
    Header(CString),
    /// All headers, in order.
    Headers,
    /// The number of the schema in the frame before the value: behind a zero byte, in four bytes.
    SchemaId,
    /// The number of the element that the row was made of, from 0 on.
    Index,
}

impl RecordField {
    /// The field that a column of this name has where nothing else is mapped to it.
    #[must_use]
    pub fn of_column(name: &str) -> Option<Self> {
        match name {
            "_topic" => Some(RecordField::Topic),
            "_partition" => Some(RecordField::Partition),
            "_offset" => Some(RecordField::Offset),
            "_timestamp" => Some(RecordField::Timestamp),
            "_timestamp_type" => Some(RecordField::TimestampType),
            "_key" => Some(RecordField::Key),
            "_value" => Some(RecordField::Value),
            "_headers" => Some(RecordField::Headers),
            _ => None,
        }
    }

    /// The value of `from`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "key" => Some(RecordField::Key),
            "value" => Some(RecordField::Value),
            "timestamp" => Some(RecordField::Timestamp),
            "timestamp_type" => Some(RecordField::TimestampType),
            "topic" => Some(RecordField::Topic),
            "partition" => Some(RecordField::Partition),
            "offset" => Some(RecordField::Offset),
            "headers" => Some(RecordField::Headers),
            "schema_id" => Some(RecordField::SchemaId),
            other => {
                let name = other.strip_prefix("header:")?;
                let name = CString::new(name).ok().filter(|name| !name.is_empty());
                name.map(RecordField::Header)
            }
        }
    }

    /// As `from` names it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            RecordField::Key => "key".to_owned(),
            RecordField::Value => "value".to_owned(),
            RecordField::Timestamp => "timestamp".to_owned(),
            RecordField::TimestampType => "timestamp_type".to_owned(),
            RecordField::Topic => "topic".to_owned(),
            RecordField::Partition => "partition".to_owned(),
            RecordField::Offset => "offset".to_owned(),
            RecordField::Headers => "headers".to_owned(),
            RecordField::SchemaId => "schema_id".to_owned(),
            RecordField::Index => "index".to_owned(),
            RecordField::Header(name) => format!("header:{}", name.to_string_lossy()),
        }
    }

    /// Whether every record has it.
    #[must_use]
    pub fn is_always_there(&self) -> bool {
        matches!(
            self,
            RecordField::Topic
                | RecordField::Partition
                | RecordField::Offset
                | RecordField::Headers
                | RecordField::Index
        )
    }
}

/// Reads `from`.
pub(super) struct From;

impl Kind for From {
    type Out = RecordField;

    fn allowed(&self) -> String {
        "one of \"key\", \"value\", \"timestamp\", \"timestamp_type\", \"topic\", \"partition\", \
         \"offset\", \"headers\", \"schema_id\" and \"header:NAME\""
            .to_owned()
    }

    fn read(&self, value: &Value) -> Option<RecordField> {
        RecordField::parse(text_of(value)?)
    }

    fn canonical(&self, out: &RecordField) -> String {
        out.name()
    }
}
