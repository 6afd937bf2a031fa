//! `streamweir sample`: reads records of a topic and proposes a table and a pipeline for them. Nothing is
//! written, and no group is joined. `streamweir schema print --from-registry` proposes the same of a schema
//! alone.
//!
//! | module | what it does |
//! |---|---|
//! | `unpacked` | values as they are looked at |
//! | `look` | what the records are, by their bytes |
//! | `lines` | whether texts are lines of fields |
//! | `schemas` | columns of what a schema registry describes |
//! | `guess` | the type of a field, by its values |
//! | `names` | columns for fields, and paths to fields |
//! | `proposal` | the statement and the configuration |
//! | `surroundings` | the servers that the configuration names |
//! | `subject` | the same of a subject of a schema registry |

mod guess;
mod lines;
mod look;
mod names;
mod proposal;
mod schemas;
mod subject;
mod surroundings;
mod unpacked;

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use serde_json::{Value, json};

use self::guess::Field;
use self::look::{Look, Shape, is_change};
use self::proposal::{
    Column, Proposal, Reading, note_of_servers, of_changes, of_columns, of_texts,
};
pub use self::subject::of_subject;
use self::surroundings::surroundings;
use self::unpacked::{key_format, unpacked};
use super::Failure;
use super::created::Privacy;
use super::doctor::facts::SampledRecord;
use super::doctor::gather::{kafka, records};
use crate::config::{Config, Pipeline, SchemaRegistry};
use crate::decode::Path;
use crate::decode::json::Raw;
use crate::format::{AsJson, Format, Purpose};
use crate::steps::PrivateFields;

const TIMEOUT: Duration = Duration::from_secs(8);
/// How long the records are waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Fields beyond this are left out: nobody reads such a proposal.
const FIELDS_MAX: usize = 500;

/// What is proposed.
#[derive(Debug)]
pub struct Sampled {
    /// What it is made of, for people.
    made_of: String,
    topic: String,
    /// Records that could be read.
    records: usize,
    /// `format` of the pipeline.
    format: &'static str,
    database: String,
    proposal: Proposal,
    /// What the reader should know of how it was guessed.
    notes: Vec<String>,
}

/// Reads the newest `count` records.
///
/// # Errors
/// Kafka or the schema registry does not answer, the topic is not there or has no records, or they are none
/// that a table can be guessed of.
pub fn sample(config: &Config, topic: &str, count: usize) -> Result<Sampled, Failure> {
    let pipeline = reader(config, topic)?;
    let (found, note) = newest(&pipeline, topic, count)?;
    let mut notes: Vec<String> = note.into_iter().collect();
    let compression = look::compression(found.iter().filter_map(|r| r.value.as_deref()));
    let mut opened = unpacked(&found, compression.is_some());
    notes.append(&mut opened.notes);
    let looks: Vec<Look<'_>> = opened.records.iter().map(|(_, look)| look.look()).collect();
    let registry = registry_of(config, &pipeline);
    let mut read = read(topic, &looks, registry.as_ref())?;
    notes.append(&mut read.notes);
    if let Made::Columns(columns) = &mut read.made {
        let privacy = Privacy::of(config);
        let private: Vec<&PrivateFields> = privacy.of_topic(topic).collect();
        hide(columns, &private, read.lines.is_some());
    }
    if read.others > 0 {
        notes.push(format!(
            "{} of {} records are something else: they would be dead letters",
            read.others,
            looks.len()
        ));
    }
    let format = read.format;
    let key_format = match read.made {
        Made::Changes => key_format(format, opened.records.iter().map(|(record, _)| *record)),
        _ => None,
    };
    let reading = Reading {
        format: Some(format).filter(|format| *format != "json"),
        key_format,
        compression,
        lines: read.lines,
    };
    let asked = registry.filter(|_| matches!(format, "avro" | "protobuf"));
    let around = surroundings(config, &pipeline, asked.as_ref(), topic);
    let proposal = match &read.made {
        Made::Columns(columns) => of_columns(columns, &reading, &around),
        Made::Texts => of_texts(&reading, &around),
        Made::Changes => of_changes(&reading, &around),
    };
    notes.extend(note_of_servers(&proposal, &around));
    Ok(Sampled {
        made_of: format!("guessed of {} records", read.records),
        topic: topic.to_owned(),
        records: read.records,
        format,
        database: around.database,
        proposal,
        notes,
    })
}

