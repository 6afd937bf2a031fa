//! What a record says: when, which group, and what each metric takes of it.

use std::sync::Arc;

use ethnum::I256;

use super::plan::{AggregationPlan, Digits, GroupPlan, GroupSource, MetricPlan};
use crate::config::{Function, RecordField};
use crate::decode::decimal::{Decimal, decimal, power_of_ten};
use crate::decode::json::{Fields, Kind, Raw, Scanner};
use crate::decode::{Reason, Reject, text};
use crate::halt::Halt;
use crate::lane::{NotAccepted, Refusal};
use crate::operator::DedupKey;
use crate::operator::window::{Event, Place, Sample};
use crate::pipeline::event_time::{event_time_ms, kafka_time_ms};
use crate::pipeline::quality::{Fate, Judged};
use crate::rules::Moments;
use crate::sink::Stage;
use crate::source::Record;
use crate::table::{ColumnType, append_length};

/// Whether a record counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    Counts,
    /// It does not pass `where`.
    Filtered,
    /// A rule drops it.
    Dropped,
}

/// Reads one record at a time into buffers of its own.
pub(super) struct Reader {
    plan: Arc<AggregationPlan>,
    scanner: Scanner,
    place: Place,
    group: Vec<u8>,
    samples: Vec<Sample>,
    /// What the samples that are texts point to.
    texts: Vec<u8>,
    scratch: Vec<u8>,
    /// What the rules say.
    judged: Judged,
    /// What the record is known by again.
    dedup_key: Option<DedupKey>,
    names_logged: usize,
}

impl Reader {
    pub(super) fn new(plan: Arc<AggregationPlan>) -> Self {
        Reader {
            scanner: Scanner::new(plan.paths.clone()),
            plan,
            place: Place {
                time_ms: 0,
                partition: 0,
                offset: 0,
            },
            group: vec![],
            samples: vec![],
            texts: vec![],
            scratch: vec![],
            judged: Judged::default(),
            dedup_key: None,
            names_logged: 0,
        }
    }

    /// The record that was read last, as the first of its partitions.
    pub(super) fn event(&self) -> Event<'_> {
        Event {
            input: 0,
            place: self.place,
            group: &self.group,
            samples: &self.samples,
            texts: &self.texts,
        }
    }

    pub(super) fn read(
        &mut self,
        record: Record<'_>,
        timestamp_ahead_max_ms: i64,
    ) -> Result<Read, NotAccepted> {
        let fields = self
            .scanner
            .scan(record.value())
            .map_err(at(Stage::Decode))?;
        let plan = &self.plan;
        match fate(plan, &fields, record, &mut self.judged)? {
            Fate::Kept => {}
            Fate::Dropped | Fate::Refused => return Ok(Read::Dropped),
        }
        let time_ms = event_time(plan, &fields, record, timestamp_ahead_max_ms)
            .map_err(at(Stage::Operate))?;
        self.place = Place {
            time_ms,
            partition: record.partition(),
            offset: record.offset(),
        };
        let dedup = plan.dedup.as_ref();
        self.dedup_key = dedup.and_then(|dedup| dedup.key(|slot| fields.get(slot)));
        self.group.clear();
        self.samples.clear();
        self.texts.clear();
        if !plan.checks.iter().all(|check| check.passes(&fields)) {
            return Ok(Read::Filtered);
        }
        for (index, field) in plan.group.iter().enumerate() {
            let value = group_value(field, &fields, record, &mut self.scratch)
                .map_err(at(Stage::Operate))?;
            if value.len() > plan.group_bytes_max {
                let reject = too_large(&field.name, value.len(), plan.group_bytes_max);
                return Err(at(Stage::Operate)(reject).into());
            }
            if plan.key_field == Some(index) && record.key() != Some(value.as_bytes()) {
                return Err(NotAccepted::Halted(other_key(plan, index, value, record)));
            }
            append_length(value.len(), &mut self.group);
            self.group.extend_from_slice(value.as_bytes());
        }
        for metric in &plan.metrics {
            let sample = sample(metric, &fields, &mut self.texts, &mut self.scratch)
                .map_err(|reject| at(Stage::Operate)(reject.about(&metric.name)))?;
            self.samples.push(sample);
        }
        Ok(Read::Counts)
    }

    /// What the record that was read last is known by again; none: it has no key.
    pub(super) fn dedup_key(&self) -> Option<DedupKey> {
        self.dedup_key
    }

    /// What the rules said since the last call.
    pub(super) fn judged(&mut self) -> &mut Judged {
        &mut self.judged
    }

    /// The rules that dropped the last record.
    pub(super) fn why_dropped(&self) -> Option<String> {
        let deciding = self.plan.asked.as_ref()?.deciding(&self.judged);
        (!deciding.is_empty()).then_some(deciding)
    }

    pub(super) fn clear(&mut self) {
        let names = self.scanner.unknown_names();
        if names.len() == self.names_logged {
            return;
        }
        let new: Vec<&str> = names.skip(self.names_logged).collect();
        tracing::info!(
            fields = new.join(", "),
            "fields of events that nothing reads"
        );
        self.names_logged += new.len();
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.texts.capacity() + self.group.capacity() + self.scratch.capacity()
    }
}

