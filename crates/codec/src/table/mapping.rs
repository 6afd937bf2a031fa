//! Where a column's value comes from, and what stands in for a missing one.

use super::encode::{append_length, insert_length};
use super::{Column, DefaultKind};
use crate::decode::json::{Fields, Kind, Raw};
use crate::decode::time::TimeUnit;
use crate::decode::{Reason, Reject, text};

/// What stands before a value in formats of rows with defaults.
const VALUE_FOLLOWS: u8 = 0;
const SERVER_DEFAULT: u8 = 1;

/// Whether a text column takes the JSON text as received in place of a scalar's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RawMode {
    /// A scalar's text.
    #[default]
    Off,
    /// The JSON text of an object; nothing else.
    Object,
    /// The JSON text of any value.
    Any,
}

/// One column and the record's value it takes.
#[derive(Debug, Clone)]
pub struct ColumnSource {
    slot: usize,
    required: bool,
    /// Pre-encoded.
    default: Option<Vec<u8>>,
    raw: RawMode,
    /// Declared, of a column of times.
    unit: Option<TimeUnit>,
    column: Column,
}

/// A column that cannot be filled as configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// `raw` on a column that is no text.
    #[error("column {column}: raw needs a String column, not {column_type}")]
    RawNeedsText {
        /// The column.
        column: String,
        /// Its type.
        column_type: String,
    },
    /// A default that does not convert.
    #[error("column {column}: default {default:?} does not fit {column_type}: {why}")]
    DefaultDoesNotFit {
        /// The column.
        column: String,
        /// Its type.
        column_type: String,
        /// The configured text.
        default: String,
        /// What the conversion said.
        why: String,
    },
    /// A unit of times on a column that has none.
    #[error(
        "column {column}: unit needs a DateTime, DateTime64, Time or Time64 column, not {column_type}"
    )]
    UnitNeedsTime {
        /// The column.
        column: String,
        /// Its type.
        column_type: String,
    },
    /// A column the server does not let us insert.
    #[error("column {column} is computed by the server and cannot be filled")]
    NotInsertable {
        /// The column.
        column: String,
    },
}

impl ColumnSource {
    /// `column` takes the value in `slot` of the scanner's plan; `default` stands in when it is absent
    /// or null.
    ///
    /// # Errors
    /// When the combination cannot work; the message names the column.
    pub fn new(
        column: Column,
        slot: usize,
        required: bool,
        default: Option<&str>,
        raw: RawMode,
    ) -> Result<Self, MappingError> {
        if !column.default_kind.is_insertable() {
            return Err(MappingError::NotInsertable {
                column: column.name,
            });
        }
        let column_type = column.column_type.to_string();
        if raw != RawMode::Off && !column.column_type.is_text() {
            return Err(MappingError::RawNeedsText {
                column: column.name,
                column_type,
            });
        }
        let source = ColumnSource {
            slot,
            required,
            default: None,
            raw,
            unit: None,
            column,
        };
        source.with_default(default)
    }

    /// The same, with another default. A number that stands for a time is in the unit that has been given.
    ///
    /// # Errors
    /// The column cannot hold it.
    pub fn with_default(mut self, default: Option<&str>) -> Result<Self, MappingError> {
        let encoded = default.map(|text| (text, encoded_default(&self.column, self.unit, text)));
        self.default = match encoded {
            None => None,
            Some((_, Ok(encoded))) => Some(encoded),
            Some((text, Err(why))) => {
                return Err(MappingError::DefaultDoesNotFit {
                    column_type: self.column.column_type.to_string(),
                    column: self.column.name,
                    default: text.to_owned(),
                    why: why.detail.into_owned(),
                });
            }
        };
        Ok(self)
    }

    /// The same, with the unit of numbers that stand for times: that of the column, or else that of the
    /// pipeline, which says nothing of columns without times.
    ///
    /// # Errors
    /// The column has no times and a unit of its own.
    pub fn with_unit(
        mut self,
        own: Option<TimeUnit>,
        of_pipeline: Option<TimeUnit>,
    ) -> Result<Self, MappingError> {
        let column_type = &self.column.column_type;
        let is_read = self.raw == RawMode::Off;
        let has_times = is_read && column_type.has_times();
        let has_times_of_day = is_read && column_type.has_times_of_day();
        if own.is_some() && !has_times && !has_times_of_day {
            return Err(MappingError::UnitNeedsTime {
                column_type: self.column.column_type.to_string(),
                column: self.column.name,
            });
        }
        // Integers of a time of day have a unit of their own: the seconds, or what the column counts.
        self.unit = own.or(of_pipeline.filter(|_| has_times));
        Ok(self)
    }

    /// The column.
    #[must_use]
    pub fn column(&self) -> &Column {
        &self.column
    }

