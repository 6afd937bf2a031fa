//! One row while it is made: event and record columns, in this order, and what the session
//! columns will be made of.

use super::plan::{EventTime, ExplodePlan, Field, RowPlan, SessionPlan};
use super::{PartitionState, Settings};
use crate::decode::json::{Kind, Raw};
use crate::decode::{Reason, Reject, text, time};
use crate::format::Values;
use crate::operator::{SessionKey, Sessions};
use crate::pipeline::quality::Judged;
use crate::pipeline::record_column::Origin;
use crate::source::Record;
use crate::steps::Scratch;
use crate::table::{ColumnType, read_length};

/// What the session columns of a row depend on besides the sessions and the time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SessionEvent {
    /// `None`: the event belongs to no session.
    pub(super) key: Option<SessionKey>,
    /// What is to be counted once.
    pub(super) distinct: Option<u64>,
}

/// One row while it is made.
pub(super) struct Row<'r, V> {
    pub(super) plan: &'r RowPlan,
    pub(super) values: &'r V,
    pub(super) out: &'r mut Vec<u8>,
    pub(super) starts: &'r mut Vec<usize>,
    pub(super) scratch: &'r mut Vec<u8>,
    pub(super) made: &'r mut Scratch,
}

impl<'r, V: Values> Row<'r, V> {
    #[inline(never)]
    pub(super) fn event_columns(&mut self) -> Result<(), Reject> {
        self.starts.clear();
        for source in &self.plan.event_columns {
            self.starts.push(self.out.len());
            self.values
                .append(source, self.out, self.plan.with_default_flag)?;
        }
        self.event_columns_end(None)
    }

    /// The same where the record makes a row of each element.
    pub(super) fn exploded_columns(
        &mut self,
        explode: &ExplodePlan,
        element: Raw<'r>,
    ) -> Result<(), Reject> {
        self.starts.clear();
        let flag = self.plan.with_default_flag;
        for (source, of_element) in self.plan.event_columns.iter().zip(&explode.of_element) {
            self.starts.push(self.out.len());
            match of_element {
                true => source.encode_value(element, self.out, flag)?,
                false => self.values.append(source, self.out, flag)?,
            }
        }
        self.event_columns_end(Some(element))
    }

    fn event_columns_end(&mut self, element: Option<Raw<'r>>) -> Result<(), Reject> {
        self.starts.push(self.out.len());
        if !self.plan.made_columns.is_empty() {
            self.made_columns(element)?;
        }
        let mut nested = self.plan.nested.iter();
        nested.try_for_each(|group| self.has_equal_lengths(group))
    }

    #[inline(never)]
    fn made_columns(&mut self, element: Option<Raw<'r>>) -> Result<(), Reject> {
        let (values, flag) = (self.values, self.plan.with_default_flag);
        for column in &self.plan.made_columns {
            let get = |slot| values.get(slot);
            column.append(get, element, self.made, self.out, flag)?;
            self.starts.push(self.out.len());
        }
        Ok(())
    }

    /// The server refuses a Nested whose columns have not equally many elements.
    fn has_equal_lengths(&self, group: &[usize]) -> Result<(), Reject> {
        let length = |index: &usize| {
            let flagged = &self.out[self.starts[*index]..self.starts[*index + 1]];
            let value = match self.plan.with_default_flag {
                true => flagged.strip_prefix(&[0])?,
                false => flagged,
            };
            Some((*index, read_length(value)))
        };
        let mut lengths = group.iter().filter_map(length);
        let Some((first, count)) = lengths.next() else {
            return Ok(());
        };
        let name = |index: usize| &self.plan.event_columns[index].column().name;
        match lengths.find(|(_, other)| *other != count) {
            None => Ok(()),
            // As the server would refuse it, and every row of its insert with it.
            Some((other, others)) => {
                let (other, first) = (name(other), name(first));
                let detail = format!(
                    "{other} has {others} elements and {first} has {count}: columns of a Nested have equally many"
                );
                Err(Reject::new(Reason::Rejected, detail))
            }
        }
    }