/// What the rules make of a record; a dead letter is an error.
fn fate(
    plan: &AggregationPlan,
    fields: &Fields<'_, '_>,
    record: Record<'_>,
    judged: &mut Judged,
) -> Result<Fate, Refusal> {
    let Some(rules) = &plan.asked else {
        return Ok(Fate::Kept);
    };
    let moments = Moments {
        now_ms: record.timestamp_ms(),
        unit: plan.time_unit,
        texts: plan.text_times.as_deref(),
    };
    match rules.judge(&|slot| fields.get(slot), moments, judged) {
        Fate::Refused => {
            let reject = Reject::new(Reason::RuleFailed, rules.deciding(judged));
            Err(at(Stage::Operate)(reject))
        }
        fate => Ok(fate),
    }
}

/// The text of a field of the group.
fn group_value<'v>(
    field: &'v GroupPlan,
    fields: &Fields<'_, 'v>,
    record: Record<'v>,
    scratch: &'v mut Vec<u8>,
) -> Result<&'v str, Reject> {
    let value = match &field.source {
        GroupSource::Slot(slot) => match fields.get(*slot) {
            raw if raw.is_missing() => None,
            raw => Some(text::text(raw, scratch).map_err(|reject| reject.about(&field.name))?),
        },
        GroupSource::Record(RecordField::Topic) => Some(record.topic()),
        GroupSource::Record(from) => {
            let bytes = match from {
                RecordField::Header(name) => record.header(name),
                _ => record.key(),
            };
            let text = bytes.map(str::from_utf8).transpose();
            text.map_err(|_| Reject::invalid_value("not UTF-8").about(&field.name))?
        }
    };
    value
        .or(field.default.as_deref())
        .ok_or_else(|| Reject::new(Reason::MissingField, format!("group.{}", field.name)))
}

fn at(stage: Stage) -> impl Fn(Reject) -> Refusal {
    move |reject| Refusal { stage, reject }
}

/// Times well within every column's range.
const PLAIN_TIMES_MS: std::ops::Range<i64> = 31_536_000_000..4_102_444_800_000;

fn event_time(
    plan: &AggregationPlan,
    fields: &Fields<'_, '_>,
    record: Record<'_>,
    timestamp_ahead_max_ms: i64,
) -> Result<i64, Reject> {
    let time_ms = match plan.time {
        None => kafka_time_ms(record)?,
        Some(slot) => event_time_ms(
            fields.get(slot),
            &plan.time_field,
            plan.time_rules(),
            record,
            timestamp_ahead_max_ms,
        )?,
    };
    if !PLAIN_TIMES_MS.contains(&time_ms) {
        windows_fit(plan, time_ms)?;
    }
    Ok(time_ms)
}

/// At the ends of time a window may begin or end where its column does not reach.
#[cold]
fn windows_fit(plan: &AggregationPlan, time_ms: i64) -> Result<(), Reject> {
    let size_ms = plan.rules.reach_ms();
    let widest = ColumnType::DateTime64 {
        precision: 3,
        time_zone: None,
    };
    let columns = plan.columns.iter().filter(|(source, _)| source.is_bound());
    for column in columns.map(|(_, column)| column).chain([&widest]) {
        for bound_ms in [
            time_ms.saturating_sub(size_ms),
            time_ms.saturating_add(size_ms),
        ] {
            column.encode_time_ms(bound_ms, &mut vec![])?;
        }
    }
    Ok(())
}

/// It would be in a row's message twice, and brokers refuse messages above 1 MB.
#[cold]
fn too_large(name: &str, bytes: usize, bytes_max: usize) -> Reject {
    let detail =
        format!("group.{name}: {bytes} bytes are more than pipeline.group_bytes_max, {bytes_max}");
    Reject::new(Reason::TooLarge, detail)
}

#[cold]
fn other_key(plan: &AggregationPlan, index: usize, value: &str, record: Record<'_>) -> Halt {
    let name = &plan.group[index].name;
    let key = record.key().map_or("no key".to_owned(), |key| {
        format!("the key {:?}", String::from_utf8_lossy(key))
    });
    let advice = format!(
        "the record has {key} and the field {name} is {value:?}: pipeline.partitioned_by = {name:?} \
         needs the topic's key to be that field, so that a group lies in one partition; remove \
         partitioned_by (one lane then reads the whole topic), or have the producers set the key"
    );
    Halt::new("partitioned_by", advice)
}

fn sample(
    metric: &MetricPlan,
    fields: &Fields<'_, '_>,
    texts: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
) -> Result<Sample, Reject> {
    if !metric.checks.iter().all(|check| check.passes(fields)) {
        return Ok(Sample::None);
    }
    match metric.function {
        Function::Count => Ok(Sample::One),
        Function::CountDistinct => {
            let raw = fields.get(metric.inputs[0].0);
            if raw.is_missing() {
                return Ok(Sample::None);
            }
            let value = text::text(raw, scratch)?;
            Ok(match plain_integer(value.as_bytes()) {
                Some(integer) => Sample::Integer(integer),
                None => append(value, texts),
            })
        }
        Function::Last => {
            let raw = fields.get(metric.inputs[0].0);
            if raw.is_missing() {
                return Ok(Sample::None);
            }
            let value = text::text(raw, scratch)?;
            if let Some(column) = metric.column.as_ref().filter(|column| !column.is_text()) {
                column.encode_text_default_in(value, metric.time_unit, &mut vec![])?;
            }
            Ok(append(value, texts))
        }
        Function::Sum | Function::Min | Function::Max | Function::Avg { .. } => {
            number(metric, fields).map(Sample::Number)
        }
    }
}

