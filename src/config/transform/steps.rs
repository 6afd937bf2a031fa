//! `apply`: the steps of a column, one after the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::map_file;
use crate::config::quantity::{Integer, Span};
use crate::config::section::{Section, did_you_mean};
use crate::config::time_unit::{TIME_UNITS, ZONE};
use crate::config::tree::Value;
use crate::config::value::{Choice, Kind, List, Scalar, Text};
use crate::decode::decimal::{Decimal, decimal};
use crate::decode::json::Raw;
use crate::steps::{
    Buckets, BusinessHours, Mapped, NumberStep, Part, Pattern, Sought, Step, TextStep, TimeStep,
    Zone,
};

/// Most steps of one column.
const STEPS_MAX: usize = 32;
/// Most bounds of a bucket step.
const BOUNDS_MAX: usize = 1000;
const DAY_SECONDS: u64 = 86_400;

/// Steps that are a name alone.
const NAMES: [&str; 7] = [
    "abs",
    "lower",
    "normalize_space",
    "title",
    "trim",
    "unicode_nfc",
    "upper",
];

/// Steps that are a table, by the key that names them.
const KEYS: [&str; 11] = [
    "bucket",
    "extract",
    "map",
    "map_file",
    "part",
    "replace",
    "round",
    "scale",
    "split",
    "truncate_time",
    "unit",
];

/// Reads `apply`; empty where it is not there.
pub(super) fn read(entry: &mut Section<'_>) -> Vec<Step> {
    let Some(node) = entry.take_node("apply") else {
        return vec![];
    };
    let Value::List(list) = node.value else {
        let found = node.value;
        let message =
            format!("must be a list of steps, such as [\"trim\", {{ round = 2 }}], found {found}");
        entry.problem("apply", message);
        return vec![];
    };
    if list.is_empty() || list.len() > STEPS_MAX {
        let message = format!("must have 1 to {STEPS_MAX} steps, has {}", list.len());
        entry.problem("apply", message);
    }
    let mut steps = vec![];
    for (place, node) in list.into_iter().enumerate() {
        let key = format!("apply[{place}]");
        match node.value {
            Value::Text(name) => match named(&name) {
                Ok(step) => {
                    entry.record(&key, name);
                    steps.push(step);
                }
                Err(message) => entry.reader.problem(&node.key_path, message),
            },
            Value::Table(table) => steps.extend(read_table(entry.element(&key, table))),
            other => {
                let message =
                    format!("must be the name of a step or a table with one, found {other}");
                entry.reader.problem(&node.key_path, message);
            }
        }
    }
    steps
}

fn named(name: &str) -> Result<Step, String> {
    Ok(match name {
        "abs" => Step::Number(NumberStep::Abs),
        "lower" => Step::Text(TextStep::Lower),
        "normalize_space" => Step::Text(TextStep::NormalizeSpace),
        "title" => Step::Text(TextStep::Title),
        "trim" => Step::Text(TextStep::Trim),
        "unicode_nfc" => Step::Text(TextStep::UnicodeNfc),
        "upper" => Step::Text(TextStep::Upper),
        key if KEYS.contains(&key) => {
            return Err(format!("needs a value: write {{ {key} = … }}"));
        }
        other => return Err(unknown(other)),
    })
}

fn unknown(name: &str) -> String {
    let all = || NAMES.into_iter().chain(KEYS);
    let hint = did_you_mean(name, all());
    let allowed: Vec<&str> = all().collect();
    format!(
        "unknown step {name:?}{hint} (allowed: {})",
        allowed.join(", ")
    )
}

