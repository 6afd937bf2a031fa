//! Records as the kinds see them that read JSON alone: unpacked, and written as JSON where they are not.

use std::ffi::CStr;
use std::sync::Arc;
use std::time::Instant;

use super::payload::Payload;
use crate::config::{Compression, Formats, KeyFormat};
use crate::decode::{Reason, Reject};
use crate::format::{AsJson, Avro, Format, Protobuf, Purpose, SchemaError, SchemaKey, Unread};
use crate::halt::Halt;
use crate::lane::{BlockingTask, NotAccepted, Refusal};
use crate::registry::{Found, Schemas};
use crate::sink::Stage;
use crate::source::{Opened, Record};

/// The headers that name the schemas of a record in place of frames.
const VALUE_HEADER: &CStr = c"__value_schema_id";
const KEY_HEADER: &CStr = c"__key_schema_id";
/// How long schemas are kept before they are asked for again: the registry's own time is kept there.
const RENEWAL_MS: u64 = 60_000;
/// Room that is kept for the next record.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// What one lane reads its records by.
#[derive(Debug)]
pub(crate) struct Input {
    payload: Payload,
    value: Option<AsJson>,
    key: Option<AsJson>,
    /// Keys without a frame are JSON.
    key_may_be_json: bool,
    schemas: Option<Arc<Schemas>>,
    schemas_since_ms: u64,
}

/// A record on its way to an operator.
#[derive(Debug)]
pub(crate) enum Opening<'r> {
    Opened(Record<'r>, Opened<'r>),
    /// It makes no row, by a rule: the word is a metric label.
    Dropped(&'static str),
}

impl Opening<'_> {
    /// The record to be read.
    ///
    /// # Errors
    /// The rule by which it is dropped.
    pub(crate) fn record(&self) -> Result<Record<'_>, &'static str> {
        match self {
            Opening::Opened(record, opened) => Ok(record.opened(opened)),
            Opening::Dropped(rule) => Err(rule),
        }
    }
}

impl Input {
    /// `None`: records are read as they arrive.
    ///
    /// # Errors
    /// A schema of the configuration cannot be used.
    pub(crate) fn new(
        formats: &Formats,
        purpose: Purpose,
        schemas: Option<Arc<Schemas>>,
    ) -> Result<Option<Box<Input>>, Halt> {
        let unusable = |error: SchemaError| Halt::new("schema", error.to_string());
        let key = match formats.key_format {
            Some(format) => key_format(format),
            None => of_values(&formats.format),
        };
        let value = AsJson::new(&formats.format, purpose).map_err(unusable)?;
        let key = AsJson::new(&key, purpose).map_err(unusable)?;
        let is_same = formats.compression == Compression::None && value.is_none() && key.is_none();
        Ok((!is_same).then(|| {
            Box::new(Input {
                payload: Payload::new(formats.compression),
                value,
                key,
                key_may_be_json: formats.key_format.is_none(),
                schemas,
                schemas_since_ms: 0,
            })
        }))
    }

    /// Reads a record as JSON.
    ///
    /// # Errors
    /// It is none of the format, or its schema has to be asked for first.
    pub(crate) fn open<'r>(&'r mut self, record: Record<'r>) -> Result<Opening<'r>, NotAccepted> {
        let Input {
            payload,
            value: values,
            key: keys,
            key_may_be_json,
            schemas,
            ..
        } = self;
        let value = payload.open(record.value()).map_err(refused)?;
        let value = match (values, value) {
            (Some(values), Some(value)) => {
                match read(values, value, record.header(VALUE_HEADER), schemas.as_ref())? {
                    Ok(value) => Some(value),
                    Err(rule) => return Ok(Opening::Dropped(rule)),
                }
            }
            (_, value) => value,
        };
        let key = match (keys, record.key()) {
            (Some(keys), Some(key)) => {
                let header = record.header(KEY_HEADER);
                let is_json = *key_may_be_json && header.is_none() && !is_framed(key);
                match is_json {
                    true => Some(key),
                    false => match read(keys, key, header, schemas.as_ref())? {
                        Ok(key) => Some(key),
                        Err(rule) => return Ok(Opening::Dropped(rule)),
                    },
                }
            }
            (_, key) => key,
        };
        Ok(Opening::Opened(record, Opened { key, value }))
    }

