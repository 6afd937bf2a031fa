//! `streamweir explain`: what one record is, what each pipeline that reads its topic makes of it, and where
//! it is now. Nothing is written, and no group is joined.

mod now;
mod outcome;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use self::now::{Now, Place};
use self::outcome::Outcome;
use super::doctor::facts::{ClickHouseFacts, Reached, SampledRecord, TableFacts};
use super::doctor::gather::{clickhouse, in_runtime, kafka, records};
use super::doctor::sample;
use super::row_query::as_query;
use crate::config::{Config, Kind, Pipeline};
use crate::pipeline::judging::{Judgement, judge_records};
use crate::sink::PlainClient;

const TIMEOUT: Duration = Duration::from_secs(8);
const RECORD_TIMEOUT: Duration = Duration::from_secs(15);

/// `topic:partition:offset`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    topic: String,
    partition: i32,
    offset: i64,
}

impl std::str::FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = || {
            let (rest, offset) = text.rsplit_once(':')?;
            let (topic, partition) = rest.rsplit_once(':')?;
            let address = Address {
                topic: topic.to_owned(),
                partition: partition.parse().ok().filter(|n| *n >= 0)?,
                offset: offset.parse().ok().filter(|n| *n >= 0)?,
            };
            (!address.topic.is_empty()).then_some(address)
        };
        parts()
            .ok_or_else(|| "must be topic:partition:offset, such as user-events:0:1234".to_owned())
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.topic, self.partition, self.offset)
    }
}

/// Why a record cannot be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The log does not have it.
    #[error("{0}")]
    NoSuchRecord(String),
    /// No pipeline reads the topic, or none of that name.
    #[error("{0}")]
    Usage(String),
    /// Kafka does not answer.
    #[error("{0}")]
    Unreachable(String),
}

/// A record and what pipelines make of it.
#[derive(Debug)]
pub struct Explanation {
    address: Address,
    /// None: a control record, or one that compaction removed.
    record: Option<SampledRecord>,
    pipelines: Vec<OfPipeline>,
}

/// What one pipeline makes of the record.
#[derive(Debug)]
struct OfPipeline {
    pipeline: String,
    outcome: Outcome,
    table: Option<String>,
    row: Option<Value>,
    sources: Value,
    now: Now,
}

/// Reads the record and has each of `pipelines` that reads its topic judge it.
///
/// # Errors
/// See [`ExplainError`].
pub fn explain(
    config: &Config,
    names: &[String],
    address: &Address,
) -> Result<Explanation, ExplainError> {
    let known = |name: &String| config.pipelines.iter().any(|p| p.name == *name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let message = format!("no pipeline {unknown:?} in the configuration");
        return Err(ExplainError::Usage(message));
    }
    let reads = |pipeline: &&Pipeline| {
        let is_meant = names.is_empty() || names.contains(&pipeline.name);
        is_meant && pipeline.topics.iter().any(|t| t.matches(&address.topic))
    };
    let pipelines: Vec<Arc<Pipeline>> = config
        .pipelines
        .iter()
        .filter(reads)
        .cloned()
        .map(Arc::new)
        .collect();
    let Some(first) = pipelines.first() else {
        let message = format!("no pipeline reads topic {}", address.topic);
        return Err(ExplainError::Usage(message));
    };
    let record = read(first, address)?;
    let explained = pipelines
        .iter()
        .map(|pipeline| of_pipeline(pipeline, address, record.as_ref()));
    Ok(Explanation {
        pipelines: explained.collect(),
        record,
        address: address.clone(),
    })
}

/// The record; `None` where its offset holds none.
fn read(pipeline: &Pipeline, address: &Address) -> Result<Option<SampledRecord>, ExplainError> {
    let Address {
        topic,
        partition,
        offset,
    } = address;
    let client = kafka::client(pipeline).map_err(|e| ExplainError::Unreachable(e.to_string()))?;
    let unreachable = |error: rdkafka::error::KafkaError| {
        ExplainError::Unreachable(format!("kafka: {error} (kafka.bootstrap_servers)"))
    };
    // All topics: to ask for one by its name may create it.
    let metadata = client.fetch_metadata(None, TIMEOUT).map_err(unreachable)?;
    let known = metadata.topics().iter().find(|t| t.name() == topic);
    let partitions = known.map_or(0, |known| known.partitions().len());
    if usize::try_from(*partition).is_ok_and(|partition| partition >= partitions) {
        return Err(ExplainError::NoSuchRecord(format!(
            "{address}: topic {topic} has {partitions} partitions"
        )));
    }
    let ends = client.fetch_watermarks(topic, *partition, TIMEOUT);
    let (low, high) = ends.map_err(unreachable)?;
    if *offset < low || *offset >= high {
        return Err(ExplainError::NoSuchRecord(format!(
            "{address}: the log goes from {low} to {high}"
        )));
    }
    let deadline = Instant::now() + RECORD_TIMEOUT;
    let found = records::first(&client, topic, *partition, *offset, deadline);
    let failed = |error| format!("kafka: {address}: {error} (kafka.bootstrap_servers)");
    let found = found.map_err(|error| ExplainError::Unreachable(failed(error)))?;
    Ok(found.filter(|record| record.offset == *offset))
}

