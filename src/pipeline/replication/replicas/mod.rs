//! The tables of all topics: found, made, altered and emptied, by tasks beside the lanes.

mod altering;
mod keys;
mod opening;
mod returning;
mod running;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};

pub(super) use self::altering::Addition;
pub(super) use self::keys::{key_names, key_schema};
pub(super) use self::returning::Return;
use super::replica::Replica;
use crate::config::{Cdc, Pipeline};
use crate::debezium::Schema;
use crate::halt::Halt;
use crate::lane::{After, BlockingTask, NotFound};
use crate::observe::board::PipelineBoard;
use crate::observe::metrics::PipelineMetrics;
use crate::replica::{ColumnMemo, check_table};
use crate::sink::{
    Backoff, ClickHouseClient, InsertError, Remedy, TableInfo, quote_name, several_tables,
};
use crate::source::TopicPartition;

/// Tables that are looked at at the same time.
const LOOKS_AT_ONCE: usize = 8;
/// How long one look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);

/// What the lanes of one pipeline know of its tables.
#[derive(Debug)]
pub(crate) struct Replicas {
    pub(super) parts: ReplicasParts,
    topics: Mutex<HashMap<String, Entry>>,
    /// Rises with every change of the above.
    generation: AtomicU64,
    /// The table of moved rows serves all others.
    has_made_moved_rows: AtomicBool,
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
    /// What the server does not let us write into the comments of columns.
    memos: HashMap<String, ColumnMemo>,
    partitions: Option<usize>,
}

/// What the server says of a table's columns beside their types.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ColumnFacts {
    /// What a row has that leaves a column with a DEFAULT out.
    pub(crate) defaults: HashMap<String, Bytes>,
    pub(crate) comments: HashMap<String, String>,
}

impl ColumnFacts {
    fn memo(&self, column: &str) -> ColumnMemo {
        let comment = self.comments.get(column);
        comment.map_or(ColumnMemo::default(), |comment| ColumnMemo::read(comment))
    }

    /// Whether records have had a field for the column, if only those that an earlier process has read.
    fn remembers(&self, column: &str) -> bool {
        self.memo(column) != ColumnMemo::default()
    }
}

/// What the first record of a topic says about its table.
#[derive(Debug, Clone, Default)]
pub(super) struct FirstRecord {
    pub(super) schema: Option<Schema>,
    /// Of the record's key; `None` without one.
    pub(super) key_names: Option<Vec<String>>,
    /// Types of its members, which need not be in the row.
    pub(super) key_schema: Option<Schema>,
    /// Of the row.
    pub(super) fields: Vec<String>,
    /// Nothing but a table that is there already is worth a look.
    pub(super) is_delete: bool,
}

