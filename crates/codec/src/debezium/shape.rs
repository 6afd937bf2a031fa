//! The shapes of a value: an envelope or a flattened row, each with or without a schema block around it.

use super::columns::Columns;
use super::field::member;
use super::row::Provenance;
use crate::decode::Path;
use crate::decode::json::{Fields, Kind, Plan, Raw, Scanner};

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Envelope,
    EnvelopeInBlock,
    Flat,
    FlatInBlock,
}

/// Slots of every shape's plan. A shape without such a member has another path there, which nobody asks for.
pub(super) mod slot {
    pub(in super::super) const SCHEMA: usize = 0;
    pub(in super::super) const PAYLOAD: usize = 1;
    pub(in super::super) const OP: usize = 2;
    pub(in super::super) const SOURCE: usize = 3;
    pub(in super::super) const BEFORE: usize = 4;
    pub(in super::super) const AFTER: usize = 5;
    pub(super) const LSN: usize = 6;
    pub(super) const OTHER_LSN: usize = 7;
    pub(super) const SOURCE_TS_MS: usize = 8;
    pub(super) const SOURCE_TS_US: usize = 9;
    pub(in super::super) const CONNECTOR: usize = 10;
    pub(super) const SNAPSHOT: usize = 11;
    pub(in super::super) const FLAT_OP: usize = 12;
    pub(in super::super) const DELETED: usize = 13;
    /// Present in everything that is written beside the changes of tables.
    pub(in super::super) const TS_MS: usize = 14;
    /// In what is written of transactions.
    pub(in super::super) const STATUS: usize = 15;
    /// The source's own name of the table, wherever its records were routed to.
    pub(in super::super) const TABLE: usize = 16;
    pub(in super::super) const COLUMNS: usize = 17;

    /// Members of a flattened row that are looked for whatever the columns: a new column may be called so.
    pub(in super::super) const PROBES: [usize; 8] =
        [SCHEMA, PAYLOAD, OP, SOURCE, BEFORE, AFTER, TS_MS, STATUS];
}

/// Where an envelope has what the slots from [`slot::OP`] up to the columns want.
const ENVELOPE: [&[&str]; slot::COLUMNS - slot::OP] = [
    &["op"],
    &["source"],
    &["before"],
    &["after"],
    &["source", "lsn"],
    &["source", "lsn"],
    &["source", "ts_ms"],
    &["source", "ts_us"],
    &["source", "connector"],
    &["source", "snapshot"],
    &["op"],
    &["op"],
    &["ts_ms"],
    &["op"],
    &["source", "table"],
];

/// The same for a flattened row, to which single transforms add fields in their own spelling.
const FLAT: [&[&str]; slot::COLUMNS - slot::OP] = [
    &["op"],
    &["source"],
    &["before"],
    &["after"],
    &["__lsn"],
    &["__source_lsn"],
    &["__source_ts_ms"],
    &["__source_ts_us"],
    &["__source_connector"],
    &["__source_snapshot"],
    &["__op"],
    &["__deleted"],
    &["ts_ms"],
    &["status"],
    &["__source_table"],
];

/// Fields that flattening adds on demand: known here, so that they do not look like new columns.
const ADDED: [&str; 11] = [
    "__table",
    "__db",
    "__source_db",
    "__schema",
    "__source_schema",
    "__source_sequence",
    "__source_txId",
    "__txId",
    "__ts_ms",
    "__ts_us",
    "__ts_ns",
];

impl Shape {
    pub(super) const ALL: [Shape; 4] = [
        Shape::Envelope,
        Shape::EnvelopeInBlock,
        Shape::Flat,
        Shape::FlatInBlock,
    ];

    pub(super) fn is_in_block(self) -> bool {
        matches!(self, Shape::EnvelopeInBlock | Shape::FlatInBlock)
    }

    pub(super) fn is_flat(self) -> bool {
        matches!(self, Shape::Flat | Shape::FlatInBlock)
    }

    fn of(is_flat: bool, is_in_block: bool) -> Shape {
        Shape::ALL[usize::from(is_flat) * 2 + usize::from(is_in_block)]
    }

