//! The HTTP conversation with ClickHouse.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clickhouse::{Client, Compression};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use secrecy::ExposeSecret as _;

use super::Target;
use super::answer::{ask, offsets};
use super::deduplication::{query_of_defaults, remembers_tokens};
use super::errors::{InsertError, Remedy};
use super::post::Post;
use super::server_settings::{Known, READS, READS_OF_LATER_VERSIONS};
use super::servers::{Server, Servers, UNKNOWN_SETTING};
use crate::config::ClickHouse;
use crate::progress::Range;
use crate::source::TopicPartition;
use crate::table::replica::{ExistingColumn, ExistingTable};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The same where another server can be asked instead.
const CONNECT_TIMEOUT_OF_SEVERAL: Duration = Duration::from_secs(3);
const QUERY_TIMEOUT: Duration = Duration::from_secs(30);
/// The same of questions about settings and tables.
const SYSTEM_TIMEOUT_OF_SEVERAL: Duration = Duration::from_secs(10);
/// Of a question that a server answers at once.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// How many ALTERs of a table a replica has still to carry out.
const PENDING: &str = "ifNull((SELECT count() FROM system.replication_queue WHERE database = {database} AND \
                       table = {table} AND type = 'ALTER_METADATA'), 0)";

/// Connections to the servers of one cluster; cloning shares them.
#[derive(Clone)]
pub(crate) struct ClickHouseClient {
    servers: Servers,
    post: Post,
    insert_timeout: Duration,
}

/// A column as `system.columns` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ColumnInfo {
    pub(crate) name: String,
    pub(crate) type_name: String,
    /// Empty, or DEFAULT, MATERIALIZED, ALIAS, EPHEMERAL.
    pub(crate) default_kind: String,
}

/// What the daemon needs to know of a target table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableInfo {
    pub(crate) engine: String,
    /// The engine clause with its settings.
    pub(crate) engine_full: String,
    /// Expressions with commas between them.
    pub(crate) sorting_key: String,
    /// Empty without partitions.
    pub(crate) partition_key: String,
    pub(crate) columns: Vec<ColumnInfo>,
    /// How often a replicated table had been altered.
    pub(crate) metadata_version: u64,
    /// Whether the table remembers the tokens of inserts.
    pub(crate) has_tokens: bool,
}

/// A table's columns, as one server has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableColumns {
    /// How often a replicated table has been altered as far as this server knows; else 0.
    pub(crate) version: u64,
    /// An ALTER of a replicated table has reached this server and is not carried out here yet.
    pub(crate) is_behind: bool,
    pub(crate) columns: Vec<ColumnInfo>,
}

impl TableInfo {
    /// Whether inserts go through Keeper, which remembers their tokens for every replica.
    pub(crate) fn is_replicated(&self) -> bool {
        is_replicated(&self.engine)
    }

    /// As the checks of replicas take it; `name` is what messages call the table.
    pub(crate) fn existing<'a>(&'a self, name: &'a str) -> ExistingTable<'a> {
        let column = |column: &'a ColumnInfo| ExistingColumn {
            name: &column.name,
            type_name: &column.type_name,
            default_kind: &column.default_kind,
        };
        ExistingTable {
            name,
            engine: &self.engine,
            engine_full: &self.engine_full,
            sorting_key: &self.sorting_key,
            partition_key: &self.partition_key,
            columns: self.columns.iter().map(column).collect(),
        }
    }
}

impl std::fmt::Debug for ClickHouseClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClickHouseClient")
            .field("servers", &self.servers)
            .finish()
    }
}

