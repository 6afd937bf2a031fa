//! Type names as `system.columns` spells them.

use super::composite_parser;
use super::{ColumnType, EnumValues};

/// Types in types: far more than any table needs, far less than a stack holds.
pub(super) const NESTING_MAX: usize = 16;

/// A type the daemon cannot write, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "type {type_name} is not supported: {why}; supported are String, FixedString, Int8 to Int256, \
     UInt8 to UInt256, Float32, Float64, Bool, Decimal, Date, Date32, DateTime, DateTime64, Time, \
     Time64, UUID, Enum8, Enum16, IPv4, IPv6, JSON, Dynamic, Point and the other geometric types, \
     LowCardinality, Nullable, Array, Map, Tuple, Nested and Variant of these, and \
     SimpleAggregateFunction with one of these as its argument"
)]
pub struct UnsupportedType {
    type_name: String,
    why: &'static str,
}

/// The types without arguments.
const PLAIN: [(&str, ColumnType); 22] = [
    ("String", ColumnType::String),
    ("UInt8", ColumnType::UInt8),
    ("UInt16", ColumnType::UInt16),
    ("UInt32", ColumnType::UInt32),
    ("UInt64", ColumnType::UInt64),
    ("Int8", ColumnType::Int8),
    ("Int16", ColumnType::Int16),
    ("Int32", ColumnType::Int32),
    ("Int64", ColumnType::Int64),
    ("UInt128", ColumnType::UInt128),
    ("UInt256", ColumnType::UInt256),
    ("Int128", ColumnType::Int128),
    ("Int256", ColumnType::Int256),
    ("Float32", ColumnType::Float32),
    ("Float64", ColumnType::Float64),
    ("Bool", ColumnType::Bool),
    ("Date", ColumnType::Date),
    ("Date32", ColumnType::Date32),
    ("Time", ColumnType::Time),
    ("UUID", ColumnType::Uuid),
    ("IPv4", ColumnType::Ipv4),
    ("IPv6", ColumnType::Ipv6),
];

impl ColumnType {
    /// Reads a type name such as `LowCardinality(Nullable(String))`.
    ///
    /// # Errors
    /// Types the daemon does not write, and arguments that are no arguments of theirs.
    pub fn parse(type_name: &str) -> Result<ColumnType, UnsupportedType> {
        parse(type_name.trim(), 0).map_err(|why| UnsupportedType {
            type_name: type_name.to_owned(),
            why,
        })
    }

    /// The name of a type without arguments.
    pub(super) fn plain_name(&self) -> Option<&'static str> {
        PLAIN
            .iter()
            .find(|(_, plain)| plain == self)
            .map(|&(name, _)| name)
    }
}

pub(super) fn parse(text: &str, nesting: usize) -> Result<ColumnType, &'static str> {
    if nesting > NESTING_MAX {
        return Err("too many types in types");
    }
    let Some((name, rest)) = text.split_once('(') else {
        return match PLAIN.iter().find(|(name, _)| *name == text) {
            Some((_, plain)) => Ok(plain.clone()),
            None if text == "DateTime" => Ok(ColumnType::DateTime { time_zone: None }),
            None => composite_parser::without_arguments(text),
        };
    };
    let arguments = rest
        .strip_suffix(')')
        .ok_or("its parenthesis does not close")?
        .trim();
    let inner = || parse(arguments, nesting + 1);
    match name.trim_end() {
        "LowCardinality" => low_cardinality(inner()?),
        "Nullable" => nullable(inner()?),
        "Array" => Ok(ColumnType::Array(Box::new(inner()?))),
        // A row holds one value, which the server will combine with others.
        "SimpleAggregateFunction" => parse(argument_type(arguments)?, nesting + 1),
        "FixedString" => fixed_string(arguments),
        "Decimal" => {
            let (precision, scale) = arguments.split_once(',').unwrap_or((arguments, "0"));
            decimal(precision, scale)
        }
        "Decimal32" => decimal("9", arguments),
        "Decimal64" => decimal("18", arguments),
        "Decimal128" => decimal("38", arguments),
        "Decimal256" => decimal("76", arguments),
        "DateTime" => Ok(ColumnType::DateTime {
            time_zone: Some(only_string(arguments)?),
        }),
        "DateTime64" => datetime64(arguments),
        "Time64" => match arguments.parse() {
            Ok(precision @ 0..=9) => Ok(ColumnType::Time64 { precision }),
            _ => Err("its precision is not 0 to 9"),
        },
        "Enum8" => Ok(ColumnType::Enum8(enum_values(
            arguments,
            i8::MIN.into(),
            i8::MAX.into(),
        )?)),
        "Enum16" => Ok(ColumnType::Enum16(enum_values(
            arguments,
            i16::MIN,
            i16::MAX,
        )?)),
        composite => composite_parser::with_arguments(composite, arguments, nesting),
    }
}