fn read_table(mut step: Section<'_>) -> Option<Step> {
    let keys = step.keys();
    let known: Vec<&String> = keys.iter().filter(|key| KEYS.contains(&&***key)).collect();
    let key = match known[..] {
        [key] => key.clone(),
        [] => {
            let message = match keys.iter().find(|key| NAMES.contains(&&***key)) {
                Some(name) => format!("must be written as a name: {name:?}"),
                None => unknown(keys.first().map_or("", |key| key)),
            };
            step.reader.problem(step.key_path(), message);
            return None;
        }
        [first, second, ..] => {
            let message = format!(
                "must have one step, found {first} and {second}: write one table behind the other"
            );
            step.reader.problem(step.key_path(), message);
            return None;
        }
    };
    let read = match &*key {
        "bucket" => bucket(&mut step),
        "extract" => extract(&mut step),
        "map" => map(&mut step),
        "map_file" => map_from_file(&mut step),
        "part" => part(&mut step),
        "replace" => replace(&mut step),
        "round" => round(&mut step),
        "scale" => step
            .take("scale", Number)
            .map(NumberStep::Scale)
            .map(Step::Number),
        "split" => split(&mut step),
        "truncate_time" => truncate(&mut step),
        _ => step
            .take("unit", TIME_UNITS)
            .map(TimeStep::Unit)
            .map(Step::Time),
    };
    step.finish();
    read
}

const ANY_TEXT: Text = Text {
    allowed: "a text",
    check: |_| true,
};

fn replace(step: &mut Section<'_>) -> Option<Step> {
    let texts = List {
        of: ANY_TEXT,
        may_be_empty: false,
    };
    let texts = step.take("replace", texts)?;
    let replaced = match &texts[..] {
        [from, to] => Sought::new(from).map(|from| (from, to)),
        _ => None,
    };
    match replaced {
        Some((from, to)) => Some(Step::Text(TextStep::Replace {
            from,
            to: to.as_str().into(),
        })),
        None => {
            let message = "must be a list of two texts, the first not empty: [\"from\", \"to\"]";
            step.problem("replace", message);
            None
        }
    }
}

fn extract(step: &mut Section<'_>) -> Option<Step> {
    let expression = step.take("extract", ANY_TEXT)?;
    match Pattern::new(&expression) {
        Ok(pattern) => Some(Step::Text(TextStep::Extract(pattern))),
        Err(error) => {
            let error = error.replace('\n', " ");
            step.problem("extract", format!("must be a regular expression: {error}"));
            None
        }
    }
}

fn map(step: &mut Section<'_>) -> Option<Step> {
    let mut table = step.section_if_present("map")?;
    let mut entries = HashMap::new();
    for from in table.keys() {
        let to = table.take(&from, Scalar);
        entries.extend(to.map(|to| (from.into_boxed_str(), to.into_boxed_str())));
    }
    table.finish();
    Some(mapped(step, "map", entries))
}

fn map_from_file(step: &mut Section<'_>) -> Option<Step> {
    let name = step.take("map_file", map_file::NAME)?;
    let path = step.reader.directory.join(name);
    match map_file::read(&path) {
        Ok(entries) => Some(mapped(step, "map_file", entries)),
        Err(why) => {
            let path = path.display();
            step.problem(
                "map_file",
                format!("must name a file of CSV with the header from,to: {path}: {why}"),
            );
            None
        }
    }
}

fn mapped(
    step: &mut Section<'_>,
    name: &'static str,
    entries: HashMap<Box<str>, Box<str>>,
) -> Step {
    let default = step.take("default", Scalar).map(String::into_boxed_str);
    Step::Text(TextStep::Map(Mapped {
        name,
        entries: Arc::new(entries),
        default,
    }))
}

fn split(step: &mut Section<'_>) -> Option<Step> {
    let separator = step.take("split", ANY_TEXT);
    let index = step.take_or("index", Index, 0);
    let separator = separator?;
    if separator.is_empty() {
        step.problem(
            "split",
            "must not be empty: it is what stands between the parts",
        );
        return None;
    }
    Some(Step::Text(TextStep::Split {
        separator: separator.into(),
        index,
    }))
}

/// The number of a part.
struct Index;

impl Kind for Index {
    type Out = i64;

    fn allowed(&self) -> String {
        "an integer, 0 for the first part, -1 for the last".to_owned()
    }

    fn read(&self, value: &Value) -> Option<i64> {
        match value {
            Value::Integer(integer) => i64::try_from(*integer).ok().filter(|i| i.abs() < 1 << 32),
            _ => None,
        }
    }

    fn canonical(&self, out: &i64) -> String {
        out.to_string()
    }
}

fn round(step: &mut Section<'_>) -> Option<Step> {
    let places = Integer {
        min: 0,
        max: 76,
        unit: "digits after the point",
    };
    let places = step.take("round", places)?;
    let places = u8::try_from(places).ok()?;
    Some(Step::Number(NumberStep::Round(places)))
}

