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

/// What a value that is no envelope is, if it is no flattened row.
pub(super) fn recognise(key: Option<&[u8]>, value: Raw<'_>) -> Option<NoChange> {
    let (mut count, mut seen) = (0, 0);
    for (name, member) in value.members() {
        count += 1;
        seen |= mark(&name, member);
    }
    let has = |marks: u8| seen & marks == marks;
    if has(DDL | TABLE_CHANGES | SOURCE) {
        Some(NoChange::SchemaChange)
    } else if count == 5 && has(STATUS | ID | EVENT_COUNT | DATA_COLLECTIONS) {
        Some(NoChange::Transaction)
    } else if count == 1 && has(TS_MS) && key.is_some_and(is_heartbeat_key) {
        Some(NoChange::Heartbeat)
    } else {
        None
    }
}

const DDL: u8 = 1;
const TABLE_CHANGES: u8 = 1 << 1;
const SOURCE: u8 = 1 << 2;
const STATUS: u8 = 1 << 3;
const ID: u8 = 1 << 4;
const EVENT_COUNT: u8 = 1 << 5;
const DATA_COLLECTIONS: u8 = 1 << 6;
const TS_MS: u8 = 1 << 7;

fn mark(name: &str, value: Raw<'_>) -> u8 {
    match (name, value.kind()) {
        ("ddl", Kind::String | Kind::Null) => DDL,
        ("tableChanges", Kind::Array) => TABLE_CHANGES,
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

/// Whether a row is one of a signal table: its topic says so, and it has exactly the columns such a
/// table must have.
pub(super) fn is_signal(topic: &str, image: Raw<'_>) -> bool {
    let table = topic.rsplit('.').next().unwrap_or_default();
    let is_column = |name: &str| matches!(name, "id" | "type" | "data");
    table.contains("signal")
        && image.members().count() == 3
        && image.members().all(|(name, _)| is_column(&name))
}
