//! `[[pipeline]]`: the keys that every kind has.

use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::aggregation::Aggregation;
use super::batch::{Batch, Pace};
use super::cdc::Cdc;
use super::clickhouse::{ClickHouse, TABLE};
use super::dead_letter::{DeadLetter, Payload};
use super::enrichment::Enrichment;
use super::format::KeyFormat;
use super::kafka::Kafka;
use super::limits::ReadLimits;
use super::privacy;
use super::quantity::{Integer, Span, format_duration};
use super::raw::Raw;
use super::redis::Redis;
use super::schema_registry::SchemaRegistry;
use super::section::Section;
use super::stream_join::StreamJoin;
use super::time_field::TimeField;
use super::topics::{self, TopicSelector};
use super::tree::{Table, Value};
use super::value::{Choice, Text};
use crate::format::Format;
use crate::steps::{MaskKey, PrivateFields};

/// One `[[pipeline]]`.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// 1 to 64 of a-z, A-Z, 0-9, '_' and '-'; unique.
    pub name: String,
    /// What it reads, sorted, at least one.
    pub topics: Vec<TopicSelector>,
    /// The consumer group.
    pub group_id: String,
    /// Where the very first start begins.
    pub start_offset: StartOffset,
    /// What is promised.
    pub delivery: Delivery,
    /// Lanes in this process, 1 to 64.
    pub consumers: u16,
    /// How much its lanes may read a second, in each process.
    pub limits: ReadLimits,
    /// How the group agrees on who reads what.
    pub group_protocol: GroupProtocol,
    /// How long a lane may hold back a revoke to settle what is in flight, up to 5 min.
    pub revoke_timeout: Duration,
    /// `[kafka]` under `[pipeline.kafka]`.
    pub kafka: Kafka,
    /// `[clickhouse]` under `[pipeline.clickhouse]`.
    pub clickhouse: ClickHouse,
    /// `[redis]` under `[pipeline.redis]`.
    pub redis: Redis,
    /// `[schema_registry]` under `[pipeline.schema_registry]`; none where the pipeline asks for no schemas.
    pub schema_registry: Option<SchemaRegistry>,
    /// When a batch is sealed.
    pub batch: Batch,
    /// `pipeline.clickhouse.table`; empty for the kind `cdc`, whose topics have a table each, and for what
    /// is written to a topic alone.
    pub table: String,
    /// `pipeline.clickhouse.ddl`, absolute: the file of statements that create what is missing.
    pub ddl: Option<PathBuf>,
    /// Where records go that can never be written.
    pub dead_letter: DeadLetter,
    /// Fields whose values are shown nowhere.
    pub privacy: PrivateFields,
    /// The keys of the kind.
    pub kind: Kind,
    /// What of all this applies, defaults included and secrets excluded: one `key = value` a line,
    /// sorted by key, each value in one spelling.
    pub effective: String,
    /// The first 12 hex digits of the SHA-256 of `effective`.
    pub config_id: String,
}

/// What a pipeline does with its records.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Events, completed by a profile and by session metrics.
    Enrichment(Box<Enrichment>),
    /// Changes of a database's rows, into replicas of its tables.
    Cdc(Cdc),
    /// Events, summed up by windows of event time.
    Aggregation(Box<Aggregation>),
    /// Events of one topic, each with the record of another that belongs to it, into a third.
    StreamJoin(Box<StreamJoin>),
    /// Records as they were received.
    Raw(Raw),
}

impl Kind {
    /// The kind as the file names it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Enrichment(_) => "enrichment",
            Kind::Cdc(_) => "cdc",
            Kind::Aggregation(_) => "aggregation",
            Kind::StreamJoin(_) => "stream_join",
            Kind::Raw(_) => "raw",
        }
    }
}

impl Kind {
    /// Whether records may have the frame of a registry.
    #[must_use]
    pub fn reads_frames(&self) -> bool {
        let is_framed = |format: &Format| {
            matches!(
                format,
                Format::Avro(_) | Format::Protobuf(_) | Format::JsonSchema { .. }
            )
        };
        match self {
            // It takes whatever comes.
            Kind::Raw(_) => true,
            Kind::Enrichment(own) => is_framed(&own.format),
            Kind::Cdc(own) => is_framed(&own.formats.format),
            Kind::Aggregation(own) => is_framed(&own.formats.format),
            Kind::StreamJoin(own) => {
                is_framed(&own.left.formats.format) || is_framed(&own.right.formats.format)
            }
        }
    }

