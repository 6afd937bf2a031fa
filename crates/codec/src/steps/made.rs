//! A column whose value is made, by the encoders of plain columns.

use std::sync::Arc;

use super::compute::Compute;
use super::mask::{Mask, REDACTED};
use super::moment::Moment;
use super::private::PrivateFields;
use super::text::TextStep;
use super::value::{Scratch, Text, Value};
use super::{Step, failed};
use crate::decode::json::{Kind, Raw};
use crate::decode::time::{TextRules, TimeRules, TimeUnit};
use crate::decode::{Reason, Reject, Step as PathStep};
use crate::table::steps::{Found, follow};
use crate::table::{ColumnSource, ColumnType};

/// A field that a value is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// As it is configured: what errors name.
    pub path: Box<str>,
    /// The slot of the reader's plan that holds it, or that it lies in.
    pub slot: usize,
    /// From the value in the slot, or from the element, to the field.
    pub steps: Box<[PathStep]>,
    /// Whether it is in the element that the row is made of.
    pub of_element: bool,
}

/// What becomes of a record whose value cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// A dead letter.
    #[default]
    DeadLetter,
    /// The column's default.
    Default,
}

/// How a column's value is made. The default takes a field as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Making {
    /// The value that the steps begin with.
    pub compute: Compute,
    /// In order.
    pub steps: Vec<Step>,
    /// What hides the result.
    pub mask: Option<Mask>,
    /// What becomes of a value that cannot be made, or does not fit the column.
    pub on_error: OnError,
}

/// A column whose value is made.
#[derive(Debug, Clone)]
pub struct MadeColumn {
    source: ColumnSource,
    inputs: Box<[Input]>,
    making: Making,
    /// The steps, where all that becomes of the one field is steps on its text.
    text_steps: Option<Box<[TextStep]>>,
    /// What numbers are that stand for times.
    unit: Option<TimeUnit>,
    texts: Option<Arc<TextRules>>,
    /// What is hidden within the one field.
    private: PrivateFields,
    /// Whether the one field is hidden whole: of several values it is then there where one is.
    is_hidden_whole: bool,
    /// Whether the one field is a text which those members may lie in.
    is_text: bool,
    /// Whether a record without the value is refused, where the mask leaves nothing of one that is there.
    is_required: bool,
    form: Form,
}

/// What a column takes numbers and times as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Decimal,
    Day,
    Time,
    Other,
}

impl Form {
    fn of(column_type: &ColumnType) -> Form {
        match column_type {
            ColumnType::LowCardinality(inner) | ColumnType::Nullable(inner) => Form::of(inner),
            ColumnType::Decimal { .. } => Form::Decimal,
            ColumnType::Date | ColumnType::Date32 => Form::Day,
            ColumnType::DateTime { .. } | ColumnType::DateTime64 { .. } => Form::Time,
            _ => Form::Other,
        }
    }
}

impl MadeColumn {
    /// `source` says what stands in for a missing value; its slot is not read. `unit` and `texts` say how
    /// times are read.
    #[must_use]
    pub fn new(
        source: ColumnSource,
        inputs: Vec<Input>,
        making: Making,
        unit: Option<TimeUnit>,
        texts: Option<Arc<TextRules>>,
    ) -> Self {
        // What is hidden altogether is not missing.
        let is_required = source.is_required() && making.mask == Some(Mask::Null);
        let source = if is_required {
            source.optional()
        } else {
            source
        };
        MadeColumn {
            form: Form::of(&source.column().column_type),
            is_required,
            source,
            inputs: inputs.into(),
            text_steps: text_steps(&making),
            making,
            unit,
            texts,
            private: PrivateFields::default(),
            is_hidden_whole: false,
            is_text: false,
        }
    }

    /// The same, with members of its one field hidden, by their paths from it.
    #[must_use]
    pub fn hiding(mut self, private: PrivateFields) -> Self {
        self.private = private;
        self
    }

    /// The same of one field that the mask hides whole.
    #[must_use]
    pub fn hiding_whole(mut self) -> Self {
        self.text_steps = None;
        self.is_hidden_whole = true;
        self
    }

