//! The events as they are: a raw pipeline over the same topic.

use anyhow::{Result, ensure};
use sandbox::clickhouse::ClickHouse;
use sandbox::workdir::project_root;
use toml::{Table, Value};

use crate::daemon::{Work, section, shipped};
use crate::topic::EventTopic;

/// The topic of events, read by a pipeline of kind `raw`.
pub(crate) struct RawEvents<'t> {
    pub(crate) topic: &'t EventTopic,
    /// `clickhouse.compression`.
    pub(crate) compression: &'static str,
}

impl Work for RawEvents<'_> {
    fn topic(&self) -> &str {
        &self.topic.name
    }

    fn records(&self) -> u64 {
        self.topic.events
    }

    fn config(&self) -> Result<Table> {
        let mut config = shipped(&project_root(), "clickstream")?;
        let ddl = project_root().join("sql/bronze_events.sql");
        let mut pipeline = Table::new();
        pipeline.insert("name".into(), "bronze".into());
        pipeline.insert("kind".into(), "raw".into());
        let clickhouse = section(&mut pipeline, "clickhouse")?;
        clickhouse.insert("table".into(), "bronze_events".into());
        clickhouse.insert("compression".into(), self.compression.into());
        clickhouse.insert("ddl".into(), ddl.display().to_string().into());
        config.insert(
            "pipeline".into(),
            Value::Array(vec![Value::Table(pipeline)]),
        );
        Ok(config)
    }

    fn check(&self, clickhouse: &ClickHouse, database: &str) -> Result<()> {
        let sql =
            format!("SELECT uniqExact(partition, offset), count() FROM {database}.bronze_events");
        let counts = clickhouse.try_query(&sql)?;
        let expected = format!("{0}\t{0}", self.topic.events);
        ensure!(counts.trim() == expected, "{counts} of {expected} rows");
        Ok(())
    }
}
