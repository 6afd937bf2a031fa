//! Columns that take what Kafka says of the record instead of a value in it: where it lies, its key,
//! its timestamp, its headers.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{ColumnMapping, KeyFormat, RecordField};
use crate::decode::json::Raw;
use crate::decode::time::{TextRules, TimeRules, TimeUnit};
use crate::decode::{Path, Reason, Reject, Step};
use crate::source::{Record, TimestampType, TopicPartition};
use crate::steps::{PrivateFields, REDACTED};
use crate::table::{Column, ColumnSource, ColumnType, DefaultKind, RawMode, append_length};

/// In formats of rows with defaults: a value follows.
const VALUE_FOLLOWS: u8 = 0;
/// In formats of rows with defaults: the column's DEFAULT takes the value's place.
const SERVER_DEFAULT: u8 = 1;

/// A column that takes a part of the record.
#[derive(Debug)]
pub(super) struct RecordColumn {
    name: String,
    field: RecordField,
    column_type: ColumnType,
    /// Of what stands for times.
    times: Times,
    missing: Missing,
    /// Fields of the value that are hidden.
    private: PrivateFields,
    /// Of a value in the key.
    in_key: Option<(ColumnSource, KeyFormat)>,
    /// Later timestamps are written as this one.
    latest_ms: i64,
}

/// How what stands for times is read: as the pipeline declares it, numbers as the column does before that.
#[derive(Debug, Clone, Default)]
pub(super) struct Times {
    unit: Option<TimeUnit>,
    own_unit: Option<TimeUnit>,
    texts: Option<Arc<TextRules>>,
}

impl Times {
    pub(super) fn of_pipeline(unit: Option<TimeUnit>, texts: Option<Arc<TextRules>>) -> Self {
        Times {
            unit,
            own_unit: None,
            texts,
        }
    }

    fn of_column(self, mapping: Option<&ColumnMapping>) -> Self {
        Times {
            own_unit: mapping.and_then(|mapping| mapping.unit),
            ..self
        }
    }

    fn rules(&self) -> TimeRules<'_> {
        TimeRules {
            unit: self.own_unit.or(self.unit),
            unit_of_day: self.own_unit,
            texts: self.texts.as_deref(),
        }
    }
}

/// The partition that records come from, as its columns take it.
#[derive(Debug)]
pub(crate) struct RecordPlace {
    /// With its length before it.
    topic: Vec<u8>,
    partition: i32,
}

impl RecordPlace {
    pub(super) fn new(partition: &TopicPartition) -> Self {
        let mut topic = vec![];
        append_length(partition.topic.len(), &mut topic);
        topic.extend_from_slice(partition.topic.as_bytes());
        RecordPlace {
            topic,
            partition: partition.partition,
        }
    }
}

/// Where a row comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'r> {
    pub(super) place: &'r RecordPlace,
    pub(super) record: Record<'r>,
    /// The number of the element that it is made of.
    pub(super) element: u32,
}

/// What stands in for what a record does not have.
#[derive(Debug, PartialEq, Eq)]
enum Missing {
    /// The record is a dead letter.
    Refused,
    /// The column's DEFAULT.
    ServerDefault,
    /// Encoded: NULL, zero, or what is configured.
    Value(Vec<u8>),
}

impl RecordColumn {
    /// `mapping`: the entry of `[pipeline.columns]`; none where the column's name alone says what it
    /// takes.
    ///
    /// # Errors
    /// The column cannot hold the field.
    pub(super) fn new(
        field: RecordField,
        column: Column,
        mapping: Option<&ColumnMapping>,
        key_format: KeyFormat,
        times: Times,
    ) -> Result<Self, String> {
        let times = times.of_column(mapping);
        if let Some(mapping) = mapping
            && let Some(path) = &mapping.path
        {
            return RecordColumn::in_key(column, mapping, path, key_format, times);
        }
        if !fits(&field, &column.column_type, mapping.is_none()) {
            let (name, column_type) = (&column.name, &column.column_type);
            let expected = expected(&field);
            return Err(format!(
                "column {name} must be {expected}, not {column_type}"
            ));
        }
        Ok(RecordColumn {
            missing: Missing::new(&field, &column, mapping, &times)?,
            name: column.name,
            field,
            column_type: column.column_type,
            times,
            private: PrivateFields::default(),
            in_key: None,
            latest_ms: i64::MAX,
        })
    }

