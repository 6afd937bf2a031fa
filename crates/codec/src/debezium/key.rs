//! The key of a record, or of a `__debezium.newkey` or `oldkey` header, as the table's key columns.

use super::frame::is_framed;
use super::modes::Modes;
use super::reading::Reading;
use super::schema::{Schema, SchemaCache};
use super::shape;
use super::value::{Outcome, Surroundings};
use super::{Columns, Failure};
use crate::decode::json::{Fields, Kind, Plan, Scanned, Scanner};
use crate::decode::{Path, Reason, Reject};

/// Names the new key in the delete that a change of a row's key begins with.
pub const NEW_KEY_HEADER: &str = "__debezium.newkey";
/// Names the old key in the insert that a change of a row's key ends with.
pub const OLD_KEY_HEADER: &str = "__debezium.oldkey";

/// Slots of the paths that tell a key with a schema block from one without.
const SCHEMA: usize = 0;
const PAYLOAD: usize = 1;
const FIRST_COLUMN: usize = 2;

/// How a record's key is to name the table's key columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Members {
    /// It has these and no others.
    Exactly,
    /// It may have others besides.
    AtLeast,
}

/// Reads keys; use one per lane and table.
#[derive(Debug)]
pub struct KeyReader {
    columns: Columns,
    bare: Scanner,
    in_block: Scanner,
    was_in_block: bool,
    typed: SchemaCache<Vec<Reading>>,
    untyped: Option<Vec<Reading>>,
    members: Members,
    had_others: bool,
}

impl KeyReader {
    /// A reader for the table's key columns, in the order in which they are wanted. `modes` are what is
    /// declared about records without a schema block.
    #[must_use]
    pub fn new(columns: Columns, modes: Option<Modes>) -> KeyReader {
        let scanner = |object: Option<Path>| {
            let column = |name: &str| match &object {
                Some(object) => object.member(name),
                None => Path::field(name),
            };
            let probes = [Path::field("schema"), Path::field("payload")];
            let columns = columns.iter().map(|(name, _)| column(name));
            let paths: Vec<Path> = probes.into_iter().chain(columns).collect();
            Scanner::new(Plan::new(&paths).watching(object.as_ref()))
        };
        KeyReader {
            bare: scanner(None),
            in_block: scanner(Some(Path::field("payload"))),
            was_in_block: false,
            typed: SchemaCache::new(),
            untyped: modes.map(|modes| columns.untyped(modes)),
            columns,
            members: Members::Exactly,
            had_others: false,
        }
    }

    /// The same reader for keys that may have more members.
    #[must_use]
    pub fn with_members(self, members: Members) -> KeyReader {
        KeyReader { members, ..self }
    }

    /// Appends the key columns as RowBinary; equal keys give equal bytes.
    ///
    /// # Errors
    /// `missing_field` without a key, as for values otherwise; a key of other members, or without any; NULL
    /// in a column that has none; a key without a schema block where no modes are declared. `out` is then as
    /// before.
    pub fn encode(&mut self, key: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Failure> {
        let key = key.ok_or_else(|| Reject::new(Reason::MissingField, "the record has no key"))?;
        self.had_others = false;
        // Bytes of another converter are no object either.
        let is_taken_from_row = self.members == Members::AtLeast && !is_object(key);
        if is_taken_from_row {
            return Err(Failure::OtherKey);
        }
        if is_framed(key) {
            return Err(Failure::Framed("key"));
        }
        let encoded = self.encode_as(key, false, out);
        match encoded {
            Err(Failure::Rejected(reject)) if is_no_object(&reject, key) => Err(Failure::OtherKey),
            other => other,
        }
    }

    /// Whether the key that was read last has members that are no columns of the table's key.
    #[must_use]
    pub fn had_others(&self) -> bool {
        self.had_others
    }

    /// `as_last`: a key without a schema block has the types of the last block there was.
    fn encode_as(&mut self, key: &[u8], as_last: bool, out: &mut Vec<u8>) -> Result<(), Failure> {
        let known = self.scan_behind_block(key);
        let has_known_block = known.is_some();
        let scanned = match known {
            Some(scanned) => scanned,
            None => self.scan(key)?,
        };
        let scanner = if self.was_in_block {
            &self.in_block
        } else {
            &self.bare
        };
        let fields = scanner.fields(scanned);
        let block = fields.get(SCHEMA);
        if !self.is_of_table(&fields) {
            return Err(Failure::OtherKey);
        }
        self.had_others = self.has_other_members(&fields);
        let readings = if self.was_in_block && block.kind() == Kind::Object {
            let columns = &self.columns;
            let made = self.typed.get(block, |schema| Ok(columns.typed(&schema)))?;
            &***made
        } else if let Some(made) = self.typed.last().filter(|_| as_last || has_known_block) {
            &***made
        } else {
            self.untyped.as_ref().ok_or(Failure::UndeclaredModes)?
        };
        let start = out.len();
        let written = append_columns(&self.columns, readings, &fields, out);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    /// Whether the key has the members that it is to have.
    fn is_of_table(&self, fields: &Fields<'_, '_>) -> bool {
        let is_there = |index| fields.get(FIRST_COLUMN + index).kind() != Kind::Absent;
        let has_all = (0..self.columns.iter().len()).all(is_there);
        has_all && (self.members == Members::AtLeast || !self.has_other_members(fields))
    }

    /// Whether the key has members that are no columns of the table's key.
    fn has_other_members(&self, fields: &Fields<'_, '_>) -> bool {
        let is_other = |(slot, name)| {
            let is_member = !self.was_in_block && fields.get(slot).kind() != Kind::Absent;
            is_member && !self.columns.has(name)
        };
        // What tells a key with a block from one without is a member like any other in the latter.
        let probes = [(SCHEMA, "schema"), (PAYLOAD, "payload")];
        fields.has_others() || probes.into_iter().any(is_other)
    }

    /// Scans what stands behind a schema block that is the one of the key before.
    #[inline]
    fn scan_behind_block<'a>(&mut self, key: &'a [u8]) -> Option<Scanned<'a>> {
        if !self.was_in_block {
            return None;
        }
        let rest = &key[self.typed.known_end(key)?..];
        // What is wrong with a key is said by who reads all of it.
        let scanned = self.in_block.read_rest(rest).ok()?;
        let fields = self.in_block.fields(scanned);
        let is_it =
            fields.get(SCHEMA).kind() == Kind::Absent && fields.get(PAYLOAD).kind() == Kind::Object;
        is_it.then_some(scanned)
    }

