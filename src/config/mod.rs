//! The configuration: built-in defaults, then the file, then the environment, all of it checked.
//!
//! `config.toml` → `tree` (values that know their key path and line) → `environment` (variables laid
//! over it) → `section` (one table read key by key, collecting every problem) → the types below,
//! each in the file of its section, where its ranges and defaults stand too. Nothing here touches the
//! network; files are read only where a key names one (`password_file`, `ddl`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

mod aggregation;
mod batch;
mod cdc;
mod clickhouse;
mod client_property;
mod columns;
mod created;
mod dead_letter;
mod declared_topics;
mod dedup;
mod dotted;
mod enrichment;
mod environment;
mod format;
mod kafka;
mod limits;
mod lookup;
mod named_watermark;
mod outputs;
mod pipeline;
mod privacy;
mod problem;
mod quantity;
mod raw;
mod record_field;
mod redis;
mod renewed;
mod replica_tables;
mod rules;
mod schema_registry;
mod secret;
mod section;
mod service;
mod session;
mod spilling;
mod state;
mod stream_join;
#[cfg(test)]
mod tests;
mod time_field;
mod time_unit;
mod tls_files;
mod topic_pattern;
mod topics;
mod transform;
mod tree;
mod value;
mod version_epochs;

pub use aggregation::{
    Aggregation, Condition, Function, GroupField, Input, LateRecords, Metric, Operand, Test, Window,
};
pub(crate) use aggregation::{GROUP_BYTES_MAX, WINDOW_COLUMNS};
pub use batch::Batch;
pub use cdc::{Cdc, Evolution, Truncate};
pub use clickhouse::{ClickHouse, InsertCompression};
pub use columns::{ColumnMapping, RawMode};
pub use created::Base;
pub use dead_letter::{DeadLetter, Payload};
pub use declared_topics::DeclaredTopic;
pub use dedup::{Dedup, OnDuplicate};
pub use enrichment::{Enrichment, Tombstones};
pub use environment::process_environment;
pub use format::{Compression, Formats, KeyFormat};
pub use kafka::{Kafka, Property};
pub use limits::ReadLimits;
pub use lookup::{Encoding, Lookup, LookupColumn, OnUnavailable};
pub use named_watermark::NamedWatermark;
pub use pipeline::{Delivery, GroupProtocol, Kind, Pipeline, StartOffset};
pub use problem::{Problem, Problems};
pub use raw::Raw;
pub use record_field::RecordField;
pub use redis::{Redis, RedisForm};
pub use replica_tables::{Absent, TableMapping};
pub use rules::{OnFail, Rule, Rules, Threshold};
pub use schema_registry::SchemaRegistry;
pub use secret::redacted;
pub use service::{HttpTls, LogFormat, Service};
pub use session::Session;
pub use spilling::OnDisk;
pub use state::{OnMissingState, State};
pub use stream_join::{Emit, JoinOutput, JoinSide, JoinType, Partitioner, RightField, StreamJoin};
pub use time_field::TimeField;
pub use tls_files::{Identity, TlsFiles};
pub use topics::TopicSelector;
pub use transform::Transform;
pub use version_epochs::VersionEpoch;

use pipeline::Globals;
use section::{Reader, Section};
use tree::{Node, Places, Table, Value};

/// A configuration in which nothing is wrong.
#[derive(Debug, Clone)]
pub struct Config {
    /// The process itself.
    pub service: Service,
    /// `[kafka]`: the cluster of the declared topics, and of pipelines that name no other.
    pub kafka: Kafka,
    /// `[clickhouse]`: the server of pipelines that name no other.
    pub clickhouse: ClickHouse,
    /// `[topics]`, sorted by name.
    pub topics: Vec<DeclaredTopic>,
    /// `[watermark]`, sorted by name.
    pub watermarks: Vec<NamedWatermark>,
    /// In the order of the file; names are unique.
    pub pipelines: Vec<Pipeline>,
    /// Where the file lies, absolute. Paths in it are relative to this; those in the fields here
    /// are absolute already.
    pub directory: PathBuf,
    /// For pipelines that are created while the process runs.
    pub base: Base,
}

