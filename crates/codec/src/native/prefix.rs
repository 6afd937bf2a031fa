//! What stands before the values of a column: the versions of how they are written.

use crate::table::{ColumnType, append_length, dynamic};

/// Dictionaries are shared or stand beside the values. The only version there is.
const DICTIONARY: u64 = 1;
/// Objects are texts.
const JSON_TEXT: u64 = 1;
/// Types are a byte for each value, as many as there are.
const VARIANT_BASIC: u64 = 0;
/// The types stand here, and one index for each value.
const DYNAMIC_FLATTENED: u64 = 3;

/// Of a type and of those that it is made of, in the order of their streams.
pub(super) fn of(column_type: &ColumnType) -> Vec<u8> {
    let mut prefix = vec![];
    append(column_type, &mut prefix);
    prefix
}

fn append(column_type: &ColumnType, prefix: &mut Vec<u8>) {
    let version = match column_type {
        ColumnType::LowCardinality(_) => return prefix.extend(DICTIONARY.to_le_bytes()),
        ColumnType::Json(_) => Some(JSON_TEXT),
        ColumnType::Variant(_) => Some(VARIANT_BASIC),
        ColumnType::Dynamic(_) => Some(DYNAMIC_FLATTENED),
        _ => None,
    };
    prefix.extend(version.into_iter().flat_map(u64::to_le_bytes));
    if let ColumnType::Dynamic(_) = column_type {
        append_length(dynamic::TYPES.len(), prefix);
        for (_, one) in dynamic::TYPES {
            let name = one.to_string();
            append_length(name.len(), prefix);
            prefix.extend_from_slice(name.as_bytes());
        }
    }
    for inner in column_type.inner() {
        append(inner, prefix);
    }
}