    /// Scans a key by the shape of the last one, and again if it has the other.
    fn scan<'a>(&mut self, key: &'a [u8]) -> Result<Scanned<'a>, Reject> {
        let (likely, other) = if self.was_in_block {
            (&mut self.in_block, &mut self.bare)
        } else {
            (&mut self.bare, &mut self.in_block)
        };
        let scanned = likely.read(Some(key))?;
        let is_in_block = is_block_and_key(&likely.fields(scanned));
        if is_in_block == self.was_in_block {
            return Ok(scanned);
        }
        self.was_in_block = is_in_block;
        other.read(Some(key))
    }

    /// The same for a header. What cannot be read is no key: headers never cost a record. A header never
    /// has a schema block, whatever the key beside it has: it is of the same types. `row`: the block of the
    /// row that the key is taken from, where the record's key does not name it.
    pub fn encode_header(
        &mut self,
        header: Option<&[u8]>,
        row: Option<&Schema>,
        out: &mut Vec<u8>,
    ) -> bool {
        if let Some(row) = row {
            return header.is_some_and(|header| self.encode_by_row(header, row, out).is_ok());
        }
        let kept = self.was_in_block;
        let read = header.is_some_and(|header| self.encode_as(header, kept, out).is_ok());
        self.was_in_block = kept;
        read
    }

    fn encode_by_row(
        &mut self,
        header: &[u8],
        row: &Schema,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let scanned = self.bare.read(Some(header))?;
        let fields = self.bare.fields(scanned);
        let start = out.len();
        let written = append_columns(&self.columns, &self.columns.typed(row), &fields, out);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }
}

/// A number, a text or an array where an object with members should be, as a transform that extracts one
/// field leaves it. Texts may be bare: a string converter writes no quotes.
fn is_no_object(reject: &Reject, key: &[u8]) -> bool {
    let is_text = || str::from_utf8(key).is_ok_and(|text| !text.trim().is_empty());
    reject.reason == Reason::NotAnObject
        || reject.reason == Reason::InvalidJson && !is_object(key) && is_text()
}

fn is_object(key: &[u8]) -> bool {
    let key = key.strip_prefix(b"\xef\xbb\xbf").unwrap_or(key);
    key.trim_ascii_start().first() == Some(&b'{')
}

fn append_columns(
    columns: &Columns,
    readings: &[Reading],
    fields: &Fields<'_, '_>,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let around = Surroundings {
        // A key is always there, whatever its text.
        placeholder: None,
        // No connector is named here. Where rows may not be negative no other key has this number.
        unsigned_as_signed: true,
    };
    let names = columns.iter().map(|(name, _)| name);
    for (index, (name, reading)) in names.zip(readings).enumerate() {
        let outcome = reading.encode(fields.get(FIRST_COLUMN + index), around, out);
        match outcome {
            Ok(Outcome::Written) => {}
            Err(reject) if reject.reason == Reason::MissingField => {
                return Err(Failure::NullInKey(name.to_owned()));
            }
            Err(reject) => return Err(reject.about(name).into()),
            Ok(Outcome::Absent | Outcome::Unavailable) => {
                let detail = "not in the record's key";
                return Err(Reject::new(Reason::MissingField, detail).about(name).into());
            }
        }
    }
    Ok(())
}

fn is_block_and_key(fields: &Fields<'_, '_>) -> bool {
    let payload = fields.get(PAYLOAD);
    payload.kind() == Kind::Object && shape::is_in_block(fields.get(SCHEMA), payload)
}
