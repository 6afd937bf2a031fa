//! What the rows of before have in a column that the source added.

use super::types::column_type_for;
use crate::debezium::{self, Field, Meaning};
use crate::decode::json::Raw;
use crate::table::ColumnType;

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
    Some(literal(&text))
}

/// What MySQL and MariaDB give the rows of before in a column that is added without default and has no NULL:
/// the type's implicit default, as an expression of the server's. None for other fields.
#[must_use]
pub fn implicit_default(field: &Field) -> Option<String> {
    if field.field_type.optional || field.default.is_some() {
        return None;
    }
    let allowed = field.field_type.allowed.as_deref().unwrap_or_default();
    let text = match field.field_type.name.as_deref() {
        Some("io.debezium.data.Enum") => allowed.split(',').next().unwrap_or_default(),
        Some("io.debezium.data.Json") => "null",
        _ => match column_type_for(&field.field_type, false) {
            ColumnType::String => "",
            ColumnType::Bool => "false",
            // The connector's own reading of the day 0000-00-00.
            ColumnType::Date32 => "1970-01-01",
            ColumnType::DateTime64 { .. } => "1970-01-01 00:00:00",
            ColumnType::Time64 { .. } => "00:00:00",
            ColumnType::Uuid => COMPUTED[1],
            _ => "0",
        },
    };
    Some(literal(text))
}

fn literal(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('\'', "\\'");
    format!("'{text}'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debezium::{FieldType, Form};

    fn default_of(form: Form, name: Option<&str>, allowed: Option<&str>) -> String {
        let field_type = FieldType {
            optional: false,
            allowed: allowed.map(Box::from),
            ..FieldType::declared(form, name)
        };
        let field = Field {
            name: "f".into(),
            field_type,
            default: None,
        };
        implicit_default(&field).expect("a default")
    }

    #[test]
    fn the_implicit_default_is_that_of_mysql() {
        let named = |form, name: &str| default_of(form, Some(name), None);
        assert_eq!(default_of(Form::Int32, None, None), "'0'");
        assert_eq!(default_of(Form::Double, None, None), "'0'");
        assert_eq!(default_of(Form::Boolean, None, None), "'false'");
        assert_eq!(default_of(Form::String, None, None), "''");
        assert_eq!(default_of(Form::Bytes, None, None), "''");
        let r#enum = default_of(Form::String, Some("io.debezium.data.Enum"), Some("new,old"));
        assert_eq!(r#enum, "'new'");
        let set = default_of(Form::String, Some("io.debezium.data.EnumSet"), Some("a,b"));
        assert_eq!(set, "''");
        assert_eq!(named(Form::String, "io.debezium.data.Json"), "'null'");
        assert_eq!(named(Form::Int32, "io.debezium.time.Date"), "'1970-01-01'");
        assert_eq!(
            named(Form::Int64, "io.debezium.time.MicroTime"),
            "'00:00:00'"
        );
        let timestamp = named(Form::Int64, "io.debezium.time.Timestamp");
        assert_eq!(timestamp, "'1970-01-01 00:00:00'");
    }

    #[test]
    fn a_field_with_null_or_a_default_of_its_own_has_no_implicit_one() {
        let field = |optional, default: Option<&str>| Field {
            name: "f".into(),
            field_type: FieldType {
                optional,
                ..FieldType::declared(Form::Int32, None)
            },
            default: default.map(Box::from),
        };
        assert_eq!(implicit_default(&field(true, None)), None);
        assert_eq!(implicit_default(&field(false, Some("7"))), None);
        assert_eq!(
            implicit_default(&field(false, None)).as_deref(),
            Some("'0'")
        );
    }
}
