//! Asking Redis for many profiles at once.

use std::time::Duration;

use ::redis::{RedisError, RedisResult};
use futures_util::future::try_join_all;

use super::connections::{Connection, Connections};
use crate::config::Redis;

/// How profiles are stored.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// `GET prefix + key` gives one JSON object.
    Json,
    /// `HMGET prefix + key` of these fields.
    Hash(Vec<String>),
}

/// What Redis has under one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing, or something of another type.
    Nothing,
    /// The text of a JSON profile, unchecked.
    Json(Vec<u8>),
    /// The fields of a hash in the order they were asked for.
    Fields(Vec<Option<Vec<u8>>>),
}

/// Redis did not answer, or refused.
#[derive(Debug, thiserror::Error)]
#[error("redis: {text}")]
pub(crate) struct LookupError {
    text: String,
    /// It answers, and does not take this user in.
    pub(crate) is_refusal: bool,
}

impl LookupError {
    fn new(text: impl Into<String>) -> Self {
        LookupError {
            text: text.into(),
            is_refusal: false,
        }
    }

    fn of(error: &RedisError) -> Self {
        LookupError {
            text: said(error),
            is_refusal: refuses_user(error),
        }
    }
}

/// What the server answered, in its own words, which are those to search for.
pub(crate) fn said(error: &RedisError) -> String {
    let Some(code) = error.code() else {
        return error.to_string();
    };
    let meaning = match code {
        "LOADING" => " (it reads its data; it answers when it is done)",
        "CLUSTERDOWN" => {
            " (no node serves these keys; it answers when a failover or a repair is done)"
        }
        "MASTERDOWN" => " (a replica without its master)",
        "READONLY" => " (a replica answers in place of the master)",
        "TRYAGAIN" => " (keys are being moved between nodes)",
        _ => "",
    };
    match error.detail() {
        Some(detail) => format!("{code} {detail}{meaning}"),
        None => format!("{code}{meaning}"),
    }
}

/// Whether the server answers, and wants another user or password.
pub(crate) fn refuses_user(error: &::redis::RedisError) -> bool {
    let kind = error.kind();
    let codes = ["NOAUTH", "WRONGPASS", "NOPERM"];
    kind == ::redis::ErrorKind::AuthenticationFailed
        || kind == ::redis::ErrorKind::Server(::redis::ServerErrorKind::NoPerm)
        || error.code().is_some_and(|code| codes.contains(&code))
        || error.to_string().contains("AUTH")
}

/// Reads profiles; cloning shares the connections, which are made and mended behind it.
#[derive(Clone)]
pub(crate) struct ProfileReader {
    connections: Connections,
    source: Source,
    key_prefix: String,
    timeout: Duration,
}