/// What stands behind the first comma that is in no parentheses.
fn argument_type(arguments: &str) -> Result<&str, &'static str> {
    let function = composite_parser::split(arguments)?;
    let function = function.first().ok_or("it names no type")?;
    let rest = &arguments[function.len()..];
    let rest = rest.trim_start().strip_prefix(',');
    rest.map(str::trim).ok_or("it names no type")
}

fn low_cardinality(inner: ColumnType) -> Result<ColumnType, &'static str> {
    match inner {
        ColumnType::LowCardinality(_) | ColumnType::Array(_) => {
            Err("LowCardinality takes no LowCardinality and no Array")
        }
        ColumnType::Map(_)
        | ColumnType::Tuple(_)
        | ColumnType::Json(_)
        | ColumnType::Variant(_)
        | ColumnType::Dynamic(_) => Err("LowCardinality takes no composite types"),
        ColumnType::Nullable(inner)
            if matches!(*inner, ColumnType::Tuple(_) | ColumnType::Json(_)) =>
        {
            Err("LowCardinality takes no composite types")
        }
        inner => Ok(ColumnType::LowCardinality(Box::new(inner))),
    }
}

fn nullable(inner: ColumnType) -> Result<ColumnType, &'static str> {
    match inner {
        ColumnType::Nullable(_)
        | ColumnType::LowCardinality(_)
        | ColumnType::Array(_)
        | ColumnType::Map(_)
        | ColumnType::Variant(_)
        | ColumnType::Dynamic(_) => {
            Err("Nullable takes no Nullable, LowCardinality, Array, Map, Variant and Dynamic")
        }
        inner => Ok(ColumnType::Nullable(Box::new(inner))),
    }
}

fn fixed_string(arguments: &str) -> Result<ColumnType, &'static str> {
    match arguments.parse() {
        Ok(len) if (1..=0x00ff_ffff).contains(&len) => Ok(ColumnType::FixedString(len)),
        _ => Err("its length is not 1 to 16777215"),
    }
}

fn decimal(precision: &str, scale: &str) -> Result<ColumnType, &'static str> {
    match (precision.trim().parse(), scale.trim().parse()) {
        (Ok(precision @ 1..=76), Ok(scale)) if scale <= precision => {
            Ok(ColumnType::Decimal { precision, scale })
        }
        _ => Err("its precision is not 1 to 76 or its scale not 0 to the precision"),
    }
}

fn datetime64(arguments: &str) -> Result<ColumnType, &'static str> {
    let (precision, time_zone) = match arguments.split_once(',') {
        Some((precision, zone)) => (precision, Some(only_string(zone.trim())?)),
        None => (arguments, None),
    };
    match precision.trim().parse() {
        Ok(precision @ 0..=9) => Ok(ColumnType::DateTime64 {
            precision,
            time_zone,
        }),
        _ => Err("its precision is not 0 to 9"),
    }
}

fn only_string(text: &str) -> Result<Box<str>, &'static str> {
    match string_literal(text)? {
        (content, "") => Ok(content.into()),
        _ => Err("its arguments are not understood"),
    }
}

/// `'a' = 1, 'b' = 2`; a name without integer gets the one before it plus 1, the first 1.
fn enum_values(text: &str, min: i16, max: i16) -> Result<EnumValues, &'static str> {
    const FORM: &str = "its values are not 'name' = integer, each once and in range";
    let mut values: Vec<(i16, Box<str>)> = Vec::new();
    let mut rest = text;
    loop {
        let (name, after) = string_literal(rest)?;
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('=') {
            Some(after) => {
                let (value, after) = after.split_at(after.find(',').unwrap_or(after.len()));
                (value.trim().parse().map_err(|_| FORM)?, after)
            }
            None => (
                values.last().map_or(1, |&(last, _)| i32::from(last) + 1),
                after,
            ),
        };
        let value = i16::try_from(value)
            .ok()
            .filter(|value| (min..=max).contains(value));
        values.push((value.ok_or(FORM)?, name.into()));
        match after.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if after.is_empty() => return EnumValues::new(values).ok_or(FORM),
            None => return Err(FORM),
        }
    }
}

