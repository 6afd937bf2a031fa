//! Whether a column takes what records declare now, and what it would have to become.
//!
//! Widened is what loses nothing: integers, decimals and fractions of a second to more digits, and
//! anything to Nullable. Types that [`super::column_type_for`] never gives are somebody's choice: they
//! stay, as long as values can be read into them, and a value that does not fit is refused by itself.

use super::types::{DECIMAL_DIGITS_MAX, decimal, decimal_digits, digits, is_unsigned_64};
use crate::debezium::{self, FieldType, Form, Meaning};
use crate::table::ColumnType;

/// What becomes of a column whose field is now declared like this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// It takes the values.
    Fits,
    /// It would, with this type, and nothing of what it holds is lost.
    Widen(ColumnType),
    /// It cannot, and why.
    Never(String),
}

/// What a column's type without Nullable and LowCardinality makes of a field's values.
enum Values {
    Taken,
    Wider(ColumnType),
    Refused,
}

/// Whether `column` takes the values of `field`. A key's column cannot be altered.
#[must_use]
pub fn fit(field: &FieldType, column: &ColumnType, is_key: bool) -> Fit {
    if let Some(what) = debezium::obstacle(field, column) {
        return Fit::Never(format!("{what} cannot be read into {column}"));
    }
    let (target, is_nullable) = stripped(column);
    let wider = match values(field, target) {
        Values::Taken => None,
        Values::Wider(wider) => Some(wider),
        Values::Refused => {
            return Fit::Never(format!(
                "the source's type is {} now, which {column} does not hold",
                described(field)
            ));
        }
    };
    let has_null = !matches!(target, ColumnType::Array(_));
    let needs_null = field.optional && !is_nullable && has_null && !is_key;
    match wider {
        None if !needs_null => Fit::Fits,
        Some(wider) if is_key => Fit::Never(format!(
            "the source's type is {} now, which needs {wider} in place of {column}, and the server \
             alters no column of a key",
            described(field)
        )),
        wider => Fit::Widen(rewrapped(
            column,
            wider.unwrap_or_else(|| target.clone()),
            is_nullable || needs_null,
        )),
    }
}

fn values(field: &FieldType, target: &ColumnType) -> Values {
    let has_name = |name: &str| field.name.as_deref() == Some(name);
    match field.meaning {
        _ if is_text(target) => Values::Taken,
        // What looks negative there is a number beyond 2^63 - 1, which the server turns back into it.
        _ if is_unsigned_64(field) => match target {
            ColumnType::UInt64 => Values::Taken,
            ColumnType::Int64 => Values::Wider(ColumnType::UInt64),
            target => more_digits(20, 0, target),
        },
        Meaning::Plain => by_form(field, target),
        Meaning::Year => by_form(field, target),
        Meaning::Decimal => decimals(field, target),
        Meaning::VariableScaleDecimal => taken(matches!(target, ColumnType::Decimal { .. })),
        Meaning::Date | Meaning::IsoDate => Values::Taken,
        Meaning::Time(unit) | Meaning::Timestamp(unit) => fraction(digits(unit), target),
        Meaning::IsoTime | Meaning::ZonedTime | Meaning::ZonedTimestamp => Values::Taken,
        Meaning::Duration => {
            taken(field.form == Form::Int64 && matches!(target, ColumnType::Int64))
        }
        Meaning::Bits => bits(field, target),
        Meaning::Text => taken(match target {
            ColumnType::Uuid => has_name("io.debezium.data.Uuid"),
            ColumnType::Enum8(_) | ColumnType::Enum16(_) => has_name("io.debezium.data.Enum"),
            _ => false,
        }),
        Meaning::Composite if field.form == Form::Array => by_form(field, target),
        Meaning::Point | Meaning::Composite => Values::Refused,
    }
}

/// Types without a name.
fn by_form(field: &FieldType, target: &ColumnType) -> Values {
    match field.form {
        Form::Int8 => integers(8, 3, target),
        Form::Int16 => integers(16, 5, target),
        Form::Int32 => integers(32, 10, target),
        Form::Int64 => integers(64, 19, target),
        Form::Float | Form::Double => taken(is_float(target)),
        // Whoever made the table before there was Bool has integers there.
        Form::Boolean => taken(matches!(target, ColumnType::Bool) || integer_bits(target) > 0),
        // A connector that writes decimals as text does not say so in the block.
        Form::String => taken(matches!(
            target,
            ColumnType::Decimal { .. }
                | ColumnType::Uuid
                | ColumnType::Enum8(_)
                | ColumnType::Enum16(_)
                | ColumnType::Ipv4
                | ColumnType::Ipv6
        )),
        Form::Array => match (&field.items, target) {
            (Some(items), ColumnType::Array(inner)) => {
                taken(matches!(values(items, stripped(inner).0), Values::Taken))
            }
            _ => Values::Refused,
        },
        Form::Bytes | Form::Map | Form::Struct => Values::Refused,
    }
}

fn integers(bits: u8, digits: i64, target: &ColumnType) -> Values {
    match target {
        ColumnType::Int8 | ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64 => {
            match integer_bits(target) >= bits {
                true => Values::Taken,
                false => Values::Wider(signed(bits)),
            }
        }
        // MySQL's TINYINT(1); more bits are no truth values.
        ColumnType::Bool => taken(bits <= 16),
        ColumnType::Decimal { .. } => more_digits(digits, 0, target),
        target => taken(is_unsigned(target) || is_float(target) || is_enum(target)),
    }
}

