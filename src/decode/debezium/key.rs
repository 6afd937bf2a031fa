//! The key of a record, or of a `__debezium.newkey` or `oldkey` header, as the table's key columns.

use super::modes::Modes;
use super::placeholder::Placeholder;
use super::reading::Reading;
use super::schema::SchemaCache;
use super::shape;
use super::value::{Outcome, Surroundings};
use super::{Columns, Failure, UNAVAILABLE_VALUE};
use crate::decode::json::{Fields, Kind, Plan, Scanner};
use crate::decode::{Path, Reason, Reject};

/// Names the new key in the delete that a change of a row's key begins with.
pub const NEW_KEY_HEADER: &str = "__debezium.newkey";
/// Names the old key in the insert that a change of a row's key ends with.
pub const OLD_KEY_HEADER: &str = "__debezium.oldkey";

/// Slots of the paths that tell a key with a schema block from one without.
const SCHEMA: usize = 0;
const PAYLOAD: usize = 1;
const FIRST_COLUMN: usize = 2;

/// Reads keys; use one per lane and table.
#[derive(Debug)]
pub struct KeyReader {
    columns: Columns,
    bare: Scanner,
    in_block: Scanner,
    was_in_block: bool,
    typed: SchemaCache<Vec<Reading>>,
    untyped: Option<Vec<Reading>>,
    placeholder: Placeholder,
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
            Scanner::new(Plan::new(&paths))
        };
        KeyReader {
            bare: scanner(None),
            in_block: scanner(Some(Path::field("payload"))),
            was_in_block: false,
            typed: SchemaCache::new(),
            untyped: modes.map(|modes| columns.untyped(modes)),
            placeholder: Placeholder::new(UNAVAILABLE_VALUE, None),
            columns,
        }
    }

    /// Appends the key columns as RowBinary; equal keys give equal bytes.
    ///
    /// # Errors
    /// `missing_field` without a key or without one of its columns, as for values otherwise; a record
    /// without a schema block where no modes are declared. `out` is then as before.
    pub fn encode(&mut self, key: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Failure> {
        let key = key.ok_or_else(|| Reject::new(Reason::MissingField, "the record has no key"))?;
        let scanner = if self.was_in_block {
            &mut self.in_block
        } else {
            &mut self.bare
        };
        let mut scanned = scanner.read(Some(key))?;
        let is_in_block = is_block_and_key(&scanner.fields(scanned));
        if is_in_block != self.was_in_block {
            self.was_in_block = is_in_block;
            let right = if is_in_block {
                &mut self.in_block
            } else {
                &mut self.bare
            };
            scanned = right.read(Some(key))?;
        }
        let scanner = if is_in_block {
            &self.in_block
        } else {
            &self.bare
        };
        let fields = scanner.fields(scanned);
        let block = fields.get(SCHEMA);
        let readings = if is_in_block && block.kind() == Kind::Object {
            let columns = &self.columns;
            let made = self.typed.get(block, |schema| Ok(columns.typed(&schema)))?;
            &***made
        } else {
            self.untyped.as_ref().ok_or(Failure::UndeclaredModes)?
        };
        let around = Surroundings {
            placeholder: &self.placeholder,
            // No connector is named here. Where rows may not be negative no other key has this number.
            unsigned_as_signed: true,
        };
        let start = out.len();
        let names = self.columns.iter().map(|(name, _)| name);
        for (index, (name, reading)) in names.zip(readings).enumerate() {
            let written = reading.encode(fields.get(FIRST_COLUMN + index), around, out);
            let written = written.and_then(|outcome| match outcome {
                Outcome::Written => Ok(()),
                Outcome::Absent | Outcome::Unavailable => {
                    Err(Reject::new(Reason::MissingField, "not in the record's key"))
                }
            });
            if let Err(reject) = written {
                out.truncate(start);
                return Err(reject.about(name).into());
            }
        }
        Ok(())
    }

    /// The same for a header. What cannot be read is no key: headers never cost a record.
    pub fn encode_header(&mut self, header: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
        let kept = self.was_in_block;
        let read = header.is_some_and(|header| self.encode(Some(header), out).is_ok());
        self.was_in_block = kept;
        read
    }
}

fn is_block_and_key(fields: &Fields<'_, '_>) -> bool {
    let payload = fields.get(PAYLOAD);
    payload.kind() == Kind::Object && shape::is_in_block(fields.get(SCHEMA), payload)
}