impl ClickHouseClient {
    /// One client for every configured server; nothing is sent yet.
    ///
    /// # Errors
    /// When the machine's root certificates cannot be read for an https server.
    pub(crate) fn new(config: &ClickHouse) -> Result<Self, std::io::Error> {
        let with_tls = config.urls.iter().any(|url| url.starts_with("https"));
        let base = base_client(with_tls, connect_timeout(config))?;
        let seconds = QUERY_TIMEOUT.as_secs().to_string();
        let server = |url: &String| {
            let mut client = base
                .clone()
                .with_url(url)
                .with_database(&config.database)
                .with_user(&config.user)
                .with_compression(Compression::None)
                .with_product_info("streamweir", env!("CARGO_PKG_VERSION"));
            let password = config.password.expose_secret();
            if !password.is_empty() {
                client = client.with_password(password);
            }
            let configured = config.settings.iter();
            let client = configured.fold(client, |client, (k, v)| client.with_setting(k, v));
            let client = client.with_setting("max_execution_time", &seconds);
            let pinned = READS.iter();
            let reader = pinned.fold(client, |client, (k, v)| client.with_setting(*k, *v));
            Server::new(url, reader)
        };
        Ok(ClickHouseClient {
            servers: Servers::new(config.urls.iter().map(server).collect()),
            post: Post::new(config)?,
            insert_timeout: config.insert_timeout,
        })
    }

    /// How many servers there are.
    pub(super) fn servers(&self) -> u32 {
        self.servers.count()
    }

    /// The server to turn to now. Statements that belong together go to the same one.
    pub(crate) fn current(&self) -> u32 {
        self.servers.current()
    }

    /// For a read, which no limit of the user's profile stops or changes.
    async fn reader(&self, server: u32) -> Result<Client, InsertError> {
        let known = self.known(server).await?;
        let reader = self.servers.get(server).reader.clone();
        Ok(known
            .reads()
            .fold(reader, |client, (k, v)| client.with_setting(k, v)))
    }

    /// What the server knows of settings and formats that came with later versions.
    async fn known(&self, server: u32) -> Result<Arc<Known>, InsertError> {
        let kept = || self.servers.get(server).known();
        let last = kept().clone();
        if let Some(known) = last.as_ref().filter(|known| !known.is_old(Instant::now())) {
            return Ok(known.clone());
        }
        let client = self.servers.get(server).reader.clone();
        let client = client.with_database("system");
        let all = READS_OF_LATER_VERSIONS.into_iter();
        let latest = all.fold(client.clone(), |client, (k, v)| client.with_setting(k, v));
        let answer = match self.json_rows(server, &latest, &Known::query()).await {
            // It does not know one of them.
            Err(error) if error.code == Some(UNKNOWN_SETTING) => {
                self.json_rows(server, &client, &Known::query()).await
            }
            answer => answer,
        };
        match (answer, last) {
            (Ok(rows), _) => {
                let known = Arc::new(Known::new(rows, Instant::now()));
                *kept() = Some(known.clone());
                Ok(known)
            }
            // Another server is asked rather than this one once more.
            (Err(_), Some(last)) if self.servers() == 1 => Ok(last),
            (Err(error), _) => Err(error),
        }
    }

    /// Whether on this server rows of values and defaults can state the types that they were made for.
    ///
    /// # Errors
    /// Whatever the server or the network answered.
    pub(super) async fn has_stated_defaults(&self, server: u32) -> Result<bool, InsertError> {
        Ok(self.known(server).await?.has_stated_defaults())
    }

    /// Learns what the server knows, so that an insert need not ask.
    ///
    /// # Errors
    /// Whatever the server or the network answered.
    pub(crate) async fn prepare(&self, server: u32) -> Result<(), InsertError> {
        self.known(server).await.map(drop)
    }

