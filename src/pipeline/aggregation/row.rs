//! One row of a window: its bytes for the table, its message for the topic.

use std::fmt::Write as _;
use std::sync::Arc;

use ethnum::I256;

use super::plan::{AggregationPlan, MetricPlan, Source, bare};
use crate::clock::wall_ms;
use crate::config::Function;
use crate::decode::Reject;
use crate::decode::decimal::{decimal, power_of_ten};
use crate::decode::json::Raw;
use crate::decode::time::TimeUnit;
use crate::operator::window::{Cell, Row};
use crate::sink::OutputMessage;
use crate::table::ColumnType;

/// Makes rows one after the other.
pub(super) struct RowMaker {
    plan: Arc<AggregationPlan>,
    encoded: Vec<u8>,
    /// The metrics of the row made last.
    values: Vec<Value>,
}

/// What a metric has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    /// No record had anything for it.
    None,
    Integer(u64),
    /// The text of an exact number.
    Decimal(String),
    Text(String),
}

impl RowMaker {
    pub(super) fn new(plan: Arc<AggregationPlan>) -> Self {
        RowMaker {
            plan,
            encoded: vec![],
            values: vec![],
        }
    }

    /// The bytes of the row made last.
    pub(super) fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// Encodes a row.
    ///
    /// # Errors
    /// A column cannot hold its value: which window, group and column.
    pub(super) fn make(&mut self, row: &Row<'_>) -> Result<(), String> {
        self.encoded.clear();
        self.values.clear();
        let cells = row.group.cells.iter().zip(&self.plan.metrics);
        self.values
            .extend(cells.map(|(cell, metric)| value(cell, metric)));
        let mut groups = texts(&row.group.key);
        let groups: Vec<&str> = self
            .plan
            .group
            .iter()
            .filter_map(|_| groups.next())
            .collect();
        for (index, (source, column)) in self.plan.columns.iter().enumerate() {
            let out = &mut self.encoded;
            let integer = |number: u64| i128::from(number);
            let encoded = match source {
                Source::Start => column.encode_time_ms(row.start_ms, out),
                Source::End => column.encode_time_ms(row.end_ms, out),
                Source::Group(index) => column.encode_text(groups[*index], out),
                Source::Metric(index) => {
                    let unit = self.plan.metrics[*index].time_unit;
                    self.values[*index].encode(column, unit, out)
                }
                Source::Revision => column.encode_integer(integer(row.group.revision), out),
                Source::LateCount => column.encode_integer(integer(row.group.late_count), out),
                Source::Version => column.encode_integer(integer(row.version), out),
                Source::ProcessedAt => column.encode_time_ms(wall_ms(), out),
                Source::IsFinal => {
                    out.push(row.is_final.into());
                    Ok(())
                }
                Source::Deleted => {
                    out.push(row.is_deleted.into());
                    Ok(())
                }
            };
            encoded.map_err(|reject| {
                let name = self.plan.column_name(index);
                format!(
                    "the row of the window {} to {}, group {}, does not fit the column {name} {column}: \
                     {}",
                    time_text(row.start_ms),
                    time_text(row.end_ms),
                    self.group_text(&groups),
                    reject.detail
                )
            })?;
        }
        Ok(())
    }

    /// For people.
    fn group_text(&self, values: &[&str]) -> String {
        let fields = self.plan.group.iter().zip(values);
        let fields = fields.map(|(field, value)| format!("{} {}", field.name, shortened(value)));
        fields.collect::<Vec<_>>().join(", ")
    }

