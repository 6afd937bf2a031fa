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

use serde_json::Value as Json;

use crate::decode::json::Kind;
use crate::decode::{Path, Reason, Reject};
use crate::format::{AnyReader, Format, ReadPlan, Reader, Unread, Values as _, Wish};

pub use avro::avro;
pub use protobuf::protobuf;

/// What the steps of a plan read of a record's fields is what the record has as JSON, which is `whole`. Steps
/// validate what later fields replace, so `may_refuse` more of Protobuf.
fn fields_agree(
    format: &Format,
    names: &[String],
    record: &[u8],
    whole: &Result<String, (Reason, String)>,
    may_refuse: bool,
) {
    let wish = |name: &String| {
        Some(Wish {
            path: Path::parse(&format!("$.{name}")).ok()?,
            column: None,
            is_asked_for: true,
        })
    };
    let wishes: Option<Vec<Wish>> = names.iter().map(wish).collect();
    let Some(Ok(plan)) = wishes.map(|wishes| ReadPlan::new(format, wishes, &[])) else {
        return;
    };
    let fields = match plan.reader() {
        AnyReader::Avro(mut reader) => fields_of(&mut *reader, names, record),
        AnyReader::Protobuf(mut reader) => fields_of(&mut *reader, names, record),
        _ => return,
    };
    match (fields, whole) {
        (Ok(fields), Ok(json)) => {
            let json: Json = serde_json::from_str(json).expect("JSON");
            for (name, field) in names.iter().zip(fields) {
                assert_eq!(field.as_ref(), json.get(name), "{name}");
            }
        }
        (Ok(_), Err((reason, detail))) => {
            // As text a record may be too large or too deep.
            let is_limit = matches!(reason, Reason::TooDeep | Reason::TooLarge);
            assert!(is_limit, "fields are read of what is refused: {detail}");
        }
        (Err(refused), Ok(json)) => assert!(may_refuse, "{refused} of {json}"),
        (Err(_), Err(_)) => {}
    }
}

fn fields_of<R: Reader>(
    reader: &mut R,
    names: &[String],
    record: &[u8],
) -> Result<Vec<Option<Json>>, Reject> {
    let values = match reader.read(Some(record)) {
        Ok(values) => values,
        Err(Unread::Refused(reject)) => return Err(reject),
        Err(other) => panic!("{other:?}"),
    };
    let field = |slot| {
        let raw = values.get(slot);
        match raw.kind() {
            Kind::Absent => None,
            Kind::String => Some(Json::from(raw.as_received())),
            _ => Some(serde_json::from_str(raw.as_received()).expect("JSON")),
        }
    };
    Ok((0..names.len()).map(field).collect())
}

/// The text before the first zero byte, and what follows.
fn text_and_record(data: &[u8]) -> Option<(&str, &[u8])> {
    let end = data.iter().position(|byte| *byte == 0);
    let (text, record) = match end {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[][..]),
    };
    Some((str::from_utf8(text).ok()?, record))
}
