//! The files of a case.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::Value;

use super::{InputRecord, Profile, ProfileValue};

/// The lookup's contents; a case without the file has none.
pub(super) fn profiles(path: &Path) -> Result<Vec<Profile>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    json_lines(path)?.into_iter().map(profile).collect()
}

#[derive(Deserialize)]
struct InputLine {
    topic: String,
    partition: i32,
    timestamp_ms: i64,
    key: Option<String>,
    value: Option<String>,
    #[serde(default)]
    key_b64: bool,
    #[serde(default)]
    value_b64: bool,
    case: Option<String>,
    #[serde(default = "once")]
    repeat: usize,
}

fn once() -> usize {
    1
}

pub(super) fn input_records(path: &Path) -> Result<Vec<InputRecord>> {
    let mut next_offsets: BTreeMap<(String, i32), i64> = BTreeMap::new();
    let mut records = Vec::new();
    for line in json_lines(path)? {
        let line: InputLine = serde_json::from_value(line)?;
        let next = next_offsets
            .entry((line.topic.clone(), line.partition))
            .or_default();
        let record = InputRecord {
            key: bytes(line.key, line.key_b64)?,
            value: bytes(line.value, line.value_b64)?,
            topic: line.topic,
            partition: line.partition,
            offset: 0,
            timestamp_ms: line.timestamp_ms,
            case: line.case,
        };
        for _ in 0..line.repeat {
            records.push(InputRecord {
                offset: *next,
                ..record.clone()
            });
            *next += 1;
        }
    }
    Ok(records)
}

fn bytes(text: Option<String>, is_base64: bool) -> Result<Option<Vec<u8>>> {
    match text {
        Some(text) if is_base64 => Ok(Some(BASE64.decode(text)?)),
        Some(text) => Ok(Some(text.into_bytes())),
        None => Ok(None),
    }
}

fn profile(line: Value) -> Result<Profile> {
    #[derive(Deserialize)]
    struct Line {
        key: String,
        value: Option<String>,
        hash: Option<BTreeMap<String, String>>,
        list: Option<Vec<String>>,
    }
    let Line {
        key,
        value,
        hash,
        list,
    } = serde_json::from_value(line)?;
    let value = value.map(ProfileValue::Text);
    let value = value
        .or(hash.map(ProfileValue::Hash))
        .or(list.map(ProfileValue::List));
    let value = value.ok_or_else(|| anyhow!("profile {key} has no value, hash or list"))?;
    Ok(Profile { key, value })
}

fn json_lines(path: &Path) -> Result<Vec<Value>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            let value = serde_json::from_str(line);
            value
                .map(expand)
                .with_context(|| format!("{}:{}", path.display(), number + 1))
        })
        .collect()
}

/// `{"$rle": [["ab", 3], ["c", 1]]}` becomes `"abababc"`, anywhere inside a value.
fn expand(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(expand).collect(),
        Value::Object(members) => match run_length_text(&members) {
            Some(text) => Value::String(text),
            None => members
                .into_iter()
                .map(|(name, value)| (name, expand(value)))
                .collect(),
        },
        other => other,
    }
}

fn run_length_text(members: &serde_json::Map<String, Value>) -> Option<String> {
    let runs = members
        .get("$rle")
        .filter(|_| members.len() == 1)?
        .as_array()?;
    runs.iter()
        .map(|run| Some(run.get(0)?.as_str()?.repeat(run.get(1)?.as_u64()? as usize)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Case;
    use super::*;

    #[test]
    fn runs_repeats_and_base64_become_records_with_their_offsets() {
        let dir = tempfile::tempdir().unwrap();
        let line = |partition: i32, more: &str| {
            format!("{{\"topic\":\"t\",\"partition\":{partition},\"timestamp_ms\":5,{more}}}\n")
        };
        let input = [
            line(
                0,
                r#""key":null,"value":{"$rle":[["ab",2],["c",1]]},"repeat":2"#,
            ),
            line(1, r#""key":"/w==","key_b64":true,"value":null"#),
            line(0, r#""key":"","value":"{}""#),
        ];
        fs::write(dir.path().join("input.jsonl"), input.concat()).unwrap();
        let case = r#"{"name":"n","kind":"enrichment","topics":{"t":2},"config":{}}"#;
        fs::write(dir.path().join("case.json"), case).unwrap();
        let profiles = "{\"key\":\"a\",\"list\":[\"x\"]}\n{\"key\":\"b\",\"hash\":{\"f\":\"v\"}}\n";
        fs::write(dir.path().join("profiles.jsonl"), profiles).unwrap();

        let case = Case::load(dir.path()).unwrap();
        let seen: Vec<_> = case
            .records
            .iter()
            .map(|r| (r.partition, r.offset, r.key.as_deref(), r.value.as_deref()))
            .collect();
        let text = |text: &'static str| Some(text.as_bytes());
        assert_eq!(
            seen,
            [
                (0, 0, None, text("ababc")),
                (0, 1, None, text("ababc")),
                (1, 0, Some([0xff].as_slice()), None),
                (0, 2, text(""), text("{}")),
            ]
        );
        assert_eq!(case.profiles[0].value, ProfileValue::List(vec!["x".into()]));
    }
}
