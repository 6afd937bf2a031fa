//! How the values of one field become those of one column: decided once for a schema block.

use super::field::{FieldType, Form, Meaning, Unit};
use super::modes::{DecimalMode, Modes, TimeMode, UnsignedMode};
use super::out_of_range::OutOfRange;
use super::texts::is_text;
use crate::decode::json::Raw;
use crate::table::ColumnType;

/// One field's way into one column.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    /// The column's type without LowCardinality and Nullable.
    pub(super) target: ColumnType,
    pub(super) is_nullable: bool,
    pub(super) way: Way,
    pub(super) out_of_range: OutOfRange,
}

#[derive(Debug, Clone)]
pub(super) enum Way {
    /// As any JSON value of an event.
    Plain,
    /// A text column and nothing known about the value.
    Untyped,
    /// May be NaN or infinite.
    Float,
    /// 64 bits without sign, which may be written with one: where the block or the configuration says so,
    /// else where the connector does.
    Unsigned64 {
        is_known: bool,
    },
    Day,
    TimeOfDay(Option<Unit>),
    Instant(Option<Unit>),
    /// The unscaled number in base64.
    Unscaled(i32),
    VariableScale,
    /// Digits in a string or bare.
    Digits,
    Bytes,
    Bits,
    Point,
    Composite,
    /// An array into an Array column.
    Array(Box<Reading>),
    /// An array into a text column: how its elements become texts.
    ArrayText(Box<Reading>),
    /// The schema block does not say what the field is.
    UnknownType(Box<str>),
    /// The type and the column have nothing in common.
    Mismatch(Box<str>),
}

impl Reading {
    /// By the field's type, as the schema block or a declaration has it.
    pub(super) fn typed(field: &FieldType, column: &ColumnType) -> Reading {
        let (target, is_nullable) = stripped(column);
        let way = typed_way(field, target);
        Reading {
            target: target.clone(),
            is_nullable,
            way,
            out_of_range: OutOfRange::DeadLetter,
        }
    }

    /// By the column's type and the declared modes.
    pub(super) fn untyped(column: &ColumnType, modes: Modes) -> Reading {
        let (target, is_nullable) = stripped(column);
        let way = untyped_way(target, modes);
        Reading {
            target: target.clone(),
            is_nullable,
            way,
            out_of_range: OutOfRange::DeadLetter,
        }
    }
}

/// What keeps every value of a field out of a column; none where values can be read into it.
pub fn obstacle(field: &FieldType, column: &ColumnType) -> Option<String> {
    let (target, _) = stripped(column);
    typed_way(field, target).obstacle()
}

/// The text of a value that is there, as a text column has it; none where it has no such text.
pub fn text_of(field: &FieldType, value: Raw<'_>) -> Option<String> {
    if value.is_missing() {
        return None;
    }
    let mut text = Vec::new();
    let reading = Reading::typed(field, &ColumnType::String);
    if reading.way.obstacle().is_some() {
        return None;
    }
    reading.append_text(value, &mut text).ok()?;
    String::from_utf8(text).ok()
}

/// Digits of a second's fraction that the text of a time has, zeros at its end left out.
pub fn fraction_digits(value: Raw<'_>) -> usize {
    let received = value.as_received();
    let fraction = received.split_once('.').map_or("", |(_, rest)| rest);
    let len = fraction.bytes().take_while(u8::is_ascii_digit).count();
    fraction[..len].trim_end_matches('0').len()
}

impl Way {
    fn obstacle(&self) -> Option<String> {
        match self {
            Way::UnknownType(name) => Some(format!("the unknown type {name}")),
            Way::Mismatch(name) => Some(name.to_string()),
            Way::Array(element) | Way::ArrayText(element) => element.way.obstacle(),
            _ => None,
        }
    }
}