    /// The same where the one field is a text: as JSON it has its members hidden, other texts are hidden
    /// whole.
    #[must_use]
    pub fn of_text(mut self) -> Self {
        self.is_text = true;
        self
    }

    /// The column, and what stands in for a missing value.
    #[must_use]
    pub fn source(&self) -> &ColumnSource {
        &self.source
    }

    /// The slot of the one field that it takes as it is, but for what hides it.
    #[must_use]
    pub fn field_slot(&self) -> Option<usize> {
        match (&self.making.compute, &*self.inputs) {
            (Compute::Field, [input]) if input.steps.is_empty() && !input.of_element => {
                Some(input.slot)
            }
            _ => None,
        }
    }

    /// Appends the column's value. `get` has the values of the slots. `with_default_flag` as in
    /// [`ColumnSource::encode`].
    ///
    /// # Errors
    /// `invalid_value` that names the column and the step; what the conversion says of a result that does not
    /// fit; `missing_field` when required and missing. `out` may then end in part of the value.
    pub fn append<'v>(
        &self,
        get: impl Fn(usize) -> Raw<'v>,
        element: Option<Raw<'v>>,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
        with_default_flag: bool,
    ) -> Result<(), Reject> {
        let start = out.len();
        let find = |input: &Input| found(input, &get, element, self.is_hidden_whole);
        let appended = match (&self.text_steps, &*self.inputs) {
            (Some(steps), [input]) => {
                let is_at_hand = input.steps.is_empty() && !input.of_element;
                let text = match is_at_hand {
                    true => stepped(steps, get(input.slot), scratch),
                    false => find(input).and_then(|raw| stepped(steps, raw, scratch)),
                };
                match text {
                    Ok(text) => self.encode_text(text, scratch, out, with_default_flag),
                    Err(reject) => Err(reject.about(&self.source.column().name)),
                }
            }
            _ => self.append_any(find, scratch, out, with_default_flag),
        };
        let takes_default = self.making.on_error == OnError::Default;
        match appended {
            Err(reject) if takes_default && reject.reason != Reason::MissingField => {
                out.truncate(start);
                self.source.encode_missing(out, with_default_flag)
            }
            appended => appended,
        }
    }

    fn append_any<'a>(
        &'a self,
        find: impl Fn(&'a Input) -> Result<Raw<'a>, Reject>,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
        with_default_flag: bool,
    ) -> Result<(), Reject> {
        let name = &self.source.column().name;
        let made = self.value(find, scratch);
        let value = match (
            made.map_err(|reject| reject.about(name))?,
            &self.making.mask,
        ) {
            (value, Some(mask)) if !value.is_missing() => mask.apply(value, scratch)?,
            _ if self.is_required => return Err(Reject::new(Reason::MissingField, name.clone())),
            (value, _) => value,
        };
        self.encode(value, scratch, out, with_default_flag)
    }

    /// What is hidden after that.
    fn value<'a>(
        &'a self,
        find: impl Fn(&'a Input) -> Result<Raw<'a>, Reject>,
        scratch: &mut Scratch,
    ) -> Result<Value<'a>, Reject> {
        let Making { compute, steps, .. } = &self.making;
        let value = compute.value(&self.inputs, find, scratch);
        let mut value = value.map_err(|reject| match compute {
            Compute::Field => reject,
            computed => failed(computed.name(), &reject),
        })?;
        let times = TimeRules {
            unit: self.unit,
            unit_of_day: None,
            texts: self.texts.as_deref(),
        };
        for step in steps {
            value = step.apply(value, times, scratch)?;
        }
        Ok(value)
    }

    fn encode(
        &self,
        value: Value<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
        flag: bool,
    ) -> Result<(), Reject> {
        let source = &self.source;
        match value {
            Value::Missing => source.encode_value(Raw::ABSENT, out, flag),
            Value::Field(raw) if self.is_text && !raw.is_missing() => {
                let text = value.to_text(scratch)?;
                let hidden = self.private.hidden_record(text.as_str(scratch).as_bytes());
                let hidden = hidden.unwrap_or_else(|| REDACTED.to_owned());
                source.encode_value(Raw::string(&hidden), out, flag)
            }
            Value::Field(raw) => match self.private.hidden(raw) {
                None => source.encode_value(raw, out, flag),
                Some(json) => source.encode_value(Raw::parse(&json)?, out, flag),
            },
            Value::Number(number) if self.form == Form::Decimal => {
                source.encode_with(out, flag, |column_type, out| {
                    column_type.encode_decimal(number, out)
                })
            }
            Value::Time(moment) if matches!(self.form, Form::Day | Form::Time) => source
                .encode_with(out, flag, |column_type, out| {
                    append_moment(moment, column_type, out)
                }),
            Value::Boolean(true) => {
                source.encode_value(Raw::written(Kind::True, "true"), out, flag)
            }
            Value::Boolean(false) => {
                source.encode_value(Raw::written(Kind::False, "false"), out, flag)
            }
            Value::Number(_) | Value::Integer(_) => {
                let text = value.to_text(scratch)?;
                let number = Raw::written(Kind::Number, text.as_str(scratch));
                source.encode_value(number, out, flag)
            }
            Value::Text(_) | Value::Written | Value::Time(_) => {
                let text = value.to_text(scratch)?;
                self.encode_text(text, scratch, out, flag)
            }
        }
    }

    fn encode_text(
        &self,
        text: Text<'_>,
        scratch: &Scratch,
        out: &mut Vec<u8>,
        flag: bool,
    ) -> Result<(), Reject> {
        let raw = match (text, self.form) {
            (Text::Missing, _) => Raw::ABSENT,
            // A text that is a number counts from the epoch.
            (text, Form::Time) => Raw::bare(text.as_str(scratch)),
            (text, _) => Raw::string(text.as_str(scratch)),
        };
        self.source.encode_value(raw, out, flag)
    }
}

