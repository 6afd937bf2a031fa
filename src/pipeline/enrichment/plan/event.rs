//! The columns that take a value of the event, and the values that decide something.

use std::collections::BTreeSet;

use super::{Field, PlanError};
use crate::config::{ColumnMapping, Enrichment, RawMode as ConfiguredRawMode, Transform};
use crate::decode::{Path, Step};
use crate::format::{Format, Wish};
use crate::steps::{Compute, Input, MadeColumn, Making, Mask, OnError, REDACTED};
use crate::table::{Column, ColumnSource, ColumnType, Nested, RawMode};

/// What `hmac` may make of a value: 32 hexadecimal digits, which are hardly ever a number.
const HMAC_EXAMPLE: &str = "ffffffffffffffffffffffffffffffff";

/// The event's columns, and the paths that the reader has to find.
pub(super) struct EventColumns<'c> {
    config: &'c Enrichment,
    paths: Vec<Path>,
    columns: Vec<ColumnSource>,
    made: Vec<MadeColumn>,
    nested: Vec<NestedColumns>,
    /// Slots whose values decide something.
    deciding: BTreeSet<usize>,
    explode: Option<ExplodePlan>,
}

/// The array of which each element makes a row.
#[derive(Debug)]
pub(in crate::pipeline::enrichment) struct ExplodePlan {
    pub(in crate::pipeline::enrichment) path: Path,
    pub(in crate::pipeline::enrichment) slot: usize,
    /// Of each event column whether the element fills it, and not the record.
    pub(in crate::pipeline::enrichment) of_element: Vec<bool>,
}

/// Columns whose arrays must have equally many elements, by their places.
pub(in crate::pipeline::enrichment) type NestedColumns = Vec<usize>;

/// See [`EventColumns::into_parts`].
pub(super) struct EventParts {
    pub(super) wishes: Vec<Wish>,
    pub(super) columns: Vec<ColumnSource>,
    pub(super) made: Vec<MadeColumn>,
    pub(super) nested: Vec<NestedColumns>,
    pub(super) explode: Option<ExplodePlan>,
}

impl<'c> EventColumns<'c> {
    pub(super) fn new(config: &'c Enrichment, columns: Vec<Column>) -> Result<Self, PlanError> {
        let mut event = EventColumns {
            config,
            paths: vec![],
            columns: vec![],
            made: vec![],
            nested: vec![],
            deciding: BTreeSet::new(),
            explode: None,
        };
        if let Some(path) = &config.explode {
            let path = parse(path)?;
            let slot = event.slot(path.clone());
            event.deciding.insert(slot);
            event.explode = Some(ExplodePlan {
                slot,
                path,
                of_element: vec![],
            });
        }
        let is_made = |column: &Column| match config.columns.get(&column.name) {
            Some(mapping) if mapping.transform.is_some() => true,
            mapping => {
                // A column of a Nested that is not mapped may also take the member of its whole name.
                let own = Path::field(&column.name).to_string();
                let is_touched = |path: &str| config.privacy.touch(path);
                !config.privacy.is_empty()
                    && (is_touched(&path_of(column, mapping))
                        || mapping.is_none() && is_touched(&own))
            }
        };
        let (made, columns): (Vec<Column>, Vec<Column>) = columns.into_iter().partition(is_made);
        event.nested = nested_columns(&columns);
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        for (place, column) in columns.into_iter().enumerate() {
            let group = event.nested.iter().find(|group| group.contains(&place));
            let is_nested = !config.columns.contains_key(&column.name);
            let others = group.filter(|_| is_nested && has_objects(&config.format));
            let others = others.map(|group| {
                let others = group.iter().filter(|other| **other != place);
                others.map(|other| &*names[*other]).collect::<Vec<_>>()
            });
            event.add(column, others)?;
        }
        for column in made {
            let mapping = config
                .columns
                .get(&column.name)
                .cloned()
                .unwrap_or_default();
            match &mapping.transform {
                Some(transform) => event.add_made(column, &mapping, transform)?,
                None => event.add_private(column, &mapping)?,
            }
        }
        Ok(event)
    }