fn append(value: &str, texts: &mut Vec<u8>) -> Sample {
    let start = texts.len();
    texts.extend_from_slice(value.as_bytes());
    Sample::Text {
        start,
        end: texts.len(),
    }
}

/// A number that has no other spelling among texts.
fn plain_integer(text: &[u8]) -> Option<u64> {
    let is_plain = match text {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.len() < 19 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !is_plain {
        return None;
    }
    let digit = |number: u64, digit: &u8| number * 10 + u64::from(digit - b'0');
    Some(text.iter().fold(0, digit))
}

/// In units of the last digit that the metric keeps.
fn number(metric: &MetricPlan, fields: &Fields<'_, '_>) -> Result<i128, Reject> {
    let [(slot, path)] = &metric.inputs[..] else {
        return product(metric, fields);
    };
    let raw = there(fields.get(*slot), path)?;
    if let Some(number) = short_number(raw, metric.digits) {
        return Ok(number);
    }
    exact(metric, decimal(raw)?)
}

fn exact(metric: &MetricPlan, number: Decimal) -> Result<i128, Reject> {
    let (precision, scale) = (metric.precision(), metric.digits.scale);
    fitting(metric, number.unscaled(precision, scale)?.as_i128())
}

/// Not every number of 19 digits has 64 bits.
fn fitting(metric: &MetricPlan, number: i128) -> Result<i128, Reject> {
    if metric.is_int64() && i64::try_from(number).is_err() {
        return Err(Reject::out_of_range("Int64"));
    }
    Ok(number)
}

/// Of plain tokens such as `12` and `12.50`, which is what nearly all are.
fn short_number(raw: Raw<'_>, digits: Digits) -> Option<i128> {
    const DIGITS_MAX: usize = 17;
    if raw.kind() != Kind::Number || raw.as_received().len() > DIGITS_MAX {
        return None;
    }
    let (is_negative, unsigned) = match raw.as_received().as_bytes() {
        [b'-', unsigned @ ..] => (true, unsigned),
        unsigned => (false, unsigned),
    };
    let (mut number, mut behind_point) = (0i64, None);
    for byte in unsigned {
        match byte {
            b'0'..=b'9' => {
                number = number * 10 + i64::from(byte - b'0');
                behind_point = behind_point.map(|count: u8| count + 1);
            }
            b'.' => behind_point = Some(0),
            _ => return None,
        }
    }
    let shift = digits.scale.checked_sub(behind_point.unwrap_or(0))?;
    // Wide columns alone: the others are checked digit by digit.
    if usize::from(digits.precision) < DIGITS_MAX + usize::from(shift) {
        return None;
    }
    let number = i128::from(number) * 10i128.pow(u32::from(shift));
    Some(if is_negative { -number } else { number })
}

#[cold]
fn missing(path: &str) -> Reject {
    Reject::new(Reason::MissingField, path.to_owned())
}

fn there<'a>(raw: Raw<'a>, path: &str) -> Result<Raw<'a>, Reject> {
    if raw.is_missing() {
        return Err(missing(path));
    }
    Ok(raw)
}

/// Exact, as long as no factor and no step has more than 76 digits.
fn product(metric: &MetricPlan, fields: &Fields<'_, '_>) -> Result<i128, Reject> {
    let too_many = || Reject::out_of_range("too many digits for a product");
    let (mut mantissa, mut scale) = (I256::ONE, 0u8);
    for (slot, path) in &metric.inputs {
        let factor = decimal(there(fields.get(*slot), path)?)?;
        mantissa = mantissa
            .checked_mul(factor.mantissa())
            .ok_or_else(too_many)?;
        scale = scale.checked_add(factor.scale()).ok_or_else(too_many)?;
    }
    let ten = I256::new(10);
    while scale > metric.digits.scale && mantissa % ten == I256::ZERO {
        mantissa /= ten;
        scale -= 1;
    }
    let shift = metric
        .digits
        .scale
        .checked_sub(scale)
        .ok_or_else(too_many)?;
    let unit = power_of_ten(shift).ok_or_else(too_many)?;
    let number = mantissa.checked_mul(unit).ok_or_else(too_many)?;
    let precision = metric.precision();
    let bound = power_of_ten(precision).ok_or_else(too_many)?;
    if number >= bound || number <= -bound {
        let scale = metric.digits.scale;
        let detail = format!("too many digits for Decimal({precision}, {scale})");
        return Err(Reject::out_of_range(detail));
    }
    fitting(metric, number.as_i128())
}

#[cfg(test)]
mod tests;