/// The steps, if they are all that becomes of one field and all are on its text.
fn text_steps(making: &Making) -> Option<Box<[TextStep]>> {
    if making.compute != Compute::Field || making.mask.is_some() || making.steps.is_empty() {
        return None;
    }
    let on_text = making.steps.iter().map(|step| match step {
        Step::Text(step) => Some(step.clone()),
        Step::Number(_) | Step::Time(_) => None,
    });
    on_text.collect()
}

/// A field's text after these steps.
fn stepped<'a>(
    steps: &'a [TextStep],
    raw: Raw<'a>,
    scratch: &mut Scratch,
) -> Result<Text<'a>, Reject> {
    let mut text = match Text::of(raw, scratch) {
        Ok(text) => text,
        Err(reject) => {
            return Err(steps
                .first()
                .map_or(reject.clone(), |s| failed(s.name(), &reject)));
        }
    };
    for step in steps {
        text = match step.apply(text, scratch) {
            Ok(text) => text,
            Err(too_long) => return Err(failed(step.name(), &too_long.into())),
        };
    }
    Ok(text)
}

/// The field that an input names; absent where the record has none.
fn found<'v>(
    input: &Input,
    get: impl Fn(usize) -> Raw<'v>,
    element: Option<Raw<'v>>,
    takes_any: bool,
) -> Result<Raw<'v>, Reject> {
    let value = match element {
        Some(element) if input.of_element => element,
        _ => get(input.slot),
    };
    if value.is_missing() || input.steps.is_empty() {
        return Ok(value);
    }
    match follow(value, &input.steps)? {
        Found::One(value) => Ok(value),
        Found::Many(values) if takes_any => {
            let mut there = values.into_iter().filter(|value| !value.is_missing());
            Ok(there.next().unwrap_or(Raw::ABSENT))
        }
        Found::Many(_) => Err(Reject::invalid_value("[*] leads to several values")),
    }
}

/// A time into a column of times, its day into one of days.
fn append_moment(
    moment: Moment<'_>,
    column_type: &ColumnType,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    match column_type {
        ColumnType::LowCardinality(inner) => append_moment(moment, inner, out),
        ColumnType::Nullable(inner) => {
            out.push(0);
            append_moment(moment, inner, out)
        }
        ColumnType::Date | ColumnType::Date32 => {
            column_type.encode_epoch_days(moment.epoch_days(), out)
        }
        times => times.encode_instant(moment.instant, out),
    }
}
