//! Whether a replica in ClickHouse equals its source table: every row, every column that both
//! have, by value and not by spelling.

mod replica;
mod source;
mod value;

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

pub use value::{Binary, Kind};

/// Differences that are kept; all are counted.
const DIFFERENCES_MAX: usize = 1_000;
/// Differences that are printed.
const PRINTED_MAX: usize = 10;
/// A value in a message is cut after so many characters.
const SHOWN_MAX: usize = 80;

/// How a replica is read.
#[derive(Debug, Clone)]
pub struct ReplicaOptions {
    /// What a text column holds for bytes of the source.
    pub binary: Binary,
    /// A condition that rows have to meet to exist; `None` where FINAL leaves only such rows.
    pub alive: Option<String>,
}

impl Default for ReplicaOptions {
    fn default() -> Self {
        Self {
            binary: Binary::Raw,
            alive: None,
        }
    }
}

/// A column of a source table.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// How its values are compared.
    pub kind: Kind,
}

/// A source table's rows.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// All columns, in order.
    pub columns: Vec<Column>,
    /// The key's columns by their position.
    pub key: Vec<usize>,
    /// Every value as the server's text; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

/// A replica's rows.
#[derive(Debug, Clone, Default)]
pub struct Replica {
    /// Columns that the source has as well, in the order of the values.
    pub columns: Vec<String>,
    /// Values as ClickHouse writes them in JSON; bytes of the source in hexadecimal.
    pub rows: Vec<Vec<Value>>,
}

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The replica lacks a row.
    Missing {
        /// `order_id=7`
        key: String,
    },
    /// The replica has a row that the source has not.
    Extra {
        /// `order_id=7`
        key: String,
    },
    /// The replica has so many rows of one key.
    Repeated {
        /// `order_id=7`
        key: String,
        /// How many.
        rows: usize,
    },
    /// A value differs.
    Value {
        /// `order_id=7`
        key: String,
        /// The column.
        column: String,
        /// `None` is NULL.
        source: Option<String>,
        /// `None` is NULL.
        replica: Option<String>,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { key } => write!(f, "{key}: the replica lacks the row"),
            Self::Extra { key } => write!(f, "{key}: the source has no such row"),
            Self::Repeated { key, rows } => write!(f, "{key}: the replica has {rows} rows of it"),
            Self::Value {
                key,
                column,
                source,
                replica,
            } => {
                let (source, replica) = (shown(source.as_deref()), shown(replica.as_deref()));
                write!(
                    f,
                    "{key}: {column} is {source} at the source, {replica} in the replica"
                )
            }
        }
    }
}

fn shown(value: Option<&str>) -> String {
    let Some(text) = value else {
        return "NULL".to_owned();
    };
    let length = text.chars().count();
    if length <= SHOWN_MAX {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(SHOWN_MAX).collect();
    format!("{start:?}… ({length} characters)")
}

/// What comparing two tables came to.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The source's table.
    pub table: String,
    /// Rows of the source.
    pub source_rows: usize,
    /// Rows of the replica.
    pub replica_rows: usize,
    /// Values that were compared.
    pub values: usize,
    /// Columns of the source that the replica lacks: they were not compared.
    pub columns_missing: Vec<String>,
    /// How many differences there are.
    pub differences_total: usize,
    /// The first of them, in order of the key.
    pub differences: Vec<Difference>,
}

impl Comparison {
    /// Whether there is no difference.
    pub fn is_equal(&self) -> bool {
        self.differences_total == 0
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_equal() { "OK" } else { "BAD" };
        write!(
            f,
            "{verdict}: {}: {} rows at the source, {} in the replica, {} values compared, {} differ",
            self.table, self.source_rows, self.replica_rows, self.values, self.differences_total
        )?;
        if !self.columns_missing.is_empty() {
            write!(
                f,
                "; not in the replica: {}",
                self.columns_missing.join(", ")
            )?;
        }
        for difference in self.differences.iter().take(PRINTED_MAX) {
            write!(f, "\n  {} {difference}", self.table)?;
        }
        Ok(())
    }
}

/// Compares a table of the database at `url` with a table of the ClickHouse server at
/// `clickhouse_url`, read with FINAL.
///
/// # Errors
/// When one of them cannot be read, or the source's table has no key.
pub fn tables(
    url: &str,
    table: &str,
    clickhouse_url: &str,
    replica: &str,
    options: &ReplicaOptions,
) -> Result<Comparison> {
    let source = source::read(url, table).with_context(|| format!("cannot read {table}"))?;
    let replica = replica::read(clickhouse_url, replica, &source, options)?;
    rows(table, &source, &replica, options.binary)
}