fn of_pipeline(
    pipeline: &Arc<Pipeline>,
    address: &Address,
    record: Option<&SampledRecord>,
) -> OfPipeline {
    let committed = committed(pipeline, address);
    let server = in_runtime(server(pipeline, &address.topic)).flatten();
    let tables: &[TableFacts] = server.as_ref().map_or(&[], |(_, facts)| &facts.tables);
    let table = tables.first();
    let place = Place {
        address,
        is_committed: committed.is_some_and(|committed| committed > address.offset),
    };
    let Some(record) = record else {
        return OfPipeline {
            pipeline: pipeline.name.clone(),
            outcome: Outcome::control(),
            table: table.map(|table| table.name.clone()),
            row: None,
            sources: json!({}),
            now: place.otherwise(),
        };
    };
    let judgement = judged(pipeline, tables, record);
    let outcome = Outcome::of(pipeline, record, &judgement);
    let rows = judgement.ok().and_then(|judgement| judgement.rows);
    let rows = rows.filter(|rows| !rows.rows.is_empty());
    let looked = in_runtime(async {
        let (plain, table) = (server.as_ref().map(|(plain, _)| plain)?, table?);
        let computed = match &rows {
            Some(rows) => plain.objects(&as_query(rows)).await.ok(),
            None => None,
        };
        let row = computed.and_then(|rows| rows.into_iter().next());
        Some(now::look(pipeline, plain, table, rows.as_ref(), row, &place).await)
    });
    let (row, now) = looked.flatten().unwrap_or((None, place.otherwise()));
    OfPipeline {
        pipeline: pipeline.name.clone(),
        now: match outcome.name {
            // A dead letter that was replayed, or a row of before the rules were changed.
            _ if now == Now::InTable => now,
            "dead_letter" if place.is_committed => Now::DeadLetter,
            // Its row is made of many records, and committed once it is written.
            "row" if place.is_committed && is_of_many(pipeline) => Now::InTable,
            _ => now,
        },
        row: row.filter(|_| outcome.makes_row() || now == Now::InTable),
        sources: table.map_or_else(|| json!({}), |table| outcome::sources(pipeline, table)),
        table: table.map(|table| table.name.clone()),
        outcome,
    }
}

/// Whether rows are made of many records.
fn is_of_many(pipeline: &Pipeline) -> bool {
    matches!(&pipeline.kind, Kind::Aggregation(_) | Kind::StreamJoin(_))
}

/// The record by itself: what sessions, windows and joins remember is not known.
fn judged(
    pipeline: &Arc<Pipeline>,
    tables: &[TableFacts],
    record: &SampledRecord,
) -> Result<Judgement, String> {
    if tables.is_empty() && matches!(&pipeline.kind, Kind::Enrichment(_)) {
        return Err("its table cannot be looked at".to_owned());
    }
    let known: Vec<_> = tables.iter().map(sample::known).collect();
    let partition = usize::try_from(record.partition).unwrap_or(0);
    let partitions = HashMap::from([(record.topic.clone(), partition + 1)]);
    judge_records(pipeline, &known, &partitions, &[sample::given(record)])
        .map_err(|halt| halt.advice)
}

/// The first server that answers, and the table that the topic's rows go to.
async fn server(pipeline: &Pipeline, topic: &str) -> Option<(PlainClient, ClickHouseFacts)> {
    if matches!(&pipeline.kind, Kind::StreamJoin(_)) {
        return None;
    }
    let topics = BTreeSet::from([topic.to_owned()]);
    for url in &pipeline.clickhouse.urls {
        if let Reached::Yes(mut facts) = clickhouse::gather(pipeline, url, &topics).await {
            let is_its = |table: &TableFacts| table.topic.as_deref().is_none_or(|t| t == topic);
            facts.tables.retain(is_its);
            let plain = PlainClient::new(&pipeline.clickhouse, url, TIMEOUT).ok()?;
            return Some((plain, facts));
        }
    }
    None
}

fn committed(pipeline: &Pipeline, address: &Address) -> Option<i64> {
    let client = kafka::client(pipeline).ok()?;
    let mut list = TopicPartitionList::new();
    list.add_partition(&address.topic, address.partition);
    let answer = client.committed_offsets(list, TIMEOUT).ok()?;
    match answer
        .find_partition(&address.topic, address.partition)?
        .offset()
    {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

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
    fn an_address_is_topic_partition_and_offset() {
        let address: Address = "a.b-c:3:42".parse().unwrap();
        assert_eq!(
            (&*address.topic, address.partition, address.offset),
            ("a.b-c", 3, 42)
        );
        assert_eq!(address.to_string(), "a.b-c:3:42");
        for wrong in [
            "", "a", "a:1", "a:1:x", "a:-1:2", "a:1:-2", ":1:2", "a:1:2:",
        ] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_digits() {
        assert_eq!(text(Some(b"\xff\x00")).as_deref(), Some("0xff00"));
        assert_eq!(text(Some("é".as_bytes())).as_deref(), Some("é"));
        assert_eq!(text(None), None);
    }
}
