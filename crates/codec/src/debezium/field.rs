//! The type of one field, as a Connect schema block has it.

use crate::decode::json::{Kind, Raw};
use crate::decode::{Reason, Reject, text};

/// Arrays of arrays: more than any table has, and it bounds the recursion.
const NESTING_MAX: usize = 8;

/// The parameter in which the source's own type is passed on.
const SOURCE_TYPE: &str = "__debezium.source.column.type";

/// The form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "Connect's own names")]
pub enum Form {
    Int8,
    Int16,
    Int32,
    Int64,
    Float,
    Double,
    Boolean,
    String,
    Bytes,
    Array,
    Map,
    Struct,
}

/// What an integer of time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// 10^-3 s.
    Milliseconds,
    /// 10^-6 s.
    Microseconds,
    /// 10^-9 s.
    Nanoseconds,
}

/// What a value means beyond its form: the name that Connect or Debezium gave the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The type has no name.
    Plain,
    /// Days since 1970-01-01.
    Date,
    /// A day as text.
    IsoDate,
    /// Since midnight.
    Time(Unit),
    /// A time of day in UTC as text.
    IsoTime,
    /// A time of day with a zone, as text.
    ZonedTime,
    /// Since 1970-01-01 00:00:00, without zone.
    Timestamp(Unit),
    /// A point in time as text: `ZonedTimestamp` and `IsoTimestamp`.
    ZonedTimestamp,
    /// A length of time, by number or by text.
    Duration,
    /// A year's number.
    Year,
    /// The unscaled number's bytes; the scale is a parameter.
    Decimal,
    /// An object of scale and bytes.
    VariableScaleDecimal,
    /// Bits, the lowest byte first.
    Bits,
    /// Some kind of text: JSON, XML, enum, UUID and so on.
    Text,
    /// An object of x, y and the well-known binary of a point.
    Point,
    /// Another object or array: geometry, vectors.
    Composite,
}

impl Meaning {
    /// Whether values of this form can have the meaning. A converter may give a name of Debezium's to
    /// something else.
    fn is_of(self, form: Form) -> bool {
        let is_integer = matches!(form, Form::Int8 | Form::Int16 | Form::Int32 | Form::Int64);
        match self {
            Meaning::Plain => true,
            Meaning::Date
            | Meaning::Time(_)
            | Meaning::Timestamp(_)
            | Meaning::Year
            | Meaning::Duration => is_integer || form == Form::String,
            Meaning::IsoDate
            | Meaning::IsoTime
            | Meaning::ZonedTime
            | Meaning::ZonedTimestamp
            | Meaning::Text => form == Form::String,
            Meaning::Decimal | Meaning::Bits => form == Form::Bytes,
            Meaning::VariableScaleDecimal | Meaning::Point => form == Form::Struct,
            Meaning::Composite => matches!(form, Form::Struct | Form::Map | Form::Array),
        }
    }
}

/// The type of a field or of an array's elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldType {
    /// The form.
    pub form: Form,
    /// What the type's name says.
    pub meaning: Meaning,
    /// The type's name, where it has one.
    pub name: Option<Box<str>>,
    /// Whether null is a value.
    pub optional: bool,
    /// Digits behind the point of a [`Meaning::Decimal`].
    pub scale: Option<i32>,
    /// Digits of a [`Meaning::Decimal`] in all, where the source declares them.
    pub precision: Option<u32>,
    /// Number of bits of [`Meaning::Bits`], where the source declares it.
    pub length: Option<u32>,
    /// The names of an enum or a set, joined by commas.
    pub allowed: Option<Box<str>>,
    /// The elements' type of an array.
    pub items: Option<Box<FieldType>>,
    /// Whether the source's column has integers of 64 bits without a sign, where the connector passes the
    /// type on (`column.propagate.source.type`): they may be written as if they had one.
    pub unsigned: bool,
}

/// One field of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: Box<str>,
    /// Its type.
    pub field_type: FieldType,
    /// The source's default as JSON, where the block names one.
    pub default: Option<Box<str>>,
}

impl FieldType {
    /// A type of this form and, maybe, name, as sources declare it that write no schema block.
    #[must_use]
    pub fn declared(form: Form, name: Option<&str>) -> FieldType {
        FieldType {
            form,
            meaning: meaning_in(name, form),
            name: name.map(Box::from),
            optional: true,
            scale: None,
            precision: None,
            length: None,
            allowed: None,
            items: None,
            unsigned: false,
        }
    }

