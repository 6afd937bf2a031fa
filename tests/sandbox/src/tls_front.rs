//! TLS before a server that speaks none: what comes in is passed on in plain.

use std::fs::File;
use std::io::BufReader;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, anyhow};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};

use crate::certificates::{Authority, Issued};

const HEARD_BYTES_MAX: usize = 1 << 20;

/// Stops with its connections when it is dropped.
#[derive(Debug)]
pub struct TlsFront {
    port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
    _runtime: Runtime,
}

impl TlsFront {
    /// Shows `own`, wants a certificate that the authority vouches for, and passes on to `backend`
    /// (`host:port`).
    ///
    /// # Errors
    /// Files that are no certificates, or no port.
    pub fn start(backend: &str, authority: &Authority, own: &Issued) -> Result<Self> {
        TlsFront::start_as(backend, server_config(Some(authority), own)?)
    }

    /// The same, and lets in whoever comes.
    ///
    /// # Errors
    /// As above.
    pub fn start_for_anyone(backend: &str, own: &Issued) -> Result<Self> {
        TlsFront::start_as(backend, server_config(None, own)?)
    }

    fn start_as(backend: &str, config: ServerConfig) -> Result<Self> {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let port = listener.local_addr()?.port();
        let heard = Arc::new(Mutex::new(vec![]));
        let (backend, keeps) = (backend.to_owned(), heard.clone());
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let served = serve(acceptor.clone(), client, backend.clone(), keeps.clone());
                tokio::spawn(served);
            }
        });
        Ok(TlsFront {
            port,
            heard,
            _runtime: runtime,
        })
    }

    /// `https://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The beginning of what clients have sent.
    pub fn heard(&self) -> String {
        let heard = self.heard.lock().expect("no holder of this lock panics");
        String::from_utf8_lossy(&heard).into_owned()
    }
}

fn server_config(authority: Option<&Authority>, own: &Issued) -> Result<ServerConfig> {
    let certificates = |path: &std::path::Path| -> Result<Vec<CertificateDer<'static>>> {
        let file = BufReader::new(File::open(path)?);
        let read: Result<Vec<_>, _> = CertificateDer::pem_reader_iter(file).collect();
        read.map_err(|error| anyhow!("{}: {error}", path.display()))
    };
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider.clone());
    let config = config.with_safe_default_protocol_versions()?;
    let config = match authority {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(&authority.ca_file())? {
                roots.add(certificate)?;
            }
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            config.with_client_cert_verifier(verifier.build()?)
        }
        None => config.with_no_client_auth(),
    };
    let key = PrivateKeyDer::from_pem_file(&own.key_file).map_err(|error| anyhow!("{error}"))?;
    let config = config.with_single_cert(certificates(&own.cert_file)?, key);
    config.context("certificate and key do not fit")
}

async fn serve(
    acceptor: TlsAcceptor,
    client: TcpStream,
    backend: String,
    heard: Arc<Mutex<Vec<u8>>>,
) {
    // Whoever shows no certificate is not let in.
    let Ok(client) = acceptor.accept(client).await else {
        return;
    };
    let Ok(server) = TcpStream::connect(backend).await else {
        return;
    };
    let (from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = server.into_split();
    tokio::select! {
        () = pass_on(from_client, &mut to_server, &heard) => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
    let _ = to_client.shutdown().await;
}

async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    heard: &Mutex<Vec<u8>>,
) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        {
            let mut heard = heard.lock().expect("no holder of this lock panics");
            let room = HEARD_BYTES_MAX.saturating_sub(heard.len());
            heard.extend_from_slice(&piece[..count.min(room)]);
        }
        if to.write_all(&piece[..count]).await.is_err() {
            return;
        }
    }
}
