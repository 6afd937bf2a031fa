//! `examples/medallion.toml` with the demo's addresses and names.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::super::config::{section, set};
use super::{Places, TOPIC};
use crate::workdir::{free_port, project_root};

pub(super) const LETTERS: &str = "streamweir-dead-letters";
/// In the order of the file.
pub(super) const GROUPS: [&str; 5] = [
    "retail-bronze",
    "retail-silver",
    "retail-sales-metrics",
    "retail-customer-analytics",
    "retail-product-performance",
];

/// A configuration file and what the demo needs to know of it.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) path: PathBuf,
    pub(super) http_listen: String,
}

pub(super) fn write(places: &Places, dir: &Path) -> Result<Written> {
    let examples = project_root().join("examples");
    let shipped = examples.join("medallion.toml");
    let text = fs::read_to_string(&shipped)
        .with_context(|| format!("cannot read {}", shipped.display()))?;
    let mut config: Table = text
        .parse()
        .with_context(|| format!("{} is no TOML", shipped.display()))?;
    let http_listen = format!("127.0.0.1:{}", free_port()?);
    let service = section(&mut config, "service")?;
    set(service, "http_listen", &*http_listen);
    set(service, "state_dir", &*dir.join("state").to_string_lossy());
    let brokers: Vec<Value> = places.bootstrap.split(',').map(Value::from).collect();
    set(section(&mut config, "kafka")?, "bootstrap_servers", brokers);
    let clickhouse = section(&mut config, "clickhouse")?;
    set(clickhouse, "url", &*places.clickhouse_url);
    set(clickhouse, "database", places.named("analytics"));
    let pipelines = config.get_mut("pipeline").and_then(Value::as_array_mut);
    let pipelines = pipelines.context("the example has no [[pipeline]]")?;
    for (pipeline, group) in pipelines.iter_mut().zip(GROUPS) {
        let pipeline = pipeline.as_table_mut().context("[[pipeline]] is a table")?;
        set(pipeline, "topics", vec![places.named(TOPIC)]);
        set(pipeline, "group_id", places.named(group));
        set(
            section(pipeline, "dead_letter")?,
            "topic",
            places.named(LETTERS),
        );
        // A line every other second should show rows that move.
        set(section(pipeline, "batch")?, "flush_interval", "1s");
        let clickhouse = section(pipeline, "clickhouse")?;
        let ddl = clickhouse.get("ddl").and_then(Value::as_str);
        let ddl = examples.join(ddl.context("each table has its DDL")?);
        set(clickhouse, "ddl", &*ddl.to_string_lossy());
    }
    let path = dir.join("config.toml");
    fs::write(&path, config.to_string())?;
    Ok(Written { path, http_listen })
}
