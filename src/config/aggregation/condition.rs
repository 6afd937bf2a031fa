//! `where`: which records count.

use crate::config::columns::{FIELD, PATH};
use crate::config::section::Section;
use crate::config::tree::{Node, Value};
use crate::config::value::{Kind, Scalar};

/// What one field has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Where the field is.
    pub path: String,
    /// What is asked of it.
    pub test: Test,
}

/// What is asked of a field. With a number (or numbers) it is compared as a number, and a field that is
/// none does not pass; with a text or a boolean by its text. A field that is absent or null passes
/// [`Test::NotEqual`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// Equal to this.
    Equal(Operand),
    /// Anything but this.
    NotEqual(Operand),
    /// Equal to one of these.
    In(Vec<Operand>),
    /// A number above this one.
    Above(Operand),
    /// A number not below this one.
    AtLeast(Operand),
    /// A number below this one.
    Below(Operand),
    /// A number not above this one.
    AtMost(Operand),
}

/// What a field is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// Compared by its value: a JSON number.
    Number(String),
    /// Compared as it is.
    Text(String),
}

impl Operand {
    fn read(value: &Value) -> Option<Operand> {
        let text = Scalar.read(value)?;
        let is_number = matches!(value, Value::Integer(_) | Value::Float(_));
        Some(if is_number {
            Operand::Number(text)
        } else {
            Operand::Text(text)
        })
    }

    fn canonical(&self) -> String {
        match self {
            Operand::Number(text) => text.clone(),
            Operand::Text(text) => format!("{text:?}"),
        }
    }
}

/// A scalar, compared by its value.
struct Scalars;

impl Kind for Scalars {
    type Out = Operand;

    fn allowed(&self) -> String {
        Scalar.allowed()
    }

    fn read(&self, value: &Value) -> Option<Operand> {
        Operand::read(value)
    }

    fn canonical(&self, out: &Operand) -> String {
        out.canonical()
    }
}

struct Numbers;

impl Kind for Numbers {
    type Out = Operand;

    fn allowed(&self) -> String {
        "a number".to_owned()
    }

    fn read(&self, value: &Value) -> Option<Operand> {
        Operand::read(value).filter(|operand| matches!(operand, Operand::Number(_)))
    }

    fn canonical(&self, out: &Operand) -> String {
        out.canonical()
    }
}

struct Operands;

impl Kind for Operands {
    type Out = Vec<Operand>;

    fn allowed(&self) -> String {
        "a list of at least one text, number or boolean".to_owned()
    }

    fn read(&self, value: &Value) -> Option<Vec<Operand>> {
        let Value::List(list) = value else {
            return None;
        };
        let read = |node: &Node| Operand::read(&node.value);
        let operands: Vec<Operand> = list.iter().map(read).collect::<Option<_>>()?;
        (!operands.is_empty()).then_some(operands)
    }

    fn canonical(&self, out: &Vec<Operand>) -> String {
        let operands: Vec<String> = out.iter().map(Operand::canonical).collect();
        format!("[{}]", operands.join(", "))
    }
}

pub(super) fn read(mut section: Section<'_>) -> Vec<Condition> {
    let mut conditions = vec![];
    for field in section.keys() {
        let path = if field.starts_with('$') {
            field.clone()
        } else {
            format!("$.{field}")
        };
        if !(PATH.check)(&path) {
            let message = format!("must be {}, or {}", FIELD.allowed, PATH.allowed);
            section.problem(&field, message);
        }
        if matches!(section.peek(&field), Some(Value::Table(_))) {
            let Some(entry) = section.section_if_present(&field) else {
                continue;
            };
            conditions.extend(read_tests(entry).into_iter().map(|test| Condition {
                path: path.clone(),
                test,
            }));
        } else if let Some(operand) = section.take(&field, Scalars) {
            let test = Test::Equal(operand);
            conditions.push(Condition { path, test });
        }
    }
    section.finish();
    conditions
}

fn read_tests(mut entry: Section<'_>) -> Vec<Test> {
    let tests = [
        entry.take("eq", Scalars).map(Test::Equal),
        entry.take("ne", Scalars).map(Test::NotEqual),
        entry.take("in", Operands).map(Test::In),
        entry.take("gt", Numbers).map(Test::Above),
        entry.take("gte", Numbers).map(Test::AtLeast),
        entry.take("lt", Numbers).map(Test::Below),
        entry.take("lte", Numbers).map(Test::AtMost),
    ];
    let tests: Vec<Test> = tests.into_iter().flatten().collect();
    entry.finish();
    tests
}
