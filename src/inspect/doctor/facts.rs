//! What was found out about the servers and the machine: plain values, gathered once, judged by the checks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::{Pipeline, Service};
use crate::pipeline::ColumnFacts;
use crate::progress::Metadata;
use crate::sink::TableInfo;
use crate::topics::Difference;
use streamweir_kafka::{GroupRights, TopicRights};

use super::sample::SampleFacts;

/// Everything that the checks look at.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Milliseconds since the epoch, by this machine.
    pub(crate) now_ms: i64,
    pub(crate) service: Service,
    pub(crate) machine: MachineFacts,
    /// What differs between `[topics]` and the cluster; none when nobody could be asked.
    pub(crate) differences: Option<Vec<Difference>>,
    /// The names of all pipelines of the file, also of those that are not asked about, and of those that are
    /// created over HTTP.
    pub(crate) names: BTreeSet<String>,
    /// In the order of the file.
    pub(crate) pipelines: Vec<PipelineFacts>,
}

/// A server that was asked.
#[derive(Debug, Clone)]
pub(crate) enum Reached<T> {
    Yes(T),
    /// It answers, and does not take this user in.
    Refused(String),
    /// It does not answer.
    No(String),
}

impl<T> Reached<T> {
    pub(crate) fn facts(&self) -> Option<&T> {
        match self {
            Reached::Yes(facts) => Some(facts),
            Reached::Refused(_) | Reached::No(_) => None,
        }
    }
}

/// One pipeline and its servers.
#[derive(Debug)]
pub(crate) struct PipelineFacts {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) kafka: Reached<KafkaFacts>,
    /// One for each of `clickhouse.urls`; empty where the pipeline has no table.
    pub(crate) clickhouse: Vec<(String, Reached<ClickHouseFacts>)>,
    /// None: no lookup.
    pub(crate) redis: Option<Reached<RedisFacts>>,
    /// None: no record could be read, or none was asked for.
    pub(crate) sample: Option<SampleFacts>,
    /// Partitions of stateful pipelines, and whether they have a snapshot.
    pub(crate) snapshots: BTreeMap<(String, i32), bool>,
}

impl PipelineFacts {
    pub(crate) fn name(&self) -> &str {
        &self.pipeline.name
    }

    /// The first server of ClickHouse that answered.
    pub(crate) fn server(&self) -> Option<&ClickHouseFacts> {
        self.clickhouse
            .iter()
            .find_map(|(_, server)| server.facts())
    }

    /// The tables of this pipeline, as the first server that answered has them.
    pub(crate) fn tables(&self) -> &[TableFacts] {
        self.server().map_or(&[], |server| &server.tables)
    }
}

/// What a cluster says of what one pipeline needs.
#[derive(Debug, Clone, Default)]
pub(crate) struct KafkaFacts {
    /// Of one broker, as far as this user may see them.
    pub(crate) broker: BTreeMap<String, String>,
    /// Names, and what patterns match; with dead-letter topic and output topic.
    pub(crate) topics: BTreeMap<String, TopicFacts>,
    /// The topics that are read.
    pub(crate) sources: BTreeSet<String>,
    /// Patterns that match no topic.
    pub(crate) empty_patterns: Vec<String>,
    pub(crate) group: Option<GroupRights>,
    /// Why the group's offsets could not be read.
    pub(crate) offsets_error: Option<String>,
    /// Of the topics that are read.
    pub(crate) partitions: Vec<PartitionFacts>,
    /// Partitions of these topics that were not looked at: there are too many, or they did not answer in time.
    pub(crate) partitions_unseen: usize,
    /// Why joined keys lie on different partitions.
    pub(crate) co_partitioning: Option<String>,
    /// Why the dead-letter topic, which is missing, cannot be made.
    pub(crate) dead_letter_refusal: Option<String>,
    /// The newest records of the topics that are read.
    pub(crate) records: Vec<SampledRecord>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicFacts {
    pub(crate) rights: TopicRights,
    /// Every property with its value; empty where this user may not see them.
    pub(crate) properties: BTreeMap<String, String>,
}

impl TopicFacts {
    pub(crate) fn exists(&self) -> bool {
        self.rights.error.is_none() && self.rights.partitions > 0
    }

    pub(crate) fn number(&self, property: &str) -> Option<i64> {
        self.properties.get(property)?.parse().ok()
    }
}

/// One partition that is read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PartitionFacts {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) low: i64,
    pub(crate) high: i64,
    pub(crate) committed: Option<i64>,
    /// What the commit carries, where it is ours.
    pub(crate) metadata: Option<Metadata>,
    /// Kafka's time of the first record that was not read.
    pub(crate) first_unread_ms: Option<i64>,
    /// Records of the last hour.
    pub(crate) records_last_hour: Option<i64>,
    /// How far the group moved while it was watched, and for how long.
    pub(crate) progress: Option<(i64, f64)>,
}

impl PartitionFacts {
    pub(crate) fn lag(&self) -> i64 {
        self.committed.map_or(0, |committed| self.high - committed)
    }