    /// A type by the name that schema blocks give it, Debezium's or Connect's own, in its usual form; a
    /// decimal with its scale in parentheses. None for names that are not known, and for arrays.
    #[must_use]
    pub fn named(name: &str) -> Option<FieldType> {
        if let Ok(form) = parse_form(name) {
            return (form != Form::Array).then(|| FieldType::declared(form, None));
        }
        if let Some((name, scale)) = name.strip_suffix(')').and_then(|name| name.split_once('(')) {
            let scale = scale.parse().ok();
            let is_decimal = meaning(name) == Some(Meaning::Decimal) && scale.is_some();
            return is_decimal.then(|| FieldType {
                scale,
                ..FieldType::declared(Form::Bytes, Some(name))
            });
        }
        let (form, items) = match meaning(name)? {
            Meaning::Date | Meaning::Time(Unit::Milliseconds) | Meaning::Year => {
                (Form::Int32, None)
            }
            Meaning::Time(_) | Meaning::Timestamp(_) => (Form::Int64, None),
            Meaning::Duration if name.ends_with("Interval") => (Form::String, None),
            Meaning::Duration => (Form::Int64, None),
            Meaning::IsoDate
            | Meaning::IsoTime
            | Meaning::ZonedTime
            | Meaning::ZonedTimestamp
            | Meaning::Text => (Form::String, None),
            Meaning::Bits => (Form::Bytes, None),
            Meaning::Composite if name.ends_with(".DoubleVector") => {
                (Form::Array, Some(Form::Double))
            }
            Meaning::Composite if name.ends_with(".FloatVector") => {
                (Form::Array, Some(Form::Float))
            }
            Meaning::VariableScaleDecimal | Meaning::Point | Meaning::Composite => {
                (Form::Struct, None)
            }
            Meaning::Decimal | Meaning::Plain => return None,
        };
        let items = items.map(|form| Box::new(FieldType::declared(form, None)));
        Some(FieldType {
            items,
            ..FieldType::declared(form, Some(name))
        })
    }

    fn parse(raw: Raw<'_>, nesting: usize) -> Result<FieldType, Reject> {
        if nesting > NESTING_MAX {
            return Err(unknown("too many arrays in arrays".to_owned()));
        }
        let form = text_member(raw, "type")?.unwrap_or_default();
        let name = text_member(raw, "name")?;
        let mut field_type = FieldType::declared(parse_form(&form)?, name.as_deref());
        field_type.optional = member(raw, "optional").kind() == Kind::True;
        let parameters = member(raw, "parameters");
        field_type.scale = number_member(parameters, "scale");
        field_type.precision = number_member(parameters, "connect.decimal.precision");
        field_type.length = number_member(parameters, "length");
        let text = |name| text_member(parameters, name).ok().flatten();
        field_type.allowed = text("allowed").map(Box::from);
        let source_type = text(SOURCE_TYPE).unwrap_or_default();
        field_type.unsigned = is_unsigned_64(&source_type.to_ascii_uppercase());
        if field_type.meaning == Meaning::Decimal && field_type.scale.is_none() {
            field_type.meaning = Meaning::Plain;
        }
        if field_type.form == Form::Array {
            // Elements of which nothing is said that we know are JSON.
            let items = FieldType::parse(member(raw, "items"), nesting + 1).ok();
            field_type.items = items.map(Box::new);
        }
        Ok(field_type)
    }
}

impl Field {
    /// Reads one element of a struct's `fields`.
    pub(super) fn parse(raw: Raw<'_>) -> Result<Field, Reject> {
        let name = text_member(raw, "field")?
            .ok_or_else(|| unknown("a field without a name in the schema block".to_owned()))?;
        let field_type = FieldType::parse(raw, 0).map_err(|reject| reject.about(&name))?;
        let default = member(raw, "default");
        let mut json = Vec::new();
        text::append_json(default, &mut json);
        let default = (!default.is_missing())
            .then(|| String::from_utf8_lossy(&json).into_owned().into_boxed_str());
        Ok(Field {
            name: name.into(),
            field_type,
            default,
        })
    }
}

