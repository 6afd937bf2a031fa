//! Topics of change records in one form.

use anyhow::{Context as _, Result, ensure};
use sandbox::clickhouse::ClickHouse;
use sandbox::generate::{ChangeForm, Changes, ORDERS, Written, write_changes};
use sandbox::workdir::project_root;
use sandbox::{Sandbox, topic};
use toml::{Table, Value};

use crate::daemon::{Work, section, shipped};
use crate::topic::PARTITIONS;

/// Different keys.
pub(super) const KEYS: u64 = 50_000;
const SEED: u64 = 42;

pub(super) struct ChangeTopic {
    name: String,
    pub(super) changes: u64,
    pub(super) written: Written,
    /// Of the rows that are there in the end.
    totals: String,
}

impl ChangeTopic {
    /// Produces so many changes and the tombstones behind deletes.
    pub(super) fn fill(parts: &Sandbox, form: ChangeForm, changes: u64) -> Result<Self> {
        let prefix = match form {
            ChangeForm::Envelope => "bare",
            ChangeForm::EnvelopeInBlock => "typed",
            ChangeForm::Flattened => "flat",
        };
        let (name, bootstrap) = (format!("{prefix}.public.orders"), parts.kafka.bootstrap());
        topic::create(bootstrap, &name, PARTITIONS, &[("retention.ms", "-1")])?;
        let mut source = Changes::new(SEED, KEYS, &name, form);
        let written = write_changes(bootstrap, &name, &mut source, changes)?;
        let held: i64 = topic::end_offsets(bootstrap, &name)?.values().sum();
        ensure!(
            held == i64::try_from(written.records)?,
            "the topic holds {held} records"
        );
        Ok(Self {
            name,
            changes,
            written,
            totals: source.totals(),
        })
    }

    /// Room for the next.
    pub(super) fn delete(self, parts: &Sandbox) -> Result<()> {
        topic::delete(parts.kafka.bootstrap(), &self.name)
    }
}

impl Work for ChangeTopic {
    fn topic(&self) -> &str {
        &self.name
    }

    fn records(&self) -> u64 {
        self.written.records
    }

    fn config(&self) -> Result<Table> {
        let mut config = shipped(&project_root(), "shop")?;
        let pipeline = config["pipeline"][0].as_table_mut().context("a pipeline")?;
        section(pipeline, "clickhouse")?.remove("ddl");
        let column = |(name, is): &(&str, &str)| ((*name).to_owned(), Value::from(*is));
        let mut table = Table::new();
        table.insert("key".into(), vec![ORDERS[0].0].into());
        let columns: Table = ORDERS.iter().map(column).collect();
        table.insert("columns".into(), columns.into());
        // The server that forgets has no row behind the commits when the group starts again.
        table.insert("accept_empty".into(), true.into());
        let mut tables = Table::new();
        tables.insert(self.name.clone(), table.into());
        pipeline.insert("tables".into(), tables.into());
        Ok(config)
    }

    /// The rows are those that the generator has in the end.
    fn check(&self, clickhouse: &ClickHouse, database: &str) -> Result<()> {
        let found = clickhouse.try_query(&format!(
            "SELECT {} FROM {database}.orders FINAL WHERE _deleted = 0",
            Changes::TOTALS
        ))?;
        ensure!(
            found == self.totals,
            "sums over the table: {found}, over the source: {}",
            self.totals
        );
        Ok(())
    }
}
