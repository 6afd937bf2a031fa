//! `records_per_second_max`, `bytes_per_second_max`: how fast a pipeline may read, in one process.

use serde::Serialize;
use serde_json::Value as Json;
use utoipa::ToSchema;

use super::quantity::{Integer, Size};
use super::section::Section;
use super::tree::Value;
use super::value::Kind;

/// How much all lanes of a pipeline may read a second, in one process. None: as much as they can.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReadLimits {
    /// 1 to 1,000,000,000 records.
    pub records_per_second_max: Option<u64>,
    /// 1 KiB to 1 TiB of keys and values, after decompression.
    pub bytes_per_second_max: Option<u64>,
}

const RECORDS: Integer = Integer {
    min: 1,
    max: 1_000_000_000,
    unit: "records per second",
};
const BYTES: Size = Size {
    min: 1 << 10,
    max: 1 << 40,
};

const RECORDS_KEY: &str = "records_per_second_max";
const BYTES_KEY: &str = "bytes_per_second_max";

impl ReadLimits {
    pub(super) fn read(section: &mut Section<'_>) -> ReadLimits {
        ReadLimits {
            records_per_second_max: section.take(RECORDS_KEY, RECORDS),
            bytes_per_second_max: section.take(BYTES_KEY, BYTES),
        }
    }

    /// The limits after a request: a key that is left out stays as it is, `null` is no limit.
    ///
    /// # Errors
    /// Key and message of everything that is wrong.
    pub fn changed(self, body: &Json) -> Result<ReadLimits, Vec<(String, String)>> {
        let Json::Object(body) = body else {
            let message = format!("must be an object with {RECORDS_KEY}, {BYTES_KEY}, or both");
            return Err(vec![(String::new(), message)]);
        };
        let mut changed = self;
        let mut faults = vec![];
        for (key, value) in body {
            let taken = match key.as_str() {
                RECORDS_KEY => one(value, &RECORDS).map(|n| changed.records_per_second_max = n),
                BYTES_KEY => one(value, &BYTES).map(|n| changed.bytes_per_second_max = n),
                _ => Err(format!("unknown key (allowed: {RECORDS_KEY}, {BYTES_KEY})")),
            };
            if let Err(message) = taken {
                faults.push((key.clone(), message));
            }
        }
        if body.is_empty() {
            faults.push((
                String::new(),
                format!("must have {RECORDS_KEY}, {BYTES_KEY}, or both"),
            ));
        }
        if faults.is_empty() {
            Ok(changed)
        } else {
            Err(faults)
        }
    }
}

/// One limit, as the file would have it, or `null`.
fn one(value: &Json, kind: &impl Kind<Out = u64>) -> Result<Option<u64>, String> {
    let read = match value {
        Json::Null => return Ok(None),
        Json::Number(number) => number.as_u64().map(|n| Value::Integer(n.into())),
        Json::String(text) => Some(Value::Text(text.clone())),
        _ => None,
    };
    let limit = read.and_then(|value| kind.read(&value));
    let message = || {
        format!(
            "must be {}, or null for no limit, found {value}",
            kind.allowed()
        )
    };
    limit.map(Some).ok_or_else(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_changes_what_it_names_and_null_takes_a_limit_away() {
        let limits = ReadLimits {
            records_per_second_max: Some(7),
            bytes_per_second_max: Some(2048),
        };
        let changed = |body: Json| {
            let changed = limits.changed(&body).unwrap();
            (changed.records_per_second_max, changed.bytes_per_second_max)
        };
        assert_eq!(
            changed(json!({ RECORDS_KEY: 500 })),
            (Some(500), Some(2048))
        );
        assert_eq!(changed(json!({ RECORDS_KEY: null })), (None, Some(2048)));
        assert_eq!(
            changed(json!({ BYTES_KEY: "1MiB", RECORDS_KEY: null })),
            (None, Some(1 << 20))
        );
        assert_eq!(changed(json!({ BYTES_KEY: 4096 })), (Some(7), Some(4096)));
    }

    #[test]
    fn a_wrong_request_names_the_key_and_what_is_allowed() {
        for (body, key) in [
            (json!([]), ""),
            (json!({}), ""),
            (json!(null), ""),
            (json!({ RECORDS_KEY: 0 }), RECORDS_KEY),
            (json!({ RECORDS_KEY: -1 }), RECORDS_KEY),
            (json!({ RECORDS_KEY: 1.5 }), RECORDS_KEY),
            (json!({ RECORDS_KEY: "many" }), RECORDS_KEY),
            (json!({ RECORDS_KEY: true }), RECORDS_KEY),
            (json!({ BYTES_KEY: "1B" }), BYTES_KEY),
            (json!({ BYTES_KEY: "1 hour" }), BYTES_KEY),
            (json!({ "records_max": 1 }), "records_max"),
        ] {
            let faults = ReadLimits::default().changed(&body).unwrap_err();
            assert_eq!(faults[0].0, key, "{body}");
            assert!(
                faults[0].1.contains("must") || faults[0].1.contains("allowed"),
                "{faults:?}"
            );
        }
    }
}
