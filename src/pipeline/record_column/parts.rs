//! The parts of a record, as columns take them.

use std::collections::HashMap;

use crate::config::KeyFormat;
use crate::decode::Reject;
use crate::decode::json::Raw;
use crate::source::{Record, TimestampType};
use crate::steps::{PrivateFields, REDACTED};
use crate::table::{ColumnType, append_length};

/// The key as a value: JSON, or one text.
pub(super) fn key_value(key: Option<&[u8]>, format: KeyFormat) -> Result<Raw<'_>, Reject> {
    let Some(key) = key else {
        return Ok(Raw::ABSENT);
    };
    let text = str::from_utf8(key).map_err(|_| Reject::invalid_value("the key is not UTF-8"))?;
    match format {
        KeyFormat::Text => Ok(Raw::string(text)),
        _ => Raw::parse(text).map_err(|reject| {
            let detail = format!("the key is no JSON: {}", reject.detail);
            Reject::new(reject.reason, detail)
        }),
    }
}

/// Names and values in order; in a Map of equal names the last.
pub(super) fn encode_headers(column_type: &ColumnType, record: Record<'_>, out: &mut Vec<u8>) {
    let mut headers = record.headers();
    let value_type = match column_type {
        ColumnType::Map(pair) => {
            let names = headers.iter().map(|(name, _)| name.clone());
            let last: HashMap<String, usize> = names.enumerate().map(|(at, n)| (n, at)).collect();
            let mut at = 0..headers.len();
            headers.retain(|(name, _)| last.get(name).copied() == at.next());
            &pair.1
        }
        ColumnType::Array(inner) => match &**inner {
            ColumnType::Tuple(fields) => &fields.types()[1],
            other => other,
        },
        other => other,
    };
    append_length(headers.len(), out);
    for (name, value) in headers {
        append_length(name.len(), out);
        out.extend_from_slice(name.as_bytes());
        if value_type.is_nullable() {
            out.push(0);
        }
        // A header without value is an empty one.
        let value = value.unwrap_or_default();
        append_length(value.len(), out);
        out.extend_from_slice(&value);
    }
}

/// The number of the schema that the value was written by: behind a zero byte, in four bytes.
pub(super) fn schema_id(value: Option<&[u8]>) -> Option<u32> {
    let (magic, rest) = value?.split_first()?;
    let id = rest.first_chunk()?;
    (*magic == 0).then(|| u32::from_be_bytes(*id))
}

pub(super) fn timestamp_type(record: Record<'_>) -> Option<&'static str> {
    match record.timestamp_type() {
        TimestampType::Unknown => None,
        TimestampType::CreateTime => Some("create_time"),
        TimestampType::LogAppendTime => Some("log_append_time"),
    }
}

/// What a column gets of a record's value with private fields: of what is no JSON object a word that says
/// so, since NULL is a record without value.
pub(super) fn shown(
    private: &PrivateFields,
    column_type: &ColumnType,
    value: &[u8],
) -> Option<Vec<u8>> {
    match private.hidden_record(value) {
        Some(hidden) => Some(hidden.into_bytes()),
        None => column_type.is_text().then(|| REDACTED.into()),
    }
}
