//! What is done to tables that are there: columns, views, truncations.

use std::sync::Arc;

use super::returning::Return;
use super::{FirstRecord, Replicas, sorting_columns};
use crate::crash::crash_point;
use crate::halt::Halt;
use crate::lane::{After, BlockingTask};
use crate::replica::{ColumnMemo, ReplicaTable, Since};
use crate::sink::{Backoff, ColumnInfo, InsertError, TableInfo, quote_name};
use crate::table::ColumnType;

/// How often a view is made anew for one change of its table.
const VIEW_ROUNDS_MAX: usize = 3;

/// A column that the records need.
#[derive(Debug, Clone)]
pub(in super::super) struct Addition {
    name: String,
    change: Change,
}

#[derive(Debug, Clone)]
enum Change {
    Add {
        column_type: ColumnType,
        default: Option<String>,
        memo: ColumnMemo,
    },
    /// Only if the column was not altered meanwhile: its type may be wider now.
    Widen { from: ColumnType, to: ColumnType },
    /// It is there, has a DEFAULT, and records have a field for it, the first that is known of being this.
    Seen { since: Since },
    /// Its field stopped coming.
    Stopped { since: Since },
    /// Its field comes again.
    Returned(Return),
}

impl Addition {
    /// A column more; `default` is an expression for the rows of before, `since` the first record with the
    /// field.
    pub(in super::super) fn new(
        name: &str,
        column_type: &ColumnType,
        default: Option<String>,
        since: Since,
    ) -> Self {
        let memo = ColumnMemo {
            added: Some(since),
            ..ColumnMemo::default()
        };
        Addition {
            name: name.to_owned(),
            change: Change::Add {
                column_type: column_type.clone(),
                default,
                memo,
            },
        }
    }

    pub(in super::super) fn stopped(name: &str, since: Since) -> Self {
        Addition {
            name: name.to_owned(),
            change: Change::Stopped { since },
        }
    }

    pub(in super::super) fn returned(name: &str, of: Return) -> Self {
        Addition {
            name: name.to_owned(),
            change: Change::Returned(of),
        }
    }

    pub(in super::super) fn widened(name: &str, from: &ColumnType, to: &ColumnType) -> Self {
        Addition {
            name: name.to_owned(),
            change: Change::Widen {
                from: from.clone(),
                to: to.clone(),
            },
        }
    }

    pub(in super::super) fn seen(name: &str, since: Since) -> Self {
        Addition {
            name: name.to_owned(),
            change: Change::Seen { since },
        }
    }
}