    /// The event's time, which must be there and not lie too far ahead of the record's own; `None` in a
    /// pipeline without event time.
    pub(super) fn event_time(
        &mut self,
        record: Record<'_>,
        settings: &Settings,
    ) -> Result<Option<i64>, Reject> {
        let time = match &self.plan.time {
            None => return Ok(None),
            Some(EventTime::Field(time)) => time,
            Some(EventTime::KafkaTimestamp) if record.timestamp_ms() < 0 => {
                let detail = "time_field: the record has no Kafka timestamp";
                return Err(Reject::new(Reason::MissingField, detail));
            }
            Some(EventTime::KafkaTimestamp) => return Ok(Some(record.timestamp_ms())),
        };
        let raw = self.raw(time);
        if raw.is_missing() {
            return Err(Reject::new(Reason::MissingField, "time_field"));
        }
        let time_ms = match time {
            Field::Column(index) => match self.encoded_time_ms(*index) {
                Some(time_ms) => time_ms,
                None => time::event_time_ms(raw, self.plan.time_rules())?,
            },
            Field::Slot(_) => time::event_time_ms(raw, self.plan.time_rules())?,
        };
        let written_ms = record.timestamp_ms();
        if written_ms >= 0 && time_ms > written_ms.saturating_add(settings.timestamp_ahead_max_ms) {
            let ahead_ms = time_ms.saturating_sub(written_ms);
            let detail = format!("event time is {ahead_ms} ms after the Kafka timestamp");
            return Err(Reject::new(Reason::TooFarAhead, detail));
        }
        Ok(Some(time_ms))
    }

    /// What the sessions must know of the event to judge it.
    #[inline(never)]
    pub(super) fn session_event(&mut self, sessions: &Sessions) -> Result<SessionEvent, Reject> {
        let Some(plan) = &self.plan.session else {
            return Ok(SessionEvent::default());
        };
        let distinct = match &plan.distinct {
            Some(field) if self.counts_distinct(plan)? => {
                Some(sessions.distinct(self.identity(field)?))
            }
            _ => None,
        };
        let has_key = !self.raw(&plan.key).is_missing();
        let key = sessions.key(self.identity(&plan.key)?);
        Ok(SessionEvent {
            key: has_key.then_some(key),
            distinct,
        })
    }

    /// What Kafka says of the record.
    ///
    /// # Errors
    /// A timestamp outside its column.
    pub(super) fn record_columns(
        &mut self,
        state: &PartitionState,
        record: Record<'_>,
        element: u32,
    ) -> Result<(), Reject> {
        let origin = Origin {
            place: &state.place,
            record,
            element,
        };
        for column in &self.plan.record_columns {
            column.encode(origin, self.out, self.plan.with_default_flag)?;
        }
        Ok(())
    }

    /// What the rules said of the record.
    pub(super) fn quality_columns(&mut self, judged: &Judged) {
        let plan = self.plan;
        plan.quality_columns
            .encode(judged, self.out, plan.with_default_flag);
    }

    /// Leaves the key to look up in `scratch`; false without one.
    ///
    /// # Errors
    /// A number's column has `true` or `false`, which are nobody's number.
    pub(super) fn lookup_key(&mut self) -> Result<bool, Reject> {
        let Some(field) = &self.plan.lookup_key else {
            return Ok(false);
        };
        let raw = self.raw(field);
        if raw.is_missing() {
            return Ok(false);
        }
        self.scratch.clear();
        if let Field::Column(index) = field
            && let Some(number) = self.encoded_integer(*index)
        {
            if matches!(raw.kind(), Kind::True | Kind::False) {
                let name = &self.plan.event_columns[*index].column().name;
                return Err(Reject::invalid_value("not an integer").about(name));
            }
            let mut digits = itoa::Buffer::new();
            // Wide arithmetic costs several times as much, and few keys need it.
            let digits = match u64::try_from(number) {
                Ok(number) => digits.format(number),
                Err(_) => digits.format(number),
            };
            self.scratch.extend_from_slice(digits.as_bytes());
            return Ok(true);
        }
        Ok(text::append_text(raw, self.scratch).is_ok())
    }

