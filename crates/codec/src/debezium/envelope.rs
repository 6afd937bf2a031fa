//! Records' values, whatever shape their producer gave them.

use std::sync::atomic::{AtomicU64, Ordering};

use super::columns::Columns;
use super::frame::is_framed;
use super::modes::{Modes, UnsignedMode};
use super::placeholder::Placeholder;
use super::reading::Reading;
use super::row::{Change, Delete, Deletion, Operation, Provenance, Row, Types};
use super::schema::{Schema, SchemaCache};
use super::shape::{self, Shape, slot};
use super::side::{self, NoChange};
use super::{Failure, SIGNAL_TABLE, UNAVAILABLE_VALUE};
use crate::decode::json::{Fields, Kind, Raw, Scanned, Scanner};
use crate::decode::{Reason, Reject};

/// Reads the values of one table's records; use one per lane and table. It keeps what it learns of
/// their shape and their schema blocks, and allocates nothing per record once warm.
#[derive(Debug)]
pub struct RowReader {
    columns: Columns,
    /// One for each shape, made when the shape is first met.
    scanners: [Option<Scanner>; Shape::ALL.len()],
    shape: Shape,
    typed: SchemaCache<Typed>,
    untyped: Option<Vec<Reading>>,
    modes: Option<Modes>,
    placeholder: Placeholder,
    signal_tables: Vec<Box<str>>,
}

/// Blocks that were parsed so far.
static BLOCKS: AtomicU64 = AtomicU64::new(0);

/// What is made of a schema block.
#[derive(Debug)]
struct Typed {
    schema: Schema,
    number: u64,
    readings: Vec<Reading>,
    /// Its records are of no table.
    no_change: Option<NoChange>,
}

impl Typed {
    fn new(schema: Schema, columns: &Columns) -> Typed {
        Typed {
            number: BLOCKS.fetch_add(1, Ordering::Relaxed),
            readings: columns.typed(&schema),
            no_change: schema.name().and_then(side::of_schema),
            schema,
        }
    }

    fn types<'s>(&'s self, columns: &'s Columns, placeholder: &'s Placeholder) -> Types<'s> {
        Types {
            columns,
            readings: &self.readings,
            schema: Some(&self.schema),
            schema_number: self.number,
            placeholder,
        }
    }
}

impl RowReader {
    /// A reader for these columns. `modes` are what is declared about records without a schema block.
    #[must_use]
    pub fn new(columns: Columns, modes: Option<Modes>) -> RowReader {
        RowReader {
            scanners: [const { None }; Shape::ALL.len()],
            shape: Shape::Envelope,
            typed: SchemaCache::new(),
            untyped: modes.map(|modes| columns.untyped(modes)),
            modes,
            placeholder: Placeholder::new(UNAVAILABLE_VALUE, modes.map(|modes| modes.binary)),
            signal_tables: vec![SIGNAL_TABLE.into()],
            columns,
        }
    }

    /// The same reader for connectors whose signal tables are called so.
    #[must_use]
    pub fn with_signal_tables(self, names: &[String]) -> RowReader {
        let signal_tables = names.iter().map(|name| name.as_str().into()).collect();
        RowReader {
            signal_tables,
            ..self
        }
    }

    /// The same reader for a connector with its own `unavailable.value.placeholder`.
    #[must_use]
    pub fn with_placeholder(mut self, placeholder: &str) -> RowReader {
        let binary = self.modes.map(|modes| modes.binary);
        self.placeholder = Placeholder::new(placeholder, binary);
        self
    }

