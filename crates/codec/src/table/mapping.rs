//! Where a column's value comes from, and what stands in for a missing one.

use super::encode::{append_length, insert_length};
use super::nested::{Members, Nested};
use super::steps::{Found, follow};
use super::{Column, ColumnType, DefaultKind};
use crate::decode::json::{Fields, Kind, Raw};
use std::sync::Arc;

use crate::decode::time::{TextRules, TimeRules, TimeUnit};
use crate::decode::{Reason, Reject, Step, text};

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
    /// From the value in the slot to the column's own.
    steps: Box<[Step]>,
    /// In place of steps: the column is one of a Nested, which is in the slot.
    nested: Option<Nested>,
    /// Declared, of a column of times.
    unit: Option<TimeUnit>,
    /// Declared of the column itself, where it has times of day.
    unit_of_day: Option<TimeUnit>,
    /// Declared, of a column of times.
    texts: Option<Arc<TextRules>>,
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
    /// A step to every element for a column of one value.
    #[error("column {column}: a path with [*] needs an Array column, not {column_type}")]
    ElementsNeedArray {
        /// The column.
        column: String,
        /// Its type.
        column_type: String,
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
            steps: Box::default(),
            nested: None,
            unit: None,
            unit_of_day: None,
            texts: None,
            column,
        };
        source.with_default(default)
    }

    /// The same, with another default. A number that stands for a time is in the unit that has been given.
    ///
    /// # Errors
    /// The column cannot hold it.
    pub fn with_default(mut self, default: Option<&str>) -> Result<Self, MappingError> {
        let encoded = default.map(|text| (text, encoded_default(&self.column, self.times(), text)));
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

    /// The same, its value behind these steps from the one in the slot.
    ///
    /// # Errors
    /// Several values for a column that is no Array.
    pub fn with_steps(mut self, steps: &[Step]) -> Result<Self, MappingError> {
        let is_array = matches!(self.column.column_type, ColumnType::Array(_));
        if steps.contains(&Step::All) && !is_array {
            return Err(MappingError::ElementsNeedArray {
                column_type: self.column.column_type.to_string(),
                column: self.column.name,
            });
        }
        self.steps = steps.into();
        Ok(self)
    }

    /// The same, of which nothing is required.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// The same, as a column of the Nested that is in the slot.
    #[must_use]
    pub fn with_nested(mut self, nested: Nested) -> Self {
        self.nested = Some(nested);
        self
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
        self.unit = own.or(of_pipeline.filter(|_| has_times));
        // Integers of a time of day have a unit of their own: the seconds, or what the column counts.
        self.unit_of_day = own;
        Ok(self)
    }

    /// The same, with what the pipeline declares of texts that stand for times.
    #[must_use]
    pub fn with_text_times(mut self, rules: Option<&Arc<TextRules>>) -> Self {
        let is_read = self.raw == RawMode::Off && self.column.column_type.has_times();
        self.texts = rules.filter(|_| is_read).cloned();
        self
    }

    /// The column.
    #[must_use]
    pub fn column(&self) -> &Column {
        &self.column
    }

    /// How times are read in the column.
    #[must_use]
    pub fn times(&self) -> TimeRules<'_> {
        TimeRules {
            unit: self.unit,
            unit_of_day: self.unit_of_day,
            texts: self.texts.as_deref(),
        }
    }

    /// Whether a record without the value is refused.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.required
    }

    /// Whether the column takes JSON.
    #[must_use]
    pub fn raw_mode(&self) -> RawMode {
        self.raw
    }

    /// Whether its value lies somewhere in the one in the slot.
    #[must_use]
    pub fn has_steps(&self) -> bool {
        !self.steps.is_empty() || self.nested.is_some()
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
        let value = fields.get(self.slot);
        if value.is_missing()
            && let Some(nested) = &self.nested
        {
            return self.encode_found(fields.get(nested.literal()), out, with_default_flag);
        }
        self.encode_value(value, out, with_default_flag)
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
        if value.is_missing() || (self.steps.is_empty() && self.nested.is_none()) {
            self.encode_found(value, out, with_default_flag)
        } else {
            self.encode_behind_steps(value, out, with_default_flag)
        }
    }

    /// Appends a value that is there and that the reader of the record encodes itself.
    ///
    /// # Errors
    /// Whatever `encode` says, led by the column's name.
    #[inline(always)]
    pub fn encode_with(
        &self,
        out: &mut Vec<u8>,
        with_default_flag: bool,
        encode: impl FnOnce(&ColumnType, &mut Vec<u8>) -> Result<(), Reject>,
    ) -> Result<(), Reject> {
        if with_default_flag {
            out.push(VALUE_FOLLOWS);
        }
        encode(&self.column.column_type, out).map_err(|reject| reject.about(&self.column.name))
    }

    #[inline(never)]
    fn encode_behind_steps(
        &self,
        value: Raw<'_>,
        out: &mut Vec<u8>,
        with_default_flag: bool,
    ) -> Result<(), Reject> {
        let name = &self.column.name;
        if let Some(nested) = &self.nested {
            let members = nested.find(value).map_err(|reject| reject.about(name))?;
            return self.encode_members(members, out, with_default_flag);
        }
        match follow(value, &self.steps).map_err(|reject| reject.about(name))? {
            Found::One(value) => self.encode_found(value, out, with_default_flag),
            Found::Many(values) => {
                if with_default_flag {
                    out.push(VALUE_FOLLOWS);
                }
                let column_type = &self.column.column_type;
                column_type
                    .encode_elements(&values, self.times(), out)
                    .map_err(|reject| reject.about(name))
            }
        }
    }

    fn encode_members(
        &self,
        members: Members<'_>,
        out: &mut Vec<u8>,
        with_default_flag: bool,
    ) -> Result<(), Reject> {
        let each = match members {
            Members::Own(value) => return self.encode_found(value, out, with_default_flag),
            // Not the server's DEFAULT: it has no more elements than it has, and the server wants as many as
            // the others have.
            Members::Zeros(_) if self.required || self.default.is_some() => {
                return self.encode_missing(out, with_default_flag);
            }
            Members::Zeros(count) => vec![Raw::ABSENT; count],
            Members::Each(each) => each,
        };
        if with_default_flag {
            out.push(VALUE_FOLLOWS);
        }
        let column_type = &self.column.column_type;
        let encoded = column_type.encode_members(&each, self.times(), out);
        encoded.map_err(|reject| reject.about(&self.column.name))
    }

    #[inline(always)]
    fn encode_found(
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
            RawMode::Off if self.unit.is_none() && self.texts.is_none() => {
                self.column.column_type.encode(value, out)
            }
            RawMode::Off => self
                .column
                .column_type
                .encode_times(value, self.times(), out),
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
fn encoded_default(column: &Column, rules: TimeRules<'_>, text: &str) -> Result<Vec<u8>, Reject> {
    let mut encoded = Vec::new();
    let column_type = &column.column_type;
    column_type.encode_text_default_in(text, rules, &mut encoded)?;
    Ok(encoded)
}

#[cfg(test)]
mod tests;
