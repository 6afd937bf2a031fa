//! The configuration as it was written: values that know their key path, places that know their line.

use std::collections::BTreeMap;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::secret::redacted;

/// Where a key was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A line of the file, from 1.
    Line(usize),
    /// An environment variable, by its name.
    Variable(String),
}

/// Every key path that was written, with its place.
pub(super) type Places = BTreeMap<String, Place>;

/// A value and the key path it was written at, which it keeps when tables are laid over each other.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) key_path: String,
    pub(super) value: Value,
}

#[derive(Clone)]
pub(super) enum Value {
    Text(String),
    /// Integers beyond the range of i128 are kept as its largest: no key allows either.
    Integer(i128),
    Float(f64),
    Boolean(bool),
    Datetime(String),
    List(Vec<Node>),
    Table(Table),
    /// The text of an environment variable: whoever reads it decides what it is.
    Variable(String),
}

/// A table, possibly an absent one, which is empty.
#[derive(Clone, Default)]
pub(super) struct Table {
    pub(super) key_path: String,
    pub(super) entries: BTreeMap<String, Node>,
}

/// What was found instead of what is allowed. Only for values that are no secrets.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) | Value::Variable(text) => {
                let text = without_credentials(text);
                let mut start: String = text.chars().take(80).collect();
                if start.len() < text.len() {
                    start.push('…');
                }
                write!(f, "{start:?}")
            }
            Value::Integer(integer) => write!(f, "{integer}"),
            Value::Float(float) => write!(f, "{float:?}"),
            Value::Boolean(boolean) => write!(f, "{boolean}"),
            Value::Datetime(text) => write!(f, "the date {text}"),
            Value::List(_) | Value::Table(_) => f.write_str(self.type_name()),
        }
    }
}

/// Like [`redacted`], and also for what only looks like a URL to its author: a wrong value is
/// quoted, and what stands before an '@' may be a password.
fn without_credentials(text: &str) -> String {
    match (text.contains("://"), text.rfind('@')) {
        (false, Some(at)) => format!("***{}", &text[at..]),
        _ => redacted(text),
    }
}

impl Value {
    /// The type alone: all that may be said about a secret.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Text(_) | Value::Variable(_) => "a text",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Boolean(_) => "a boolean",
            Value::Datetime(_) => "a date",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

impl Table {
    pub(super) fn absent(key_path: String) -> Self {
        Table {
            key_path,
            entries: BTreeMap::new(),
        }
    }

    /// This table with `over` laid on it, key by key; the result is known by the path of `over`.
    /// A key also displaces its twin (`password` a `password_file`, `urls` a `url`), so that
    /// either can override the other.
    pub(super) fn overlaid(mut self, over: Table) -> Table {
        for twin in over.entries.keys().flat_map(|key| twins(key)) {
            self.entries.remove(&twin);
        }
        for (key, node) in over.entries {
            let node = match (self.entries.remove(&key), node) {
                (
                    Some(Node {
                        value: Value::Table(base),
                        ..
                    }),
                    node,
                ) => match node.value {
                    Value::Table(table) => Node {
                        key_path: node.key_path,
                        value: Value::Table(base.overlaid(table)),
                    },
                    value => Node {
                        key_path: node.key_path,
                        value,
                    },
                },
                (_, node) => node,
            };
            self.entries.insert(key, node);
        }
        Table {
            key_path: over.key_path,
            entries: self.entries,
        }
    }
}

fn twins(key: &str) -> Vec<String> {
    match key {
        "url" => vec!["urls".to_owned()],
        "urls" => vec!["url".to_owned()],
        key => match key.strip_suffix("_file") {
            Some(secret) => vec![secret.to_owned()],
            None => vec![format!("{key}_file")],
        },
    }
}

/// Why a text is no TOML.
pub(super) struct Syntax {
    pub(super) message: String,
    pub(super) line: Option<usize>,
}

/// Reads TOML. The message of an error does not quote the line, which may hold a secret.
pub(super) fn parse(text: &str) -> Result<(Table, Places), Syntax> {
    let lines = Lines::of(text);
    let document = DeTable::parse(text).map_err(|error| Syntax {
        message: format!("is not valid TOML: {}", error.message().replace('\n', ", ")),
        line: error.span().map(|span| lines.line_of(span.start)),
    })?;
    let mut builder = Builder {
        lines,
        places: Places::new(),
    };
    let table = builder.table(document.into_inner(), String::new());
    Ok((table, builder.places))
}

struct Builder {
    lines: Lines,
    places: Places,
}

impl Builder {
    fn table(&mut self, table: DeTable<'_>, key_path: String) -> Table {
        let mut entries = BTreeMap::new();
        for (key, value) in table {
            let line = self.lines.line_of(key.span().start);
            let key = key.into_inner().into_owned();
            let path = join(&key_path, &key);
            let node = match value.into_inner() {
                DeValue::Array(pipelines) if path == "pipeline" => {
                    self.pipelines(pipelines.into_iter().collect())
                }
                value => self.node(value, path.clone()),
            };
            self.places.entry(path).or_insert(Place::Line(line));
            entries.insert(key, node);
        }
        Table { key_path, entries }
    }

    fn node(&mut self, value: DeValue<'_>, key_path: String) -> Node {
        let value = match value {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(integer) => Value::Integer(
                i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX),
            ),
            DeValue::Float(float) => Value::Float(float.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(boolean) => Value::Boolean(boolean),
            DeValue::Datetime(datetime) => Value::Datetime(datetime.to_string()),
            DeValue::Array(array) => {
                let mut list = Vec::new();
                for (index, element) in array.into_iter().enumerate() {
                    list.push(self.element(element, format!("{key_path}[{index}]")));
                }
                Value::List(list)
            }
            DeValue::Table(table) => Value::Table(self.table(table, key_path.clone())),
        };
        Node { key_path, value }
    }

    fn element(&mut self, element: Spanned<DeValue<'_>>, key_path: String) -> Node {
        let line = self.lines.line_of(element.span().start);
        self.places.insert(key_path.clone(), Place::Line(line));
        self.node(element.into_inner(), key_path)
    }

    /// Pipelines go by their names, which say more than numbers.
    fn pipelines(&mut self, elements: Vec<Spanned<DeValue<'_>>>) -> Node {
        let mut taken = Vec::new();
        let mut list = Vec::new();
        for (index, element) in elements.into_iter().enumerate() {
            let key_path = match name_of(element.get_ref()) {
                Some(name) if !taken.contains(&name) => {
                    taken.push(name.clone());
                    join("pipeline", &name)
                }
                _ => format!("pipeline[{index}]"),
            };
            list.push(self.element(element, key_path));
        }
        Node {
            key_path: "pipeline".to_owned(),
            value: Value::List(list),
        }
    }
}

fn name_of(pipeline: &DeValue<'_>) -> Option<String> {
    match pipeline.get("name").map(Spanned::get_ref) {
        Some(DeValue::String(name)) if !name.is_empty() => Some(name.clone().into_owned()),
        _ => None,
    }
}

pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Byte positions to line numbers.
struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    fn of(text: &str) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Lines {
            starts: std::iter::once(0)
                .chain(newlines.map(|(at, _)| at + 1))
                .collect(),
        }
    }

    fn line_of(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }
}