/// A number, exact where it is written as a text.
struct Number;

impl Kind for Number {
    type Out = Decimal;

    fn allowed(&self) -> String {
        "a number, as a text where its digits matter: \"0.01\"".to_owned()
    }

    fn read(&self, value: &Value) -> Option<Decimal> {
        Bound.read(value).map(|(number, _)| number)
    }

    fn canonical(&self, out: &Decimal) -> String {
        format!("{}e-{}", out.mantissa(), out.scale())
    }
}

/// A number and the text that it is written as.
struct Bound;

impl Kind for Bound {
    type Out = (Decimal, String);

    fn allowed(&self) -> String {
        Number.allowed()
    }

    fn read(&self, value: &Value) -> Option<(Decimal, String)> {
        let text = Scalar.read(value)?;
        let number = decimal(Raw::bare(&text)).ok()?;
        Some((number, text))
    }

    fn canonical(&self, out: &(Decimal, String)) -> String {
        out.1.clone()
    }
}

fn bucket(step: &mut Section<'_>) -> Option<Step> {
    let bounds = List {
        of: Bound,
        may_be_empty: false,
    };
    let bounds = step.take("bucket", bounds)?;
    let named: Vec<(Decimal, &str)> = bounds.iter().map(|(n, text)| (*n, text.as_str())).collect();
    let buckets = Buckets::new(&named).filter(|_| bounds.len() <= BOUNDS_MAX);
    if buckets.is_none() {
        let message = format!("must be 1 to {BOUNDS_MAX} numbers, each larger than the one before");
        step.problem("bucket", message);
    }
    buckets.map(NumberStep::Bucket).map(Step::Number)
}

fn part(step: &mut Section<'_>) -> Option<Step> {
    const BUSINESS: Part = Part::IsBusinessHours(BusinessHours {
        from: 9,
        before: 17,
    });
    let parts = Choice(&[
        ("hour", Part::Hour),
        ("day_of_week", Part::DayOfWeek),
        ("day_of_month", Part::DayOfMonth),
        ("month", Part::Month),
        ("quarter", Part::Quarter),
        ("is_weekend", Part::IsWeekend),
        ("is_business_hours", BUSINESS),
    ]);
    let part = step.take("part", parts);
    let zone = read_zone(step);
    let hours = match part {
        Some(BUSINESS) => read_hours(step),
        _ => None,
    };
    let part = match (part?, hours) {
        (Part::IsBusinessHours(_), Some(hours)) => Part::IsBusinessHours(hours),
        (part, _) => part,
    };
    Some(Step::Time(TimeStep::Part { part, zone }))
}

fn read_hours(step: &mut Section<'_>) -> Option<BusinessHours> {
    let hours = List {
        of: Integer {
            min: 0,
            max: 24,
            unit: "hours",
        },
        may_be_empty: false,
    };
    let hours = step.take("hours", hours)?;
    match hours[..] {
        [from, before] if from < before => Some(BusinessHours {
            from: u8::try_from(from).ok()?,
            before: u8::try_from(before).ok()?,
        }),
        _ => {
            let message = "must be two hours, the first before the second: [9, 17]";
            step.problem("hours", message);
            None
        }
    }
}

fn truncate(step: &mut Section<'_>) -> Option<Step> {
    let span = step.take("truncate_time", Span::secs(1, 366 * DAY_SECONDS));
    let zone = read_zone(step);
    let span: Duration = span?;
    let seconds = span.as_secs();
    let is_whole = span.subsec_nanos() == 0;
    if !is_whole || !(DAY_SECONDS.is_multiple_of(seconds) || seconds.is_multiple_of(DAY_SECONDS)) {
        let message =
            "must be a part of a day, such as \"15m\" or \"6h\", or whole days, such as \"7d\"";
        step.problem("truncate_time", message);
        return None;
    }
    Some(Step::Time(TimeStep::Truncate {
        span_seconds: i64::try_from(seconds).ok()?,
        zone,
    }))
}

fn read_zone(step: &mut Section<'_>) -> Zone {
    let zone = step.take("zone", ZONE);
    zone.and_then(|name| Zone::named(&name))
        .unwrap_or_else(Zone::utc)
}