    /// The declared unit of numbers in a column of times.
    #[must_use]
    pub fn unit(&self) -> Option<TimeUnit> {
        self.unit
    }

    /// The slot of the scanner's plan that holds its value.
    #[must_use]
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// Whether a missing value has to be left to the server: a byte before each value says so.
    #[must_use]
    pub fn needs_server_default(&self) -> bool {
        let has_default = matches!(
            self.column.default_kind,
            DefaultKind::Default | DefaultKind::Ephemeral
        );
        has_default && self.default.is_none() && !self.required
    }

    /// Appends the column's value for a record. `with_default_flag`: a byte before each value, and the
    /// server's DEFAULT in place of a missing one.
    ///
    /// # Errors
    /// `missing_field` when required and absent or null; whatever the conversion says, led by the
    /// column's name. `out` may then end in part of the value: cut it back to the row's start.
    #[inline]
    pub fn encode(
        &self,
        fields: &Fields<'_, '_>,
        out: &mut Vec<u8>,
        with_default_flag: bool,
    ) -> Result<(), Reject> {
        self.encode_value(fields.get(self.slot), out, with_default_flag)
    }

    /// The same for a value that was found elsewhere, as in a profile.
    ///
    /// # Errors
    /// As [`ColumnSource::encode`].
    #[inline]
    pub fn encode_value(
        &self,
        value: Raw<'_>,
        out: &mut Vec<u8>,
        with_default_flag: bool,
    ) -> Result<(), Reject> {
        if value.is_missing() {
            // Where the column can hold NULL, null is a value, and the server's DEFAULT is for absent ones.
            if value.kind() == Kind::Null
                && with_default_flag
                && self.needs_server_default()
                && self.column.column_type.is_nullable()
            {
                out.push(VALUE_FOLLOWS);
                self.column.column_type.encode_null_or_zero(out);
                return Ok(());
            }
            return self.encode_missing(out, with_default_flag);
        }
        if with_default_flag {
            out.push(VALUE_FOLLOWS);
        }
        let encoded = match self.raw {
            RawMode::Off => match self.unit {
                None => self.column.column_type.encode(value, out),
                Some(unit) => self.column.column_type.encode_times(value, unit, out),
            },
            RawMode::Object if value.kind() != Kind::Object => {
                Err(Reject::invalid_value("not an object"))
            }
            RawMode::Object | RawMode::Any => {
                self.encode_json(value, out);
                Ok(())
            }
        };
        encoded.map_err(|reject| reject.about(&self.column.name))
    }

    /// Appends what stands in for an absent or null value.
    ///
    /// # Errors
    /// `missing_field` when required.
    pub fn encode_missing(&self, out: &mut Vec<u8>, with_default_flag: bool) -> Result<(), Reject> {
        if self.required {
            return Err(Reject::new(Reason::MissingField, self.column.name.clone()));
        }
        if with_default_flag {
            if self.needs_server_default() {
                out.push(SERVER_DEFAULT);
                return Ok(());
            }
            out.push(VALUE_FOLLOWS);
        }
        match &self.default {
            Some(encoded) => out.extend_from_slice(encoded),
            None => self.column.column_type.encode_null_or_zero(out),
        }
        Ok(())
    }

    /// The JSON text as received, into a text column.
    fn encode_json(&self, value: Raw<'_>, out: &mut Vec<u8>) {
        if self.column.column_type.is_nullable() {
            out.push(0);
        }
        if value.kind() != Kind::String {
            append_length(value.as_received().len(), out);
            return text::append_json(value, out);
        }
        let start = out.len();
        text::append_json(value, out);
        insert_length(out.len() - start, start, out);
    }
}

