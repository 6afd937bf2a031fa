//! `[service]`: the process itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::quantity::{Size, Span, SpanOrZero};
use super::secret::is_visible_ascii;
use super::section::Section;
use super::transform;
use super::value::{Choice, ListenAddress, Text};
use crate::steps::MaskKey;

/// `[service]`.
#[derive(Debug, Clone)]
pub struct Service {
    /// Where metrics, health, the status page and the control API are served.
    pub http_listen: SocketAddr,
    /// Directory of the files kept per pipeline and partition; absolute.
    pub state_dir: PathBuf,
    /// How long a shutdown may take, 1 s to 1 h.
    pub shutdown_timeout: Duration,
    /// Ceiling for everything the process holds, at least 64 MiB.
    pub memory_max_bytes: u64,
    /// The certificate of the HTTP server; none: no TLS.
    pub http_tls: Option<HttpTls>,
    /// What POST, PUT and DELETE must show; none: they are refused.
    pub admin_token: Option<SecretString>,
    /// How long a dependency may be unreachable at start; none: for ever.
    pub start_timeout: Option<Duration>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged at least has this level: `error`, `warn`, `info`, `debug` or `trace`.
    pub log_level: &'static str,
    /// Set: static group membership under this name.
    pub instance_id: Option<String>,
    /// What columns with `mask = "hmac"` are hidden by; renewed on SIGHUP.
    pub mask_key: Option<MaskKey>,
}

/// `service.http_tls`: both files are PEM, and are read again on SIGHUP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpTls {
    /// The certificate and those between it and its root; absolute.
    pub cert_file: PathBuf,
    /// Its private key; absolute.
    pub key_file: PathBuf,
}

impl HttpTls {
    fn read(section: &mut Section<'_>) -> Option<HttpTls> {
        let mut tls = section.section_if_present("http_tls")?;
        let cert_file = tls.take_required("cert_file", PEM_FILE);
        let key_file = tls.take_required("key_file", PEM_FILE);
        let directory = tls.reader.directory.clone();
        tls.finish();
        Some(HttpTls {
            cert_file: directory.join(cert_file),
            key_file: directory.join(key_file),
        })
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

const INSTANCE_ID: Text = Text {
    allowed: "1 to 128 characters of a-z, A-Z, 0-9, '.', '_' and '-', and not \".\" or \"..\" \
              (Kafka refuses others)",
    check: is_instance_id,
};

fn is_instance_id(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(legal) && text != "." && text != ".."
}

const LOG_LEVEL: Choice<&str> = Choice(&[
    ("error", "error"),
    ("warn", "warn"),
    ("info", "info"),
    ("debug", "debug"),
    ("trace", "trace"),
]);

const STATE_DIR: Text = Text {
    allowed: "the path of a directory, not empty",
    check: |text| !text.is_empty() && !text.contains('\0'),
};

const PEM_FILE: Text = Text {
    allowed: "the path of a PEM file, not empty",
    check: |text| !text.is_empty() && !text.contains('\0'),
};

pub(super) const MEMORY_MAX: Size = Size {
    min: 64 << 20,
    max: 1 << 40,
};

impl Service {
    pub(super) fn read(mut section: Section<'_>) -> Service {
        let default_listen = SocketAddr::from(([127, 0, 0, 1], 9187));
        let formats = Choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]);
        let state_dir = section.take_or("state_dir", STATE_DIR, "/var/lib/streamweir".to_owned());
        let service = Service {
            http_listen: section.take_or("http_listen", ListenAddress, default_listen),
            state_dir: section.reader.directory.join(state_dir),
            shutdown_timeout: section.take_or(
                "shutdown_timeout",
                Span::secs(1, 3600),
                Duration::from_secs(30),
            ),
            memory_max_bytes: section.take_or("memory_max", MEMORY_MAX, 256 << 20),
            http_tls: HttpTls::read(&mut section),
            admin_token: read_admin_token(&mut section),
            start_timeout: section.take_or(
                "start_timeout",
                SpanOrZero(Span::secs(1, 7 * 86_400)),
                Some(Duration::from_secs(300)),
            ),
            log_format: section.take_or("log_format", formats, LogFormat::Text),
            log_level: section.take_or("log_level", LOG_LEVEL, "info"),
            instance_id: section.take("instance_id", INSTANCE_ID),
            mask_key: transform::read_key(&mut section),
        };
        if !service.http_listen.ip().is_loopback() && service.admin_token.is_none() {
            section.reader.warning(
                &section.path_of("http_listen"),
                "is reachable from other machines and no admin_token is set: metrics and status are \
                 open to them, POST, PUT and DELETE answer 403",
            );
        }
        section.finish();
        service
    }
}

/// An empty token is none: it must not open the door to an empty `Authorization`.
fn read_admin_token(section: &mut Section<'_>) -> Option<SecretString> {
    let token = section.take_secret("admin_token")?;
    if token.expose_secret().is_empty() {
        return None;
    }
    if !is_visible_ascii(&token) {
        section.problem(
            &section.written_secret("admin_token"),
            "must be visible ASCII characters without spaces: it travels in a header (not shown: it \
             is a secret)",
        );
    }
    Some(token)
}
