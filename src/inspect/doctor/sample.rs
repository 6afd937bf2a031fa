//! The newest records of the topics, judged by the pipeline's own operator.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::facts::{KafkaFacts, PipelineFacts, SampledRecord, TableFacts};
use crate::config::{Encoding, Kind, Pipeline, Service};
use crate::decode::Reason;
use crate::lookup::{Found, ProfileReader, Source};
use crate::operator::DedupKey;
use crate::pipeline::dedup_key;
use crate::pipeline::judging::{Given, Judged, KnownTable, Rows, judge_records};
use crate::source::TopicPartition;
use crate::state::SnapshotStore;

/// Keys of profiles that are looked up.
const KEYS_MAX: usize = 1_000;

/// What the newest records came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct SampleFacts {
    /// Records that were judged.
    pub(crate) judged: usize,
    pub(crate) refused: Vec<RefusedRecord>,
    /// Records at which the pipeline would halt: address, reason, advice.
    pub(crate) halts: Vec<(String, &'static str, String)>,
    /// Why the table cannot be filled as configured.
    pub(crate) plan_error: Option<String>,
    /// Of each topic: in how many records that can be read each field stands.
    pub(crate) fields: BTreeMap<String, BTreeMap<String, usize>>,
    /// Of each topic: the fields of the records' keys.
    pub(crate) key_fields: BTreeMap<String, Vec<String>>,
    pub(crate) profile_keys: Vec<Vec<u8>>,
    /// How many of the keys were looked up, and how many of these have no profile.
    pub(crate) profiles: Option<(usize, usize)>,
    pub(crate) rows: Option<Rows>,
    /// Addresses of two records that have one key of `[pipeline.dedup]` and lie in different partitions.
    pub(crate) key_apart: Option<(String, String)>,
}

/// A record that becomes a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusedRecord {
    pub(crate) reason: Reason,
    pub(crate) detail: String,
    pub(crate) address: String,
}

impl SampleFacts {
    /// Records that become dead letters, late ones aside: whether a record is late depends on what was read
    /// before it.
    pub(crate) fn dead_letters(&self) -> impl Iterator<Item = &RefusedRecord> {
        self.refused.iter().filter(|r| r.reason != Reason::Late)
    }
}

/// Judges the sampled records; `None` where there is none.
pub(super) fn judge(
    pipeline: &Arc<Pipeline>,
    kafka: &KafkaFacts,
    tables: &[TableFacts],
) -> Option<SampleFacts> {
    let records = &kafka.records;
    let mut facts = SampleFacts::default();
    for record in records {
        note_fields(pipeline, record, &mut facts);
    }
    facts.key_apart = key_apart(pipeline, records);
    let given: Vec<Given<'_>> = records.iter().map(given).collect();
    let known: Vec<KnownTable<'_>> = tables.iter().map(known).collect();
    let partitions: HashMap<String, usize> = kafka
        .topics
        .iter()
        .filter(|(name, topic)| kafka.sources.contains(*name) && topic.exists())
        .map(|(name, topic)| (name.clone(), topic.rights.partitions))
        .collect();
    match judge_records(pipeline, &known, &partitions, &given) {
        Ok(judgement) => {
            let judged = judgement.records.into_iter();
            facts.judged = judged.len();
            for (record, judged) in records.iter().zip(judged) {
                note(record, judged, &mut facts);
            }
            facts.profile_keys = judgement.profile_keys;
            facts.rows = judgement.rows;
        }
        Err(halt) => facts.plan_error = Some(halt.advice),
    }
    (!records.is_empty() || facts.plan_error.is_some()).then_some(facts)
}

/// Duplicates are known within a partition alone.
fn key_apart(pipeline: &Pipeline, records: &[SampledRecord]) -> Option<(String, String)> {
    let dedup = pipeline.dedup()?;
    let mut firsts: HashMap<DedupKey, &SampledRecord> = HashMap::new();
    let mut keyed = records
        .iter()
        .filter_map(|record| Some((dedup_key(dedup, record.value.as_deref())?, record)));
    keyed.find_map(|(key, record)| {
        let first = firsts.entry(key).or_insert(record);
        let place = |record: &SampledRecord| (record.topic.clone(), record.partition);
        (place(first) != place(record)).then(|| (first.address(), record.address()))
    })
}

pub(crate) fn given(record: &SampledRecord) -> Given<'_> {
    Given {
        topic: &record.topic,
        partition: record.partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &record.headers,
    }
}

pub(crate) fn known(table: &TableFacts) -> KnownTable<'_> {
    KnownTable {
        topic: table.topic.as_deref(),
        info: &table.info,
        columns: Some(&table.columns),
    }
}

fn note(record: &SampledRecord, judged: Judged, facts: &mut SampleFacts) {
    match judged {
        Judged::Refused(refusal) => facts.refused.push(RefusedRecord {
            reason: refusal.reject.reason,
            detail: refusal.reject.detail.into_owned(),
            address: record.address(),
        }),
        Judged::Halted(halt) => {
            let halted = (record.address(), halt.reason, halt.advice);
            facts.halts.push(halted);
        }
        Judged::Rows(_) | Judged::Dropped(..) | Judged::Waits(_) => {}
    }
}

