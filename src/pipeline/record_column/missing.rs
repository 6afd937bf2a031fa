//! What a column gets of a record that lacks the part.

use super::Times;
use crate::config::{ColumnMapping, RecordField};
use crate::table::{Column, DefaultKind};

/// What stands in for what a record does not have.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The record is a dead letter.
    Refused,
    /// The column's DEFAULT.
    ServerDefault,
    /// Encoded: NULL, zero, or what is configured.
    Value(Vec<u8>),
}

impl Missing {
    pub(super) fn new(
        field: &RecordField,
        column: &Column,
        mapping: Option<&ColumnMapping>,
        times: &Times,
    ) -> Result<Self, String> {
        let Column {
            name,
            column_type,
            default_kind,
        } = column;
        if mapping.is_some_and(|mapping| mapping.required) {
            return Ok(Missing::Refused);
        }
        let mut encoded = vec![];
        if let Some(mapping) = mapping
            && let Some(default) = &mapping.default
        {
            column_type
                .encode_text_default_in(default, times.rules(), &mut encoded)
                .map_err(|reject| {
                    let why = reject.detail;
                    format!("column {name}: default {default:?} does not fit {column_type}: {why}")
                })?;
            return Ok(Missing::Value(encoded));
        }
        let has_default = matches!(default_kind, DefaultKind::Default | DefaultKind::Ephemeral);
        // A null is a value where the column holds it.
        if has_default && !field.is_always_there() && !column_type.is_nullable() {
            return Ok(Missing::ServerDefault);
        }
        column_type.encode_null_or_zero(&mut encoded);
        Ok(Missing::Value(encoded))
    }
}
