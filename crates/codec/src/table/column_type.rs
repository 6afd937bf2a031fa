//! The column types the daemon writes.

use std::fmt;

/// A type, read from its name by [`ColumnType::parse`]; `Display` gives the server's spelling back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnType {
    /// Bytes of any length.
    String,
    /// This many bytes, padded with zero bytes.
    FixedString(u32),
    /// 8 bits.
    UInt8,
    /// 16 bits.
    UInt16,
    /// 32 bits.
    UInt32,
    /// 64 bits.
    UInt64,
    /// 8 bits, signed.
    Int8,
    /// 16 bits, signed.
    Int16,
    /// 32 bits, signed.
    Int32,
    /// 64 bits, signed.
    Int64,
    /// 128 bits.
    UInt128,
    /// 256 bits.
    UInt256,
    /// 128 bits, signed.
    Int128,
    /// 256 bits, signed.
    Int256,
    /// Single precision.
    Float32,
    /// Double precision.
    Float64,
    /// True or false.
    Bool,
    /// Exact decimals, stored in 32, 64, 128 or 256 bits by precision.
    Decimal {
        /// Digits in all, 1–76.
        precision: u8,
        /// Digits behind the point, up to `precision`.
        scale: u8,
    },
    /// Days, 1970-01-01 … 2149-06-06.
    Date,
    /// Days, 1900-01-01 … 2299-12-31.
    Date32,
    /// Seconds, 1970-01-01 … 2106-02-07 06:28:15.
    DateTime {
        /// Only how the server shows them: times without zone are read as UTC whatever it says.
        time_zone: Option<Box<str>>,
    },
    /// Ticks of `10^-precision` seconds, 1900-01-01 … 2299-12-31.
    DateTime64 {
        /// Digits of the second's fraction, 0–9.
        precision: u8,
        /// Only how the server shows them: times without zone are read as UTC whatever it says.
        time_zone: Option<Box<str>>,
    },
    /// Whole seconds, −999:59:59 … 999:59:59.
    Time,
    /// Ticks of `10^-precision` seconds, −999:59:59 … 999:59:59 and their fraction.
    Time64 {
        /// Digits of the second's fraction, 0–9.
        precision: u8,
    },
    /// 128 bits.
    Uuid,
    /// Names for 8-bit integers.
    Enum8(EnumValues),
    /// Names for 16-bit integers.
    Enum16(EnumValues),
    /// A 32-bit address.
    Ipv4,
    /// A 128-bit address.
    Ipv6,
    /// The inner type, stored as a dictionary; no difference to what is sent.
    LowCardinality(Box<ColumnType>),
    /// The inner type or NULL.
    Nullable(Box<ColumnType>),
    /// Any number of the inner type.
    Array(Box<ColumnType>),
    /// Any number of pairs of a key and a value.
    Map(Box<(ColumnType, ColumnType)>),
    /// One value of each type.
    Tuple(TupleFields),
    /// An object as the server keeps it, with the arguments of its type.
    Json(Box<str>),
    /// A value of one of the types, in the server's order, or NULL.
    Variant(Box<[ColumnType]>),
    /// A value of any type or NULL, with the arguments of its type.
    Dynamic(Box<str>),
}

/// The types of a tuple; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TupleFields {
    /// Their names, where they have any.
    pub(super) names: Option<Box<[Box<str>]>>,
    /// As many types.
    pub(super) types: Box<[ColumnType]>,
}

impl TupleFields {
    /// The names of the fields, where they have any.
    #[must_use]
    pub fn names(&self) -> Option<&[Box<str>]> {
        self.names.as_deref()
    }

    /// The types of the fields.
    #[must_use]
    pub fn types(&self) -> &[ColumnType] {
        &self.types
    }
}

/// The declared values of an enum; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnumValues {
    /// In ascending order of the integer.
    values: Box<[(i16, Box<str>)]>,
}

