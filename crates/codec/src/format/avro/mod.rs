//! `format = "avro"`: records in Avro's binary encoding, read by the schema of their writer.
//!
//! A schema is compiled once into steps for the plan of a table: where the record is walked, which
//! values are kept, and how each becomes what its column takes. A record is walked once and validated
//! whole; its columns are written from where their values lie.

mod columns;
mod connect;
mod convert;
mod cursor;
mod frame;
mod schema;
#[cfg(test)]
mod tests;
mod text;
mod walk;

use std::collections::HashMap;
use std::sync::Arc;

use self::convert::Take;
use self::cursor::Cursor;
pub use self::frame::SchemaKey;
pub(super) use self::frame::{explained, of_header, split_frame};
pub use self::schema::{Schema, SchemaError};
pub(super) use self::text::Dress;
use self::walk::{Steps, Walking};
use super::{Reader, Unread, Values, Wish};
use crate::decode::json::{Kind, Raw};
use crate::decode::{Reason, Reject};
use crate::table::ColumnSource;

/// Schemas whose steps one lane keeps.
const SCHEMAS_MAX: usize = 1_000;
/// Bytes of them.
const SCHEMA_BYTES_MAX: usize = 32 << 20;
/// Room that is kept for texts of the next record.
const TEXT_KEPT_BYTES: usize = 1 << 20;
/// Names of fields that no path leads to, as many as are told.
const NAMES_MAX: usize = 100;

/// `[pipeline.avro]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Avro {
    /// The schema of every record; none: a registry has those that the frames name.
    pub schema: Option<Arc<Schema>>,
    /// Without a registry: whether records begin with the frame of one, which is passed over.
    pub framed: bool,
}

/// What is wanted of a record.
#[derive(Debug)]
struct Wanted {
    names: Vec<String>,
    column: Option<ColumnSource>,
    /// Whether [`Values::get`] is called for it.
    is_asked_for: bool,
}

/// What is wanted of the records of a pipeline.
#[derive(Debug)]
pub struct AvroPlan {
    wanted: Vec<Wanted>,
    compiled: Option<Arc<Compiled>>,
    framed: bool,
}

/// A schema and its steps for the plan.
#[derive(Debug)]
struct Compiled {
    schema: Arc<Schema>,
    steps: Steps,
    /// Top-level fields that no path leads to.
    unknown_names: Vec<String>,
}

/// Reads records of Avro.
#[derive(Debug)]
pub struct AvroReader {
    plan: Arc<AvroPlan>,
    compiled: HashMap<SchemaKey, Arc<Compiled>>,
    /// What those take.
    schema_bytes: usize,
    /// The key of the record's schema, where a header names it.
    header: Option<SchemaKey>,
    /// That of the record that was read last.
    current: Option<(Option<SchemaKey>, Arc<Compiled>)>,
    found: Vec<Found>,
    text: String,
    unknown_names: Vec<String>,
}

/// What a record has for a slot.
#[derive(Debug, Clone, Copy)]
enum Found {
    Absent,
    Null,
    /// Where it begins.
    Value {
        take: u32,
        at: usize,
    },
    /// The same, with its text.
    Text {
        take: u32,
        at: usize,
        natural: Natural,
    },
}

/// A value as JSON has it.
#[derive(Debug, Clone, Copy)]
struct Natural {
    kind: Kind,
    place: Place,
    from: usize,
    end: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Record,
    Text,
}

/// The values of a record.
#[derive(Debug)]
pub struct AvroValues<'r, 'a> {
    compiled: &'r Compiled,
    found: &'r [Found],
    text: &'r str,
    body: &'a [u8],
}

impl AvroPlan {
    pub(super) fn new(avro: &Avro, wishes: Vec<Wish>) -> Result<Self, SchemaError> {
        let wanted = wishes.into_iter().map(|wish| Wanted {
            names: wish.path.names().map(str::to_owned).collect(),
            column: wish.column,
            is_asked_for: wish.is_asked_for,
        });
        let mut plan = AvroPlan {
            wanted: wanted.collect(),
            compiled: None,
            framed: avro.framed,
        };
        if let Some(schema) = &avro.schema {
            plan.compiled = Some(Arc::new(Compiled::new(schema.clone(), &plan.wanted)?));
        }
        Ok(plan)
    }
}

