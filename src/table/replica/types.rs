//! The column that a field of the source becomes.

use crate::decode::debezium::{FieldType, Form, Meaning, Unit};
use crate::decode::json::{Kind, Raw};
use crate::decode::number::integer_token;
use crate::decode::{Reason, Reject};
use crate::table::ColumnType;

/// The most digits a Decimal has.
pub(super) const DECIMAL_DIGITS_MAX: i64 = 76;
/// Digits of a decimal whose source declares only what stands behind the point, such as money.
const DECIMAL_DIGITS_UNDECLARED: i64 = 38;
/// Bits that UInt64 holds.
const BITS_MAX: u32 = 64;

/// The column of a new table for this field: Nullable where the source has NULL, but for a key.
///
/// # Errors
/// `unknown_type`, without the column's name: no table can be made before the connector is told to
/// leave the column out or to convert it.
pub fn column_type_for(field: &FieldType, is_key: bool) -> Result<ColumnType, Reject> {
    let plain = plain_type(field)?;
    Ok(if field.optional && !is_key {
        ColumnType::Nullable(Box::new(plain))
    } else {
        plain
    })
}

/// The column of a field that a table with rows gets: Nullable even where the source has no NULL,
/// unless the source says what the rows of before have in it.
///
/// # Errors
/// As [`column_type_for`].
pub fn added_column_type(field: &FieldType, has_default: bool) -> Result<ColumnType, Reject> {
    let column_type = column_type_for(field, false)?;
    Ok(match column_type {
        plain if !has_default && !plain.is_nullable() => ColumnType::Nullable(Box::new(plain)),
        other => other,
    })
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

fn plain_type(field: &FieldType) -> Result<ColumnType, Reject> {
    Ok(match field.meaning {
        Meaning::Plain => return form_type(field),
        Meaning::Year => integer_type(field.form).unwrap_or(ColumnType::String),
        Meaning::Date | Meaning::IsoDate => ColumnType::Date32,
        Meaning::Time(unit) => time64(digits(unit)),
        Meaning::IsoTime => time64(6),
        Meaning::Timestamp(unit) => datetime64(digits(unit), None),
        // Its text has a zone, and says nothing of its precision: that of the databases.
        Meaning::ZonedTimestamp => datetime64(6, Some("UTC".into())),
        Meaning::Decimal => decimal_type(field)?,
        Meaning::Bits if field.length.is_some_and(|bits| bits <= BITS_MAX) => ColumnType::UInt64,
        Meaning::Text if field.name.as_deref() == Some("io.debezium.data.Uuid") => ColumnType::Uuid,
        Meaning::Composite if field.form == Form::Array => return form_type(field),
        Meaning::Bits
        | Meaning::Text
        | Meaning::ZonedTime
        | Meaning::Duration
        | Meaning::VariableScaleDecimal
        | Meaning::Point
        | Meaning::Composite => ColumnType::String,
        Meaning::Unknown => return Err(unknown(field.name.as_deref().unwrap_or("without a name"))),
    })
}

/// Types without a name.
fn form_type(field: &FieldType) -> Result<ColumnType, Reject> {
    Ok(match field.form {
        Form::Float => ColumnType::Float32,
        Form::Double => ColumnType::Float64,
        Form::Boolean => ColumnType::Bool,
        Form::Array => {
            let Some(items) = &field.items else {
                return Err(unknown("array without a type of its elements"));
            };
            plain_type(items)?;
            ColumnType::String
        }
        Form::String | Form::Bytes | Form::Map | Form::Struct => ColumnType::String,
        form => integer_type(form).unwrap_or(ColumnType::String),
    })
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

fn decimal_type(field: &FieldType) -> Result<ColumnType, Reject> {
    let scale = field
        .scale
        .ok_or_else(|| unknown("decimal without scale"))?;
    let Some((whole, fraction)) = decimal_digits(field) else {
        // More behind the point than such a number has digits.
        if i64::from(scale) > DECIMAL_DIGITS_UNDECLARED {
            return Ok(ColumnType::String);
        }
        let fraction = i64::from(scale).max(0);
        let whole = DECIMAL_DIGITS_UNDECLARED - i64::from(scale);
        return Ok(decimal(whole, fraction).unwrap_or(ColumnType::String));
    };
    Ok(decimal(whole, fraction).unwrap_or(ColumnType::String))
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

fn datetime64(precision: u8, time_zone: Option<Box<str>>) -> ColumnType {
    ColumnType::DateTime64 {
        precision,
        time_zone,
    }
}

fn unknown(what: &str) -> Reject {
    let detail = format!(
        "unknown type {what}: have the connector leave the column out (column.exclude.list) or convert it"
    );
    Reject::new(Reason::UnknownType, detail)
}