    /// The keys that need a registry, with what to do where there is none.
    fn registry_wants(&self) -> Vec<(String, &'static str)> {
        let all = match self {
            Kind::Raw(_) => vec![],
            Kind::Enrichment(own) => vec![("", &own.format, Some(own.key_format))],
            Kind::Cdc(own) => vec![("", &own.formats.format, own.formats.key_format)],
            Kind::Aggregation(own) => vec![("", &own.formats.format, own.formats.key_format)],
            Kind::StreamJoin(own) => {
                let (left, right) = (&own.left.formats, &own.right.formats);
                let mut sides = vec![("left.", &left.format, left.key_format)];
                match left == right {
                    // It stands at the pipeline, most likely.
                    true => sides[0].0 = "",
                    false => sides.push(("right.", &right.format, right.key_format)),
                }
                sides
            }
        };
        let mut wants = vec![];
        for (place, format, key_format) in all {
            if format.needs_registry() {
                let message = match format {
                    Format::Protobuf(_) => {
                        "\"protobuf\" needs [schema_registry] with url, or protobuf.descriptor_file and message"
                    }
                    Format::JsonSchema { .. } => {
                        "\"json_schema\" with json_schema.validate needs [schema_registry] with url: it has the \
                         schemas"
                    }
                    _ => "\"avro\" needs [schema_registry] with url, or avro.schema_file",
                };
                wants.push((format!("{place}format"), message));
            }
            if key_format.is_some_and(KeyFormat::needs_registry) {
                let message = "needs [schema_registry] with url: it has the schemas of keys";
                wants.push((format!("{place}key_format"), message));
            }
        }
        wants
    }
}

/// Reads the keys of one kind.
type ReadKind = fn(&mut Section<'_>) -> Kind;

/// The kinds that are built. A new kind is a file with its keys and a line here.
const KINDS: [(&str, ReadKind); 5] = [
    ("enrichment", |section| {
        Kind::Enrichment(Box::new(Enrichment::read(section)))
    }),
    ("cdc", |section| Kind::Cdc(Cdc::read(section))),
    ("aggregation", |section| {
        Kind::Aggregation(Box::new(Aggregation::read(section)))
    }),
    ("stream_join", |section| {
        Kind::StreamJoin(Box::new(StreamJoin::read(section)))
    }),
    ("raw", |section| Kind::Raw(Raw::read(section))),
];

/// Where the very first start begins, when the group has no offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartOffset {
    /// At the oldest record.
    Earliest,
    /// Behind the newest record.
    Latest,
    /// Nowhere: halt.
    Fail,
}

/// What is promised about doubles; nothing is ever lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Each row once.
    ExactlyOnce,
    /// Rows may be doubled after a failure.
    AtLeastOnce,
}

/// How the group agrees on who reads what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupProtocol {
    /// Members assign; every broker speaks it.
    Classic,
    /// KIP-848: the broker assigns.
    Consumer,
}

pub(super) const NAME: Text = Text {
    allowed: "1 to 64 characters of a-z, A-Z, 0-9, '_' and '-'",
    check: |text| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        (1..=64).contains(&text.len()) && text.bytes().all(legal)
    },
};

const GROUP_ID: Text = Text {
    allowed: "the name of a consumer group, 1 to 249 bytes without control characters",
    check: |text| (1..=249).contains(&text.len()) && !text.chars().any(char::is_control),
};

const DDL: Text = Text {
    allowed: "the path of a file, not empty",
    check: |text| !text.is_empty() && !text.contains('\0'),
};

/// What a pipeline takes from the rest of the configuration.
#[derive(Clone)]
pub(super) struct Globals {
    pub(super) kafka: Table,
    pub(super) clickhouse: Table,
    pub(super) redis: Table,
    pub(super) schema_registry: Table,
    pub(super) memory_max_bytes: u64,
    pub(super) mask_key: Option<MaskKey>,
}

impl Pipeline {
    /// What it is about, where nothing nearer is known: its table, or its topics.
    pub fn address(&self) -> String {
        if self.table.is_empty() {
            let topics: Vec<_> = self.topics.iter().map(TopicSelector::as_str).collect();
            return topics.join(", ");
        }
        format!("{}.{}", self.clickhouse.database, self.table)
    }

