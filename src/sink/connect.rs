//! Connections to ClickHouse: TCP, TLS, and how long they are kept.

use std::io::{Error, Result};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clickhouse::Client;
use hyper_rustls::ConfigBuilderExt as _;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::{ClickHouse, TlsFiles};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The same where another server can be asked instead.
const CONNECT_TIMEOUT_OF_SEVERAL: Duration = Duration::from_secs(3);

pub(super) fn base_client(config: &ClickHouse) -> Result<Client> {
    let patience = connect_timeout(config);
    if !config.urls.iter().any(|url| url.starts_with("https")) {
        return Ok(Client::with_http_client(
            client_builder().build(plain_connector(patience)),
        ));
    }
    Ok(Client::with_http_client(
        client_builder().build(tls_connector(&config.tls, patience)?),
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

/// # Errors
/// A file of certificates cannot be read or used; the text names key and file.
pub(super) fn tls_connector(
    files: &TlsFiles,
    connect_timeout: Duration,
) -> Result<hyper_rustls::HttpsConnector<HttpConnector>> {
    let mut tcp = plain_connector(connect_timeout);
    tcp.enforce_http(false);
    Ok(hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls_config(files)?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp))
}

fn tls_config(files: &TlsFiles) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::other)?;
    let builder = match &files.ca_file {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("ca_file", path)? {
                let added = roots.add(certificate);
                added.map_err(|error| unusable("ca_file", path, &error))?;
            }
            builder.with_root_certificates(roots)
        }
        None => builder.with_native_roots().map_err(|error| {
            Error::other(format!(
                "the machine's root certificates cannot be read: {error}"
            ))
        })?,
    };
    let Some(identity) = &files.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let own = certificates("cert_file", &identity.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&identity.key_file)
        .map_err(|error| unusable("key_file", &identity.key_file, &error))?;
    builder
        .with_client_auth_cert(own, key)
        .map_err(|error| unusable("cert_file", &identity.cert_file, &error))
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<_> = read.map_err(|error| unusable(key, path, &error))?;
    if certificates.is_empty() {
        return Err(unusable(key, path, &"no certificate in it"));
    }
    Ok(certificates)
}

fn unusable(key: &str, path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::other(format!("clickhouse.{key}: {}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Identity;

    #[test]
    fn files_that_are_no_certificates_are_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path
        };
        let certificate = include_str!("../http/tests/tls/first.cert.pem");
        let key = include_str!("../http/tests/tls/first.key.pem");
        let (cert_file, key_file) = (file("cert.pem", certificate), file("key.pem", key));
        let other_key = include_str!("../http/tests/tls/second.key.pem");
        let other_key = file("other.pem", other_key);
        let files = |ca_file, cert_file, key_file| TlsFiles {
            ca_file: Some(ca_file),
            identity: Some(Identity {
                cert_file,
                key_file,
            }),
        };
        let good = files(cert_file.clone(), cert_file.clone(), key_file.clone());
        tls_config(&good).expect("they are right");
        let empty = file("empty.pem", "");
        for (files, named) in [
            (
                files(empty.clone(), cert_file.clone(), key_file.clone()),
                "clickhouse.ca_file",
            ),
            (
                files(cert_file.clone(), empty.clone(), key_file),
                "clickhouse.cert_file",
            ),
            (
                files(cert_file.clone(), cert_file.clone(), empty),
                "clickhouse.key_file",
            ),
            (
                files(cert_file.clone(), cert_file, other_key),
                "clickhouse.cert_file",
            ),
        ] {
            let error = tls_config(&files).expect_err("it is wrong").to_string();
            assert!(error.starts_with(named), "{named}: {error}");
        }
    }
}
