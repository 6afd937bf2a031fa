//! From what Redis has to the columns of a row.

use std::sync::Arc;

use crate::config::Lookup;
use crate::decode::Path;
use crate::decode::json::{Plan, Raw, Scanner};
use crate::lookup::Found;
use crate::table::{Column, ColumnSource, RawMode};

/// The columns a profile fills.
#[derive(Debug)]
pub(crate) struct ProfilePlan {
    paths: Arc<Plan>,
    columns: Vec<ColumnSource>,
    /// Fields of a hash, one a column.
    fields: Vec<String>,
    /// The columns of a row without a profile.
    defaults: Vec<u8>,
    with_default_flag: bool,
}

/// Encodes profiles; each lane has its own.
#[derive(Debug)]
pub(super) struct ProfileEncoder {
    plan: Arc<Plan>,
    scanner: Scanner,
}

impl ProfilePlan {
    pub(super) fn new(
        config: &Lookup,
        table_columns: Vec<Column>,
        with_default_flag: bool,
    ) -> Result<Self, String> {
        let mut paths = vec![];
        let mut columns = vec![];
        let mut fields = vec![];
        for column in table_columns {
            let mapping = &config.columns[&column.name];
            let path = Path::parse(&mapping.path)
                .map_err(|e| format!("pipeline.lookup.columns.{}: {e}", column.name))?;
            fields.push(path.names().collect::<Vec<_>>().join("."));
            let slot = paths.len();
            paths.push(path);
            let source = ColumnSource::new(
                column,
                slot,
                false,
                mapping.default.as_deref(),
                RawMode::Off,
            )
            .map_err(|e| format!("pipeline.lookup.columns: {e}"))?;
            columns.push(source);
        }
        let mut defaults = vec![];
        for column in &columns {
            column
                .encode_missing(&mut defaults, with_default_flag)
                .map_err(|e| format!("pipeline.lookup.columns: {}", e.detail))?;
        }
        let paths = Arc::new(Plan::new(&paths));
        Ok(ProfilePlan {
            paths,
            columns,
            fields,
            defaults,
            with_default_flag,
        })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns
            .iter()
            .map(|source| source.column().name.as_str())
    }

    /// The fields to ask a hash for.
    pub(crate) fn hash_fields(&self) -> Vec<String> {
        self.fields.clone()
    }

    /// The columns of a row without a profile.
    pub(super) fn defaults(&self) -> &[u8] {
        &self.defaults
    }

    pub(super) fn encoder(&self) -> ProfileEncoder {
        ProfileEncoder {
            plan: self.paths.clone(),
            scanner: Scanner::new(self.paths.clone()),
        }
    }
}

impl ProfileEncoder {
    /// Appends the profile's columns; each field that is missing or does not convert takes its own
    /// default. False when there was no profile, or none that can be read.
    pub(super) fn encode(&mut self, plan: &ProfilePlan, found: &Found, out: &mut Vec<u8>) -> bool {
        debug_assert!(Arc::ptr_eq(&self.plan, &plan.paths));
        match found {
            Found::Nothing => {
                out.extend_from_slice(&plan.defaults);
                false
            }
            Found::Json(text) => match self.scanner.scan(Some(text)) {
                Ok(fields) => {
                    for column in &plan.columns {
                        encode_or_default(plan, column, fields.get(column.slot()), out);
                    }
                    true
                }
                Err(_unreadable) => {
                    out.extend_from_slice(&plan.defaults);
                    false
                }
            },
            Found::Fields(values) => {
                for (column, value) in plan.columns.iter().zip(values) {
                    let text = value.as_deref().and_then(|v| std::str::from_utf8(v).ok());
                    let raw = text.map_or(Raw::ABSENT, Raw::string);
                    encode_or_default(plan, column, raw, out);
                }
                true
            }
        }
    }
}

fn encode_or_default(plan: &ProfilePlan, column: &ColumnSource, raw: Raw<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    if column
        .encode_value(raw, out, plan.with_default_flag)
        .is_err()
    {
        out.truncate(start);
        column
            .encode_missing(out, plan.with_default_flag)
            .expect("a profile's column is never required");
    }
}
