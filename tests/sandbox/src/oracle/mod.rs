//! Recorded cases with known results: loading them, playing them into Kafka and Redis, and
//! having the case's own checker compare what came out.

mod check;
mod load;

pub use check::{check_dead_letters, check_joined, check_rows, query};

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::redis::connect;
use crate::topic::{self, Record};

/// A case directory: `case.json`, `input.jsonl` and, for some, `profiles.jsonl`.
#[derive(Debug, Clone)]
pub struct Case {
    /// Where it was loaded from.
    pub dir: PathBuf,
    /// What `case.json` says.
    pub description: Description,
    /// The records, in the order in which they are produced.
    pub records: Vec<InputRecord>,
    /// The lookup's contents.
    pub profiles: Vec<Profile>,
}

/// `case.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct Description {
    /// The directory's name.
    pub name: String,
    /// Kind of the pipeline the case is for.
    pub kind: String,
    /// Partitions of each input topic.
    pub topics: BTreeMap<String, i32>,
    /// The pipeline's configuration, times in milliseconds.
    pub config: Value,
    /// Whether the result goes to a compacted topic as well.
    #[serde(default)]
    pub output_topic: bool,
}

/// A record to produce to exactly this partition; its offset is its number there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of a Kafka record")]
pub struct InputRecord {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// The name of the edge case it shows.
    pub case: Option<String>,
}

/// A key of the lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The whole key.
    pub key: String,
    /// What is kept there.
    pub value: ProfileValue,
}

/// The Redis types a profile comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProfileValue {
    /// SET
    Text(String),
    /// HSET
    Hash(BTreeMap<String, String>),
    /// RPUSH: a type no lookup expects
    List(Vec<String>),
}

impl Case {
    /// Loads a case directory.
    ///
    /// # Errors
    /// Names the file and line that cannot be read.
    pub fn load(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref().to_owned();
        let path = dir.join("case.json");
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self {
            description: serde_json::from_slice(&text)
                .with_context(|| format!("{} is no case", path.display()))?,
            records: load::input_records(&dir.join("input.jsonl"))?,
            profiles: load::profiles(&dir.join("profiles.jsonl"))?,
            dir,
        })
    }

    /// Creates the input topics under `prefix` + name, so that the past timestamps stay.
    pub fn create_topics(&self, bootstrap: &str, prefix: &str) -> Result<()> {
        self.description
            .topics
            .iter()
            .try_for_each(|(name, partitions)| {
                let settings = [("retention.ms", "-1"), ("retention.bytes", "-1")];
                topic::create(
                    bootstrap,
                    &format!("{prefix}{name}"),
                    *partitions,
                    &settings,
                )
            })
    }

    /// Produces every record to `prefix` + topic, with its offset in the header `trace`. Returns
    /// how many there were. The topics must be empty.
    pub fn produce(&self, bootstrap: &str, prefix: &str) -> Result<u64> {
        let mut sent = 0;
        for name in self.description.topics.keys() {
            let records = self.records.iter().filter(|record| record.topic == *name);
            let records = records.map(|record| Record {
                partition: Some(record.partition),
                key: record.key.clone(),
                value: record.value.clone(),
                headers: vec![("trace".into(), Some(record.offset.to_string().into_bytes()))],
                timestamp_ms: Some(record.timestamp_ms),
            });
            sent += topic::produce(bootstrap, &format!("{prefix}{name}"), records)?;
        }
        Ok(sent)
    }

    /// Writes every profile to `prefix` + key. The pipeline's `key_prefix` is then `prefix` + the
    /// one of the case.
    pub fn load_profiles(&self, redis_url: &str, prefix: &str) -> Result<()> {
        if self.profiles.is_empty() {
            return Ok(());
        }
        let mut pipe = redis::pipe();
        for Profile { key, value } in &self.profiles {
            let key = format!("{prefix}{key}");
            match value {
                ProfileValue::Text(text) => pipe.set(key, text),
                ProfileValue::List(items) => pipe.rpush(key, items),
                ProfileValue::Hash(fields) => {
                    pipe.hset_multiple(key, &fields.iter().collect::<Vec<_>>())
                }
            };
            pipe.ignore();
        }
        pipe.query::<()>(&mut connect(redis_url)?)?;
        Ok(())
    }
}