    /// Says which change a record is.
    ///
    /// # Errors
    /// `invalid_json`, `too_deep`, `not_an_object`, `unknown_operation`, `missing_field` for an envelope
    /// without its image, `unknown_type` for a schema block that is none; a row without a schema block
    /// where no modes are declared; what is written for a schema registry; documents.
    pub fn read<'s, 'a>(
        &'s mut self,
        topic: &str,
        key: Option<&'a [u8]>,
        value: Option<&'a [u8]>,
    ) -> Result<Change<'s, 'a>, Failure> {
        let Some(value) = value else {
            return Ok(gone(Deletion::Tombstone));
        };
        if value.trim_ascii() == b"null" {
            return Ok(gone(Deletion::JsonNull));
        }
        if is_framed(value) {
            return Err(Failure::Framed("value"));
        }
        let known = self.scan_behind_block(value);
        let has_known_block = known.is_some();
        let scanned = match known {
            Some(scanned) => scanned,
            None => self.scan(value)?,
        };
        let shape = self.shape;
        let scanner = self.scanners[shape as usize].as_ref();
        let fields = scanner.expect("it has just read").fields(scanned);
        if shape.is_in_block() && fields.get(slot::PAYLOAD).kind() == Kind::Null {
            return Ok(gone(Deletion::JsonNull));
        }
        let record = Record {
            shape,
            fields,
            topic,
            key,
            signal_tables: &self.signal_tables,
        };
        let mut verdict = record.verdict()?;
        if matches!(verdict, Verdict::Row(_)) && shape == Shape::FlatInBlock {
            let block = fields.get(slot::SCHEMA);
            let made = match self.typed.last().filter(|_| has_known_block) {
                Some(made) => Some(made),
                None if block.kind() == Kind::Object => {
                    let columns = &self.columns;
                    Some(
                        self.typed
                            .get(block, |schema| Ok(Typed::new(schema, columns)))?,
                    )
                }
                None => None,
            };
            if let Some(why) = made.and_then(|made| made.no_change) {
                verdict = Verdict::None(why);
            }
        }
        let (operation, deleted) = match verdict {
            Verdict::None(why) => return Ok(Change::None(why)),
            Verdict::Truncate => return Ok(Change::Truncate(shape::provenance(&fields))),
            Verdict::Row(operation) => (Some(operation), None),
            Verdict::Delete(deletion) => (None, Some(deletion)),
        };
        let types = types(
            &self.columns,
            &mut self.typed,
            self.untyped.as_deref(),
            &self.placeholder,
            shape,
            &fields,
            has_known_block,
        )?;
        let mut provenance = shape::provenance(&fields);
        if let Some(mode) = self.modes.and_then(|modes| modes.unsigned) {
            provenance.writes_unsigned_as_signed = mode == UnsignedMode::Long;
        }
        let before = record.before();
        let is_flat = shape.is_flat();
        Ok(match (operation, deleted) {
            (Some(operation), _) => Change::Row(Row {
                operation,
                before: if is_flat { Raw::ABSENT } else { before },
                after: record.after(),
                is_flat,
                fields,
                first_column: slot::COLUMNS,
                types,
                provenance,
            }),
            (None, deletion) => Change::Delete(Delete {
                deletion: deletion.unwrap_or(Deletion::Envelope),
                before,
                types: Some(types),
                provenance,
            }),
        })
    }

    /// Scans what stands behind a schema block that is the one of the record before.
    #[inline]
    fn scan_behind_block<'a>(&mut self, value: &'a [u8]) -> Option<Scanned<'a>> {
        if !self.shape.is_in_block() {
            return None;
        }
        let rest = &value[self.typed.known_end(value)?..];
        let scanner = self.scanners[self.shape as usize].as_mut()?;
        // What is wrong with a record is said by who reads all of it.
        let scanned = scanner.read_rest(rest).ok()?;
        let is_it = self.shape.is_of_rest(&scanner.fields(scanned));
        is_it.then_some(scanned)
    }

    /// Scans a value by the shape of the last one, and again if it turns out to have another.
    fn scan<'a>(&mut self, value: &'a [u8]) -> Result<Scanned<'a>, Reject> {
        let mut tried = [false; Shape::ALL.len()];
        loop {
            let shape = self.shape;
            tried[shape as usize] = true;
            let scanner =
                self.scanners[shape as usize].get_or_insert_with(|| shape.scanner(&self.columns));
            let scanned = scanner.read(Some(value))?;
            let actual = shape.judge(&scanner.fields(scanned));
            // A record that is every shape in turn is read as the last one tried.
            if actual == shape || tried[actual as usize] {
                return Ok(scanned);
            }
            self.shape = actual;
        }
    }
}

fn types<'s>(
    columns: &'s Columns,
    typed: &'s mut SchemaCache<Typed>,
    untyped: Option<&'s [Reading]>,
    placeholder: &'s Placeholder,
    shape: Shape,
    fields: &Fields<'_, '_>,
    has_known_block: bool,
) -> Result<Types<'s>, Failure> {
    let block = fields.get(slot::SCHEMA);
    if has_known_block {
        let made = typed.last().expect("the block was found here");
        return Ok(made.types(columns, placeholder));
    }
    if !shape.is_in_block() || block.kind() != Kind::Object {
        return Ok(Types {
            columns,
            readings: untyped.ok_or(Failure::UndeclaredModes)?,
            schema: None,
            schema_number: 0,
            placeholder,
        });
    }
    let made = typed.get(block, |schema| Ok(Typed::new(schema, columns)))?;
    Ok(made.types(columns, placeholder))
}

