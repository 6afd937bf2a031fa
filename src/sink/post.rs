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
use super::clickhouse::{client_builder, plain_connector, tls_connector};
use crate::config::ClickHouse;
use crate::crash::crash_point;

/// Far more than an exception is long.
const ANSWER_BYTES_MAX: usize = 1 << 20;

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
    /// When the machine's root certificates cannot be read for an https server.
    pub(super) fn new(config: &ClickHouse) -> Result<Self, std::io::Error> {
        let with_tls = config.urls.iter().any(|url| url.starts_with("https"));
        let connections = if with_tls {
            Connections::Tls(client_builder().build(tls_connector()?))
        } else {
            Connections::Plain(client_builder().build(plain_connector()))
        };
        Ok(Post {
            connections,
            config: std::sync::Arc::new(config.clone()),
        })
    }

    /// Sends one insert to the server of this number and waits for its acknowledgement.
    ///
    /// # Errors
    /// Whatever is none.
    pub(super) async fn insert<'s>(
        &self,
        server: usize,
        settings: impl Iterator<Item = (&'s str, &'s str)>,
        body: [Bytes; 2],
        signature: &Signature,
        patience: Duration,
    ) -> Result<(), Error> {
        let url = self.url(server, settings)?;
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
            .body(in_pieces(body))
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

/// The head, then the rows in two halves.
fn in_pieces([head, mut rows]: [Bytes; 2]) -> Body {
    let rest = rows.split_off(rows.len() / 2);
    let first = [head, rows].into_iter().filter(|piece| !piece.is_empty());
    let first = stream::iter(first.map(Ok::<_, Infallible>));
    let last = stream::once(async move {
        // What came before is on its way.
        tokio::task::yield_now().await;
        crash_point!("during_insert");
        Ok(rest)
    });
    Body::from_stream(first.chain(last))
}