    /// Reads one `[[pipeline]]`; none when its kind cannot be read (then there is a problem).
    pub(super) fn read(mut section: Section<'_>, globals: &Globals) -> Option<Pipeline> {
        section.reader.take_effective();
        let offsets = Choice(&[
            ("earliest", StartOffset::Earliest),
            ("latest", StartOffset::Latest),
            ("fail", StartOffset::Fail),
        ]);
        let deliveries = Choice(&[
            ("exactly_once", Delivery::ExactlyOnce),
            ("at_least_once", Delivery::AtLeastOnce),
        ]);
        let protocols = Choice(&[
            ("classic", GroupProtocol::Classic),
            ("consumer", GroupProtocol::Consumer),
        ]);
        let lanes = Integer {
            min: 1,
            max: 64,
            unit: "consumers",
        };
        let mut kind = read_kind(&mut section);
        let privacy = privacy::read(section.section("privacy"), kind.as_ref());
        match &mut kind {
            Some(Kind::Enrichment(enrichment)) => enrichment.privacy.clone_from(&privacy),
            Some(Kind::Raw(raw)) => raw.privacy.clone_from(&privacy),
            _ => {}
        }
        let topics = match &kind {
            Some(Kind::StreamJoin(join)) => join.topics(&mut section),
            _ => topics::read(&mut section),
        };
        let mut target = section.section_over("clickhouse", &globals.clickhouse);
        let clickhouse = ClickHouse::read(&mut target);
        let (table, ddl) = read_target(target, kind.as_ref());
        let kafka = read_kafka(section.section_over("kafka", &globals.kafka));
        let schema_registry = read_schema_registry(&mut section, globals, kind.as_ref());
        let mut pipeline = Pipeline {
            name: section.take_required("name", NAME),
            group_id: section.take_required("group_id", GROUP_ID),
            start_offset: section.take_or("start_offset", offsets, StartOffset::Earliest),
            delivery: section.take_or("delivery", deliveries, Delivery::ExactlyOnce),
            consumers: u16::try_from(section.take_or("consumers", lanes, 1)).expect("at most 64"),
            limits: ReadLimits::read(&mut section),
            group_protocol: section.take_or("group_protocol", protocols, GroupProtocol::Classic),
            revoke_timeout: section.take_or(
                "revoke_timeout",
                Span::millis(0, 300_000),
                Duration::from_secs(10),
            ),
            redis: Redis::read(section.section_over("redis", &globals.redis)),
            schema_registry,
            batch: Batch::read(
                section.section("batch"),
                globals.memory_max_bytes,
                pace(kind.as_ref()),
            ),
            dead_letter: DeadLetter::read(section.section("dead_letter"), &topics),
            privacy,
            topics,
            kafka,
            clickhouse,
            table,
            ddl,
            kind: kind?,
            effective: String::new(),
            config_id: String::new(),
        };
        pipeline.check(&section);
        pipeline.identify(&section);
        section.finish();
        Some(pipeline)
    }

    /// Whether one lane of one member reads the whole topic, and the others stand by.
    #[must_use]
    pub fn has_one_reader(&self) -> bool {
        matches!(&self.kind, Kind::Aggregation(a) if a.partitioned_by.is_none())
    }

    /// Whether its records have an event time, so that there is a watermark.
    #[must_use]
    pub fn has_event_time(&self) -> bool {
        match &self.kind {
            Kind::Enrichment(enrichment) => enrichment.time_field != TimeField::Nowhere,
            Kind::Aggregation(_) | Kind::StreamJoin(_) => true,
            Kind::Cdc(_) | Kind::Raw(_) => false,
        }
    }

    /// Whether each record makes rows of its own, which are appended to one table.
    #[must_use]
    pub fn appends(&self) -> bool {
        matches!(&self.kind, Kind::Enrichment(_) | Kind::Raw(_))
    }

    /// Whether what is written and the offsets it comes from are one Kafka transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        matches!(&self.kind, Kind::StreamJoin(_))
    }

    /// What one key cannot tell.
    fn check(&self, section: &Section<'_>) {
        // Of raw records too: the server may refuse a row.
        let is_whole = self.dead_letter.payload == Payload::Original;
        if is_whole && !self.privacy.is_empty() {
            let message = "is \"original\", so dead letters keep the private fields of their records: set it \
                           to \"masked\" or \"omit\"";
            let key = format!("{}.dead_letter.payload", section.key_path());
            section.reader.warning(&key, message);
        }
        let hides_no_fields = matches!(self.kind, Kind::Cdc(_) | Kind::StreamJoin(_));
        if hides_no_fields && self.dead_letter.payload == Payload::Masked {
            let message = "must be \"original\" or \"omit\" for this kind, which hides no fields: \"masked\" \
                           would leave records as they are";
            section.problem("dead_letter.payload", message);
        }
        match &self.kind {
            Kind::Cdc(cdc) => cdc.check_topics(&self.topics, section),
            Kind::Aggregation(aggregation) => aggregation.check_topics(&self.topics, section),
            Kind::StreamJoin(join) => join.check_pipeline(self, section),
            Kind::Enrichment(_) | Kind::Raw(_) => {}
        }
        let poll = self.kafka.max_poll_interval();
        for (key, time) in [
            ("revoke_timeout", self.revoke_timeout),
            ("clickhouse.insert_timeout", self.clickhouse.insert_timeout),
            ("redis.timeout", self.redis.timeout),
        ] {
            if time >= poll {
                let (time, poll) = (format_duration(time), format_duration(poll));
                let message =
                    format!("must be less than max.poll.interval.ms of Kafka ({poll}), is {time}");
                section.problem(key, message);
            }
        }
        if self.group_protocol == GroupProtocol::Consumer {
            for key in ["session.timeout.ms", "heartbeat.interval.ms"] {
                if self.kafka.properties.contains_key(key) {
                    let message = format!(
                        "must be \"classic\" when kafka.properties has {key}: with \"consumer\" the \
                         broker decides it and librdkafka refuses the property"
                    );
                    section.problem("group_protocol", message);
                }
            }
        }
    }

    fn identify(&mut self, section: &Section<'_>) {
        for (key, value) in section.reader.take_effective() {
            let key = key.strip_prefix("pipeline.").unwrap_or(&key);
            // Escaped, so that no value can pass for another line.
            self.effective
                .push_str(&format!("{key} = {}\n", value.escape_debug()));
        }
        self.config_id = format!("{:x}", Sha256::digest(&self.effective));
        self.config_id.truncate(12);
    }
}

