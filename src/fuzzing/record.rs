//! Records of one partition through scan, columns, event time, session, look-up and row.

use std::sync::LazyLock;

use super::native;
use super::tables::{EVERY_TYPE, SHIPPED, Table};
use crate::batch::OpenBatch;

use crate::lane::{
    Accepted, LookupPart as _, NotAccepted, Operator as _, RecordRows as _, Snapshots as _,
};
use crate::lookup::Found;
use crate::observe::metrics::PipelineMetrics;
use crate::pipeline::{EnrichmentOperator, Settings, Table as RowTable};
use crate::source::{MadeRecord, TopicPartition};

pub(super) const TOPIC: &str = "hostile";
pub(super) const PARTITION: i32 = 3;

/// Stands between two records.
const RECORD_END: u8 = 0x1e;
/// Stands between key, timestamp and value.
const PART_END: u8 = 0x1d;
/// A value of this one byte is none.
const NO_VALUE: &[u8] = b"\x1c";
/// 2025-11-21T10:00:00Z.
const TIMESTAMP_MS: i64 = 1_763_719_200_000;

static METRICS: LazyLock<PipelineMetrics> = LazyLock::new(|| PipelineMetrics::new("hostile"));

#[derive(Debug, Clone, Copy)]
struct Input<'d> {
    key: Option<&'d [u8]>,
    timestamp_ms: i64,
    value: Option<&'d [u8]>,
}

/// Runs the records in `data` into the shipped table and into one with every type.
///
/// Between two records stands the byte 1e; a record is its value, or `key 1d value`, or
/// `key 1d timestamp 1d value`; the value 1c is none.
///
/// # Panics
/// When a record becomes anything but the row, or the refusal, that it must.
pub fn record(data: &[u8]) {
    rows(data);
}

/// How many rows the records make in either table.
pub(super) fn rows(data: &[u8]) -> [usize; 2] {
    let inputs: Vec<Input<'_>> = data.split(|byte| *byte == RECORD_END).map(input).collect();
    let profile = inputs.iter().find_map(|input| input.key);
    let found = profile.map_or(Found::Nothing, |key| Found::Json(key.to_vec()));
    [&*SHIPPED, &*EVERY_TYPE].map(|table| run(table, &inputs, &found))
}

/// A record that looks a profile up, and what Redis has for it.
pub(super) fn profile(found: &Found) {
    let event = br#"{"event_id":"e","event_type":"t","session_id":"s","user_id":1,"timestamp":0,"at":0,"a":{"n":""},"who":1}"#;
    let input = Input {
        key: None,
        timestamp_ms: 0,
        value: Some(event),
    };
    for table in [&*SHIPPED, &*EVERY_TYPE] {
        run(table, &[input], found);
    }
}

/// A snapshot: what is taken for one is written and read again.
pub(super) fn snapshot(saved: &[u8]) {
    for table in [&*SHIPPED, &*EVERY_TYPE] {
        let mut operator = operator(table);
        if let Ok(state) = operator.restore(&partition(), saved) {
            let again = operator.save(&state, vec![]);
            let restored = operator.restore(&partition(), &again);
            assert!(restored.is_ok(), "a state that was read is not read again");
        }
    }
}

fn input(bytes: &[u8]) -> Input<'_> {
    let mut parts = bytes.splitn(3, |byte| *byte == PART_END);
    let parts = [parts.next(), parts.next(), parts.next()];
    let (key, timestamp, value) = match parts {
        [Some(key), Some(timestamp), Some(value)] => (Some(key), Some(timestamp), value),
        [Some(key), Some(value), _] => (Some(key), None, value),
        [value, ..] => (None, None, value.unwrap_or_default()),
    };
    let timestamp_ms = timestamp.and_then(|text| str::from_utf8(text).ok()?.parse().ok());
    Input {
        key,
        timestamp_ms: timestamp_ms.unwrap_or(TIMESTAMP_MS),
        value: Some(value).filter(|value| *value != NO_VALUE),
    }
}

fn run(table: &Table, inputs: &[Input<'_>], found: &Found) -> usize {
    let mut operator = operator(table);
    let mut state = operator.begin(&partition());
    let mut accepted = vec![];
    for (input, offset) in inputs.iter().zip(0..) {
        let made = MadeRecord::new(input.key, input.value, input.timestamp_ms, offset);
        let before = (format!("{state:?}"), operator.chunk_len());
        let judged = operator.accept(&mut state, made.record());
        match (judged, table.expect(input.value, input.timestamp_ms)) {
            (Ok(Accepted::Rows(1)), Ok(expected)) => accepted.push((offset, expected)),
            (Err(NotAccepted::Refused(refusal)), Err(reasons)) => {
                let reject = &refusal.reject;
                assert!(
                    reasons.contains(&reject.reason),
                    "{reject}, not one of {reasons:?}"
                );
                let after = (format!("{state:?}"), operator.chunk_len());
                assert_eq!(before, after, "a refused record left a trace: {reject}");
            }
            (Ok(_), Err(reasons)) => panic!("record {offset} is accepted in spite of {reasons:?}"),
            (Err(NotAccepted::Refused(refusal)), Ok(row)) => panic!(
                "record {offset} is refused, {}; its row is {row:?}",
                refusal.reject
            ),
            (judged, _) => panic!("record {offset}: {judged:?}"),
        }
    }
    let refused = operator.judge(&mut state);
    assert!(refused.is_empty(), "accepted and then refused: {refused:?}");
    let mut keys: Vec<Vec<u8>> = vec![];
    for key in accepted
        .iter()
        .filter_map(|(_, row)| row.lookup_key.as_ref())
    {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    assert_eq!(operator.lookup_keys(0), keys, "each key is asked for once");
    operator.apply_lookup(keys.iter().map(|_| fit(table, found)).collect(), 0);
    let mut batch = OpenBatch::new();
    let mut rows = vec![];
    for (index, (offset, expected)) in accepted.iter().enumerate() {
        table.check(operator.row(index), expected, &fit(table, found), *offset);
        operator.push(index, *offset, &mut batch);
        rows.push(operator.row(index).concat());
    }
    native::check(table, &rows, &batch.seal());
    operator.clear(0);
    accepted.len()
}

fn operator(table: &Table) -> EnrichmentOperator {
    let settings = Settings::new(&table.config, std::sync::Arc::new((1 << 20).into()), 7);
    let rows = RowTable {
        target: table.target.clone(),
        has_provenance: true,
    };
    EnrichmentOperator::new(table.plan.clone(), rows, settings, None, METRICS.clone())
}

fn partition() -> TopicPartition {
    TopicPartition {
        topic: TOPIC.into(),
        partition: PARTITION,
    }
}

/// As many fields as are asked for.
fn fit(table: &Table, found: &Found) -> Found {
    match found {
        Found::Fields(fields) => {
            let asked = table.plan.hash_fields().len();
            let padding = std::iter::repeat(None);
            Found::Fields(fields.iter().cloned().chain(padding).take(asked).collect())
        }
        other => other.clone(),
    }
}
