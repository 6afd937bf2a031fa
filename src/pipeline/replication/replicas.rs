//! The tables of all topics: found, made, altered and emptied, by tasks beside the lanes.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::replica::Replica;
use crate::config::{Cdc, Pipeline};
use crate::crash::crash_point;
use crate::decode::debezium::{Field, Schema};
use crate::decode::json::{Kind, Raw};
use crate::halt::Halt;
use crate::lane::{After, Errand, NotAccepted};
use crate::observe::board::PipelineBoard;
use crate::observe::metrics::PipelineMetrics;
use crate::sink::{Backoff, ClickHouseClient, InsertError, Remedy, TableInfo, quote_name};
use crate::source::TopicPartition;
use crate::table::ColumnType;
use crate::table::replica::{
    ReplicaTable, check_table, create_database, create_moved_rows, default_expression,
};

/// Tables that are looked at at the same time.
const OPENED_AT_ONCE: usize = 8;

/// What the lanes of one pipeline know of its tables.
#[derive(Debug)]
pub(crate) struct Replicas {
    pub(super) parts: ReplicasParts,
    topics: Mutex<HashMap<String, Entry>>,
    /// Rises with every change of the above.
    generation: AtomicU64,
}

/// What a [`Replicas`] is made of.
#[derive(Debug)]
pub(crate) struct ReplicasParts {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) config: Arc<Cdc>,
    pub(crate) client: ClickHouseClient,
    pub(crate) metrics: PipelineMetrics,
    pub(crate) board: Arc<PipelineBoard>,
}

#[derive(Debug, Default)]
struct Entry {
    replica: Option<Arc<Replica>>,
    /// The table does not exist, and only a row says of what to make it.
    is_missing: bool,
    /// Fields that records of the topic have had.
    fields: BTreeSet<String>,
    partitions: Option<usize>,
}

/// What the first record of a topic tells of its table.
#[derive(Debug, Clone, Default)]
pub(super) struct FirstRecord {
    pub(super) schema: Option<Schema>,
    /// Of the record's key; `None` without one.
    pub(super) key_names: Option<Vec<String>>,
    /// Of the row.
    pub(super) fields: Vec<String>,
    /// Nothing but a table that is there already is worth a look.
    pub(super) is_delete: bool,
}

/// A column that the records need.
#[derive(Debug, Clone)]
pub(super) struct Addition {
    name: String,
    change: Change,
}

#[derive(Debug, Clone)]
enum Change {
    Add {
        column_type: ColumnType,
        default: Option<String>,
    },
    /// As long as nobody else has altered it meanwhile: their type may be the wider one.
    Widen { from: ColumnType, to: ColumnType },
    /// It is there, and was left to its expression so far.
    Fill,
}

impl Addition {
    /// A column more; `field` is what the schema block says of it.
    pub(super) fn new(name: &str, column_type: &ColumnType, field: Option<&Field>) -> Self {
        Addition {
            name: name.to_owned(),
            change: Change::Add {
                column_type: column_type.clone(),
                default: field.and_then(default_expression),
            },
        }
    }

    pub(super) fn widened(name: &str, from: &ColumnType, to: &ColumnType) -> Self {
        Addition {
            name: name.to_owned(),
            change: Change::Widen {
                from: from.clone(),
                to: to.clone(),
            },
        }
    }

    pub(super) fn filled(name: &str) -> Self {
        Addition {
            name: name.to_owned(),
            change: Change::Fill,
        }
    }
}

impl Replicas {
    pub(crate) fn new(parts: ReplicasParts) -> Arc<Self> {
        Arc::new(Replicas {
            parts,
            topics: Mutex::default(),
            // Lanes begin with none.
            generation: AtomicU64::new(1),
        })
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.topics.lock().expect("no holder of this lock panics")
    }

    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Rises whenever [`Replicas::of`] may answer something else.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The table of a topic, once it was looked at.
    pub(super) fn of(&self, topic: &str) -> Option<Arc<Replica>> {
        self.topics().get(topic)?.replica.clone()
    }