fn stripped(column: &ColumnType) -> (&ColumnType, bool) {
    match column {
        ColumnType::LowCardinality(inner) => stripped(inner),
        ColumnType::Nullable(inner) => (stripped(inner).0, true),
        plain => (plain, false),
    }
}

fn typed_way(field: &FieldType, target: &ColumnType) -> Way {
    match field.meaning {
        Meaning::Plain => plain_way(field, target),
        Meaning::Text if matches!(target, ColumnType::Array(_)) => mismatch(field),
        // A year, or a length of time, is no point in it.
        Meaning::Text | Meaning::Year | Meaning::Duration if is_time(target) => mismatch(field),
        Meaning::Text | Meaning::Year | Meaning::Duration => Way::Plain,
        Meaning::Date | Meaning::IsoDate => match target {
            ColumnType::Date | ColumnType::Date32 => Way::Day,
            target if is_text(target) => Way::Day,
            _ => mismatch(field),
        },
        Meaning::Time(unit) => time_way(field, target, Some(unit)),
        Meaning::IsoTime => time_way(field, target, None),
        // As received: the zone is part of the value.
        Meaning::ZonedTime if is_text(target) => Way::Plain,
        Meaning::ZonedTime => time_way(field, target, None),
        Meaning::Timestamp(unit) => instant_way(field, target, Some(unit)),
        Meaning::ZonedTimestamp => instant_way(field, target, None),
        Meaning::Decimal => match (field.scale, target) {
            (None, _) => plain_way(field, target),
            (_, ColumnType::Float32 | ColumnType::Float64) => mismatch(field),
            (Some(scale), _) => Way::Unscaled(scale),
        },
        Meaning::VariableScaleDecimal => match target {
            ColumnType::Float32 | ColumnType::Float64 => mismatch(field),
            _ => Way::VariableScale,
        },
        Meaning::Bits => Way::Bits,
        Meaning::Point if is_text(target) => Way::Point,
        Meaning::Composite if field.form == Form::Array => plain_way(field, target),
        Meaning::Composite if is_text(target) => Way::Composite,
        Meaning::Point | Meaning::Composite => mismatch(field),
    }
}

/// Types without a name.
fn plain_way(field: &FieldType, target: &ColumnType) -> Way {
    match (field.form, target) {
        (Form::Array, _) => array_way(field, target),
        (Form::Map | Form::Struct, target) if is_text(target) => Way::Composite,
        (Form::Bytes, target) if is_text(target) => Way::Bytes,
        (Form::Map | Form::Struct | Form::Bytes, _) => mismatch(field),
        (Form::String, _) => untyped_way(target, TEXT_MODES),
        (Form::Int64, target) if field.unsigned && !is_float(target) && !is_time(target) => {
            Way::Unsigned64 { is_known: true }
        }
        (Form::Double | Form::Int32 | Form::Int64, ColumnType::Float32)
        | (Form::Int64, ColumnType::Float64) => mismatch(field),
        (_, ColumnType::Float32 | ColumnType::Float64) => Way::Float,
        (_, ColumnType::Decimal { .. }) => Way::Digits,
        // Numbers of fewer bits have room for their sign.
        (Form::Int64, ColumnType::UInt64) => Way::Unsigned64 { is_known: false },
        // A number alone says nothing of its unit.
        (_, target) if is_time(target) => mismatch(field),
        _ => Way::Plain,
    }
}

fn is_float(target: &ColumnType) -> bool {
    matches!(target, ColumnType::Float32 | ColumnType::Float64)
}

fn is_time(target: &ColumnType) -> bool {
    matches!(
        target,
        ColumnType::Date
            | ColumnType::Date32
            | ColumnType::DateTime { .. }
            | ColumnType::DateTime64 { .. }
            | ColumnType::Time
            | ColumnType::Time64 { .. }
    )
}

/// What a string with a schema block may hold: the connector was told to write text.
const TEXT_MODES: Modes = Modes {
    decimal: DecimalMode::String,
    time: TimeMode::IsoString,
    binary: super::modes::BinaryMode::Bytes,
    unsigned: None,
};

