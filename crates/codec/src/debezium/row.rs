//! One record's value: which change it is, and the row's image in it.

use std::borrow::Cow;

use super::columns::Columns;
use super::field::member;
use super::placeholder::Placeholder;
use super::reading::Reading;
use super::schema::Schema;
use super::shape::slot;
use super::side::NoChange;
use super::value::{Outcome, Surroundings};
use crate::decode::Reject;
use crate::decode::json::{Fields, Kind, Raw};
use crate::decode::number::integer_token;

/// What a record's value says.
#[derive(Debug)]
pub enum Change<'s, 'a> {
    /// A row as it is from now on.
    Row(Row<'s, 'a>),
    /// The row of the record's key is gone.
    Delete(Delete<'s, 'a>),
    /// All rows are gone.
    Truncate(Provenance<'a>),
    /// Nothing changed.
    None(NoChange),
}

/// How a row came to be as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `c`: inserted.
    Create,
    /// `r`: read by a snapshot.
    Read,
    /// `u`: updated.
    Update,
    /// A flattened record that does not say.
    Flattened,
}

/// How a record says that its row is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// `d`.
    Envelope,
    /// `__deleted`, or `__op` is `d`.
    Flattened,
    /// The record has no value.
    Tombstone,
    /// The value is JSON's `null`.
    JsonNull,
}

/// Where a change comes from.
#[derive(Debug, Clone, Copy)]
pub struct Provenance<'a> {
    pub(super) lsn: Raw<'a>,
    pub(super) source_ts_ms: Raw<'a>,
    pub(super) source_ts_us: Raw<'a>,
    pub(super) connector: Raw<'a>,
    pub(super) snapshot: Raw<'a>,
    /// MySQL and MariaDB: integers of 64 bits without sign arrive with one.
    pub(super) writes_unsigned_as_signed: bool,
}

impl<'a> Provenance<'a> {
    pub(super) const NONE: Provenance<'static> = Provenance {
        lsn: Raw::ABSENT,
        source_ts_ms: Raw::ABSENT,
        source_ts_us: Raw::ABSENT,
        connector: Raw::ABSENT,
        snapshot: Raw::ABSENT,
        writes_unsigned_as_signed: false,
    };

    /// The position in PostgreSQL's log; none in incremental snapshots and from other databases.
    #[must_use]
    pub fn lsn(&self) -> Option<u64> {
        integer_token(self.lsn.as_received())?.unsigned(u64::MAX)
    }

    /// Microseconds since 1970-01-01 when the source committed the change, as precisely as the record
    /// has them.
    #[must_use]
    pub fn source_ts_us(&self) -> Option<i64> {
        let integer = |raw: Raw<'_>| integer_token(raw.as_received())?.signed(i64::MIN, i64::MAX);
        let from_ms = || integer(self.source_ts_ms)?.checked_mul(1000);
        integer(self.source_ts_us).or_else(from_ms)
    }

    /// The connector's name, such as `postgresql` or `mariadb`.
    #[must_use]
    pub fn connector(&self) -> Option<&'a str> {
        (self.connector.kind() == Kind::String).then(|| self.connector.as_received())
    }

    /// Which part of a snapshot the record is; none once changes stream.
    #[must_use]
    pub fn snapshot(&self) -> Option<&'a str> {
        let text = self.snapshot.as_received();
        (self.snapshot.kind() == Kind::String && text != "false").then_some(text)
    }

    /// The same, with what follows from the connector's name.
    pub(super) fn of_connector(self) -> Self {
        let writes_unsigned_as_signed = matches!(self.connector(), Some("mysql" | "mariadb"));
        Provenance {
            writes_unsigned_as_signed,
            ..self
        }
    }
}

/// What rows and deletes are read with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Types<'s> {
    pub(super) columns: &'s Columns,
    pub(super) readings: &'s [Reading],
    pub(super) schema: Option<&'s Schema>,
    /// Which of the reader's blocks that is.
    pub(super) schema_number: u64,
    pub(super) placeholder: &'s Placeholder,
}

impl Types<'_> {
    fn encode(
        &self,
        column: usize,
        raw: Raw<'_>,
        provenance: &Provenance<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Outcome, Reject> {
        let around = Surroundings {
            placeholder: Some(self.placeholder),
            unsigned_as_signed: provenance.writes_unsigned_as_signed,
        };
        self.readings[column]
            .encode(raw, around, out)
            .map_err(|reject| reject.about(self.columns.name(column)))
    }
}