    /// Whether the table was looked for in vain.
    pub(super) fn is_missing(&self, topic: &str) -> bool {
        self.topics()
            .get(topic)
            .is_some_and(|entry| entry.is_missing)
    }

    /// Partitions of the topic.
    pub(super) fn partitions(&self, topic: &str) -> Option<usize> {
        self.topics().get(topic)?.partitions
    }

    pub(super) fn set_partitions(&self, topic: &str, count: usize) {
        let mut topics = self.topics();
        topics.entry(topic.to_owned()).or_default().partitions = Some(count);
    }

    /// What is known of a table is out of date.
    pub(super) fn forget(&self, label: &str) {
        for entry in self.topics().values_mut() {
            let is_it = |replica: &Arc<Replica>| replica.target.label == label;
            if entry.replica.as_ref().is_some_and(is_it) {
                entry.replica = None;
            }
        }
        self.changed();
    }

    pub(super) fn note_ignored_field(&self) {
        self.parts.metrics.field_ignored();
    }

    /// `database.table` of a topic.
    pub(super) fn label(&self, topic: &str) -> String {
        let database = &self.parts.pipeline.clickhouse.database;
        format!("{database}.{}", self.parts.config.table_for(topic))
    }

    fn sql_name(&self, topic: &str) -> String {
        let database = &self.parts.pipeline.clickhouse.database;
        let table = self.parts.config.table_for(topic);
        format!("{}.{}", quote_name(database), quote_name(table))
    }

    /// Compares the names of a record's key with those of the table's.
    pub(super) fn check_key(
        &self,
        topic: &str,
        replica: &Replica,
        key: Option<&[u8]>,
    ) -> Result<(), NotAccepted> {
        let label = &replica.target.label;
        if !self.key_of(topic).is_empty() {
            return Ok(());
        }
        if key.is_none() {
            return Err(NotAccepted::Halted(no_key(label, topic)));
        }
        let Some(names) = key_names(key) else {
            return Ok(());
        };
        let is_same = names.len() == replica.target.key.len()
            && names.iter().all(|name| replica.is_key(name));
        if is_same {
            return Ok(());
        }
        let sorted_by: Vec<&str> = replica.target.key.iter().map(|(name, _)| &**name).collect();
        Err(NotAccepted::Halted(Halt::new(
            "schema",
            format!(
                "table {label} is sorted by ({}), but the key of the records is ({}): rows of one key \
                 would not replace each other; create the table anew with ORDER BY ({}), or name \
                 another one ([pipeline.tables.{topic:?}] table)",
                sorted_by.join(", "),
                names.join(", "),
                names.join(", ")
            ),
        )))
    }

    /// The key that the configuration names for a topic.
    fn key_of(&self, topic: &str) -> &[String] {
        let mapping = self.parts.config.tables.get(topic);
        mapping.map_or(&[], |mapping| &mapping.key)
    }

    /// Finds the topic's table, or makes it.
    pub(super) fn open(self: Arc<Self>, topic: &str, first: FirstRecord) -> Errand {
        let topic = topic.to_owned();
        Errand {
            what: format!("table {}", self.label(&topic)),
            after: After::Nothing,
            task: Box::pin(async move { self.opened(&topic, &first).await }),
        }
    }