    /// The same, with the latest timestamp that the column holds in the place of later ones.
    pub(super) fn clamped(self) -> Self {
        let holds = |ms: i64| self.column_type.encode_time_ms(ms, &mut vec![]).is_ok();
        if self.field != RecordField::Timestamp || !is_time(&self.column_type) || holds(i64::MAX) {
            return self;
        }
        let (mut held, mut beyond) = (0, i64::MAX);
        while beyond - held > 1 {
            let middle = held + (beyond - held) / 2;
            if holds(middle) {
                held = middle;
            } else {
                beyond = middle;
            }
        }
        RecordColumn {
            latest_ms: held,
            ..self
        }
    }

    /// Whether a column holds every value that the field can have.
    ///
    /// # Errors
    /// What it must be.
    pub(super) fn check_holds_all(field: &RecordField, column: &Column) -> Result<(), String> {
        let Column {
            name, column_type, ..
        } = column;
        match fits(field, column_type, true) {
            true => Ok(()),
            false => {
                let expected = expected(field);
                Err(format!(
                    "column {name} must be {expected}, not {column_type}"
                ))
            }
        }
    }

    /// A column that takes a value in the key.
    fn in_key(
        column: Column,
        mapping: &ColumnMapping,
        path: &str,
        key_format: KeyFormat,
        times: Times,
    ) -> Result<Self, String> {
        let path = Path::parse(path).map_err(|error| error.to_string())?;
        let names = path.names().map(|name| Step::Member(name.into()));
        let steps: Vec<Step> = names.chain(path.steps().iter().cloned()).collect();
        let (name, column_type) = (column.name.clone(), column.column_type.clone());
        let source = ColumnSource::new(column, 0, mapping.required, None, RawMode::Off)
            .and_then(|source| source.with_steps(&steps))
            .and_then(|source| source.with_unit(mapping.unit, times.unit))
            .map(|source| source.with_text_times(times.texts.as_ref()))
            .and_then(|source| source.with_default(mapping.default.as_deref()))
            .map_err(|error| format!("pipeline.columns: {error}"))?;
        Ok(RecordColumn {
            missing: match source.needs_server_default() {
                true => Missing::ServerDefault,
                false => Missing::Refused,
            },
            name,
            field: RecordField::Key,
            column_type,
            times,
            private: PrivateFields::default(),
            in_key: Some((source, key_format)),
            latest_ms: i64::MAX,
        })
    }

