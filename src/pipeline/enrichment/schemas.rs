//! Schemas that records need, from the registry.

use std::ffi::CStr;
use std::time::Instant;

use super::EnrichmentOperator;
use super::reading::at;
use crate::decode::{Reason, Reject};
use crate::format::{AnyReader, SchemaKey};
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
        let schema = match schemas.find(key, Instant::now()) {
            None => return Err(NotAccepted::Later(schemas.ask(key))),
            Some(Found::Schema(schema)) => schema,
            Some(Found::Missing) => {
                let (label, doubt) = (schemas.label(), schemas.doubt());
                let detail = format!("schema {key}: not in the registry at {label}{doubt}");
                let reject = Reject::new(Reason::UnknownSchema, detail);
                return Err(at(Stage::Decode)(reject).into());
            }
            Some(Found::Unusable(why)) => return Err(Halt::new("schema", why).into()),
        };
        let AnyReader::Avro(reader) = &mut self.reader else {
            return Ok(());
        };
        reader.add_schema(key, schema).map_err(|error| {
            let table = &self.table.target.label;
            let advice = format!(
                "table {table} cannot be filled by schema {key} of the registry at {}: {error}",
                schemas.label()
            );
            NotAccepted::from(Halt::new("schema", advice))
        })
    }

    /// Schemas are asked for again from time to time; what is kept beside the lanes answers at once.
    pub(super) fn renew_schemas(&mut self, now_ms: u64) {
        let AnyReader::Avro(reader) = &mut self.reader else {
            return;
        };
        if now_ms >= self.schemas_since_ms + RENEWAL_MS {
            reader.forget_schemas();
            self.schemas_since_ms = now_ms;
        }
    }
}
