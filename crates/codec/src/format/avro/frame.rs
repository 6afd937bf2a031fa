//! The frames of schema registries: which schema a record was written by.

use std::fmt;

use crate::decode::{Reason, Reject};

/// What names a schema in a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchemaKey {
    /// Its number.
    Id(u32),
    /// Its GUID.
    Guid([u8; 16]),
}

impl fmt::Display for SchemaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaKey::Id(id) => write!(f, "{id}"),
            SchemaKey::Guid(bytes) => {
                for (index, byte) in bytes.iter().enumerate() {
                    if matches!(index, 4 | 6 | 8 | 10) {
                        f.write_str("-")?;
                    }
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
        }
    }
}

/// The schema that a record begins with, and what follows.
///
/// # Errors
/// `invalid_avro`: the record does not begin with a frame.
#[inline]
pub(crate) fn split_frame(value: &[u8]) -> Result<(SchemaKey, &[u8]), Reject> {
    match read(value) {
        Some(frame) => Ok(frame),
        None => Err(no_frame(value)),
    }
}

#[inline]
fn read(value: &[u8]) -> Option<(SchemaKey, &[u8])> {
    match value.split_first()? {
        (0, rest) => {
            let (id, body) = rest.split_first_chunk()?;
            Some((SchemaKey::Id(u32::from_be_bytes(*id)), body))
        }
        (1, rest) => {
            let (guid, body) = rest.split_first_chunk()?;
            Some((SchemaKey::Guid(*guid), body))
        }
        _ => None,
    }
}

/// The schema that the header `__value_schema_id` names.
pub(crate) fn of_header(header: &[u8]) -> Result<SchemaKey, Reject> {
    match read(header) {
        Some((key, [])) => Ok(key),
        _ => {
            let detail = "the header __value_schema_id is neither 0 and an id nor 1 and a GUID";
            Err(Reject::new(Reason::InvalidAvro, detail))
        }
    }
}

#[cold]
fn no_frame(value: &[u8]) -> Reject {
    let detail = match value.first() {
        None => "the record is empty: a schema registry's frame begins with 0 or 1".to_owned(),
        Some(0 | 1) => format!("{} bytes are no schema registry's frame", value.len()),
        Some(b'{') => "the record begins with { and not with a schema registry's frame: if it is \
                       JSON, set format = \"json\""
            .to_owned(),
        Some(byte) => format!(
            "the record begins with the byte {byte:#04x} and not with a schema registry's frame: \
             name its schema in avro.schema_file"
        ),
    };
    crate::decode::guise::explained(Reject::new(Reason::InvalidAvro, detail), value)
}

/// A reject, with a hint where the record begins as a registry's frame does and is read without.
#[cold]
pub(crate) fn explained(
    reject: Reject,
    value: &[u8],
    is_read_without: bool,
    format: &str,
) -> Reject {
    match read(value) {
        Some((key, _)) if is_read_without => {
            let detail = format!(
                "{}; the record begins like a schema registry's frame of schema {key}: set \
                 {format}.framed = true to pass over it",
                reject.detail
            );
            Reject::new(reject.reason, detail)
        }
        _ => reject,
    }
}
