//! Which columns can hold which parts of a record.

use crate::config::RecordField;
use crate::table::ColumnType;

/// Whether a column of this type can hold the field. `by_name`: where nothing is mapped to the column, so
/// that it means what the daemon takes such a name for.
pub(super) fn fits(field: &RecordField, column_type: &ColumnType, by_name: bool) -> bool {
    let is_integer = || column_type.encode_integer(0, &mut vec![]).is_ok();
    match field {
        RecordField::Topic => column_type.is_text() && !(by_name && column_type.is_nullable()),
        RecordField::Partition if by_name => matches!(
            column_type,
            ColumnType::UInt32 | ColumnType::Int32 | ColumnType::UInt64 | ColumnType::Int64
        ),
        RecordField::Offset if by_name => {
            matches!(column_type, ColumnType::UInt64 | ColumnType::Int64)
        }
        RecordField::Partition | RecordField::Offset => is_integer(),
        RecordField::SchemaId => column_type
            .encode_integer(u32::MAX.into(), &mut vec![])
            .is_ok(),
        RecordField::Timestamp => {
            is_time(column_type)
                || (is_integer() && !by_name)
                || matches!(column_type, ColumnType::Int64 | ColumnType::UInt64)
        }
        RecordField::TimestampType => ["create_time", "log_append_time"]
            .iter()
            .all(|name| column_type.encode_text(name, &mut vec![]).is_ok()),
        RecordField::Headers => holds_headers(column_type),
        RecordField::Index => matches!(column_type, ColumnType::UInt32 | ColumnType::UInt64),
        RecordField::Key | RecordField::Value | RecordField::Header(_) => {
            column_type.is_text() || !by_name
        }
    }
}

/// Whether the column holds one time, and not several or a part of something.
pub(super) fn is_time(column_type: &ColumnType) -> bool {
    match column_type {
        ColumnType::LowCardinality(inner) | ColumnType::Nullable(inner) => is_time(inner),
        plain => matches!(
            plain,
            ColumnType::DateTime { .. } | ColumnType::DateTime64 { .. }
        ),
    }
}

/// What such a column must be, for people.
pub(super) fn expected(field: &RecordField) -> &'static str {
    match field {
        RecordField::Topic => "LowCardinality(String)",
        RecordField::Partition | RecordField::Index => "UInt32",
        RecordField::Offset => "UInt64",
        RecordField::SchemaId => "Nullable(UInt32)",
        RecordField::Timestamp => "DateTime64(3)",
        RecordField::TimestampType => "String, or an Enum of 'create_time' and 'log_append_time'",
        RecordField::Headers => "Map(String, String) or Array(Tuple(String, String))",
        RecordField::Key | RecordField::Value | RecordField::Header(_) => "String",
    }
}

fn holds_headers(column_type: &ColumnType) -> bool {
    let is_name = |name: &ColumnType| name.is_text() && !name.is_nullable();
    match column_type {
        ColumnType::Map(pair) => is_name(&pair.0) && pair.1.is_text(),
        ColumnType::Array(inner) => match &**inner {
            ColumnType::Tuple(fields) => match fields.types() {
                [name, value] => is_name(name) && value.is_text(),
                _ => false,
            },
            _ => false,
        },
        _ => false,
    }
}
