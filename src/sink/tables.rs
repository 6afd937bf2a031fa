//! What a server says of a table: its engine, its columns, and what their defaults are.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::clickhouse::ClickHouseClient;
use super::deduplication::{TokenWindow, query_of_defaults, remembers_tokens};
use super::errors::{InsertError, Remedy};
use crate::target::{ColumnInfo, TableColumns, TableInfo, is_replicated, quote_text};

/// How many ALTERs of a table a replica has still to carry out.
const PENDING: &str = "ifNull((SELECT count() FROM system.replication_queue WHERE database = {database} AND \
                       table = {table} AND type = 'ALTER_METADATA'), 0)";

impl ClickHouseClient {
    /// What a table is, if there is one of this name.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn engine_of(
        &self,
        database: &str,
        table: &str,
    ) -> Result<Option<String>, InsertError> {
        let sql = format!(
            "SELECT engine FROM system.tables WHERE database = {} AND name = {}",
            quote_text(database),
            quote_text(table)
        );
        let mut rows = self.select_json(&sql).await?.into_iter();
        Ok(rows.next().and_then(|mut row| row.remove("engine")))
    }

    /// Engine and columns of `database.table`; `None` when no server has such a table.
    ///
    /// # Errors
    /// As above; also when one that is away may have it.
    pub(crate) async fn table_info(
        &self,
        database: &str,
        table: &str,
    ) -> Result<Option<TableInfo>, InsertError> {
        match self.find_table(database, table).await? {
            (None, Some(error)) => Err(error),
            (info, _) => Ok(info),
        }
    }

    /// The same for who makes a table that is missing. In a replicated cluster a server that is away does not
    /// matter: a table that it has is one with the one that is made, or is refused by Keeper.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn table_or_none(
        &self,
        database: &str,
        table: &str,
    ) -> Result<Option<TableInfo>, InsertError> {
        match self.find_table(database, table).await? {
            (None, Some(error)) if self.replication().await?.is_none() => Err(error),
            (info, _) => Ok(info),
        }
    }

    /// The same as far as servers answer, with why one of them does not.
    ///
    /// # Errors
    /// None answers.
    pub(super) async fn find_table(
        &self,
        database: &str,
        table: &str,
    ) -> Result<(Option<TableInfo>, Option<InsertError>), InsertError> {
        let (mut answers, mut failure) = (0, None);
        let first = self.current();
        for number in 0..self.servers.count() {
            let server = (first + number) % self.servers.count();
            match self.table_info_on(server, database, table).await {
                Ok(Some(info)) => return Ok((Some(info), None)),
                Ok(None) => answers += 1,
                Err(error) => failure = Some(gentler(failure, error)),
            }
        }
        match failure {
            Some(error) if answers == 0 => Err(error),
            failure => Ok((None, failure)),
        }
    }

    async fn table_info_on(
        &self,
        server: u32,
        database: &str,
        table: &str,
    ) -> Result<Option<TableInfo>, InsertError> {
        let sql = format!(
            "SELECT engine, engine_full, sorting_key, partition_key FROM system.tables WHERE \
             database = {} AND name = {}",
            quote_text(database),
            quote_text(table)
        );
        let engine = self.select_json_on(server, &sql).await?;
        let Some(engine) = engine.into_iter().next() else {
            return Ok(None);
        };
        let now = self.columns(server, database, table).await?;
        let text =
            |row: &BTreeMap<String, String>, key: &str| row.get(key).cloned().unwrap_or_default();
        let defaults = self.deduplication_defaults(server).await?;
        let (engine_name, full) = (text(&engine, "engine"), text(&engine, "engine_full"));
        let is_replicated = is_replicated(&engine_name);
        Ok(Some(TableInfo {
            has_tokens: remembers_tokens(is_replicated, &full, &defaults),
            engine: engine_name,
            engine_full: full,
            sorting_key: text(&engine, "sorting_key"),
            partition_key: text(&engine, "partition_key"),
            columns: now.columns,
            metadata_version: now.version,
        }))
    }

    /// How long a replicated table remembers tokens.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn token_window(&self, info: &TableInfo) -> Result<TokenWindow, InsertError> {
        let version = self.select_text("SELECT version()").await?;
        let defaults = self
            .servers
            .any(|server| self.deduplication_defaults(server))
            .await?;
        Ok(TokenWindow::of(&info.engine_full, &defaults, &version))
    }

    /// What the server does where a table says nothing about its window; nothing for a user who may not see it.
    async fn deduplication_defaults(
        &self,
        server: u32,
    ) -> Result<HashMap<String, String>, InsertError> {
        let rows = match self.select_json_on(server, &query_of_defaults()).await {
            Ok(rows) => rows,
            Err(error) if error.code.is_some() && !matches!(error.remedy, Remedy::Retry(_)) => {
                vec![]
            }
            Err(error) => return Err(error),
        };
        let pair =
            |mut row: BTreeMap<String, String>| Some((row.remove("name")?, row.remove("value")?));
        Ok(rows.into_iter().filter_map(pair).collect())
    }

    /// The columns of `database.table` as they are now; none when there is no such table.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn columns(
        &self,
        server: u32,
        database: &str,
        table: &str,
    ) -> Result<TableColumns, InsertError> {
        let sees_queue = &self.servers.get(server).sees_queue;
        let columns = if sees_queue.load(Ordering::Relaxed) {
            match self.columns_and(server, database, table, PENDING).await {
                // The user may not see it: what is behind is found out when rows are refused.
                Err(error) if error.remedy == Remedy::Halt("authentication") => None,
                columns => Some(columns?),
            }
        } else {
            None
        };
        if let Some(columns) = columns {
            return Ok(columns);
        }
        let columns = self.columns_and(server, database, table, "0").await?;
        sees_queue.store(false, Ordering::Relaxed);
        Ok(columns)
    }

    /// `pending`: an expression for how many ALTERs this server has still to carry out.
    async fn columns_and(
        &self,
        server: u32,
        database: &str,
        table: &str,
        pending: &str,
    ) -> Result<TableColumns, InsertError> {
        let (database, table) = (quote_text(database), quote_text(table));
        let pending = pending.replace("{database}", &database);
        let pending = pending.replace("{table}", &table);
        let sql = format!(
            "SELECT name, type, default_kind, toString({pending}) AS pending, toString(ifNull((SELECT \
             max(metadata_version) FROM system.tables WHERE database = {database} AND name = {table}), \
             0)) AS version FROM system.columns WHERE database = {database} AND table = {table} ORDER BY \
             position"
        );
        let column = |mut row: BTreeMap<String, String>| {
            let mut text = |key: &str| row.remove(key).unwrap_or_default();
            ColumnInfo {
                name: text("name"),
                type_name: text("type"),
                default_kind: text("default_kind"),
            }
        };
        let rows = self.select_json_on(server, &sql).await?;
        let number = |name: &str| rows.first()?.get(name)?.parse().ok();
        Ok(TableColumns {
            version: number("version").unwrap_or(0),
            is_behind: number("pending").unwrap_or(0) > 0,
            columns: rows.into_iter().map(column).collect(),
        })
    }

    /// What columns with a DEFAULT that depends on nothing else have where a row leaves them out, in
    /// RowBinary.
    ///
    /// # Errors
    /// As above; an expression that the server does not take by itself is none.
    pub(crate) async fn default_values(
        &self,
        database: &str,
        table: &str,
    ) -> Result<HashMap<String, Bytes>, InsertError> {
        let columns = self
            .select_json(&format!(
                "SELECT name, type, default_expression FROM system.columns WHERE database = {} AND \
                 table = {} AND default_kind = 'DEFAULT'",
                quote_text(database),
                quote_text(table)
            ))
            .await?;
        let mut values = HashMap::new();
        for column in columns {
            let type_name = quote_text(&column["type"]);
            let sql = format!(
                "SELECT CAST(({}), {type_name})",
                column["default_expression"]
            );
            match self.select_any(&sql, "RowBinary").await {
                Ok(value) => values.insert(column["name"].clone(), value),
                Err(error) if error.code.is_some() => None,
                Err(error) => return Err(error),
            };
        }
        Ok(values)
    }

    /// The SELECT of a view; `None` when there is no such view.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn view_query(
        &self,
        database: &str,
        view: &str,
    ) -> Result<Option<String>, InsertError> {
        let sql = format!(
            "SELECT as_select FROM system.tables WHERE database = {} AND name = {} AND engine = 'View'",
            quote_text(database),
            quote_text(view)
        );
        let mut rows = self.select_json(&sql).await?.into_iter();
        Ok(rows.next().and_then(|mut row| row.remove("as_select")))
    }
}

/// Of two errors the one that may pass by itself.
fn gentler(kept: Option<InsertError>, error: InsertError) -> InsertError {
    match kept {
        Some(kept) if !matches!(kept.remedy, Remedy::Halt(_)) => kept,
        _ => error,
    }
}
