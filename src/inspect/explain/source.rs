//! A topic as one pipeline reads it: its records, what is committed, and the table behind it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{Address, ExplainError, is_of_many};
use crate::config::{Kind, Pipeline};
use crate::inspect::doctor::facts::{ClickHouseFacts, Reached, SampledRecord, TableFacts};
use crate::inspect::doctor::gather::{clickhouse, kafka, records};
use crate::sink::PlainClient;

const TIMEOUT: Duration = Duration::from_secs(8);
const RECORD_TIMEOUT: Duration = Duration::from_secs(15);

/// Records that are read before the one that is explained.
const BEFORE_MAX: i64 = 50_000;
const BEFORE_BYTES_MAX: usize = 64 << 20;

/// What lies before a record.
#[derive(Debug)]
pub(super) struct Before {
    pub(super) records: Vec<SampledRecord>,
    /// Whether it may be a duplicate of no other.
    pub(super) is_whole: bool,
}

impl Default for Before {
    fn default() -> Self {
        Before {
            records: vec![],
            is_whole: true,
        }
    }
}

pub(super) struct Source {
    pub(super) pipeline: Arc<Pipeline>,
    /// The first server that answers, and the table that the topic's rows go to; or why none does.
    server: Result<Option<(PlainClient, ClickHouseFacts)>, String>,
    topic: String,
    client: kafka::Client,
    partitions: usize,
    /// Of each partition, as they were asked for last.
    ends: HashMap<i32, (i64, i64)>,
    /// What the client reads next.
    next: Option<(i32, i64)>,
    /// Asked for once, and again where a record lies behind it.
    committed: HashMap<i32, Option<i64>>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Asks for what holds for every record of the topic.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub(super) fn new(
        runtime: &tokio::runtime::Runtime,
        pipeline: &Pipeline,
        topic: &str,
    ) -> Result<Self, ExplainError> {
        let client =
            kafka::client(pipeline).map_err(|e| ExplainError::Unreachable(e.to_string()))?;
        // All topics: to ask for one by its name may create it.
        let metadata = client.fetch_metadata(None, TIMEOUT).map_err(unreachable)?;
        let known = metadata.topics().iter().find(|t| t.name() == topic);
        Ok(Source {
            pipeline: Arc::new(pipeline.clone()),
            server: runtime.block_on(server(pipeline, topic)),
            topic: topic.to_owned(),
            partitions: known.map_or(0, |known| known.partitions().len()),
            client,
            ends: HashMap::new(),
            next: None,
            committed: HashMap::new(),
        })
    }

    /// The server that answers, if rows of single records go to it.
    pub(super) fn server(&self) -> Option<&(PlainClient, ClickHouseFacts)> {
        self.server.as_ref().ok()?.as_ref()
    }

    /// Why the table is not asked where a record is.
    pub(super) fn why_not_asked(&self) -> Option<String> {
        if is_of_many(&self.pipeline) {
            return None;
        }
        match &self.server {
            Err(why) => Some(why.clone()),
            Ok(Some((_, facts))) if facts.tables.is_empty() && facts.missing_tables.is_empty() => {
                Some("it cannot be looked at".to_owned())
            }
            Ok(_) => None,
        }
    }

    /// The record; `None` where its offset holds none.
    pub(super) fn read(
        &mut self,
        address: &Address,
    ) -> Result<Option<SampledRecord>, ExplainError> {
        let Address {
            topic,
            partition,
            offset,
        } = address;
        let partitions = self.partitions;
        if usize::try_from(*partition).is_ok_and(|partition| partition >= partitions) {
            return Err(ExplainError::NoSuchRecord(format!(
                "{address}: topic {topic} has {partitions} partitions"
            )));
        }
        let (low, high) = self.ends(*partition, *offset)?;
        if *offset < low || *offset >= high {
            return Err(ExplainError::NoSuchRecord(format!(
                "{address}: the log goes from {low} to {high}"
            )));
        }
        let found = self.first(*partition, *offset);
        let failed = |error| format!("kafka: {address}: {error} (kafka.bootstrap_servers)");
        found.map_err(|error| ExplainError::Unreachable(failed(error)))
    }

    /// Records of its partition that it may be a duplicate of.
    pub(super) fn before(&mut self, record: &SampledRecord) -> Before {
        let Some(span) = self.pipeline.duplicates_span() else {
            return Before::default();
        };
        self.next = None;
        self.records_before(record, span).unwrap_or(Before {
            records: vec![],
            is_whole: false,
        })
    }

