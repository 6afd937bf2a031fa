//! One letter in full.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde_json::{Value, json};

use super::letter::{Address, Letter, Selection};
use super::scan;
use super::states::States;
use crate::config::{Config, Pipeline};
use crate::inspect::created::Privacy;
use crate::inspect::{Failure, hidden, runtime};
use crate::observe::board::status::Moment;

/// The record of a letter, and what each pipeline that could not write it said.
#[derive(Debug)]
pub struct ShownLetter(Value);

impl ShownLetter {
    /// As one document.
    #[must_use]
    pub fn json(&self) -> &Value {
        &self.0
    }
}

/// Finds the letters of a record; `None`: there is none.
///
/// # Errors
/// A system does not answer.
pub fn show(config: &Config, address: &Address) -> Result<Option<ShownLetter>, Failure> {
    let selection = Selection {
        addresses: [address.clone()].into(),
        ..Selection::default()
    };
    let mut found: BTreeMap<String, (Letter, Arc<Pipeline>)> = BTreeMap::new();
    scan::letters(config, &selection, |letter, pipeline| {
        found.insert(letter.pipeline.clone(), (letter, pipeline.clone()));
        Ok(ControlFlow::Continue(()))
    })?;
    let mut found: Vec<_> = found.into_values().collect();
    if let Some((letter, _)) = found.first_mut() {
        // Also those of pipelines that took the record.
        let privacy = Privacy::of(config);
        letter.value = hidden(letter.value.take(), privacy.of_topic(&address.topic));
    }
    let Some((first, _)) = found.first() else {
        return Ok(None);
    };
    let service = Arc::new(config.service.clone());
    let written = runtime()?.block_on(States::default().of(&service, &found))?;
    let pipelines: Vec<Value> = found
        .iter()
        .zip(&written)
        .map(|((letter, _), is_written)| told(letter, *is_written))
        .collect();
    Ok(Some(ShownLetter(json!({
        "address": address.to_string(),
        "record": record(first),
        "pipelines": pipelines,
    }))))
}

fn told(letter: &Letter, is_written: bool) -> Value {
    json!({
        "pipeline": letter.pipeline,
        "outcome": "dead_letter",
        "stage": letter.stage,
        "reason": letter.reason,
        "detail": letter.detail,
        "state": if is_written { "written" } else { "open" },
        "now": if is_written { "in_table" } else { "dead_letter" },
    })
}

fn record(letter: &Letter) -> Value {
    let headers = letter.headers.iter();
    let headers = headers.map(|(name, value)| json!({ "name": name, "value": bytes(value) }));
    json!({
        "key": bytes(&letter.key),
        "value": bytes(&letter.value),
        "headers": headers.collect::<Vec<_>>(),
        "timestamp": Moment(letter.timestamp_ms),
    })
}

/// Text as text, other bytes as hexadecimal digits.
fn bytes(value: &Option<Vec<u8>>) -> Value {
    let Some(value) = value else {
        return Value::Null;
    };
    match std::str::from_utf8(value) {
        Ok(text) => text.into(),
        Err(_) => {
            let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "hex": hex })
        }
    }
}
