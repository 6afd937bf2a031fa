//! An explanation, for machines and for people.

use serde_json::{Value, json};

use super::{Explanation, OfPipeline};
use crate::inspect::doctor::facts::SampledRecord;

impl Explanation {
    /// As `--json` prints it.
    #[must_use]
    pub fn json(&self) -> Value {
        let pipelines: Vec<Value> = self.pipelines.iter().map(OfPipeline::json).collect();
        json!({
            "address": self.address.to_string(),
            "record": self.record.as_ref().map(record_json),
            "pipelines": pipelines,
        })
    }

    /// Of each pipeline whose table was not asked where the record is: why not.
    #[must_use]
    pub fn not_asked(&self) -> Vec<String> {
        let of = |own: &OfPipeline| {
            let why = own.not_asked.as_ref()?;
            let (address, name) = (&self.address, &own.pipeline);
            Some(format!(
                "{address}: pipeline {name}: its table was not asked: {why}"
            ))
        };
        self.pipelines.iter().filter_map(of).collect()
    }
}

impl OfPipeline {
    fn json(&self) -> Value {
        json!({
            "pipeline": self.pipeline,
            "outcome": self.outcome.name,
            "reason": self.outcome.reason,
            "detail": self.outcome.detail,
            "table": self.table,
            "row": self.row,
            "sources": self.sources,
            "now": self.now.name(),
        })
    }
}

fn record_json(record: &SampledRecord) -> Value {
    let headers: Vec<Value> = record
        .headers
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": text(value.as_deref()) }))
        .collect();
    let time = jiff::Timestamp::from_millisecond(record.timestamp_ms);
    json!({
        "key": text(record.key.as_deref()),
        "value": text(record.value.as_deref()),
        "headers": headers,
        "timestamp": time.map(|time| time.to_string()).ok().filter(|_| record.timestamp_ms >= 0),
        "format": format(record),
    })
}

/// What the value looks like.
fn format(record: &SampledRecord) -> &'static str {
    match record.value.as_deref() {
        None => "null",
        Some(value) if serde_json::from_slice::<serde::de::IgnoredAny>(value).is_ok() => "json",
        Some(value) if std::str::from_utf8(value).is_ok() => "text",
        Some(_) => "bytes",
    }
}

/// Bytes that are no UTF-8 as hexadecimal digits.
fn text(bytes: Option<&[u8]>) -> Option<String> {
    let bytes = bytes?;
    Some(match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
            format!("0x{}", digits.collect::<String>())
        }
    })
}

impl std::fmt::Display for Explanation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.address)?;
        match &self.record {
            None => writeln!(
                f,
                "  no record: a control record of a transaction, or removed by compaction"
            )?,
            Some(record) => {
                let shown = record_json(record);
                for key in ["timestamp", "format", "key", "value"] {
                    let value = &shown[key];
                    writeln!(f, "  {key:<10}{}", value.as_str().unwrap_or("-"))?;
                }
                for header in shown["headers"].as_array().into_iter().flatten() {
                    let part = |key: &str| header[key].as_str().unwrap_or("-").to_owned();
                    writeln!(f, "  header    {}: {}", part("name"), part("value"))?;
                }
            }
        }
        for own in &self.pipelines {
            write!(f, "pipeline {}: {}", own.pipeline, own.outcome)?;
            let table = own.table.as_ref().map(|table| format!(" ({table})"));
            writeln!(f, "; now: {}{}", own.now.name(), table.unwrap_or_default())?;
            for (column, value) in own.row.iter().filter_map(Value::as_object).flatten() {
                let source = own.sources[column].as_str().unwrap_or("");
                writeln!(f, "  {column:<28}{value}  {source}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_shown_as_digits() {
        assert_eq!(text(Some(b"\xff\x00")).as_deref(), Some("0xff00"));
        assert_eq!(text(Some("é".as_bytes())).as_deref(), Some("é"));
        assert_eq!(text(None), None);
    }
}