    /// The row made last, for a compacted topic.
    pub(super) fn message(&self, row: &Row<'_>) -> OutputMessage {
        let mut key = format!("{{\"window_start\":\"{}\"", time_text(row.start_ms));
        for (field, text) in self.plan.group.iter().zip(texts(&row.group.key)) {
            member(&mut key, &field.name, &json_text(text));
        }
        let mut value = key.clone();
        key.push('}');
        if row.is_deleted {
            return OutputMessage {
                key: key.into_bytes(),
                value: None,
            };
        }
        member(&mut value, "window_end", &json_text(&time_text(row.end_ms)));
        for (metric, made) in self.plan.metrics.iter().zip(&self.values) {
            member(&mut value, &metric.name, &made.json());
        }
        for (name, number) in [
            ("revision", row.group.revision),
            ("is_final", row.is_final.into()),
            ("late_count", row.group.late_count),
            ("version", row.version),
        ] {
            member(&mut value, name, &number.to_string());
        }
        member(
            &mut value,
            "processed_at",
            &json_text(&time_text(wall_ms())),
        );
        value.push('}');
        OutputMessage {
            key: key.into_bytes(),
            value: Some(value.into_bytes()),
        }
    }
}

/// A value of a group in quotes, its beginning where it is long.
pub(super) fn shortened(value: &str) -> String {
    const CHARACTERS_MAX: usize = 100;
    match value.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{:?}…", &value[..end]),
        None => format!("{value:?}"),
    }
}

fn member(object: &mut String, name: &str, value: &str) {
    object.push(',');
    object.push_str(&json_text(name));
    object.push(':');
    object.push_str(value);
}

fn json_text(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}

/// `YYYY-MM-DD hh:mm:ss.mmm`, UTC, as ClickHouse reads and writes it.
pub(super) fn time_text(epoch_ms: i64) -> String {
    let Ok(time) = jiff::Timestamp::from_millisecond(epoch_ms) else {
        return epoch_ms.to_string();
    };
    time.to_zoned(jiff::tz::TimeZone::UTC)
        .strftime("%Y-%m-%d %H:%M:%S%.3f")
        .to_string()
}

/// The texts of a group, which stand behind their lengths.
fn texts(key: &[u8]) -> impl Iterator<Item = &str> {
    let mut rest = key;
    std::iter::from_fn(move || {
        let (mut length, mut shift) = (0usize, 0);
        loop {
            let (&byte, after) = rest.split_first()?;
            rest = after;
            length |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
            shift += 7;
        }
        let (text, after) = rest.split_at(length);
        rest = after;
        Some(str::from_utf8(text).expect("groups are made of texts"))
    })
}

fn value(cell: &Cell, metric: &MetricPlan) -> Value {
    let scale = metric.digits.scale;
    match (cell, metric.function) {
        (Cell::Count(count), _) => Value::Integer(*count),
        (Cell::Distinct(distinct), _) => Value::Integer(distinct.len()),
        (Cell::Sum { count: 0, .. }, Function::Avg { .. }) | (Cell::Extreme(None), _) => {
            Value::None
        }
        (Cell::Sum { sum, count }, Function::Avg { places }) => {
            Value::Decimal(decimal_text(average(*sum, *count, scale, places), places))
        }
        (Cell::Sum { sum, .. }, _) => Value::Decimal(decimal_text(*sum, scale)),
        (Cell::Extreme(Some(number)), _) => Value::Decimal(decimal_text((*number).into(), scale)),
        (Cell::Last(None), _) => Value::None,
        (Cell::Last(Some(last)), _) => {
            Value::Text(String::from_utf8(last.1.to_vec()).expect("it was a text"))
        }
    }
}

/// `sum / 10^scale / count`, rounded half to even to `places` digits: in units of the last of them.
fn average(sum: I256, count: u64, scale: u8, places: u8) -> I256 {
    let power = |exponent| power_of_ten(exponent).expect("places and scales are small");
    // A sum of less than 2^64 numbers of 38 digits, and at most 18 places: no step has more than 76.
    let dividend = sum * power(places);
    let divisor = I256::from(count) * power(scale);
    let (quotient, rest) = (dividend / divisor, dividend % divisor);
    let twice = rest.abs() * I256::new(2);
    let is_odd = quotient % I256::new(2) != I256::ZERO;
    if twice > divisor || twice == divisor && is_odd {
        quotient + I256::new(if dividend < I256::ZERO { -1 } else { 1 })
    } else {
        quotient
    }
}

