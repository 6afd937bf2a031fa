//! What a comparison found.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::columns::{Column, Plan};
use super::query::{Bucket, SAMPLES_MAX};
use super::tables::Table;

/// Longest text of a value that is shown, in characters.
const TEXT_MAX: usize = 300;

/// One of the tables.
#[derive(Debug, Serialize)]
pub struct Compared {
    /// `database.table`.
    pub table: String,
    /// Rows that count.
    pub rows: u64,
    /// Whether it was read with FINAL.
    #[serde(rename = "final")]
    pub is_final: bool,
}

/// A column whose type differs.
#[derive(Debug, Serialize)]
pub struct OtherType {
    column: String,
    a: String,
    b: String,
}

/// A value of both tables; `null` is NULL.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct Values {
    a: Option<String>,
    b: Option<String>,
}

/// A key that differs.
#[derive(Debug, Serialize)]
pub struct Sample {
    #[serde(skip)]
    hash: u64,
    /// The columns of the key, as texts.
    pub key: BTreeMap<String, Option<String>>,
    /// Rows of the key in both tables.
    pub rows_a: u64,
    /// The same of the other.
    pub rows_b: u64,
    /// The columns whose values differ, where the key has one row in each table.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, Values>,
}

/// What differs, and some of it.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// Whether nothing does.
    pub equal: bool,
    /// Whether the sums differed, and no key did a moment later: rows came or went meanwhile.
    pub changed_while_read: bool,
    /// The one table.
    pub a: Compared,
    /// The other.
    pub b: Compared,
    /// The columns that say which rows belong together.
    pub key: Vec<String>,
    /// Columns that are compared.
    pub columns: Vec<String>,
    /// Columns that may differ.
    pub ignored: Vec<String>,
    /// Columns that only this table has: they are not compared.
    pub only_in_a: Vec<String>,
    /// The same of the other.
    pub only_in_b: Vec<String>,
    /// Columns whose types differ; their values are compared as texts.
    pub types: Vec<OtherType>,
    /// Keys whose rows have other values.
    pub differs: u64,
    /// Keys of which the first table has no row.
    pub missing_in_a: u64,
    /// Keys of which the second table has no row.
    pub missing_in_b: u64,
    /// Keys of which one table has more rows than the other.
    pub doubled: u64,
    /// The first of each kind.
    pub samples: BTreeMap<&'static str, Vec<Sample>>,
}

impl Comparison {
    pub(super) fn new(a: &Table, b: &Table, plan: &Plan, buckets: &[Bucket]) -> Comparison {
        let compared = |table: &Table, rows| Compared {
            table: table.name.clone(),
            rows,
            is_final: table.is_replacing,
        };
        let other_type = |column: &Column| {
            let (a, b) = column.types.clone()?;
            let column = column.name.clone();
            Some(OtherType { column, a, b })
        };
        let names = |columns: &[Column]| columns.iter().map(|c| c.name.clone()).collect();
        Comparison {
            equal: true,
            changed_while_read: false,
            a: compared(a, buckets.iter().map(|bucket| bucket.rows_a).sum()),
            b: compared(b, buckets.iter().map(|bucket| bucket.rows_b).sum()),
            key: names(&plan.key),
            columns: names(&plan.columns),
            ignored: plan.ignored.clone(),
            only_in_a: plan.only_in_a.clone(),
            only_in_b: plan.only_in_b.clone(),
            types: plan.columns.iter().filter_map(other_type).collect(),
            differs: 0,
            missing_in_a: 0,
            missing_in_b: 0,
            doubled: 0,
            samples: BTreeMap::new(),
        }
    }

