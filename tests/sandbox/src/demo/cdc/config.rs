//! The demo's configuration: one that was given, or its own, with the demo's addresses.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use regex::Regex;
use toml::{Table, Value};

use super::parts::Parts;
use super::{DEAD_LETTER_TOPIC, PREFIX};
use crate::demo::config::{section, set};
use crate::workdir::free_port;
use crate::workload;

/// A configuration file and what the demo needs to know of it.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) path: PathBuf,
    pub(super) http_listen: String,
    pub(super) group: String,
    pub(super) replicas: Vec<Replica>,
}

/// A table, its topic, and its replica.
#[derive(Debug)]
pub(super) struct Replica {
    /// Without its schema.
    pub(super) source: String,
    pub(super) topic: String,
    /// `database.table`
    pub(super) table: String,
}

/// Writes `config.toml` into `dir`: the first pipeline of kind `cdc` in `given`, or in the demo's own
/// file.
pub(super) fn write(given: Option<&Path>, parts: &Parts, dir: &Path) -> Result<Written> {
    let text = match given {
        Some(path) => {
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
        }
        None => include_str!("config.toml").to_owned(),
    };
    let mut config: Table = text.parse().context("the configuration is no TOML")?;

    let http_listen = format!("127.0.0.1:{}", free_port()?);
    let service = section(&mut config, "service")?;
    set(service, "http_listen", &*http_listen);
    set(service, "state_dir", &*dir.join("state").to_string_lossy());
    let brokers = vec![Value::from(parts.kafka.bootstrap())];
    set(section(&mut config, "kafka")?, "bootstrap_servers", brokers);
    let clickhouse = section(&mut config, "clickhouse")?;
    set(clickhouse, "url", parts.clickhouse.url());
    let common = text_of(clickhouse, "database").unwrap_or_else(|| "analytics".to_owned());

    let pipelines = config.get_mut("pipeline").and_then(Value::as_array_mut);
    let pipelines = pipelines.context("the configuration has no [[pipeline]]")?;
    pipelines.retain(|pipeline| pipeline.get("kind").and_then(Value::as_str) == Some("cdc"));
    pipelines.truncate(1);
    let pipeline = pipelines.first_mut().and_then(Value::as_table_mut);
    let pipeline = pipeline.context("the configuration has no pipeline of kind cdc")?;
    let letters = section(pipeline, "dead_letter")?;
    set(letters, "topic", DEAD_LETTER_TOPIC);
    let group = text_of(pipeline, "group_id").context("the pipeline has no group_id")?;
    let clickhouse = section(pipeline, "clickhouse")?;
    let database = text_of(clickhouse, "database").unwrap_or(common);
    if let (Some(ddl), Some(given)) = (text_of(clickhouse, "ddl"), given) {
        let beside = given.canonicalize()?.with_file_name(ddl);
        set(clickhouse, "ddl", &*beside.to_string_lossy());
    }
    let tables = workload::tables(&parts.postgres.url())?;
    let replicas = replicas(pipeline, &database, &tables)?;

    let path = dir.join("config.toml");
    fs::write(&path, config.to_string())?;
    Ok(Written {
        path,
        http_listen,
        group,
        replicas,
    })
}

/// The workload's tables whose topics the pipeline reads.
fn replicas(pipeline: &Table, database: &str, tables: &[&str]) -> Result<Vec<Replica>> {
    let topics = pipeline.get("topics").and_then(Value::as_array);
    let topics: Vec<_> = topics
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut replicas = Vec::new();
    for source in tables {
        let topic = format!("{PREFIX}.public.{source}");
        if !is_read(&topic, &topics)? {
            continue;
        }
        let named = pipeline
            .get("tables")
            .and_then(|tables| tables.get(&topic)?.get("table")?.as_str());
        replicas.push(Replica {
            source: (*source).to_owned(),
            table: format!("{database}.{}", named.unwrap_or(source)),
            topic,
        });
    }
    ensure!(
        !replicas.is_empty(),
        "the pipeline reads none of {PREFIX}.public.{{{}}}",
        tables.join(", ")
    );
    Ok(replicas)
}

/// Whether one of the names, or of the patterns that begin with `^`, is the topic's.
fn is_read(topic: &str, topics: &[&str]) -> Result<bool> {
    for wanted in topics {
        if *wanted == topic || (wanted.starts_with('^') && Regex::new(wanted)?.is_match(topic)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn text_of(table: &Table, key: &str) -> Option<String> {
    table.get(key)?.as_str().map(str::to_owned)
}