    /// Sends one insert and waits for its acknowledgement. `body` holds compressed frames.
    ///
    /// # Errors
    /// Whatever the server or the network answered; the rows may be written all the same.
    pub(crate) async fn insert(
        &self,
        server: u32,
        sql: &str,
        settings: &[(&'static str, String)],
        body: [Bytes; 2],
    ) -> Result<(), InsertError> {
        // The server gives up before we do, so that nothing runs on when we try again.
        let patience = self.insert_timeout + Duration::from_secs(5);
        let seconds = self.insert_timeout.as_secs().max(1).to_string();
        let pinned = [("decompress", "1"), ("max_execution_time", &seconds)];
        // However old: no question comes between the look at the lease and the insert.
        let kept = self.servers.get(server).known().clone();
        let known = match kept {
            Some(known) => known,
            None => self.known(server).await?,
        };
        let settings = settings.iter().map(|(k, v)| (*k, v.as_str()));
        let settings = settings.filter(|(name, _)| known.takes(name));
        let settings = pinned.into_iter().chain(settings);
        let index = self.servers.index(server);
        let signature = &self.servers.get(server).signature;
        let sent = self
            .post
            .insert(index, sql, settings, body, signature, patience);
        let sent = sent.await;
        sent.map_err(|error| self.servers.failed(server, error.into()))
    }

    /// Which offsets of `range` the table already holds.
    ///
    /// # Errors
    /// Whatever the server or the network answered.
    pub(crate) async fn offsets_in(
        &self,
        server: u32,
        table: &str,
        partition: &TopicPartition,
        range: Range,
    ) -> Result<Vec<i64>, InsertError> {
        let topic = quote_text(&partition.topic);
        let sql = format!(
            "SELECT groupArray(toUInt64(_offset)), 'end' FROM {table} WHERE _topic = {topic} AND _partition = {} \
             AND _offset >= {} AND _offset < {} SETTINGS select_sequential_consistency = 1",
            partition.partition, range.from, range.to
        );
        let bytes = self.select(server, &sql, "RowBinary").await?;
        offsets(&bytes).ok_or_else(|| self.servers.failed(server, unreadable(&bytes)))
    }

    /// Of each of these keys the newest row that counts and the newest that is deleted, as far as the
    /// server still has both: key, `_version`, `_deleted` and these columns, in RowBinary.
    ///
    /// # Errors
    /// As above; code 396 when the answer is longer than `bytes_max`, unless that is 0.
    pub(crate) async fn newest_rows(
        &self,
        server: u32,
        target: &Target,
        keys: &[&[u8]],
        columns: &[u16],
        bytes_max: usize,
    ) -> Result<Bytes, InsertError> {
        let names: Vec<_> = target
            .key
            .iter()
            .map(|(name, _)| quote_name(name))
            .collect();
        let key = names.join(", ");
        let form = target
            .key
            .iter()
            .map(|(name, t)| format!("{} {t}", quote_name(name)));
        let form = quote_text(&form.collect::<Vec<_>>().join(", "));
        let version = quote_name(&target.own.version);
        let deleted = quote_name(&target.own.deleted);
        // NULL in a key is a value like any other.
        let null_is_equal = if target.key.iter().any(|(_, t)| t.is_nullable()) {
            ", transform_null_in = 1"
        } else {
            ""
        };
        let column = |index: &u16| quote_name(&target.other_names[usize::from(*index)]);
        let columns: String = columns.iter().map(|c| format!(", {}", column(c))).collect();
        let mut hex = String::new();
        for byte in keys.iter().copied().flatten() {
            use std::fmt::Write as _;
            write!(hex, "{byte:02x}").expect("writing to a string succeeds");
        }
        let sql = format!(
            "SELECT {key}, {version}, {deleted}{columns} FROM {} WHERE ({key}) IN (SELECT {key} FROM \
             format(RowBinary, {form}, unhex('{hex}'))) ORDER BY {version} DESC \
             LIMIT 1 BY {key}, {deleted} SETTINGS select_sequential_consistency = 1, \
             max_result_bytes = {bytes_max}, result_overflow_mode = 'throw'{null_is_equal}",
            target.sql
        );
        self.select(server, &sql, "RowBinary").await
    }

    /// The same of any server, which has what the others acknowledged.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn offsets_of(
        &self,
        target: &Target,
        partition: &TopicPartition,
        range: Range,
    ) -> Result<Vec<i64>, InsertError> {
        let look = |server| async move {
            if target.replicated {
                self.sync_replica(server, &target.sql).await?;
            }
            self.offsets_in(server, &target.sql, partition, range).await
        };
        self.servers.any(look).await
    }

    /// The highest offset of `partition` in the table, if there is one from `from` on: a late `from`
    /// spares reading the granules that the table's index tells are before it.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn highest_offset(
        &self,
        target: &Target,
        partition: &TopicPartition,
        from: i64,
    ) -> Result<Option<i64>, InsertError> {
        let sql = format!(
            "SELECT count(), max(toInt64(_offset)) FROM {} \
             WHERE _topic = {} AND _partition = {} AND _offset >= {from} SETTINGS select_sequential_consistency = 1",
            target.sql,
            quote_text(&partition.topic),
            partition.partition
        );
        largest(&self.look(target, &sql).await?)
    }