/// A quoted string at the start of the text, and what comes after it.
pub(super) fn string_literal(text: &str) -> Result<(String, &str), &'static str> {
    let mut chars = text
        .strip_prefix('\'')
        .ok_or("a quoted string is missing")?
        .chars();
    let mut content = String::new();
    while let Some(c) = chars.next() {
        match c {
            '\'' => match chars.as_str().strip_prefix('\'') {
                Some(rest) => {
                    content.push('\'');
                    chars = rest.chars();
                }
                None => return Ok((content, chars.as_str())),
            },
            '\\' => content.push(match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                Some('0') => '\0',
                Some('b') => '\x08',
                Some('f') => '\x0c',
                Some(itself) => itself,
                None => break,
            }),
            c => content.push(c),
        }
    }
    Err("a quoted string does not end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supported_types_come_back_as_the_server_spells_them() {
        let names = [
            "String",
            "FixedString(16)",
            "UInt8",
            "Int64",
            "Float32",
            "Bool",
            "Decimal(38, 9)",
            "Decimal(76, 76)",
            "Date",
            "Date32",
            "DateTime",
            "DateTime('Europe/Berlin')",
            "DateTime64(0)",
            "DateTime64(3, 'UTC')",
            "Time",
            "Nullable(Time64(6))",
            "UUID",
            "IPv4",
            "IPv6",
            "Enum8('a' = -128, 'b\\'c\\\\,)' = 127)",
            "Enum16('' = -32768, 'ü' = 32767)",
            "LowCardinality(Nullable(String))",
            "Array(Array(Nullable(DateTime64(6))))",
            "Array(LowCardinality(String))",
            "Nullable(Enum8('x' = 1))",
            "UInt256",
            "Map(LowCardinality(String), Array(Int128))",
            "Tuple(UInt8, Nullable(String))",
            "Tuple(a UInt8, `b c` Enum8('x, (' = 1), d Tuple(e JSON))",
            "JSON",
            "JSON(max_dynamic_paths=8, a.b UInt32, SKIP c)",
            "Nullable(JSON)",
            "Variant(Array(String), Bool, UInt64)",
            "Dynamic",
            "Array(Dynamic(max_types=5))",
        ];
        for name in names {
            assert_eq!(ColumnType::parse(name).unwrap().to_string(), name);
        }
    }

    #[test]
    fn other_spellings_of_a_type_are_understood() {
        let spellings = [
            ("Decimal32(2)", "Decimal(9, 2)"),
            ("Decimal256(2)", "Decimal(76, 2)"),
            ("Decimal(5)", "Decimal(5, 0)"),
            ("DateTime64( 3,'UTC' )", "DateTime64(3, 'UTC')"),
            ("Enum8('b' = 2,'a'=1)", "Enum8('a' = 1, 'b' = 2)"),
            (
                "Enum8('a', 'b', 'z' = 9, 'c')",
                "Enum8('a' = 1, 'b' = 2, 'z' = 9, 'c' = 10)",
            ),
            ("Enum8('it''s' = 1)", "Enum8('it\\'s' = 1)"),
            (" Nullable( String ) ", "Nullable(String)"),
            ("SimpleAggregateFunction(sum, UInt64)", "UInt64"),
            (
                "SimpleAggregateFunction(sumMap, Map(String, UInt64))",
                "Map(String, UInt64)",
            ),
            (
                "Nested(a UInt8, b String)",
                "Array(Tuple(a UInt8, b String))",
            ),
            ("Point", "Tuple(Float64, Float64)"),
            ("Ring", "Array(Tuple(Float64, Float64))"),
            (
                "MultiPolygon",
                "Array(Array(Array(Tuple(Float64, Float64))))",
            ),
            (
                "SimpleAggregateFunction(groupArrayArray(5, 2), Array(Decimal(18, 2)))",
                "Array(Decimal(18, 2))",
            ),
        ];
        for (spelling, name) in spellings {
            assert_eq!(ColumnType::parse(spelling).unwrap().to_string(), name);
        }
    }

    #[test]
    fn other_types_are_refused_by_name() {
        let names = [
            "",
            "string",
            "Map(String)",
            "Map(String, String, String)",
            "Tuple()",
            "Tuple",
            "Tuple(a String, UInt8)",
            "Tuple(`a String)",
            "Tuple(a String, a UInt8)",
            "Nested(UInt8)",
            "Variant()",
            "Variant(Nullable(String))",
            "Variant(String, Variant(String))",
            "Nullable(Map(String, String))",
            "Nullable(Dynamic)",
            "LowCardinality(Tuple(String))",
            "Geometry",
            "Object('json')",
            "AggregateFunction(sum, UInt64)",
            "SimpleAggregateFunction(sum)",
            "Nullable(Array(String))",
            "Nullable(LowCardinality(String))",
            "LowCardinality(LowCardinality(String))",
            "FixedString(0)",
            "FixedString(-1)",
            "Decimal(77, 0)",
            "Decimal(5, 6)",
            "Decimal()",
            "DateTime64(10)",
            "Time64(10)",
            "Time64",
            "DateTime64",
            "DateTime64(3, UTC)",
            "DateTime('UTC', 3)",
            "Enum8()",
            "Enum8('a' = 128)",
            "Enum8('a' = 1, 'b' = 1)",
            "Enum8('a' = 1, 'a' = 2)",
            "Enum8('a' = 1,)",
            "Enum8('a' = 1 'b' = 2)",
            "Enum8('a = 1)",
            "Array(String",
        ];
        for name in names {
            let error = ColumnType::parse(name).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        let deep = format!("{}String{}", "Array(".repeat(100_000), ")".repeat(100_000));
        assert!(ColumnType::parse(&deep).is_err());
    }
}