/// The newest records, and what there is to know of them.
fn newest(
    pipeline: &Pipeline,
    topic: &str,
    count: usize,
) -> Result<(Vec<SampledRecord>, Option<String>), Failure> {
    let client = kafka::client(pipeline).map_err(|error| Failure::client(&error))?;
    let failed = |error: &rdkafka::error::KafkaError| Failure::kafka(&pipeline.kafka, topic, error);
    // All topics: to ask for one by its name may create it.
    let metadata = client
        .fetch_metadata(None, TIMEOUT)
        .map_err(|e| failed(&e))?;
    let known = metadata.topics().iter().find(|known| known.name() == topic);
    let Some(known) = known else {
        return Err(Failure::Refused(format!("there is no topic {topic}")));
    };
    let mut ends = vec![];
    for partition in known.partitions() {
        let (low, high) = client
            .fetch_watermarks(topic, partition.id(), TIMEOUT)
            .map_err(|e| failed(&e))?;
        ends.push((partition.id(), low, high));
    }
    let deadline = Instant::now() + PATIENCE;
    let (found, is_whole) = records::newest_of(&client, topic, &ends, count, deadline);
    let note = (!is_whole).then(|| {
        let seconds = PATIENCE.as_secs();
        format!("not all of the newest {count} records came within {seconds} s")
    });
    if let Some(note) = note.as_ref().filter(|_| found.is_empty()) {
        return Err(Failure::unreached(&pipeline.kafka, topic, note));
    }
    Ok((found, note))
}

/// What comes of the records.
enum Made {
    Columns(Vec<Column>),
    Texts,
    Changes,
}

struct Read {
    made: Made,
    format: &'static str,
    lines: Option<lines::Lines>,
    records: usize,
    /// Records that are something else.
    others: usize,
    notes: Vec<String>,
}

impl Read {
    fn new(made: Made, format: &'static str, records: usize, others: usize) -> Read {
        Read {
            made,
            format,
            lines: None,
            records,
            others,
            notes: vec![],
        }
    }
}

fn read(
    topic: &str,
    looks: &[Look<'_>],
    registry: Option<&SchemaRegistry>,
) -> Result<Read, Failure> {
    let (shape, others) = look::shape(looks);
    let count = looks.len() - others;
    let refused = |why: &str| Err(Failure::Refused(format!("topic {topic}{why}")));
    match shape {
        Shape::Objects => {
            let objects = looks.iter().filter_map(Look::object);
            let made = Made::Columns(of_objects(objects));
            Ok(Read::new(made, "json", count, others))
        }
        Shape::FramedObjects => {
            let objects: Vec<Raw<'_>> = looks.iter().filter_map(Look::framed_object).collect();
            let made = match objects.iter().all(|object| is_change(*object)) {
                true => Made::Changes,
                false => Made::Columns(of_objects(objects.into_iter())),
            };
            Ok(Read::new(made, "json_schema", count, others))
        }
        Shape::Framed => {
            let Some(registry) = registry else {
                return refused(
                    ": the records begin with the frame of a schema registry, and [schema_registry] \
                     names none: set its url",
                );
            };
            let found = schemas::of_schemas(registry, looks)?;
            let made = match found.is_change {
                true => Made::Changes,
                false => Made::Columns(found.columns),
            };
            let mut read = Read::new(
                made,
                found.format,
                found.records,
                looks.len() - found.records,
            );
            read.notes = found.notes;
            Ok(read)
        }
        Shape::Lines(lines) => {
            let columns = of_lines(&lines, looks);
            let mut read = Read::new(Made::Columns(columns), "csv", count, others);
            read.lines = Some(lines);
            Ok(read)
        }
        Shape::Changes => Ok(Read::new(Made::Changes, "json", count, others)),
        Shape::Texts => Ok(Read::new(Made::Texts, "string", count, others)),
        Shape::Binary => refused(
            ": the records are no text and have no frame of a schema registry, so they have no fields \
             that a table can be guessed of; if they are Avro or Protobuf, name their schema in \
             avro.schema_file or protobuf.descriptor_file",
        ),
        Shape::Nothing => refused(" has no records with a value"),
    }
}

/// The columns of objects by their members.
fn of_objects<'v>(objects: impl Iterator<Item = Raw<'v>>) -> Vec<Column> {
    let (mut fields, mut count): (Vec<Field>, usize) = (vec![], 0);
    for object in objects {
        count += 1;
        see(object, &mut fields);
    }
    fields
        .iter()
        .map(|field| Column::guessed(field, count))
        .collect()
}

fn see(object: Raw<'_>, fields: &mut Vec<Field>) {
    for (name, member) in object.members() {
        match fields.iter().position(|field| field.name == *name) {
            Some(known) => fields[known].see(member),
            None if fields.len() < FIELDS_MAX => {
                let mut field = Field::new(&name);
                field.see(member);
                fields.push(field);
            }
            None => {}
        }
    }
}

