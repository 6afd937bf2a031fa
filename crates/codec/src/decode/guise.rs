//! What a record that cannot be read may be instead, and which key to set then.

use super::Reject;

/// The same reject, with what the record looks like where its first bytes say so.
#[cold]
pub(crate) fn explained(reject: Reject, record: &[u8]) -> Reject {
    match looks_like(record) {
        Some(guise) => Reject::new(
            reject.reason,
            format!("{}; the record looks like {guise}", reject.detail),
        ),
        None => reject,
    }
}

fn looks_like(record: &[u8]) -> Option<String> {
    const FORMATS: &str = "set format = \"avro\", \"protobuf\" or \"json_schema\"";
    match record {
        [0x1f, 0x8b, ..] => Some("gzip: set compression = \"gzip\"".to_owned()),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd: set compression = \"zstd\"".to_owned()),
        [0, a, b, c, d, _, ..] => {
            let id = u32::from_be_bytes([*a, *b, *c, *d]);
            Some(format!(
                "a schema registry's frame (magic byte 0, schema id {id}): {FORMATS}"
            ))
        }
        [1, rest @ ..] if rest.len() > 16 => Some(format!(
            "a schema registry's frame (magic byte 1, a schema's GUID): {FORMATS}"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_compressed_values_are_recognised_and_the_key_to_set_is_named() {
        let guid = [&[1; 17][..], b"x"].concat();
        for (record, expected) in [
            (&b"\x1f\x8b\x08rest"[..], Some("compression = \"gzip\"")),
            (b"\x28\xb5\x2f\xfdrest", Some("compression = \"zstd\"")),
            (
                b"\0\0\0\x01\x02x",
                Some("schema id 258): set format = \"avro\""),
            ),
            (&guid, Some("GUID): set format = \"avro\"")),
            (b"\0\0\0\x01\x02", None),
            (b"", None),
            (b"{", None),
            (b"\x01\x02", None),
        ] {
            let reject = explained(Reject::invalid_value("no"), record);
            match expected {
                Some(part) => assert!(reject.detail.contains(part), "{reject}"),
                None => assert_eq!(reject.detail, "no"),
            }
        }
    }
}
