//! HTTP over TLS, and a certificate that is replaced while the server runs.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{LIMITS, Served, Tls};
use crate::config::HttpTls;

const FIRST: (&str, &str) = (
    include_str!("tls/first.cert.pem"),
    include_str!("tls/first.key.pem"),
);
const SECOND: (&str, &str) = (
    include_str!("tls/second.cert.pem"),
    include_str!("tls/second.key.pem"),
);

fn write(directory: &Path, (certificate, key): (&str, &str)) -> HttpTls {
    let files = HttpTls {
        cert_file: directory.join("cert.pem"),
        key_file: directory.join("key.pem"),
    };
    fs::write(&files.cert_file, certificate).expect("a file");
    fs::write(&files.key_file, key).expect("a file");
    files
}

/// The answer to a client that trusts this certificate alone.
async fn get(served: &Served, trusted: &str) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(trusted.as_bytes()).expect("a certificate");
    roots.add(certificate).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(served.address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await?;
    let request = b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut answer = vec![];
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn a_certificate_is_served_and_replaced_without_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let tls = Tls::new(&write(directory.path(), FIRST)).expect("a certificate");
    let served = Served::start_with(LIMITS, "", Some(tls.clone())).await;
    let answer = get(&served, FIRST.0).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    get(&served, SECOND.0).await.expect_err("another server");
    // What is wrong leaves everything as it is.
    let mixed = write(directory.path(), (SECOND.0, FIRST.1));
    tls.reload(&mixed).expect_err("the key is of another one");
    get(&served, FIRST.0).await.expect("the old certificate");
    tls.reload(&write(directory.path(), SECOND))
        .expect("a certificate");
    get(&served, SECOND.0).await.expect("the new certificate");
    get(&served, FIRST.0).await.expect_err("not the old one");
}

#[test]
fn files_that_are_no_certificate_are_named() {
    let directory = tempfile::tempdir().expect("a directory");
    for (pair, named) in [
        (("", FIRST.1), "cert_file"),
        (("no certificate", FIRST.1), "cert_file"),
        ((FIRST.0, ""), "key_file"),
        ((FIRST.0, SECOND.1), "do not fit"),
    ] {
        let error = Tls::new(&write(directory.path(), pair)).expect_err("it is wrong");
        let error = format!("{error:#}");
        assert!(error.contains(named), "{named}: {error}");
    }
}
