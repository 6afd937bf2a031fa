//! `format = "json"`: the scanner finds the values, columns are encoded from where they lie.

use super::avro::split_frame;
use super::{Reader, Unread, Values};
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

/// `format = "json_schema"`: JSON behind the frame of a schema registry, which is passed over.
#[derive(Debug)]
pub struct FramedScanner(pub(super) Scanner);

impl Reader for FramedScanner {
    type Values<'r, 'a> = Fields<'r, 'a>;

    fn read<'r, 'a>(&'r mut self, value: Option<&'a [u8]>) -> Result<Fields<'r, 'a>, Unread> {
        // No JSON begins with 0 or 1. Without frame a header names the schema, or nobody does.
        let body = value.map(|value| match value.first() {
            Some(0 | 1) => split_frame(value).map_or(value, |(_, body)| body),
            _ => value,
        });
        Ok(self.0.scan(body)?)
    }

    fn unknown_names(&self, known: usize) -> Vec<&str> {
        Reader::unknown_names(&self.0, known)
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