    /// Looks at the tables that are there: what is wrong with one is said before a record is read.
    pub(crate) async fn open_all_existing(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<(), Halt> {
        let topics: BTreeSet<&str> = partitions.iter().map(|p| &*p.topic).collect();
        let opened = topics.into_iter().map(|topic| self.open_existing(topic));
        futures_util::stream::iter(opened)
            .buffer_unordered(OPENED_AT_ONCE)
            .try_for_each(|()| std::future::ready(Ok(())))
            .await
    }

    async fn open_existing(&self, topic: &str) -> Result<(), Halt> {
        let info = self.table_info(topic).await?;
        match info {
            Some(info) => self.take_over(topic, &info, &FirstRecord::default()).await,
            None => Ok(()),
        }
    }

    async fn opened(&self, topic: &str, first: &FirstRecord) -> Result<(), Halt> {
        if let Some(info) = self.table_info(topic).await? {
            return self.take_over(topic, &info, first).await;
        }
        let config = &self.parts.config;
        let columns = config
            .tables
            .get(topic)
            .map_or(&[][..], |mapping| &mapping.columns);
        if first.is_delete && (!config.create_tables || columns.is_empty()) {
            self.topics()
                .entry(topic.to_owned())
                .or_default()
                .is_missing = true;
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
        // Rows do without it; who misses it says so.
        let _ = self.execute(&label, &create_moved_rows(database)).await;
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
            Some(schema) => ReplicaTable::of_fields(database, name, schema.fields(), key, declared),
            None if declared.is_empty() => {
                let advice = format!(
                    "table {label} does not exist, and the records have no schema block that says of \
                     what to make it: name its columns, [pipeline.tables.{topic:?}] columns = {{ id = \
                     \"Int64\", … }}, create it yourself, or have the connector write schema blocks \
                     (value.converter.schemas.enable)"
                );
                return Err(Halt::new("missing_table", advice));
            }
            None => ReplicaTable::new(database, name, declared.to_vec(), key),
        };
        table.map_err(|error| Halt::new("schema", error.to_string()))
    }

    /// From now on rows are made for the table as it is.
    async fn take_over(
        &self,
        topic: &str,
        info: &TableInfo,
        first: &FirstRecord,
    ) -> Result<(), Halt> {
        let defaults = self.default_values(topic, info).await?;
        self.take(topic, info, first, &defaults)?;
        self.renew_view(topic, info).await
    }

    async fn default_values(
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

    fn take(
        &self,
        topic: &str,
        info: &TableInfo,
        first: &FirstRecord,
        defaults: &HashMap<String, Bytes>,
    ) -> Result<(), Halt> {
        let label = self.label(topic);
        let mut key = self.key_of(topic).to_vec();
        if key.is_empty() {
            key = first.key_names.clone().unwrap_or_default();
        }
        if key.is_empty() {
            // The first record with a key will be compared with it.
            key = sorting_columns(info);
        }
        let checked = check_table(&info.existing(&label), &key);
        checked.map_err(|error| Halt::new("schema", error.to_string()))?;
        let mut topics = self.topics();
        self.check_clash(&topics, topic, &label)?;
        let entry = topics.entry(topic.to_owned()).or_default();
        entry.fields.extend(first.fields.iter().cloned());
        let fields = &entry.fields;
        let sorted = sorting_columns(info);
        let replica = Replica::new(
            &label,
            &self.sql_name(topic),
            info,
            &sorted,
            &self.parts.config,
            topic,
            |name| fields.contains(name),
        )
        .map_err(|why| Halt::new("schema", format!("table {label}: {why}")))?;
        entry.replica = Some(Arc::new(replica.with_defaults(defaults)));
        entry.is_missing = false;
        drop(topics);
        self.changed();
        Ok(())
    }

    fn check_clash(
        &self,
        topics: &HashMap<String, Entry>,
        topic: &str,
        label: &str,
    ) -> Result<(), Halt> {
        let has_it = |(other, entry): &(&String, &Entry)| {
            let is_it = |replica: &Arc<Replica>| replica.target.label == label;
            *other != topic && entry.replica.as_ref().is_some_and(is_it)
        };
        match topics.iter().find(has_it) {
            None => Ok(()),
            Some((other, _)) => Err(Halt::new(
                "table_clash",
                format!(
                    "topics {other} and {topic} would both be written to table {label}: name another \
                     one for either, [pipeline.tables.{topic:?}] table = \"…\", then start again"
                ),
            )),
        }
    }

    /// Alters a table to take what the records have now.
    pub(super) fn alter(self: Arc<Self>, topic: &str, additions: Vec<Addition>) -> Errand {
        let topic = topic.to_owned();
        let is_only_filled = additions.iter().all(|a| matches!(a.change, Change::Fill));
        Errand {
            what: format!("columns of table {}", self.label(&topic)),
            // What was made for the table as it is should not meet the table as it will be.
            after: if is_only_filled {
                After::Nothing
            } else {
                After::Writes
            },
            task: Box::pin(async move { self.altered(&topic, additions).await }),
        }
    }

    async fn altered(&self, topic: &str, additions: Vec<Addition>) -> Result<(), Halt> {
        let label = self.label(topic);
        let Some(info) = self.table_info(topic).await? else {
            let advice = format!("table {label} is gone: create it, then start again");
            return Err(Halt::new("missing_table", advice));
        };
        let table = self.statements(topic, &info)?;
        for addition in &additions {
            let existing = info.columns.iter().find(|c| c.name == addition.name);
            let statement = match (&addition.change, existing) {
                (
                    Change::Add {
                        column_type,
                        default,
                    },
                    None,
                ) => table.add_column(&addition.name, column_type, default.as_deref()),
                (Change::Widen { from, to }, Some(now))
                    if ColumnType::parse(&now.type_name).is_ok_and(|now| now == *from) =>
                {
                    table.modify_column(&addition.name, to)
                }
                // Somebody else was quicker.
                _ => continue,
            };
            crash_point!("before_alter");
            self.execute(&label, &statement).await?;
            crash_point!("after_alter");
            tracing::info!(table = label, statement, "table altered");
        }
        let Some(info) = self.table_info(topic).await? else {
            return Err(Halt::new("missing_table", format!("table {label} is gone")));
        };
        let first = FirstRecord {
            fields: additions
                .into_iter()
                .map(|addition| addition.name)
                .collect(),
            ..FirstRecord::default()
        };
        self.take_over(topic, &info, &first).await
    }

    /// A view keeps the columns that its table had when it was made, and their types: one of ours that is
    /// behind its table, by whoever's change, is made anew.
    async fn renew_view(&self, topic: &str, info: &TableInfo) -> Result<(), Halt> {
        let label = self.label(topic);
        let table = self.statements(topic, info)?;
        let database = &self.parts.pipeline.clickhouse.database;
        let client = &self.parts.client;
        let mut backoff = Backoff::new();
        let (query, view) = loop {
            let looked = async {
                let query = client.view_query(database, &table.view()).await?;
                let view = match query {
                    Some(_) => client.table_info(database, &table.view()).await?,
                    None => None,
                };
                Ok::<_, InsertError>((query, view))
            };
            match looked.await {
                Ok(found) => break found,
                Err(error) => self.wait(&label, &error, &mut backoff).await?,
            }
        };
        let (Some(query), Some(view)) = (query, view) else {
            // Who made the table may have died before it came to the view. Rows do without it, so a
            // server that does not allow it stops nothing.
            if self.parts.config.create_tables
                && let Err(halt) = self.execute(&label, &table.create_view()).await
            {
                tracing::warn!(table = label, advice = halt.advice, "no view made");
            }
            return Ok(());
        };
        let is_current = info.existing(&label).is_shown_by(&view.existing(&label));
        if table.is_own_view(&query) && !is_current {
            self.execute(&label, &table.replace_view()).await?;
        }
        Ok(())
    }

    /// What makes the statements that change a table that is there.
    fn statements(&self, topic: &str, info: &TableInfo) -> Result<ReplicaTable, Halt> {
        let database = &self.parts.pipeline.clickhouse.database;
        let name = self.parts.config.table_for(topic);
        ReplicaTable::new(database, name, key_columns(info), &sorting_columns(info))
            .map_err(|error| Halt::new("schema", error.to_string()))
    }

    /// Marks every row of a table as deleted that is older than `version`. Done again it changes nothing,
    /// and what came later stays.
    pub(super) fn truncate(self: Arc<Self>, topic: &str, version: u64) -> Errand {
        let topic = topic.to_owned();
        Errand {
            what: format!("truncation of table {}", self.label(&topic)),
            after: After::Writes,
            task: Box::pin(async move {
                let Some(info) = self.table_info(&topic).await? else {
                    return Ok(());
                };
                let names = sorting_columns(&info);
                let names: Vec<String> = names.iter().map(|name| quote_name(name)).collect();
                let (key, table) = (names.join(", "), self.sql_name(&topic));
                let statement = format!(
                    "INSERT INTO {table} ({key}, _version, _deleted) SELECT {key}, {version}, 1 \
                     FROM {table} FINAL WHERE _version < {version} AND _deleted = 0"
                );
                crash_point!("before_truncation");
                self.execute(&self.label(&topic), &statement).await?;
                crash_point!("after_truncation");
                Ok(())
            }),
        }
    }

    async fn table_info(&self, topic: &str) -> Result<Option<TableInfo>, Halt> {
        let database = &self.parts.pipeline.clickhouse.database;
        let table = self.parts.config.table_for(topic);
        let mut backoff = Backoff::new();
        loop {
            match self.parts.client.table_info(database, table).await {
                Ok(info) => return Ok(info),
                Err(error) => self.wait(&self.label(topic), &error, &mut backoff).await?,
            }
        }
    }

    /// Runs a statement until it has been run. What the server refuses outright, an operator must do.
    async fn execute(&self, label: &str, statement: &str) -> Result<(), Halt> {
        let mut backoff = Backoff::new();
        loop {
            let Err(error) = self.parts.client.execute_anywhere(statement).await else {
                return Ok(());
            };
            let is_refused = error.code.is_some() && !is_temporary(&error);
            if is_refused {
                let statement = statement.replace('\n', " ");
                let advice = format!(
                    "table {label}: the server refuses {statement}: {error}: grant the right, or run a \
                     statement that does the same yourself, then start again"
                );
                return Err(Halt::new("refused_statement", advice));
            }
            self.wait(label, &error, &mut backoff).await?;
        }
    }

    async fn wait(
        &self,
        label: &str,
        error: &InsertError,
        backoff: &mut Backoff,
    ) -> Result<(), Halt> {
        if let Remedy::Halt(reason) = error.remedy {
            return Err(Halt::refused(reason, label, error));
        }
        let wait = backoff.next_wait();
        self.parts.metrics.retry("clickhouse", "table");
        self.parts.board.error(&format!("{label}: {error}"));
        tracing::warn!(
            table = label, %error, wait_ms = wait.as_millis() as u64,
            "clickhouse does not tell of the table, trying again"
        );
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

/// Of what a server that is ill may recover.
fn is_temporary(error: &InsertError) -> bool {
    matches!(error.remedy, Remedy::Retry(reason) if reason != "server")
}

fn no_key(label: &str, topic: &str) -> Halt {
    Halt::new(
        "missing_key",
        format!(
            "the records of topic {topic} have no key, so nothing tells the rows of table {label} apart: \
             name the columns that do, [pipeline.tables.{topic:?}] key = [\"…\"] (the topic needs one \
             partition then, and the source's table REPLICA IDENTITY FULL), or leave the topic out of \
             pipeline.topics"
        ),
    )
}

/// The columns a table is sorted by.
fn sorting_columns(info: &TableInfo) -> Vec<String> {
    crate::table::replica::sorting_columns(&info.sorting_key)
}

fn key_columns(info: &TableInfo) -> Vec<(String, ColumnType)> {
    let sorted = sorting_columns(info);
    let of_key = info.columns.iter().filter(|c| sorted.contains(&c.name));
    let read = of_key.filter_map(|c| Some((c.name.clone(), ColumnType::parse(&c.type_name).ok()?)));
    read.collect()
}

/// The names in a record's key, in its order; `None` without one that can be read.
pub(super) fn key_names(key: Option<&[u8]>) -> Option<Vec<String>> {
    let key = Raw::parse(std::str::from_utf8(key?).ok()?).ok()?;
    let member = |name: &str| key.members().find(|(member, _)| member == name);
    let payload = member("schema").and_then(|_| member("payload"));
    let key = match payload {
        Some((_, payload)) if payload.kind() == Kind::Object => payload,
        _ => key,
    };
    let names: Vec<String> = key.members().map(|(name, _)| name.into_owned()).collect();
    (!names.is_empty()).then_some(names)
}
