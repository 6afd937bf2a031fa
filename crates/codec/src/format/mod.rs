//! Formats: how the bytes of a record become the values that columns take.
//!
//! A format is a [`Reader`]: it reads a record whole, by a plan that was compiled at start, and hands
//! out its [`Values`] by slot, where slot `i` is the plan's path number `i`. [`ReadPlan`] chooses the
//! reader of a pipeline. The caller matches on [`AnyReader`] once a record; everything behind that is
//! dispatched statically.
//!
//! A new format is a file here that implements the two traits, and a variant of [`Format`],
//! [`ReadPlan`] and [`AnyReader`].

mod as_json;
mod avro;
mod columns;
mod csv;
mod json;
mod json_schema;
mod json_text;
mod protobuf;
mod string;
mod validation;

use std::sync::Arc;

pub use self::as_json::{AsJson, Purpose};
pub use self::avro::{Avro, Schema as AvroSchema, SchemaError, SchemaKey};
use self::avro::{AvroPlan, AvroReader};
pub use self::columns::{SchemaColumn, merged_columns};
pub use self::csv::Csv;
use self::csv::{CsvPlan, CsvReader};
pub use self::json::FramedScanner;
pub use self::json_schema::json_schema_columns;
#[cfg(any(test, fuzzing))]
pub(crate) use self::protobuf::protobuf_pool;
pub use self::protobuf::{Protobuf, ProtobufSchema};
use self::protobuf::{ProtobufPlan, ProtobufReader};
use self::string::{StringPlan, StringReader};
pub use self::validation::JsonSchema;
use crate::decode::json::{Plan, Raw, Scanner};
use crate::decode::{Path, Reject};
use crate::table::ColumnSource;

/// Reads records of one format. Keeps what it learns of the records, so use one per lane; allocates
/// nothing per record once warm.
pub trait Reader {
    /// What one record has for the plan's slots.
    type Values<'r, 'a>: Values
    where
        Self: 'r;

    /// Reads a record's value, and validates all of it. `None` is a tombstone.
    ///
    /// # Errors
    /// The record is none of the format, has no value, or makes no row by a rule of the format.
    fn read<'r, 'a>(&'r mut self, value: Option<&'a [u8]>) -> Result<Self::Values<'r, 'a>, Unread>;

    /// Names of fields that no path leads to, in the order they were met, without the first `known`.
    /// The list is limited.
    fn unknown_names(&self, known: usize) -> Vec<&str>;
}

/// Why a record has no values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// It can never be read.
    Refused(Reject),
    /// It makes no row, by a rule: the word is a metric label.
    Dropped(&'static str),
    /// It can be read once the reader has this schema.
    NeedsSchema(SchemaKey),
    /// Its schema cannot fill the table's columns.
    Misfit(SchemaKey, SchemaError),
}

impl From<Reject> for Unread {
    fn from(reject: Reject) -> Self {
        Unread::Refused(reject)
    }
}

/// The values of one record.
pub trait Values {
    /// Appends the value of a column, or what stands in for a missing one. `with_default_flag`: a byte
    /// before each value says whether the server's DEFAULT takes its place.
    ///
    /// # Errors
    /// `missing_field` when required and absent or null; whatever the conversion says, led by the
    /// column's name. `out` may then end in part of the value: cut it back to the row's start.
    fn append(
        &self,
        column: &ColumnSource,
        out: &mut Vec<u8>,
        with_default_flag: bool,
    ) -> Result<(), Reject>;

    /// The value of a slot as JSON has it: for what decides something and is no column.
    fn get(&self, slot: usize) -> Raw<'_>;
}

/// `format` of a pipeline, with the format's own keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Format {
    /// Strict JSON, one object a record.
    #[default]
    Json,
    /// Text in UTF-8: the record is one value, `$`.
    String,
    /// Lines of fields.
    Csv(Csv),
    /// JSON behind the frame of a schema registry, if there is one.
    JsonSchema {
        /// Whether records are checked by the schema that their frame names.
        validate: bool,
    },
    /// Avro's binary encoding, a record each.
    Avro(Avro),
    /// Messages of Protobuf.
    Protobuf(Protobuf),
}

/// The schema that a record, or the header in place of its frame, names, and the message of that schema,
/// where it is one of Protobuf; `None`: it begins with no frame.
#[must_use]
pub fn schema_of(value: &[u8], header: Option<&[u8]>) -> Option<(SchemaKey, Vec<i32>)> {
    if let Some(key) = header.and_then(|header| avro::of_header(header).ok()) {
        return Some((key, vec![0]));
    }
    let (key, body) = avro::split_frame(value).ok()?;
    let place = protobuf::split_indexes(body);
    Some((
        key,
        place.map_or_else(|_| vec![0], |(place, _)| place.into_owned()),
    ))
}