fn gone<'s, 'a>(deletion: Deletion) -> Change<'s, 'a> {
    Change::Delete(Delete {
        deletion,
        before: Raw::ABSENT,
        types: None,
        provenance: Provenance::NONE,
    })
}

/// What a record means, before its row is looked at.
enum Verdict {
    Row(Operation),
    Delete(Deletion),
    Truncate,
    None(NoChange),
}

struct Record<'r, 's, 'a> {
    shape: Shape,
    fields: Fields<'s, 'a>,
    topic: &'r str,
    key: Option<&'r [u8]>,
    signal_tables: &'r [Box<str>],
}

impl<'a> Record<'_, '_, 'a> {
    fn verdict(&self) -> Result<Verdict, Failure> {
        if side::is_signal(self.signal_tables, self.topic, self.fields.get(slot::TABLE)) {
            return Ok(Verdict::None(NoChange::Signal));
        }
        if !self.shape.is_flat() && self.is_document() {
            return Err(Failure::Document);
        }
        let verdict = if self.shape.is_flat() {
            self.flat()?
        } else {
            self.envelope()?
        };
        let image = match verdict {
            Verdict::Row(_) => self.after(),
            Verdict::Delete(_) => self.before(),
            Verdict::Truncate | Verdict::None(_) => return Ok(verdict),
        };
        if side::is_window_of_snapshot(image) {
            return Ok(Verdict::None(NoChange::Signal));
        }
        Ok(verdict)
    }

    /// Whether an envelope is one of a connector whose images are texts.
    fn is_document(&self) -> bool {
        let is_image = |slot| self.fields.get(slot).kind() == Kind::Object;
        self.fields.get(slot::CONNECTOR).as_received() == "mongodb"
            && !is_image(slot::BEFORE)
            && !is_image(slot::AFTER)
    }

    fn envelope(&self) -> Result<Verdict, Reject> {
        let operation = match self.fields.get(slot::OP).as_received() {
            "c" => Operation::Create,
            "r" => Operation::Read,
            "u" => Operation::Update,
            "d" => return Ok(Verdict::Delete(Deletion::Envelope)),
            "t" => return Ok(Verdict::Truncate),
            "m" => return Ok(Verdict::None(NoChange::Message)),
            other => return Err(unknown_operation(other)),
        };
        match self.after().kind() {
            Kind::Object => Ok(Verdict::Row(operation)),
            Kind::Absent | Kind::Null => Err(Reject::new(
                Reason::MissingField,
                "after: a change without the row's image",
            )),
            _ => Err(Reject::new(Reason::InvalidValue, "after: not an object")),
        }
    }

    fn flat(&self) -> Result<Verdict, Reject> {
        if self.may_be_beside()
            && let Some(why) = side::recognise(self.key, self.object())
        {
            return Ok(Verdict::None(why));
        }
        let deleted = self.fields.get(slot::DELETED);
        if deleted.as_received() == "true" {
            return Ok(Verdict::Delete(Deletion::Flattened));
        }
        let operation = self.fields.get(slot::FLAT_OP);
        match operation.as_received() {
            "d" => Ok(Verdict::Delete(Deletion::Flattened)),
            "t" => Ok(Verdict::Truncate),
            "m" => Ok(Verdict::None(NoChange::Message)),
            "c" => Ok(Verdict::Row(Operation::Create)),
            "r" => Ok(Verdict::Row(Operation::Read)),
            "u" => Ok(Verdict::Row(Operation::Update)),
            _ if operation.is_missing() => Ok(Verdict::Row(Operation::Flattened)),
            other => Err(unknown_operation(other)),
        }
    }

    /// Whether a flat value has a member that is in everything written beside the changes of tables.
    fn may_be_beside(&self) -> bool {
        let status = self.fields.get(slot::STATUS);
        self.fields.get(slot::TS_MS).kind() == Kind::Number
            || self.fields.get(slot::SOURCE).kind() == Kind::Object
            || matches!(status.as_received(), "BEGIN" | "END")
    }

    fn before(&self) -> Raw<'a> {
        if self.shape.is_flat() {
            self.object()
        } else {
            self.fields.get(slot::BEFORE)
        }
    }

    fn after(&self) -> Raw<'a> {
        if self.shape.is_flat() {
            self.object()
        } else {
            self.fields.get(slot::AFTER)
        }
    }

    fn object(&self) -> Raw<'a> {
        if self.shape.is_in_block() {
            self.fields.get(slot::PAYLOAD)
        } else {
            self.fields.whole()
        }
    }
}

fn unknown_operation(operation: &str) -> Reject {
    let shown: String = operation.chars().take(20).collect();
    Reject::new(Reason::UnknownOperation, format!("op {shown:?}"))
}
