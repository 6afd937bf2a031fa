//! Schemas that records need, from the registry.

use std::ffi::CStr;
use std::time::Instant;

use super::EnrichmentOperator;
use super::reading::at;
use crate::decode::{Reason, Reject};
use crate::format::{AnyReader, SchemaError, SchemaKey};
use crate::halt::Halt;
use crate::lane::NotAccepted;
use crate::registry::Found;
use crate::sink::Stage;

/// The header that names a record's schema in place of a frame.
pub(super) const SCHEMA_HEADER: &CStr = c"__value_schema_id";

/// How long the reader keeps schemas before it asks for them again: the registry's own time is kept there.
const RENEWAL_MS: u64 = 60_000;

impl EnrichmentOperator {
    /// Gives the reader a schema.
    ///
    /// # Errors
    /// It is not known yet, the registry does not have it, or it cannot fill the table.
    #[cold]
    pub(super) fn take_schema(&mut self, key: SchemaKey) -> Result<(), NotAccepted> {
        let Some(schemas) = self.settings.schemas.clone() else {
            let detail = format!("schema {key}, and no [schema_registry] is configured");
            let reject = Reject::new(Reason::UnknownSchema, detail);
            return Err(at(Stage::Decode)(reject).into());
        };
        let found = match schemas.find(key, Instant::now()) {
            None => return Err(NotAccepted::Later(schemas.ask(key))),
            Some(Found::Missing) => {
                let label = schemas.label();
                let detail = format!("schema {key}: not in the registry at {label}");
                let reject = Reject::new(Reason::UnknownSchema, detail);
                return Err(at(Stage::Decode)(reject).into());
            }
            Some(Found::Unusable(why)) => return Err(self.unusable(why)),
            Some(Found::Forbidden(advice)) => {
                return Err(Halt::new("authentication", advice).into());
            }
            Some(found) => found,
        };
        let added = match (&mut self.reader, found) {
            (AnyReader::Avro(reader), Found::Avro(schema)) => match schema.check_record() {
                Ok(()) => reader.add_schema(key, schema),
                Err(error) => {
                    let why = format!("schema {key} of the registry: {error}");
                    return Err(self.unusable(why));
                }
            },
            (AnyReader::Protobuf(reader), Found::Protobuf(schema)) => {
                reader.add_schema(key, schema);
                Ok(())
            }
            (AnyReader::JsonSchema(reader), Found::Json(schema)) => {
                reader.add_schema(key, schema);
                Ok(())
            }
            (_, found) => {
                let format = match found {
                    Found::Avro(_) => "avro",
                    Found::Json(_) => "json_schema",
                    _ => "protobuf",
                };
                let why = format!(
                    "schema {key} of the registry at {} is of another type than the pipeline reads: set \
                     format = {format:?}",
                    schemas.label()
                );
                return Err(self.unusable(why));
            }
        };
        added.map_err(|error| self.misfit(key, &error))
    }

    /// One producer's error must not stop the others: where all records are so, dead_letter.ratio_max halts.
    #[cold]
    fn unusable(&self, why: String) -> NotAccepted {
        let reason = match &self.reader {
            AnyReader::Protobuf(_) => Reason::InvalidProtobuf,
            AnyReader::JsonSchema(_) => Reason::SchemaViolation,
            _ => Reason::InvalidAvro,
        };
        at(Stage::Decode)(Reject::new(reason, why)).into()
    }

    /// The pipeline cannot go on behind a record whose schema does not fill the table.
    #[cold]
    pub(super) fn misfit(&self, key: SchemaKey, error: &SchemaError) -> NotAccepted {
        let table = &self.table.target.label;
        let schemas = self.settings.schemas.as_ref();
        let place = schemas.map_or_else(String::new, |schemas| schemas.label());
        let advice = format!(
            "table {table} cannot be filled by schema {key} of the registry at {place}: {error}"
        );
        Halt::new("schema", advice).into()
    }

    /// Schemas are asked for again from time to time; what is kept beside the lanes answers at once.
    pub(super) fn renew_schemas(&mut self, now_ms: u64) {
        if now_ms < self.schemas_since_ms + RENEWAL_MS {
            return;
        }
        self.schemas_since_ms = now_ms;
        match &mut self.reader {
            AnyReader::Avro(reader) => reader.forget_schemas(),
            AnyReader::Protobuf(reader) => reader.forget_schemas(),
            AnyReader::JsonSchema(reader) => reader.forget_schemas(),
            _ => {}
        }
    }
}