/// The columns of lines, in the order of their fields.
fn of_lines(lines: &lines::Lines, looks: &[Look<'_>]) -> Vec<Column> {
    let mut fields: Vec<Field> = lines.names.iter().map(|name| Field::new(name)).collect();
    let Ok(Some(mut reader)) = AsJson::new(&Format::Csv(lines.csv()), Purpose::Fields) else {
        return vec![];
    };
    let mut count = 0;
    for look in looks {
        let json = reader.read(look.value, None).ok();
        let object = json.and_then(|json| Raw::parse(str::from_utf8(json).ok()?).ok());
        if let Some(object) = object {
            count += 1;
            see(object, &mut fields);
        }
    }
    fields
        .iter()
        .map(|field| Column::guessed(field, count))
        .collect()
}

/// What was seen of fields that a pipeline hides is not told. Fields of lines may have other names there: of
/// those nothing is.
fn hide(columns: &mut [Column], private: &[&PrivateFields], are_lines: bool) {
    let is_private = |column: &Column| {
        let Some(name) = column.path.first() else {
            return false;
        };
        let path = Path::field(name).to_string();
        let mut private = private.iter();
        private.any(|fields| !fields.is_empty() && (are_lines || fields.touch(&path)))
    };
    for column in columns.iter_mut().filter(|column| is_private(column)) {
        column.why = Some("private (pipeline.privacy)".to_owned());
    }
}

fn reads(pipeline: &Pipeline, topic: &str) -> bool {
    pipeline.topics.iter().any(|known| known.matches(topic))
}

/// A pipeline that reads the topic: the configuration's own, or else one on the cluster of `[kafka]`.
fn reader(config: &Config, topic: &str) -> Result<Pipeline, Failure> {
    let mut pipelines = config.pipelines.iter();
    if let Some(own) = pipelines.find(|pipeline| reads(pipeline, topic)) {
        return Ok(own.clone());
    }
    plain_pipeline(config, topic, "json")
        .ok_or_else(|| Failure::Usage(format!("{topic:?} is not the name of a topic")))
}

/// A pipeline of nothing but what the sections of the configuration say.
fn plain_pipeline(config: &Config, topic: &str, format: &str) -> Option<Pipeline> {
    let pipeline = json!({
        "name": "sample", "kind": "enrichment", "topics": [topic], "group_id": "sample",
        "format": format, "clickhouse": { "table": "sample" },
    });
    config.base.read_pipeline(&pipeline, &[]).ok()
}

/// The registry of the pipeline, or that of the configuration.
fn registry_of(config: &Config, pipeline: &Pipeline) -> Option<SchemaRegistry> {
    let own = pipeline.schema_registry.clone();
    own.or_else(|| plain_pipeline(config, "sample", "avro")?.schema_registry)
}

impl Sampled {
    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let column = |(name, type_name, why): &(String, String, Option<String>)| json!({ "name": name, "type": type_name, "guessed": why });
        let note = (!self.notes.is_empty()).then(|| self.notes.join("; "));
        json!({
            "topic": self.topic,
            "records": self.records,
            "format": self.format,
            "ddl": self.proposal.ddl,
            "config": self.proposal.config,
            "columns": self.proposal.columns.iter().map(column).collect::<Vec<_>>(),
            "note": note,
        })
    }
}

impl std::fmt::Display for Sampled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Sampled { topic, made_of, .. } = self;
        writeln!(f, "-- table for topic {topic}, {made_of}")?;
        for note in &self.notes {
            writeln!(f, "-- {}", note.replace(['\n', '\r'], " "))?;
        }
        match &self.proposal.ddl {
            Some(ddl) => {
                let database = crate::target::quote_name(&self.database);
                writeln!(f, "CREATE DATABASE IF NOT EXISTS {database};\n{ddl};")?;
            }
            None => writeln!(f, "-- created by the pipeline: create_tables = true")?,
        }
        write!(f, "\n# pipeline\n{}", self.proposal.config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_of_private_fields_is_not_told() {
        let told = |fields: &[&str], are_lines| {
            let object = Raw::parse(r#"{"ssn":777123,"n":5}"#).unwrap();
            let mut columns = of_objects([object].into_iter());
            let private = PrivateFields::new(fields.iter().copied()).unwrap();
            hide(&mut columns, &[&private], are_lines);
            let whys = columns.into_iter().map(|column| column.why);
            whys.flatten().collect::<Vec<_>>().join("; ")
        };
        assert_eq!(told(&[], true), "seen 777123 to 777123; seen 5 to 5");
        assert_eq!(
            told(&["$.ssn"], false),
            "private (pipeline.privacy); seen 5 to 5"
        );
        assert!(!told(&["$.other"], true).contains("777123"));
    }
}
