//! The column that a field of the source becomes.

use crate::debezium::{FieldType, Form, Meaning, Schema, Unit};
use crate::decode::json::{Kind, Raw};
use crate::decode::number::integer_token;
use crate::table::ColumnType;

/// The most digits a Decimal has.
pub(super) const DECIMAL_DIGITS_MAX: i64 = 76;
/// Digits of a decimal whose source declares only what stands behind the point, such as money.
const DECIMAL_DIGITS_UNDECLARED: i64 = 38;
/// Bits that UInt64 holds.
const BITS_MAX: u32 = 64;

/// The column of a new table for this field: Nullable where the source has NULL, but for a key.
#[must_use]
pub fn column_type_for(field: &FieldType, is_key: bool) -> ColumnType {
    let plain = plain_type(field);
    if field.optional && !is_key {
        ColumnType::Nullable(Box::new(plain))
    } else {
        plain
    }
}

/// Columns of a new table's key that hold times with a zone: nobody can widen them when more digits come, so
/// they have all of them at once, unless the source has no more than the usual ones.
#[must_use]
pub fn zoned_key_columns(schema: &Schema, key: &[String]) -> Vec<(String, ColumnType)> {
    if matches!(schema.connector(), Some("postgresql" | "mysql" | "mariadb")) {
        return vec![];
    }
    let fields = schema.fields().iter();
    let zoned = fields.filter(|field| {
        field.field_type.meaning == Meaning::ZonedTimestamp
            && key.iter().any(|name| **name == *field.name)
    });
    zoned
        .map(|field| (field.name.to_string(), datetime64(9)))
        .collect()
}

/// The column of a field that a table with rows gets: Nullable even where the source has no NULL,
/// unless the source says what the rows of before have in it.
#[must_use]
pub fn added_column_type(field: &FieldType, has_default: bool) -> ColumnType {
    match column_type_for(field, false) {
        plain if !has_default && !plain.is_nullable() => ColumnType::Nullable(Box::new(plain)),
        other => other,
    }
}

/// The new column of a field that no schema block describes, by the first value seen in it.
#[must_use]
pub fn column_type_of_value(value: Raw<'_>) -> ColumnType {
    let is_integer = || {
        let token = integer_token(value.as_received());
        token.is_some_and(|token| token.signed(i64::MIN, i64::MAX).is_some())
    };
    let plain = match value.kind() {
        Kind::Number if is_integer() => ColumnType::Int64,
        Kind::True | Kind::False => ColumnType::Bool,
        _ => ColumnType::String,
    };
    ColumnType::Nullable(Box::new(plain))
}

fn plain_type(field: &FieldType) -> ColumnType {
    match field.meaning {
        Meaning::Plain => form_type(field),
        Meaning::Year => integer_type(field.form).unwrap_or(ColumnType::String),
        Meaning::Date | Meaning::IsoDate => ColumnType::Date32,
        Meaning::Time(unit) => time64(digits(unit)),
        Meaning::IsoTime => time64(6),
        // A time without zone is the source's wall clock, whatever zone the server is in.
        Meaning::Timestamp(unit) => datetime64(digits(unit)),
        // Its text has a zone, and says nothing of its precision: that of most databases. More digits widen
        // the column when they come.
        Meaning::ZonedTimestamp => datetime64(6),
        Meaning::Decimal if is_unsigned_64(field) => ColumnType::UInt64,
        Meaning::Decimal => decimal_type(field),
        Meaning::Bits if field.length.is_some_and(|bits| bits <= BITS_MAX) => ColumnType::UInt64,
        Meaning::Text if field.name.as_deref() == Some("io.debezium.data.Uuid") => ColumnType::Uuid,
        Meaning::Composite if field.form == Form::Array => form_type(field),
        Meaning::Bits
        | Meaning::Text
        | Meaning::ZonedTime
        | Meaning::Duration
        | Meaning::VariableScaleDecimal
        | Meaning::Point
        | Meaning::Composite => ColumnType::String,
    }
}

/// Types without a name, or with one that is not known.
fn form_type(field: &FieldType) -> ColumnType {
    match field.form {
        Form::Int64 if field.unsigned => ColumnType::UInt64,
        Form::Float => ColumnType::Float32,
        Form::Double => ColumnType::Float64,
        Form::Boolean => ColumnType::Bool,
        form => integer_type(form).unwrap_or(ColumnType::String),
    }
}

/// `BIGINT UNSIGNED`, whichever way it is written.
pub(super) fn is_unsigned_64(field: &FieldType) -> bool {
    let is_whole = field.meaning == Meaning::Decimal && field.scale == Some(0);
    let is_integer = field.meaning == Meaning::Plain && field.form == Form::Int64;
    field.unsigned && (is_integer || is_whole)
}

fn integer_type(form: Form) -> Option<ColumnType> {
    Some(match form {
        Form::Int8 => ColumnType::Int8,
        Form::Int16 => ColumnType::Int16,
        Form::Int32 => ColumnType::Int32,
        Form::Int64 => ColumnType::Int64,
        _ => return None,
    })
}

fn decimal_type(field: &FieldType) -> ColumnType {
    let Some(scale) = field.scale else {
        return ColumnType::String;
    };
    let Some((whole, fraction)) = decimal_digits(field) else {
        // More behind the point than such a number has digits.
        if i64::from(scale) > DECIMAL_DIGITS_UNDECLARED {
            return ColumnType::String;
        }
        let fraction = i64::from(scale).max(0);
        let whole = DECIMAL_DIGITS_UNDECLARED - i64::from(scale);
        return decimal(whole, fraction).unwrap_or(ColumnType::String);
    };
    decimal(whole, fraction).unwrap_or(ColumnType::String)
}

/// Digits before and behind the point of a decimal with declared precision. PostgreSQL has scales
/// below zero and above the precision.
pub(super) fn decimal_digits(field: &FieldType) -> Option<(i64, i64)> {
    let (precision, scale) = (field.precision?, i64::from(field.scale?));
    Some(((i64::from(precision) - scale).max(0), scale.max(0)))
}

/// A Decimal of so many digits before and behind the point, if there is one.
pub(super) fn decimal(whole: i64, fraction: i64) -> Option<ColumnType> {
    let precision = (whole + fraction).max(1);
    let precision = u8::try_from(precision).ok()?;
    let scale = u8::try_from(fraction).ok()?;
    (i64::from(precision) <= DECIMAL_DIGITS_MAX).then_some(ColumnType::Decimal { precision, scale })
}

/// Digits of a second's fraction.
pub(super) fn digits(unit: Unit) -> u8 {
    match unit {
        Unit::Milliseconds => 3,
        Unit::Microseconds => 6,
        Unit::Nanoseconds => 9,
    }
}

fn time64(precision: u8) -> ColumnType {
    ColumnType::Time64 { precision }
}

fn datetime64(precision: u8) -> ColumnType {
    ColumnType::DateTime64 {
        precision,
        time_zone: Some("UTC".into()),
    }
}