/// The last member of this name.
pub(super) fn member<'a>(object: Raw<'a>, name: &str) -> Raw<'a> {
    let same = object.members().filter(|(member, _)| *member == *name);
    same.last().map_or(Raw::ABSENT, |(_, value)| value)
}

fn text_member(object: Raw<'_>, name: &str) -> Result<Option<String>, Reject> {
    let value = member(object, name);
    if value.is_missing() {
        return Ok(None);
    }
    Ok(Some(text::to_text(value)?.into_owned()))
}

/// Parameters are texts, whatever they hold: of a type that we do not know they may mean anything.
fn number_member<T: std::str::FromStr>(object: Raw<'_>, name: &str) -> Option<T> {
    text_member(object, name).ok()??.parse().ok()
}

fn unknown(detail: String) -> Reject {
    Reject::new(Reason::UnknownType, detail)
}

fn parse_form(name: &str) -> Result<Form, Reject> {
    Ok(match name {
        "int8" => Form::Int8,
        "int16" => Form::Int16,
        "int32" => Form::Int32,
        "int64" => Form::Int64,
        "float" | "float32" => Form::Float,
        "double" | "float64" => Form::Double,
        "boolean" => Form::Boolean,
        "string" => Form::String,
        "bytes" => Form::Bytes,
        "array" => Form::Array,
        "map" => Form::Map,
        "struct" => Form::Struct,
        other => return Err(unknown(format!("Connect type {other:?}"))),
    })
}

/// MySQL's `BIGINT UNSIGNED`, also with `ZEROFILL`, and what Vitess calls the same.
fn is_unsigned_64(source_type: &str) -> bool {
    source_type.starts_with("BIGINT") && source_type.contains("UNSIGNED") || source_type == "UINT64"
}

/// What a type means by its name and form. A name that is not known says nothing: Debezium and converters
/// get new ones, and a value can always be read as its form alone.
fn meaning_in(name: Option<&str>, form: Form) -> Meaning {
    let known = name.and_then(meaning);
    known
        .filter(|meaning| meaning.is_of(form))
        .unwrap_or(Meaning::Plain)
}

fn meaning(name: &str) -> Option<Meaning> {
    use Unit::{Microseconds, Milliseconds, Nanoseconds};
    if let Some(name) = name.strip_prefix("org.apache.kafka.connect.data.") {
        return Some(match name {
            "Date" => Meaning::Date,
            "Time" => Meaning::Time(Milliseconds),
            "Timestamp" => Meaning::Timestamp(Milliseconds),
            "Decimal" => Meaning::Decimal,
            _ => return None,
        });
    }
    Some(match name.strip_prefix("io.debezium.")? {
        "time.Date" => Meaning::Date,
        "time.IsoDate" => Meaning::IsoDate,
        "time.Time" => Meaning::Time(Milliseconds),
        "time.MicroTime" => Meaning::Time(Microseconds),
        "time.NanoTime" => Meaning::Time(Nanoseconds),
        "time.IsoTime" => Meaning::IsoTime,
        "time.ZonedTime" => Meaning::ZonedTime,
        "time.Timestamp" => Meaning::Timestamp(Milliseconds),
        "time.MicroTimestamp" => Meaning::Timestamp(Microseconds),
        "time.NanoTimestamp" => Meaning::Timestamp(Nanoseconds),
        "time.ZonedTimestamp" | "time.IsoTimestamp" => Meaning::ZonedTimestamp,
        "time.MicroDuration" | "time.NanoDuration" | "time.Interval" => Meaning::Duration,
        "time.Year" => Meaning::Year,
        "data.VariableScaleDecimal" => Meaning::VariableScaleDecimal,
        "data.Bits" => Meaning::Bits,
        "data.Json" | "data.Xml" | "data.Uuid" | "data.Enum" | "data.EnumSet" | "data.Ltree"
        | "data.Tsvector" | "data.TsVector" => Meaning::Text,
        "data.geometry.Point" => Meaning::Point,
        "data.geometry.Geometry"
        | "data.geometry.Geography"
        | "data.geometry.Circle"
        | "data.DoubleVector"
        | "data.FloatVector"
        | "data.SparseDoubleVector" => Meaning::Composite,
        _ => return None,
    })
}
