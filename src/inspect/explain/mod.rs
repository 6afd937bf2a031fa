//! `streamweir explain`: what one record is, what each pipeline that reads its topic makes of it, and where
//! it is now. Nothing is written, and no group is joined.

mod letters;
mod now;
mod outcome;
mod shown;
mod source;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use self::letters::{Kept, Letters};
use self::now::{Now, Place};
use self::outcome::Outcome;
use self::source::{Before, Source};
use super::created::Privacy;
use super::doctor::facts::{SampledRecord, TableFacts};
use super::doctor::sample;
use super::hidden;
use crate::config::{Config, Kind, Pipeline};
use crate::pipeline::judging::{Judgement, judge_last};

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
    /// Why the table was not asked, if so.
    not_asked: Option<String>,
}

/// Explains one record after the other: what is known of a topic, and of its dead letters, is asked once.
#[derive(Debug)]
pub struct Explainer<'c> {
    config: &'c Config,
    names: &'c [String],
    topics: HashMap<String, Vec<Source>>,
    letters: Letters,
    privacy: Privacy,
    runtime: tokio::runtime::Runtime,
}

impl<'c> Explainer<'c> {
    /// `names`: of these pipelines, or of all. `addresses`: the records that will be asked for.
    ///
    /// # Errors
    /// A name that no pipeline has.
    pub fn new(
        config: &'c Config,
        names: &'c [String],
        addresses: &[Address],
    ) -> Result<Self, ExplainError> {
        let known = |name: &String| config.pipelines.iter().any(|p| p.name == *name);
        if let Some(unknown) = names.iter().find(|name| !known(name)) {
            let message = format!("no pipeline {unknown:?} in the configuration");
            return Err(ExplainError::Usage(message));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime
            .map_err(|error| ExplainError::Unreachable(format!("no runtime is left: {error}")))?;
        let reads = |p: &&Pipeline| {
            let mut asked = addresses.iter();
            asked.any(|address| reads(p, names, &address.topic))
        };
        let readers = config.pipelines.iter().filter(reads);
        Ok(Explainer {
            config,
            names,
            topics: HashMap::new(),
            letters: Letters::new(readers.map(|p| p.name.clone()), addresses),
            privacy: Privacy::of(config),
            runtime,
        })
    }

    /// Reads the record and has each pipeline that reads its topic judge it.
    ///
    /// # Errors
    /// See [`ExplainError`].
    pub fn explain(&mut self, address: &Address) -> Result<Explanation, ExplainError> {
        self.look_at(&address.topic)?;
        let sources = self.topics.get_mut(&address.topic);
        let sources = sources.map_or(&mut [][..], |sources| sources);
        let Some(first) = sources.first_mut() else {
            let message = format!("no pipeline reads topic {}", address.topic);
            return Err(ExplainError::Usage(message));
        };
        let record = first.read(address)?;
        let mut pipelines = vec![];
        for source in sources {
            let mut own = of_pipeline(&self.runtime, source, address, record.as_ref());
            if own.may_be_a_letter() {
                let letter = self.letters.of(self.config, &source.pipeline.name, address);
                own.note_letter(source, letter?);
            }
            pipelines.push(own);
        }
        let mut record = record;
        if let Some(record) = &mut record {
            // Also those of pipelines that were not asked for.
            let private = self.privacy.of_topic(&address.topic);
            record.value = hidden(record.value.take(), private);
        }
        Ok(Explanation {
            pipelines,
            record,
            address: address.clone(),
        })
    }

    /// Connects for each pipeline that reads the topic.
    fn look_at(&mut self, topic: &str) -> Result<(), ExplainError> {
        if self.topics.contains_key(topic) {
            return Ok(());
        }
        let mut sources = vec![];
        let pipelines = self.config.pipelines.iter();
        for pipeline in pipelines.filter(|p| reads(p, self.names, topic)) {
            sources.push(Source::new(&self.runtime, pipeline, topic)?);
        }
        self.topics.insert(topic.to_owned(), sources);
        Ok(())
    }
}

/// Whether a pipeline is meant and reads the topic.
fn reads(pipeline: &Pipeline, names: &[String], topic: &str) -> bool {
    let is_meant = names.is_empty() || names.contains(&pipeline.name);
    is_meant && pipeline.topics.iter().any(|t| t.matches(topic))
}

fn of_pipeline(
    runtime: &tokio::runtime::Runtime,
    source: &mut Source,
    address: &Address,
    record: Option<&SampledRecord>,
) -> OfPipeline {
    let place = Place {
        address,
        is_committed: source.has_committed(address),
    };
    let before = record.map_or_else(Before::default, |record| source.before(record));
    let (pipeline, server) = (&source.pipeline, source.server());
    let tables: &[TableFacts] = server.map_or(&[], |(_, facts)| &facts.tables);
    let table = tables.first();
    let Some(record) = record else {
        return OfPipeline {
            pipeline: pipeline.name.clone(),
            outcome: Outcome::control(),
            table: table.map(|table| table.name.clone()),
            row: None,
            sources: json!({}),
            now: place.otherwise(),
            not_asked: None,
        };
    };
    let judgement = judged(pipeline, tables, &before.records, record);
    let mut outcome = Outcome::of(pipeline, record, &judgement);
    if outcome.makes_row() && !before.is_whole {
        let detail = "whether it is a duplicate is not known: not all records before it were read";
        outcome.detail.get_or_insert(detail.to_owned());
    }
    let rows = judgement.ok().and_then(|judgement| judgement.rows);
    let rows = rows.filter(|rows| !rows.rows.is_empty());
    let looked = match (source.why_not_asked(), server, table) {
        (Some(why), ..) => Err(why),
        (None, Some((plain, _)), Some(table)) => {
            let looked = now::look(pipeline, plain, table, rows.as_ref(), &place);
            runtime.block_on(looked)
        }
        _ => Ok((None, place.otherwise())),
    };
    let (row, now, not_asked) = match looked {
        Ok((row, now)) => (row, now, None),
        Err(why) => (None, Now::NotAsked, Some(why)),
    };
    OfPipeline {
        pipeline: pipeline.name.clone(),
        now,
        not_asked,
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

/// The record by itself, or behind those that it may be a duplicate of: what sessions, windows and joins remember is
/// not known.
fn judged(
    pipeline: &Arc<Pipeline>,
    tables: &[TableFacts],
    before: &[SampledRecord],
    record: &SampledRecord,
) -> Result<Judgement, String> {
    if tables.is_empty() && pipeline.appends() {
        return Err("its table cannot be looked at".to_owned());
    }
    let known: Vec<_> = tables.iter().map(sample::known).collect();
    let partition = usize::try_from(record.partition).unwrap_or(0);
    let partitions = HashMap::from([(record.topic.clone(), partition + 1)]);
    let skipped = &pipeline.dead_letter.skip;
    let is_skipped =
        |r: &SampledRecord| skipped.contains(&(r.topic.clone(), r.partition, r.offset));
    let before = before.iter().filter(|record| !is_skipped(record));
    let given: Vec<_> = before.chain([record]).map(sample::given).collect();
    judge_last(pipeline, &known, &partitions, &given).map_err(|halt| halt.advice)
}

impl OfPipeline {
    /// Whether the record may lie in the dead-letter topic: the table does not show it. Its commit may wait
    /// for others.
    fn may_be_a_letter(&self) -> bool {
        let makes_none = matches!(self.outcome.name, "control" | "dropped");
        self.now != Now::InTable && !makes_none
    }

    /// Takes over what the dead-letter topic says of the record.
    fn note_letter(&mut self, source: &Source, letter: Option<&Kept>) {
        let Some(letter) = letter else {
            // Its row is made of many records, and committed once it is written.
            let is_there = self.outcome.name == "row" && self.now == Now::NotInTable;
            if is_there && is_of_many(&source.pipeline) {
                self.now = Now::InTable;
            }
            return;
        };
        // It may have been replayed.
        if self.now != Now::NotAsked {
            self.now = Now::DeadLetter;
        }
        // These rules refused it, by what a look at the record alone does not show.
        if self.outcome.makes_row() && letter.config_id == source.pipeline.config_id {
            self.outcome.name = "dead_letter";
        }
        if self.outcome.name != "dead_letter" || self.outcome.reason.is_none() {
            self.outcome.reason = Some(letter.reason.clone());
            self.outcome.detail = Some(letter.detail.clone());
        }
        self.row = self.row.take().filter(|_| self.outcome.makes_row());
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
}
