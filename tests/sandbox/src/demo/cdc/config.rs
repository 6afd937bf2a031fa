//! The demo's configuration: one that was given, or its own, with the demo's addresses.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use toml::{Table, Value};

use super::parts::Parts;
use super::{DEAD_LETTER_TOPIC, PREFIX};
use crate::demo::config::{section, set};
use crate::workdir::free_port;

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
    let database = match clickhouse.get("database").and_then(Value::as_str) {
        Some(name) => name.to_owned(),
        None => "analytics".to_owned(),
    };
    set(clickhouse, "database", &*database);

    let pipelines = config.get_mut("pipeline").and_then(Value::as_array_mut);
    let pipelines = pipelines.context("the configuration has no [[pipeline]]")?;
    pipelines.retain(|pipeline| pipeline.get("kind").and_then(Value::as_str) == Some("cdc"));
    pipelines.truncate(1);
    let pipeline = pipelines.first_mut().and_then(Value::as_table_mut);
    let pipeline = pipeline.context("the configuration has no pipeline of kind cdc")?;
    let letters = section(pipeline, "dead_letter")?;
    set(letters, "topic", DEAD_LETTER_TOPIC);
    let group = pipeline.get("group_id").and_then(Value::as_str);
    let group = group.context("the pipeline has no group_id")?.to_owned();
    let replicas = replicas(pipeline, &database)?;

    let path = dir.join("config.toml");
    fs::write(&path, config.to_string())?;
    Ok(Written {
        path,
        http_listen,
        group,
        replicas,
    })
}

fn replicas(pipeline: &Table, database: &str) -> Result<Vec<Replica>> {
    let topics = pipeline.get("topics").and_then(Value::as_array);
    let topics = topics.into_iter().flatten().filter_map(Value::as_str);
    let of = |topic: &str| -> Result<Replica> {
        let source = topic.strip_prefix(&format!("{PREFIX}.public."));
        let source = source.with_context(|| {
            format!("the demo has no topic {topic}: they begin with {PREFIX}.public.")
        })?;
        let named = pipeline
            .get("tables")
            .and_then(|tables| tables.get(topic)?.get("table")?.as_str());
        Ok(Replica {
            source: source.to_owned(),
            topic: topic.to_owned(),
            table: format!("{database}.{}", named.unwrap_or(source)),
        })
    };
    let replicas: Vec<_> = topics.map(of).collect::<Result<_>>()?;
    ensure!(!replicas.is_empty(), "the pipeline names no topics");
    Ok(replicas)
}
