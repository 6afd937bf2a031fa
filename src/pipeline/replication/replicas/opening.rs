//! The table of a topic's first record is found, or made.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::keys::no_key;
use super::{ColumnFacts, FirstRecord, Replicas};
use crate::crash::crash_point;
use crate::debezium::{Field, Schema};
use crate::halt::Halt;
use crate::replica::{ReplicaTable, create_database, create_moved_rows, zoned_key_columns};
use crate::sink::{Backoff, TableInfo};
use crate::table::ColumnType;

impl Replicas {
    pub(super) async fn opened(&self, topic: &str, first: &FirstRecord) -> Result<(), Halt> {
        if let Some(info) = self.table_info(topic).await? {
            return self.take_over(topic, &info, first).await;
        }
        let config = &self.parts.config;
        let columns = config
            .tables
            .get(topic)
            .map_or(&[][..], |mapping| &mapping.columns);
        if first.is_delete && (!config.create_tables || columns.is_empty()) {
            self.note_missing(topic);
            return Ok(());
        }
        let label = self.label(topic);
        if !config.create_tables {
            let advice = format!(
                "table {label} does not exist: create it, set pipeline.create_tables = true, or name \
                 another one ([pipeline.tables.{topic:?}] table)"
            );
            return Err(Halt::new("missing_table", advice));
        }
        let table = self.table_to_create(topic, first, columns)?;
        let database = &self.parts.pipeline.clickhouse.database;
        crash_point!("before_create_table");
        self.execute(&label, &create_database(database)).await?;
        self.execute(&label, &table.create()).await?;
        crash_point!("after_create_table");
        self.execute(&label, &table.create_view()).await?;
        if !self.has_made_moved_rows.swap(true, Ordering::Relaxed) {
            // Rows do without it; who misses it looks for it again, and says so.
            let _ = self.execute(&label, &create_moved_rows(database)).await;
        }
        tracing::info!(
            table = label,
            topic,
            "table made, unless another task was quicker"
        );
        match self.table_info(topic).await? {
            Some(info) => self.take_over(topic, &info, first).await,
            None => Err(Halt::new(
                "missing_table",
                format!("table {label} is gone as soon as it was created: see who drops it"),
            )),
        }
    }

    fn table_to_create(
        &self,
        topic: &str,
        first: &FirstRecord,
        declared: &[(String, ColumnType)],
    ) -> Result<ReplicaTable, Halt> {
        let label = self.label(topic);
        let database = &self.parts.pipeline.clickhouse.database;
        let name = self.parts.config.table_for(topic);
        let own = self.parts.config.own_names(topic);
        let named = self.key_of(topic);
        let key = if named.is_empty() {
            first
                .key_names
                .as_deref()
                .ok_or_else(|| no_key(&label, topic))?
        } else {
            named
        };
        let table = match &first.schema {
            Some(schema) => {
                let zoned = zoned_key_columns(schema, key);
                let declared = [declared, &zoned].concat();
                let fields = with_key(schema, first.key_schema.as_ref(), key);
                ReplicaTable::of_fields(database, name, &fields, key, &declared, &own)
            }
            None if declared.is_empty() => {
                let advice = format!(
                    "table {label} does not exist, and the records have no schema block that says of \
                     what to make it: name its columns, [pipeline.tables.{topic:?}] columns = {{ id = \
                     \"Int64\", … }}, create it yourself, or have the connector write schema blocks \
                     (value.converter.schemas.enable)"
                );
                return Err(Halt::new("missing_table", advice));
            }
            None => ReplicaTable::new(database, name, declared.to_vec(), key, &own),
        };
        table.map_err(|error| {
            let declare = format!("[pipeline.tables.{topic:?}]");
            let advice = error.to_string().replace("[pipeline.tables]", &declare);
            Halt::new("schema", advice)
        })
    }

    /// From now on rows are made for the table as it is, and the view shows it. Whoever is interrupted between the
    /// two, as by a rebalance, must come here again: so the view is first.
    pub(super) async fn take_over(
        &self,
        topic: &str,
        info: &TableInfo,
        first: &FirstRecord,
    ) -> Result<(), Halt> {
        let values = ColumnFacts {
            defaults: self.default_values(topic, info).await?,
            comments: self.comments(topic).await?,
        };
        // A table that is refused gets no view.
        self.replica_of(topic, info, first, &values)?;
        self.renew_view(topic, info).await?;
        self.take(topic, info, first, &values)
    }

    /// The comments of the table's columns.
    pub(super) async fn comments(&self, topic: &str) -> Result<HashMap<String, String>, Halt> {
        let (client, table) = (&self.parts.client, self.parts.config.table_for(topic));
        let database = &self.parts.pipeline.clickhouse.database;
        let mut backoff = Backoff::new();
        loop {
            match client.column_comments(database, table).await {
                Ok(comments) => return Ok(comments),
                Err(error) => self.wait(&self.label(topic), &error, &mut backoff).await?,
            }
        }
    }

    pub(super) async fn default_values(
        &self,
        topic: &str,
        info: &TableInfo,
    ) -> Result<HashMap<String, Bytes>, Halt> {
        if info.columns.iter().all(|c| c.default_kind != "DEFAULT") {
            return Ok(HashMap::new());
        }
        let (client, table) = (&self.parts.client, self.parts.config.table_for(topic));
        let database = &self.parts.pipeline.clickhouse.database;
        let mut backoff = Backoff::new();
        loop {
            match client.default_values(database, table).await {
                Ok(values) => return Ok(values),
                Err(error) => self.wait(&self.label(topic), &error, &mut backoff).await?,
            }
        }
    }
}

/// The fields of a row, and those members of the key that the row has not: a transform put them there.
fn with_key(row: &Schema, key_schema: Option<&Schema>, key: &[String]) -> Vec<Field> {
    let is_in_row = |field: &&Field| row.field_type(&field.name).is_some();
    let of_key = key_schema.map_or(&[][..], Schema::fields).iter();
    let is_key = |field: &&Field| key.iter().any(|name| **name == *field.name);
    let only_in_key = of_key.filter(is_key).filter(|field| !is_in_row(field));
    only_in_key.chain(row.fields()).cloned().collect()
}
