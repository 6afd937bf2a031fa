//! The columns that take a value of the event, and the values that decide something.

use super::{Field, PlanError};
use crate::config::{Enrichment, RawMode as ConfiguredRawMode};
use crate::decode::Path;
use crate::table::{Column, ColumnSource, RawMode};

/// The event's columns, and the paths that the reader has to find.
pub(super) struct EventColumns<'c> {
    config: &'c Enrichment,
    paths: Vec<Path>,
    columns: Vec<ColumnSource>,
}

impl<'c> EventColumns<'c> {
    pub(super) fn new(config: &'c Enrichment, columns: Vec<Column>) -> Result<Self, PlanError> {
        let mut event = EventColumns {
            config,
            paths: vec![],
            columns: vec![],
        };
        for column in columns {
            event.add(column)?;
        }
        Ok(event)
    }

    /// The path of each slot, and the columns in the order in which they stand in a row.
    pub(super) fn into_parts(self) -> (Vec<Path>, Vec<ColumnSource>) {
        (self.paths, self.columns)
    }

    /// Whether an event without a field takes the column's DEFAULT.
    pub(super) fn need_server_defaults(&self) -> bool {
        self.columns.iter().any(ColumnSource::needs_server_default)
    }

    fn add(&mut self, column: Column) -> Result<(), PlanError> {
        let mapping = self.config.columns.get(&column.name);
        let path = match mapping.and_then(|m| m.path.as_deref()) {
            Some(path) => parse(path)?,
            None => Path::field(&column.name),
        };
        let (required, default, raw) = match mapping {
            Some(mapping) => (
                mapping.required,
                mapping.default.as_deref(),
                raw_mode(mapping.raw),
            ),
            None => (false, None, RawMode::Off),
        };
        let steps = path.steps().to_vec();
        let slot = self.slot(path);
        let unit = mapping.and_then(|mapping| mapping.unit);
        let source = ColumnSource::new(column, slot, required, None, raw)
            .and_then(|source| source.with_steps(&steps))
            .and_then(|source| source.with_unit(unit, self.config.time_unit))
            .and_then(|source| source.with_default(default))
            .map_err(|error| PlanError(format!("pipeline.columns: {error}")))?;
        self.columns.push(source);
        Ok(())
    }

    /// A column of that name, or else the event's own field, or a path.
    pub(super) fn field(&mut self, name: &str) -> Result<Field, PlanError> {
        let is_it = |source: &ColumnSource| source.column().name == name;
        if let Some(index) = self.columns.iter().position(is_it) {
            return Ok(Field::Column(index));
        }
        let path = if name.starts_with('$') {
            parse(name)?
        } else {
            Path::field(name)
        };
        Ok(Field::Slot(self.slot(path)))
    }

    fn slot(&mut self, path: Path) -> usize {
        self.paths.push(path);
        self.paths.len() - 1
    }

    /// The value of a configured text in a column.
    pub(super) fn encoded(&self, index: usize, value: &str) -> Result<Vec<u8>, PlanError> {
        let source = &self.columns[index];
        let column = source.column();
        let mut bytes = vec![];
        column
            .column_type
            .encode_text_default_in(value, source.unit(), &mut bytes)
            .map_err(|reject| {
                let (name, type_name) = (&column.name, &column.column_type);
                let text = format!(
                    "pipeline.session.distinct_where.{name}: {value:?} is no {type_name}: {}",
                    reject.detail
                );
                PlanError(text)
            })?;
        Ok(bytes)
    }
}

fn parse(path: &str) -> Result<Path, PlanError> {
    Path::parse(path).map_err(|error| PlanError(format!("path {path:?}: {error}")))
}

fn raw_mode(mode: ConfiguredRawMode) -> RawMode {
    match mode {
        ConfiguredRawMode::No => RawMode::Off,
        ConfiguredRawMode::Object => RawMode::Object,
        ConfiguredRawMode::Any => RawMode::Any,
    }
}
