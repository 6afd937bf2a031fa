//! Debezium's change records: what changed, and the row as the columns of a table.
//!
//! [`RowReader`] says which [`Change`] a record's value is, whatever shape it has, and encodes the
//! fields of the row straight into RowBinary; [`KeyReader`] does the same for keys and for the headers of
//! key changes. A record with a schema block is read by the types the block declares ([`Schema`]),
//! another by the columns' types and the connector's [`Modes`]. A value either arrives whole or is
//! refused with a reason, or it is [`Outcome::Unavailable`]: unchanged and left out by the source.

mod calendar;
mod columns;
mod composite;
mod decimals;
mod envelope;
mod field;
mod frame;
mod key;
mod modes;
mod moment;
mod out_of_range;
mod placeholder;
mod reading;
mod row;
mod schema;
mod shape;
mod side;
#[cfg(test)]
mod tests;
mod texts;
mod value;

pub use columns::Columns;
pub use envelope::RowReader;
pub use field::{Field, FieldType, Form, Meaning, Unit};
pub use key::{KeyReader, Members, NEW_KEY_HEADER, OLD_KEY_HEADER};
pub use modes::{BinaryMode, DecimalMode, Modes, TimeMode, UNAVAILABLE_VALUE, UnsignedMode};
pub use out_of_range::OutOfRange;
pub use out_of_range::holds_time;
pub use reading::{fraction_digits, obstacle, text_of};
pub use row::{Change, Delete, Deletion, Operation, Provenance, Row};
pub use schema::Schema;
pub use shape::has_block;
pub use side::NoChange;
pub use value::Outcome;

/// The table by which a connector is given orders, where nobody calls it otherwise.
pub const SIGNAL_TABLE: &str = "debezium_signal";

use crate::decode::Reject;

/// Why a record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// This record never can: a dead letter.
    #[error(transparent)]
    Rejected(#[from] Reject),
    /// No record of this kind can before somebody says how the connector writes values.
    #[error(
        "the record has no schema block, and nothing is declared about the connector: set \
         decimal_mode, time_mode and binary_mode in [pipeline.debezium]"
    )]
    UndeclaredModes,
    /// The key has other members than the table's, or none.
    #[error("the members of the record's key are not the columns of the table's key")]
    OtherKey,
    /// A member of the key is null, and its column has no NULL.
    #[error("column {0} of the table's key is null in the record's key, and is not Nullable")]
    NullInKey(String),
    /// Written for a schema registry; the text says whose converter.
    #[error(
        "the record's {0} begins like one that is framed for a schema registry, and plain JSON is read: set \
         pipeline.format (and key_format, where keys are of another format) to \"avro\", \"protobuf\" or \
         \"json_schema\" with [schema_registry], or key.converter and value.converter of the connector to \
         org.apache.kafka.connect.json.JsonConverter"
    )]
    Framed(&'static str),
    /// MongoDB's connector writes the document as a text.
    #[error(
        "the record is one of MongoDB's connector, whose documents are texts and no rows: add the \
         transform io.debezium.connector.mongodb.transforms.ExtractNewDocumentState to the connector"
    )]
    Document,
}