impl Format {
    /// Whether the schemas of records are those that a registry has.
    #[must_use]
    pub fn needs_registry(&self) -> bool {
        match self {
            Format::Avro(avro) => avro.schema.is_none(),
            Format::Protobuf(protobuf) => protobuf.schema.is_none(),
            Format::JsonSchema { validate } => *validate,
            _ => false,
        }
    }
}

/// What is wanted of a record for one slot.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Where it lies.
    pub path: Path,
    /// The column that takes it.
    pub column: Option<ColumnSource>,
    /// Whether [`Values::get`] is called for it, for it decides something.
    pub is_asked_for: bool,
}

/// The compiled paths of a pipeline. Shared by the lanes.
#[derive(Debug, Clone)]
pub enum ReadPlan {
    /// Of JSON.
    Json(Arc<Plan>),
    /// Of JSON behind frames, and whether it is validated.
    JsonSchema(Arc<Plan>, bool),
    /// Of texts.
    String(Arc<StringPlan>),
    /// Of lines.
    Csv(Arc<CsvPlan>),
    /// Of Avro.
    Avro(Arc<AvroPlan>),
    /// Of messages.
    Protobuf(Arc<ProtobufPlan>),
}

/// The reader of one lane.
#[derive(Debug)]
pub enum AnyReader {
    /// Of JSON.
    Json(Scanner),
    /// Of JSON behind frames.
    JsonSchema(FramedScanner),
    /// Of texts.
    String(StringReader),
    /// Of lines.
    Csv(CsvReader),
    /// Of Avro.
    Avro(Box<AvroReader>),
    /// Of messages.
    Protobuf(Box<ProtobufReader>),
}

impl ReadPlan {
    /// Compiles the paths; slot `i` is that of `wishes[i]`. `columns`: those that records fill, in the
    /// table's order.
    ///
    /// # Errors
    /// The schema of the records cannot fill the columns.
    pub fn new(
        format: &Format,
        wishes: Vec<Wish>,
        columns: &[String],
    ) -> Result<ReadPlan, SchemaError> {
        let paths: Vec<Path> = wishes.iter().map(|wish| wish.path.clone()).collect();
        Ok(match format {
            Format::Json => ReadPlan::Json(Arc::new(Plan::new(&paths))),
            Format::JsonSchema { validate } => {
                ReadPlan::JsonSchema(Arc::new(Plan::new(&paths)), *validate)
            }
            Format::String => ReadPlan::String(Arc::new(StringPlan::new(&paths))),
            Format::Csv(csv) => ReadPlan::Csv(Arc::new(CsvPlan::new(csv, &paths, columns))),
            Format::Avro(avro) => ReadPlan::Avro(Arc::new(AvroPlan::new(avro, wishes)?)),
            Format::Protobuf(protobuf) => {
                ReadPlan::Protobuf(Arc::new(ProtobufPlan::new(protobuf, wishes)?))
            }
        })
    }

    /// A reader for the plan.
    #[must_use]
    pub fn reader(&self) -> AnyReader {
        match self {
            ReadPlan::Json(plan) => AnyReader::Json(Scanner::new(plan.clone())),
            ReadPlan::JsonSchema(plan, validates) => {
                let scanner = Scanner::new(plan.clone());
                AnyReader::JsonSchema(FramedScanner::new(scanner, *validates))
            }
            ReadPlan::String(plan) => AnyReader::String(StringReader::new(plan.clone())),
            ReadPlan::Csv(plan) => AnyReader::Csv(CsvReader::new(plan.clone())),
            ReadPlan::Avro(plan) => AnyReader::Avro(Box::new(AvroReader::new(plan.clone()))),
            ReadPlan::Protobuf(plan) => {
                AnyReader::Protobuf(Box::new(ProtobufReader::new(plan.clone())))
            }
        }
    }
}

impl AnyReader {
    /// Gives back the room that a large record took.
    pub fn trim(&mut self) {
        if let AnyReader::Avro(reader) = self {
            reader.trim();
        }
    }

    /// Texts and schemas that it keeps.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match self {
            AnyReader::Avro(reader) => reader.memory_bytes(),
            AnyReader::JsonSchema(reader) => reader.memory_bytes(),
            _ => 0,
        }
    }

    /// [`Reader::unknown_names`]
    #[must_use]
    pub fn unknown_names(&self, known: usize) -> Vec<&str> {
        match self {
            AnyReader::Json(reader) => Reader::unknown_names(reader, known),
            AnyReader::JsonSchema(reader) => reader.unknown_names(known),
            AnyReader::String(reader) => reader.unknown_names(known),
            AnyReader::Csv(reader) => reader.unknown_names(known),
            AnyReader::Avro(reader) => reader.unknown_names(known),
            AnyReader::Protobuf(reader) => reader.unknown_names(known),
        }
    }
}