    /// Behind the last record that was read: windows and joins hold the commit back for records that they
    /// would need to be made again.
    pub(crate) fn read_to(&self) -> Option<i64> {
        let frontier = self.metadata.as_ref().and_then(|m| m.frontier);
        let committed = self.committed?;
        Some(frontier.map_or(committed, |frontier| frontier.read_to().max(committed)))
    }

    /// Records that were not read.
    pub(crate) fn unread(&self) -> i64 {
        self.read_to().map_or(0, |read_to| self.high - read_to)
    }

    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.topic, self.partition)
    }
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SampledRecord {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl SampledRecord {
    pub(crate) fn address(&self) -> String {
        format!("{}:{}:{}", self.topic, self.partition, self.offset)
    }

    pub(crate) fn bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers = self.headers.iter();
        let headers: usize = headers.map(|(name, v)| name.len() + length(v)).sum();
        length(&self.key) + length(&self.value) + headers
    }
}

/// What one server of ClickHouse says.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClickHouseFacts {
    pub(crate) version: String,
    pub(crate) timezone: String,
    /// Its clock less ours, half of the way there and back taken off.
    pub(crate) clock_ahead_ms: i64,
    /// Settings of this user that differ from the server's defaults or may not be changed.
    pub(crate) settings: BTreeMap<String, Setting>,
    /// What a table has where it says nothing; empty where this user may not see it.
    pub(crate) merge_tree_settings: BTreeMap<String, String>,
    pub(crate) replicated_settings: BTreeMap<String, String>,
    /// Rights that are missing, as in `INSERT ON database.table`.
    pub(crate) missing_rights: Vec<String>,
    pub(crate) tables: Vec<TableFacts>,
    /// Tables of the configuration that are not there.
    pub(crate) missing_tables: Vec<MissingTable>,
}

/// A table that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MissingTable {
    pub(crate) name: String,
    /// The daemon makes it from the first record.
    pub(crate) is_made: bool,
}

/// A setting of the user's profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) value: String,
    pub(crate) is_changed: bool,
    pub(crate) is_readonly: bool,
    pub(crate) min: Option<String>,
    pub(crate) max: Option<String>,
}

/// A table that rows go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableFacts {
    /// `database.table`.
    pub(crate) name: String,
    pub(crate) table: String,
    /// The topic whose replica it is, of the kind cdc.
    pub(crate) topic: Option<String>,
    pub(crate) info: TableInfo,
    /// Of a replica.
    pub(crate) columns: ColumnFacts,
    /// Of this table on this server, or of all its replicas; empty where it is not known.
    pub(crate) identity: String,
    /// Of the table itself.
    pub(crate) settings: BTreeMap<String, String>,
    /// Expressions of minmax indices.
    pub(crate) minmax: Vec<String>,
    /// Active parts of the fullest partition, and how many partitions there are.
    pub(crate) parts_max: u64,
    pub(crate) partitions: u64,
    pub(crate) views: Vec<ViewFacts>,
    /// Of a replicated table.
    pub(crate) replica: Option<ReplicaFacts>,
}

/// A materialized view below a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ViewFacts {
    pub(crate) name: String,
    /// Where its rows go.
    pub(crate) target: String,
    pub(crate) target_engine: String,
    /// Whether that table remembers the tokens of inserts.
    pub(crate) target_has_tokens: bool,
    pub(crate) select: String,
    /// Why its SELECT fails for rows of the sample.
    pub(crate) dry_run: Option<String>,
}

/// What `system.replicas` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplicaFacts {
    pub(crate) is_readonly: bool,
    pub(crate) delay_seconds: u64,
    pub(crate) queue: u64,
}

/// What Redis says; empty where this user may not ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RedisFacts {
    pub(crate) maxmemory: u64,
    pub(crate) maxmemory_policy: String,
    pub(crate) is_cluster: bool,
    /// Some of the cluster's keys have no node.
    pub(crate) is_cluster_down: bool,
}

/// What this machine says.
#[derive(Debug, Clone, Default)]
pub(crate) struct MachineFacts {
    /// Of the container, or else of the machine.
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) file_limit: Option<u64>,
    /// Why `service.state_dir` cannot be written.
    pub(crate) state_dir_problem: Option<String>,
    pub(crate) listener: Listener,
}

/// Who has the address of `service.http_listen`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Listener {
    #[default]
    Free,
    /// A daemon that runs pipelines of these names.
    Daemon(BTreeSet<String>),
    Other(String),
    /// The address is none of this machine's, or may not be listened at.
    Unusable(String),
}

impl Facts {
    /// Whether a daemon of this configuration runs at its address, perhaps under the file as it was before.
    pub(crate) fn own_daemon_runs(&self) -> bool {
        let Listener::Daemon(names) = &self.machine.listener else {
            return false;
        };
        // One that waits for its first pipeline has no name to be known by.
        let both_empty = names.is_empty() && self.names.is_empty();
        both_empty || self.names.iter().any(|name| names.contains(name))
    }
}