    /// The same, with these fields of the value hidden.
    pub(super) fn hiding(mut self, private: &PrivateFields) -> Self {
        self.private.clone_from(private);
        self
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether a missing value has to be left to the server.
    pub(super) fn needs_server_default(&self) -> bool {
        self.missing == Missing::ServerDefault
    }

    /// Appends the column's value, or what stands in for a missing one. `with_default_flag`: a byte
    /// before each value.
    ///
    /// # Errors
    /// A required part that the record does not have, and values that the column does not hold.
    pub(super) fn encode(
        &self,
        origin: Origin<'_>,
        out: &mut Vec<u8>,
        with_default_flag: bool,
    ) -> Result<(), Reject> {
        let Origin { place, record, .. } = origin;
        if let Some((source, key_format)) = &self.in_key {
            let value = key_value(record.key(), *key_format);
            let value = value.map_err(|reject| reject.about(&self.name))?;
            return source.encode_value(value, out, with_default_flag);
        }
        if with_default_flag {
            out.push(VALUE_FOLLOWS);
        }
        let encoded = match &self.field {
            RecordField::Topic => {
                self.mark_not_null(out);
                out.extend_from_slice(&place.topic);
                Ok(())
            }
            RecordField::Partition => self.encode_partition(place.partition, out),
            RecordField::Offset => self.encode_offset(record.offset(), out),
            RecordField::Timestamp if record.timestamp_ms() < 0 => {
                self.encode_missing(out, with_default_flag)
            }
            RecordField::Timestamp => {
                self.encode_timestamp(record.timestamp_ms().min(self.latest_ms), out)
            }
            RecordField::TimestampType => match timestamp_type(record) {
                Some(name) => self.column_type.encode_text(name, out),
                None => self.encode_missing(out, with_default_flag),
            },
            RecordField::Key => self.encode_bytes(record.key_as_received(), out, with_default_flag),
            RecordField::Value if !self.private.is_empty() => {
                let hidden = record
                    .value()
                    .and_then(|value| shown(&self.private, &self.column_type, value));
                self.encode_bytes(hidden.as_deref(), out, with_default_flag)
            }
            RecordField::Value => {
                self.encode_bytes(record.value_as_received(), out, with_default_flag)
            }
            RecordField::Header(name) => {
                self.encode_bytes(record.header(name), out, with_default_flag)
            }
            RecordField::SchemaId => match schema_id(record.value_as_received()) {
                Some(id) => self.column_type.encode_integer(id.into(), out),
                None => self.encode_missing(out, with_default_flag),
            },
            RecordField::Index => self.column_type.encode_integer(origin.element.into(), out),
            RecordField::Headers => {
                encode_headers(&self.column_type, record, out);
                Ok(())
            }
        };
        encoded.map_err(|reject| reject.about(&self.name))
    }

    fn encode_partition(&self, partition: i32, out: &mut Vec<u8>) -> Result<(), Reject> {
        match self.column_type {
            ColumnType::UInt32 | ColumnType::Int32 => {
                out.extend_from_slice(&partition.to_le_bytes());
                Ok(())
            }
            ref other => other.encode_integer(partition.into(), out),
        }
    }

    fn encode_offset(&self, offset: i64, out: &mut Vec<u8>) -> Result<(), Reject> {
        match self.column_type {
            ColumnType::UInt64 | ColumnType::Int64 => {
                out.extend_from_slice(&offset.to_le_bytes());
                Ok(())
            }
            ref other => other.encode_integer(offset.into(), out),
        }
    }

    fn encode_timestamp(&self, timestamp_ms: i64, out: &mut Vec<u8>) -> Result<(), Reject> {
        match &self.column_type {
            times if is_time(times) => times.encode_time_ms(timestamp_ms, out),
            integer => integer.encode_integer(timestamp_ms.into(), out),
        }
    }

    /// Text columns take the bytes as they are, other types read them as a text.
    fn encode_bytes(
        &self,
        bytes: Option<&[u8]>,
        out: &mut Vec<u8>,
        with_default_flag: bool,
    ) -> Result<(), Reject> {
        let Some(bytes) = bytes else {
            return self.encode_missing(out, with_default_flag);
        };
        if self.column_type.is_text() {
            self.mark_not_null(out);
            append_length(bytes.len(), out);
            out.extend_from_slice(bytes);
            return Ok(());
        }
        let text = str::from_utf8(bytes).map_err(|_| Reject::invalid_value("not UTF-8"))?;
        self.column_type
            .encode_text_default_in(text, self.times.rules(), out)
    }

    fn mark_not_null(&self, out: &mut Vec<u8>) {
        if self.column_type.is_nullable() {
            out.push(0);
        }
    }

    fn encode_missing(&self, out: &mut Vec<u8>, with_default_flag: bool) -> Result<(), Reject> {
        match &self.missing {
            Missing::Refused => {
                let detail = format!("the record has no {}", self.field.name());
                Err(Reject::new(Reason::MissingField, detail))
            }
            Missing::ServerDefault => {
                debug_assert!(with_default_flag, "a column of the plan needs the flag");
                // In place of the flag that says that a value follows.
                out.pop();
                out.push(SERVER_DEFAULT);
                Ok(())
            }
            Missing::Value(encoded) => {
                out.extend_from_slice(encoded);
                Ok(())
            }
        }
    }
}

impl Missing {
    fn new(
        field: &RecordField,
        column: &Column,
        mapping: Option<&ColumnMapping>,
        times: &Times,
    ) -> Result<Self, String> {
        let Column {
            name,
            column_type,
            default_kind,
        } = column;
        if mapping.is_some_and(|mapping| mapping.required) {
            return Ok(Missing::Refused);
        }
        let mut encoded = vec![];
        if let Some(mapping) = mapping
            && let Some(default) = &mapping.default
        {
            column_type
                .encode_text_default_in(default, times.rules(), &mut encoded)
                .map_err(|reject| {
                    let why = reject.detail;
                    format!("column {name}: default {default:?} does not fit {column_type}: {why}")
                })?;
            return Ok(Missing::Value(encoded));
        }
        let has_default = matches!(default_kind, DefaultKind::Default | DefaultKind::Ephemeral);
        // A null is a value where the column holds it.
        if has_default && !field.is_always_there() && !column_type.is_nullable() {
            return Ok(Missing::ServerDefault);
        }
        column_type.encode_null_or_zero(&mut encoded);
        Ok(Missing::Value(encoded))
    }
}

/// The key as a value: JSON, or one text.
fn key_value(key: Option<&[u8]>, format: KeyFormat) -> Result<Raw<'_>, Reject> {
    let Some(key) = key else {
        return Ok(Raw::ABSENT);
    };
    let text = str::from_utf8(key).map_err(|_| Reject::invalid_value("the key is not UTF-8"))?;
    match format {
        KeyFormat::Text => Ok(Raw::string(text)),
        _ => Raw::parse(text).map_err(|reject| {
            let detail = format!("the key is no JSON: {}", reject.detail);
            Reject::new(reject.reason, detail)
        }),
    }
}