    /// A scanner for the values of this shape.
    pub(super) fn scanner(self, columns: &Columns) -> Scanner {
        let path = |names: &[&str]| {
            let outer = self.is_in_block().then_some("payload");
            let mut names = outer.into_iter().chain(names.iter().copied());
            let first = Path::field(names.next().unwrap_or_default());
            names.fold(first, |path, name| path.member(name))
        };
        let parts = if self.is_flat() { FLAT } else { ENVELOPE };
        let mut paths = vec![Path::field("schema"), Path::field("payload")];
        paths.extend(parts.iter().map(|names| path(names)));
        paths.extend(columns.iter().map(|(name, _)| {
            if self.is_flat() {
                path(&[name])
            } else {
                path(&["after", name])
            }
        }));
        if self.is_flat() {
            paths.extend(ADDED.iter().map(|name| path(&[name])));
        }
        let watched = match self {
            Shape::Envelope | Shape::EnvelopeInBlock => Some(path(&["after"])),
            Shape::Flat => None,
            Shape::FlatInBlock => Some(Path::field("payload")),
        };
        Scanner::new(Plan::new(&paths).watching(watched.as_ref()))
    }

    /// The shape of a value that was scanned as this one; only another one's scanner can tell both its
    /// parts, so ask again after a change.
    pub(super) fn judge(self, fields: &Fields<'_, '_>) -> Shape {
        let is_in_block = has_block(
            fields.get(slot::SCHEMA),
            fields.get(slot::PAYLOAD),
            fields.whole(),
        );
        if is_in_block != self.is_in_block() {
            return Shape::of(self.is_flat(), is_in_block);
        }
        // Nothing to tell by: a tombstone of the converter's own making.
        if is_in_block && fields.get(slot::PAYLOAD).kind() == Kind::Null {
            return self;
        }
        Shape::of(!is_envelope(fields), is_in_block)
    }

    /// Whether the rest of a record behind its schema block, scanned as this shape, has it.
    pub(super) fn is_of_rest(self, fields: &Fields<'_, '_>) -> bool {
        fields.get(slot::SCHEMA).kind() == Kind::Absent
            && fields.get(slot::PAYLOAD).kind() == Kind::Object
            && is_envelope(fields) != self.is_flat()
    }
}

fn is_envelope(fields: &Fields<'_, '_>) -> bool {
    fields.get(slot::OP).kind() == Kind::String && fields.get(slot::SOURCE).kind() == Kind::Object
}

/// `{"schema":…,"payload":…}`: a table may have columns of these names, but not of these forms.
pub(super) fn is_in_block(schema: Raw<'_>, payload: Raw<'_>) -> bool {
    let has_type = || member(schema, "type").kind() == Kind::String;
    let is_block = schema.kind() == Kind::Null || schema.kind() == Kind::Object && has_type();
    matches!(payload.kind(), Kind::Object | Kind::Null) && is_block
}

/// The same of a whole record. Any column may be null: a converter without a block writes nothing beside
/// these two.
#[must_use]
pub fn has_block(schema: Raw<'_>, payload: Raw<'_>, record: Raw<'_>) -> bool {
    let is_part = |name: &str| matches!(name, "schema" | "payload");
    let is_alone = || record.members().all(|(name, _)| is_part(&name));
    is_in_block(schema, payload) && (schema.kind() != Kind::Null || is_alone())
}

pub(super) fn provenance<'a>(fields: &Fields<'_, 'a>) -> Provenance<'a> {
    let lsn = fields.get(slot::LSN);
    let provenance = Provenance {
        lsn: if lsn.is_missing() {
            fields.get(slot::OTHER_LSN)
        } else {
            lsn
        },
        source_ts_ms: fields.get(slot::SOURCE_TS_MS),
        source_ts_us: fields.get(slot::SOURCE_TS_US),
        connector: fields.get(slot::CONNECTOR),
        snapshot: fields.get(slot::SNAPSHOT),
        ..Provenance::NONE
    };
    provenance.of_connector()
}