    fn counts_distinct(&mut self, plan: &SessionPlan) -> Result<bool, Reject> {
        for (field, expected) in &plan.distinct_where {
            if self.identity(field)? != expected {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Bytes that are equal for equal values: the column's own encoding, or a field's text.
    fn identity(&mut self, field: &Field) -> Result<&[u8], Reject> {
        match field {
            Field::Column(index) => Ok(value_bytes(self.plan, self.starts, self.out, *index)),
            Field::Slot(slot) => {
                let raw = self.values.get(*slot);
                self.scratch.clear();
                if !raw.is_missing() {
                    text::append_text(raw, self.scratch)?;
                }
                Ok(self.scratch)
            }
        }
    }

    fn raw(&self, field: &Field) -> Raw<'r> {
        match field {
            Field::Column(index) => self.values.get(self.plan.event_columns[*index].slot()),
            Field::Slot(slot) => self.values.get(*slot),
        }
    }

    /// The time as the column has it: what its precision drops counts for nothing.
    fn encoded_time_ms(&self, index: usize) -> Option<i64> {
        let value = value_bytes(self.plan, self.starts, self.out, index);
        time_ms_of(&self.plan.event_columns[index].column().column_type, value)
    }

    fn encoded_integer(&self, index: usize) -> Option<i128> {
        let value = value_bytes(self.plan, self.starts, self.out, index);
        let plain = match &self.plan.event_columns[index].column().column_type {
            ColumnType::Nullable(inner) | ColumnType::LowCardinality(inner) => inner,
            plain => plain,
        };
        let is_nullable = self.plan.event_columns[index]
            .column()
            .column_type
            .is_nullable();
        let value = &value[usize::from(is_nullable)..];
        let is_signed = match plain {
            ColumnType::UInt8 | ColumnType::UInt16 | ColumnType::UInt32 | ColumnType::UInt64 => {
                false
            }
            ColumnType::Int8 | ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64 => true,
            _ => return None,
        };
        let is_negative = is_signed && value.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = if is_negative { [0xff; 16] } else { [0; 16] };
        wide[..value.len()].copy_from_slice(value);
        Some(i128::from_le_bytes(wide))
    }
}

/// The time that a column's value stands for, if that is one.
fn time_ms_of(column_type: &ColumnType, value: &[u8]) -> Option<i64> {
    match column_type {
        ColumnType::LowCardinality(inner) => time_ms_of(inner, value),
        ColumnType::Nullable(inner) => time_ms_of(inner, value.get(1..)?),
        ColumnType::DateTime64 { precision, .. } => {
            let ticks = i64::from_le_bytes(value.try_into().ok()?);
            let precision = u32::from(*precision);
            Some(if precision >= 3 {
                ticks.div_euclid(10i64.pow(precision - 3))
            } else {
                ticks * 10i64.pow(3 - precision)
            })
        }
        ColumnType::DateTime { .. } => {
            Some(i64::from(u32::from_le_bytes(value.try_into().ok()?)) * 1000)
        }
        _ => None,
    }
}

/// An event column of the current row, without the flag before it.
fn value_bytes<'o>(plan: &RowPlan, starts: &[usize], out: &'o [u8], index: usize) -> &'o [u8] {
    let flag = usize::from(plan.with_default_flag);
    &out[starts[index] + flag..starts[index + 1]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::time::TimeUnit;

    #[test]
    fn a_column_of_times_has_the_time_whatever_stands_around_its_type() {
        for (type_name, expected) in [
            ("DateTime", Some(86_400_000)),
            ("Nullable(DateTime64(6))", Some(86_400_000)),
            ("LowCardinality(DateTime)", Some(86_400_000)),
            ("LowCardinality(Nullable(DateTime))", Some(86_400_000)),
            ("Array(DateTime)", None),
            ("String", None),
        ] {
            let column = ColumnType::parse(type_name).expect("a type");
            let mut value = vec![];
            let unit = Some(TimeUnit::Seconds);
            let json = if expected.is_some() { "86400" } else { "[]" };
            let encoded = column.encode_text_default_in(json, unit, &mut value);
            encoded.expect("it fits");
            assert_eq!(time_ms_of(&column, &value), expected, "{type_name}");
        }
    }
}