impl Compiled {
    fn new(schema: Arc<Schema>, wanted: &[Wanted]) -> Result<Compiled, SchemaError> {
        let steps = Steps::new(&schema, wanted)?;
        for (slot, wanted) in wanted.iter().enumerate() {
            if let Some(column) = &wanted.column
                && column.is_required()
                && !steps.reached[slot]
            {
                return Err(SchemaError(format!(
                    "schema {} has no field {} for the column {}, which is required",
                    schema.name(),
                    wanted.names.join("."),
                    column.column().name
                )));
            }
        }
        let unknown_names = steps.unknown_names(&schema);
        Ok(Compiled {
            schema,
            steps,
            unknown_names,
        })
    }
}

impl AvroReader {
    pub(super) fn new(plan: Arc<AvroPlan>) -> Self {
        AvroReader {
            current: plan.compiled.clone().map(|compiled| (None, compiled)),
            found: vec![Found::Absent; plan.wanted.len()],
            plan,
            compiled: HashMap::new(),
            schema_bytes: 0,
            header: None,
            text: String::new(),
            unknown_names: vec![],
        }
    }

    /// The header `__value_schema_id` of the next record.
    ///
    /// # Errors
    /// It names no schema.
    pub fn set_header(&mut self, header: Option<&[u8]>) -> Result<(), Reject> {
        self.header = header.map(frame::of_header).transpose()?;
        Ok(())
    }

    /// Takes a schema that [`Unread::NeedsSchema`] asked for.
    ///
    /// # Errors
    /// It cannot fill the table's columns.
    pub fn add_schema(&mut self, key: SchemaKey, schema: Arc<Schema>) -> Result<(), SchemaError> {
        let compiled = Arc::new(Compiled::new(schema, &self.plan.wanted)?);
        let bytes = compiled.schema.memory_bytes();
        if self.compiled.len() >= SCHEMAS_MAX || self.schema_bytes + bytes > SCHEMA_BYTES_MAX {
            self.compiled.clear();
            self.schema_bytes = 0;
        }
        self.schema_bytes += bytes;
        self.note_names(&compiled);
        self.compiled.insert(key, compiled);
        Ok(())
    }

    /// Forgets the schemas, so that they are asked for again.
    pub fn forget_schemas(&mut self) {
        if self.plan.compiled.is_none() {
            self.compiled.clear();
            self.schema_bytes = 0;
            self.current = None;
        }
    }

    /// Gives back the room that a large record took.
    pub(super) fn trim(&mut self) {
        trim_text(&mut self.text);
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.text.capacity() + self.schema_bytes
    }

    /// The schemas that are known.
    #[must_use]
    pub fn schema_count(&self) -> usize {
        self.compiled.len()
    }

    fn note_names(&mut self, compiled: &Compiled) {
        for name in &compiled.unknown_names {
            if self.unknown_names.len() < NAMES_MAX && !self.unknown_names.contains(name) {
                self.unknown_names.push(name.clone());
            }
        }
    }

    /// The body of a record, and its schema as the current one.
    #[inline(always)]
    fn open<'a>(&mut self, value: &'a [u8]) -> Result<&'a [u8], Unread> {
        if self.plan.compiled.is_some() {
            return Ok(match (self.plan.framed, self.header) {
                (true, None) => split_frame(value)?.1,
                _ => value,
            });
        }
        let (key, body) = match self.header {
            Some(key) => (key, value),
            None => split_frame(value)?,
        };
        let is_current = matches!(&self.current, Some((Some(current), _)) if *current == key);
        if !is_current {
            let compiled = self.compiled.get(&key).ok_or(Unread::NeedsSchema(key))?;
            self.current = Some((Some(key), compiled.clone()));
        }
        Ok(body)
    }
}

