//! The HTTP conversation with ClickHouse.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clickhouse::{Client, Compression};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use secrecy::ExposeSecret as _;

use super::Target;
use super::answer::{Signature, ask, offsets};
use super::errors::InsertError;
use super::post::Post;
use super::server_settings::{Known, READS, READS_OF_LATER_VERSIONS};
use crate::config::ClickHouse;
use crate::progress::Range;
use crate::source::TopicPartition;
use crate::table::replica::{ExistingColumn, ExistingTable};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const QUERY_TIMEOUT: Duration = Duration::from_secs(30);
/// ClickHouse's error code.
const UNKNOWN_SETTING: u32 = 115;

/// Connections to the servers of one cluster; cloning shares them.
#[derive(Clone)]
pub(crate) struct ClickHouseClient {
    /// With the settings that our own reads need.
    readers: Vec<Client>,
    /// What each server was found to know.
    known: Arc<[Mutex<Option<Arc<Known>>>]>,
    post: Post,
    signature: Arc<Signature>,
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
}

impl TableInfo {
    /// Whether inserts go through Keeper, which remembers their tokens for every replica.
    pub(crate) fn is_replicated(&self) -> bool {
        self.engine.starts_with("Replicated") || self.engine.starts_with("Shared")
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

    /// Whether the table remembers the tokens of inserts: replicated ones do by default.
    pub(crate) fn has_tokens(&self) -> bool {
        self.is_replicated() || self.deduplication_window() > 0
    }

    /// How many tokens a table of one server remembers; 0 by default.
    pub(crate) fn deduplication_window(&self) -> u64 {
        let setting = self
            .engine_full
            .split("non_replicated_deduplication_window")
            .nth(1);
        let digits = |text: &str| {
            let text = text.trim_start_matches([' ', '=']);
            let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().ok()
        };
        setting.and_then(digits).unwrap_or(0)
    }
}

impl std::fmt::Debug for ClickHouseClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClickHouseClient")
            .field("servers", &self.readers.len())
            .finish()
    }
}

impl ClickHouseClient {
    /// One client for every configured server; nothing is sent yet.
    ///
    /// # Errors
    /// When the machine's root certificates cannot be read for an https server.
    pub(crate) fn new(config: &ClickHouse) -> Result<Self, std::io::Error> {
        let base = base_client(config.urls.iter().any(|url| url.starts_with("https")))?;
        let seconds = QUERY_TIMEOUT.as_secs().to_string();
        let client = |url: &String| {
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
            pinned.fold(client, |client, (k, v)| client.with_setting(*k, *v))
        };
        Ok(ClickHouseClient {
            readers: config.urls.iter().map(client).collect(),
            known: config.urls.iter().map(|_| Mutex::default()).collect(),
            post: Post::new(config)?,
            signature: Arc::default(),
            insert_timeout: config.insert_timeout,
        })
    }

    /// For a read, which no limit of the user's profile stops or changes.
    async fn reader(&self, attempt: u32) -> Result<Client, InsertError> {
        let known = self.known(attempt).await?;
        let reader = self.readers[self.index(attempt)].clone();
        Ok(known
            .reads()
            .fold(reader, |client, (k, v)| client.with_setting(k, v)))
    }

    /// What the server knows of settings and formats that came with later versions.
    async fn known(&self, attempt: u32) -> Result<Arc<Known>, InsertError> {
        let index = self.index(attempt);
        let kept = || {
            let kept = self.known[index].lock();
            kept.expect("no holder of this lock panics")
        };
        let last = kept().clone();
        if let Some(known) = last.as_ref().filter(|known| !known.is_old(Instant::now())) {
            return Ok(known.clone());
        }
        let client = self.readers[index].clone().with_database("system");
        let all = READS_OF_LATER_VERSIONS.into_iter();
        let latest = all.fold(client.clone(), |client, (k, v)| client.with_setting(k, v));
        let answer = match self.json_rows(&latest, &Known::query()).await {
            // It does not know one of them.
            Err(error) if error.code == Some(UNKNOWN_SETTING) => {
                self.json_rows(&client, &Known::query()).await
            }
            answer => answer,
        };
        match (answer, last) {
            (Ok(rows), _) => {
                let known = Arc::new(Known::new(rows, Instant::now()));
                *kept() = Some(known.clone());
                Ok(known)
            }
            (Err(_), Some(last)) => Ok(last),
            (Err(error), None) => Err(error),
        }
    }