fn array_way(field: &FieldType, target: &ColumnType) -> Way {
    match (&field.items, target) {
        (None, target) if is_text(target) => Way::Composite,
        (None, _) => Way::UnknownType("an array without a type of its elements".into()),
        (Some(items), ColumnType::Array(inner)) => {
            Way::Array(Box::new(Reading::typed(items, inner)))
        }
        (Some(items), target) if is_text(target) => {
            Way::ArrayText(Box::new(Reading::typed(items, &ColumnType::String)))
        }
        _ => mismatch(field),
    }
}

fn time_way(field: &FieldType, target: &ColumnType, unit: Option<Unit>) -> Way {
    match target {
        ColumnType::Time | ColumnType::Time64 { .. } => Way::TimeOfDay(unit),
        target if is_text(target) => Way::TimeOfDay(unit),
        target => number_way(field, target, unit),
    }
}

fn instant_way(field: &FieldType, target: &ColumnType, unit: Option<Unit>) -> Way {
    match target {
        ColumnType::DateTime { .. } | ColumnType::DateTime64 { .. } => Way::Instant(unit),
        target if is_text(target) => Way::Instant(unit),
        target => number_way(field, target, unit),
    }
}

/// An integer column keeps a time's number as it is.
fn number_way(field: &FieldType, target: &ColumnType, unit: Option<Unit>) -> Way {
    match target {
        ColumnType::Int64 if unit.is_some() => Way::Plain,
        _ => mismatch(field),
    }
}

fn mismatch(field: &FieldType) -> Way {
    let name = field.name.clone();
    Way::Mismatch(name.unwrap_or_else(|| format!("{:?}", field.form).into()))
}

fn untyped_way(target: &ColumnType, modes: Modes) -> Way {
    match target {
        target if is_text(target) => Way::Untyped,
        ColumnType::UInt64 => match modes.unsigned {
            Some(UnsignedMode::Precise) => Way::Unscaled(0),
            mode => Way::Unsigned64 {
                is_known: mode == Some(UnsignedMode::Long),
            },
        },
        ColumnType::Float32 | ColumnType::Float64 => Way::Float,
        ColumnType::Date | ColumnType::Date32 => Way::Day,
        ColumnType::DateTime { .. } => Way::Instant(instant_unit(0, modes.time)),
        ColumnType::DateTime64 { precision, .. } => {
            Way::Instant(instant_unit(*precision, modes.time))
        }
        ColumnType::Time => Way::TimeOfDay(time_unit(0, modes.time)),
        ColumnType::Time64 { precision } => Way::TimeOfDay(time_unit(*precision, modes.time)),
        ColumnType::Decimal { scale, .. } => match modes.decimal {
            DecimalMode::Precise => Way::Unscaled((*scale).into()),
            DecimalMode::String | DecimalMode::Double => Way::Digits,
        },
        ColumnType::Array(inner) => Way::Array(Box::new(Reading::untyped(inner, modes))),
        _ => Way::Plain,
    }
}

fn instant_unit(precision: u8, mode: TimeMode) -> Option<Unit> {
    match mode {
        TimeMode::Connect => Some(Unit::Milliseconds),
        TimeMode::Microseconds => Some(Unit::Microseconds),
        TimeMode::Nanoseconds => Some(Unit::Nanoseconds),
        TimeMode::IsoString | TimeMode::Structured => None,
        TimeMode::Adaptive | TimeMode::AdaptiveTimeMicroseconds => Some(if precision <= 3 {
            Unit::Milliseconds
        } else {
            Unit::Microseconds
        }),
    }
}

fn time_unit(precision: u8, mode: TimeMode) -> Option<Unit> {
    match mode {
        TimeMode::AdaptiveTimeMicroseconds => Some(Unit::Microseconds),
        mode => instant_unit(precision, mode),
    }
}
