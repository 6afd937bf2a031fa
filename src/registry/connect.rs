//! The HTTP client of a schema registry, with certificates as they are configured.

use reqwest::{Certificate, Identity};

use crate::causes::with_causes;
use crate::config::SchemaRegistry;

/// # Errors
/// The certificates cannot be read or used, or the machine has none where they are needed.
pub(super) fn http_client(config: &SchemaRegistry) -> Result<reqwest::Client, String> {
    // Whoever was first has installed the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let is_plain = config.urls.iter().all(|url| url.starts_with("http://"));
    let client = match built(config, false) {
        // A machine without certificates needs none for this.
        Err(_) if is_plain => built(config, true),
        built => built,
    };
    client.map_err(with_key)
}

/// `is_bare`: without the certificates of the machine.
fn built(config: &SchemaRegistry, is_bare: bool) -> Result<reqwest::Client, String> {
    let mut builder = reqwest::Client::builder()
        .timeout(config.timeout)
        .user_agent(concat!("streamweir/", env!("CARGO_PKG_VERSION")));
    let read = |path: &std::path::Path| {
        std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    if let Some(path) = &config.ca_file {
        let certificates = Certificate::from_pem_bundle(&read(path)?)
            .map_err(|error| format!("{}: {}", path.display(), with_causes(&error)))?;
        if certificates.is_empty() {
            return Err(format!("{}: no certificate in it", path.display()));
        }
        builder = builder.tls_certs_only(certificates);
    } else if is_bare {
        builder = builder.tls_certs_only([]);
    }
    if let (Some(certificate), Some(key)) = (&config.cert_file, &config.key_file) {
        let mut pem = read(certificate)?;
        pem.push(b'\n');
        pem.extend(read(key)?);
        let identity = Identity::from_pem(&pem)
            .map_err(|error| format!("{}: {}", certificate.display(), with_causes(&error)))?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(|error| with_causes(&error))
}

/// A handshake that fails, with the key that mends it.
pub(super) fn with_key(why: String) -> String {
    if why.contains("invalid peer certificate: UnknownIssuer") {
        format!("{why}: set schema_registry.ca_file to who has signed the server's certificate")
    } else if why.contains("No CA certificates were loaded") {
        format!("{why}: install the machine's (ca-certificates), or set schema_registry.ca_file")
    } else if why.contains("CertificateRequired") {
        format!("{why}: the server wants a certificate: set schema_registry.cert_file and key_file")
    } else {
        why
    }
}