/// How often batches are sealed by time, where nothing else is said.
fn pace(kind: Option<&Kind>) -> Pace {
    match kind {
        Some(Kind::StreamJoin(_)) => StreamJoin::PACE,
        _ => Pace::INSERTS,
    }
}

/// `[schema_registry]` under that of the pipeline, where it is asked or written.
fn read_schema_registry(
    section: &mut Section<'_>,
    globals: &Globals,
    kind: Option<&Kind>,
) -> Option<SchemaRegistry> {
    let wants = kind.map_or_else(Vec::new, Kind::registry_wants);
    let is_needed = !wants.is_empty();
    if !is_needed && !section.has("schema_registry") {
        return None;
    }
    let registry = section.section_over("schema_registry", &globals.schema_registry);
    let registry = SchemaRegistry::read(registry, is_needed);
    if registry.is_none() {
        for (key, message) in wants {
            section.problem(&key, message);
        }
    }
    registry.filter(|_| is_needed)
}

fn read_kafka(mut section: Section<'_>) -> Kafka {
    let kafka = Kafka::read(&mut section);
    section.finish();
    kafka
}

/// `table` and `ddl`, which stand among the keys of `[pipeline.clickhouse]`.
fn read_target(mut section: Section<'_>, kind: Option<&Kind>) -> (String, Option<PathBuf>) {
    let table = match kind {
        Some(Kind::Cdc(_)) => {
            let why = "must not be set for kind cdc: every topic has a table of its own, which \
                       [pipeline.tables.\"topic\"] names";
            refuse(&mut section, "table", why)
        }
        Some(Kind::StreamJoin(_)) => {
            let why = "must not be set for kind stream_join: joined records go to the topic of \
                       [pipeline.output], which a pipeline of another kind can read into a table";
            refuse(&mut section, "ddl", why);
            refuse(&mut section, "table", why)
        }
        // Rows may go to a topic alone.
        Some(Kind::Aggregation(aggregation)) if aggregation.output_topic.is_some() => {
            section.take("table", TABLE).unwrap_or_default()
        }
        _ => section.take_required("table", TABLE),
    };
    let ddl = section
        .take("ddl", DDL)
        .map(|ddl| section.reader.directory.join(ddl));
    if let Some(Err(error)) = ddl.as_ref().map(std::fs::metadata) {
        let path = ddl.as_deref().unwrap_or_else(|| "".as_ref()).display();
        let message =
            format!("names a file that cannot be read, so schema cannot use it: {path}: {error}");
        section.reader.warning(&section.path_of("ddl"), message);
    }
    section.finish();
    (table, ddl)
}

/// A key that the kind has no use for, in place of its value.
fn refuse(section: &mut Section<'_>, key: &str, why: &str) -> String {
    if section.has(key) {
        section.take_node(key);
        section.problem(key, why);
    }
    String::new()
}

fn read_kind(section: &mut Section<'_>) -> Option<Kind> {
    let allowed: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
    let allowed = allowed.join(", ");
    let node = section.take_node("kind");
    let message = match node.as_ref().map(|node| &node.value) {
        None => format!("is required; allowed: {allowed}"),
        Some(Value::Text(kind)) => {
            if let Some((name, read)) = KINDS.iter().find(|(name, _)| name == kind) {
                section.record("kind", (*name).to_owned());
                return Some(read(section));
            }
            format!("unknown kind {kind:?}; allowed: {allowed}")
        }
        Some(other) => format!("must be a text, found {other}; allowed: {allowed}"),
    };
    section.problem("kind", message);
    None
}
