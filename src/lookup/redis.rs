//! Asking Redis for many profiles at once.

use std::time::Duration;

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::{Client, IntoConnectionInfo as _, RedisResult};
use secrecy::ExposeSecret as _;

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

    fn of(error: &::redis::RedisError) -> Self {
        LookupError {
            text: error.to_string(),
            is_refusal: refuses_user(error),
        }
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

/// Reads profiles; cloning shares the connection, which is made and mended behind it.
#[derive(Clone)]
pub(crate) struct ProfileReader {
    connection: ConnectionManager,
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
    /// Connects with the first request.
    ///
    /// # Errors
    /// A URL that the client does not understand.
    pub(crate) fn new(
        config: &Redis,
        source: Source,
        key_prefix: String,
    ) -> Result<Self, LookupError> {
        // The client's own error could repeat the URL, and with it a password.
        let unreadable = |_| LookupError::new("redis.url is not understood by the client");
        let mut info = config
            .url
            .expose_secret()
            .into_connection_info()
            .map_err(unreadable)?;
        if let Some(password) = &config.password {
            let settings = info
                .redis_settings()
                .clone()
                .set_password(password.expose_secret());
            info = info.set_redis_settings(settings);
        }
        let client = Client::open(info).map_err(unreadable)?;
        // Trying again is the caller's business: it knows whether to wait or to use defaults.
        let settings = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(config.timeout))
            .set_response_timeout(Some(config.timeout));
        let connection = ConnectionManager::new_lazy_with_config(client, settings)
            .map_err(|e| LookupError::of(&e))?;
        Ok(ProfileReader {
            connection,
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
        let request = async {
            match &self.source {
                Source::Json => self.fetch_json(keys).await,
                Source::Hash(fields) => self.fetch_hashes(keys, fields).await,
            }
        };
        match tokio::time::timeout(self.timeout * 2, request).await {
            Ok(answer) => answer.map_err(|e| LookupError::of(&e)),
            Err(_) => Err(LookupError::new(format!(
                "no answer within {:?}",
                self.timeout * 2
            ))),
        }
    }

    /// Whether Redis answers at all.
    ///
    /// # Errors
    /// As [`ProfileReader::fetch`].
    pub(crate) async fn ping(&self) -> Result<(), LookupError> {
        let mut connection = self.connection.clone();
        let command = ::redis::cmd("PING");
        let ping = command.query_async::<String>(&mut connection);
        match tokio::time::timeout(self.timeout * 2, ping).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(LookupError::of(&error)),
            Err(_) => Err(LookupError::new(format!(
                "no answer within {:?}",
                self.timeout * 2
            ))),
        }
    }

    async fn fetch_json(&self, keys: &[Vec<u8>]) -> RedisResult<Vec<Found>> {
        let mut command = ::redis::cmd("MGET");
        for key in keys {
            command.arg(self.full_key(key));
        }
        // MGET answers nil for a key of another type.
        let mut connection = self.connection.clone();
        let values: Vec<Option<Vec<u8>>> = command.query_async(&mut connection).await?;
        Ok(values
            .into_iter()
            .map(|v| v.map_or(Found::Nothing, Found::Json))
            .collect())
    }

    async fn fetch_hashes(&self, keys: &[Vec<u8>], fields: &[String]) -> RedisResult<Vec<Found>> {
        let mut pipeline = ::redis::pipe();
        for key in keys {
            pipeline.cmd("HMGET").arg(self.full_key(key)).arg(fields);
        }
        let mut connection = self.connection.clone();
        let answers: Vec<RedisResult<Vec<Option<Vec<u8>>>>> = pipeline
            .ignore_errors()
            .query_async(&mut connection)
            .await?;
        let found = |answer: RedisResult<Vec<Option<Vec<u8>>>>| match answer {
            Ok(values) if values.iter().all(Option::is_none) => Ok(Found::Nothing),
            Ok(values) => Ok(Found::Fields(values)),
            // A key of another type is one profile that cannot be read.
            Err(e) if e.code() == Some("WRONGTYPE") => Ok(Found::Nothing),
            Err(e) => Err(e),
        };
        answers.into_iter().map(found).collect()
    }

    fn full_key(&self, key: &[u8]) -> Vec<u8> {
        [self.key_prefix.as_bytes(), key].concat()
    }
}