    /// The highest `_version` in the table, if it has rows.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn newest_version(&self, target: &Target) -> Result<Option<u64>, InsertError> {
        let sql = format!(
            "SELECT count(), max({}) FROM {} SETTINGS select_sequential_consistency = 1",
            quote_name(&target.own.version),
            target.sql
        );
        largest(&self.look(target, &sql).await?)
    }

    /// Whether a table, quoted as in SQL, has a row.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn has_rows(&self, table: &str) -> Result<bool, InsertError> {
        let text = self
            .select_text(&format!("SELECT 1 FROM {table} LIMIT 1"))
            .await?;
        Ok(!text.trim().is_empty())
    }

    /// Whether a table has no row at all, deleted ones included.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn is_empty(&self, target: &Target) -> Result<bool, InsertError> {
        let sql = format!(
            "SELECT 1 FROM {} LIMIT 1 SETTINGS select_sequential_consistency = 1",
            target.sql
        );
        Ok(self.look(target, &sql).await?.trim().is_empty())
    }

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

    /// Waits until this replica has what the others acknowledged. A no-op without replication.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn sync_replica(&self, server: u32, table: &str) -> Result<(), InsertError> {
        self.execute_on(server, &format!("SYSTEM SYNC REPLICA {table} LIGHTWEIGHT"))
            .await
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

    /// Runs a statement that returns nothing.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn execute(&self, sql: &str) -> Result<(), InsertError> {
        self.servers
            .any(|server| self.execute_on(server, sql))
            .await
    }

    /// Runs a statement outside the configured database (which may not exist yet).
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn execute_anywhere(&self, sql: &str) -> Result<(), InsertError> {
        let run = |server| async move {
            let client = self.servers.get(server).reader.clone();
            let client = client.with_database("system");
            self.ask(server, &client, sql, "TabSeparated", QUERY_TIMEOUT)
                .await
        };
        self.servers.any(run).await?;
        Ok(())
    }

    /// Whether a server answers at all: the current one, else another.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn ping(&self) -> Result<(), InsertError> {
        self.servers.any(|server| self.ping_on(server)).await
    }

    /// Whether this server answers.
    ///
    /// # Errors
    /// As above.
    pub(super) async fn ping_on(&self, server: u32) -> Result<(), InsertError> {
        let client = self.servers.get(server).reader.clone();
        let client = client.with_database("system");
        let answer = self
            .ask(server, &client, "SELECT 1", "TabSeparated", PING_TIMEOUT)
            .await?;
        if &answer[..] == b"1\n" {
            Ok(())
        } else {
            Err(self.servers.failed(server, unreadable(&answer)))
        }
    }

    async fn execute_on(&self, server: u32, sql: &str) -> Result<(), InsertError> {
        self.select(server, sql, "TabSeparated").await?;
        Ok(())
    }

    /// The answer of one server to a query, as it comes.
    pub(super) async fn select(
        &self,
        server: u32,
        sql: &str,
        format: &str,
    ) -> Result<Bytes, InsertError> {
        let client = self.reader(server).await?;
        self.ask(server, &client, sql, format, QUERY_TIMEOUT).await
    }

    /// The same of any server.
    pub(super) async fn select_any(&self, sql: &str, format: &str) -> Result<Bytes, InsertError> {
        self.servers
            .any(|server| self.select(server, sql, format))
            .await
    }

    async fn ask(
        &self,
        server: u32,
        client: &Client,
        sql: &str,
        format: &str,
        patience: Duration,
    ) -> Result<Bytes, InsertError> {
        let signature = &self.servers.get(server).signature;
        let asked = ask(client, signature, sql, format, patience).await;
        asked.map_err(|error| self.servers.failed(server, error.into()))
    }

    async fn select_text(&self, sql: &str) -> Result<String, InsertError> {
        let bytes = self.select_any(sql, "TabSeparated").await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The answer of a server that has what any other acknowledged.
    async fn look(&self, target: &Target, sql: &str) -> Result<String, InsertError> {
        let look = |server| async move {
            if target.replicated {
                self.sync_replica(server, &target.sql).await?;
            }
            self.select(server, sql, "TabSeparated").await
        };
        let bytes = self.servers.any(look).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Rows of text columns.
    async fn select_json(&self, sql: &str) -> Result<Vec<BTreeMap<String, String>>, InsertError> {
        self.servers
            .any(|server| self.select_json_on(server, sql))
            .await
    }

    pub(super) async fn select_json_on(
        &self,
        server: u32,
        sql: &str,
    ) -> Result<Vec<BTreeMap<String, String>>, InsertError> {
        let client = self.reader(server).await?.with_database("system");
        self.json_rows(server, &client, sql).await
    }

    async fn json_rows(
        &self,
        server: u32,
        client: &Client,
        sql: &str,
    ) -> Result<Vec<BTreeMap<String, String>>, InsertError> {
        let patience = if self.servers() > 1 {
            SYSTEM_TIMEOUT_OF_SEVERAL
        } else {
            QUERY_TIMEOUT
        };
        let bytes = self
            .ask(server, client, sql, "JSONEachRow", patience)
            .await?;
        let rows = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        rows.map(serde_json::from_slice)
            .collect::<Result<_, _>>()
            .map_err(|_| self.servers.failed(server, unreadable(&bytes)))
    }
}

/// Of two errors the one that may pass by itself.
fn gentler(kept: Option<InsertError>, error: InsertError) -> InsertError {
    match kept {
        Some(kept) if !matches!(kept.remedy, Remedy::Halt(_)) => kept,
        _ => error,
    }
}

fn is_replicated(engine: &str) -> bool {
    engine.starts_with("Replicated") || engine.starts_with("Shared")
}

/// What `count(), max(…)` gives as text: the largest, if there are any.
fn largest<T: std::str::FromStr>(text: &str) -> Result<Option<T>, InsertError> {
    let read = || {
        let (count, largest) = text.strip_suffix('\n')?.split_once('\t')?;
        match count.parse::<u64>().ok()? {
            0 => Some(None),
            _ => largest.parse().ok().map(Some),
        }
    };
    read().ok_or_else(|| unreadable(text.as_bytes()))
}

/// An answer that is not in the form of its question's.
fn unreadable(answer: &[u8]) -> InsertError {
    let text = String::from_utf8_lossy(&answer[..answer.len().min(200)]).into_owned();
    clickhouse::error::Error::BadResponse(format!("unreadable answer: {text:?}")).into()
}

fn base_client(with_tls: bool, connect_timeout: Duration) -> Result<Client, std::io::Error> {
    if !with_tls {
        return Ok(Client::with_http_client(
            client_builder().build(plain_connector(connect_timeout)),
        ));
    }
    Ok(Client::with_http_client(
        client_builder().build(tls_connector(connect_timeout)?),
    ))
}

/// Where there are several servers another one is asked soon.
pub(super) fn connect_timeout(config: &ClickHouse) -> Duration {
    if config.urls.len() > 1 {
        CONNECT_TIMEOUT_OF_SEVERAL
    } else {
        CONNECT_TIMEOUT
    }
}

pub(super) fn plain_connector(connect_timeout: Duration) -> HttpConnector {
    let mut tcp = HttpConnector::new();
    // Nagle's algorithm costs 40 ms a request, and the crate's own client leaves it on.
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(Duration::from_secs(60)));
    tcp.set_connect_timeout(Some(connect_timeout));
    tcp
}

pub(super) fn client_builder() -> hyper_util::client::legacy::Builder {
    let mut builder = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
    // Below the server's own keep-alive timeout, or a request meets a closing connection.
    builder.pool_idle_timeout(Duration::from_secs(2));
    builder
}

pub(super) fn tls_connector(
    connect_timeout: Duration,
) -> Result<hyper_rustls::HttpsConnector<HttpConnector>, std::io::Error> {
    let mut tcp = plain_connector(connect_timeout);
    tcp.enforce_http(false);
    Ok(hyper_rustls::HttpsConnectorBuilder::new()
        .with_native_roots()?
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp))
}

/// `` `database`.`table` `` with quotes inside the names escaped.
pub(crate) fn quote_name(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// A string literal.
pub(crate) fn quote_text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
