//! `format = "json"`: the scanner finds the values, columns are encoded from where they lie.

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