    fn records_before(&self, record: &SampledRecord, span: Duration) -> Option<Before> {
        let (topic, partition) = (&*self.topic, record.partition);
        let span_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let since_ms = record.timestamp_ms.saturating_sub(span_ms).max(0);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(since_ms))
            .ok()?;
        let answer = self.client.offsets_for_times(list, TIMEOUT).ok()?;
        let since = match answer.find_partition(topic, partition)?.offset() {
            Offset::Offset(offset) => offset.min(record.offset),
            _ => record.offset,
        };
        let from = since.max(record.offset - BEFORE_MAX);
        let deadline = Instant::now() + RECORD_TIMEOUT;
        let (mut records, mut bytes) = (vec![], 0);
        let mut is_whole = from == since;
        let mut next = records::first(&self.client, topic, partition, from, deadline).ok()?;
        while let Some(found) = next.take().filter(|found| found.offset < record.offset) {
            bytes += found.bytes();
            if bytes > BEFORE_BYTES_MAX {
                is_whole = false;
                break;
            }
            records.push(found);
            next = records::next(&self.client, topic, partition, deadline).ok()?;
        }
        Some(Before { records, is_whole })
    }

    /// Where a partition begins and ends, asked for again where the offset is not between them.
    fn ends(&mut self, partition: i32, offset: i64) -> Result<(i64, i64), ExplainError> {
        let known = self.ends.get(&partition);
        if let Some((low, high)) = known.filter(|(low, high)| (*low..*high).contains(&offset)) {
            return Ok((*low, *high));
        }
        let ends = self
            .client
            .fetch_watermarks(&self.topic, partition, TIMEOUT);
        let ends = ends.map_err(unreachable)?;
        self.ends.insert(partition, ends);
        Ok(ends)
    }

    /// The record at an offset. Where the client is there already, it reads on.
    fn first(&mut self, partition: i32, offset: i64) -> Result<Option<SampledRecord>, String> {
        let (client, topic) = (&self.client, &self.topic);
        let deadline = Instant::now() + RECORD_TIMEOUT;
        let is_next = self.next.take() == Some((partition, offset));
        let read_on = match is_next {
            true => records::next(client, topic, partition, deadline)?,
            false => None,
        };
        let found = match read_on {
            Some(record) => Some(record),
            None => records::first(client, topic, partition, offset, deadline)?,
        };
        let found = found.filter(|record| record.offset == offset);
        self.next = found.as_ref().map(|_| (partition, offset + 1));
        Ok(found)
    }

    /// Whether the group is past the record.
    pub(super) fn has_committed(&mut self, address: &Address) -> bool {
        let is_behind = |known: &Option<i64>| known.is_some_and(|to| to > address.offset);
        if self
            .committed
            .get(&address.partition)
            .is_some_and(is_behind)
        {
            return true;
        }
        let committed = self.ask_committed(address.partition);
        self.committed.insert(address.partition, committed);
        is_behind(&committed)
    }

    fn ask_committed(&self, partition: i32) -> Option<i64> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, partition);
        let answer = self.client.committed_offsets(list, TIMEOUT).ok()?;
        match answer.find_partition(&self.topic, partition)?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }
}

fn unreachable(error: rdkafka::error::KafkaError) -> ExplainError {
    ExplainError::Unreachable(format!("kafka: {error} (kafka.bootstrap_servers)"))
}

async fn server(
    pipeline: &Pipeline,
    topic: &str,
) -> Result<Option<(PlainClient, ClickHouseFacts)>, String> {
    if matches!(&pipeline.kind, Kind::StreamJoin(_)) {
        return Ok(None);
    }
    let topics = BTreeSet::from([topic.to_owned()]);
    let mut refused = vec![];
    for url in &pipeline.clickhouse.urls {
        let mut facts = match clickhouse::gather(pipeline, url, &topics).await {
            Reached::Yes(facts) => facts,
            Reached::Refused(why) | Reached::No(why) => {
                refused.push(format!("clickhouse {url}: {why}"));
                continue;
            }
        };
        let is_its = |table: &TableFacts| table.topic.as_deref().is_none_or(|t| t == topic);
        facts.tables.retain(is_its);
        match PlainClient::new(&pipeline.clickhouse, url, TIMEOUT) {
            Ok(plain) => return Ok(Some((plain, facts))),
            Err(error) => refused.push(format!("clickhouse {url}: {error}")),
        }
    }
    Err(format!("{} (clickhouse.url)", refused.join("; ")))
}
