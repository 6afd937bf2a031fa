//! The conversation with a schema registry: the protocol of Confluent's, which others speak too.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::{Certificate, Identity, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::config::SchemaRegistry;
use crate::format::SchemaKey;

const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Schemas that one schema may refer to, those that they refer to included.
const REFERENCES_MAX: usize = 200;

/// Asks the servers of one registry, the next where one does not answer.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    config: SchemaRegistry,
    /// The server that answered last.
    current: AtomicUsize,
    /// Whether the last 404 was none of a registry.
    is_odd: AtomicBool,
}

/// A schema as the registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// `AVRO`, `PROTOBUF` or `JSON`.
    pub(super) kind: String,
    pub(super) text: String,
    /// Those that it refers to, each once, by the names it gives them.
    pub(super) references: Vec<(String, String)>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// Another attempt may have one.
    #[error("{0}")]
    Unavailable(String),
    /// Whoever asks is not let in.
    #[error("{0}")]
    Forbidden(String),
}

impl Client {
    /// # Errors
    /// The certificates cannot be read or used.
    pub(super) fn new(config: &SchemaRegistry) -> Result<Client, String> {
        // Whoever was first has installed the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
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
        }
        if let (Some(certificate), Some(key)) = (&config.cert_file, &config.key_file) {
            let mut pem = read(certificate)?;
            pem.push(b'\n');
            pem.extend(read(key)?);
            let identity = Identity::from_pem(&pem)
                .map_err(|error| format!("{}: {}", certificate.display(), with_causes(&error)))?;
            builder = builder.identity(identity);
        }
        Ok(Client {
            http: builder.build().map_err(|error| with_causes(&error))?,
            config: config.clone(),
            current: AtomicUsize::new(0),
            is_odd: AtomicBool::new(false),
        })
    }

    /// The addresses, for people.
    pub(super) fn label(&self) -> String {
        self.config.urls.join(", ")
    }

    /// The schema of this key, and all that it refers to; `None`: the registry has none.
    pub(super) async fn schema(&self, key: SchemaKey) -> Result<Option<Answer>, NoAnswer> {
        let path = match key {
            SchemaKey::Id(id) => format!("/schemas/ids/{id}"),
            SchemaKey::Guid(_) => format!("/schemas/guids/{key}"),
        };
        let Some(value) = self.get(&path).await? else {
            return Ok(None);
        };
        let mut answer = Answer {
            kind: value["schemaType"].as_str().unwrap_or("AVRO").to_owned(),
            text: schema_text(&value, &path)?,
            references: vec![],
        };
        let mut open = references(&value);
        while let Some((name, subject, version)) = open.pop() {
            if answer.references.iter().any(|(known, _)| *known == name) {
                continue;
            }
            if answer.references.len() >= REFERENCES_MAX {
                return Err(NoAnswer::Unavailable(format!(
                    "schema {key} refers to more than {REFERENCES_MAX} schemas"
                )));
            }
            let path = format!("/subjects/{}/versions/{version}", escaped(&subject));
            let Some(value) = self.get(&path).await? else {
                return Err(NoAnswer::Unavailable(format!(
                    "schema {key} refers to {name}, version {version} of subject {subject}, and there is none"
                )));
            };
            answer.references.push((name, schema_text(&value, &path)?));
            open.extend(references(&value));
        }
        Ok(Some(answer))
    }

    /// Whether a server answers at all: who may read a schema may not be told anything else.
    pub(super) async fn ping(&self) -> Result<(), NoAnswer> {
        match self.get("/schemas/types").await {
            Ok(_) | Err(NoAnswer::Forbidden(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What may be wrong where schemas are missing, for people.
    pub(super) fn doubt(&self) -> &'static str {
        match self.is_odd.load(Ordering::Relaxed) {
            true => {
                " (which answers 404 as no schema registry does: is the path of schema_registry.url right?)"
            }
            false => "",
        }
    }

    async fn get(&self, path: &str) -> Result<Option<Value>, NoAnswer> {
        let count = self.config.urls.len();
        let first = self.current.load(Ordering::Relaxed);
        let mut last = NoAnswer::Unavailable("there is no address".to_owned());
        for turn in 0..count {
            let number = (first + turn) % count;
            match self.get_from(&self.config.urls[number], path).await {
                Ok(answer) => {
                    self.current.store(number, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn get_from(&self, url: &str, path: &str) -> Result<Option<Value>, NoAnswer> {
        let address = format!("{url}{path}");
        let away = |error: reqwest::Error| {
            NoAnswer::Unavailable(format!("{url}: {}", with_causes(&error.without_url())))
        };
        let mut request = self.http.get(&address).header(
            "Accept",
            "application/vnd.schemaregistry.v1+json, application/json",
        );
        if let Some(token) = &self.config.token {
            request = request.bearer_auth(token.expose_secret());
        } else if !self.config.user.is_empty() {
            let password = self.config.password.expose_secret();
            request = request.basic_auth(&self.config.user, Some(password));
        }
        let mut answer = request.send().await.map_err(away)?;
        let status = answer.status();
        let mut bytes = vec![];
        while let Some(more) = answer.chunk().await.map_err(away)? {
            bytes.extend_from_slice(&more);
            if bytes.len() > ANSWER_BYTES_MAX {
                let why = format!("{address}: an answer of more than {ANSWER_BYTES_MAX} bytes");
                return Err(NoAnswer::Unavailable(why));
            }
        }
        if status == StatusCode::NOT_FOUND {
            self.is_odd
                .store(!is_of_registry(&bytes), Ordering::Relaxed);
        }
        judged(&address, status, &bytes)
    }
}

/// Whether a 404 has the error code with which a registry says that there is no such thing.
fn is_of_registry(body: &[u8]) -> bool {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    matches!(value["error_code"].as_u64(), Some(40401..=40499))
}

/// What an answer says; `None`: there is no such thing.
fn judged(address: &str, status: StatusCode, body: &[u8]) -> Result<Option<Value>, NoAnswer> {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let said = || {
        let message = value.as_ref().and_then(|value| value["message"].as_str());
        let message = message
            .map(|message| format!(": {message}"))
            .unwrap_or_default();
        format!("{address}: {status}{message}")
    };
    if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
        return Err(NoAnswer::Forbidden(said()));
    }
    if status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    match value {
        Some(value) if status.is_success() => Ok(Some(value)),
        _ => Err(NoAnswer::Unavailable(said())),
    }
}

fn schema_text(value: &Value, path: &str) -> Result<String, NoAnswer> {
    let text = value["schema"].as_str().map(str::to_owned);
    text.ok_or_else(|| NoAnswer::Unavailable(format!("{path}: an answer without schema")))
}

/// Name, subject and version of each reference.
fn references(value: &Value) -> Vec<(String, String, u64)> {
    let list = value["references"].as_array();
    let of = |reference: &Value| {
        let text = |key: &str| reference[key].as_str().map(str::to_owned);
        Some((
            text("name")?,
            text("subject")?,
            reference["version"].as_u64()?,
        ))
    };
    list.into_iter().flatten().filter_map(of).collect()
}

/// A name as a part of a path.
fn escaped(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_says_in_which_way_there_is_no_schema() {
        assert!(is_of_registry(br#"{"error_code":40403,"message":"no"}"#));
        for body in [
            "",
            "<html>",
            "{}",
            r#"{"error_code":404,"message":"HTTP 404"}"#,
        ] {
            assert!(!is_of_registry(body.as_bytes()), "{body}");
        }
        assert_eq!(escaped("a/b ü"), "a%2Fb%20%C3%BC");
    }
}
