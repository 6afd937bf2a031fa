//! What the rows of before have in a column that the source added.

use crate::decode::debezium::{self, Field, Meaning};
use crate::decode::json::Raw;

/// What the connector writes for the day and for the UUID that the source computes.
const COMPUTED: [&str; 2] = ["1970-01-01", "00000000-0000-0000-0000-000000000000"];

/// The field's default, where its schema block names one, as an expression of the server's: rows that
/// were there when the source added the column carry it at the source and in no record.
///
/// None where it may have been computed: for `now()` and the like the connector writes the type's zero,
/// which nobody means by a time, a day or a UUID.
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
    let is_plain = field.field_type.meaning == Meaning::Plain;
    if !is_plain && COMPUTED.contains(&text.as_str()) {
        return None;
    }
    let text = text.replace('\\', "\\\\").replace('\'', "\\'");
    Some(format!("'{text}'"))
}
