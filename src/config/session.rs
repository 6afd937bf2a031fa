//! `[pipeline.session]`: columns filled from the session an event belongs to.

use std::collections::BTreeMap;
use std::time::Duration;

use super::clickhouse::is_identifier;
use super::columns::{COLUMN, FIELD, PROVENANCE};
use super::quantity::{Span, format_duration};
use super::section::Section;
use super::value::Scalar;

/// `[pipeline.session]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The field that tells sessions apart.
    pub key_field: String,
    /// A longer silence starts a new session, 1 s to 7 days.
    pub timeout: Duration,
    /// A session ends after this at the latest, at least `timeout`, up to 30 days.
    pub duration_max: Duration,
    /// The column for the number of events so far.
    pub count_column: Option<String>,
    /// The column for the whole seconds from first to last.
    pub duration_column: Option<String>,
    /// The column for the number of distinct values of `distinct_field`.
    pub distinct_column: Option<String>,
    /// The field whose distinct values are counted.
    pub distinct_field: Option<String>,
    /// Only events with these values in these fields count among the distinct; empty: all.
    pub distinct_where: BTreeMap<String, String>,
}

impl Session {
    pub(super) fn read(mut section: Section<'_>) -> Session {
        let (half_hour, day) = (Duration::from_secs(1800), Duration::from_secs(86_400));
        let session = Session {
            key_field: section.take_or("key_field", FIELD, "session_id".to_owned()),
            timeout: section.take_or("timeout", Span::secs(1, 7 * 86_400), half_hour),
            duration_max: section.take_or("duration_max", Span::secs(1, 30 * 86_400), day),
            count_column: section.take("count_column", COLUMN),
            duration_column: section.take("duration_column", COLUMN),
            distinct_column: section.take("distinct_column", COLUMN),
            distinct_field: section.take("distinct_field", FIELD),
            distinct_where: read_where(section.section("distinct_where")),
        };
        session.check(&section);
        section.finish();
        session
    }

    /// The columns a session fills, with the key that names each.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("count_column", &self.count_column),
            ("duration_column", &self.duration_column),
            ("distinct_column", &self.distinct_column),
        ]
        .into_iter()
        .filter_map(|(key, column)| Some((key, column.as_deref()?)))
    }

    fn check(&self, section: &Section<'_>) {
        if self.duration_max < self.timeout {
            let timeout = format_duration(self.timeout);
            let message = format!("must be at least pipeline.session.timeout ({timeout})");
            section.problem("duration_max", message);
        }
        if self.distinct_column.is_some() && self.distinct_field.is_none() {
            section.problem(
                "distinct_field",
                "is required with distinct_column: which field to count",
            );
        }
        if self.distinct_column.is_none() {
            for key in ["distinct_field", "distinct_where"] {
                if section.was_written(key) {
                    section.problem(key, "needs distinct_column: which column to fill");
                }
            }
        }
        let columns: Vec<_> = self.columns().collect();
        if columns.is_empty() {
            section.reader.problem(
                section.key_path(),
                "must name at least one of count_column, duration_column and distinct_column (or \
                 remove [pipeline.session])",
            );
        }
        for (index, (key, column)) in columns.iter().enumerate() {
            if let Some((other, _)) = columns[..index].iter().find(|(_, other)| other == column) {
                section.problem(key, format!("must differ from {other}: both fill {column}"));
            }
            if PROVENANCE.contains(column) {
                let message =
                    format!("must not be {column}: the daemon fills it with the record's origin");
                section.problem(key, message);
            }
        }
    }
}

fn read_where(mut section: Section<'_>) -> BTreeMap<String, String> {
    let mut conditions = BTreeMap::new();
    for field in section.keys() {
        if let Some(value) = section.take(&field, Scalar) {
            conditions.insert(field.clone(), value);
        }
        if !is_identifier(&field) || field.starts_with('$') {
            section.problem(&field, format!("must be {}", FIELD.allowed));
        }
    }
    section.finish();
    conditions
}