impl std::fmt::Debug for ProfileReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProfileReader")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl ProfileReader {
    /// Connects with the first request. To be called within a runtime.
    ///
    /// # Errors
    /// Addresses or certificates that the client does not understand.
    pub(crate) fn new(
        config: &Redis,
        source: Source,
        key_prefix: String,
    ) -> Result<Self, LookupError> {
        Ok(ProfileReader {
            connections: Connections::new(config).map_err(LookupError::new)?,
            source,
            key_prefix,
            timeout: config.timeout,
        })
    }

    /// What is stored for each of `keys`, in their order, in one round trip.
    ///
    /// # Errors
    /// When the server does not answer in time or refuses the request as a whole.
    pub(crate) async fn fetch(&self, keys: &[Vec<u8>]) -> Result<Vec<Found>, LookupError> {
        self.ask(Some(keys)).await
    }

    /// Whether Redis answers at all.
    ///
    /// # Errors
    /// As [`ProfileReader::fetch`].
    pub(crate) async fn ping(&self) -> Result<(), LookupError> {
        self.ask(None).await.map(drop)
    }

    /// Asks once, and once more where the answer told that another way is right.
    async fn ask(&self, keys: Option<&[Vec<u8>]>) -> Result<Vec<Found>, LookupError> {
        let request = async {
            match self.ask_once(keys).await {
                Err(error) if self.connections.failed(&error) => self.ask_once(keys).await,
                answer => answer,
            }
        };
        match tokio::time::timeout(self.timeout * 2, request).await {
            Ok(answer) => answer.map_err(|e| LookupError::of(&e)),
            Err(_) => {
                self.connections.timed_out();
                Err(LookupError::new(format!(
                    "no answer within {:?}",
                    self.timeout * 2
                )))
            }
        }
    }

    /// No keys: whether there is an answer.
    async fn ask_once(&self, keys: Option<&[Vec<u8>]>) -> RedisResult<Vec<Found>> {
        let mut connection = self.connections.get().await?;
        let Some(keys) = keys else {
            let command = ::redis::cmd("PING");
            command.query_async::<String>(&mut connection).await?;
            return Ok(vec![]);
        };
        if connection.is_cluster() {
            return self.fetch_scattered(&connection, keys).await;
        }
        match &self.source {
            Source::Json => self.fetch_json(&mut connection, keys).await,
            Source::Hash(fields) => self.fetch_hashes(&mut connection, keys, fields).await,
        }
    }

    async fn fetch_json(
        &self,
        connection: &mut Connection,
        keys: &[Vec<u8>],
    ) -> RedisResult<Vec<Found>> {
        let mut command = ::redis::cmd("MGET");
        for key in keys {
            command.arg(self.full_key(key));
        }
        // MGET answers nil for a key of another type.
        let values: Vec<Option<Vec<u8>>> = command.query_async(connection).await?;
        Ok(values
            .into_iter()
            .map(|v| v.map_or(Found::Nothing, Found::Json))
            .collect())
    }

    async fn fetch_hashes(
        &self,
        connection: &mut Connection,
        keys: &[Vec<u8>],
        fields: &[String],
    ) -> RedisResult<Vec<Found>> {
        let mut pipeline = ::redis::pipe();
        for key in keys {
            pipeline.cmd("HMGET").arg(self.full_key(key)).arg(fields);
        }
        let answers: Vec<RedisResult<Vec<Option<Vec<u8>>>>> =
            pipeline.ignore_errors().query_async(connection).await?;
        answers.into_iter().map(found).collect()
    }

    /// Keys lie on several nodes: a request each, all under way at once. One MGET for all of them would be
    /// split by the client, which answers too few values, and learns nothing, while a node is away.
    async fn fetch_scattered(
        &self,
        connection: &Connection,
        keys: &[Vec<u8>],
    ) -> RedisResult<Vec<Found>> {
        let requests = keys.iter().map(|key| {
            let mut command = match &self.source {
                Source::Json => ::redis::cmd("GET"),
                Source::Hash(_) => ::redis::cmd("HMGET"),
            };
            command.arg(self.full_key(key));
            let is_hash = match &self.source {
                Source::Json => false,
                Source::Hash(fields) => {
                    command.arg(fields);
                    true
                }
            };
            let mut connection = connection.clone();
            async move {
                if is_hash {
                    found(command.query_async(&mut connection).await)
                } else {
                    found_text(command.query_async(&mut connection).await)
                }
            }
        });
        try_join_all(requests).await
    }

    fn full_key(&self, key: &[u8]) -> Vec<u8> {
        [self.key_prefix.as_bytes(), key].concat()
    }
}

fn found(answer: RedisResult<Vec<Option<Vec<u8>>>>) -> RedisResult<Found> {
    match answer {
        Ok(values) if values.iter().all(Option::is_none) => Ok(Found::Nothing),
        Ok(values) => Ok(Found::Fields(values)),
        // A key of another type is one profile that cannot be read.
        Err(e) if e.code() == Some("WRONGTYPE") => Ok(Found::Nothing),
        Err(e) => Err(e),
    }
}

/// As MGET: a key of another type has no text.
fn found_text(answer: RedisResult<Option<Vec<u8>>>) -> RedisResult<Found> {
    match answer {
        Ok(text) => Ok(text.map_or(Found::Nothing, Found::Json)),
        Err(e) if e.code() == Some("WRONGTYPE") => Ok(Found::Nothing),
        Err(e) => Err(e),
    }
}
