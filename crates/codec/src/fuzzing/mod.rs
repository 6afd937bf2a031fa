//! Records and schemas of Avro and Protobuf that are any bytes, held against a second reading by `apache-avro`
//! and `prost-reflect`. No part of the daemon: compiled for fuzz targets and tests only.
//!
//! The first byte of an input says what the others are:
//!
//! | first byte | [`avro::avro`] | [`protobuf::protobuf`] |
//! |---|---|---|
//! | a digit | a record of that schema of ours | a message of ours |
//! | `s` | a schema's text, a zero byte, a record | a source, a zero byte, a message |
//! | `d` | – | the length of a descriptor set in two bytes, the set, a message of its first type |

pub(crate) mod avro;
pub(crate) mod protobuf;
#[cfg(test)]
mod tests;

pub use avro::avro;
pub use protobuf::protobuf;

/// The text before the first zero byte, and what follows.
fn text_and_record(data: &[u8]) -> Option<(&str, &[u8])> {
    let end = data.iter().position(|byte| *byte == 0);
    let (text, record) = match end {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[][..]),
    };
    Some((str::from_utf8(text).ok()?, record))
}
