//! The certificate of the server, which can be replaced while it runs.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context as _;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::HttpTls;

/// Accepts TLS connections under the newest certificate.
pub(crate) struct Tls {
    config: RwLock<Arc<ServerConfig>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// # Errors
    /// A file that cannot be read, or a key that does not belong to the certificate.
    pub(crate) fn new(files: &HttpTls) -> anyhow::Result<Arc<Self>> {
        let config = RwLock::new(server_config(files)?);
        Ok(Arc::new(Tls { config }))
    }

    /// Reads the files again; connections that are open go on under the old certificate.
    ///
    /// # Errors
    /// As [`Tls::new`]; nothing has changed then.
    pub(crate) fn reload(&self, files: &HttpTls) -> anyhow::Result<()> {
        let config = server_config(files)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(config.clone())
    }
}

fn server_config(files: &HttpTls) -> anyhow::Result<Arc<ServerConfig>> {
    let place = |key: &str, path: &Path| format!("service.http_tls.{key}: {}", path.display());
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&files.cert_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.with_context(|| place("cert_file", &files.cert_file))?;
    if certificates.is_empty() {
        anyhow::bail!(
            "{}: holds no certificate",
            place("cert_file", &files.cert_file)
        );
    }
    let key = PrivateKeyDer::from_pem_file(&files.key_file)
        .with_context(|| place("key_file", &files.key_file))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("service.http_tls")?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .context("service.http_tls: certificate and key do not fit")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