#[inline(always)]
fn trim_text(text: &mut String) {
    if text.capacity() > TEXT_KEPT_BYTES {
        *text = String::new();
    }
}

impl Reader for AvroReader {
    type Values<'r, 'a> = AvroValues<'r, 'a>;

    fn read<'r, 'a>(&'r mut self, value: Option<&'a [u8]>) -> Result<AvroValues<'r, 'a>, Unread> {
        let value =
            value.ok_or_else(|| Reject::new(Reason::NullValue, "the record has no value"))?;
        let body = self.open(value)?;
        let Some((_, compiled)) = &self.current else {
            return Err(Reject::new(Reason::InvalidAvro, "the record has no schema").into());
        };
        self.found.fill(Found::Absent);
        self.text.clear();
        trim_text(&mut self.text);
        let mut cursor = Cursor::new(body, compiled.schema.len());
        let mut walking = Walking {
            schema: &compiled.schema,
            takes: &compiled.steps.takes,
            found: &mut self.found,
            text: &mut self.text,
        };
        let walked = walking.walk(&compiled.steps.root, &mut cursor);
        if let Err(fault) = walked.and_then(|()| cursor.finish()) {
            let skips = self.plan.compiled.is_some() && !self.plan.framed;
            return Err(explained(fault.reject(), value, skips, "avro").into());
        }
        Ok(AvroValues {
            compiled,
            found: &self.found,
            text: &self.text,
            body,
        })
    }

    fn unknown_names(&self, known: usize) -> Vec<&str> {
        let of_plan = self.plan.compiled.iter();
        let of_plan = of_plan.flat_map(|compiled| &compiled.unknown_names);
        let names = of_plan.chain(&self.unknown_names).take(NAMES_MAX);
        names.skip(known).map(String::as_str).collect()
    }
}

impl Values for AvroValues<'_, '_> {
    #[inline(always)]
    fn append(
        &self,
        column: &ColumnSource,
        out: &mut Vec<u8>,
        with_default_flag: bool,
    ) -> Result<(), Reject> {
        match self.found[column.slot()] {
            Found::Absent => column.encode_value(Raw::ABSENT, out, with_default_flag),
            Found::Null => column.encode_value(Raw::NULL, out, with_default_flag),
            Found::Value { take, at } => {
                let (take, cursor) = self.taken(take, at);
                let natural = || Raw::ABSENT;
                let schema = &self.compiled.schema;
                take.append(schema, cursor, natural, column, out, with_default_flag)
            }
            Found::Text { take, at, natural } => {
                let (take, cursor) = self.taken(take, at);
                let natural = || self.natural(natural);
                let schema = &self.compiled.schema;
                take.append(schema, cursor, natural, column, out, with_default_flag)
            }
        }
    }

    fn get(&self, slot: usize) -> Raw<'_> {
        match self.found[slot] {
            Found::Absent | Found::Value { .. } => Raw::ABSENT,
            Found::Null => Raw::NULL,
            Found::Text { natural, .. } => self.natural(natural),
        }
    }
}

impl<'a> AvroValues<'_, 'a> {
    /// How a value is taken, and where it is.
    #[inline(always)]
    fn taken(&self, take: u32, at: usize) -> (&Take, Cursor<'a>) {
        let take = &self.compiled.steps.takes[take as usize];
        let cursor = Cursor::new(self.body, self.compiled.schema.len());
        (take, cursor.moved_to(at))
    }

    #[inline(always)]
    fn natural(&self, natural: Natural) -> Raw<'_> {
        let Natural {
            kind,
            place,
            from,
            end,
        } = natural;
        let text = match place {
            Place::Text => &self.text[from..end],
            Place::Record => simdutf8::basic::from_utf8(&self.body[from..end]).unwrap_or_default(),
        };
        match kind {
            Kind::String => Raw::string(text),
            kind => Raw::written(kind, text),
        }
    }
}