/// Names and values in order; in a Map of equal names the last.
fn encode_headers(column_type: &ColumnType, record: Record<'_>, out: &mut Vec<u8>) {
    let mut headers = record.headers();
    let value_type = match column_type {
        ColumnType::Map(pair) => {
            let names = headers.iter().map(|(name, _)| name.clone());
            let last: HashMap<String, usize> = names.enumerate().map(|(at, n)| (n, at)).collect();
            let mut at = 0..headers.len();
            headers.retain(|(name, _)| last.get(name).copied() == at.next());
            &pair.1
        }
        ColumnType::Array(inner) => match &**inner {
            ColumnType::Tuple(fields) => &fields.types()[1],
            other => other,
        },
        other => other,
    };
    append_length(headers.len(), out);
    for (name, value) in headers {
        append_length(name.len(), out);
        out.extend_from_slice(name.as_bytes());
        if value_type.is_nullable() {
            out.push(0);
        }
        // A header without value is an empty one.
        let value = value.unwrap_or_default();
        append_length(value.len(), out);
        out.extend_from_slice(&value);
    }
}

fn holds_headers(column_type: &ColumnType) -> bool {
    let is_name = |name: &ColumnType| name.is_text() && !name.is_nullable();
    match column_type {
        ColumnType::Map(pair) => is_name(&pair.0) && pair.1.is_text(),
        ColumnType::Array(inner) => match &**inner {
            ColumnType::Tuple(fields) => match fields.types() {
                [name, value] => is_name(name) && value.is_text(),
                _ => false,
            },
            _ => false,
        },
        _ => false,
    }
}

/// The number of the schema that the value was written by: behind a zero byte, in four bytes.
fn schema_id(value: Option<&[u8]>) -> Option<u32> {
    let (magic, rest) = value?.split_first()?;
    let id = rest.first_chunk()?;
    (*magic == 0).then(|| u32::from_be_bytes(*id))
}