    /// What each slot is for, and the columns in the order in which they stand in a row.
    pub(super) fn into_parts(self) -> EventParts {
        let wish = |(slot, path): (usize, Path)| {
            let column = self.columns.iter().find(|column| column.slot() == slot);
            Wish {
                path,
                column: column.cloned(),
                is_asked_for: self.deciding.contains(&slot),
            }
        };
        let wishes = self.paths.into_iter().enumerate().map(wish).collect();
        let nested = self.nested.into_iter().filter(|group| group.len() > 1);
        EventParts {
            nested: nested.collect(),
            wishes,
            columns: self.columns,
            made: self.made,
            explode: self.explode,
        }
    }

    /// Whether an event without a field takes the column's DEFAULT.
    pub(super) fn need_server_defaults(&self) -> bool {
        let made = self.made.iter().map(MadeColumn::source);
        let mut sources = self.columns.iter().chain(made);
        sources.any(ColumnSource::needs_server_default)
    }

    /// `others`: the other columns of the Nested that the column is one of.
    fn add(&mut self, column: Column, others: Option<Vec<&str>>) -> Result<(), PlanError> {
        if let Some(others) = others {
            let name = column.name.clone();
            let literal = self.slot(Path::field(&name));
            let nested = Nested::new(&name, others.into_iter(), literal);
            let (of, nested) = nested.expect("columns of a Nested have a point in their names");
            let slot = self.slot(Path::field(of));
            let source = ColumnSource::new(column, slot, false, None, RawMode::Off)
                .and_then(|source| source.with_unit(None, self.config.time_unit))
                .map_err(|error| PlanError(format!("pipeline.columns: {error}")))?;
            let source = source.with_text_times(self.config.text_times.as_ref());
            self.columns.push(source.with_nested(nested));
            self.is_of_element(false);
            return Ok(());
        }
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
        let in_element = self.explode.as_ref().and_then(|explode| {
            let steps = explode.steps_below(&path)?;
            Some((steps, explode.slot))
        });
        self.is_of_element(in_element.is_some());
        let (steps, slot) = match in_element {
            Some(found) => found,
            None => (path.steps().to_vec(), self.slot(path)),
        };
        let unit = mapping.and_then(|mapping| mapping.unit);
        let source = ColumnSource::new(column, slot, required, None, raw)
            .and_then(|source| source.with_steps(&steps))
            .and_then(|source| source.with_unit(unit, self.config.time_unit))
            .map(|source| source.with_text_times(self.config.text_times.as_ref()))
            .and_then(|source| source.with_default(default))
            .map_err(|error| PlanError(format!("pipeline.columns: {error}")))?;
        self.columns.push(source);
        Ok(())
    }

    /// A column whose value is made of fields. Its slots are read as JSON has them, whatever the format.
    fn add_made(
        &mut self,
        column: Column,
        mapping: &ColumnMapping,
        transform: &Transform,
    ) -> Result<(), PlanError> {
        let inputs = transform.fields.iter().map(|field| self.input(field));
        let inputs = inputs.collect::<Result<Vec<Input>, PlanError>>()?;
        let (of_pipeline, texts) = (self.config.time_unit, self.config.text_times.as_ref());
        let default = mapping.default.as_deref();
        // Of a column without times it is the unit of what the steps read.
        let own = mapping.unit.filter(|_| column.column_type.has_times());
        let source = ColumnSource::new(column, 0, mapping.required, None, RawMode::Off)
            .and_then(|source| source.with_unit(own, of_pipeline))
            .map(|source| source.with_text_times(texts))
            .and_then(|source| source.with_default(default))
            .map_err(|error| PlanError(format!("pipeline.columns: {error}")))?;
        let unit = mapping.unit.or(of_pipeline);
        let mut making = transform.making.clone();
        let privacy = &self.config.privacy;
        let is_private = transform.fields.iter().any(|field| privacy.touch(field));
        // An end of the JSON around a private field may be the field.
        let is_around = transform
            .fields
            .iter()
            .any(|field| privacy.touch(field) && privacy.cover(field) != Ok(true));
        if is_around && matches!(making.mask, Some(Mask::KeepLast(_))) {
            making.mask = None;
        }
        if is_private && making.compute != Compute::Hash {
            making.mask = making.mask.or(Some(mask_for(source.column())));
        }
        let column = source.column();
        let mask = making.mask.as_ref();
        let mask = mask.filter(|_| making.on_error == OnError::DeadLetter);
        if mask.is_some_and(|mask| !takes_masked(&column.column_type, mask)) {
            return Err(PlanError(format!(
                "pipeline.columns.{}.mask: it writes a text, which {} does not take: make the column a String, or \
                 set mask = \"null\"",
                column.name, column.column_type
            )));
        }
        let made = MadeColumn::new(source, inputs, making, unit, texts.cloned());
        self.made.push(made);
        Ok(())
    }