/// Compares rows that were read.
///
/// # Errors
/// When the source's table has no key, or the replica lacks a part of it.
pub fn rows(table: &str, source: &Source, replica: &Replica, binary: Binary) -> Result<Comparison> {
    ensure!(
        !source.key.is_empty(),
        "table {table} has no key to compare by"
    );
    let columns = Columns::new(table, source, replica)?;
    let mut wanted = BTreeMap::new();
    for row in &source.rows {
        let row = columns.of_source(row);
        wanted.insert(columns.key(&row), row);
    }
    let mut found: BTreeMap<Key, Vec<Row>> = BTreeMap::new();
    for row in &replica.rows {
        let row = columns.of_replica(row, binary);
        found.entry(columns.key(&row)).or_default().push(row);
    }

    let mut differences = Vec::new();
    for (key, row) in &wanted {
        columns.compare(key, row, found.get(key), &mut differences);
    }
    let extra = found.keys().filter(|key| !wanted.contains_key(*key));
    differences.extend(extra.map(|key| Difference::Extra {
        key: columns.named(key),
    }));

    let both = wanted.keys().filter(|key| found.contains_key(*key)).count();
    let differences_total = differences.len();
    differences.truncate(DIFFERENCES_MAX);
    Ok(Comparison {
        table: table.to_owned(),
        source_rows: source.rows.len(),
        replica_rows: replica.rows.len(),
        values: both * columns.compared().count(),
        columns_missing: columns.missing(),
        differences_total,
        differences,
    })
}

/// Values of a row in one spelling, in the source's order; `None` is NULL, or not in the replica.
type Row = Vec<Option<String>>;
type Key = Vec<String>;

/// The source's columns, and for each where the replica has it.
struct Columns<'s> {
    source: &'s Source,
    positions: Vec<Option<usize>>,
}

impl<'s> Columns<'s> {
    fn new(table: &str, source: &'s Source, replica: &Replica) -> Result<Self> {
        let place = |column: &Column| replica.columns.iter().position(|c| *c == column.name);
        let positions: Vec<_> = source.columns.iter().map(place).collect();
        for at in &source.key {
            let name = &source.columns[*at].name;
            ensure!(
                positions[*at].is_some(),
                "the replica of {table} lacks {name}"
            );
        }
        Ok(Self { source, positions })
    }

    fn of_source(&self, row: &[Option<String>]) -> Row {
        let values = self.source.columns.iter().zip(row);
        values
            .map(|(column, value)| Some(column.kind.of_source(value.as_deref()?)))
            .collect()
    }

    fn of_replica(&self, row: &[Value], binary: Binary) -> Row {
        let places = self.source.columns.iter().zip(&self.positions);
        places
            .map(|(column, at)| column.kind.of_replica(&row[(*at)?], binary))
            .collect()
    }

    fn key(&self, row: &Row) -> Key {
        let parts = self.source.key.iter();
        parts
            .map(|at| row[*at].clone().unwrap_or_default())
            .collect()
    }

    /// `region=eu id=1`
    fn named(&self, key: &Key) -> String {
        let parts = self.source.key.iter().zip(key);
        let parts = parts.map(|(at, value)| format!("{}={value}", self.source.columns[*at].name));
        parts.collect::<Vec<_>>().join(" ")
    }

    /// The positions of columns that both have.
    fn compared(&self) -> impl Iterator<Item = usize> {
        (0..self.positions.len()).filter(|at| self.positions[*at].is_some())
    }

    fn missing(&self) -> Vec<String> {
        let columns = self.source.columns.iter().zip(&self.positions);
        columns
            .filter(|(_, place)| place.is_none())
            .map(|(column, _)| column.name.clone())
            .collect()
    }

    fn compare(
        &self,
        key: &Key,
        row: &Row,
        found: Option<&Vec<Row>>,
        differences: &mut Vec<Difference>,
    ) {
        let named = || self.named(key);
        let Some(rows) = found else {
            differences.push(Difference::Missing { key: named() });
            return;
        };
        if rows.len() > 1 {
            differences.push(Difference::Repeated {
                key: named(),
                rows: rows.len(),
            });
        }
        for at in self.compared().filter(|at| row[*at] != rows[0][*at]) {
            differences.push(Difference::Value {
                key: named(),
                column: self.source.columns[at].name.clone(),
                source: row[at].clone(),
                replica: rows[0][at].clone(),
            });
        }
    }
}

#[cfg(test)]
mod tests;