fn timestamp_type(record: Record<'_>) -> Option<&'static str> {
    match record.timestamp_type() {
        TimestampType::Unknown => None,
        TimestampType::CreateTime => Some("create_time"),
        TimestampType::LogAppendTime => Some("log_append_time"),
    }
}

/// Whether a column of this type can hold the field. `by_name`: where nothing is mapped to the column, so
/// that it means what the daemon takes such a name for.
fn fits(field: &RecordField, column_type: &ColumnType, by_name: bool) -> bool {
    let is_integer = || column_type.encode_integer(0, &mut vec![]).is_ok();
    match field {
        RecordField::Topic => column_type.is_text() && !(by_name && column_type.is_nullable()),
        RecordField::Partition if by_name => matches!(
            column_type,
            ColumnType::UInt32 | ColumnType::Int32 | ColumnType::UInt64 | ColumnType::Int64
        ),
        RecordField::Offset if by_name => {
            matches!(column_type, ColumnType::UInt64 | ColumnType::Int64)
        }
        RecordField::Partition | RecordField::Offset => is_integer(),
        RecordField::SchemaId => column_type
            .encode_integer(u32::MAX.into(), &mut vec![])
            .is_ok(),
        RecordField::Timestamp => {
            is_time(column_type)
                || (is_integer() && !by_name)
                || matches!(column_type, ColumnType::Int64 | ColumnType::UInt64)
        }
        RecordField::TimestampType => ["create_time", "log_append_time"]
            .iter()
            .all(|name| column_type.encode_text(name, &mut vec![]).is_ok()),
        RecordField::Headers => holds_headers(column_type),
        RecordField::Index => matches!(column_type, ColumnType::UInt32 | ColumnType::UInt64),
        RecordField::Key | RecordField::Value | RecordField::Header(_) => {
            column_type.is_text() || !by_name
        }
    }
}

/// Whether the column holds one time, and not several or a part of something.
fn is_time(column_type: &ColumnType) -> bool {
    match column_type {
        ColumnType::LowCardinality(inner) | ColumnType::Nullable(inner) => is_time(inner),
        plain => matches!(
            plain,
            ColumnType::DateTime { .. } | ColumnType::DateTime64 { .. }
        ),
    }
}

/// What such a column must be, for people.
fn expected(field: &RecordField) -> &'static str {
    match field {
        RecordField::Topic => "LowCardinality(String)",
        RecordField::Partition | RecordField::Index => "UInt32",
        RecordField::Offset => "UInt64",
        RecordField::SchemaId => "Nullable(UInt32)",
        RecordField::Timestamp => "DateTime64(3)",
        RecordField::TimestampType => "String, or an Enum of 'create_time' and 'log_append_time'",
        RecordField::Headers => "Map(String, String) or Array(Tuple(String, String))",
        RecordField::Key | RecordField::Value | RecordField::Header(_) => "String",
    }
}