impl Replicas {
    pub(crate) fn new(parts: ReplicasParts) -> Arc<Self> {
        Arc::new(Replicas {
            parts,
            topics: Mutex::default(),
            // Lanes begin with none.
            generation: AtomicU64::new(1),
            has_made_moved_rows: AtomicBool::new(false),
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

    /// The table was looked for in vain.
    pub(super) fn note_missing(&self, topic: &str) {
        self.topics()
            .entry(topic.to_owned())
            .or_default()
            .is_missing = true;
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

    /// What a task is called that finds or makes the topic's table.
    pub(super) fn task_of_table(&self, topic: &str) -> String {
        format!("table {}", self.label(topic))
    }

    /// Finds the topic's table, or makes it.
    pub(super) fn open(self: Arc<Self>, topic: &str, first: FirstRecord) -> BlockingTask {
        let topic = topic.to_owned();
        BlockingTask {
            what: self.task_of_table(&topic),
            after: After::Nothing,
            task: Box::pin(async move { self.opened(&topic, &first).await }),
        }
    }

    /// Looks at the tables that exist, so that what is wrong with one is reported before a record is read. One
    /// that cannot be looked at now is looked at again before its partitions begin.
    pub(crate) async fn look_at_all(&self, partitions: &[TopicPartition]) -> Result<(), Halt> {
        let topics: BTreeSet<&str> = partitions.iter().map(|p| &*p.topic).collect();
        let looked = topics
            .into_iter()
            .map(async |topic| match self.look(topic).await {
                Err(NotFound::Never(halt)) => Err(halt),
                Err(NotFound::Later(why)) => {
                    self.parts.board.error(&why);
                    tracing::warn!(
                        pipeline = self.parts.pipeline.name,
                        topic,
                        error = why,
                        "table not seen yet"
                    );
                    Ok(())
                }
                Ok(()) => Ok(()),
            });
        futures_util::stream::iter(looked)
            .buffer_unordered(LOOKS_AT_ONCE)
            .try_for_each(|()| std::future::ready(Ok(())))
            .await
    }

    /// Looks at a topic's table, if it is there.
    pub(super) async fn look(&self, topic: &str) -> Result<(), NotFound> {
        let database = &self.parts.pipeline.clickhouse.database;
        let table = self.parts.config.table_for(topic);
        let label = self.label(topic);
        let info = self.find(database, table).await;
        let info = info.map_err(|error| match error.remedy {
            Remedy::Halt(reason) => NotFound::Never(crate::sink::refused(reason, &label, &error)),
            _ => NotFound::Later(format!("table {label}: {error}")),
        })?;
        let Some(info) = info else {
            return Ok(());
        };
        if self.parts.client.has_several(database, table).await {
            return Err(several_tables(&label, &info.engine).into());
        }
        let first = FirstRecord::default();
        let taken = tokio::time::timeout(LOOK_TIMEOUT, self.take_over(topic, &info, &first));
        match taken.await {
            Ok(taken) => Ok(taken?),
            Err(_too_long) => Err(NotFound::Later(format!(
                "table {label}: its defaults, comments or view cannot be read or made yet"
            ))),
        }
    }

    /// The same for a table of which everything is known without the server.
    pub(crate) fn take_known(
        &self,
        topic: &str,
        info: &TableInfo,
        values: &ColumnFacts,
    ) -> Result<(), Halt> {
        self.take(topic, info, &FirstRecord::default(), values)
    }

    fn take(
        &self,
        topic: &str,
        info: &TableInfo,
        first: &FirstRecord,
        values: &ColumnFacts,
    ) -> Result<(), Halt> {
        let replica = Arc::new(self.replica_of(topic, info, first, values)?);
        let mut topics = self.topics();
        let entry = topics.entry(topic.to_owned()).or_default();
        entry.replica = Some(replica);
        entry.is_missing = false;
        drop(topics);
        self.changed();
        Ok(())
    }

    /// What rows are made by, if the table takes them.
    fn replica_of(
        &self,
        topic: &str,
        info: &TableInfo,
        first: &FirstRecord,
        values: &ColumnFacts,
    ) -> Result<Replica, Halt> {
        let label = self.label(topic);
        let mut key = self.key_of(topic).to_vec();
        if key.is_empty() {
            key = first.key_names.clone().unwrap_or_default();
        }
        if key.is_empty() {
            // The first record with a key will be compared with it.
            key = sorting_columns(info);
        }
        if info.engine == "View" {
            return Err(self.is_view(topic));
        }
        let own = self.parts.config.own_names(topic);
        let checked = check_table(&info.existing(&label), &key, &own);
        checked.map_err(|error| Halt::new("schema", error.to_string()))?;
        let mut topics = self.topics();
        self.check_clash(&topics, topic, &label)?;
        let entry = topics.entry(topic.to_owned()).or_default();
        entry.fields.extend(first.fields.iter().cloned());
        let (fields, memos) = (&entry.fields, &entry.memos);
        let sorted = sorting_columns(info);
        let replica = Replica::new(
            &label,
            &self.sql_name(topic),
            info,
            &sorted,
            &self.parts.config,
            topic,
            |name| fields.contains(name) || values.remembers(name),
        )
        .map_err(|why| Halt::new("schema", format!("table {label}: {why}")))?;
        let memo_of = |name: &str| memos.get(name).copied().unwrap_or(values.memo(name));
        let compression = self.parts.pipeline.clickhouse.compression;
        let replica = replica.with_defaults(&values.defaults);
        Ok(replica.with_memos(memo_of).compressed_by(compression))
    }

    /// The name of a topic's table is taken by a view, which is likely one of ours.
    fn is_view(&self, topic: &str) -> Halt {
        let label = self.label(topic);
        let table = self.parts.config.table_for(topic);
        let of = table.strip_suffix("_current").map_or(String::new(), |of| {
            format!(" (of the table {of}, as it seems)")
        });
        Halt::new(
            "schema",
            format!(
                "{label} is a view{of}, and topic {topic} would be written to a table of this name: name \
                 another table for it, [pipeline.tables.{topic:?}] table = \"…\"; or give the view \
                 another name, [pipeline.tables.\"…\"] view = \"…\" at the topic that it shows, and DROP \
                 VIEW {label}; then start again"
            ),
        )
    }

    fn check_clash(
        &self,
        topics: &HashMap<String, Entry>,
        topic: &str,
        label: &str,
    ) -> Result<(), Halt> {
        let config = &self.parts.config;
        let has_it = |(other, entry): &(&String, &Entry)| {
            let is_it = |replica: &Arc<Replica>| replica.target.label == label;
            let is_shared = config.shares_table(topic) && config.shares_table(other);
            *other != topic && !is_shared && entry.replica.as_ref().is_some_and(is_it)
        };
        match topics.iter().find(has_it) {
            None => Ok(()),
            Some((other, _)) => Err(Halt::new(
                "table_clash",
                format!(
                    "topics {other} and {topic} would both be written to table {label}: name another \
                     one for either, [pipeline.tables.{topic:?}] table = \"…\", or, where no two of \
                     their rows have one key, say of both that they share it, shared = true; then start \
                     again"
                ),
            )),
        }
    }

    async fn find(&self, database: &str, table: &str) -> Result<Option<TableInfo>, InsertError> {
        match self.parts.config.create_tables {
            true => self.parts.client.table_or_none(database, table).await,
            false => self.parts.client.table_info(database, table).await,
        }
    }

    async fn table_info(&self, topic: &str) -> Result<Option<TableInfo>, Halt> {
        let database = &self.parts.pipeline.clickhouse.database;
        let table = self.parts.config.table_for(topic);
        let mut backoff = Backoff::new();
        loop {
            match self.find(database, table).await {
                Ok(Some(info)) if self.parts.client.has_several(database, table).await => {
                    return Err(several_tables(&self.label(topic), &info.engine));
                }
                Ok(info) => return Ok(info),
                Err(error) => self.wait(&self.label(topic), &error, &mut backoff).await?,
            }
        }
    }
}

/// The columns a table is sorted by.
fn sorting_columns(info: &TableInfo) -> Vec<String> {
    crate::replica::sorting_columns(&info.sorting_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_whose_comment_has_a_memo_has_had_a_field() {
        let comments = [
            ("stopped", "of the shop [streamweir stopped=7/1]"),
            ("added", "[streamweir added=7/1]"),
            ("of others", "of the shop"),
            ("none", ""),
        ];
        let comments = comments.map(|(name, comment)| (name.to_owned(), comment.to_owned()));
        let facts = ColumnFacts {
            comments: comments.into(),
            ..ColumnFacts::default()
        };
        let remembered = ["stopped", "added", "of others", "none", "another"];
        let remembered = remembered.map(|name| facts.remembers(name));
        assert_eq!(remembered, [true, true, false, false, false]);
    }
}
