//! The HTTP conversation with ClickHouse.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clickhouse::{Client, Compression};
use secrecy::ExposeSecret as _;

use super::answer::{ask, pieces};
use super::connect::base_client;
use super::errors::{InsertError, Remedy};
use super::post::Post;
use super::server_settings::{Known, NATIVE_CONVERSION, READS, READS_OF_LATER_VERSIONS};
use super::servers::{Server, Servers, UNKNOWN_SETTING};
use crate::config::ClickHouse;

const QUERY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the next piece of an answer may take that is read piece by piece.
const PIECE_TIMEOUT: Duration = Duration::from_secs(120);
/// The same of questions about settings and tables.
const SYSTEM_TIMEOUT_OF_SEVERAL: Duration = Duration::from_secs(10);
/// Of a question that a server answers at once.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections to the servers of one cluster; cloning shares them.
#[derive(Clone)]
pub(crate) struct ClickHouseClient {
    pub(super) servers: Servers,
    post: Post,
    insert_timeout: Duration,
    pub(super) database: String,
    /// `clickhouse.replicated`.
    pub(super) replicated: Option<bool>,
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
    /// When certificates for an https server cannot be read or used.
    pub(crate) fn new(config: &ClickHouse) -> Result<Self, std::io::Error> {
        let base = base_client(config)?;
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
            database: config.database.clone(),
            replicated: config.replicated,
        })
    }

    /// How many servers there are.
    pub(super) fn servers(&self) -> u32 {
        self.servers.count()
    }

    /// The server to ask now. Questions that belong together go to the same one.
    pub(crate) fn current(&self) -> u32 {
        self.servers.current()
    }

    /// The server that an insert goes to: each in turn. One that has failed is asked on the side whether it is
    /// back.
    pub(crate) fn turn(&self) -> u32 {
        let (server, asked) = self.servers.turn(Instant::now());
        for away in asked {
            let client = self.clone();
            tokio::spawn(async move {
                let answers = client.ping_on(away).await.is_ok()
                    && client.pay(away).await
                    && client.has_the_same(away).await;
                let server = client.servers.get(away);
                server.fare().asked(answers, Instant::now());
            });
        }
        server
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

    /// Whether the server refuses a block of other types than the table's where it is told to.
    ///
    /// # Errors
    /// Whatever the server or the network answered.
    pub(super) async fn refuses_other_types(&self, server: u32) -> Result<bool, InsertError> {
        Ok(self.known(server).await?.takes(NATIVE_CONVERSION))
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
        body: Vec<Bytes>,
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
        sent.map_err(|error| self.servers.insert_failed(server, error.into()))?;
        self.servers.get(server).fare().succeeded();
        Ok(())
    }

    /// Waits until this replica has what the others acknowledged. A no-op without replication.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn sync_replica(&self, server: u32, table: &str) -> Result<(), InsertError> {
        let client = self.reader(server).await?;
        let sql = format!("SYSTEM SYNC REPLICA {table} LIGHTWEIGHT");
        let patience = self.servers.sync_patience();
        let synced = self
            .ask(server, &client, &sql, "TabSeparated", patience)
            .await;
        self.servers.synced(synced.is_ok());
        let seconds = patience.as_secs();
        synced.map(drop).map_err(|error| match error.remedy {
            Remedy::Retry("timeout") => InsertError {
                message: format!(
                    "{}: this replica did not fetch what the others have within {seconds} s",
                    error.message
                ),
                ..error
            },
            _ => error,
        })
    }

    /// Runs a statement that reads a replicated table on a server that has all that others acknowledged.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn execute_in_sync(&self, table: &str, sql: &str) -> Result<(), InsertError> {
        let run = |server| async move {
            self.sync_replica(server, table).await?;
            self.execute_on(server, sql).await
        };
        self.servers.any(run).await
    }

    /// Runs a statement outside the configured database (which may not exist yet). One that creates is run by
    /// [`ClickHouseClient::create`].
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn execute_anywhere(&self, sql: &str) -> Result<(), InsertError> {
        const OUTSIDE: &str = "system";
        if sql.starts_with("CREATE ") {
            return self.create(sql, OUTSIDE).await;
        }
        self.servers
            .any(|server| self.execute_in(server, sql, OUTSIDE))
            .await
    }

    /// Runs a statement on one server, with this database as the one whose name is left out.
    pub(super) async fn execute_in(
        &self,
        server: u32,
        sql: &str,
        database: &str,
    ) -> Result<(), InsertError> {
        let client = self.servers.get(server).reader.clone();
        let client = client.with_database(database);
        self.ask(server, &client, sql, "TabSeparated", QUERY_TIMEOUT)
            .await?;
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

    /// The answer of one server to a query that may take hours, piece by piece; see [`pieces`].
    pub(super) async fn pieces(
        &self,
        server: u32,
        sql: &str,
        format: &str,
        each: &mut impl FnMut(&[u8]) -> bool,
    ) -> Result<bool, InsertError> {
        let client = self.reader(server).await?;
        let client = client.with_setting("max_execution_time", "0");
        let signature = &self.servers.get(server).signature;
        let read = pieces(&client, signature, sql, format, PIECE_TIMEOUT, each).await;
        read.map_err(|error| self.servers.failed(server, error.into()))
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

    pub(super) async fn select_text(&self, sql: &str) -> Result<String, InsertError> {
        let bytes = self.select_any(sql, "TabSeparated").await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Rows of text columns.
    pub(super) async fn select_json(
        &self,
        sql: &str,
    ) -> Result<Vec<BTreeMap<String, String>>, InsertError> {
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

/// An answer that is not in the form of its question's.
pub(super) fn unreadable(answer: &[u8]) -> InsertError {
    let text = String::from_utf8_lossy(&answer[..answer.len().min(200)]).into_owned();
    clickhouse::error::Error::BadResponse(format!("unreadable answer: {text:?}")).into()
}