    /// Between chunks: gives back the room of large records, and forgets schemas from time to time.
    pub(crate) fn clear(&mut self, now_ms: u64) {
        self.payload.trim();
        let is_due = now_ms >= self.schemas_since_ms + RENEWAL_MS;
        for part in [&mut self.value, &mut self.key].into_iter().flatten() {
            part.trim(KEPT_BYTES_MAX);
            if is_due {
                part.forget_schemas();
            }
        }
        if is_due {
            self.schemas_since_ms = now_ms;
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let parts = [&self.value, &self.key].into_iter().flatten();
        self.payload.memory_bytes() + parts.map(AsJson::memory_bytes).sum::<usize>()
    }
}

/// How keys are read that are declared to be of a format. A registry has their schemas.
fn key_format(format: KeyFormat) -> Format {
    match format {
        KeyFormat::Json | KeyFormat::Text => Format::Json,
        KeyFormat::Avro => Format::Avro(Avro::default()),
        KeyFormat::Protobuf => Format::Protobuf(Protobuf::default()),
        KeyFormat::JsonSchema => Format::JsonSchema { validate: false },
    }
}

/// How keys are read of which nothing is declared: as the values, where the registry says what they are.
fn of_values(format: &Format) -> Format {
    match format {
        Format::Avro(avro) if avro.schema.is_none() => format.clone(),
        Format::Protobuf(protobuf) if protobuf.schema.is_none() => format.clone(),
        Format::JsonSchema { .. } => Format::JsonSchema { validate: false },
        _ => Format::Json,
    }
}

/// Whether a key begins as a registry's frame does: JSON and texts do not.
fn is_framed(key: &[u8]) -> bool {
    match key.first() {
        Some(0) => key.len() >= 5,
        Some(1) => key.len() >= 17,
        _ => false,
    }
}

/// A value or key as JSON; the inner error is a rule.
fn read<'r>(
    part: &'r mut AsJson,
    bytes: &'r [u8],
    header: Option<&[u8]>,
    schemas: Option<&Arc<Schemas>>,
) -> Result<Result<&'r [u8], &'static str>, NotAccepted> {
    // A first reading tells whether a schema is missing. A second borrow is what the compiler asks for.
    if let Err(Unread::NeedsSchema(key)) = part.prepare(bytes, header) {
        take_schema(part, key, schemas)?;
    }
    match part.read(bytes, header) {
        Ok(json) => Ok(Ok(json)),
        Err(Unread::Dropped(rule)) => Ok(Err(rule)),
        Err(Unread::Refused(reject)) => Err(refused(reject)),
        Err(Unread::NeedsSchema(key) | Unread::Misfit(key, _)) => Err(unknown(key, "not known")),
    }
}

#[cold]
fn take_schema(
    part: &mut AsJson,
    key: SchemaKey,
    schemas: Option<&Arc<Schemas>>,
) -> Result<(), NotAccepted> {
    let Some(schemas) = schemas else {
        return Err(unknown(key, "no [schema_registry] is configured"));
    };
    let label = schemas.label();
    let other = |format: &str| {
        let detail = format!(
            "schema {key} of the registry at {label} is of another type than the pipeline reads: set \
             format = {format:?} (or key_format, where it is the key's)"
        );
        refused(Reject::new(part.reason(), detail))
    };
    match (schemas.find(key, Instant::now()), part.format()) {
        (None, _) => Err(NotAccepted::Later(schemas.ask(key))),
        (Some(Found::Missing), _) => Err(unknown(key, &format!("not in the registry at {label}"))),
        (Some(Found::Forbidden(advice)), _) => {
            Err(NotAccepted::Halted(Halt::new("authentication", advice)))
        }
        (Some(Found::Unusable(why)), _) => Err(refused(Reject::new(part.reason(), why))),
        (Some(Found::Avro(schema)), Format::Avro(_)) => {
            part.add_avro(key, schema).map_err(|error| {
                let detail = format!("schema {key} of the registry: {error}");
                refused(Reject::new(Reason::InvalidAvro, detail))
            })
        }
        (Some(Found::Protobuf(schema)), Format::Protobuf(_)) => {
            part.add_protobuf(key, schema);
            Ok(())
        }
        (Some(Found::Json(schema)), Format::JsonSchema { .. }) => {
            part.add_json(key, schema);
            Ok(())
        }
        (Some(Found::Avro(_)), _) => Err(other("avro")),
        (Some(Found::Protobuf(_)), _) => Err(other("protobuf")),
        (Some(Found::Json(_)), _) => Err(other("json_schema")),
    }
}

/// A command cannot go on behind a record that has to wait.
#[cold]
pub(crate) fn unanswered(task: &BlockingTask) -> Halt {
    let advice = format!(
        "waits for {}, which does not answer (schema_registry.url)",
        task.what
    );
    Halt::new("schema", advice)
}

#[cold]
fn unknown(key: SchemaKey, why: &str) -> NotAccepted {
    refused(Reject::new(
        Reason::UnknownSchema,
        format!("schema {key}: {why}"),
    ))
}

#[cold]
fn refused(reject: Reject) -> NotAccepted {
    let stage = Stage::Decode;
    Refusal { stage, reject }.into()
}