/// A configuration and what is unwise about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// In the order of the file.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Where the file is looked for when none is named, in this order.
    #[must_use]
    pub fn default_paths() -> [PathBuf; 2] {
        [
            PathBuf::from("config.toml"),
            PathBuf::from("/etc/streamweir/config.toml"),
        ]
    }

    /// Reads the file at `path` and lays `environment` over it: pairs of name and value, of which
    /// only those that begin with `STREAMWEIR__` count ([`process_environment`] has the process's).
    ///
    /// # Errors
    /// Everything that is wrong, not only the first.
    pub fn load(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded, Problems> {
        let file = path.display().to_string();
        let unreadable = |error: std::io::Error| {
            let message = format!("cannot be read: {error}");
            let origin = file.clone();
            Problems(vec![Problem {
                origin,
                line: None,
                key_path: String::new(),
                message,
            }])
        };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let path = std::path::absolute(path).map_err(unreadable)?;
        let directory = path.parent().unwrap_or(&path);
        Config::parse(&text, &file, directory, environment)
    }

    /// As [`Config::load`], from a text: `file` is what problems call it, `directory` where its
    /// relative paths start.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first.
    pub fn parse(
        text: &str,
        file: &str,
        directory: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded, Problems> {
        let (table, mut places) = tree::parse(text).map_err(|syntax| {
            Problems(vec![Problem {
                origin: file.to_owned(),
                line: syntax.line,
                key_path: String::new(),
                message: syntax.message,
            }])
        })?;
        let mut problems = Vec::new();
        let table = environment::overlay(table, &mut places, environment, &mut problems);
        let reader = Reader::new(file, directory.to_owned(), places);
        reader.problems.borrow_mut().extend(problems);
        let config = read(table, &reader);
        let problems = problem::in_file_order(reader.problems.into_inner());
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        let warnings = problem::in_file_order(reader.warnings.into_inner());
        Ok(Loaded { config, warnings })
    }
}

/// Every key that can be written, `*` standing for names the user chooses:
/// `pipeline.columns.*.required`.
#[must_use]
pub fn known_keys() -> BTreeSet<String> {
    // Tables that may be left out, and tables of the user's names, are read only when present.
    let every_table = r#"
        [kafka.properties]
        "*" = ""
        [topics."*".config]
        "*" = ""
        [watermark."*"]
        [service.http_tls]
        [schema_registry]
        url = ""
        [clickhouse.settings]
        "*" = ""
        [[pipeline]]
        kind = "enrichment"
        [pipeline.kafka.properties]
        "*" = ""
        [pipeline.clickhouse.settings]
        "*" = ""
        [pipeline.csv]
        [pipeline.avro]
        [pipeline.protobuf]
        [pipeline.json_schema]
        [pipeline.schema_registry]
        url = ""
        [pipeline.columns."*"]
        [pipeline.lookup.columns."*"]
        [pipeline.quality]
        [pipeline.dedup]
        [pipeline.session.distinct_where]
        "*" = ""
        [[pipeline]]
        kind = "cdc"
        [pipeline.debezium]
        [pipeline.tables."*".columns."*"]
        [pipeline.tables."*".source_types]
        "*" = ""
        [[pipeline]]
        kind = "aggregation"
        [pipeline.window]
        kind = "hopping"
        [pipeline.state]
        backend = "disk"
        [pipeline.group."*"]
        [pipeline.metrics."*"]
        function = "avg"
        [pipeline.metrics."*".where."*"]
        [pipeline.where."*"]
        [pipeline.output]
        [[pipeline]]
        kind = "aggregation"
        [pipeline.window]
        kind = "session"
        [[pipeline]]
        kind = "stream_join"
        [pipeline.right.fields]
        "*" = ""
    "#;
    let reader = Reader::new("", PathBuf::new(), Places::new());
    if let Ok((table, _)) = tree::parse(every_table) {
        read(table, &reader);
    }
    reader.known_keys()
}

/// Reads the whole file. What is returned may be used only if the reader has no problems.
fn read(mut table: Table, reader: &Reader) -> Config {
    dotted::spell_out(&mut table, reader);
    let global = |key: &str| match table.entries.get(key) {
        Some(Node {
            value: Value::Table(table),
            ..
        }) => table.clone(),
        _ => Table::absent(key.to_owned()),
    };
    let mut globals = Globals {
        kafka: global("kafka"),
        clickhouse: global("clickhouse"),
        redis: global("redis"),
        schema_registry: global("schema_registry"),
        memory_max_bytes: 0,
        mask_key: None,
    };
    let mut root = Section::new(reader, table, "");
    let service = Service::read(root.section("service"));
    globals.memory_max_bytes = service.memory_max_bytes;
    globals.mask_key.clone_from(&service.mask_key);
    reader.mask_key.replace(service.mask_key.clone());
    let (kafka, clickhouse) = check_globals(&mut root);
    let topics = declared_topics::read(root.section("topics"));
    let pipelines = read_pipelines(&mut root, &globals);
    check_names(&pipelines, reader);
    check_groups(&pipelines, reader);
    outputs::check(&pipelines, reader);
    let watermarks = named_watermark::read(root.section("watermark"));
    named_watermark::check(&watermarks, &pipelines, reader);
    root.finish();
    let pipelines = pipelines
        .into_iter()
        .map(|(_, pipeline)| pipeline)
        .collect();
    Config {
        service,
        kafka,
        clickhouse,
        topics,
        watermarks: watermarks
            .into_iter()
            .map(|(_, watermark)| watermark)
            .collect(),
        pipelines,
        directory: reader.directory.clone(),
        base: Base {
            globals,
            directory: reader.directory.clone(),
        },
    }
}

/// The sections that pipelines override are judged by themselves too, whether one uses them or not.
/// That of Kafka is used by itself as well.
fn check_globals(root: &mut Section<'_>) -> (Kafka, ClickHouse) {
    let mut section = root.section("kafka");
    let kafka = Kafka::read(&mut section);
    section.finish();
    let mut section = root.section("clickhouse");
    let clickhouse = ClickHouse::read(&mut section);
    section.finish();
    Redis::read(root.section("redis"));
    SchemaRegistry::read(root.section("schema_registry"), false);
    (kafka, clickhouse)
}

/// The pipelines with their key paths.
fn read_pipelines(root: &mut Section<'_>, globals: &Globals) -> Vec<(String, Pipeline)> {
    let reader = root.reader;
    let list = match root.take_node("pipeline").map(|node| node.value) {
        Some(Value::List(list)) => list,
        Some(_) => {
            reader.problem("pipeline", "must be a list of tables: write [[pipeline]]");
            return Vec::new();
        }
        None => Vec::new(),
    };
    if list.is_empty() {
        reader.warning("", "has no [[pipeline]], so there is nothing to run");
    }
    let mut pipelines = Vec::new();
    for Node { key_path, value } in list {
        let Value::Table(mut table) = value else {
            reader.problem(&key_path, "must be a table: write [[pipeline]]");
            continue;
        };
        dotted::spell_out(&mut table, reader);
        let pipeline = Pipeline::read(Section::new(reader, table, "pipeline"), globals);
        pipelines.extend(pipeline.map(|pipeline| (key_path, pipeline)));
    }
    pipelines
}

fn check_names(pipelines: &[(String, Pipeline)], reader: &Reader) {
    for (index, (key_path, pipeline)) in pipelines.iter().enumerate() {
        let name = &pipeline.name;
        if pipelines[..index]
            .iter()
            .any(|(_, other)| other.name == *name)
            && !name.is_empty()
        {
            let message = format!("must be unique: an earlier pipeline is called {name} too");
            reader.problem(&format!("{key_path}.name"), message);
        }
    }
}

/// Two pipelines of one group would take each other's partitions, and commit each other's offsets.
fn check_groups(pipelines: &[(String, Pipeline)], reader: &Reader) {
    for (index, (key_path, pipeline)) in pipelines.iter().enumerate() {
        for (other_path, other) in &pipelines[..index] {
            let overlap = pipeline
                .topics
                .iter()
                .find(|topic| other.topics.iter().any(|other| topic.may_overlap(other)));
            if let Some(topic) = overlap
                && pipeline.group_id == other.group_id
                && !pipeline.group_id.is_empty()
            {
                let message = format!(
                    "must differ from that of {other_path}: both read {} in the group {:?} and would \
                     commit each other's offsets",
                    topic.as_str(),
                    pipeline.group_id
                );
                reader.problem(&format!("{key_path}.group_id"), message);
            }
        }
    }
}
