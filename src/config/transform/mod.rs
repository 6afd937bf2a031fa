//! What is done to a column's value, and what it is made of: `apply`, `product`, `sum`, `concat`,
//! `coalesce`, `hash`, `mask`.

mod map_file;
mod mask;
mod steps;

use super::columns::COLUMN_PATH;
use super::section::Section;
use super::value::{Choice, List, Text};
use crate::decode::{Path, Step as PathStep};
use crate::steps::{Compute, Making, OnError};

pub(super) use mask::read_key;

/// Most fields that one value is made of.
const FIELDS_MAX: usize = 32;

/// How a column's value is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transform {
    /// The paths of the fields, at least one.
    pub fields: Vec<String>,
    /// What is made of them.
    pub making: Making,
}

/// The keys that make a value of several fields.
const COMPUTED: [&str; 5] = ["product", "sum", "concat", "coalesce", "hash"];

const FIELDS: List<Text> = List {
    of: COLUMN_PATH,
    may_be_empty: false,
};

const SEPARATOR: Text = Text {
    allowed: "a text of at most 1,024 bytes",
    check: |text| text.len() <= 1024,
};

/// Reads the keys of an entry of `[pipeline.columns]`; none where the field is taken as it is. `path`: what
/// the entry has of it.
pub(super) fn read(entry: &mut Section<'_>, column: &str, path: Option<&str>) -> Option<Transform> {
    let on_errors = Choice(&[
        ("dead_letter", OnError::DeadLetter),
        ("default", OnError::Default),
    ]);
    let computed = read_computed(entry);
    let steps = steps::read(entry);
    let mask = mask::read(entry);
    let on_error = entry.take("on_error", on_errors);
    let has_transform = computed.is_some() || !steps.is_empty() || mask.is_some();
    if on_error.is_some() && !has_transform {
        let message = "needs apply, mask, or a value that is computed: a plain field that does not fit its \
                       column makes a dead letter";
        entry.problem("on_error", message);
    }
    if !has_transform {
        return None;
    }
    if computed.is_some() && path.is_some() {
        entry.problem(
            "path",
            "cannot be set together with a value that is computed: keep one of them",
        );
    }
    let (compute, fields) = computed.unwrap_or_else(|| {
        let own = || Path::field(column).to_string();
        (Compute::Field, vec![path.map_or_else(own, str::to_owned)])
    });
    check_fields(entry, compute.name(), &fields);
    Some(Transform {
        fields,
        making: Making {
            compute,
            steps,
            mask,
            on_error: on_error.unwrap_or_default(),
        },
    })
}

/// What a value is computed of, and how; none where it is one field.
fn read_computed(entry: &mut Section<'_>) -> Option<(Compute, Vec<String>)> {
    let written: Vec<&str> = COMPUTED.into_iter().filter(|key| entry.has(key)).collect();
    if let [first, second, ..] = written[..] {
        let message = format!("cannot be set together with {first}: keep one of them");
        entry.problem(second, message);
    }
    let mut fields = COMPUTED.map(|key| entry.take(key, FIELDS)).into_iter();
    let mut next = || fields.next().flatten();
    let separator = entry.take("separator", SEPARATOR);
    if separator.is_some() && !written.contains(&"concat") {
        entry.problem("separator", "needs concat: it stands between its texts");
    }
    let concat = Compute::Concat {
        separator: separator.unwrap_or_default().into(),
    };
    let computes = [
        Compute::Product,
        Compute::Sum,
        concat,
        Compute::Coalesce,
        Compute::Hash,
    ];
    let found = computes.map(|compute| next().map(|fields| (compute, fields)));
    found.into_iter().flatten().next()
}

fn check_fields(entry: &Section<'_>, key: &str, fields: &[String]) {
    if fields.len() > FIELDS_MAX {
        let message = format!(
            "must have at most {FIELDS_MAX} fields, has {}",
            fields.len()
        );
        entry.problem(key, message);
    }
    for field in fields {
        let steps = Path::parse(field).map(|path| path.steps().to_vec());
        if steps.is_ok_and(|steps| steps.contains(&PathStep::All)) {
            let message = format!("must lead to one value, found {field:?}: [*] leads to several");
            entry.problem(key, message);
        }
    }
}
