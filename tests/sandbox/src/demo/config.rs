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
    /// `database.table`
    pub(super) table: String,
}

/// Writes `config.toml` into `dir`: the enrichment pipeline of the shipped file alone.
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
    pipelines.retain(|pipeline| pipeline.get("kind").and_then(Value::as_str) == Some("enrichment"));
    pipelines.truncate(1);
    let pipeline = pipelines.first_mut().and_then(Value::as_table_mut);
    let pipeline = pipeline.context("the shipped configuration has no enrichment pipeline")?;
    let table = adapt(pipeline, parts, &root)?;

    let path = dir.join("config.toml");
    fs::write(&path, config.to_string())?;
    Ok(Written {
        path,
        http_listen,
        table: format!("{}.{table}", parts.database()),
    })
}

/// Gives the pipeline the demo's names; returns its table.
fn adapt(pipeline: &mut Table, parts: &Parts, root: &Path) -> Result<String> {
    set(pipeline, "topics", vec![Value::from(parts.topic())]);
    set(pipeline, "group_id", parts.group());
    // A line every other second should show rows that move: each partition is written every second.
    let batch = section(pipeline, "batch")?;
    set(batch, "flush_interval", "1s");
    set(batch, "inserts_per_second_max", i64::from(PARTITIONS));
    set(
        section(pipeline, "lookup")?,
        "key_prefix",
        parts.key_prefix(),
    );
    set(
        section(pipeline, "dead_letter")?,
        "topic",
        parts.dead_letter_topic(),
    );
    let clickhouse = section(pipeline, "clickhouse")?;
    if let Some(ddl) = clickhouse.get("ddl").and_then(Value::as_str) {
        let ddl = root.join(ddl).to_string_lossy().into_owned();
        set(clickhouse, "ddl", ddl);
    }
    let table = clickhouse.get("table").and_then(Value::as_str);
    Ok(table
        .context("the shipped enrichment pipeline names no table")?
        .to_owned())
}

pub(super) fn section<'t>(table: &'t mut Table, name: &str) -> Result<&'t mut Table> {
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
