//! The sending of inserts, so that all of the answer can be read.
//!
//! The crate's own insert takes every 200 for an acknowledgement and never shows what comes with it.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use bytes::Bytes;
use clickhouse::error::Error;
use futures_util::StreamExt as _;
use futures_util::stream;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use secrecy::ExposeSecret as _;
use url::Url;

use super::answer::{Signature, acknowledgement};
use super::connect::{client_builder, connect_timeout, plain_connector, tls_connector};
use crate::config::ClickHouse;
use crate::crash::crash_point;
use crate::target::compressed;

/// Far more than an exception is long.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The longest address of a request whose statement stands in it. Proxies, gateways and firewalls refuse
/// addresses from 2, 4 or 8 KiB on, with 414 or 431.
const ADDRESS_BYTES_MAX: usize = 2_000;

/// `max_query_size` of a server that is not told otherwise.
const STATEMENT_BYTES_MAX: usize = 262_144;

type HttpClient<C> = hyper_util::client::legacy::Client<C, Body>;

#[derive(Clone)]
enum Connections {
    Plain(HttpClient<HttpConnector>),
    Tls(HttpClient<HttpsConnector<HttpConnector>>),
}

/// Where inserts of one configuration go.
#[derive(Clone)]
pub(super) struct Post {
    connections: Connections,
    config: std::sync::Arc<ClickHouse>,
}

impl Post {
    /// # Errors
    /// When certificates for an https server cannot be read or used.
    pub(super) fn new(config: &ClickHouse) -> Result<Self, std::io::Error> {
        let with_tls = config.urls.iter().any(|url| url.starts_with("https"));
        let patience = connect_timeout(config);
        let connections = if with_tls {
            Connections::Tls(client_builder().build(tls_connector(&config.tls, patience)?))
        } else {
            Connections::Plain(client_builder().build(plain_connector(patience)))
        };
        Ok(Post {
            connections,
            config: std::sync::Arc::new(config.clone()),
        })
    }

    /// Sends one insert to the server of this number and waits for its acknowledgement. `body` holds compressed
    /// frames.
    ///
    /// # Errors
    /// Whatever is none.
    pub(super) async fn insert<'s>(
        &self,
        server: usize,
        sql: &str,
        settings: impl Iterator<Item = (&'s str, &'s str)>,
        body: Vec<Bytes>,
        signature: &Signature,
        patience: Duration,
    ) -> Result<(), Error> {
        let (url, statement) = placed(self.url(server, settings)?, sql);
        let mut request = Request::post(url.as_str())
            .header(
                header::USER_AGENT,
                concat!("streamweir/", env!("CARGO_PKG_VERSION")),
            )
            .header("X-ClickHouse-User", &self.config.user);
        let password = self.config.password.expose_secret();
        if !password.is_empty() {
            request = request.header("X-ClickHouse-Key", password);
        }
        let request = request
            .body(in_pieces(statement, body))
            .map_err(|error| Error::InvalidParams(Box::new(error)))?;
        let answered = async {
            let answer = match &self.connections {
                Connections::Plain(client) => client.request(request).await?,
                Connections::Tls(client) => client.request(request).await?,
            };
            let (parts, body) = answer.into_parts();
            let body = to_bytes(Body::new(body), ANSWER_BYTES_MAX).await;
            let body = body.map_err(|error| Error::Network(Box::new(error)))?;
            acknowledgement(signature, parts.status, &parts.headers, &body)
        };
        let ended = tokio::time::timeout(patience, answered).await;
        ended.map_err(|_| Error::TimedOut)?
    }

    fn url<'s>(
        &self,
        server: usize,
        settings: impl Iterator<Item = (&'s str, &'s str)>,
    ) -> Result<Url, Error> {
        let url = Url::parse(&self.config.urls[server]);
        let mut url = url.map_err(|error| Error::InvalidParams(Box::new(error)))?;
        let configured = self.config.settings.iter();
        url.query_pairs_mut()
            .clear()
            .append_pair("database", &self.config.database)
            .extend_pairs(configured)
            .extend_pairs(settings);
        Ok(url)
    }
}

/// The statement's place: the address, or the beginning of the body where the address would be too long.
/// The server reads the body behind the statement of the address.
fn placed(url: Url, sql: &str) -> (Url, Bytes) {
    let mut whole = url.clone();
    whole.query_pairs_mut().append_pair("query", sql);
    if whole.as_str().len() <= ADDRESS_BYTES_MAX {
        return (whole, Bytes::new());
    }
    // The rows begin behind the first end of line after the name of their format.
    let statement = format!("{sql}\n");
    let mut url = url;
    url.query_pairs_mut().append_pair(
        "max_query_size",
        &statement.len().max(STATEMENT_BYTES_MAX).to_string(),
    );
    (url, Bytes::from(compressed(statement.as_bytes())))
}

/// The statement, then the rows in two halves.
fn in_pieces(statement: Bytes, rows: Vec<Bytes>) -> Body {
    let mut left = rows.iter().map(Bytes::len).sum::<usize>() / 2;
    let (mut first, mut last) = (vec![statement], vec![]);
    for mut piece in rows {
        let rest = piece.split_off(left.min(piece.len()));
        left -= piece.len();
        first.push(piece);
        last.push(rest);
    }
    let of = |pieces: Vec<Bytes>| {
        let pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
        stream::iter(pieces.map(Ok::<_, Infallible>))
    };
    let pause = stream::once(async {
        // What came before is on its way.
        tokio::task::yield_now().await;
        crash_point!("during_insert");
    });
    let nothing = pause.filter_map(|()| async { None });
    Body::from_stream(of(first).chain(nothing).chain(of(last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_stands_in_the_address_unless_that_would_be_too_long() {
        let url = || Url::parse("http://h:8123/?database=d&decompress=1").expect("a url");
        let sql = |columns: usize| {
            let names: Vec<String> = (0..columns).map(|n| format!("`column {n}`")).collect();
            format!("INSERT INTO `d`.`t` ({}) FORMAT F", names.join(", "))
        };
        let mut bodies = 0;
        for columns in [1, 10, 20, 120, 400, 4_000, 20_000] {
            let sql = sql(columns);
            let (placed, body) = placed(url(), &sql);
            let parameter = |name: &str| {
                let mut pairs = placed.query_pairs();
                pairs.find_map(|(k, v)| (k == name).then(|| v.into_owned()))
            };
            assert!(placed.as_str().len() <= ADDRESS_BYTES_MAX, "{columns}");
            if body.is_empty() {
                assert_eq!(parameter("query"), Some(sql));
                assert_eq!(parameter("max_query_size"), None);
            } else {
                bodies += 1;
                assert_eq!(parameter("query"), None);
                assert_eq!(body, compressed(format!("{sql}\n").as_bytes()));
                let limit = parameter("max_query_size").expect("a limit");
                let limit: usize = limit.parse().expect("a number");
                assert!(limit > sql.len() && limit >= 262_144, "{limit}");
            }
        }
        assert_eq!(bodies, 4);
    }
}
