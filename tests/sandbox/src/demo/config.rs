//! The demo's configuration: the shipped one, with the demo's addresses and names.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::{PARTITIONS, Parts};
use crate::workdir::{free_port, project_root};

/// A configuration file and what the demo needs to know of it.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) path: PathBuf,
    pub(super) http_listen: String,
    /// `database.table` of the events.
    pub(super) table: String,
}

/// Writes `config.toml` into `dir`: all pipelines of the shipped file.
pub(super) fn write(parts: &Parts, dir: &Path) -> Result<Written> {
    let root = project_root();
    let shipped = root.join("config.toml");
    let text = fs::read_to_string(&shipped)
        .with_context(|| format!("cannot read {}", shipped.display()))?;
    let mut config: Table = text
        .parse()
        .with_context(|| format!("{} is no TOML", shipped.display()))?;

    let http_listen = format!("127.0.0.1:{}", free_port()?);
    let service = section(&mut config, "service")?;
    set(service, "http_listen", &*http_listen);
    set(service, "state_dir", &*dir.join("state").to_string_lossy());
    let brokers: Vec<Value> = parts.bootstrap().split(',').map(Value::from).collect();
    set(section(&mut config, "kafka")?, "bootstrap_servers", brokers);
    let clickhouse = section(&mut config, "clickhouse")?;
    set(clickhouse, "url", parts.clickhouse_url());
    set(clickhouse, "database", parts.database());
    set(section(&mut config, "redis")?, "url", parts.redis_url());

    let pipelines = config.get_mut("pipeline").and_then(Value::as_array_mut);
    let pipelines = pipelines.context("the shipped configuration has no [[pipeline]]")?;
    let mut table = None;
    for pipeline in pipelines {
        let pipeline = pipeline.as_table_mut().context("[[pipeline]] is a table")?;
        rename(pipeline, parts, &root)?;
        if text_at(pipeline, "", "kind").as_deref() == Some("enrichment") {
            table = text_at(pipeline, "clickhouse", "table");
            // A line every other second should show rows that move: each partition is written every second.
            let batch = section(pipeline, "batch")?;
            set(batch, "flush_interval", "1s");
            set(batch, "inserts_per_second_max", i64::from(PARTITIONS));
        }
    }
    let table = table.context("the shipped configuration has no enrichment into a table")?;

    let path = dir.join("config.toml");
    fs::write(&path, config.to_string())?;
    Ok(Written {
        path,
        http_listen,
        table: format!("{}.{table}", parts.database()),
    })
}

/// Gives a pipeline the demo's names.
fn rename(pipeline: &mut Table, parts: &Parts, root: &Path) -> Result<()> {
    for (name, key) in [
        ("", "group_id"),
        ("lookup", "key_prefix"),
        ("clickhouse", "database"),
        ("left", "topic"),
        ("right", "topic"),
        ("output", "topic"),
    ] {
        if let Some(shipped) = text_at(pipeline, name, key) {
            set(section(pipeline, name)?, key, parts.named(&shipped));
        }
    }
    let letters = section(pipeline, "dead_letter")?;
    set(letters, "topic", parts.dead_letter_topic());
    if let Some(ddl) = text_at(pipeline, "clickhouse", "ddl") {
        let ddl = root.join(ddl).to_string_lossy().into_owned();
        set(section(pipeline, "clickhouse")?, "ddl", ddl);
    }
    if let Some(topics) = pipeline.get_mut("topics").and_then(Value::as_array_mut) {
        for topic in topics {
            let name = topic.as_str().context("a topic is a text")?;
            *topic = match name.strip_prefix('^') {
                Some(pattern) => Value::from(format!("^{}", parts.named(pattern))),
                None => Value::from(parts.named(name)),
            };
        }
    }
    if let Some(tables) = pipeline.get_mut("tables").and_then(Value::as_table_mut) {
        let shipped = std::mem::take(tables).into_iter();
        *tables = shipped.map(|(t, v)| (parts.named(&t), v)).collect();
    }
    Ok(())
}

/// The text of a key, in the table itself where the section has no name.
fn text_at(table: &Table, section: &str, key: &str) -> Option<String> {
    let value = match section {
        "" => table.get(key)?,
        section => table.get(section)?.get(key)?,
    };
    value.as_str().map(str::to_owned)
}

/// A table in the table, or itself where it has no name.
pub(super) fn section<'t>(table: &'t mut Table, name: &str) -> Result<&'t mut Table> {
    if name.is_empty() {
        return Ok(table);
    }
    let section = table
        .entry(name)
        .or_insert_with(|| Value::Table(Table::new()));
    section
        .as_table_mut()
        .with_context(|| format!("[{name}] is no table"))
}

pub(super) fn set(table: &mut Table, key: &str, value: impl Into<Value>) {
    table.insert(key.to_owned(), value.into());
}