fn decimals(field: &FieldType, target: &ColumnType) -> Values {
    let scale = i64::from(field.scale.unwrap_or_default()).max(0);
    match target {
        ColumnType::Decimal { .. } => {
            // Where the source names no precision, what its values need is not known before they come.
            let (whole, fraction) = decimal_digits(field).unwrap_or((0, scale));
            more_digits(whole, fraction, target)
        }
        target => {
            let bits = integer_bits(target);
            let digits_max: i64 = match bits {
                8 => 2,
                16 => 4,
                32 => 9,
                64 => 18,
                _ => 0,
            };
            let whole = decimal_digits(field).map(|(whole, _)| whole);
            taken(scale == 0 && whole.is_some_and(|whole| whole <= digits_max))
        }
    }
}

/// A Decimal column for values with so many digits before and behind the point.
fn more_digits(whole: i64, fraction: i64, target: &ColumnType) -> Values {
    let ColumnType::Decimal { precision, scale } = *target else {
        return Values::Refused;
    };
    let (whole_now, fraction_now) = (i64::from(precision - scale), i64::from(scale));
    if whole <= whole_now && fraction <= fraction_now {
        return Values::Taken;
    }
    let (whole, fraction) = (whole.max(whole_now), fraction.max(fraction_now));
    match decimal(whole, fraction) {
        Some(wider) if whole + fraction <= DECIMAL_DIGITS_MAX => Values::Wider(wider),
        _ => Values::Refused,
    }
}

/// Times: as many digits of a second as the field's unit has.
fn fraction(digits: u8, target: &ColumnType) -> Values {
    match target {
        ColumnType::Time64 { precision } if *precision < digits => {
            Values::Wider(ColumnType::Time64 { precision: digits })
        }
        // DateTime64(9) ends in 2262, where DateTime64(6) goes on.
        ColumnType::DateTime64 { precision, .. } if *precision < digits && digits > 6 => {
            Values::Refused
        }
        ColumnType::DateTime64 {
            precision,
            time_zone,
        } if *precision < digits => Values::Wider(ColumnType::DateTime64 {
            precision: digits,
            time_zone: time_zone.clone(),
        }),
        _ => Values::Taken,
    }
}

/// The type of times with so many digits of a second; none where it has them, or is none of times.
#[must_use]
pub fn with_digits(column: &ColumnType, digits: u8) -> Option<ColumnType> {
    let (target, is_nullable) = stripped(column);
    let wider = match target {
        ColumnType::DateTime64 {
            precision,
            time_zone,
        } if *precision < digits => ColumnType::DateTime64 {
            precision: digits,
            time_zone: time_zone.clone(),
        },
        ColumnType::Time64 { precision } if *precision < digits => {
            ColumnType::Time64 { precision: digits }
        }
        _ => return None,
    };
    (digits <= 9).then(|| rewrapped(column, wider, is_nullable))
}

fn bits(field: &FieldType, target: &ColumnType) -> Values {
    let room = match target {
        ColumnType::Int64 => 63,
        target if is_unsigned(target) => u32::from(integer_bits(target)),
        _ => 0,
    };
    taken(matches!(target, ColumnType::UInt64) || field.length.is_some_and(|bits| bits <= room))
}

fn taken(is_taken: bool) -> Values {
    if is_taken {
        Values::Taken
    } else {
        Values::Refused
    }
}

fn integer_bits(target: &ColumnType) -> u8 {
    match target {
        ColumnType::Int8 | ColumnType::UInt8 => 8,
        ColumnType::Int16 | ColumnType::UInt16 => 16,
        ColumnType::Int32 | ColumnType::UInt32 => 32,
        ColumnType::Int64 | ColumnType::UInt64 => 64,
        _ => 0,
    }
}

fn signed(bits: u8) -> ColumnType {
    match bits {
        8 => ColumnType::Int8,
        16 => ColumnType::Int16,
        32 => ColumnType::Int32,
        _ => ColumnType::Int64,
    }
}

fn is_text(target: &ColumnType) -> bool {
    matches!(target, ColumnType::String | ColumnType::FixedString(_))
}

fn is_float(target: &ColumnType) -> bool {
    matches!(target, ColumnType::Float32 | ColumnType::Float64)
}

fn is_enum(target: &ColumnType) -> bool {
    matches!(target, ColumnType::Enum8(_) | ColumnType::Enum16(_))
}

fn is_unsigned(target: &ColumnType) -> bool {
    matches!(
        target,
        ColumnType::UInt8 | ColumnType::UInt16 | ColumnType::UInt32 | ColumnType::UInt64
    )
}

fn stripped(column: &ColumnType) -> (&ColumnType, bool) {
    match column {
        ColumnType::LowCardinality(inner) => stripped(inner),
        ColumnType::Nullable(inner) => (stripped(inner).0, true),
        plain => (plain, false),
    }
}

/// The new inner type as the column had its own: in a dictionary or not.
fn rewrapped(column: &ColumnType, target: ColumnType, is_nullable: bool) -> ColumnType {
    let target = if is_nullable {
        ColumnType::Nullable(Box::new(target))
    } else {
        target
    };
    match column {
        ColumnType::LowCardinality(_) => ColumnType::LowCardinality(Box::new(target)),
        _ => target,
    }
}

/// The field's type for people.
fn described(field: &FieldType) -> String {
    let mut text = match &field.name {
        Some(name) => name.to_string(),
        None => format!("{:?}", field.form).to_lowercase(),
    };
    match (field.precision, field.scale) {
        (Some(precision), Some(scale)) => text.push_str(&format!("({precision}, {scale})")),
        (None, Some(scale)) => text.push_str(&format!(" of scale {scale}")),
        _ => {}
    }
    text
}
