//! `[pipeline.metrics]`: what is computed of the records of a window.

use super::condition::{self, Condition};
use super::{check_name, in_file_order};
use crate::config::columns::PATH;
use crate::config::quantity::Integer;
use crate::config::section::Section;
use crate::config::value::{Choice, List};

/// One entry of `[pipeline.metrics]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// The column.
    pub name: String,
    /// What is computed.
    pub function: Function,
    /// Of what; none for `count`.
    pub input: Option<Input>,
    /// Only records of which all of these hold take part; empty: every record.
    pub conditions: Vec<Condition>,
}

/// What is computed of the records of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// How many there are.
    Count,
    /// The exact sum.
    Sum,
    /// The smallest number.
    Min,
    /// The largest number.
    Max,
    /// The exact sum over the count, rounded half to even.
    Avg {
        /// Digits after the point, 0 to 18.
        places: u8,
    },
    /// How many different values there are, compared by their text; exact.
    CountDistinct,
    /// The value of the record with the largest event time, then the highest partition, then offset.
    Last,
}

/// What a function reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The value at a path.
    Path(String),
    /// The product of the numbers at these paths.
    Product(Vec<String>),
}

#[derive(Clone, Copy, PartialEq)]
enum Name {
    Count,
    Sum,
    Min,
    Max,
    Avg,
    CountDistinct,
    Last,
}

/// Factors of a product.
const FACTORS_MAX: usize = 8;

pub(super) fn read(mut section: Section<'_>) -> Vec<Metric> {
    let mut metrics = vec![];
    for name in in_file_order(&section) {
        check_name(&section, &name);
        let Some(entry) = section.section_if_present(&name) else {
            continue;
        };
        metrics.push(read_metric(entry, name));
    }
    if metrics.is_empty() {
        let message = "must have at least one entry, such as \
                       total = { function = \"sum\", path = \"$.amount\" }";
        section.reader.problem(section.key_path(), message);
    }
    section.finish();
    metrics
}

fn read_metric(mut entry: Section<'_>, name: String) -> Metric {
    let functions = Choice(&[
        ("count", Name::Count),
        ("sum", Name::Sum),
        ("min", Name::Min),
        ("max", Name::Max),
        ("avg", Name::Avg),
        ("count_distinct", Name::CountDistinct),
        ("last", Name::Last),
    ]);
    if !entry.has("function") {
        entry.problem("function", "is required: what is computed");
    }
    let function = match entry.take("function", functions).unwrap_or(Name::Count) {
        Name::Count => Function::Count,
        Name::Sum => Function::Sum,
        Name::Min => Function::Min,
        Name::Max => Function::Max,
        Name::Avg => Function::Avg {
            places: read_places(&mut entry),
        },
        Name::CountDistinct => Function::CountDistinct,
        Name::Last => Function::Last,
    };
    let metric = Metric {
        name,
        function,
        input: read_input(&mut entry, function),
        conditions: condition::read(entry.section("where")),
    };
    entry.finish();
    metric
}

fn read_places(entry: &mut Section<'_>) -> u8 {
    let places = Integer {
        min: 0,
        max: 18,
        unit: "digits after the point",
    };
    u8::try_from(entry.take_or("places", places, 2)).expect("at most 18")
}

fn read_input(entry: &mut Section<'_>, function: Function) -> Option<Input> {
    if function == Function::Count {
        return None;
    }
    let factors = List {
        of: PATH,
        may_be_empty: false,
    };
    let takes_numbers = !matches!(function, Function::CountDistinct | Function::Last);
    let path = entry.take("path", PATH);
    let product = if takes_numbers {
        entry.take("product", factors)
    } else {
        None
    };
    match (path, product) {
        (Some(path), None) => Some(Input::Path(path)),
        (None, Some(factors)) => {
            if factors.len() > FACTORS_MAX {
                entry.problem(
                    "product",
                    format!("must have at most {FACTORS_MAX} factors"),
                );
            }
            Some(Input::Product(factors))
        }
        (Some(_), Some(_)) => {
            entry.problem("product", "stands in place of path: keep one of them");
            None
        }
        (None, None) => {
            if !entry.was_written("path") && !entry.was_written("product") {
                let message = "is required: where the value is, such as \"$.amount\"";
                entry.problem("path", message);
            }
            None
        }
    }
}
