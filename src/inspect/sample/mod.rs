//! `streamweir sample`: reads records of a topic and proposes a table and a pipeline for them. Nothing is
//! written, and no group is joined.

mod guess;
mod proposal;

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use serde_json::{Value, json};

use self::proposal::{Shape, of_changes, of_objects, of_texts, shape};
use super::Failure;
use super::doctor::gather::{kafka, records};
use crate::config::{Config, Pipeline};

const TIMEOUT: Duration = Duration::from_secs(8);
/// How long the records are waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is proposed.
#[derive(Debug)]
pub struct Sampled {
    topic: String,
    records: usize,
    ddl: Option<String>,
    config: String,
    columns: Vec<(String, String, Option<String>)>,
    /// What the reader should know of how it was guessed.
    note: Option<String>,
}

/// Reads the newest `count` records.
///
/// # Errors
/// Kafka does not answer, the topic is not there or has no records, or they are none that a table can be
/// guessed of.
pub fn sample(config: &Config, topic: &str, count: usize) -> Result<Sampled, Failure> {
    let pipeline = reader(config, topic)?;
    let client = kafka::client(&pipeline).map_err(|error| Failure::client(&error))?;
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
    let values = found.iter().filter_map(|record| record.value.as_deref());
    let (shape, records) = shape(values);
    let (ddl, config, columns) = match shape {
        Shape::Objects(fields) => {
            let proposal = of_objects(topic, &fields, records);
            (Some(proposal.ddl), proposal.config, proposal.columns)
        }
        Shape::Texts => {
            let proposal = of_texts(topic);
            (Some(proposal.ddl), proposal.config, proposal.columns)
        }
        Shape::Changes => (None, of_changes(topic), vec![]),
        Shape::Binary(what) => {
            return Err(Failure::Refused(format!(
                "topic {topic}: a record {what}, and has no fields that a table can be guessed of"
            )));
        }
        Shape::Nothing => {
            return Err(Failure::Refused(format!(
                "topic {topic} has no records with a value"
            )));
        }
    };
    Ok(Sampled {
        topic: topic.to_owned(),
        records,
        ddl,
        config,
        columns,
        note,
    })
}

/// A pipeline that reads the topic: the configuration's own, or else one on the cluster of `[kafka]`.
fn reader(config: &Config, topic: &str) -> Result<Pipeline, Failure> {
    let reads = |pipeline: &&Pipeline| pipeline.topics.iter().any(|known| known.matches(topic));
    if let Some(own) = config.pipelines.iter().find(reads) {
        return Ok(own.clone());
    }
    let text = of_changes(topic);
    let loaded = Config::parse(&text, "sample", std::path::Path::new("/"), []);
    let pipelines = loaded.map(|loaded| loaded.config.pipelines);
    let pipeline = pipelines.ok().and_then(|mut all| all.pop());
    let mut pipeline =
        pipeline.ok_or_else(|| Failure::Usage(format!("{topic:?} is not the name of a topic")))?;
    pipeline.kafka = config.kafka.clone();
    Ok(pipeline)
}

impl Sampled {
    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let column = |(name, type_name, why): &(String, String, Option<String>)| json!({ "name": name, "type": type_name, "guessed": why });
        json!({
            "topic": self.topic,
            "records": self.records,
            "ddl": self.ddl,
            "config": self.config,
            "columns": self.columns.iter().map(column).collect::<Vec<_>>(),
            "note": self.note,
        })
    }
}

impl std::fmt::Display for Sampled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Sampled { topic, records, .. } = self;
        writeln!(
            f,
            "-- table for topic {topic}, guessed of {records} records"
        )?;
        if let Some(note) = &self.note {
            writeln!(f, "-- {note}")?;
        }
        match &self.ddl {
            Some(ddl) => writeln!(f, "{ddl};")?,
            None => writeln!(f, "-- created by the pipeline: create_tables = true")?,
        }
        write!(f, "\n# pipeline\n{}", self.config)
    }
}