impl EnumValues {
    /// Sorts them; None when there are none or two share a name or an integer.
    pub(super) fn new(mut values: Vec<(i16, Box<str>)>) -> Option<Self> {
        values.sort_unstable();
        let mut names: Vec<&str> = values.iter().map(|(_, name)| &**name).collect();
        names.sort_unstable();
        let doubles = values.windows(2).any(|pair| pair[0].0 == pair[1].0)
            || names.windows(2).any(|pair| pair[0] == pair[1]);
        (!doubles && !values.is_empty()).then(|| EnumValues {
            values: values.into(),
        })
    }

    /// The integer of a name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<i16> {
        self.values
            .iter()
            .find(|(_, declared)| **declared == *name)
            .map(|&(value, _)| value)
    }

    /// Whether the integer is declared.
    #[must_use]
    pub fn is_declared(&self, value: i16) -> bool {
        self.values
            .binary_search_by_key(&value, |&(declared, _)| declared)
            .is_ok()
    }

    /// The smallest declared integer: the type's default.
    #[must_use]
    pub fn smallest(&self) -> i16 {
        self.values.first().map_or(0, |&(value, _)| value)
    }
}

impl ColumnType {
    /// Whether values are texts of any length: what `raw` columns need.
    #[must_use]
    pub fn is_text(&self) -> bool {
        match self {
            ColumnType::String => true,
            ColumnType::LowCardinality(inner) | ColumnType::Nullable(inner) => inner.is_text(),
            _ => false,
        }
    }

    /// Bytes of a value, in rows and in columns, where all values have as many.
    #[must_use]
    pub fn fixed_size(&self) -> Option<usize> {
        Some(match self {
            ColumnType::FixedString(length) => usize::try_from(*length).unwrap_or(usize::MAX),
            ColumnType::UInt8 | ColumnType::Int8 | ColumnType::Bool | ColumnType::Enum8(_) => 1,
            ColumnType::UInt16 | ColumnType::Int16 | ColumnType::Date | ColumnType::Enum16(_) => 2,
            ColumnType::UInt32
            | ColumnType::Int32
            | ColumnType::Float32
            | ColumnType::Date32
            | ColumnType::DateTime { .. }
            | ColumnType::Time
            | ColumnType::Ipv4 => 4,
            ColumnType::Decimal { precision, .. } => match precision {
                0..=9 => 4,
                10..=18 => 8,
                19..=38 => 16,
                _ => 32,
            },
            ColumnType::Uuid | ColumnType::Ipv6 => 16,
            ColumnType::UInt128 | ColumnType::Int128 => 16,
            ColumnType::UInt256 | ColumnType::Int256 => 32,
            ColumnType::UInt64
            | ColumnType::Int64
            | ColumnType::Float64
            | ColumnType::DateTime64 { .. }
            | ColumnType::Time64 { .. } => 8,
            ColumnType::String
            | ColumnType::LowCardinality(_)
            | ColumnType::Nullable(_)
            | ColumnType::Array(_)
            | ColumnType::Map(_)
            | ColumnType::Tuple(_)
            | ColumnType::Json(_)
            | ColumnType::Variant(_)
            | ColumnType::Dynamic(_) => return None,
        })
    }

    /// The types that this one is made of.
    #[must_use]
    pub fn inner(&self) -> Vec<&ColumnType> {
        match self {
            ColumnType::LowCardinality(inner)
            | ColumnType::Nullable(inner)
            | ColumnType::Array(inner) => vec![inner],
            ColumnType::Map(pair) => vec![&pair.0, &pair.1],
            ColumnType::Tuple(fields) => fields.types.iter().collect(),
            ColumnType::Variant(types) => types.iter().collect(),
            _ => vec![],
        }
    }

    /// Whether this type, or one that it is made of, is what `is_it` says.
    #[must_use]
    pub fn any(&self, is_it: &dyn Fn(&ColumnType) -> bool) -> bool {
        is_it(self) || self.inner().into_iter().any(|inner| inner.any(is_it))
    }

