//! Questions of commands that look at a server: without the settings that our statements pin, so that
//! the answer shows what the user's profile says.

use std::collections::BTreeMap;
use std::time::Duration;

use clickhouse::{Client, Compression};
use secrecy::ExposeSecret as _;

use super::answer::{Signature, ask};
use super::connect::{client_builder, plain_connector, tls_connector};
use super::errors::InsertError;
use crate::config::ClickHouse;

/// A row of text columns.
pub(crate) type TextRow = BTreeMap<String, String>;

/// One server, asked as the configured user.
pub(crate) struct PlainClient {
    client: Client,
    signature: Signature,
    timeout: Duration,
}

impl std::fmt::Debug for PlainClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlainClient").finish_non_exhaustive()
    }
}

impl PlainClient {
    /// `timeout` is that of connecting, and of each question.
    ///
    /// # Errors
    /// When certificates for an https server cannot be read or used.
    pub(crate) fn new(
        config: &ClickHouse,
        url: &str,
        timeout: Duration,
    ) -> Result<Self, std::io::Error> {
        let builder = client_builder();
        let client = if url.starts_with("https") {
            Client::with_http_client(builder.build(tls_connector(&config.tls, timeout)?))
        } else {
            Client::with_http_client(builder.build(plain_connector(timeout)))
        };
        let mut client = client
            .with_url(url)
            .with_database("system")
            .with_user(&config.user)
            .with_compression(Compression::None)
            .with_product_info("streamweir", env!("CARGO_PKG_VERSION"));
        let password = config.password.expose_secret();
        if !password.is_empty() {
            client = client.with_password(password);
        }
        Ok(PlainClient {
            client,
            signature: Signature::default(),
            timeout,
        })
    }

    /// The rows of a query whose columns are all texts.
    ///
    /// # Errors
    /// Whatever the server or the network answered, or an answer of another form.
    pub(crate) async fn rows(&self, sql: &str) -> Result<Vec<TextRow>, InsertError> {
        let asked = ask(
            &self.client,
            &self.signature,
            sql,
            "JSONEachRow",
            self.timeout,
        );
        let bytes = asked.await.map_err(InsertError::from)?;
        let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let rows = lines.map(serde_json::from_slice).collect::<Result<_, _>>();
        rows.map_err(|error| {
            clickhouse::error::Error::Other(format!("unreadable answer: {error}").into()).into()
        })
    }

    /// The answer to a statement as text, in TabSeparated where it does not say otherwise.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn text(&self, sql: &str) -> Result<String, InsertError> {
        let asked = ask(
            &self.client,
            &self.signature,
            sql,
            "TabSeparated",
            self.timeout,
        );
        let bytes = asked.await.map_err(InsertError::from)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The rows of a query as JSON objects, integers of 64 bits as numbers.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn objects(&self, sql: &str) -> Result<Vec<serde_json::Value>, InsertError> {
        let sql = format!(
            "{sql} FORMAT JSONEachRow SETTINGS output_format_json_quote_64bit_integers = 0, \
             output_format_json_quote_decimals = 0"
        );
        let text = self.text(&sql).await?;
        let lines = text.lines().filter(|line| !line.is_empty());
        let rows = lines.map(serde_json::from_str).collect::<Result<_, _>>();
        rows.map_err(|error| {
            clickhouse::error::Error::Other(format!("unreadable answer: {error}").into()).into()
        })
    }
}