/// The default is the column's text itself, also under `raw`.
fn encoded_default(column: &Column, unit: Option<TimeUnit>, text: &str) -> Result<Vec<u8>, Reject> {
    let mut encoded = Vec::new();
    let column_type = &column.column_type;
    column_type.encode_text_default_in(text, unit, &mut encoded)?;
    Ok(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::ColumnType;

    fn column(type_name: &str, default_kind: DefaultKind) -> Column {
        let column_type = ColumnType::parse(type_name).unwrap();
        Column {
            name: "c".to_owned(),
            column_type,
            default_kind,
        }
    }

    fn source(
        type_name: &str,
        required: bool,
        default: Option<&str>,
        raw: RawMode,
    ) -> ColumnSource {
        ColumnSource::new(
            column(type_name, DefaultKind::None),
            0,
            required,
            default,
            raw,
        )
        .unwrap()
    }

    fn encode(
        source: &ColumnSource,
        json: &str,
        with_default_flag: bool,
    ) -> Result<Vec<u8>, String> {
        let raw = if json.is_empty() {
            Raw::ABSENT
        } else {
            Raw::parse(json).unwrap()
        };
        let mut out = Vec::new();
        let encoded = source.encode_value(raw, &mut out, with_default_flag);
        encoded.map(|()| out).map_err(|reject| reject.to_string())
    }

    #[test]
    fn absent_and_null_take_the_default_or_are_missed() {
        let optional = source("UInt8", false, None, RawMode::Off);
        let with_default = source("UInt8", false, Some("7"), RawMode::Off);
        let required = source("UInt8", true, None, RawMode::Off);
        for json in ["", "null"] {
            assert_eq!(encode(&optional, json, false), Ok(vec![0]));
            assert_eq!(encode(&with_default, json, false), Ok(vec![7]));
            assert_eq!(
                encode(&required, json, false),
                Err("missing_field: c".to_owned())
            );
        }
        for source in [optional, with_default, required] {
            assert_eq!(encode(&source, "5", false), Ok(vec![5]));
            assert_eq!(
                encode(&source, "256", false),
                Err("out_of_range: c: UInt8".to_owned())
            );
        }
    }

    #[test]
    fn raw_columns_take_the_json_text_as_received() {
        let object = source("String", false, Some("{}"), RawMode::Object);
        assert_eq!(
            encode(&object, r#"{ "a":1.0}"#, false).unwrap(),
            b"\x0a{ \"a\":1.0}"
        );
        assert_eq!(encode(&object, "null", false).unwrap(), b"\x02{}");
        for json in ["[1]", "\"{}\"", "12.0", "false"] {
            assert_eq!(
                encode(&object, json, false),
                Err("invalid_value: c: not an object".to_owned())
            );
        }
        let any = source("Nullable(String)", false, None, RawMode::Any);
        assert_eq!(encode(&any, "[1, 2]", false).unwrap(), b"\0\x06[1, 2]");
        assert_eq!(
            encode(&any, r#""\ud800""#, false).unwrap(),
            b"\0\x08\"\\ud800\""
        );
        assert_eq!(encode(&any, "null", false).unwrap(), b"\x01");
    }

    #[test]
    fn the_server_fills_in_its_own_default_where_nothing_else_does() {
        let of_server = column("UInt8", DefaultKind::Default);
        let new = |required, default| {
            ColumnSource::new(of_server.clone(), 0, required, default, RawMode::Off).unwrap()
        };
        let plain = new(false, None);
        assert!(plain.needs_server_default());
        assert_eq!(encode(&plain, "null", true), Ok(vec![1]));
        assert_eq!(encode(&plain, "5", true), Ok(vec![0, 5]));
        assert!(!new(false, Some("7")).needs_server_default());
        assert_eq!(encode(&new(false, Some("7")), "", true), Ok(vec![0, 7]));
        assert!(encode(&new(true, None), "", true).is_err());
        assert_eq!(
            encode(&source("UInt8", false, None, RawMode::Off), "", true),
            Ok(vec![0, 0])
        );
    }

    #[test]
    fn numbers_are_times_in_the_unit_of_the_column_or_else_of_the_pipeline() {
        let source = |type_name, own, of_pipeline| {
            source(type_name, false, None, RawMode::Off)
                .with_unit(own, of_pipeline)
                .unwrap()
        };
        let (s, ms) = (Some(TimeUnit::Seconds), Some(TimeUnit::Milliseconds));
        let datetime = |time: u32| Ok(time.to_le_bytes().to_vec());
        let datetime64 = |time: i64| Ok(time.to_le_bytes().to_vec());
        let (seconds, fraction, millis) = ("1763719200", "1763719200.25", "1763719200250");
        for (own, of_pipeline) in [(s, None), (None, s), (s, ms)] {
            let of_ms = source("DateTime64(3)", own, of_pipeline);
            assert_eq!(
                encode(&of_ms, seconds, false),
                datetime64(1_763_719_200_000)
            );
            assert_eq!(
                encode(&of_ms, fraction, false),
                datetime64(1_763_719_200_250)
            );
            let of_seconds = source("DateTime", own, of_pipeline);
            assert_eq!(
                encode(&of_seconds, fraction, false),
                datetime(1_763_719_200)
            );
            assert_eq!(encode(&of_seconds, "60", false), datetime(60));
        }
        let declared = source("DateTime", ms, s);
        assert_eq!(encode(&declared, seconds, false), datetime(1_763_719));
        let undeclared = source("DateTime64(3)", None, None);
        assert_eq!(
            encode(&undeclared, millis, false),
            datetime64(1_763_719_200_250)
        );
        for json in [seconds, fraction] {
            assert_eq!(
                encode(&undeclared, json, false),
                Err("implausible_time: c: looks like seconds: set time_unit".to_owned())
            );
            assert_eq!(
                encode(&source("DateTime", None, None), json, false),
                datetime(1_763_719_200)
            );
        }
        let list = source("Array(Nullable(DateTime))", s, None);
        assert_eq!(
            encode(&list, "[60,null]", false).unwrap(),
            b"\x02\0\x3c\0\0\0\x01"
        );
        // Integers of a time of day are seconds, or what the column counts, whatever the pipeline says.
        for (type_name, own, json, ticks) in [
            ("Time64(3)", None, "1500", 1_500),
            ("Time64(3)", s, "-2", -2_000),
            ("Array(Time64(6))", ms, "[3]", 3_000),
            ("Nullable(Time64(9))", None, "7", 7),
        ] {
            let encoded = encode(&source(type_name, own, s), json, false).expect(type_name);
            assert!(encoded.ends_with(&i64::to_le_bytes(ticks)), "{type_name}");
        }
        let time = |json| encode(&source("Time", None, ms), json, false);
        assert_eq!(time("61"), datetime(61));
        for json in ["1.5", "true", "3600000", "9223372036854775807"] {
            assert!(time(json).is_err(), "{json}");
        }
        let text = source("DateTime64(3)", s, None);
        assert_eq!(
            encode(&text, "\"1970-01-01T00:00:01Z\"", false),
            datetime64(1000)
        );
        // Other columns are what they were.
        assert_eq!(encode(&source("UInt32", None, s), "7", false), datetime(7));
    }

    #[test]
    fn a_default_that_is_a_number_is_a_time_in_the_declared_unit() {
        let encoded = |type_name, unit, text| {
            let source = source(type_name, false, None, RawMode::Off);
            let source = source.with_unit(unit, None).unwrap();
            let source = source.with_default(Some(text));
            source.map(|source| encode(&source, "", false).unwrap())
        };
        let (s, ms) = (Some(TimeUnit::Seconds), Some(TimeUnit::Milliseconds));
        let datetime = |time: u32| time.to_le_bytes().to_vec();
        let datetime64 = |time: i64| time.to_le_bytes().to_vec();
        for (unit, expected) in [(s, 86_400), (ms, 86)] {
            assert_eq!(encoded("DateTime", unit, "86400"), Ok(datetime(expected)));
        }
        let day = "1970-01-02 00:00:00";
        assert_eq!(encoded("DateTime", ms, day), Ok(datetime(86_400)));
        let seconds = encoded("DateTime64(3)", s, "1763719200");
        assert_eq!(seconds, Ok(datetime64(1_763_719_200_000)));
        assert!(encoded("DateTime64(3)", None, "1763719200").is_err());
    }

    #[test]
    fn null_is_a_value_where_the_column_holds_it_and_absent_is_the_default() {
        let new = |type_name, kind| {
            ColumnSource::new(column(type_name, kind), 0, false, None, RawMode::Off).unwrap()
        };
        let nullable = new("Nullable(UInt8)", DefaultKind::Default);
        assert_eq!(encode(&nullable, "null", true), Ok(vec![0, 1]));
        assert_eq!(encode(&nullable, "", true), Ok(vec![1]));
        assert_eq!(encode(&nullable, "5", true), Ok(vec![0, 0, 5]));
        let dictionary = new("LowCardinality(Nullable(String))", DefaultKind::Default);
        assert_eq!(encode(&dictionary, "null", true), Ok(vec![0, 1]));
        let ephemeral = new("UInt8", DefaultKind::Ephemeral);
        assert!(ephemeral.needs_server_default());
        assert_eq!(encode(&ephemeral, "", true), Ok(vec![1]));
        assert_eq!(encode(&ephemeral, "null", true), Ok(vec![1]));
        assert_eq!(encode(&ephemeral, "5", true), Ok(vec![0, 5]));
    }

    #[test]
    fn impossible_mappings_are_refused_with_the_columns_name() {
        let new = |column, default, raw| {
            ColumnSource::new(column, 0, false, default, raw)
                .unwrap_err()
                .to_string()
        };
        let plain = |type_name| column(type_name, DefaultKind::None);
        let raw = new(plain("UInt8"), None, RawMode::Any);
        assert_eq!(raw, "column c: raw needs a String column, not UInt8");
        let default = new(plain("Date"), Some("soon"), RawMode::Off);
        assert_eq!(
            default,
            "column c: default \"soon\" does not fit Date: not a day: YYYY-MM-DD"
        );
        let computed = new(
            column("UInt8", DefaultKind::Materialized),
            None,
            RawMode::Off,
        );
        assert!(computed.starts_with("column c is computed"), "{computed}");
        let no_time = source("Date", false, None, RawMode::Off);
        let unit = no_time.with_unit(Some(TimeUnit::Seconds), None);
        assert_eq!(
            unit.unwrap_err().to_string(),
            "column c: unit needs a DateTime, DateTime64, Time or Time64 column, not Date"
        );
    }
}
