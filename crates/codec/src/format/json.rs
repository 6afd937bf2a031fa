//! `format = "json"`: the scanner finds the values, columns are encoded from where they lie.

use std::sync::Arc;

use super::validation::{JsonSchema, Validation, unframed};
use super::{Reader, SchemaKey, Unread, Values};
use crate::decode::Reject;
use crate::decode::json::{Fields, Raw, Scanner};
use crate::table::ColumnSource;

impl Reader for Scanner {
    type Values<'r, 'a> = Fields<'r, 'a>;

    #[inline(always)]
    fn read<'r, 'a>(&'r mut self, value: Option<&'a [u8]>) -> Result<Fields<'r, 'a>, Unread> {
        Ok(self.scan(value)?)
    }

    fn unknown_names(&self, known: usize) -> Vec<&str> {
        Scanner::unknown_names(self).skip(known).collect()
    }
}

/// `format = "json_schema"`: JSON behind the frame of a schema registry, which is passed over unless records
/// are validated.
#[derive(Debug)]
pub struct FramedScanner {
    scanner: Scanner,
    validation: Option<Box<Validation>>,
}

impl FramedScanner {
    pub(super) fn new(scanner: Scanner, validates: bool) -> Self {
        FramedScanner {
            scanner,
            validation: validates.then(Box::default),
        }
    }

    /// The header `__value_schema_id` of the next record.
    ///
    /// # Errors
    /// It names no schema, and records are validated.
    #[inline]
    pub fn set_header(&mut self, header: Option<&[u8]>) -> Result<(), Reject> {
        match &mut self.validation {
            Some(validation) => validation.set_header(header),
            None => Ok(()),
        }
    }

    /// Whether it asks for schemas.
    #[must_use]
    pub fn validates(&self) -> bool {
        self.validation.is_some()
    }

    /// Takes a schema that [`Unread::NeedsSchema`] asked for.
    pub fn add_schema(&mut self, key: SchemaKey, schema: Arc<JsonSchema>) {
        if let Some(validation) = &mut self.validation {
            validation.add(key, schema);
        }
    }

    /// Forgets the schemas, so that they are asked for again.
    pub fn forget_schemas(&mut self) {
        if let Some(validation) = &mut self.validation {
            validation.forget();
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let validation = self.validation.as_ref();
        validation.map_or(0, |validation| validation.text_bytes())
    }
}

impl Reader for FramedScanner {
    type Values<'r, 'a> = Fields<'r, 'a>;

    fn read<'r, 'a>(&'r mut self, value: Option<&'a [u8]>) -> Result<Fields<'r, 'a>, Unread> {
        let body = match (&self.validation, value) {
            (Some(validation), Some(value)) => Some(validation.check(value)?),
            (_, value) => value.map(unframed),
        };
        Ok(self.scanner.scan(body)?)
    }

    fn unknown_names(&self, known: usize) -> Vec<&str> {
        Reader::unknown_names(&self.scanner, known)
    }
}

impl Values for Fields<'_, '_> {
    #[inline(always)]
    fn append(
        &self,
        column: &ColumnSource,
        out: &mut Vec<u8>,
        with_default_flag: bool,
    ) -> Result<(), Reject> {
        column.encode(self, out, with_default_flag)
    }

    #[inline(always)]
    fn get(&self, slot: usize) -> Raw<'_> {
        Fields::get(self, slot)
    }
}