    /// Whether rows of values and defaults can state the types that they were made for.
    ///
    /// # Errors
    /// Whatever the server or the network answered.
    pub(crate) async fn has_stated_defaults(&self) -> Result<bool, InsertError> {
        Ok(self.known(0).await?.has_stated_defaults())
    }

    /// The number of the server that attempt number `attempt` goes to.
    fn index(&self, attempt: u32) -> usize {
        let count = u32::try_from(self.readers.len()).expect("a handful of servers");
        usize::try_from(attempt % count).expect("a small index")
    }

    /// Sends one insert and waits for its acknowledgement. `body` holds compressed frames.
    ///
    /// # Errors
    /// Whatever the server or the network answered; the rows may be written all the same.
    pub(crate) async fn insert(
        &self,
        attempt: u32,
        sql: &str,
        settings: &[(&'static str, String)],
        body: [Bytes; 2],
    ) -> Result<(), InsertError> {
        // The server gives up before we do, so that nothing runs on when we try again.
        let patience = self.insert_timeout + Duration::from_secs(5);
        let seconds = self.insert_timeout.as_secs().max(1).to_string();
        let pinned = [("decompress", "1"), ("max_execution_time", &seconds)];
        let known = self.known(attempt).await?;
        let settings = settings.iter().map(|(k, v)| (*k, v.as_str()));
        let settings = settings.filter(|(name, _)| known.takes(name));
        let settings = pinned.into_iter().chain(settings);
        let (server, signature) = (self.index(attempt), &self.signature);
        let sent = self
            .post
            .insert(server, sql, settings, body, signature, patience);
        Ok(sent.await?)
    }

    /// Which offsets of `range` the table already holds.
    ///
    /// # Errors
    /// Whatever the server or the network answered.
    pub(crate) async fn offsets_in(
        &self,
        attempt: u32,
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
        let bytes = self.select(attempt, &sql, "RowBinary").await?;
        offsets(&bytes).ok_or_else(|| unreadable(&bytes))
    }

    /// Of each of these keys the newest row that counts and the newest that is deleted, as far as the
    /// server still has both: key, `_version`, `_deleted` and these columns, in RowBinary.
    ///
    /// # Errors
    /// As above; code 396 when the answer is longer than `bytes_max`, unless that is 0.
    pub(crate) async fn newest_rows(
        &self,
        attempt: u32,
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
        self.select(attempt, &sql, "RowBinary").await
    }

    /// The highest offset of `partition` in the table, if there is one from `from` on: a late `from`
    /// spares reading the granules that the table's index tells are before it.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn highest_offset(
        &self,
        table: &str,
        partition: &TopicPartition,
        from: i64,
    ) -> Result<Option<i64>, InsertError> {
        let sql = format!(
            "SELECT count(), max(toInt64(_offset)) FROM {table} \
             WHERE _topic = {} AND _partition = {} AND _offset >= {from} SETTINGS select_sequential_consistency = 1",
            quote_text(&partition.topic),
            partition.partition
        );
        let text = self.select_text(&sql).await?;
        largest(&text)
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
        let text = self.select_text(&sql).await?;
        largest(&text)
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
    pub(crate) async fn is_empty(&self, table: &str) -> Result<bool, InsertError> {
        let sql =
            format!("SELECT 1 FROM {table} LIMIT 1 SETTINGS select_sequential_consistency = 1");
        Ok(self.select_text(&sql).await?.trim().is_empty())
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
    pub(crate) async fn sync_replica(&self, attempt: u32, table: &str) -> Result<(), InsertError> {
        self.execute_on(attempt, &format!("SYSTEM SYNC REPLICA {table} LIGHTWEIGHT"))
            .await
    }

    /// Engine and columns of `database.table`; `None` when there is no such table.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn table_info(
        &self,
        database: &str,
        table: &str,
    ) -> Result<Option<TableInfo>, InsertError> {
        let engine = self
            .select_json(&format!(
                "SELECT engine, engine_full, sorting_key, partition_key FROM system.tables WHERE \
                 database = {} AND name = {}",
                quote_text(database),
                quote_text(table)
            ))
            .await?;
        let Some(engine) = engine.into_iter().next() else {
            return Ok(None);
        };
        let columns = self.columns(0, database, table).await?;
        let text =
            |row: &BTreeMap<String, String>, key: &str| row.get(key).cloned().unwrap_or_default();
        Ok(Some(TableInfo {
            engine: text(&engine, "engine"),
            engine_full: text(&engine, "engine_full"),
            sorting_key: text(&engine, "sorting_key"),
            partition_key: text(&engine, "partition_key"),
            columns,
        }))
    }

    /// The columns of `database.table` as they are now; none when there is no such table.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn columns(
        &self,
        attempt: u32,
        database: &str,
        table: &str,
    ) -> Result<Vec<ColumnInfo>, InsertError> {
        let sql = format!(
            "SELECT name, type, default_kind FROM system.columns WHERE database = {} AND table = {} \
             ORDER BY position",
            quote_text(database),
            quote_text(table)
        );
        let column = |mut row: BTreeMap<String, String>| {
            let mut text = |key: &str| row.remove(key).unwrap_or_default();
            ColumnInfo {
                name: text("name"),
                type_name: text("type"),
                default_kind: text("default_kind"),
            }
        };
        let client = self.reader(attempt).await?.with_database("system");
        let rows = self.json_rows(&client, &sql).await?;
        Ok(rows.into_iter().map(column).collect())
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
            match self.select(0, &sql, "RowBinary").await {
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
        self.execute_on(0, sql).await
    }

    /// Runs a statement outside the configured database (which may not exist yet).
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn execute_anywhere(&self, sql: &str) -> Result<(), InsertError> {
        let client = self.readers[0].clone().with_database("system");
        self.ask(&client, sql, "TabSeparated").await?;
        Ok(())
    }

    /// Whether the server answers at all.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn ping(&self) -> Result<(), InsertError> {
        let client = self.readers[0].clone().with_database("system");
        let answer = self.ask(&client, "SELECT 1", "TabSeparated").await?;
        if &answer[..] == b"1\n" {
            Ok(())
        } else {
            Err(unreadable(&answer))
        }
    }

    async fn execute_on(&self, attempt: u32, sql: &str) -> Result<(), InsertError> {
        let client = self.reader(attempt).await?;
        self.ask(&client, sql, "TabSeparated").await?;
        Ok(())
    }

    /// The answer to a query, as it comes.
    pub(super) async fn select(
        &self,
        attempt: u32,
        sql: &str,
        format: &str,
    ) -> Result<Bytes, InsertError> {
        let client = self.reader(attempt).await?;
        self.ask(&client, sql, format).await
    }

    async fn ask(&self, client: &Client, sql: &str, format: &str) -> Result<Bytes, InsertError> {
        Ok(ask(client, &self.signature, sql, format, QUERY_TIMEOUT).await?)
    }

    async fn select_text(&self, sql: &str) -> Result<String, InsertError> {
        let bytes = self.select(0, sql, "TabSeparated").await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Rows of text columns.
    async fn select_json(&self, sql: &str) -> Result<Vec<BTreeMap<String, String>>, InsertError> {
        let client = self.reader(0).await?.with_database("system");
        self.json_rows(&client, sql).await
    }

    async fn json_rows(
        &self,
        client: &Client,
        sql: &str,
    ) -> Result<Vec<BTreeMap<String, String>>, InsertError> {
        let bytes = self.ask(client, sql, "JSONEachRow").await?;
        let rows = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        rows.map(serde_json::from_slice)
            .collect::<Result<_, _>>()
            .map_err(|_| unreadable(&bytes))
    }
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

fn base_client(with_tls: bool) -> Result<Client, std::io::Error> {
    if !with_tls {
        return Ok(Client::with_http_client(
            client_builder().build(plain_connector()),
        ));
    }
    Ok(Client::with_http_client(
        client_builder().build(tls_connector()?),
    ))
}

pub(super) fn plain_connector() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    // Nagle's algorithm costs 40 ms a request, and the crate's own client leaves it on.
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(Duration::from_secs(60)));
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp
}

pub(super) fn client_builder() -> hyper_util::client::legacy::Builder {
    let mut builder = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
    // Below the server's own keep-alive timeout, or a request meets a closing connection.
    builder.pool_idle_timeout(Duration::from_secs(2));
    builder
}

pub(super) fn tls_connector() -> Result<hyper_rustls::HttpsConnector<HttpConnector>, std::io::Error>
{
    let mut tcp = plain_connector();
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
