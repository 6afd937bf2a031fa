//! Records that Debezium writes beside the changes of tables, recognised by what is in them: the names
//! of their topics are the user's choice.

use super::field::member;
use crate::decode::json::{Kind, Raw};

/// Why a record changes no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoChange {
    /// `op` is `m`: a logical message.
    Message,
    /// A sign of life of the connector.
    Heartbeat,
    /// Begin or end of a transaction.
    Transaction,
    /// A change of a table's definition, or the history of such changes.
    SchemaChange,
    /// A row of the table by which the connector is given orders.
    Signal,
}

impl NoChange {
    /// The name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            NoChange::Message => "message",
            NoChange::Heartbeat => "heartbeat",
            NoChange::Transaction => "transaction",
            NoChange::SchemaChange => "schema_change",
            NoChange::Signal => "signal",
        }
    }
}

/// What the name of a schema block says of a record, in every release since 1.9.
pub(super) fn of_schema(name: &str) -> Option<NoChange> {
    let name = name.strip_prefix("io.debezium.connector.")?;
    match name.rsplit('.').next()? {
        "SchemaChangeValue" => Some(NoChange::SchemaChange),
        "TransactionMetadataValue" => Some(NoChange::Transaction),
        "Heartbeat" => Some(NoChange::Heartbeat),
        _ => None,
    }
}

/// What a value that is no envelope is, if it is no flattened row. Releases before 2.0 wrote no `ts_ms`
/// into what they say of schemas and transactions.
pub(super) fn recognise(key: Option<&[u8]>, value: Raw<'_>) -> Option<NoChange> {
    let (mut count, mut seen) = (0, 0);
    for (name, member) in value.members() {
        count += 1;
        seen |= mark(&name, member);
    }
    let has = |marks: u16| seen & marks == marks;
    let is_of_schema = has(DDL | SOURCE) && (has(TABLE_CHANGES) || has(POSITION));
    let is_of_transaction = has(STATUS | ID | EVENT_COUNT | DATA_COLLECTIONS);
    if is_of_schema {
        Some(NoChange::SchemaChange)
    } else if is_of_transaction && count == 4 + u32::from(has(TS_MS)) {
        Some(NoChange::Transaction)
    } else if count == 1 && has(TS_MS) && key.is_some_and(is_heartbeat_key) {
        Some(NoChange::Heartbeat)
    } else {
        None
    }
}

const DDL: u16 = 1;
const TABLE_CHANGES: u16 = 1 << 1;
const SOURCE: u16 = 1 << 2;
const STATUS: u16 = 1 << 3;
const ID: u16 = 1 << 4;
const EVENT_COUNT: u16 = 1 << 5;
const DATA_COLLECTIONS: u16 = 1 << 6;
const TS_MS: u16 = 1 << 7;
/// Of the history of a schema, which only its own connector reads.
const POSITION: u16 = 1 << 8;

fn mark(name: &str, value: Raw<'_>) -> u16 {
    match (name, value.kind()) {
        ("ddl", Kind::String | Kind::Null) => DDL,
        ("tableChanges", Kind::Array | Kind::Null) => TABLE_CHANGES,
        ("position", Kind::Object) => POSITION,
        ("source", Kind::Object) => SOURCE,
        ("status", Kind::String) if matches!(value.as_received(), "BEGIN" | "END") => STATUS,
        ("id", Kind::String) => ID,
        ("event_count", Kind::Number | Kind::Null) => EVENT_COUNT,
        ("data_collections", Kind::Array | Kind::Null) => DATA_COLLECTIONS,
        ("ts_ms", Kind::Number) => TS_MS,
        _ => 0,
    }
}

/// `{"serverName":…}`, with or without a schema block.
fn is_heartbeat_key(key: &[u8]) -> bool {
    let parsed = str::from_utf8(key)
        .ok()
        .and_then(|key| Raw::parse(key).ok());
    let Some(key) = parsed else {
        return false;
    };
    let payload = member(key, "payload");
    let key = if payload.kind() == Kind::Object {
        payload
    } else {
        key
    };
    key.members().count() == 1 && member(key, "serverName").kind() == Kind::String
}

/// Whether a record is one of a signal table: its topic ends with the table's name, or its source's
/// table is called so, wherever the records were routed to.
pub(super) fn is_signal(signal_tables: &[Box<str>], topic: &str, source_table: Raw<'_>) -> bool {
    signal_tables.iter().any(|table| {
        let before = topic.strip_suffix(&**table);
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
            // The parts before the name itself are in other members for each database.
            || source_table.kind() == Kind::String && source_table.as_received() == &**table
    })
}

/// Whether a row is one of the two that a connector itself writes into its signal table around each part
/// of an incremental snapshot: a table that was not named as one is told by them.
pub(super) fn is_window_of_snapshot(image: Raw<'_>) -> bool {
    let is_window = |name: &str, value: Raw<'_>| match name {
        "type" => matches!(
            value.as_received(),
            "snapshot-window-open" | "snapshot-window-close"
        ),
        "id" | "data" => true,
        _ => false,
    };
    let (mut count, mut is_it) = (0, true);
    for (name, value) in image.members() {
        count += 1;
        is_it &= is_window(&name, value);
        if !is_it {
            return false;
        }
    }
    count == 3
}
