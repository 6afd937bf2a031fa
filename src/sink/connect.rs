//! Connections to ClickHouse: TCP, TLS, and how long they are kept.

use std::time::Duration;

use clickhouse::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::config::ClickHouse;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The same where another server can be asked instead.
const CONNECT_TIMEOUT_OF_SEVERAL: Duration = Duration::from_secs(3);

pub(super) fn base_client(
    with_tls: bool,
    connect_timeout: Duration,
) -> Result<Client, std::io::Error> {
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
