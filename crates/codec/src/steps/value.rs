//! A value on its way through steps.

use std::fmt::Write as _;
use std::ops::Range;

use super::moment::{Moment, write_moment};
use super::number::write_decimal;
use super::text::TooLong;
use crate::decode::decimal::{self, Decimal};
use crate::decode::json::{Kind, Raw};
use crate::decode::time::{Instant, NumberUnit, TimeRules, instant_by};
use crate::decode::{Reject, text};

/// Room for the texts that steps write; one for each lane, kept from record to record.
#[derive(Debug, Default)]
pub struct Scratch {
    text: String,
    spare: String,
}

/// Room that is kept from record to record.
const KEPT_BYTES_MAX: usize = 1 << 20;

impl Scratch {
    /// Gives back the room that a large record took.
    pub fn trim(&mut self) {
        for text in [&mut self.text, &mut self.spare] {
            text.clear();
            text.shrink_to(KEPT_BYTES_MAX);
        }
    }

    /// Bytes that it has room for.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.text.capacity() + self.spare.capacity()
    }

    /// Makes the written text anew, from nothing.
    pub(super) fn write<'a>(&mut self, write: impl FnOnce(&mut String)) -> Text<'a> {
        self.text.clear();
        write(&mut self.text);
        Text::Written
    }

    /// Makes the written text of another one, which may be the written one.
    pub(super) fn rewrite<'a>(
        &mut self,
        text: Text<'a>,
        write: impl FnOnce(&str, &mut String) -> Result<(), TooLong>,
    ) -> Result<Text<'a>, TooLong> {
        self.spare.clear();
        let from = match text {
            Text::Plain(text) => text,
            Text::Written | Text::Missing => &self.text,
        };
        write(from, &mut self.spare)?;
        std::mem::swap(&mut self.text, &mut self.spare);
        Ok(Text::Written)
    }

    /// Keeps a part of a text; none: the value is missing.
    pub(super) fn narrow<'a>(
        &mut self,
        text: Text<'a>,
        part: impl FnOnce(&str) -> Option<Range<usize>>,
    ) -> Text<'a> {
        match text {
            Text::Missing => Text::Missing,
            Text::Plain(text) => part(text).map_or(Text::Missing, |part| Text::Plain(&text[part])),
            Text::Written => match part(&self.text) {
                None => Text::Missing,
                Some(part) => {
                    self.text.truncate(part.end);
                    self.text.drain(..part.start);
                    Text::Written
                }
            },
        }
    }
}

/// A text on its way through steps: small, because it is handed on from step to step.
#[derive(Debug, Clone, Copy)]
pub(super) enum Text<'a> {
    /// The column's default takes its place.
    Missing,
    /// Of the record or of the configuration.
    Plain(&'a str),
    /// The one in the scratch.
    Written,
}

impl<'a> Text<'a> {
    /// The text of a field.
    ///
    /// # Errors
    /// `invalid_value` for objects, arrays, and strings with a lone surrogate.
    pub(super) fn of(raw: Raw<'a>, scratch: &mut Scratch) -> Result<Text<'a>, Reject> {
        if raw.is_missing() {
            return Ok(Text::Missing);
        }
        if !raw.is_escaped() {
            return text::plain(raw).map(Text::Plain);
        }
        let unescaped = text::to_text(raw)?;
        Ok(scratch.write(|out| out.push_str(&unescaped)))
    }

    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Text::Missing)
    }

    /// Its characters; none where it is missing.
    pub(super) fn as_str<'s>(&self, scratch: &'s Scratch) -> &'s str
    where
        'a: 's,
    {
        match self {
            Text::Missing => "",
            Text::Plain(text) => text,
            Text::Written => &scratch.text,
        }
    }
}

impl<'a> From<Text<'a>> for Value<'a> {
    fn from(text: Text<'a>) -> Self {
        match text {
            Text::Missing => Value::Missing,
            Text::Plain(text) => Value::Text(text),
            Text::Written => Value::Written,
        }
    }
}

/// A value on its way through steps.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    /// The column's default takes its place.
    Missing,
    /// As the record has it.
    Field(Raw<'a>),
    /// A text of the record or of the configuration.
    Text(&'a str),
    /// The text in the scratch.
    Written,
    Number(Decimal),
    Integer(i64),
    Boolean(bool),
    Time(Moment<'a>),
}

impl<'a> Value<'a> {
    pub(super) fn is_missing(&self) -> bool {
        match self {
            Value::Missing => true,
            Value::Field(raw) => raw.is_missing(),
            _ => false,
        }
    }

    /// The value as a text.
    ///
    /// # Errors
    /// `invalid_value` for objects, arrays, and strings with a lone surrogate.
    pub(super) fn to_text(self, scratch: &mut Scratch) -> Result<Text<'a>, Reject> {
        Ok(match self {
            Value::Missing => Text::Missing,
            Value::Field(raw) => Text::of(raw, scratch)?,
            Value::Text(text) => Text::Plain(text),
            Value::Written => Text::Written,
            Value::Boolean(true) => Text::Plain("true"),
            Value::Boolean(false) => Text::Plain("false"),
            Value::Integer(integer) => scratch.write(|out| {
                let _ = write!(out, "{integer}");
            }),
            Value::Number(number) => scratch.write(|out| write_decimal(number, out)),
            Value::Time(moment) => scratch.write(|out| write_moment(moment, out)),
        })
    }

    /// The number, or that of a text that is one.
    ///
    /// # Errors
    /// `invalid_value` and `out_of_range`, as for columns of decimals.
    pub(super) fn to_number(self, scratch: &Scratch) -> Result<Decimal, Reject> {
        match self {
            Value::Number(number) => Ok(number),
            Value::Integer(integer) => {
                Ok(Decimal::new(integer.into(), 0).expect("64 bits have at most 19 digits"))
            }
            Value::Field(raw) => decimal::decimal(raw),
            Value::Text(text) => decimal::decimal(Raw::string(text)),
            Value::Written => decimal::decimal(Raw::string(&scratch.text)),
            Value::Boolean(_) | Value::Time(_) | Value::Missing => {
                Err(Reject::invalid_value("not a number"))
            }
        }
    }

    /// The time that the value stands for, numbers in this unit.
    ///
    /// # Errors
    /// As for columns of times.
    pub(super) fn to_instant(
        self,
        unit: NumberUnit,
        times: TimeRules<'_>,
        scratch: &mut Scratch,
    ) -> Result<Instant, Reject> {
        let read = |raw| {
            let instant = instant_by(raw, unit, times.texts)?;
            // Within what columns of times hold, calendars are sure of themselves.
            instant.ticks(0).map(|_| instant)
        };
        match self {
            Value::Time(moment) => Ok(moment.instant),
            Value::Field(raw) if raw.kind() != Kind::String => read(raw),
            _ => {
                // A text that is a number counts as that number.
                let text = self.to_text(scratch)?;
                read(Raw::bare(text.as_str(scratch)))
            }
        }
    }
}
