//! What a person needs who wants to know why a replica differs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::topic::{self, Received};

/// The dead letters by their reason, with the first detail of each: a line for each reason.
pub fn dead_letters(bootstrap: &str, topic: &str) -> Result<String> {
    let mut reasons: BTreeMap<String, (u64, String)> = BTreeMap::new();
    for letter in topic::read_all(bootstrap, topic)? {
        let header = |name: &str| letter.header(name).unwrap_or_default();
        let first = || {
            let place = ["topic", "partition", "offset"];
            let place = place.map(|part| header(&format!("streamweir-{part}")));
            format!("{}: {}", place.join(":"), header("streamweir-detail"))
        };
        let reason = reasons.entry(header("streamweir-reason"));
        reason.or_insert_with(|| (0, first())).0 += 1;
    }
    let mut text = String::new();
    for (reason, (count, first)) in reasons {
        writeln!(text, "  {count} {reason}, the first: {first}")?;
    }
    Ok(text)
}

/// Writes a topic's records, one a line, in the order of their timestamps, to a file in `dir`.
pub fn keep_records(bootstrap: &str, topic: &str, dir: &Path) -> Result<PathBuf> {
    let mut records = topic::read_all(bootstrap, topic)?;
    records.sort_by_key(|record| (record.timestamp_ms, record.partition, record.offset));
    let lines = records.iter().map(|record| line(record) + "\n");
    let path = dir.join(format!("{topic}.jsonl"));
    fs::write(&path, lines.collect::<String>())?;
    Ok(path)
}

/// Without the schema block, which would be most of it.
fn line(record: &Received) -> String {
    let payload = |bytes: &Option<Vec<u8>>| {
        let value = bytes.as_deref().map(serde_json::from_slice::<Value>);
        let mut value = value.and_then(Result::ok).unwrap_or_default();
        match value.get_mut("payload") {
            Some(payload) => payload.take(),
            None => value,
        }
    };
    let moved = ["__debezium.oldkey", "__debezium.newkey"];
    let moved: Map<_, _> = moved
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), Value::String(record.header(name)?))))
        .collect();
    json!({
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp_ms,
        "key": payload(&record.key),
        "headers": moved,
        "value": payload(&record.value),
    })
    .to_string()
}