    /// A column that would take a private field, or a value with private fields in it, as it is.
    fn add_private(&mut self, column: Column, mapping: &ColumnMapping) -> Result<(), PlanError> {
        let path = path_of(&column, Some(mapping));
        let (privacy, name) = (&self.config.privacy, column.name.clone());
        let refused = |why: &str| {
            PlanError(format!(
                "column {name}: {path} has private fields (pipeline.privacy), and {why}"
            ))
        };
        if has_part(&column) && !self.config.columns.contains_key(&name) {
            return Err(refused(
                "columns of a Nested cannot be hidden one by one: leave the column out of the table",
            ));
        }
        let within = privacy.within(&path).unwrap_or_default();
        let is_hidden_whole = privacy.cover(&path) == Ok(true);
        let input = self.input(&path)?;
        if !is_hidden_whole && input.steps.contains(&Step::All) {
            return Err(refused(
                "a path with [*] takes them out of elements: take the array itself",
            ));
        }
        let refusing = within.refused_by(&column.column_type);
        if let Some((field, place)) = refusing.filter(|_| !is_hidden_whole) {
            let why = format!(
                "{field} in it is hidden as \"***\", which {place} does not take: make it a String in the type of \
                 the column, or leave it out there"
            );
            return Err(refused(&why));
        }
        let mask = is_hidden_whole.then(|| mask_for(&column));
        let raw = if is_hidden_whole {
            RawMode::Off
        } else {
            raw_mode(mapping.raw)
        };
        let (of_pipeline, texts) = (self.config.time_unit, self.config.text_times.as_ref());
        let source = ColumnSource::new(column, 0, mapping.required, None, raw)
            .and_then(|source| source.with_unit(mapping.unit, of_pipeline))
            .map(|source| source.with_text_times(texts))
            .and_then(|source| source.with_default(mapping.default.as_deref()))
            .map_err(|error| PlanError(format!("pipeline.columns: {error}")))?;
        let making = Making {
            mask,
            ..Making::default()
        };
        let made = MadeColumn::new(source, vec![input], making, of_pipeline, None);
        let made = match (is_hidden_whole, has_objects(&self.config.format)) {
            (true, _) => made.hiding_whole(),
            (false, true) => made.hiding(within),
            (false, false) => made.hiding(within).of_text(),
        };
        self.made.push(made);
        Ok(())
    }

    fn input(&mut self, field: &str) -> Result<Input, PlanError> {
        let path = parse(field)?;
        let explode = self.explode.as_ref();
        let of_element =
            explode.and_then(|explode| Some((explode.steps_below(&path)?, explode.slot)));
        if let Some((steps, slot)) = of_element {
            return Ok(Input {
                path: field.into(),
                slot,
                steps: steps.into(),
                of_element: true,
            });
        }
        let steps = path.steps().into();
        let slot = self.slot(path);
        self.deciding.insert(slot);
        Ok(Input {
            path: field.into(),
            slot,
            steps,
            of_element: false,
        })
    }

    fn is_of_element(&mut self, is_it: bool) {
        if let Some(explode) = &mut self.explode {
            explode.of_element.push(is_it);
        }
    }

