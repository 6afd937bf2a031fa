//! What the rows of before have in a column that the source added.

use crate::decode::debezium::{self, Field, Meaning};
use crate::decode::json::Raw;

/// The field's default, where its schema block names one, as an expression of the server's: rows that
/// were there when the source added the column carry it at the source and in no record.
///
/// None for times: a default such as `now()` is no constant, and the block says 1970 for it.
#[must_use]
pub fn default_expression(field: &Field) -> Option<String> {
    let is_time = matches!(
        field.field_type.meaning,
        Meaning::Time(_)
            | Meaning::IsoTime
            | Meaning::ZonedTime
            | Meaning::Timestamp(_)
            | Meaning::ZonedTimestamp
    );
    let json = field.default.as_deref().filter(|_| !is_time)?;
    let text = debezium::text_of(&field.field_type, Raw::parse(json).ok()?)?;
    let text = text.replace('\\', "\\\\").replace('\'', "\\'");
    Some(format!("'{text}'"))
}