/// Without zeros at the end of the fraction.
fn decimal_text(unscaled: I256, scale: u8) -> String {
    let digits = unscaled.abs().to_string();
    let scale = usize::from(scale);
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    let fraction = fraction.trim_end_matches('0');
    let sign = if unscaled < I256::ZERO { "-" } else { "" };
    let mut text = format!("{sign}{whole}");
    if !fraction.is_empty() {
        write!(text, ".{fraction}").expect("writing to a string succeeds");
    }
    text
}

impl Value {
    fn encode(
        &self,
        column: &ColumnType,
        unit: Option<TimeUnit>,
        out: &mut Vec<u8>,
    ) -> Result<(), Reject> {
        match self {
            Value::None => column.encode_null_or_zero(out),
            Value::Integer(number) => column.encode_integer(i128::from(*number), out)?,
            Value::Decimal(text) if matches!(bare(column), ColumnType::Decimal { .. }) => {
                column.encode_decimal(decimal(Raw::string(text))?, out)?;
            }
            Value::Decimal(text) => column.encode_text_default(text, out)?,
            Value::Text(text) => column.encode_text_default_in(text, unit, out)?,
        }
        Ok(())
    }

    fn json(&self) -> String {
        match self {
            Value::None => "null".to_owned(),
            Value::Integer(number) => number.to_string(),
            Value::Decimal(text) | Value::Text(text) => json_text(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn averaged(sum: i128, count: u64, scale: u8, places: u8) -> String {
        decimal_text(average(sum.into(), count, scale, places), places)
    }

    #[test]
    fn averages_are_rounded_half_to_even() {
        assert_eq!(averaged(25, 2, 2, 2), "0.12");
        assert_eq!(averaged(75, 2, 2, 2), "0.38");
        assert_eq!(averaged(-25, 2, 2, 2), "-0.12");
        assert_eq!(averaged(-75, 2, 2, 2), "-0.38");
        assert_eq!(averaged(1, 3, 0, 4), "0.3333");
        assert_eq!(averaged(2, 3, 0, 0), "1");
        assert_eq!(
            averaged(i128::MAX / 10, 1, 9, 18),
            "17014118346046923173168730371.588410572"
        );
    }

    #[test]
    fn exact_numbers_have_no_zeros_at_their_end() {
        let text = |unscaled: i128, scale| decimal_text(unscaled.into(), scale);
        assert_eq!(text(300_000_000_000, 9), "300");
        assert_eq!(text(-70_900_000_000, 9), "-70.9");
        assert_eq!(text(1, 9), "0.000000001");
        assert_eq!(text(0, 9), "0");
    }

    #[test]
    fn numbers_that_are_times_are_in_the_declared_unit() {
        let column = ColumnType::parse("DateTime64(3, 'UTC')").expect("a type");
        let encoded = |unit, text: &str| {
            let mut out = vec![];
            let value = Value::Text(text.to_owned());
            value.encode(&column, unit, &mut out).ok().map(|()| out)
        };
        let expected = Some(1_763_719_200_000i64.to_le_bytes().to_vec());
        assert_eq!(encoded(Some(TimeUnit::Seconds), "1763719200"), expected);
        assert_eq!(encoded(None, "1763719200"), None);
        for unit in [None, Some(TimeUnit::Seconds)] {
            assert_eq!(encoded(unit, "2025-11-21T10:00:00Z"), expected);
        }
    }

    #[test]
    fn times_are_written_as_clickhouse_has_them() {
        assert_eq!(time_text(1_763_719_243_982), "2025-11-21 10:00:43.982");
        assert_eq!(time_text(-1), "1969-12-31 23:59:59.999");
    }
}
