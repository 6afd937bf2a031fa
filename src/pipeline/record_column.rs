//! Columns that take what Kafka says of the record instead of a value in it: where it lies, its key,
//! its timestamp, its headers.

mod fitting;
mod missing;
mod parts;

use std::sync::Arc;

use crate::config::{ColumnMapping, KeyFormat, RecordField};
use crate::decode::time::{TextRules, TimeRules, TimeUnit};
use crate::decode::{Path, Reason, Reject, Step};
use crate::source::{Record, TopicPartition};
use crate::steps::PrivateFields;
use crate::table::{Column, ColumnSource, ColumnType, RawMode, append_length};
use fitting::{expected, fits, is_time};
use missing::Missing;
use parts::{encode_headers, key_value, schema_id, shown, timestamp_type};

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

#[cfg(test)]
mod tests;