impl Replicas {
    /// Alters a table to take what the records have now.
    pub(in super::super) fn alter(
        self: Arc<Self>,
        topic: &str,
        additions: Vec<Addition>,
    ) -> BlockingTask {
        let topic = topic.to_owned();
        let is_only_filled = additions
            .iter()
            .all(|a| matches!(a.change, Change::Seen { .. } | Change::Stopped { .. }));
        BlockingTask {
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
        let comments = self.comments(topic).await?;
        for addition in &additions {
            let name = &addition.name;
            let comment = comments.get(name).map_or("", String::as_str);
            let existing = info.columns.iter().find(|c| c.name == addition.name);
            let change = &addition.change;
            let column = (name.as_str(), existing, comment);
            let Some(statement) = self.statement(topic, &table, change, column).await? else {
                continue;
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

    /// The statement that makes a change of a column: its name, the column if it exists, and its comment.
    /// `None`: none is needed, or another task was quicker.
    async fn statement(
        &self,
        topic: &str,
        table: &ReplicaTable,
        change: &Change,
        (name, existing, comment): (&str, Option<&ColumnInfo>, &str),
    ) -> Result<Option<String>, Halt> {
        let memo = || self.memo(topic, name, comment);
        Ok(Some(match (change, existing) {
            (
                Change::Add {
                    column_type,
                    default,
                    memo,
                },
                None,
            ) => table.add_column(name, column_type, default.as_deref(), *memo),
            (Change::Widen { from, to }, Some(now))
                if ColumnType::parse(&now.type_name).is_ok_and(|now| now == *from) =>
            {
                self.check_far_times(topic, name, to).await?;
                table.modify_column(name, to)
            }
            (Change::Stopped { since }, Some(_)) => {
                let stopped = memo().stopped.or(Some(*since));
                let memo = ColumnMemo { stopped, ..memo() };
                self.remember(topic, table, name, comment, memo).await?;
                return Ok(None);
            }
            // One of an unknown type halts, at a restart no sooner than here.
            (Change::Seen { since }, Some(now)) if ColumnType::parse(&now.type_name).is_ok() => {
                let added = memo().added.or(Some(*since));
                let memo = ColumnMemo { added, ..memo() };
                self.remember(topic, table, name, comment, memo).await?;
                return Ok(None);
            }
            (Change::Returned(of), Some(now)) if memo().stopped == Some(of.stopped) => {
                self.returned(topic, table, of, now, comment).await?
            }
            _ => return Ok(None),
        }))
    }

    /// DateTime64(9) ends where other columns of times go on: a table that has such times would be broken
    /// by the change.
    async fn check_far_times(
        &self,
        topic: &str,
        column: &str,
        to: &ColumnType,
    ) -> Result<(), Halt> {
        if !to.to_string().contains("DateTime64(9") {
            return Ok(());
        }
        let (label, client) = (self.label(topic), &self.parts.client);
        let (table, quoted) = (self.sql_name(topic), quote_name(column));
        let mut backoff = Backoff::new();
        loop {
            match client.has_far_times(&table, &quoted).await {
                Ok(false) => return Ok(()),
                Ok(true) => {
                    let advice = format!(
                        "table {label}: column {column} would have to be {to} to take a time with nine \
                         digits of a second, but has times after 2262-04-11, which that type does not \
                         hold: make it String (ALTER TABLE {label} MODIFY COLUMN `{column}` String), then \
                         start again"
                    );
                    return Err(Halt::new("schema", advice));
                }
                Err(error) => self.wait(&label, &error, &mut backoff).await?,
            }
        }
    }

    /// A view keeps the columns that its table had when it was made, and their types: one of ours that is
    /// behind its table is made anew, no matter who changed the table.
    pub(super) async fn renew_view(&self, topic: &str, info: &TableInfo) -> Result<(), Halt> {
        let mut newest = None;
        for _ in 0..VIEW_ROUNDS_MAX {
            let info = newest.as_ref().unwrap_or(info);
            if !self.renew_view_once(topic, info).await? {
                return Ok(());
            }
            // Who altered the table meanwhile may have made the view before this one did.
            newest = self.table_info(topic).await?;
            if newest.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether the view was made anew.
    async fn renew_view_once(&self, topic: &str, info: &TableInfo) -> Result<bool, Halt> {
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
            if self.engine_of(topic, &table.view()).await?.is_some() {
                tracing::warn!(
                    table = label,
                    advice = format!(
                        "{database}.{} is a table, so no view of this name can be made: name another \
                         one, [pipeline.tables.{topic:?}] view = \"…\"",
                        table.view()
                    ),
                    "no view made"
                );
                return Ok(false);
            }
            // Who made the table may have died before it came to the view. Rows do without it, so a
            // server that does not allow it stops nothing.
            if self.parts.config.create_tables
                && let Err(halt) = self.execute(&label, &table.create_view()).await
            {
                tracing::warn!(table = label, advice = halt.advice, "no view made");
            }
            return Ok(false);
        };
        let own = self.parts.config.own_names(topic);
        let is_current = info
            .existing(&label)
            .is_shown_by(&view.existing(&label), &own);
        let is_behind = table.is_own_view(&query) && !is_current;
        if is_behind {
            self.execute(&label, &table.replace_view()).await?;
        }
        Ok(is_behind)
    }

    async fn engine_of(&self, topic: &str, name: &str) -> Result<Option<String>, Halt> {
        let database = &self.parts.pipeline.clickhouse.database;
        let mut backoff = Backoff::new();
        loop {
            match self.parts.client.engine_of(database, name).await {
                Ok(engine) => return Ok(engine),
                Err(error) => self.wait(&self.label(topic), &error, &mut backoff).await?,
            }
        }
    }

    /// What makes the statements that change a table that is there.
    fn statements(&self, topic: &str, info: &TableInfo) -> Result<ReplicaTable, Halt> {
        let database = &self.parts.pipeline.clickhouse.database;
        let name = self.parts.config.table_for(topic);
        let own = self.parts.config.own_names(topic);
        ReplicaTable::new(
            database,
            name,
            key_columns(info),
            &sorting_columns(info),
            &own,
        )
        .map_err(|error| Halt::new("schema", error.to_string()))
    }

    /// Marks every row of a table as deleted that is older than `version`. Done again it changes nothing,
    /// and what came later stays.
    pub(in super::super) fn truncate(self: Arc<Self>, topic: &str, version: u64) -> BlockingTask {
        let topic = topic.to_owned();
        BlockingTask {
            what: format!("truncation of table {}", self.label(&topic)),
            after: After::Writes,
            task: Box::pin(async move {
                let Some(info) = self.table_info(&topic).await? else {
                    return Ok(());
                };
                let names = sorting_columns(&info);
                let names: Vec<String> = names.iter().map(|name| quote_name(name)).collect();
                let (key, table) = (names.join(", "), self.sql_name(&topic));
                let own = self.parts.config.own_names(&topic);
                let (order, mark) = (quote_name(&own.version), quote_name(&own.deleted));
                let statement = format!(
                    "INSERT INTO {table} ({key}, {order}, {mark}) SELECT {key}, {version}, 1 \
                     FROM {table} FINAL WHERE {order} < {version} AND {mark} = 0"
                );
                crash_point!("before_truncation");
                let label = self.label(&topic);
                if info.is_replicated() {
                    self.execute_in_sync(&label, &table, &statement).await?;
                } else {
                    self.execute(&label, &statement).await?;
                }
                crash_point!("after_truncation");
                Ok(())
            }),
        }
    }
}

fn key_columns(info: &TableInfo) -> Vec<(String, ColumnType)> {
    let sorted = sorting_columns(info);
    let of_key = info.columns.iter().filter(|c| sorted.contains(&c.name));
    let read = of_key.filter_map(|c| Some((c.name.clone(), ColumnType::parse(&c.type_name).ok()?)));
    read.collect()
}