/// Counts the fields of a record: those of the row, of a change record.
fn note_fields(pipeline: &Pipeline, record: &SampledRecord, facts: &mut SampleFacts) {
    let parse = |bytes: &Option<Vec<u8>>| {
        let bytes = bytes.as_deref()?;
        serde_json::from_slice::<serde_json::Value>(bytes).ok()
    };
    let is_cdc = matches!(&pipeline.kind, Kind::Cdc(_));
    if is_cdc && let Some(key) = parse(&record.key) {
        let key = payload(&key);
        let names = key.as_object().map(|key| key.keys().cloned().collect());
        facts
            .key_fields
            .extend(names.map(|names: Vec<String>| (record.topic.clone(), names)));
    }
    let Some(value) = parse(&record.value) else {
        return;
    };
    let row = if is_cdc {
        let envelope = payload(&value);
        let row = ["after", "before"].iter().find_map(|side| {
            let row = envelope.get(*side)?;
            row.is_object().then_some(row)
        });
        row.unwrap_or(envelope).as_object()
    } else {
        value.as_object()
    };
    let fields = facts.fields.entry(record.topic.clone()).or_default();
    for (name, value) in row.into_iter().flatten() {
        // A null fills nothing, and is no unknown field.
        let filled = fields.entry(name.clone()).or_insert(0);
        *filled += usize::from(!value.is_null());
    }
}

/// What stands behind the schema of a record that carries one.
fn payload(value: &serde_json::Value) -> &serde_json::Value {
    match (value.get("schema"), value.get("payload")) {
        (Some(_), Some(payload)) => payload,
        _ => value,
    }
}

/// Looks the keys of the sample up.
pub(super) async fn look_up(pipeline: &Pipeline, facts: &mut SampleFacts) {
    let Kind::Enrichment(config) = &pipeline.kind else {
        return;
    };
    let Some(lookup) = &config.lookup else {
        return;
    };
    let keys: BTreeSet<Vec<u8>> = facts.profile_keys.iter().cloned().collect();
    let keys: Vec<Vec<u8>> = keys.into_iter().take(KEYS_MAX).collect();
    if keys.is_empty() {
        return;
    }
    let source = match lookup.encoding {
        Encoding::Json => Source::Json,
        Encoding::Hash => {
            let fields = lookup.columns.values();
            let fields = fields.map(|c| c.path.trim_start_matches("$.").to_owned());
            Source::Hash(fields.collect())
        }
    };
    let reader = ProfileReader::new(&pipeline.redis, source, lookup.key_prefix.clone());
    let Ok(reader) = reader else { return };
    if let Ok(found) = reader.fetch(&keys).await {
        let missing = found.iter().filter(|f| **f == Found::Nothing).count();
        facts.profiles = Some((keys.len(), missing));
    }
}

/// Whether each partition that the group has committed has a snapshot. Nothing is made.
pub(super) async fn snapshots(
    facts: &PipelineFacts,
    service: &Service,
) -> BTreeMap<(String, i32), bool> {
    let pipeline = &facts.pipeline;
    let Kind::Enrichment(config) = &pipeline.kind else {
        return BTreeMap::new();
    };
    let committed = facts.kafka.facts().into_iter();
    let committed = committed
        .flat_map(|kafka| &kafka.partitions)
        .filter(|own| own.committed.is_some());
    if !config.keeps_state() {
        return BTreeMap::new();
    }
    let own = service.state_dir.join(&pipeline.name).join("snapshots");
    let url = &config.state.url;
    let remote = match url.is_empty() || url.starts_with("file:") {
        true => None,
        false => SnapshotStore::open(url, &own, &pipeline.name, std::env::vars()).ok(),
    };
    let directory = match url.strip_prefix("file://") {
        Some(path) => Path::new(path).join(&pipeline.name),
        None => own,
    };
    let mut snapshots = BTreeMap::new();
    for partition in committed {
        let has_one = match &remote {
            Some(store) => {
                let place = TopicPartition {
                    topic: (&*partition.topic).into(),
                    partition: partition.partition,
                };
                match store.offsets(&place).await {
                    Ok(offsets) => !offsets.is_empty(),
                    Err(_) => continue,
                }
            }
            None if url.is_empty() || url.starts_with("file:") => {
                has_snapshot(&directory, &partition.topic, partition.partition)
            }
            None => continue,
        };
        snapshots.insert((partition.topic.clone(), partition.partition), has_one);
    }
    snapshots
}

fn has_snapshot(directory: &Path, topic: &str, partition: i32) -> bool {
    let folder = directory.join(topic).join(partition.to_string());
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name());
    names.any(|name| name.to_string_lossy().ends_with(".snapshot"))
}