    /// Whether values, or parts of them, are JSON objects.
    #[must_use]
    pub fn has_json(&self) -> bool {
        self.any(&|part| matches!(part, ColumnType::Json(_)))
    }

    /// Whether values, or parts of them, are integers that stand for names.
    #[must_use]
    pub fn has_enum(&self) -> bool {
        self.any(&|part| matches!(part, ColumnType::Enum8(_) | ColumnType::Enum16(_)))
    }

    /// Whether the type has NULL.
    #[must_use]
    pub fn is_nullable(&self) -> bool {
        match self {
            ColumnType::Nullable(_) | ColumnType::Variant(_) | ColumnType::Dynamic(_) => true,
            ColumnType::LowCardinality(inner) => inner.is_nullable(),
            _ => false,
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnType::FixedString(len) => write!(f, "FixedString({len})"),
            ColumnType::Decimal { precision, scale } => write!(f, "Decimal({precision}, {scale})"),
            ColumnType::DateTime { time_zone: None } => f.write_str("DateTime"),
            ColumnType::DateTime {
                time_zone: Some(zone),
            } => {
                write!(f, "DateTime({})", Quoted(zone))
            }
            ColumnType::DateTime64 {
                precision,
                time_zone: None,
            } => {
                write!(f, "DateTime64({precision})")
            }
            ColumnType::DateTime64 {
                precision,
                time_zone: Some(zone),
            } => {
                write!(f, "DateTime64({precision}, {})", Quoted(zone))
            }
            ColumnType::Time64 { precision } => write!(f, "Time64({precision})"),
            ColumnType::Enum8(values) => write!(f, "Enum8({values})"),
            ColumnType::Enum16(values) => write!(f, "Enum16({values})"),
            ColumnType::LowCardinality(inner) => write!(f, "LowCardinality({inner})"),
            ColumnType::Nullable(inner) => write!(f, "Nullable({inner})"),
            ColumnType::Array(inner) => write!(f, "Array({inner})"),
            ColumnType::Map(pair) => write!(f, "Map({}, {})", pair.0, pair.1),
            ColumnType::Tuple(fields) => write!(f, "Tuple({fields})"),
            ColumnType::Json(arguments) => write!(f, "JSON{arguments}"),
            ColumnType::Variant(types) => write!(f, "Variant({})", listed(types)),
            ColumnType::Dynamic(arguments) => write!(f, "Dynamic{arguments}"),
            plain => f.write_str(plain.plain_name().unwrap_or_default()),
        }
    }
}

impl fmt::Display for TupleFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(names) = &self.names else {
            return f.write_str(&listed(&self.types));
        };
        let named = names.iter().zip(&self.types).map(|(name, field)| {
            let is_plain = name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric())
                && !name.starts_with(|c: char| c.is_ascii_digit());
            match is_plain && !name.is_empty() {
                true => format!("{name} {field}"),
                false => {
                    let name = name.replace('\\', "\\\\").replace('`', "\\`");
                    format!("`{name}` {field}")
                }
            }
        });
        f.write_str(&named.collect::<Vec<_>>().join(", "))
    }
}

fn listed(types: &[ColumnType]) -> String {
    let types: Vec<String> = types.iter().map(ColumnType::to_string).collect();
    types.join(", ")
}

impl fmt::Display for EnumValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (value, name)) in self.values.iter().enumerate() {
            write!(
                f,
                "{}{} = {value}",
                if i == 0 { "" } else { ", " },
                Quoted(name)
            )?;
        }
        Ok(())
    }
}

/// A string literal as the server writes it.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("'")?;
        for c in self.0.chars() {
            match c {
                '\'' => f.write_str("\\'")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\t' => f.write_str("\\t")?,
                '\r' => f.write_str("\\r")?,
                '\0' => f.write_str("\\0")?,
                '\x08' => f.write_str("\\b")?,
                '\x0c' => f.write_str("\\f")?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("'")
    }
}