    /// A column of that name, or else the event's own field, or a path.
    pub(super) fn field(&mut self, name: &str) -> Result<Field, PlanError> {
        let is_it = |source: &ColumnSource| source.column().name == name;
        let of_element = || {
            PlanError(format!(
                "{name} is filled by the elements of explode: what decides about a record must be a field \
                 of the record itself"
            ))
        };
        if let Some(index) = self.columns.iter().position(is_it) {
            let explode = self.explode.as_ref();
            if explode.is_some_and(|explode| explode.of_element[index]) {
                return Err(of_element());
            }
            self.deciding.insert(self.columns[index].slot());
            return Ok(Field::Column(index));
        }
        // A column that a mask hides: what decides is the field that it would take.
        let mut made = self.made.iter();
        if let Some(made) = made.find(|made| made.source().column().name == name) {
            let slot = made.field_slot().ok_or_else(of_element)?;
            return Ok(Field::Slot(slot));
        }
        let path = if name.starts_with('$') {
            parse(name)?
        } else {
            Path::field(name)
        };
        let explode = self.explode.as_ref();
        if explode.is_some_and(|explode| explode.steps_below(&path).is_some()) {
            return Err(of_element());
        }
        let slot = self.slot(path);
        self.deciding.insert(slot);
        Ok(Field::Slot(slot))
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
            .encode_text_default_in(value, source.times(), &mut bytes)
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

/// Where a column's value is, as the configuration has it.
fn path_of(column: &Column, mapping: Option<&ColumnMapping>) -> String {
    let configured = mapping.and_then(|mapping| mapping.path.clone());
    configured.unwrap_or_else(|| {
        match has_part(column) && mapping.is_none() {
            true => Path::parse(&format!("$.{}", column.name)),
            false => Ok(Path::field(&column.name)),
        }
        .unwrap_or_else(|_| Path::field(&column.name))
        .to_string()
    })
}

/// Whether it is one of the columns of a Nested.
fn has_part(column: &Column) -> bool {
    matches!(column.column_type, ColumnType::Array(_)) && column.name.contains('.')
}

/// What hides a value in a column: a word where it takes one, else NULL or the default.
fn mask_for(column: &Column) -> Mask {
    let takes_words = column.column_type.is_text();
    let takes_it = takes_words && column.column_type.encode_text("***", &mut vec![]).is_ok();
    if takes_it { Mask::Redact } else { Mask::Null }
}

/// Whether a column takes what a mask makes of some value.
fn takes_masked(column_type: &ColumnType, mask: &Mask) -> bool {
    let made = match mask {
        Mask::Null => return true,
        // A name of an Enum may be any text.
        Mask::KeepLast(_) if column_type.has_enum() => return true,
        Mask::KeepLast(_) => "*",
        Mask::Redact => REDACTED,
        Mask::Hmac(_) => HMAC_EXAMPLE,
    };
    column_type.encode_text(made, &mut vec![]).is_ok()
}

/// Whether a record may have objects and arrays in it.
fn has_objects(format: &Format) -> bool {
    !matches!(format, Format::String | Format::Csv(_))
}

impl ExplodePlan {
    /// The steps from an element to what a path leads to; none for paths that lead elsewhere, or to an
    /// element by its number.
    fn steps_below(&self, path: &Path) -> Option<Vec<Step>> {
        let mut names = path.names();
        if !self.path.names().all(|name| names.next() == Some(name)) {
            return None;
        }
        let members: Vec<Step> = names.map(|name| Step::Member(name.into())).collect();
        match (members.is_empty(), path.steps()) {
            (true, [_, ..]) => None,
            (_, steps) => Some(members.into_iter().chain(steps.iter().cloned()).collect()),
        }
    }
}

/// The columns `n.a`, `n.b` of each `n` whose columns are arrays.
fn nested_columns(columns: &[Column]) -> Vec<NestedColumns> {
    let mut groups: Vec<(&str, NestedColumns)> = vec![];
    for (place, column) in columns.iter().enumerate() {
        let Some((of, _)) = column.name.split_once('.') else {
            continue;
        };
        if !matches!(column.column_type, ColumnType::Array(_)) {
            continue;
        }
        match groups.iter_mut().find(|(known, _)| *known == of) {
            Some((_, group)) => group.push(place),
            None => groups.push((of, vec![place])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
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