/// A row as it is from now on.
#[derive(Debug)]
pub struct Row<'s, 'a> {
    pub(super) operation: Operation,
    pub(super) before: Raw<'a>,
    pub(super) after: Raw<'a>,
    pub(super) is_flat: bool,
    pub(super) fields: Fields<'s, 'a>,
    /// Slot of the first column.
    pub(super) first_column: usize,
    pub(super) types: Types<'s>,
    pub(super) provenance: Provenance<'a>,
}

impl<'s, 'a> Row<'s, 'a> {
    /// How it came to be so.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// The image before the change, where the record has one: an object or nothing.
    #[must_use]
    pub fn before(&self) -> Raw<'a> {
        self.before
    }

    /// The image after the change.
    #[must_use]
    pub fn after(&self) -> Raw<'a> {
        self.after
    }

    /// The field of a column as received.
    ///
    /// # Panics
    /// When there are not so many columns.
    #[must_use]
    pub fn field(&self, column: usize) -> Raw<'a> {
        self.fields.get(self.first_column + column)
    }

    /// Appends the value of a column.
    ///
    /// # Errors
    /// The reasons of dead letters, about the column; nothing was appended then.
    ///
    /// # Panics
    /// When there are not so many columns.
    #[inline]
    pub fn encode(&self, column: usize, out: &mut Vec<u8>) -> Result<Outcome, Reject> {
        let raw = self.field(column);
        self.types.encode(column, raw, &self.provenance, out)
    }

    /// Whether the row may have fields that no column takes; costs nothing to ask.
    #[must_use]
    pub fn has_others(&self) -> bool {
        self.fields.has_others() || self.is_flat && self.has_probes()
    }

    /// Whether the row has a field that is looked for in any flattened row and that no column takes.
    fn has_probes(&self) -> bool {
        let has_any = |slot: usize| self.fields.get(slot).kind() != Kind::Absent;
        slot::PROBES.into_iter().any(has_any) && self.others().next().is_some()
    }

    /// The fields that no column takes, without those that flattening adds.
    pub fn others(&self) -> impl Iterator<Item = (Cow<'a, str>, Raw<'a>)> {
        let columns = self.types.columns;
        let is_flat = self.is_flat;
        self.after
            .members()
            .filter(move |(name, _)| !(columns.has(name) || is_flat && name.starts_with("__")))
    }

    /// The record's own types, where it has a schema block.
    #[must_use]
    pub fn schema(&self) -> Option<&'s Schema> {
        self.types.schema
    }

    /// Which of the blocks that its reader has met the record has: every other block has another number.
    #[must_use]
    pub fn schema_number(&self) -> Option<u64> {
        self.types.schema.map(|_| self.types.schema_number)
    }

    /// Appends the value that a column had before the change, as [`Delete::encode_before`] does.
    ///
    /// # Errors
    /// As for rows.
    ///
    /// # Panics
    /// When there are not so many columns.
    pub fn encode_before(&self, column: usize, out: &mut Vec<u8>) -> Result<Outcome, Reject> {
        let raw = member(self.before, self.types.columns.name(column));
        self.types.encode(column, raw, &self.provenance, out)
    }

    /// Where the change comes from.
    #[must_use]
    pub fn provenance(&self) -> Provenance<'a> {
        self.provenance
    }
}

/// The row of the record's key is gone.
#[derive(Debug)]
pub struct Delete<'s, 'a> {
    pub(super) deletion: Deletion,
    pub(super) before: Raw<'a>,
    /// None where there is no image to read.
    pub(super) types: Option<Types<'s>>,
    pub(super) provenance: Provenance<'a>,
}

impl<'a> Delete<'_, 'a> {
    /// How the record says so.
    #[must_use]
    pub fn deletion(&self) -> Deletion {
        self.deletion
    }

    /// The last image, where the record has one. Unless the source writes full images, all but the key
    /// are fillers and no data.
    #[must_use]
    pub fn before(&self) -> Raw<'a> {
        self.before
    }

    /// The record's own types, where it has an image in a schema block.
    #[must_use]
    pub fn schema(&self) -> Option<&Schema> {
        self.types?.schema
    }

    /// Appends the value that a column had: for the key columns of tables whose records have no key.
    ///
    /// # Errors
    /// As for rows.
    ///
    /// # Panics
    /// When there are not so many columns.
    pub fn encode_before(&self, column: usize, out: &mut Vec<u8>) -> Result<Outcome, Reject> {
        let Some(types) = &self.types else {
            return Ok(Outcome::Absent);
        };
        let raw = member(self.before, types.columns.name(column));
        types.encode(column, raw, &self.provenance, out)
    }

    /// Where the change comes from.
    #[must_use]
    pub fn provenance(&self) -> Provenance<'a> {
        self.provenance
    }
}
