//! Columns whose fields stop coming and come again: what is remembered of them, and what their rows get.

use super::Replicas;
use crate::crash::crash_point;
use crate::halt::Halt;
use crate::replica::{ColumnMemo, ReplicaTable, Since};
use crate::sink::{Backoff, ColumnInfo};

/// A field that comes again.
#[derive(Debug, Clone)]
pub(in super::super) struct Return {
    /// The first record without the field.
    pub(in super::super) stopped: Since,
    /// The first with it again.
    pub(in super::super) since: Since,
    /// Whether rows of before lose what they have.
    pub(in super::super) clears: bool,
    /// What they have at the source then, as an expression; none: nothing.
    pub(in super::super) default: Option<String>,
}

impl Return {
    /// What the column's comment says from then on.
    pub(in super::super) fn memo(&self, before: ColumnMemo) -> ColumnMemo {
        ColumnMemo {
            added: Some(self.since),
            stopped: None,
            returned: true,
            cleared: before.cleared.or(Some(self.stopped)),
        }
    }
}

impl Replicas {
    /// What is known of a column: what this process alone remembers comes first.
    pub(super) fn memo(&self, topic: &str, column: &str, comment: &str) -> ColumnMemo {
        let topics = self.topics();
        let own = topics.get(topic).and_then(|entry| entry.memos.get(column));
        own.copied().unwrap_or_else(|| ColumnMemo::read(comment))
    }

    /// Writes into a column's comment what is to be remembered of it. Where the server does not allow that,
    /// and nothing else has to be altered, this process remembers it.
    pub(super) async fn remember(
        &self,
        topic: &str,
        table: &ReplicaTable,
        column: &str,
        comment: &str,
        memo: ColumnMemo,
    ) -> Result<(), Halt> {
        let label = self.label(topic);
        let statement = table.comment_column(column, &memo.comment(comment));
        crash_point!("before_alter");
        let Err(halt) = self.execute(&label, &statement).await else {
            crash_point!("after_alter");
            tracing::info!(table = label, statement, "table altered");
            return Ok(());
        };
        if halt.reason != "refused_statement" {
            return Err(halt);
        }
        tracing::warn!(
            table = label,
            column,
            advice = halt.advice,
            "which records have the column's field is not remembered beyond this process"
        );
        let mut topics = self.topics();
        let entry = topics.entry(topic.to_owned()).or_default();
        entry.memos.insert(column.to_owned(), memo);
        Ok(())
    }

    /// The source has a new column of an old one's name: rows of before have its default, or nothing. Returns
    /// the statement that says so of the column.
    pub(super) async fn returned(
        &self,
        topic: &str,
        table: &ReplicaTable,
        of: &Return,
        now: &ColumnInfo,
        comment: &str,
    ) -> Result<String, Halt> {
        let (column, default) = (&*now.name, of.default.as_deref());
        let memo = self.memo(topic, column, comment);
        if !memo.returned {
            if default.is_some() || now.default_kind == "DEFAULT" {
                let statement = table.column_default(column, &now.type_name, default);
                self.execute(&self.label(topic), &statement).await?;
            }
            if of.clears {
                let (stopped, since) = (of.stopped.version, of.since.version);
                let cleared = table.clear_column(column, stopped, since, default);
                self.clear(topic, column, cleared).await?;
            }
        }
        // From here on the comment says it, or the server's answer halts.
        self.topics()
            .entry(topic.to_owned())
            .or_default()
            .memos
            .remove(column);
        Ok(table.comment_column(column, &of.memo(memo).comment(comment)))
    }

    /// Rows of before lose what they have in a column, and it is waited until they have. Done again it changes
    /// nothing.
    async fn clear(
        &self,
        topic: &str,
        column: &str,
        (statement, condition): (String, String),
    ) -> Result<(), Halt> {
        let (label, client) = (self.label(topic), &self.parts.client);
        let database = &self.parts.pipeline.clickhouse.database;
        let name = self.parts.config.table_for(topic);
        tracing::warn!(
            table = label,
            column,
            statement,
            "records have the column's field again after others without it: rows of before lose what they \
             have there, since the source's column is a new one"
        );
        crash_point!("before_alter");
        self.execute(&label, &statement).await?;
        let mut backoff = Backoff::new();
        loop {
            match client.is_updating(database, name, &condition).await {
                Ok(None) => break,
                Ok(Some(why)) => {
                    if !why.is_empty() {
                        tracing::warn!(table = label, column, why, "the column is not cleared yet");
                    }
                    tokio::time::sleep(backoff.next_wait()).await;
                }
                Err(error) => self.wait(&label, &error, &mut backoff).await?,
            }
        }
        crash_point!("after_alter");
        Ok(())
    }
}