/// What a column gets of a record's value with private fields: of what is no JSON object a word that says
/// so, since NULL is a record without value.
fn shown(private: &PrivateFields, column_type: &ColumnType, value: &[u8]) -> Option<Vec<u8>> {
    match private.hidden_record(value) {
        Some(hidden) => Some(hidden.into_bytes()),
        None => column_type.is_text().then(|| REDACTED.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::MadeRecord;

    #[test]
    fn a_value_that_cannot_be_looked_into_is_no_tombstone() {
        let private = PrivateFields::new(["$.email"]).unwrap();
        let text = ColumnType::parse("Nullable(String)").unwrap();
        let hidden = |value: &[u8]| shown(&private, &text, value);
        assert_eq!(hidden(b"a@b").as_deref(), Some(&b"***"[..]));
        let object = hidden(br#"{"email":"a@b"}"#);
        assert_eq!(object.as_deref(), Some(&br#"{"email":"***"}"#[..]));
        let number = ColumnType::parse("UInt8").unwrap();
        assert_eq!(shown(&private, &number, b"7"), None);
    }

    fn column(name: &str, type_name: &str) -> Result<RecordColumn, String> {
        let column = Column {
            name: name.to_owned(),
            column_type: ColumnType::parse(type_name).unwrap(),
            default_kind: DefaultKind::None,
        };
        RecordColumn::new(
            RecordField::of_column(name).expect("a field"),
            column,
            None,
            KeyFormat::Json,
            Times::default(),
        )
    }

    fn encode(name: &str, type_name: &str, timestamp_ms: i64, key: Option<&[u8]>) -> Vec<u8> {
        let column = column(name, type_name).unwrap();
        let made = MadeRecord::new(key, Some(b"{}"), timestamp_ms, 7);
        let mut out = vec![];
        let encoded = column.encode(origin(&place(), made.record()), &mut out, false);
        encoded.unwrap();
        out
    }

    #[test]
    fn timestamps_keys_and_values_are_as_received() {
        let time = 1_763_719_200_123;
        let ticks = |ticks: i64| ticks.to_le_bytes().to_vec();
        assert_eq!(
            encode("_timestamp", "DateTime64(3, 'UTC')", time, None),
            ticks(time)
        );
        assert_eq!(
            encode("_timestamp", "DateTime64(6)", time, None),
            ticks(time * 1000)
        );
        assert_eq!(encode("_timestamp", "Int64", time, None), ticks(time));
        assert_eq!(
            encode("_timestamp", "DateTime", time, None),
            b"\x20\x38\x20\x69"
        );
        assert_eq!(
            encode("_timestamp", "Nullable(DateTime64(3))", -1, None),
            b"\x01"
        );
        assert_eq!(encode("_timestamp", "DateTime64(3)", -1, None), ticks(0));
        assert_eq!(
            encode("_key", "String", time, Some(b"\xff\0k")),
            b"\x03\xff\0k"
        );
        assert_eq!(encode("_key", "Nullable(String)", time, Some(b"")), b"\0\0");
        assert_eq!(encode("_key", "Nullable(String)", time, None), b"\x01");
        assert_eq!(encode("_key", "LowCardinality(String)", time, None), b"\0");
        assert_eq!(encode("_value", "String", time, None), b"\x02{}");
        assert_eq!(encode("_topic", "String", time, None), b"\x01t");
        assert_eq!(encode("_partition", "UInt32", time, None), b"\x03\0\0\0");
        assert_eq!(encode("_offset", "UInt64", time, None), ticks(7));
        for (name, type_name) in [
            ("_topic", "Nullable(String)"),
            ("_offset", "UInt32"),
            ("_timestamp", "String"),
            ("_timestamp", "Array(DateTime)"),
            ("_timestamp", "Tuple(DateTime)"),
            ("_timestamp", "Map(String, DateTime)"),
            ("_timestamp", "UInt32"),
            ("_key", "UInt64"),
            ("_value", "FixedString(2)"),
        ] {
            assert!(column(name, type_name).is_err(), "{name} {type_name}");
        }
    }

    fn mapped(
        from: &str,
        type_name: &str,
        kind: DefaultKind,
    ) -> (RecordField, Column, ColumnMapping) {
        let field = RecordField::parse(from).expect("a field");
        let column = Column {
            name: "c".to_owned(),
            column_type: ColumnType::parse(type_name).unwrap(),
            default_kind: kind,
        };
        let mapping = ColumnMapping {
            from: Some(field.clone()),
            ..ColumnMapping::default()
        };
        (field, column, mapping)
    }

    fn origin<'r>(place: &'r RecordPlace, record: Record<'r>) -> Origin<'r> {
        Origin {
            place,
            record,
            element: 0,
        }
    }

    fn place() -> RecordPlace {
        RecordPlace::new(&TopicPartition {
            topic: "t".into(),
            partition: 3,
        })
    }

    fn encode_mapped(
        from: &str,
        type_name: &str,
        made: &MadeRecord<'_>,
        change: impl FnOnce(&mut ColumnMapping),
    ) -> Result<Vec<u8>, String> {
        encode_with(Times::default(), from, type_name, made, change)
    }

    fn encode_with(
        times: Times,
        from: &str,
        type_name: &str,
        made: &MadeRecord<'_>,
        change: impl FnOnce(&mut ColumnMapping),
    ) -> Result<Vec<u8>, String> {
        let (field, column, mut mapping) = mapped(from, type_name, DefaultKind::None);
        change(&mut mapping);
        let column = RecordColumn::new(field, column, Some(&mapping), KeyFormat::Json, times)?;
        let mut out = vec![];
        let encoded = column.encode(origin(&place(), made.record()), &mut out, false);
        encoded.map(|()| out).map_err(|reject| reject.to_string())
    }

    #[test]
    fn a_mapped_column_of_any_type_takes_a_part_of_the_record() {
        let made = MadeRecord::new(Some(b"42"), Some(b"\xff"), 1_000, 7);
        let encode = |from, type_name| encode_mapped(from, type_name, &made, |_| {});
        assert_eq!(encode("key", "UInt16"), Ok(vec![42, 0]));
        assert_eq!(encode("key", "Nullable(UInt8)"), Ok(vec![0, 42]));
        assert_eq!(encode("topic", "Nullable(String)"), Ok(b"\0\x01t".to_vec()));
        assert_eq!(encode("partition", "Nullable(UInt16)"), Ok(vec![0, 3, 0]));
        assert_eq!(encode("offset", "UInt64"), Ok(7u64.to_le_bytes().to_vec()));
        assert_eq!(encode("timestamp", "DateTime"), Ok(vec![1, 0, 0, 0]));
        assert_eq!(encode("timestamp_type", "String"), Ok(vec![0]));
        assert_eq!(encode("header:tenant", "String"), Ok(vec![0]));
        assert_eq!(encode("value", "String"), Ok(b"\x01\xff".to_vec()));
        assert_eq!(encode("schema_id", "Nullable(UInt32)"), Ok(vec![1]));
        let not_text = encode("value", "UInt8").unwrap_err();
        assert_eq!(not_text, "invalid_value: c: not UTF-8");
        for (from, type_name) in [
            ("partition", "String"),
            ("offset", "Float64"),
            ("schema_id", "UInt16"),
            ("topic", "UInt64"),
            ("timestamp_type", "Enum8('create_time' = 1)"),
        ] {
            let error = encode(from, type_name).unwrap_err();
            assert!(error.starts_with("column c must be"), "{error}");
        }
    }

    #[test]
    fn the_schemas_number_stands_behind_a_zero_byte() {
        let id = |value: &'static [u8]| {
            let made = MadeRecord::new(None, Some(value), 1_000, 7);
            encode_mapped("schema_id", "UInt32", &made, |_| {}).unwrap()
        };
        assert_eq!(id(b"\0\0\0\x01\x02"), [2, 1, 0, 0]);
        assert_eq!(id(b"\0\xff\xff\xff\xffrest"), [255; 4]);
        for none in [
            &b""[..],
            b"\0",
            b"\0\0\0\x01",
            b"\x01\0\0\x01\x02",
            b"{\"a\":1}",
        ] {
            assert_eq!(id(none), [0; 4], "{none:?}");
        }
    }

    #[test]
    fn a_clamped_timestamp_is_never_refused() {
        for type_name in [
            "DateTime",
            "DateTime64(3)",
            "DateTime64(9)",
            "Nullable(DateTime64(6))",
            "LowCardinality(DateTime)",
            "Int64",
        ] {
            let (field, column, _) = mapped("timestamp", type_name, DefaultKind::None);
            let column =
                RecordColumn::new(field, column, None, KeyFormat::Json, Times::default()).unwrap();
            let column = column.clamped();
            for ms in [i64::MAX, 1_763_719_200_000_000, 4_294_967_296_000, 0, -1] {
                let made = MadeRecord::new(None, None, ms, 7);
                let encoded = column.encode(origin(&place(), made.record()), &mut vec![], false);
                assert!(encoded.is_ok(), "{type_name} {ms}");
            }
        }
        assert_eq!(
            encode("_timestamp", "DateTime", 4_294_967_295_000, None),
            [255; 4]
        );
    }

    #[test]
    fn what_a_record_lacks_is_the_default_the_servers_or_a_dead_letter() {
        let made = MadeRecord::new(None, None, -1, 7);
        let with = |text: &'static str| {
            move |mapping: &mut ColumnMapping| mapping.default = Some(text.to_owned())
        };
        assert_eq!(encode_mapped("key", "UInt8", &made, with("9")), Ok(vec![9]));
        let tenant = encode_mapped("header:t", "String", &made, with("none"));
        assert_eq!(tenant, Ok(b"\x04none".to_vec()));
        let required = encode_mapped("header:t", "String", &made, |m| m.required = true);
        assert_eq!(
            required.unwrap_err(),
            "missing_field: c: the record has no header:t"
        );
        let (field, column, mapping) = mapped("key", "String", DefaultKind::Default);
        let column = RecordColumn::new(
            field,
            column,
            Some(&mapping),
            KeyFormat::Json,
            Times::default(),
        )
        .unwrap();
        assert!(column.needs_server_default());
        let mut out = vec![];
        column
            .encode(origin(&place(), made.record()), &mut out, true)
            .unwrap();
        assert_eq!(out, [SERVER_DEFAULT]);
    }

    #[test]
    fn headers_are_a_map_of_the_last_ones_or_an_array_of_all() {
        let headers = [
            ("a".to_owned(), Some(b"1".to_vec())),
            ("b".to_owned(), None),
            ("a".to_owned(), Some(b"\xff".to_vec())),
        ];
        let made = MadeRecord::new(None, None, -1, 7).of("t", 0, &headers);
        let encode = |type_name| encode_mapped("headers", type_name, &made, |_| {});
        let last = b"\x02\x01b\0\x01a\x01\xff".to_vec();
        assert_eq!(encode("Map(LowCardinality(String), String)"), Ok(last));
        let all = b"\x03\x01a\x011\x01b\0\x01a\x01\xff".to_vec();
        assert_eq!(encode("Array(Tuple(String, String))"), Ok(all));
        let nullable = b"\x02\x01b\0\0\x01a\0\x01\xff".to_vec();
        assert_eq!(encode("Map(String, Nullable(String))"), Ok(nullable));
        for type_name in ["String", "Map(String, UInt8)", "Array(Tuple(String))"] {
            let error = encode(type_name).unwrap_err();
            assert!(error.starts_with("column c must be Map(String"), "{error}");
        }
    }

    #[test]
    fn a_path_leads_into_a_key_of_json() {
        let encode = |key: Option<&'static [u8]>, path: &'static str| {
            let made = MadeRecord::new(key, None, -1, 7);
            encode_mapped("key", "UInt16", &made, |mapping| {
                mapping.path = Some(path.to_owned());
            })
        };
        assert_eq!(
            encode(Some(br#"{"id":{"n":[1,258]}}"#), "$.id.n[1]"),
            Ok(vec![2, 1])
        );
        assert_eq!(encode(Some(b"258"), "$"), Ok(vec![2, 1]));
        assert_eq!(encode(Some(b"{}"), "$.id"), Ok(vec![0, 0]));
        assert_eq!(encode(None, "$.id"), Ok(vec![0, 0]));
        let no_json = encode(Some(b"{"), "$.id").unwrap_err();
        assert!(
            no_json.starts_with("invalid_json: c: the key is no JSON"),
            "{no_json}"
        );
        let no_number = encode(Some(br#"{"id":"x"}"#), "$.id").unwrap_err();
        assert_eq!(no_number, "invalid_value: c: not an integer");
    }

    #[test]
    fn keys_and_headers_are_read_by_the_times_of_the_pipeline_and_the_unit_of_the_column() {
        let texts = TextRules::new(Some("%d.%m.%Y %H:%M"), Some("Europe/Berlin")).unwrap();
        let times = Times::of_pipeline(Some(TimeUnit::Seconds), texts.map(Arc::new));
        let local = "21.11.2025 11:00";
        let headers = [
            ("at".to_owned(), Some(local.as_bytes().to_vec())),
            ("number".to_owned(), Some(b"1763719200".to_vec())),
            ("ms".to_owned(), Some(b"1763719200000".to_vec())),
            ("of_day".to_owned(), Some(b"90".to_vec())),
        ];
        let key = format!(r#"{{"at":"{local}","number":1763719200}}"#);
        let made = MadeRecord::new(Some(key.as_bytes()), None, -1, 7).of("t", 0, &headers);
        let at = Ok(1_763_719_200_u32.to_le_bytes().to_vec());
        let of = |from: &str, type_name: &str, path: Option<&str>, unit: Option<TimeUnit>| {
            encode_with(times.clone(), from, type_name, &made, |mapping| {
                mapping.path = path.map(str::to_owned);
                mapping.unit = unit;
            })
        };
        for (from, path, unit) in [
            ("header:at", None, None),
            ("header:number", None, None),
            ("header:ms", None, Some(TimeUnit::Milliseconds)),
            ("key", Some("$.at"), None),
            ("key", Some("$.number"), None),
        ] {
            assert_eq!(of(from, "DateTime", path, unit), at, "{from} {path:?}");
        }
        // The unit of the pipeline says nothing of times of day.
        let ninety = Ok(90_000_i64.to_le_bytes().to_vec());
        let own = Some(TimeUnit::Seconds);
        assert_eq!(of("header:of_day", "Time64(3)", None, own), ninety);
        let ticks = Ok(90_i64.to_le_bytes().to_vec());
        assert_eq!(of("header:of_day", "Time64(3)", None, None), ticks);
    }
}