    /// Adds the keys of one kind of difference; `None`: the answer has another form.
    pub(super) fn add(&mut self, line: &Value) -> Option<()> {
        let (count, kind) = match line.get("kind")?.as_str()? {
            "differs" => (&mut self.differs, "differs"),
            "missing_in_a" => (&mut self.missing_in_a, "missing_in_a"),
            "missing_in_b" => (&mut self.missing_in_b, "missing_in_b"),
            "doubled" => (&mut self.doubled, "doubled"),
            _ => return None,
        };
        *count += line.get("keys")?.as_u64()?;
        self.equal = false;
        let samples = self.samples.entry(kind).or_default();
        for sample in line.get("samples")?.as_array()? {
            if samples.len() >= SAMPLES_MAX {
                break;
            }
            let [hash, rows_a, rows_b] = &sample.as_array()?[..] else {
                return None;
            };
            samples.push(Sample {
                hash: hash.as_u64()?,
                key: BTreeMap::new(),
                rows_a: rows_a.as_u64()?,
                rows_b: rows_b.as_u64()?,
                columns: BTreeMap::new(),
            });
        }
        Some(())
    }

    /// Both passes are over; whether the first found something.
    pub(super) fn note_changes(&mut self, have_sums_differed: bool) {
        self.changed_while_read = have_sums_differed && self.equal;
        self.equal &= !have_sums_differed;
    }

    /// The hashes of the keys that are shown.
    pub(super) fn wanted_rows(&self) -> Vec<u64> {
        self.samples
            .values()
            .flatten()
            .map(|sample| sample.hash)
            .collect()
    }

    /// Gives the samples their keys and values; `None`: an answer has another form.
    pub(super) fn describe(&mut self, plan: &Plan, of_a: &[Value], of_b: &[Value]) -> Option<()> {
        let (of_a, of_b) = (by_hash(of_a)?, by_hash(of_b)?);
        for (kind, samples) in &mut self.samples {
            for sample in samples {
                let (a, b) = (of_a.get(&sample.hash), of_b.get(&sample.hash));
                let Some(known) = a.or(b) else { continue };
                for (column, value) in plan.columns.iter().zip(known.iter()) {
                    if plan.key.iter().any(|key| key.name == column.name) {
                        sample.key.insert(column.name.clone(), clipped(value));
                    }
                }
                if let ("differs", Some(a), Some(b), 1) = (*kind, a, b, sample.rows_a) {
                    for (column, (a, b)) in plan.columns.iter().zip(a.iter().zip(b.iter())) {
                        if a != b {
                            let values = Values {
                                a: clipped(a),
                                b: clipped(b),
                            };
                            sample.columns.insert(column.name.clone(), values);
                        }
                    }
                }
            }
        }
        Some(())
    }
}

fn by_hash(lines: &[Value]) -> Option<BTreeMap<u64, &Vec<Value>>> {
    let row = |line| -> Option<(u64, &Vec<Value>)> {
        let line: &Value = line;
        Some((
            line.get("_sw_key")?.as_u64()?,
            line.get("_sw_values")?.as_array()?,
        ))
    };
    lines.iter().map(row).collect()
}

fn clipped(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    Some(match text.char_indices().nth(TEXT_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_that_differ_without_a_key_that_does_are_not_equal() {
        let table = Table {
            name: "d.t".to_owned(),
            sql_name: String::new(),
            is_replacing: false,
            rows_about: 0,
            columns: vec![],
        };
        let plan = Plan {
            key: vec![],
            columns: vec![],
            ignored: vec![],
            only_in_a: vec![],
            only_in_b: vec![],
            condition: None,
        };
        for (have_sums_differed, expected) in [(true, (false, true)), (false, (true, false))] {
            let mut found = Comparison::new(&table, &table, &plan, &[]);
            found.note_changes(have_sums_differed);
            assert_eq!((found.equal, found.changed_while_read), expected);
        }
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let long = "ä".repeat(TEXT_MAX + 1);
        let shown = clipped(&Value::from(long)).unwrap();
        assert_eq!(shown.chars().count(), TEXT_MAX + 1);
        assert!(shown.ends_with("ä…"));
        assert_eq!(clipped(&Value::Null), None);
    }
}
